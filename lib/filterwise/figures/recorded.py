"""Figures of records that are still growing: drawn where there is something to draw, a sentence where not."""

from __future__ import annotations

from collections.abc import Callable, Sized
from typing import TypeVar

Rows = TypeVar("Rows", bound=Sized)
Drawn = TypeVar("Drawn")


class NotYet:
    """Stands in a page for what has not been recorded; shows itself as a sentence.

    >>> NotYet("Three widths are needed.")
    Not recorded yet. Three widths are needed.
    """

    def __init__(self, needs: str = "") -> None:
        self.needs = needs

    def __repr__(self) -> str:
        return f"Not recorded yet. {self.needs}".strip()

    def _repr_markdown_(self) -> str:
        return f"*{self!r}*"


def when_recorded(
    rows: Rows, draw: Callable[[Rows], Drawn], needs: str = "", least: int = 1
) -> Drawn | NotYet:
    """``draw(rows)``, or a sentence that says what is missing if there are fewer than ``least`` rows.

    Only too few rows are excused; an error in ``draw`` is raised as ever.

    Parameters
    ----------
    rows : a table or a mapping, such as fits by curve.
    draw : makes the figure or table.
    needs : what a reader would have to record, as a sentence.

    >>> when_recorded({}, len, "A fit needs three widths.")
    Not recorded yet. A fit needs three widths.
    >>> when_recorded({"LeNet": 1}, len)
    1
    """
    return draw(rows) if len(rows) >= least else NotYet(needs)
