"""Everything that an archive should keep of one state of the book, in one folder."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from filterwise import claims, disk
from filterwise.book.assembly import build
from filterwise.errors import ParameterError
from filterwise.files import atomic, checkout, data_folder

_FRAME = ("README.md", "LICENSE", "CITATION.cff", "CHANGELOG.md", "requirements.txt")
_SUMS = "SHA256SUMS"


def archive(
    out: str | Path, root: str | Path | None = None, say: Callable[[str], object] = lambda line: None
) -> Path:
    """Build the book where it changed, and write pages, records, claims and environment into a new folder.

    ``book/`` holds the pages, ``records/`` and ``claims/`` what they are computed from, ``claims.json`` every
    verdict with its interval and sources, ``environment.txt`` the versions of Python and of all packages
    that were installed, ``source.tar.gz`` the committed source where git is at hand, and ``SHA256SUMS``
    (for ``sha256sum -c``) all of these files. It appears whole or not at all.

    Parameters
    ----------
    out : the folder; it must not be there, or be empty
    root : the repository; the one that this package lies in when not given
    say : is given a line for each step

    Raises ParameterError: ``out`` holds something; FolderError: it cannot be made; BookError: the book cannot
    be built.
    """
    root, out = Path(root or checkout() or Path.cwd()).resolve(), Path(out).resolve()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ParameterError(f"out={str(out)!r} holds something; a release is written into a new folder")
    disk.check_writable(out.parent, "release")
    pages = build(root, say=say).index.parent
    with disk.naming(out.parent, "release"), atomic(out) as folder:
        shutil.copytree(pages, folder / "book")
        for name in ("records", "claims"):
            shutil.copytree(data_folder(name), folder / name, ignore=shutil.ignore_patterns(".*"))
        verdicts = claims.entries(claims.findings())
        text = json.dumps(verdicts, indent=1, ensure_ascii=False, allow_nan=False)
        (folder / "claims.json").write_text(text + "\n", encoding="utf-8")
        (folder / "environment.txt").write_text(_environment(), encoding="utf-8")
        for name in _FRAME:
            if (root / name).is_file():
                shutil.copy(root / name, folder)
        say(_source(root, folder / "source.tar.gz"))
        sums = [f"{_sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in _files(folder)]
        (folder / _SUMS).write_text("".join(sums), encoding="utf-8")
        out.rmdir() if out.is_dir() else None
    say(f"{len(sums)} files, {len(verdicts)} verdicts: {out}")
    return out


def _environment() -> str:
    found = {f"{each.name}=={each.version}" for each in importlib.metadata.distributions() if each.name}
    head = f"# Python {platform.python_version()}, {platform.system()} {platform.machine()}\n"
    return head + "\n".join(sorted(found, key=str.lower)) + "\n"


def _source(root: Path, target: Path) -> str:
    """Write what is committed; returns what was done, in words."""
    git = shutil.which("git")
    if git is None or not (root / ".git").exists():
        return "no git repository here: the source is not part of the release"
    asked = [git, "-C", str(root)]
    subprocess.run([*asked, "archive", "--format=tar.gz", "-o", str(target), "HEAD"], check=True)
    changed = subprocess.run([*asked, "status", "--porcelain"], capture_output=True, text=True, check=True)
    return "source of HEAD" + (", without changes that are not committed" if changed.stdout else "")


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _sha256(path: Path) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
