"""Sections of a page of which nothing is recorded yet are left out of the built book; JupyterLab has them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any


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
