"""Choosing images of a set: by index, by label, equally many of each label, or a part held out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Self

import numpy as np
import torch
from torch import Tensor

from filterwise.errors import ParameterError, check_at_least, check_choice


def label_bytes(labels: np.ndarray) -> bytes:
    """Labels as bytes for a digest: 8 each, or 4 for each entry of a row of weights, on every machine."""
    return labels.astype("<i8" if labels.ndim == 1 else "<f4").tobytes()


class Selectable:
    """Selections shared by sets in memory and sets read from a folder.

    A selection's digest comes from the digest of the set that was chosen from and from what was chosen, so it
    costs nothing however large the images are; choosing everything in order keeps the digest.
    """

    labels: Tensor
    label_names: tuple[str, ...]
    digest: str
    title: str
    split: str
    source: str

    def _take(self, indices: Tensor, labels: Tensor, label_names: tuple[str, ...], digest: str) -> Self:
        raise NotImplementedError

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.title}, {self.split}: {len(self):,} images {self.shape}, "
            f"{self.labels_count} labels, {self.source}, digest {self.digest[:12]})"
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        raise NotImplementedError

    @property
    def labels_count(self) -> int:
        """K, the number of labels."""
        return len(self.label_names)

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: Sequence[int] | np.ndarray | Tensor) -> Self:
        """The images at ``indices`` (integers from 0, or a mask of N booleans), in that order.

        Raises ParameterError: no index, one out of range, or a mask of another length.
        """
        chosen = torch.as_tensor(indices).cpu()
        if chosen.dtype == torch.bool and chosen.shape == (len(self),):
            chosen = chosen.nonzero().squeeze(1)
        if chosen.ndim != 1 or len(chosen) == 0 or chosen.dtype == torch.bool or chosen.is_floating_point():
            raise ParameterError(
                f"indices must be one row of at least one integer, or a mask of the {len(self)} images; "
                f"got shape {tuple(chosen.shape)}, {chosen.dtype}"
            )
        chosen = chosen.to(torch.int64)
        wrong = chosen[(chosen < 0) | (chosen >= len(self))]
        if len(wrong):
            raise ParameterError(f"indices: {int(wrong[0])} is out of range; the set has {len(self)} images")
        return self._select(chosen)

    def balanced(self, n: int, seed: int) -> Self:
        """``n`` images, equally many of every label, drawn without repetition.

        The labels take turns, so that every prefix is balanced too, and with the same ``seed`` a smaller draw
        is a prefix of a larger one.
        Raises ParameterError: ``n`` is no multiple of the number of labels, or a label has too few images.
        """
        check_at_least("n", n, 1)
        each, rest = divmod(n, self.labels_count)
        if rest:
            raise ParameterError(f"n={n} is not a multiple of the {self.labels_count} labels")
        labels = self._one_label_each("balanced")
        generator = torch.Generator().manual_seed(seed)
        columns = []
        for label, name in enumerate(self.label_names):
            members = (labels == label).nonzero().squeeze(1)
            if len(members) < each:
                asked = f"n={n} asks for {each} images of each label"
                raise ParameterError(f"{asked}, but label {label} ({name}) has {len(members)}")
            columns.append(members[torch.randperm(len(members), generator=generator)[:each]])
        return self._select(torch.stack(columns, dim=1).view(-1))

    def only_labels(self, labels: Sequence[int | str]) -> Self:
        """The images of these labels (numbers or names), relabelled 0, 1, ... in the order given.

        Raises ParameterError: no label, one that is unknown, or one given twice.
        """
        for label in labels:
            if isinstance(label, str):
                check_choice("labels", label, self.label_names)
        names = self.label_names
        numbers = [names.index(label) if isinstance(label, str) else int(label) for label in labels]
        if not numbers or len(set(numbers)) < len(numbers) or not set(numbers) <= set(range(len(names))):
            allowed = f"at least one label of 0 to {len(names) - 1}, and each once"
            raise ParameterError(f"labels={list(labels)} must name {allowed}")
        renumbered = torch.full((self.labels_count,), -1)
        renumbered[torch.tensor(numbers)] = torch.arange(len(numbers))
        new = renumbered[self._one_label_each("only_labels")]
        chosen = (new >= 0).nonzero().squeeze(1)
        if len(chosen) == 0:
            raise ParameterError(f"labels={list(labels)}: the set has no image of these labels")
        return self._select(chosen, new[chosen], tuple(names[number] for number in numbers))

    def split_off(self, fraction: float, seed: int) -> tuple[Self, Self]:
        """(rest, held out): a random ``fraction`` of the images held out, both parts in the set's order.

        Raises ParameterError: ``fraction`` leaves one of the parts empty.
        """
        held = round(fraction * len(self)) if 0 < fraction < 1 else 0
        if not 0 < held < len(self):
            left = f"of {len(self)} images leaves a part empty; use e.g. 0.2"
            raise ParameterError(f"fraction={fraction!r} {left}")
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        return self._select(order[held:].sort().values), self._select(order[:held].sort().values)

    def _one_label_each(self, what: str) -> Tensor:
        if self.labels.ndim != 1:
            raise ParameterError(f"{what} needs one label an image; these are rows of {self.labels_count}")
        return self.labels.cpu()

    def _select(
        self, chosen: Tensor, labels: Tensor | None = None, label_names: tuple[str, ...] | None = None
    ) -> Self:
        names = self.label_names if label_names is None else label_names
        labels = self.labels.cpu()[chosen] if labels is None else labels
        digest = self.digest
        if names != self.label_names or not torch.equal(chosen, torch.arange(len(self))):
            sha = hashlib.sha256(f"selection\n{self.digest}\n{names!r}\n".encode())
            sha.update(chosen.numpy().astype("<i8").tobytes() + label_bytes(labels.numpy()))
            digest = sha.hexdigest()
        return self._take(chosen, labels.to(self.labels.device), names, digest)
