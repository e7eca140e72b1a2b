"""The cache of decoded sets: one folder per source, memory-mapped, complete or not there at all.

``<cache>/sets/<name>-<split>-<key>/`` holds ``images.npy`` (uint8, N, C, H, W), ``labels.npy`` (int64, N)
and ``meta.json`` (label names, title, source, digest). ``key`` is a digest of the source's bytes and of how
they are decoded. A folder is filled under a temporary name and renamed; one lock per key keeps two processes
from decoding the same source at once.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock

from filterwise.data.imageset import ImageSet
from filterwise.errors import DataError

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


def cache_folder(cache: str | os.PathLike[str] | None = None) -> Path:
    """``cache``, else the environment variable FILTERWISE_CACHE, else ``~/.cache/filterwise``."""
    chosen = cache or os.environ.get("FILTERWISE_CACHE") or Path.home() / ".cache" / "filterwise"
    return Path(chosen).expanduser()


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
        write_text(note, json.dumps({"known_by": known_by, "sha256": digest}))
    return digest


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_text(file: Path, text: str) -> None:
    """Write under a temporary name in the same folder, then rename."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".tmp-{file.name}-")
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text)
    os.replace(temporary, file)


def cached(folder: Path, fill: Callable[[Path], Meta]) -> ImageSet:
    """The set in ``folder``, which ``fill`` makes when it is missing or broken.

    ``fill`` writes ``images.npy`` and ``labels.npy`` into the folder it is given and returns the rest. When
    it raises, nothing is left behind. A broken folder is set aside with a warning.

    Raises
    ------
    DataError
        The cache folder cannot be written; or whatever ``fill`` raises.
    """
    found = open_set(folder)
    if found is not None:
        return found
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder.parent / f"{folder.name}.lock")
        lock.acquire()
    except OSError as error:
        raise DataError(
            f"cache folder {folder.parent}: cannot be written ({error}); "
            "set FILTERWISE_CACHE or cache= to another"
        ) from None
    try:
        found = open_set(folder)
        if found is not None:  # another process was faster
            return found
        for stale in folder.parent.glob(f".tmp-{folder.name}-*"):  # of a process that was killed
            shutil.rmtree(stale, ignore_errors=True)
        if folder.exists():
            aside = folder.with_name(f"{folder.name}.broken-{time.time_ns()}")
            os.replace(folder, aside)
            log.warning("cache folder %s is broken; set aside as %s and made again", folder, aside.name)
        temporary = folder.with_name(f".tmp-{folder.name}-{os.getpid()}")  # the lock makes it unique
        temporary.mkdir()
        try:
            meta = fill(temporary)
            write_text(temporary / "meta.json", json.dumps(asdict(meta), indent=1, ensure_ascii=False))
            os.replace(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    finally:
        lock.release()
    made = open_set(folder)
    if made is None:
        raise DataError(f"cache folder {folder}: cannot be read back after it was written; is the disk full?")
    return made


def create_images(folder: Path, shape: tuple[int, ...]) -> np.memmap:
    """``folder/images.npy`` to be filled, uint8 of that shape, its space on the disk reserved.

    Raises
    ------
    DataError
        The disk is full. Without reserving, a full disk would end the process when a page is written.
    """
    file = folder / "images.npy"
    try:
        images: np.memmap = np.lib.format.open_memmap(file, mode="w+", dtype=np.uint8, shape=shape)
        if hasattr(os, "posix_fallocate"):
            with file.open("r+b") as stream:
                os.posix_fallocate(stream.fileno(), 0, file.stat().st_size)
    except OSError as error:
        raise DataError(
            f"cache folder {folder.parent}: no room for {np.prod(shape)} bytes ({error})"
        ) from None
    return images


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
    if (
        images.dtype != np.uint8
        or images.ndim != 4
        or len(images) != meta.images
        or labels.shape != (meta.images,)
    ):
        return None
    return ImageSet(
        images=torch.from_numpy(images),
        labels=torch.from_numpy(labels.astype(np.int64, copy=False)),
        label_names=meta.label_names,
        name=meta.name,
        split=meta.split,
        source=meta.source,
        digest=meta.digest,
        title=meta.title,
    )
