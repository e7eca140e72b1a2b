"""Reading the published archives of CIFAR-10, CIFAR-100 and Flowers-102 into the cache.

CIFAR's files are pickles. They are read by an unpickler that builds arrays and plain values only, so that
even an archive that is not the published one cannot run code.
"""

from __future__ import annotations

import io
import pickle
import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from filterwise.data.cache import Meta, create_images
from filterwise.data.catalog import SetInfo
from filterwise.data.decoding import LARGEST_PHOTO_SIDE, bombs_are_errors, decode, shorter_side_for
from filterwise.data.imageset import content_digest
from filterwise.errors import DataError

# by set: folder in the archive, files by split, file of names, its key, key of the labels
_CIFAR: dict[str, tuple[str, dict[str, tuple[str, ...]], str, str, str]] = {
    "cifar10": (
        "cifar-10-batches-py",
        {"train": tuple(f"data_batch_{number}" for number in range(1, 6)), "test": ("test_batch",)},
        "batches.meta",
        "label_names",
        "labels",
    ),
    "cifar100": (
        "cifar-100-python",
        {"train": ("train",), "test": ("test",)},
        "meta",
        "fine_label_names",
        "fine_labels",
    ),
}

# what a broken archive, or a broken pickle in it, can make Python raise
_BROKEN = (
    tarfile.TarError,
    pickle.UnpicklingError,
    zlib.error,
    OSError,
    EOFError,
    KeyError,
    TypeError,
    ValueError,
    AttributeError,
    IndexError,
)


def fill(folder: Path, archives: Sequence[Path], info: SetInfo, split: str, size: int | None) -> Meta:
    """Read one split from its archives into ``folder`` as `cache.cached` wants it.

    Raises
    ------
    DataError
        An archive is broken, or does not hold what the set is known to hold; the message names the file.
    """
    if info.name in _CIFAR:
        images, labels, names = _read_cifar(archives[0], info.name, split)
        np.save(folder / "images.npy", images)
    else:
        if size is None:
            raise ValueError("Flowers-102 needs a size")
        images, labels, names = _read_flowers(folder, archives, split, size)
    np.save(folder / "labels.npy", labels)
    return Meta(
        name=info.name,
        split=split,
        title=info.name,
        source=f"download {archives[0].name}",
        label_names=names,
        images=len(images),
        digest=content_digest(images, labels, names),
        complete=info.counts.get(split) == len(images),
    )


class _ArraysOnly(pickle.Unpickler):
    """Builds numpy arrays, strings, numbers and containers; refuses every other name."""

    def find_class(self, module: str, name: str) -> Any:
        if module == "numpy" and name == "dtype":
            # CIFAR's pickles give 0 and 1 where numpy now wants False and True
            return lambda spec, *flags: np.dtype(spec, *(bool(flag) for flag in flags))
        allowed = {
            ("numpy", "ndarray"),
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
            ("_codecs", "encode"),
        }
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def _read_cifar(archive: Path, name: str, split: str) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    inside, files, names_file, names_key, labels_key = _CIFAR[name]
    images, labels = [], []
    try:
        with tarfile.open(archive, "r:gz") as tar:
            label_names = tuple(_member(tar, f"{inside}/{names_file}")[names_key])
            for file in files[split]:
                batch = _member(tar, f"{inside}/{file}")
                pixels, numbers = np.asarray(batch["data"]), np.asarray(batch[labels_key])
                where = f"{archive}, {inside}/{file}"
                if pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.shape[1] != 3 * 32 * 32:
                    raise DataError(
                        f"{where}: data is {pixels.dtype} {pixels.shape}; uint8 rows of 3072 are expected"
                    )
                if numbers.shape != (len(pixels),) or numbers.dtype.kind not in "iu":
                    raise DataError(
                        f"{where}: labels have shape {numbers.shape}; {len(pixels)} integers are expected"
                    )
                wrong = np.flatnonzero((numbers < 0) | (numbers >= len(label_names)))
                if len(wrong):
                    raise DataError(
                        f"{where}, row {wrong[0]}: label {numbers[wrong[0]]} is out of range; "
                        f"0 to {len(label_names) - 1} is expected"
                    )
                images.append(pixels.reshape(-1, 3, 32, 32))
                labels.append(numbers.astype(np.int64))
    except _BROKEN as error:
        raise DataError(f"{archive}: not a readable archive of {name}: {error}") from None
    return np.concatenate(images), np.concatenate(labels), label_names


def _member(tar: tarfile.TarFile, name: str) -> dict[str, Any]:
    stream = tar.extractfile(name)
    if stream is None:
        raise KeyError(name)
    return dict(_ArraysOnly(io.BytesIO(stream.read()), encoding="latin1").load())


def _read_flowers(
    folder: Path, archives: Sequence[Path], split: str, size: int
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    from scipy.io import loadmat

    pictures, labels_file, splits_file = archives
    key = {"train": "trnid", "val": "valid", "test": "tstid"}[split]
    try:
        all_labels = loadmat(labels_file)["labels"].astype(np.int64).reshape(-1) - 1
        numbers = loadmat(splits_file)[key].astype(np.int64).reshape(-1)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{labels_file}, {splits_file}: not readable as labels and splits: {error}") from None
    names = tuple(str(label) for label in range(102))
    if numbers.min() < 1 or numbers.max() > len(all_labels):
        raise DataError(
            f"{splits_file}: image numbers {numbers.min()} to {numbers.max()}; "
            f"1 to {len(all_labels)} is expected"
        )
    if all_labels.min() < 0 or all_labels.max() > 101:
        raise DataError(
            f"{labels_file}: labels from {all_labels.min() + 1} to {all_labels.max() + 1}; "
            "1 to 102 is expected"
        )
    row_of = {f"jpg/image_{number:05d}.jpg": row for row, number in enumerate(numbers)}
    images = create_images(folder, (len(numbers), 3, size, size))
    found = 0
    try:
        with tarfile.open(pictures, "r:gz") as tar, bombs_are_errors():
            for member in tar:
                row = row_of.get(member.name.removeprefix("./"))
                stream = tar.extractfile(member) if row is not None else None
                if row is not None and stream is not None:
                    where = f"{pictures}, {member.name}"
                    resize = (shorter_side_for(size), size)
                    images[row] = decode(stream.read(), where, 3, LARGEST_PHOTO_SIDE, resize)[0]
                    found += 1
    except _BROKEN as error:
        raise DataError(f"{pictures}: not a readable archive of flowers102: {error}") from None
    if found != len(numbers):
        raise DataError(f"{pictures}: has {found} of the {len(numbers)} images of the split {split!r}")
    images.flush()
    return images, all_labels[numbers - 1], names
