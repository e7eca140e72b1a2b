"""Error against width: the fitted power law, where it bends, and the exponents of several curves.

A table without a needed column or without rows, and a fit of a curve that the table does not have, are
refused with a ParameterError.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from filterwise.errors import ParameterError
from filterwise.figures import style
from filterwise.figures.book_figure import BookFigure, drawn, panels, points
from filterwise.figures.tables import mean_and_spread, need, seeds_a_point
from filterwise.measure.fitting import PowerLaw

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Beyond this many times the widest network an extrapolated line is not drawn.
FARTHEST = 64


@drawn
def error_against_width(
    table: pd.DataFrame, fits: Mapping[str, PowerLaw], targets: Mapping[str, float] | None = None
) -> BookFigure:
    """Test error against d1 on log-log axes, with A d1^-rho, its 95 % band and the extrapolation dashed.

    Parameters
    ----------
    table : one row a run; columns ``curve``, ``network``, ``d1``, ``error`` and, where a width was kept out
        of the fit, ``held_out`` (drawn hollow). Points are means, bars standard deviations over runs.
    fits : curve -> its fit; a curve without one is drawn as points.
    targets : name -> error; a dotted line, and the width that the first curve needs for it with its interval.
    """
    need(table, "curve", "network", "d1", "error")
    _known(fits, table)
    targets = targets or {}
    figure, (ax,) = panels(height=3.9)
    looks = looks_of(table)
    for curve, runs in table.groupby("curve", sort=False):
        look = looks[str(curve)]
        label = _named(str(curve), fits.get(str(curve)), with_interval=len(fits) <= 2)
        _points(ax, runs, look, label)
        if str(curve) in fits:
            _line(ax, runs, fits[str(curve)], look.color)
    if fits:
        first, fit = next(iter(fits.items()))
        _reach(ax, table, first, fit, targets, looks[first].color)
        for dashes, words in (("-", "fitted line"), ("--", "extrapolated line")):
            ax.plot([], [], color=style.INK, linestyle=dashes, linewidth=1.5, label=words)
    _log_axes(ax, table["d1"])
    ax.set(xlabel="filters of the first layer, $d_1$", ylabel=r"test error $\epsilon$")
    figure.legend(loc="outside upper left", ncols=2)
    figure.alt = f"Test error against width for {', '.join(map(str, table['curve'].unique()))}, log-log."
    return figure


def looks_of(table: pd.DataFrame) -> dict[str, style.Look]:
    """Curve -> look: that of its network, but no two curves of a picture in one colour."""
    networks = table.groupby("curve", sort=False)["network"].first()
    return dict(zip(map(str, networks.index), style.looks(list(map(str, networks))), strict=True))


def _known(fits: Mapping[str, PowerLaw], table: pd.DataFrame) -> None:
    for curve in fits:
        if curve not in set(table["curve"]):
            listed = ", ".join(repr(name) for name in table["curve"].unique())
            raise ParameterError(f"fits has {curve!r}, which is no curve of the table; it has {listed}")


def _named(name: str, fit: PowerLaw | None, with_interval: bool) -> str:
    """A curve with its exponent; of many, a legend has no room for the intervals."""
    if fit is None:
        return name
    low, high = fit.exponent_interval
    ends = f" [{low:.3f}, {high:.3f}]" if with_interval else ""
    return rf"{name}, $\rho$ = {fit.exponent:.3f}{ends}"


def _points(ax: Axes, runs: pd.DataFrame, look: style.Look, name: str) -> None:
    held = runs["held_out"].astype(bool) if "held_out" in runs else pd.Series(False, index=runs.index)
    for part, filled in ((runs[~held], True), (runs[held], False)):
        if part.empty:
            continue
        found = mean_and_spread(part, ["d1"], "error")
        label = f"{name}, {seeds_a_point(found['runs'])}" if filled else "kept out of the fit"
        face = look.color if filled else "none"
        points(ax, found["d1"], found, look, label, linestyle="none", markerfacecolor=face)


def _line(ax: Axes, runs: pd.DataFrame, fit: PowerLaw, color: str) -> None:
    fitted = runs[~runs["held_out"].astype(bool)] if "held_out" in runs else runs
    low, high = float(fitted["d1"].min()), float(fitted["d1"].max())
    for start, stop, dashes in ((low, high, "-"), (high, max(4 * high, float(runs["d1"].max())), "--")):
        x = np.geomspace(start, stop, 60)
        guess = fit.predict(x)
        ax.plot(x, guess.value, color=color, linestyle=dashes, linewidth=1.5)
        ax.fill_between(x, guess.low, guess.high, color=color, alpha=0.12, linewidth=0)


def _reach(
    ax: Axes, table: pd.DataFrame, curve: str, fit: PowerLaw, targets: Mapping[str, float], color: str
) -> None:
    runs = table[table["curve"] == curve]
    farthest = FARTHEST * float(runs["d1"].max())
    for name, error in targets.items():
        ax.axhline(error, color=style.INK, linestyle=":", linewidth=1.2)
        ax.annotate(
            name, (float(table["d1"].min()), error), xytext=(2, 3), textcoords="offset points", fontsize=8.5
        )
        value, least, most = (float(number) for number in fit.solve(error))
        if value <= farthest:
            ends = [[value - least], [min(most, farthest) - value]]
            ax.errorbar([value], [error], xerr=ends, color=color, marker="|", markersize=12, capsize=3)


def _log_axes(ax: Axes, widths: pd.Series) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    low, high = ax.get_ylim()
    ticks = [tick for tick in (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8) if low <= tick <= high]
    if len(ticks) < 2:
        ticks = list(np.geomspace(low, high, 4)[1:3])
    ax.yaxis.set_major_locator(FixedLocator(ticks))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.2g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.xaxis.set_major_locator(FixedLocator(sorted(set(widths))))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


@drawn
def straightness(table: pd.DataFrame, fits: Mapping[str, PowerLaw]) -> BookFigure:
    """Is the line straight? Residuals of the fit, and local exponents between neighbouring widths.

    Parameters
    ----------
    table : one row a run; columns ``curve``, ``network``, ``d1`` and ``error``; widths kept out are left out.
    fits : curve -> its fit.
    """
    need(table, "curve", "network", "d1", "error")
    _known(fits, table)
    seen = table[~table["held_out"].astype(bool)] if "held_out" in table else table
    figure, (left, right) = panels(2, columns=2, height=3.0)
    looks = looks_of(seen)
    for curve, fit in fits.items():
        runs = seen[seen["curve"] == curve]
        look = looks[curve]
        found = mean_and_spread(runs.assign(log=np.log(runs["error"])), ["d1"], "log")
        width, log = found["d1"].to_numpy(dtype=float), found["mean"].to_numpy()
        bars = found["spread"] / np.sqrt(found["runs"])
        same = {"color": look.color, "marker": look.marker, "capsize": 2.5}
        left.errorbar(width, 100 * (log - np.log(fit.predict(width).value)), 100 * bars, label=curve, **same)
        local = -np.diff(log) / np.diff(np.log(width))
        error = np.hypot(bars[1:], bars[:-1].to_numpy()) / np.diff(np.log(width))
        right.errorbar(np.sqrt(width[1:] * width[:-1]), local, error, **same)
        right.axhline(fit.exponent, color=look.color, linestyle="--", linewidth=1)
    left.axhline(0, color=style.INK, linewidth=1)
    left.plot([], [], color=style.INK, linestyle="--", linewidth=1, label="exponent of the whole line")
    left.set(xlabel="$d_1$", ylabel="distance from the line (%)")
    right.set(xlabel="$d_1$, between two widths", ylabel=r"local exponent")
    for ax in (left, right):
        ax.set_xscale("log", base=2)
        ax.xaxis.set_major_formatter("{x:g}")
    figure.legend(loc="outside upper left", ncols=3)
    figure.alt = "Residuals of the power law and local exponents between neighbouring widths."
    return figure


@drawn
def exponents(fits: Mapping[str, PowerLaw]) -> BookFigure:
    """The exponent of every curve with its 95 % interval, one row a curve, the first one's as a line.

    Parameters
    ----------
    fits : curve -> its fit, top to bottom; VGG-16's have its colour, all others LeNet's.
    """
    if not fits:
        raise ParameterError("fits is empty; give at least one curve")
    figure, (ax,) = panels(height=0.9 + 0.34 * len(fits))
    for row, (curve, fit) in enumerate(fits.items()):
        look = style.look("vgg16" if curve.startswith("VGG-16") else "lenet5")
        low, high = fit.exponent_interval
        ends = [[fit.exponent - low], [high - fit.exponent]]
        filled = "none" if fit.curved else look.color
        ax.errorbar(
            [fit.exponent], [row], xerr=ends, color=look.color, marker=look.marker, capsize=3, mfc=filled
        )
    ax.axvline(next(iter(fits.values())).exponent, color=style.INK, linestyle=":", linewidth=1.2)
    ax.set_yticks(range(len(fits)), list(fits))
    ax.set_ylim(len(fits) - 0.5, -0.5)
    ax.set_xlabel(r"exponent $\rho$ (hollow: curvature is significant)")
    figure.alt = f"Exponents with 95 percent intervals of {len(fits)} curves."
    return figure
