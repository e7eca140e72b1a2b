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


def files(folder: Path, suffixes: Iterable[str]) -> list[Path]:
    """All files under ``folder`` with one of ``suffixes``, sorted; none if the folder is missing."""
    allowed = set(suffixes)
    if not folder.is_dir():
        return []
    found = (path for path in folder.rglob("*") if path.suffix in allowed and path.is_file())
    return sorted(
        path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def of_files(root: Path, paths: Iterable[Path]) -> str:
    """Digest of the files' names (relative to ``root``) and contents."""
    total = hashlib.sha256()
    for path in paths:
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        total.update(f"{path.relative_to(root).as_posix()} {content}\n".encode())
    return total.hexdigest()


def of_values(values: Mapping[str, Any]) -> str:
    """Digest of plain values, whatever the order of their names.

    >>> of_values({"a": 1, "b": [2]}) == of_values({"b": [2], "a": 1})
    True
    """
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()


def surroundings(root: Path) -> dict[str, str]:
    """What every chapter depends on besides its own cells: library, records, requirements, versions.

    Stored runs and caches (``data/runs``, ``data/cache``) are left out: they are results, keyed themselves.
    """
    data = [path for name in ("records", "claims") for path in files(root / "data" / name, _DATA_SUFFIXES)]
    requirements = root / "requirements.txt"
    return {
        "library": of_files(root, files(root / "lib", _LIBRARY_SUFFIXES)),
        "data": of_files(root, data),
        "requirements": of_files(root, [requirements] if requirements.is_file() else []),
        "python": platform.python_version(),
        "torch": metadata.version("torch"),
    }


def code_cells(notebook: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What of each code cell can change its output: source and tags. Prose between them cannot."""
    return [
        {"source": "".join(cell["source"]), "tags": cell.get("metadata", {}).get("tags", [])}
        for cell in notebook["cells"]
        if cell["cell_type"] == "code"
    ]


def chapter_key(root: Path, chapter: Path, parameters: Mapping[str, Any], around: Mapping[str, str]) -> str:
    """The key under which an executed chapter is kept.

    Parameters
    ----------
    root : the repository.
    chapter : the notebook, under ``root``.
    parameters : what it is run with.
    around : the answer of :func:`surroundings`, which is the same for all chapters.

    Raises
    ------
    BookError
        The file is no notebook.
    """
    name = chapter.relative_to(root).as_posix()
    try:
        cells = code_cells(json.loads(chapter.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError) as error:
        raise BookError(f"{name} is not a notebook: {error}") from None
    return of_values({"name": name, "cells": cells, "parameters": dict(parameters), **around})
