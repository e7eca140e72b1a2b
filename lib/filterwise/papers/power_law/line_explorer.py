"""The line explorer: drag a target error on the log-log plot; the fitted line says what it would cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from filterwise.errors import ParameterError
from filterwise.figures import style
from filterwise.figures.book_figure import BookFigure, drawn, panels
from filterwise.figures.tables import need
from filterwise.figures.twin import Twin, page_html, show
from filterwise.measure.fitting import PowerLaw
from filterwise.papers.power_law.fits import LARGEST_WIDTH, millions, rounded

#: Widths at which the page draws line and band, up to where a number would say nothing.
_POINTS = 40
_HOURS = 3600.0
#: Said wherever the line of a curve that is not straight is followed beyond what was fitted.
BENT = "This line bends: the interval is that of a straight line, which these data do not have."


@dataclass(frozen=True)
class Line:
    """A fitted curve and what its networks cost.

    Attributes
    ----------
    fit : the power law.
    widths, errors : means of what was fitted, by width d1, ascending.
    held_out : means of widths that the fit did not see.
    macs : multiply-accumulates of an image's forward pass at a width.
    seconds_a_mac : of one training of the widest measured network, over its multiply-accumulates of one
        forward pass; not-a-number if it is not known.
    """

    fit: PowerLaw
    widths: tuple[float, ...]
    errors: tuple[float, ...]
    macs: Callable[[int], int]
    seconds_a_mac: float = float("nan")
    held_out: tuple[tuple[float, float], ...] = ()

    @property
    def widest(self) -> float:
        """The widest network that was measured, fitted or not."""
        return max([*self.widths, *(width for width, _ in self.held_out)])

    def seconds(self, width: float) -> float:
        """One training of a network of this width, at the pace of the widest that was measured."""
        return self.seconds_a_mac * self.macs(max(1, round(width)))


def lines_of(
    table: pd.DataFrame,
    found: Mapping[str, PowerLaw],
    macs: Mapping[str, Callable[[int], int]],
    where: str = "",
) -> dict[str, Line]:
    """The fitted curves of a table whose operations are known, by name and, behind a comma, ``where``.

    Parameters
    ----------
    table : one row a run; columns ``curve``, ``d1``, ``error``, ``held_out``, ``macs``, and ``seconds`` (of
        the training) where they are known; without rows there are no lines.
    """
    if table.empty:
        return {}
    need(table, "curve", "d1", "error", "held_out", "macs")
    lines = {}
    for curve, runs in table.groupby("curve", sort=False):
        name = str(curve)
        if name in found and name in macs:
            unseen = runs["held_out"] == 1
            means, others = (part.groupby("d1")["error"].mean() for part in (runs[~unseen], runs[unseen]))
            widest = runs[runs["d1"] == runs["d1"].max()]
            took = widest["seconds"] / widest["macs"] if "seconds" in widest else pd.Series([np.nan])
            title = f"{name}, {where}" if where else name
            points = tuple(map(float, means.index)), tuple(map(float, means))
            tested = tuple((float(str(width)), float(error)) for width, error in others.items())
            lines[title] = Line(found[name], *points, macs[name], float(took.median()), tested)
    return lines


def explore_lines(lines: Mapping[str, Line], errors: Sequence[float], start: int = 0) -> Twin:
    """A fitted line with its band, and a target error to drag: the width and the cost that it promises.

    In a notebook with a kernel widgets draw with the library; elsewhere a twin draws the same numbers.

    Parameters
    ----------
    lines : name -> :class:`Line`.
    errors : positions of the target, falling; ``start`` is the first that is shown.

    Raises ParameterError: no line, no error between 0 and 1, or a start that is no position.
    """
    if not lines:
        raise ParameterError("lines is empty; give at least one fitted curve")
    if not errors or any(not 0 < error < 1 for error in errors):
        raise ParameterError(f"errors={list(errors)!r} must hold at least one, all between 0 and 1")
    if not 0 <= start < len(errors):
        raise ParameterError(f"start={start!r} is no position among {len(errors)} errors")
    return show(partial(_widgets, lines, errors, start), partial(twin_html, lines, errors, start))


def said_of_lines(lines: Mapping[str, Line], error: float) -> str:
    """How narrow a promise far from all measurements looks, and how far from their lines points lie that
    were kept out of the fit."""
    said = ["Try to halve the error"]
    promised = {name: [float(end) for end in line.fit.solve(error)] for name, line in lines.items()}
    far = [name for name, ends in promised.items() if lines[name].widest < ends[0] <= LARGEST_WIDTH]
    if far:
        name = min(far, key=lambda each: promised[each][2] / promised[each][1])
        width, low, high = promised[name]
        ends = f"{low / width:.2f} to " + (f"{high / width:.2f} of it" if np.isfinite(high) else "no end")
        beyond = f"a width {times(width / lines[name].widest)} times the widest measured"
        said.append(f"an error of {error:g} is promised by “{name}” at {beyond}, 95 % interval {ends}")
    for name, line in lines.items():
        for width, seen in line.held_out:
            off = 100 * (seen / float(line.fit.predict(width).value) - 1)
            where = f"{abs(off):.0f} % {'above' if off > 0 else 'below'} its line"
            said.append(f"the point kept out of “{name}” lies {where}")
    return "; ".join(said) + "."


def times(ratio: float) -> str:
    """Two digits, without an exponent.

    >>> times(1.234), times(1006.4)
    ('1.2', '1,000')
    """
    return f"{float(f'{ratio:.2g}'):,.10g}"


def summary(name: str, line: Line, error: float) -> str:
    """What the line promises for an error, in words, and whether the line passes the test of straightness."""
    width = float(line.fit.solve(error).value)
    outside = not min(line.widths) <= width <= max(line.widths)
    words = _promise(name, line, error)
    return f"{words} {BENT}" if line.fit.curved and outside else words


def _promise(name: str, line: Line, error: float) -> str:
    width, low, high = (float(end) for end in line.fit.solve(error))
    least, most = min(line.widths), line.widest
    words = f"{name}: an error of {error:g} at d₁ = {rounded(width)} (95 %: {_range(low, high)})"
    if width > LARGEST_WIDTH:
        return f"{words}, further from any measurement than a number could be believed."
    if width < 1:
        return f"{words}, less than one filter."
    if least <= width <= most:
        words += ", within what was measured"
    else:
        words += f", {times(width / most if width > most else width / least)} times"
        words += " the widest network measured" if width > most else " the narrowest network measured"
    words += f"; {millions(line.macs(max(1, round(width))) / 1e6)} million multiply-accumulates an image"
    if np.isfinite(line.seconds_a_mac):
        words += f", one training about {duration(line.seconds(width))}"
        if min(high, LARGEST_WIDTH) > 1.5 * width:
            ends = (duration(line.seconds(end)) if end <= LARGEST_WIDTH else "" for end in (low, high))
            words += f" ({' to '.join(end or 'no bound' for end in ends)})"
        words += " at the pace of the widest run"
    return words + "."


def duration(seconds: float) -> str:
    """Two digits and the unit that suits them.

    >>> duration(5), duration(5000), duration(5e6), duration(5e9)
    ('5 s', '83 min', '58 days', '160 years')
    """
    for name, unit, most in (("s", 1.0, 100.0), ("min", 60.0, 100.0), ("h", _HOURS, 48.0)):
        if seconds < most * unit:
            return f"{float(f'{seconds / unit:.2g}'):g} {name}"
    days = seconds / (24 * _HOURS)
    value, name = (days, "days") if days < 1000 else (days / 365.25, "years")
    return f"{float(f'{value:.2g}'):,.0f} {name}" if value >= 10 else f"{float(f'{value:.2g}'):g} {name}"


def _range(low: float, high: float) -> str:
    return rounded(low) if rounded(low) == rounded(high) else f"{rounded(low)} to {rounded(high)}"


def twin_html(lines: Mapping[str, Line], errors: Sequence[float], start: int) -> str:
    """The explorer as one piece of HTML: markup, style, script and numbers; it asks for nothing else."""
    content = {
        "start": start,
        "errors": [float(f"{error:.4g}") for error in errors],
        "lines": [_drawn_by_page(name, line, errors) for name, line in lines.items()],
    }
    return page_html("lines", content, "filterwise.papers.power_law")


def _drawn_by_page(name: str, line: Line, errors: Sequence[float]) -> dict[str, Any]:
    grid = np.geomspace(min(line.widths), LARGEST_WIDTH, _POINTS)
    band = np.column_stack([grid, *map(np.asarray, line.fit.predict(grid))])
    solved = line.fit.solve(np.array(errors, dtype=float))
    return {
        "name": name,
        "measured": [[width, _short(error)] for width, error in zip(line.widths, line.errors, strict=True)],
        "heldOut": [[width, _short(error)] for width, error in line.held_out],
        "band": [[_short(each) for each in row] for row in band],
        "widths": [_short(min(float(width), 1e300)) for width in np.atleast_1d(solved.value)],
        "says": [summary(name, line, error) for error in errors],
    }


def _short(value: float) -> float:
    return float(f"{value:.4g}")


@drawn
def line_and_target(line: Line, error: float) -> BookFigure:
    """The measured means (hollow: not seen by the fit), the line with its 95 % band, what lies beyond the
    measured range shaded, and a target error with the width at which the line reaches it."""
    figure, (ax,) = panels(height=3.3)
    grid = np.geomspace(min(line.widths), LARGEST_WIDTH, _POINTS)
    band = line.fit.predict(grid)
    color = style.marked(1)[0].color
    ax.axvspan(line.widest, LARGEST_WIDTH, color=style.INK, alpha=0.08, linewidth=0)
    ax.fill_between(grid, band.low, band.high, color=color, alpha=0.25, linewidth=0)
    ax.plot(grid, band.value, color=color)
    ax.plot(line.widths, line.errors, "o", color=color)
    ax.plot(*np.array(line.held_out or np.empty((0, 2))).T, "o", color=color, markerfacecolor="none")
    ax.axhline(error, color=style.INK, linestyle=":")
    width = float(line.fit.solve(error).value)
    if width <= LARGEST_WIDTH:
        ax.axvline(width, color=style.INK, linestyle=":")
    ax.set(xscale="log", yscale="log", xlim=(min(line.widths), LARGEST_WIDTH), ylim=(0.01, 1))
    ax.set(xlabel="filters of the first layer, $d_1$", ylabel=r"test error $\epsilon$")
    figure.alt = "A line through the measured errors, and where it reaches the target."
    return figure


def _widgets(lines: Mapping[str, Line], errors: Sequence[float], start: int) -> Any:
    """The live form: a selector, a slider, and the picture that the library draws for them."""
    import ipywidgets as widgets

    named = [(f"{error:g}", place) for place, error in enumerate(errors)]
    curve = widgets.Dropdown(options=list(lines), description="curve")
    at = widgets.SelectionSlider(options=named, value=start, description="error", continuous_update=False)
    picture, words = widgets.HTML(), widgets.HTML()

    def draw(_: object = None) -> None:
        line, error = lines[curve.value], errors[at.value]
        picture.value = line_and_target(line, error).svg()
        words.value = escape(summary(curve.value, line, error))

    for control in (curve, at):
        control.observe(draw, "value")
    draw()
    return widgets.VBox([curve, at, picture, words])
