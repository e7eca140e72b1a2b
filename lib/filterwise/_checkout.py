"""Where the repository is, if this package is used from one."""

from __future__ import annotations

from pathlib import Path


def checkout() -> Path | None:
    """The repository that this package, or else the working directory, lies in; ``None`` outside of one."""
    for start in (Path(__file__).resolve(), Path.cwd() / "_"):
        for folder in start.parents:
            if (folder / "pyproject.toml").is_file() and (folder / "lib" / "filterwise").is_dir():
                return folder
    return None
