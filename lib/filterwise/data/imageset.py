"""`ImageSet`: uint8 images and their labels, in memory, with the digest of their content."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from filterwise.data.selection import Selectable, label_bytes
from filterwise.errors import ParameterError, check_at_least


@dataclass(frozen=True, eq=False, repr=False)
class ImageSet(Selectable):
    """Images as uint8 and their labels.

    Attributes
    ----------
    images : uint8 (N, C, H, W); may be a memory map that is private to this process
    labels : int64 (N,), from 0 to K - 1; or float32 (N, K), weights of at least 0 for soft or several labels
    label_names : the K names
    name, split : what was asked of `load`
    source : where it came from, in words
    digest : hexadecimal SHA-256 of the content; computed when not given
    title : the name to report results under: ``cifar10 (jpeg)`` for a JPEG copy of CIFAR-10

    Raises ParameterError: types, shapes or labels do not fit together.

    >>> ds = ImageSet(torch.zeros(4, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 1, 0, 1]), ("cat", "dog"))
    >>> len(ds), ds.shape, ds.balanced(2, seed=0).labels
    (4, (1, 2, 2), tensor([0, 1]))
    """

    images: Tensor
    labels: Tensor
    label_names: tuple[str, ...]
    name: str = "unnamed"
    split: str = "train"
    source: str = "memory"
    digest: str = ""
    title: str = ""

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        if images.dtype != torch.uint8 or images.ndim != 4:
            found = f"{images.dtype} {tuple(images.shape)}"
            raise ParameterError(f"images must be uint8 (N, C, H, W); got {found}")
        count, names = len(self.label_names), self.label_names
        shapes = {torch.int64: images.shape[:1], torch.float32: (len(images), count)}
        if labels.shape != shapes.get(labels.dtype) or len(labels) == 0:
            raise ParameterError(
                f"labels must be int64, one for each of the {len(images)} images and at least one, or "
                f"float32 rows of {count}; got {labels.dtype} {tuple(labels.shape)}"
            )
        lowest, highest = labels.min().item(), labels.max().item()
        if labels.ndim == 2 and not 0 <= lowest <= highest < math.inf:  # not a number fits nowhere
            raise ParameterError(f"labels run from {lowest} to {highest}; weights are at least 0 and finite")
        if labels.ndim == 1 and (lowest < 0 or highest >= count):
            names_for = f"there are names for 0 to {count - 1}"
            raise ParameterError(f"labels run from {lowest} to {highest}, but {names_for}")
        if not self.digest:
            digest = content_digest(images.cpu().numpy(), labels.cpu().numpy(), names)
            object.__setattr__(self, "digest", digest)
        if not self.title:
            object.__setattr__(self, "title", self.name)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    def batches(self, batch_size: int = 500) -> Iterator[tuple[Tensor, Tensor]]:
        """Images uint8 (B, C, H, W) and labels (B,) or (B, K), in order; the last batch may be smaller."""
        check_at_least("batch_size", batch_size, 1)
        for start in range(0, len(self), batch_size):
            yield self.images[start : start + batch_size], self.labels[start : start + batch_size]

    def to(self, device: torch.device | str) -> ImageSet:
        """The same set with images and labels on ``device``."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))

    def _take(self, indices: Tensor, labels: Tensor, label_names: tuple[str, ...], digest: str) -> ImageSet:
        images = self.images.index_select(0, indices.to(self.images.device))
        return replace(self, images=images, labels=labels, label_names=label_names, digest=digest)


def content_digest(images: np.ndarray, labels: np.ndarray, label_names: Sequence[str]) -> str:
    """SHA-256 over shape, label names, labels and pixels; what it is called and where it lay do not count."""
    header = json.dumps({"version": 1, "shape": list(images.shape), "labels": list(label_names)})
    sha = hashlib.sha256(header.encode())
    sha.update(label_bytes(labels))
    # in blocks, so that a memory map is never held as a whole copy
    for start in range(0, len(images), 4096):
        sha.update(np.ascontiguousarray(images[start : start + 4096]).data)
    return sha.hexdigest()
