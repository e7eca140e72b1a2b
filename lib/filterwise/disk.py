"""What disks do to programs: full and read-only folders by their names, and what killed processes left."""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import re
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from filterwise.errors import RunError
from filterwise.files import lock

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG}
_CLOSED = {errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST}
_ROOM = 2**20  # bytes that a folder must take before anything is begun
_HEX = "[0-9a-f]" * 32
_YOUNG = 60.0  # seconds in which a folder may have been made and not locked yet
_LOCK = "owner.lock"


class FolderError(RunError, OSError):
    """A folder is full, or cannot be written to; the message names it."""


@contextlib.contextmanager
def naming(folder: str | os.PathLike[str], asked: str = "") -> Iterator[None]:
    """Turn what the system says of a full or closed disk into one line that names ``folder``.

    ``asked`` is how the folder was given, such as ``--runs``. Other errors, and those about files elsewhere,
    pass as they are.

    Raises FolderError.
    """
    try:
        yield
    except FolderError:
        raise
    except Exception as error:
        number = getattr(error, "errno", None)
        if type(error).__name__ == "SafetensorError":  # which has the system's number in its text
            said = re.search(r"\(os error (\d+)\)", str(error))
            number = int(said[1]) if said else None
        about = Path(getattr(error, "filename", None) or folder).absolute()
        place = Path(folder).absolute()
        near = about == place or place in about.parents or about in place.parents
        if number not in _FULL and not (number in _CLOSED and near):
            raise
        given = f"{asked} " if asked else ""
        why = os.strerror(errno.ENOTDIR if number == errno.EEXIST else number)
        raise FolderError(f"{given}{folder} cannot be written to: {why}") from error


def check_writable(folder: str | os.PathLike[str], asked: str = "") -> None:
    """Before any work: make ``folder`` if it is not there, and see that it takes a megabyte.

    Nothing is left in it. Raises FolderError: names the folder, and how it was ``asked`` for.
    """
    with naming(folder, asked):
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(_ROOM))
            probe.flush()


@contextlib.contextmanager
def scratch(root: Path, kind: str) -> Iterator[Path]:
    """A folder ``root/.<kind>-<random>``, there as long as the block runs.

    Its lock is held meanwhile. Folders of the same kind whose lock nobody holds are of killed processes, and
    are removed.
    """
    for other in root.glob(f".{kind}-{_HEX}"):
        if _is_old(other):
            with contextlib.suppress(RunError, OSError), lock(other / _LOCK, timeout=0):
                shutil.rmtree(other, ignore_errors=True)
    folder = root / f".{kind}-{uuid.uuid4().hex}"
    folder.mkdir(parents=True)
    try:
        with lock(folder / _LOCK):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def forget_unfinished(path: Path, stem: str = "") -> None:
    """Remove the temporary names that :func:`filterwise.files.atomic` gave for ``path`` in killed processes.

    The caller must hold the lock of ``path``. ``stem`` is a pattern, for all files whose lock that is.
    """
    for left in path.parent.glob(f".{stem or glob.escape(path.stem)}.{_HEX}{path.suffix}"):
        if _is_old(left):
            with contextlib.suppress(OSError):
                shutil.rmtree(left) if left.is_dir() else left.unlink()


def _is_old(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime > _YOUNG
    except OSError:  # gone meanwhile
        return False
