"""Where files are, and how they are written: at once or not at all, by one process at a time."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from filterwise.errors import RunError


def checkout() -> Path | None:
    """The repository that this package, or else the working directory, lies in; ``None`` outside of one."""
    for start in (Path(__file__).resolve(), Path.cwd() / "_"):
        for folder in start.parents:
            if (folder / "pyproject.toml").is_file() and (folder / "lib" / "filterwise").is_dir():
                return folder
    return None


def cache_folder(given: str | os.PathLike[str] | None = None) -> Path:
    """``given``, else the environment variable ``FILTERWISE_CACHE``, else ``~/.cache/filterwise``."""
    chosen = given or os.environ.get("FILTERWISE_CACHE") or Path.home() / ".cache" / "filterwise"
    return Path(chosen).expanduser()


def data_folder(name: str, given: str | os.PathLike[str] | None = None) -> Path:
    """A folder below ``data/`` of the repository: ``runs``, ``records``, ``claims``.

    ``given``, else the environment variable ``FILTERWISE_RUNS`` (``_RECORDS``, ``_CLAIMS``), else
    ``data/<name>`` of the repository, or of the working directory outside of one.
    """
    chosen = given or os.environ.get(f"FILTERWISE_{name.upper()}")
    return Path(chosen).expanduser() if chosen else (checkout() or Path.cwd()) / "data" / name


@contextlib.contextmanager
def atomic(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary name beside ``path``, for a file or a folder; it takes its place if the block ends well.

    The folder above is made. The temporary name keeps the suffix, and is gone after an error.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic(Path(folder) / "a.txt") as temporary:
    ...         _ = temporary.write_text("whole")
    ...     [path.name for path in Path(folder).iterdir()]
    ['a.txt']
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def lock(path: str | os.PathLike[str], timeout: float = -1) -> Iterator[None]:
    """Hold the lock file ``path``, for threads and processes alike; freed by the system if its holder dies.

    Raises RunError if another process holds it for longer than ``timeout`` seconds (-1 waits for ever).
    """
    from filelock import FileLock, Timeout

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    held = FileLock(path, timeout=timeout)
    try:
        held.acquire()
    except Timeout:
        raise RunError(f"{path} is held by another process; waited {timeout:g} s") from None
    try:
        yield
    finally:
        held.release()
