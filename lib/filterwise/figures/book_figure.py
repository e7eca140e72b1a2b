"""The figure that pages show: one layout for a page and one for a phone, both as SVG, with a description."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from html import escape
from typing import TYPE_CHECKING, Any, ParamSpec

import matplotlib as mpl
from matplotlib.figure import Figure

from filterwise.figures.light_svg import lighter
from filterwise.figures.style import PARAMETERS, Look

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

P = ParamSpec("P")

WIDTH, PHONE_WIDTH = 7.2, 3.9  # inches: the text column of a page, and of a phone
PHONE_PIXELS = 600  # windows of at most this width get the phone's layout
_ON_A_PHONE: ContextVar[bool] = ContextVar("_ON_A_PHONE", default=False)


class BookFigure(Figure):
    """A matplotlib figure that shows itself as SVG when it is the value of a cell, without pyplot's state.

    Shown are two layouts of the same numbers, one for a page and one for a phone with the panels below each
    other; the browser takes the one that fits. Functions that are :func:`drawn` give figures with both.

    >>> @drawn
    ... def line():
    ...     figure, (ax,) = panels()
    ...     ax.plot([1, 2], [3, 4])
    ...     figure.alt = "A line from 3 to 4."
    ...     return figure
    >>> line().html().startswith("<picture><source")
    True
    """

    #: What a reader who does not see the figure is told.
    alt: str = ""
    #: Draws the same figure for a phone; without it the one layout is shrunk.
    for_phone: Callable[[], BookFigure] | None = None
    _narrow = False

    def legend(self, *args: Any, **options: Any) -> Any:
        """As matplotlib's; on a phone in as many columns as there is room for, and the figure grows by it."""
        found = super().legend(*args, **options)
        if not self._narrow:
            return found
        names = [text.get_text() for text in found.get_texts()]
        found.remove()
        columns = max(1, min(options.get("ncols", 1), 36 // (max(map(len, names), default=1) + 6)))
        self.set_figheight(self.get_figheight() + 0.19 * -(-len(names) // columns))
        return super().legend(*args, **{**options, "ncols": columns})

    def svg(self) -> str:
        """The figure as SVG text; the same numbers give the same text."""
        buffer = io.StringIO()
        about = {"Date": None, "Creator": None, **({"Title": self.alt} if self.alt else {})}
        with context():
            self.savefig(buffer, format="svg", metadata=about)
        return buffer.getvalue()

    def html(self, alt: str = "") -> str:
        """Both layouts as one ``<picture>``, described by ``alt`` or by the figure's own words."""
        narrow = ""
        if self.for_phone is not None:
            narrow = f'<source media="(max-width: {PHONE_PIXELS}px)" srcset="{_address(self.for_phone())}">'
        return (
            f'<picture>{narrow}<img src="{_address(self)}" alt="{escape(alt or self.alt)}" '
            f'style="width:100%;max-width:{6.5 * self.get_figwidth():.1f}rem"></picture>'
        )

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {"text/html": self.html(), "text/plain": self.alt or "a figure"}


def _address(figure: BookFigure) -> str:
    """An address that holds the figure, as :func:`filterwise.figures.light_svg.lighter` writes it."""
    text = lighter(figure.svg())
    return f"data:image/svg+xml;base64,{base64.b64encode(text.encode()).decode()}"


@contextmanager
def context() -> Iterator[None]:
    """Matplotlib's settings of the book, for the length of a ``with`` block.

    >>> with context():
    ...     mpl.rcParams["svg.fonttype"]
    'path'
    """
    with mpl.rc_context(PARAMETERS):  # type: ignore[arg-type]
        yield


def drawn(function: Callable[P, BookFigure]) -> Callable[P, BookFigure]:
    """Give a function that draws by :func:`panels` the book's settings, and its figure a phone's layout.

    >>> @drawn
    ... def two_lines():
    ...     figure, axes = panels(2, columns=2, height=2.5)
    ...     for ax in axes:
    ...         _ = ax.plot([1, 2], [3, 4])
    ...     return figure
    >>> page, phone = two_lines(), two_lines().for_phone()
    >>> [round(float(figure.get_figwidth()), 1) for figure in (page, phone)]
    [7.2, 3.9]
    """

    @wraps(function)
    def draw(*args: P.args, **options: P.kwargs) -> BookFigure:
        def narrow() -> BookFigure:
            token = _ON_A_PHONE.set(True)
            try:
                with context():
                    figure = function(*args, **options)
            finally:
                _ON_A_PHONE.reset(token)
            first = figure.axes[0]
            for ax in figure.axes[1:]:  # in one column a shared axis has no name any more
                if first.get_shared_y_axes().joined(first, ax) and not ax.get_ylabel():
                    ax.set_ylabel(first.get_ylabel())
            return figure

        with context():
            figure = function(*args, **options)
        figure.for_phone = narrow
        return figure

    return draw


def panels(
    count: int = 1,
    columns: int = 1,
    height: float = 3.6,
    extra: float = 0.0,
    phone: int = 1,
    width: float = WIDTH,
    **shared: Any,
) -> tuple[BookFigure, list[Any]]:
    """A figure with ``count`` panels, for functions that are :func:`drawn`.

    Parameters
    ----------
    count, columns : panels, row by row.
    height, extra, width : inches of a row of panels, of what stands above or below them, and of the figure.
    phone : columns on a phone; 0 keeps the rows as they are, for small pictures that are compared in a row.
    shared : ``sharex``, ``sharey`` of ``Figure.subplots``.

    >>> figure, axes = panels(2, columns=2)
    >>> len(axes), float(figure.get_figwidth())
    (2, 7.2)
    """
    _only_svg()
    columns = min(columns, count)
    narrow = _ON_A_PHONE.get()
    if narrow:
        before = width / columns
        columns, width = min(phone, count) or columns, min(width, PHONE_WIDTH)
        height *= (width / columns / before) ** (1.0 if phone == 0 else 0.5)
    rows = -(-count // columns)
    figure = BookFigure(figsize=(width, extra + height * rows), layout="constrained")
    figure._narrow = narrow
    axes = list(figure.subplots(rows, columns, squeeze=False, **shared).ravel())
    for spare in axes[count:]:
        spare.remove()
    return figure, axes[:count]


def points(ax: Axes, x: Any, found: pd.DataFrame, look: Look, label: str = "", **options: Any) -> None:
    """Means with bars of one standard deviation, of a table with the columns ``mean`` and ``spread``.

    >>> from pandas import DataFrame
    >>> from filterwise.figures.style import look
    >>> figure, (ax,) = panels()
    >>> points(ax, [1, 2], DataFrame({"mean": [0.5, 0.6], "spread": [0.1, 0.1]}), look("vgg6"), "VGG-6")
    >>> len(ax.lines) > 0
    True
    """
    drawing = {"color": look.color, "marker": look.marker, "capsize": 2.5, "label": label, **options}
    ax.errorbar(x, found["mean"], found["spread"], **drawing)


def _only_svg() -> None:
    """In IPython, keep pyplot's inline backend from adding a PNG of the same figure."""
    try:
        from IPython.core.getipython import get_ipython
    except ImportError:
        return
    shell = get_ipython()
    if shell is not None and shell.display_formatter is not None:
        for kind in ("image/png", "image/jpeg", "application/pdf"):
            shell.display_formatter.formatters[kind].for_type(BookFigure, lambda figure: None)
