"""What stands behind a point of an error-against-width curve: training, d2/d1, train and test error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from filterwise.errors import ParameterError
from filterwise.figures import style
from filterwise.figures.tables import mean_and_spread, need

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARKERS = "osD^vPX"


def ratio_scan(table: pd.DataFrame, conserved: float = 2.8) -> style.BookFigure:
    """Test error against d2/d1, one line a budget of multiply-accumulates; the conserved ratio as a line.

    Parameters
    ----------
    table : one row a run; columns ``ratio``, ``error`` and ``budget`` (multiply-accumulates an image).
    conserved : d2/d1 at which side times depth is the same in both layers.

    Raises
    ------
    ParameterError
        A column is missing, or there are no rows.
    """
    need(table, "ratio", "error", "budget")
    budgets = sorted(table["budget"].unique())
    with style.context():
        figure = style.new(height=3.3)
        ax = figure.subplots()
        for place, (budget, color) in enumerate(zip(budgets, style.steps(len(budgets)), strict=True)):
            found = mean_and_spread(table[table["budget"] == budget], ["ratio"], "error")
            ax.errorbar(
                found["ratio"],
                found["mean"],
                found["spread"],
                color=color,
                capsize=2.5,
                marker=_MARKERS[place % len(_MARKERS)],
                label=f"{budget / 1e6:.3g} million MACs, n = {int(found['runs'].min())}",
            )
        ax.axvline(conserved, color=style.INK, linestyle=":", linewidth=1.4)
        ax.annotate(
            f"{conserved:g}",
            (conserved, 1),
            (3, -10),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
        )
        ax.set_xscale("log", base=2)
        ax.set_xticks(sorted(table["ratio"].unique()))
        ax.xaxis.set_major_formatter("{x:g}")
        ax.set(xlabel="$d_2/d_1$ at a fixed cost", ylabel=r"test error $\epsilon$")
        figure.legend(loc="outside upper left", ncols=2)
    figure.alt = "Test error against the ratio of the two layers' filters, at fixed multiply-accumulates."
    return figure


def train_and_test_error(table: pd.DataFrame) -> style.BookFigure:
    """Error on the training images, not augmented, and on the test images against width, and their gap.

    Parameters
    ----------
    table : one row a run; columns ``curve``, ``network``, ``d1``, ``error`` and ``train_error``.

    Raises
    ------
    ParameterError
        A column is missing, or there are no rows.
    """
    need(table, "curve", "network", "d1", "error", "train_error")
    with style.context():
        figure = style.new(height=3.2)
        ax = figure.subplots()
        for curve, runs in table.groupby("curve", sort=False):
            look = style.look(str(runs["network"].iloc[0]))
            for column, dashes, filled, name in (
                ("error", "-", True, "test"),
                ("train_error", "--", False, "training"),
            ):
                found = mean_and_spread(runs, ["d1"], column)
                ax.errorbar(
                    found["d1"],
                    found["mean"],
                    found["spread"],
                    color=look.color,
                    marker=look.marker,
                    linestyle=dashes,
                    markerfacecolor=look.color if filled else "none",
                    capsize=2.5,
                    label=f"{curve}, {name} images",
                )
        _widths(ax, table["d1"])
        ax.set(xlabel="filters of the first layer, $d_1$", ylabel="error", ylim=(0, None))
        figure.legend(loc="outside upper left", ncols=2)
    figure.alt = "Training and test error against width."
    return figure


def side_and_depth(layers: Mapping[str, tuple[int, int]]) -> style.BookFigure:
    """Convolutional layers as boxes: height is the side of a map, width the number of filters.

    Parameters
    ----------
    layers : name -> (side H, filters d), bottom to top of the network, drawn from left to right.

    Raises
    ------
    ParameterError
        There is no layer, or one without side or filters.
    """
    if not layers or any(side < 1 or depth < 1 for side, depth in layers.values()):
        raise ParameterError(
            f"layers={dict(layers)!r} must hold (side, filters) of at least 1 for each layer"
        )
    tallest = max(side for side, _ in layers.values())
    widest = max(depth for _, depth in layers.values())
    with style.context():
        figure = style.new(height=2.6)
        ax = figure.subplots()
        left = 0.0
        for (name, (side, depth)), color in zip(layers.items(), style.steps(len(layers)), strict=True):
            width = max(depth / widest, 0.02)
            ax.bar(left, side / tallest, width=width, align="edge", color=color, alpha=0.75)
            label = f"{name}\n{side} × {side}, {depth} filters\nside × depth = {side * depth}"
            ax.text(left + width / 2, -0.06, label, ha="center", va="top", fontsize=9)
            left += max(width, 0.55) + 0.25
        ax.set(xlim=(-0.35, left + 0.1), ylim=(-0.5, 1.05))
        ax.axis("off")
    figure.alt = "; ".join(f"{name}: side {side}, {depth} filters" for name, (side, depth) in layers.items())
    return figure


def _widths(ax: Axes, widths: pd.Series) -> None:
    ax.set_xscale("log", base=2)
    ax.set_xticks(sorted(set(widths)))
    ax.xaxis.set_major_formatter("{x:g}")
