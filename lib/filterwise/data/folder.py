"""Sets that stay on disk: a folder of label folders, decoded batch by batch.

Labels are the sorted names of the folders and images are in sorted order inside them, as torchvision's
``ImageFolder`` has them. A set of this kind is never held in memory as a whole.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from filterwise.data.decoding import LARGEST_PHOTO_SIDE, decode, shorter_side_for
from filterwise.data.imageset import ImageSet
from filterwise.data.selection import Selectable
from filterwise.errors import DataError, ParameterError, check_at_least

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


@dataclass(frozen=True, eq=False, repr=False)
class FolderSet(Selectable):
    """Images in a folder, used like an `ImageSet` but for its ``images``.

    Attributes
    ----------
    folder : the folder that the files are in
    files : N paths below it
    labels : int64 (N,)
    label_names : names of the label folders
    size, shorter_side : every image is resized to ``shorter_side``, then the centre cropped to size x size
    digest : over files' names and sizes, labels and the two sizes; not over their bytes

    >>> import tempfile
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Path(folder, "cat").mkdir()
    ...     Image.new("RGB", (40, 30)).save(Path(folder, "cat", "1.png"))
    ...     [images.shape for images, _ in load_folder(folder, size=8).batches(50)]
    [torch.Size([1, 3, 8, 8])]
    """

    folder: Path
    files: tuple[str, ...]
    labels: Tensor
    label_names: tuple[str, ...]
    size: int
    shorter_side: int
    name: str
    split: str
    source: str
    digest: str
    title: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image as it leaves `batches`."""
        return 3, self.size, self.size

    def batches(self, batch_size: int = 100, workers: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Images uint8 (B, 3, size, size) and labels (B,), in order; the next batch is decoded meanwhile.

        ``workers``: threads that decode; by default one for each processor, at most 8.
        Raises DataError: a file cannot be read or decoded, or is too large; the message names it.
        """
        check_at_least("batch_size", batch_size, 1)
        threads = min(8, os.cpu_count() or 1) if workers is None else workers
        check_at_least("workers", threads, 1)
        pool = ThreadPoolExecutor(threads)
        try:
            waiting: list[Future[np.ndarray]] = []
            for start in range(0, len(self) + batch_size, batch_size):
                ready = waiting
                waiting = [pool.submit(self._decode, file) for file in self.files[start : start + batch_size]]
                if ready:
                    images = torch.from_numpy(np.stack([future.result() for future in ready]))
                    yield images, self.labels[start - batch_size : start]
        finally:
            pool.shutdown(cancel_futures=True)

    def in_memory(self) -> ImageSet:
        """All images decoded: N * 3 * size^2 bytes."""
        images = torch.cat([images for images, _ in self.batches()])
        facts = self.name, self.split, self.source
        return ImageSet(images, self.labels, self.label_names, *facts, title=self.title)

    def _decode(self, file: str) -> np.ndarray:
        path = self.folder / file
        return decode(path, str(path), 3, LARGEST_PHOTO_SIDE, (self.shorter_side, self.size))[0]

    def _take(self, indices: Tensor, labels: Tensor, label_names: tuple[str, ...], digest: str) -> FolderSet:
        files = tuple(self.files[index] for index in indices.tolist())
        return replace(self, files=files, labels=labels, label_names=label_names, digest=digest)


def load_folder(
    path: str | os.PathLike[str],
    size: int = 224,
    split: str | None = None,
    shorter_side: int | None = None,
    name: str | None = None,
) -> FolderSet:
    """The images below ``path`` (or ``path/split``), one folder for each label.

    Every image is resized to ``shorter_side``, by default size * 256 / 224, and cropped to a square of
    ``size`` pixels; ``name`` is by default that of the folder.
    Raises DataError: the folder is missing, has no label folders, one of them has no image, or an image is no
    regular file;
    ParameterError: ``size`` is below 1 or ``shorter_side`` below ``size``.

    >>> import tempfile
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for label in ("cat", "dog"):
    ...         Path(folder, label).mkdir()
    ...         Image.new("RGB", (40, 30)).save(Path(folder, label, "1.png"))
    ...     pictures = load_folder(folder, size=8, name="pets")
    ...     pictures.label_names, pictures.labels.tolist(), pictures.in_memory().shape
    (('cat', 'dog'), [0, 1], (3, 8, 8))
    """
    check_at_least("size", size, 1)
    shorter = shorter_side_for(size) if shorter_side is None else shorter_side
    if shorter < size:
        raise ParameterError(f"shorter_side={shorter} is too small; it must be at least size={size}")
    above = Path(path).expanduser()
    folder = above if split is None else above / split
    if not folder.is_dir():
        raise DataError(f"{folder}: not a folder; a folder with one folder for each label is expected")
    names = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
    if not names:
        raise DataError(f"{folder}: has no folders; one for each label is expected")
    files, labels = [], []
    sha = hashlib.sha256(f"folder 1\n{size} {shorter}\n{names!r}\n".encode())
    for label, label_name in enumerate(names):
        walk = sorted(os.walk(folder / label_name, followlinks=True))
        paths = [os.path.join(where, file) for where, _, found in walk for file in sorted(found)]
        images = [path for path in paths if path.lower().endswith(EXTENSIONS)]
        if not images:
            raise DataError(f"{folder / label_name}: has no image ({', '.join(EXTENSIONS)} are looked for)")
        labels += [label] * len(images)
        for path in images:
            if not os.path.isfile(path):  # a link to nothing, a pipe that nobody writes to
                raise DataError(f"{path}: not a regular file; an image is expected")
            files.append(os.path.relpath(path, folder))
            sha.update(f"{files[-1]}\n{os.path.getsize(path)}\n".encode())
    title, source = name or above.name, f"folder {'/'.join(folder.parts[-2:])}"
    return FolderSet(
        folder, tuple(files), torch.tensor(labels), tuple(names), size, shorter,
        title, split or "all", source, sha.hexdigest(), title,
    )  # fmt: skip
