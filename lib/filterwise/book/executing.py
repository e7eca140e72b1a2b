"""Chapters of the book are executed once and kept while what they depend on stays."""

from __future__ import annotations

import copy
import json
import os
import platform
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filterwise.book.digest import chapter_key
from filterwise.book.launcher import ChapterFailed, launch
from filterwise.errors import BookError, ParameterError
from filterwise.files import atomic
from filterwise.runs.time_left import text

# Outputs that only a live kernel can serve; the page shows the static twin instead.
_LIVE_ONLY = ("application/vnd.jupyter.widget-view+json", "application/vnd.jupyter.widget-state+json")
_KEPT_A_CHAPTER = 3
_ABANDONED = 24 * 3600.0  # seconds


@dataclass(frozen=True)
class Executed:
    """An executed chapter: the kept notebook, whether it ran just now, and how long it took (seconds)."""

    chapter: str
    path: Path
    ran: bool
    seconds: float


def execute(
    root: Path,
    chapter: str,
    keep: Path,
    around: Mapping[str, str],
    parameters: Mapping[str, Any],
    force: bool = False,
    cell_timeout: int = 1800,
    say: Callable[[str], object] = lambda line: None,
) -> Executed:
    """Execute ``chapter``, or find the kept notebook that the same sources gave.

    Parameters
    ----------
    root, chapter : the repository, and the notebook's path relative to it
    keep : folder of kept notebooks
    around : :func:`filterwise.book.digest.surroundings` of ``root``
    parameters : papermill parameters; each must be in the chapter's parameter cell
    force : run even if a kept notebook fits
    cell_timeout : seconds that one cell may take
    say : is given one line at the start and at the end

    Raises BookError: the chapter is missing or no notebook, has no such parameter, or one of its cells
    failed; the notebook as far as it came is then left in ``keep`` with the name ``failed-<chapter>.ipynb``.
    """
    source = root / chapter
    if not source.is_file():
        raise BookError(f"{chapter} is not there")
    kept = keep / f"{source.stem}-{chapter_key(root, source, parameters, around)[:16]}.ipynb"
    if kept.is_file() and not force:
        then = json.loads(kept.read_text(encoding="utf-8"))["metadata"]["filterwise"]
        say(f"{chapter}: kept from {then['date'][:10]}, when it took {then['seconds']:.0f} s")
        return Executed(chapter, kept, ran=False, seconds=then["seconds"])

    took = _last_seconds(keep, source.stem)
    about = f"; about {text(took)}, as the last time" if took else ""
    say(f"{chapter}: running, {', '.join(f'{name}={value}' for name, value in parameters.items())}{about}")
    failed, static = keep / f"failed-{source.stem}.ipynb", {"FILTERWISE_STATIC": "1"}
    started = time.perf_counter()
    try:
        with atomic(kept) as new:
            launch(
                source, parameters, new, failed=failed, cell_timeout=cell_timeout, environment=static,
                progress=sys.stderr.isatty(),
            )  # fmt: skip
            seconds = round(time.perf_counter() - started, 1)
            notebook = _tidy(json.loads(new.read_text(encoding="utf-8")))
            date = datetime.now(UTC).isoformat(timespec="seconds")
            facts = {**_machine(), "seconds": seconds, "date": date, **parameters}
            notebook["metadata"]["filterwise"] = facts
            new.write_text(json.dumps(notebook, indent=1, ensure_ascii=False), encoding="utf-8")
    except (ParameterError, ChapterFailed) as error:
        raise BookError(f"{chapter}: {error}") from None
    _forget_oldest(keep, source.stem)
    say(f"{chapter}: done in {seconds:.0f} s")
    return Executed(chapter, kept, ran=True, seconds=seconds)


def with_outputs(source: Mapping[str, Any], executed: Mapping[str, Any]) -> dict[str, Any]:
    """The notebook ``source`` with the outputs that the same code gave in ``executed``.

    Prose may have changed since; papermill's injected cell stays where papermill put it.
    """
    merged = {**copy.deepcopy(dict(source)), "metadata": copy.deepcopy(executed["metadata"]), "cells": []}
    ran = iter([cell for cell in executed["cells"] if cell["cell_type"] == "code"])
    for cell in copy.deepcopy(source["cells"]):
        if cell["cell_type"] == "code":
            result = next(ran)
            cell["outputs"], cell["execution_count"] = result["outputs"], result["execution_count"]
        merged["cells"].append(cell)
        if "parameters" in cell.get("metadata", {}).get("tags", []):
            merged["cells"].append(copy.deepcopy(next(ran)))
    merged["cells"] = without_empty_sections(merged["cells"])
    return merged


def without_empty_sections(cells: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The cells without those sections (``##``) whose outputs all say that nothing is recorded yet.

    A section starts with a cell whose first line is a heading of the second level or above, and ends before
    the next one. One without any output, such as an introduction, stays.

    >>> prose = {"cell_type": "markdown", "source": "## At the papers' scale", "metadata": {}}
    >>> line = {"data": {"text/plain": "Not recorded yet. Run it."}, "output_type": "execute_result"}
    >>> len(without_empty_sections([prose, {"cell_type": "code", "outputs": [line], "source": ""}, prose]))
    1
    """
    sections: list[list[dict[str, Any]]] = [[]]
    for cell in cells:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown" and re.match(r"##? ", text):
            sections.append([])
        sections[-1].append(cell)
    return [cell for section in sections if not _is_empty(section) for cell in section]


def _is_empty(section: Sequence[dict[str, Any]]) -> bool:
    said = [
        "".join(output.get("data", {}).get("text/plain", output.get("text", "")))
        for cell in section
        for output in cell.get("outputs", ())
    ]
    return bool(said) and all(text.startswith("Not recorded yet.") for text in said)


def _last_seconds(keep: Path, stem: str) -> float:
    """How long the newest kept execution of a chapter took; 0 without one."""
    kept = sorted(keep.glob(f"{stem}-*.ipynb"), key=lambda path: path.stat().st_mtime)
    return json.loads(kept[-1].read_text("utf-8"))["metadata"]["filterwise"]["seconds"] if kept else 0.0


def _machine() -> dict[str, str]:
    """What the numbers of a chapter were measured on."""
    import torch

    cuda = torch.cuda.is_available()
    device = torch.cuda.get_device_name(0) if cuda else f"CPU, {os.cpu_count()} cores"
    return {"python": platform.python_version(), "torch": torch.__version__, "device": device}


def _tidy(notebook: dict[str, Any]) -> dict[str, Any]:
    """Without papermill's notes on each cell and without widgets, which no page can serve."""
    notebook["metadata"].pop("widgets", None)
    for cell in notebook["cells"]:
        cell["metadata"].pop("papermill", None)
        cell["metadata"].pop("execution", None)
        for output in cell.get("outputs", []):
            for kind in _LIVE_ONLY:
                output.get("data", {}).pop(kind, None)
    return notebook


def _forget_oldest(keep: Path, stem: str) -> None:
    kept = sorted(keep.glob(f"{stem}-[0-9a-f]*.ipynb"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in kept[_KEPT_A_CHAPTER:]:
        path.unlink(missing_ok=True)
    for path in keep.glob(f".{stem}-*.ipynb"):  # of a process killed between execution and the end
        if time.time() - path.stat().st_mtime > _ABANDONED:
            path.unlink(missing_ok=True)
