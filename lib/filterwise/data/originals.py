"""The published archives of CIFAR-10, CIFAR-100 and Flowers-102: fetched by pooch, and read into the cache.

Addresses and checksums are those that torchvision uses (a test compares them with an installed torchvision),
but nothing here needs torchvision itself. CIFAR's files are pickles. An unpickler reads them that builds
arrays and plain values only, so that even an archive that is not the published one cannot run code.
"""

from __future__ import annotations

import io
import os
import pickle
import sys
import tarfile
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from filterwise.data.cache import Meta, create_images, finish
from filterwise.data.catalog import SetInfo
from filterwise.data.decoding import LARGEST_PHOTO_SIDE, bombs_are_errors, decode, shorter_side_for
from filterwise.errors import DataError, ParameterError
from filterwise.files import lock

MIRROR_VARIABLE = "FILTERWISE_MIRROR"
TIMEOUT = 60.0  # seconds without a byte
RETRIES = 2  # after a connection that failed or bytes that were wrong


@dataclass(frozen=True)
class Archive:
    """One file to fetch: ``base`` and ``file`` make its address."""

    file: str
    base: str
    md5: str  # the only checksum that was published


_TORONTO = "https://www.cs.toronto.edu/~kriz/"
_OXFORD = "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/"

ARCHIVES: dict[str, tuple[Archive, ...]] = {
    "cifar10": (Archive("cifar-10-python.tar.gz", _TORONTO, "c58f30108f718f92721af3b95e74349a"),),
    "cifar100": (Archive("cifar-100-python.tar.gz", _TORONTO, "eb9058c3a382ffc7106e4002c42a8d85"),),
    "flowers102": (
        Archive("102flowers.tgz", _OXFORD, "52808999861908f626f3c1f4e79d11fa"),
        Archive("imagelabels.mat", _OXFORD, "e0620be6f572b9609742df49c70aed4d"),
        Archive("setid.mat", _OXFORD, "a5357ecc9cb78c4bef273ce3793fc85c"),
    ),
}


def fetch_archive(archive: Archive, folder: Path, mirror: str | None = None) -> Path:
    """The archive's path in ``folder``, fetched unless a copy with the right checksum is there.

    ``mirror``: address of a folder that has the same files; else the environment variable FILTERWISE_MIRROR,
    else where they were published.
    Raises ParameterError: the mirror is not an http or https address; DataError: pooch is missing, or the
    server cannot be reached, answers with an error, stops early or sends other bytes than expected; the
    message names the address and what else can be done. Nothing is left behind.
    """
    base = (mirror or os.environ.get(MIRROR_VARIABLE) or archive.base).rstrip("/") + "/"
    if urllib.parse.urlsplit(base).scheme not in ("http", "https"):
        raise ParameterError(f"mirror={base!r} is not an address; http://... or https://... is expected")
    try:
        import pooch
    except ImportError:
        raise DataError(f"to fetch {base}{archive.file} takes the package pooch: pip install pooch") from None
    source = pooch.create(
        folder, base, registry={archive.file: f"md5:{archive.md5}"}, retry_if_failed=RETRIES
    )
    downloader = pooch.HTTPDownloader(timeout=TIMEOUT, progressbar=sys.stderr.isatty())
    try:
        with lock(folder / f"{archive.file}.lock"):
            return Path(source.fetch(archive.file, downloader=downloader))
    except OSError as error:  # of the network as well as of the disk
        answer = getattr(error, "response", None)
        said = (
            f"the server answers {answer.status_code} {answer.reason}" if answer is not None else str(error)
        )
        reason = f"cannot be fetched: {said}"
    except ValueError as error:
        reason = f"checksum mismatch: {error}"
    raise DataError(
        f"{base}{archive.file}: {reason}; give another address by mirror= or {MIRROR_VARIABLE}, "
        f"or put the file there yourself: {folder / archive.file}"
    )


# images (N, C, H, W), labels (N,), label names
Read = tuple[np.memmap, np.ndarray, tuple[str, ...]]

# by set: folder in the archive, files by split, file of names, its key, key of the labels
_CIFAR: dict[str, tuple[str, dict[str, tuple[str, ...]], str, str, str]] = {
    "cifar10": (
        "cifar-10-batches-py",
        {"train": tuple(f"data_batch_{number}" for number in range(1, 6)), "test": ("test_batch",)},
        "batches.meta", "label_names", "labels",
    ),
    "cifar100": (
        "cifar-100-python", {"train": ("train",), "test": ("test",)},
        "meta", "fine_label_names", "fine_labels",
    ),
}  # fmt: skip


