"""The pages that no one writes by hand: the ledger of claims and the record of execution, as Markdown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from filterwise.files import data_folder


def status(chapters: Sequence[Path]) -> str:
    """A table of the executed chapters and what they ran on.

    Notebooks that :mod:`filterwise.book.executing` did not keep are listed as not timed.
    """
    if not chapters:
        return "There is no chapter in this book yet."
    rows = []
    for path in chapters:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        link = f"[](/{path.parent.name}/{path.name})"
        about = notebook["metadata"].get("filterwise")
        if about is None:
            rows.append((link, "", "executed by Jupyter Book, not timed", "", "", ""))
            continue
        date = about["date"][:16].replace("T", " ") + " UTC"
        seconds = f"{about['seconds']:.0f} s"
        versions = f"Python {about['python']}, torch {about['torch']}"
        rows.append((link, about.get("profile", ""), date, seconds, about["device"], versions))
    return _table(("Chapter", "Profile", "Executed", "Time", "Device", "Versions"), rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def ledger_sources() -> list[Path]:
    """The committed files that the ledger is computed from."""
    return sorted([*data_folder("claims").glob("*.yml"), *data_folder("records").glob("*/*.csv")])


def ledger() -> str:
    """Every claim with the paper's number, what was measured, and the verdict for each profile.

    The page that holds it has the title, so the ledger's own is left out.
    """
    from filterwise.claims import ledger_page

    lines = ledger_page().splitlines()
    return "\n".join(line for line in lines if not line.startswith("# "))
