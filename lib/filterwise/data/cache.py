"""The cache of decoded sets: one folder per source, memory-mapped, complete or not there at all.

``<cache>/sets/<name>-<split>-<key>/`` holds ``images.npy`` (uint8, N, C, H, W), ``labels.npy`` (int64, N)
and ``meta.json`` (label names, title, source, digest, and checksums of all three). ``key`` is a digest of the
source's bytes and of how they are decoded.

Both arrays are checked against their CRC-32 whenever a set is opened: it finds every change within 32 bits in
a row and all but one of 4e9 others, in a quarter of the time that SHA-256 takes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from filterwise.data.catalog import SetInfo
from filterwise.data.imageset import ImageSet, content_digest
from filterwise.errors import DataError
from filterwise.files import atomic, lock

log = logging.getLogger(__name__)

DECODER_VERSION = 2  # raise it when the same source would be decoded to other pixels or another layout
ARRAYS = ("images.npy", "labels.npy")
ALWAYS_HASHED = 32 * 2**20  # bytes; larger files are hashed once and then known by size and time


@dataclass(frozen=True)
class Meta:
    """What a cache folder says of itself; ``complete`` when it holds as many images as the catalogue says.

    ``sums`` are the CRC-32 of its arrays' files.
    """

    name: str
    split: str
    title: str
    source: str
    label_names: tuple[str, ...]
    images: int
    digest: str
    complete: bool
    sums: Mapping[str, int] = field(default_factory=dict)
    version: int = DECODER_VERSION


def source_key(files: Sequence[Path], cache: Path, how: str) -> str:
    """A key for these files' bytes and for ``how`` they are decoded.

    Small files are hashed every time. A large one is hashed once and afterwards known by its path, size,
    inode and times of change, unless these are so recent that a second change could hide behind them.
    """
    sha = hashlib.sha256(f"{DECODER_VERSION}\n{how}\n".encode())
    for file in files:
        sha.update(_file_digest(file, cache).encode())
    return sha.hexdigest()[:16]


def _file_digest(file: Path, cache: Path) -> str:
    status = file.stat()
    if status.st_size <= ALWAYS_HASHED:
        return _sha256(file)
    path = str(file.resolve())
    note = cache / "sources" / f"{hashlib.sha256(path.encode()).hexdigest()[:16]}.json"
    known_by = [path, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
    try:
        noted = json.loads(note.read_text())
        if noted["known_by"] == known_by:
            return str(noted["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    digest = _sha256(file)
    if time.time_ns() - status.st_mtime_ns > 2 * 10**9:
        with atomic(note) as temporary:
            temporary.write_text(json.dumps({"known_by": known_by, "sha256": digest}))
    return digest


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def cached(folder: Path, fill: Callable[[Path], Meta]) -> ImageSet:
    """The set in ``folder``, which ``fill`` makes when it is missing or broken; by one process at a time.

    ``fill`` writes ``images.npy`` and ``labels.npy`` into the folder it is given and returns the rest. When
    it raises, nothing is left behind. A broken folder is set aside with a warning.

    Raises DataError: the cache folder cannot be written; or whatever ``fill`` raises.
    """
    try:
        found = sound(folder)
        if found is None:
            with _lock(folder):
                found = open_set(folder)  # another process may have been faster
                if found is None:
                    _make(folder, fill)
                    found = open_set(folder)
    except OSError as error:
        where = f"cache folder {folder.parent}: cannot be written ({error})"
        raise DataError(f"{where}; set FILTERWISE_CACHE or cache= to another") from None
    if found is None:
        raise DataError(f"cache folder {folder}: cannot be read back after it was written; is the disk full?")
    return found


def sound(folder: Path) -> ImageSet | None:
    """The cached set, or None when it is missing; a broken one is set aside, with a warning that says why.

    Raises OSError: it is broken and cannot be set aside.
    """
    with contextlib.suppress(DataError):
        return open_set(folder)
    with _lock(folder):  # what another process has made again since is not set aside
        try:
            return open_set(folder)
        except DataError as error:
            _set_aside(folder, str(error))
    return None


def _lock(folder: Path) -> contextlib.AbstractContextManager[None]:
    return lock(folder.with_name(f"{folder.name}.lock"))


def _set_aside(folder: Path, why: str) -> None:
    aside = folder.with_name(f"{folder.name}.broken-{time.time_ns()}")
    os.replace(folder, aside)
    log.warning("cache folder %s is broken; set aside as %s: %s", folder, aside.name, why)


def _make(folder: Path, fill: Callable[[Path], Meta]) -> None:
    for stale in folder.parent.glob(f".{folder.name}.*"):  # of a process that was killed
        shutil.rmtree(stale, ignore_errors=True)
    if folder.exists():
        _set_aside(folder, "no meta.json of this version")
    with atomic(folder) as temporary:
        temporary.mkdir()
        values = asdict(fill(temporary))
        text = json.dumps({**values, "checksum": _sum_of(values)}, indent=1, ensure_ascii=False)
        (temporary / "meta.json").write_text(text, encoding="utf-8")


def _sum_of(values: Mapping[str, Any]) -> str:
    """SHA-256 of plain values, whatever the order of their names."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _crc(file: Path) -> int:
    total, block = 0, bytearray(2**20)
    with file.open("rb", buffering=0) as stream:
        while size := stream.readinto(block):
            total = zlib.crc32(memoryview(block)[:size], total)
    return total