def fill(folder: Path, archives: Sequence[Path], info: SetInfo, split: str, size: int | None) -> Meta:
    """Read one split from its archives into ``folder`` as `cache.cached` wants it.

    Raises DataError: an archive is broken, or does not hold what it should; the message names the file.
    """
    read = _read_cifar if info.name in _CIFAR else _read_flowers
    try:
        images, labels, names = read(folder, archives, info.name, split, size or info.shape[-1])
    except DataError:
        raise
    except Exception as error:  # damaged bytes make tarfile, pickle and zlib raise almost anything
        files = ", ".join(str(archive) for archive in archives)
        raise DataError(f"{files}: not a readable archive of {info.name}: {error}") from None
    return finish(folder, info, split, images, labels, names, f"download {archives[0].name}")


class _ArraysOnly(pickle.Unpickler):
    """Builds numpy arrays, strings, numbers and containers; refuses every other name."""

    def find_class(self, module: str, name: str) -> Any:
        if module == "numpy" and name == "dtype":
            # CIFAR's pickles give 0 and 1 where numpy now wants False and True
            return lambda spec, *flags: np.dtype(spec, *(bool(flag) for flag in flags))
        module = module.replace("numpy.core", "numpy._core")
        arrays = {("numpy", "ndarray"), ("numpy._core.multiarray", "_reconstruct"), ("_codecs", "encode")}
        if (module, name) not in arrays:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed")
        return super().find_class(module, name)


def _read_cifar(folder: Path, archives: Sequence[Path], name: str, split: str, _: int) -> Read:
    inside, files, names_file, names_key, labels_key = _CIFAR[name]
    with tarfile.open(archives[0], "r:gz") as tar:
        label_names = tuple(_member(tar, f"{inside}/{names_file}")[names_key])
        batches = [_member(tar, f"{inside}/{file}") for file in files[split]]
    pixels = np.concatenate([batch["data"] for batch in batches])
    labels = np.concatenate([batch[labels_key] for batch in batches]).astype(np.int64)
    where, lowest, highest = f"{archives[0]}: {split}", labels.min(), labels.max()
    if pixels.dtype != np.uint8 or pixels.shape != (len(labels), 3 * 32 * 32):
        found = f"{pixels.dtype} {pixels.shape} for {len(labels)} labels"
        raise DataError(f"{where} is {found}; a row of 3072 uint8 for each is expected")
    if lowest < 0 or highest >= len(label_names):
        raise DataError(f"{where} has labels {lowest} to {highest}; 0 to {len(label_names) - 1} is expected")
    images = create_images(folder, (len(pixels), 3, 32, 32))
    images[:] = pixels.reshape(images.shape)
    return images, labels, label_names


def _member(tar: tarfile.TarFile, name: str) -> dict[str, Any]:
    stream = tar.extractfile(name)
    if stream is None:
        raise KeyError(name)
    return dict(_ArraysOnly(io.BytesIO(stream.read()), encoding="latin1").load())


def _read_flowers(folder: Path, archives: Sequence[Path], _: str, split: str, size: int) -> Read:
    from scipy.io import loadmat

    pictures, labels_file, splits_file = archives
    key = {"train": "trnid", "val": "valid", "test": "tstid"}[split]
    labels = loadmat(labels_file)["labels"].astype(np.int64).reshape(-1) - 1
    numbers = loadmat(splits_file)[key].astype(np.int64).reshape(-1)
    row_of = {f"jpg/image_{number:05d}.jpg": row for row, number in enumerate(numbers)}
    images = create_images(folder, (len(numbers), 3, size, size))
    found, resize = 0, (shorter_side_for(size), size)
    with tarfile.open(pictures, "r:gz") as tar, bombs_are_errors():
        for member in tar:
            row = row_of.get(member.name.removeprefix("./"))
            stream = tar.extractfile(member) if row is not None else None
            if row is not None and stream is not None:
                where = f"{pictures}, {member.name}"
                images[row] = decode(stream.read(), where, 3, LARGEST_PHOTO_SIDE, resize)[0]
                found += 1
    if found != len(numbers):
        raise DataError(f"{pictures}: has {found} of the {len(numbers)} images of the split {split!r}")
    return images, labels[numbers - 1], tuple(str(label) for label in range(102))
