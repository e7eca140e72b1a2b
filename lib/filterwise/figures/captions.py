"""What stands around a figure or table: number, caption, description; or that nothing is recorded yet."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import Any

from filterwise.errors import ParameterError
from filterwise.figures.book_figure import BookFigure
from filterwise.figures.twin import Twin


class Shown:
    """HTML as the value of a cell, and the words that stand for it where HTML is not shown.

    >>> Shown("<b>three</b>", "three")
    three
    """

    def __init__(self, html: str, text: str) -> None:
        self.html, self.text = html, text

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return self.html


class NotYet(Shown):
    """Stands in a page for what has not been recorded; shows itself as a line.

    >>> NotYet("Three widths are needed.")
    Not recorded yet. Three widths are needed.
    """

    def __init__(self, needs: str = "") -> None:
        text = f"Not recorded yet. {needs}".strip()
        super().__init__(f'<p class="fw-not-yet"><em>{marked_up(text)}</em></p>', text)


def marked_up(text: str) -> str:
    """Text as HTML; ``*words*`` are stressed, and words between backticks are code.

    >>> marked_up("a < b, *only* `x`")
    'a &lt; b, <em>only</em> <code>x</code>'
    """
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text, quote=False))
    return re.sub(r"\*([^*\s][^*]*)\*", r"<em>\1</em>", text)


def captioned(
    drawn: BookFigure | Sequence[BookFigure] | Shown | Twin,
    caption: str,
    name: str = "",
    number: str = "",
    alt: str = "",
) -> Shown | Twin:
    """A figure, table or explorer with its number and caption, as one HTML ``<figure>``.

    Where a kernel answers, an explorer stays live, with the caption under its widgets.

    Parameters
    ----------
    drawn : one figure, or several that stand below each other.
    caption : what to see; may use ``*stress*`` and backticks.
    name : anchor of the figure, ``fig-`` and small letters. Other pages link to it as they do to a heading:
        ``[how noise falls](4-sfp.ipynb#fig-noise)``, or ``[](#fig-noise)``, which reads "Figure 4.3"; the
        build fails if there is no such figure.
    number : such as ``Figure 4.3``.
    alt : description for who does not see it; the caption's words if not given.

    Raises ParameterError: there is no caption, or the name cannot be an anchor.

    >>> captioned(Shown("<b>3</b>", "3"), "*Three.*", name="fig-three", number="Figure 1").html[:42]
    '<figure class="fw-figure" style="margin:0 '
    """
    if not caption.strip():
        raise ParameterError("caption is empty; say what there is to see")
    if name and not re.fullmatch(r"fig-[a-z0-9-]+", name):
        raise ParameterError(f"name={name!r} must be fig- and small letters, digits and dashes")
    words = re.sub(r"[*`]", "", caption)
    numbered = f"<strong>{escape(number)}.</strong> " if number else ""
    below = f"<figcaption>{numbered}{marked_up(caption)}</figcaption>"
    start = f'<figure class="fw-figure" style="margin:0 0 1rem"{f" id={name!r}" if name else ""}'
    start = start.replace("'", '"') + f' data-number="{escape(number)}">'
    text = f"{number}. {words}" if number else words
    if isinstance(drawn, Twin):
        twin = drawn

        def live() -> Any:
            import ipywidgets as widgets

            return widgets.VBox([twin.live(), widgets.HTML(below)])

        return Twin(live, lambda: f"{start}\n{twin.html()}\n{below}</figure>")
    if isinstance(drawn, Shown):
        return Shown(f"{start}\n{drawn.html}\n{below}</figure>", f"{drawn.text}\n{text}")
    several = [drawn] if isinstance(drawn, BookFigure) else list(drawn)
    body = "\n".join(figure.html(alt or words) for figure in several)
    return Shown(f"{start}\n{body}\n{below}</figure>", text)
