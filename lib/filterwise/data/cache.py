"""The cache of decoded sets: one folder per source, memory-mapped, complete or not there at all.

``<cache>/sets/<name>-<split>-<key>/`` holds ``images.npy`` (uint8, N, C, H, W), ``labels.npy`` (int64, N)
and ``meta.json`` (label names, title, source, digest). ``key`` is a digest of the source's bytes and of how
they are decoded.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from filterwise.data.catalog import SetInfo
from filterwise.data.imageset import ImageSet, content_digest
from filterwise.errors import DataError
from filterwise.files import atomic, lock

log = logging.getLogger(__name__)

DECODER_VERSION = 1  # raise it when the same source would be decoded to other pixels or another layout
ALWAYS_HASHED = 32 * 2**20  # bytes; larger files are hashed once and then known by size and time


@dataclass(frozen=True)
class Meta:
    """What a cache folder says of itself; ``complete`` when it holds as many images as the catalogue says."""

    name: str
    split: str
    title: str
    source: str
    label_names: tuple[str, ...]
    images: int
    digest: str
    complete: bool
    version: int = DECODER_VERSION


def source_key(files: Sequence[Path], cache: Path, how: str) -> str:
    """A key for these files' bytes and for ``how`` they are decoded.

    Small files are hashed every time. A large one is hashed once and afterwards known by its path, size,
    inode and time of change, unless that time is so recent that a second change could hide behind it.
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
    known_by = [path, status.st_size, status.st_mtime_ns, status.st_ino]
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
    found = open_set(folder)
    if found is not None:
        return found
    try:
        with lock(folder.with_name(f"{folder.name}.lock")):
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


def _make(folder: Path, fill: Callable[[Path], Meta]) -> None:
    for stale in folder.parent.glob(f".{folder.name}.*"):  # of a process that was killed
        shutil.rmtree(stale, ignore_errors=True)
    if folder.exists():
        aside = folder.with_name(f"{folder.name}.broken-{time.time_ns()}")
        os.replace(folder, aside)
        log.warning("cache folder %s is broken; set aside as %s and made again", folder, aside.name)
    with atomic(folder) as temporary:
        temporary.mkdir()
        text = json.dumps(asdict(fill(temporary)), indent=1, ensure_ascii=False)
        (temporary / "meta.json").write_text(text, encoding="utf-8")


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
    return Meta(info.name, split, title or info.name, source, label_names, len(images), digest, complete)


def read_meta(folder: Path) -> Meta | None:
    """What the folder says of itself, or None when it is missing, broken or of another version."""
    try:
        values = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        meta = Meta(**{**values, "label_names": tuple(values["label_names"])})
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return meta if meta.version == DECODER_VERSION else None


def open_set(folder: Path) -> ImageSet | None:
    """The cached set, its images mapped privately (writing to them changes no file), or None."""
    meta = read_meta(folder)
    if meta is None:
        return None
    try:
        images = np.load(folder / "images.npy", mmap_mode="c", allow_pickle=False)
        labels = np.load(folder / "labels.npy", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    count = (meta.images,)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[:1] != count or labels.shape != count:
        return None
    tensors = torch.from_numpy(images), torch.from_numpy(labels.astype(np.int64, copy=False))
    return ImageSet(
        *tensors, meta.label_names, meta.name, meta.split, meta.source, digest=meta.digest, title=meta.title
    )