def create_images(folder: Path, shape: tuple[int, ...]) -> np.memmap:
    """``folder/images.npy`` to be filled, uint8 of that shape, its space on the disk reserved.

    Raises DataError if the disk is full, which otherwise would end the process when a page is written.
    """
    file = folder / "images.npy"
    try:
        images: np.memmap = np.lib.format.open_memmap(file, mode="w+", dtype=np.uint8, shape=shape)
        if hasattr(os, "posix_fallocate"):
            with file.open("r+b") as stream:
                os.posix_fallocate(stream.fileno(), 0, file.stat().st_size)
    except OSError as error:
        size = np.prod(shape)
        raise DataError(f"cache folder {folder.parent}: no room for {size} bytes ({error})") from None
    return images


def finish(
    folder: Path, info: SetInfo, split: str, images: np.memmap, labels: np.ndarray,
    label_names: tuple[str, ...], source: str, title: str = "",
) -> Meta:  # fmt: skip
    """Write the labels beside images that were filled, and say what the folder holds."""
    np.save(folder / "labels.npy", labels)
    images.flush()
    digest = content_digest(images, labels, label_names)
    complete = info.counts.get(split) == len(images)
    sums = {name: _crc(folder / name) for name in ARRAYS}
    title = title or info.name
    return Meta(info.name, split, title, source, label_names, len(images), digest, complete, sums)


def read_meta(folder: Path) -> Meta | None:
    """What the folder says of itself, or None when it is missing or of another version.

    Raises DataError: ``meta.json`` is broken.
    """
    file = folder / "meta.json"
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        if values["version"] != DECODER_VERSION:
            return None
        if values.pop("checksum") != _sum_of(values):
            raise DataError(f"{file} is not what was written")
        return Meta(**{**values, "label_names": tuple(values["label_names"])})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file}: {error}") from None


def open_set(folder: Path) -> ImageSet | None:
    """The cached set, its images mapped privately (writing to them changes no file), or None when there is
    none.

    Raises DataError: names the file, and the row of a label that is out of range, if the set is broken.
    """
    meta = read_meta(folder)
    if meta is None:
        return None
    try:
        images = np.load(folder / "images.npy", mmap_mode="c", allow_pickle=False)
        labels = np.load(folder / "labels.npy", allow_pickle=False)
        changed = [name for name in ARRAYS if _crc(folder / name) != meta.sums.get(name)]
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{folder}: {error}") from None
    count = (meta.images,)
    types = images.dtype == np.uint8 and labels.dtype.kind in "iu"
    if not types or images.ndim != 4 or images.shape[:1] != count or labels.shape != count:
        raise DataError(f"{folder}: arrays of other shapes or types than meta.json says")
    outside = np.flatnonzero((labels < 0) | (labels >= len(meta.label_names)))
    if len(outside):
        known = f"0 to {len(meta.label_names) - 1} is expected"
        where = f"{folder / ARRAYS[1]}, row {outside[0]}"
        raise DataError(f"{where}: label {labels[outside[0]]} is out of range; {known}")
    if changed:
        raise DataError(f"{folder / changed[0]} is not what was written")
    tensors = torch.from_numpy(images), torch.from_numpy(labels.astype(np.int64, copy=False))
    return ImageSet(
        *tensors, meta.label_names, meta.name, meta.split, meta.source, digest=meta.digest, title=meta.title
    )
