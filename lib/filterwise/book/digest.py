"""Digests of what a page depends on: a folder's files, a chapter's code, the installed versions."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from filterwise.errors import BookError

# What a chapter's outputs can depend on. Compiled files and editors' copies are left out.
_LIBRARY_SUFFIXES = {".py", ".js", ".css", ".json", ".yml", ".html"}
_DATA_SUFFIXES = {".csv", ".yml", ".npz", ".safetensors", ".json"}


def _files(folder: Path, suffixes: set[str]) -> list[Path]:
    found = sorted(path for path in folder.rglob("*") if path.suffix in suffixes and path.is_file())
    return [path for path in found if not any(part[0] == "." for part in path.relative_to(folder).parts)]


def of_files(root: Path, paths: Iterable[Path]) -> str:
    """Digest of the files' names (relative to ``root``) and contents."""
    contents = {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}
    return of_values({name: hashlib.sha256(content).hexdigest() for name, content in contents.items()})


def of_values(values: Mapping[str, Any]) -> str:
    """Digest of plain values, whatever the order of their names."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()


def surroundings(root: Path) -> dict[str, str]:
    """What every chapter depends on besides its own cells: library, records, requirements, versions.

    Stored runs and caches (``data/runs``, ``data/cache``) are left out: they are results, keyed themselves.
    """
    data = [path for name in ("records", "claims") for path in _files(root / "data" / name, _DATA_SUFFIXES)]
    requirements = root / "requirements.txt"
    return {
        "library": of_files(root, _files(root / "lib", _LIBRARY_SUFFIXES)),
        "data": of_files(root, data),
        "requirements": of_files(root, [requirements] if requirements.is_file() else []),
        "python": platform.python_version(),
        "torch": metadata.version("torch"),
    }


def chapter_key(root: Path, chapter: Path, parameters: Mapping[str, Any], around: Mapping[str, str]) -> str:
    """The key under which an executed chapter is kept; ``around`` is the answer of :func:`surroundings`.

    Sources and tags of code cells count; the prose between them cannot change an output.
    Raises BookError: the file is no notebook.
    """
    name = chapter.relative_to(root).as_posix()
    try:
        notebook = json.loads(chapter.read_text(encoding="utf-8"))
        code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
        cells = [["".join(cell["source"]), cell.get("metadata", {}).get("tags", [])] for cell in code]
    except (ValueError, KeyError, TypeError) as error:
        raise BookError(f"{name} is not a notebook: {error}") from None
    return of_values({"name": name, "cells": cells, "parameters": dict(parameters), **around})
