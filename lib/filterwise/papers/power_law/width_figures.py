"""What stands behind a point of an error-against-width curve: training, d2/d1, train and test error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from filterwise.errors import ParameterError
from filterwise.figures import style
from filterwise.figures.book_figure import BookFigure, drawn, panels, points
from filterwise.figures.tables import mean_and_spread, need, seeds_a_point
from filterwise.papers.power_law.cost_of_widths import CONSERVED_RATIO
from filterwise.papers.power_law.figures import looks_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@drawn
def ratio_scan(table: pd.DataFrame) -> BookFigure:
    """Test error against d2/d1, one line a budget of multiply-accumulates; the conserved ratio as a line.

    Parameters
    ----------
    table : one row a run; columns ``ratio``, ``error`` and ``budget`` (multiply-accumulates an image).
    """
    need(table, "ratio", "error", "budget")
    budgets = sorted(table["budget"].unique())
    figure, (ax,) = panels(height=3.3)
    for budget, look in zip(budgets, style.marked(len(budgets)), strict=True):
        found = mean_and_spread(table[table["budget"] == budget], ["ratio"], "error")
        label = f"{budget / 1e6:.3g} million MACs, {seeds_a_point(found['runs'])}"
        points(ax, found["ratio"], found, look, label)
    ax.axvline(CONSERVED_RATIO, color=style.INK, linestyle=":", linewidth=1.4)
    ax.annotate(
        f"{CONSERVED_RATIO:g}",
        (CONSERVED_RATIO, 1),
        (3, -10),
        ("data", "axes fraction"),
        textcoords="offset points",
    )
    ax.set_xscale("log", base=2)
    ax.set_xticks(sorted(table["ratio"].unique()))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.set(xlabel="$d_2/d_1$ at a fixed cost", ylabel=r"test error $\epsilon$")
    figure.legend(loc="outside upper left", ncols=2)
    figure.alt = "Test error against the ratio of the two layers' filters, at fixed multiply-accumulates."
    return figure


@drawn
def train_and_test_error(table: pd.DataFrame) -> BookFigure:
    """Error on the training images, not augmented, and on the test images against width, and their gap.

    Parameters
    ----------
    table : one row a run; columns ``curve``, ``network``, ``d1``, ``error`` and ``train_error``.
    """
    need(table, "curve", "network", "d1", "error", "train_error")
    figure, (ax,) = panels(height=3.2)
    looks = looks_of(table)
    for curve, runs in table.groupby("curve", sort=False):
        look = looks[str(curve)]
        for column, dashes, filled, name in (
            ("error", "-", True, "test"),
            ("train_error", "--", False, "training"),
        ):
            found = mean_and_spread(runs, ["d1"], column)
            face = look.color if filled else "none"
            label = f"{curve}, {name} images"
            points(ax, found["d1"], found, look, label, linestyle=dashes, markerfacecolor=face)
    _widths(ax, table["d1"])
    ax.set(xlabel="filters of the first layer, $d_1$", ylabel="error", ylim=(0, None))
    figure.legend(loc="outside upper left", ncols=2)
    figure.alt = "Training and test error against width."
    return figure


@drawn
def side_and_depth(layers: Mapping[str, tuple[int, int]]) -> BookFigure:
    """Convolutional layers as boxes: height is the side of a map, width the number of filters.

    Parameters
    ----------
    layers : name -> (side H, filters d), bottom to top of the network, drawn from left to right.
    """
    if not layers or any(side < 1 or depth < 1 for side, depth in layers.values()):
        raise ParameterError(
            f"layers={dict(layers)!r} must hold (side, filters) of at least 1 for each layer"
        )
    tallest = max(side for side, _ in layers.values())
    widest = max(depth for _, depth in layers.values())
    figure, (ax,) = panels(height=2.6)
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


@drawn
def error_against_cost(table: pd.DataFrame) -> BookFigure:
    """Test error against operations and against weights, log-log: who is cheaper at equal error.

    Parameters
    ----------
    table : one row a run; columns ``curve``, ``network``, ``d1``, ``error``, ``macs`` (multiply-accumulates
        of one forward pass) and ``parameters`` (weights)
    """
    need(table, "curve", "network", "d1", "error", "macs", "parameters")
    names = {"macs": "multiply-accumulates an image (million)", "parameters": "weights (thousand)"}
    figure, axes = panels(2, columns=2, height=3.3, sharey=True)
    looks = looks_of(table)
    for ax, (column, name), unit in zip(axes, names.items(), (1e6, 1e3), strict=True):
        for curve, runs in table.groupby("curve", sort=False):
            look = looks[str(curve)]
            found = mean_and_spread(runs, [column], "error")
            label = f"{curve}, {seeds_a_point(found['runs'])}"
            points(ax, found[column] / unit, found, look, label, linewidth=1.3)
        ax.set(xscale="log", yscale="log", xlabel=name)
        _plain(ax)
    axes[0].set_ylabel(r"test error $\epsilon$")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=3)
    figure.alt = "Test error against multiply-accumulates and against the number of weights, log-log."
    return figure


@drawn
def cost_ratio(table: pd.DataFrame) -> BookFigure:
    """Operations of one family over those of others at equal error, at the errors where both were measured.

    Parameters
    ----------
    table : one row a comparison; columns ``against`` (the other family), ``error``, ``ratio`` and the ends of
        its interval, ``low`` and ``high``; not-a-number ends are not drawn.
    """
    need(table, "against", "error", "ratio", "low", "high")
    names = list(dict.fromkeys(table["against"]))
    figure, (ax,) = panels(height=3.1)
    for name, look in zip(names, style.marked(len(names)), strict=True):
        part = table[table["against"] == name].sort_values("error")
        ends = np.abs(part[["low", "high"]].to_numpy().T - part["ratio"].to_numpy())
        drawing = {"color": look.color, "marker": look.marker, "capsize": 2.5, "linewidth": 1.3}
        ax.errorbar(part["error"], part["ratio"], np.nan_to_num(ends), label=f"against {name}", **drawing)
    ax.axhline(1, color=style.INK, linestyle=":", linewidth=1.4, label="equal operations")
    ax.set(
        xscale="log", yscale="log", xlabel=r"test error $\epsilon$ that both reach", ylabel="ratio of MACs"
    )
    _plain(ax)
    figure.legend(loc="outside upper left", ncols=3)
    figure.alt = f"Ratio of multiply-accumulates at equal error against {', '.join(names)}."
    return figure


def _plain(ax: Axes) -> None:
    """Decimal numbers on logarithmic axes."""
    from matplotlib.ticker import FuncFormatter, LogLocator

    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(FuncFormatter(lambda value, _: ""))
