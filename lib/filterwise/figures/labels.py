"""What the filters of a layer mean for the labels: cluster sizes, coverage, thresholds, error against K."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from filterwise.errors import ParameterError
from filterwise.figures import style
from filterwise.figures.book_figure import BookFigure, drawn, panels, points
from filterwise.figures.layers import NAMES
from filterwise.figures.tables import layer_number, mean_and_spread, need


@drawn
def cluster_sizes(sizes: Mapping[str, Sequence[int]]) -> BookFigure:
    """How large the clusters of a layer are: share of clusters of each size, one group of bars per entry.

    Parameters
    ----------
    sizes : name (a network, or a layer) -> number of labels of every cluster of every filter, pooled.

    Raises ParameterError: no entry, an entry without clusters, a size below 1.

    >>> cluster_sizes({"layer 1": [1, 1, 2], "layer 2": [1]}).alt
    'Share of clusters of each size for layer 1, layer 2.'
    """
    if not sizes:
        raise ParameterError("sizes is empty; give at least one entry")
    found = {name: np.asarray(values, dtype=int) for name, values in sizes.items()}
    for name, values in found.items():
        if values.size == 0 or values.min() < 1:
            raise ParameterError(f"sizes[{name!r}] must hold cluster sizes of at least 1")
    largest = max(int(values.max()) for values in found.values())
    colors = style.steps(len(found)) if len(found) > 1 else [style.BLUE]
    bar = 0.8 / len(found)
    figure, (ax,) = panels(height=3.2)
    for place, ((name, values), color) in enumerate(zip(found.items(), colors, strict=True)):
        share = np.bincount(values, minlength=largest + 1)[1:] / len(values)
        at = np.arange(1, largest + 1) + (place - (len(found) - 1) / 2) * bar
        ax.bar(at, share, width=bar, color=color, label=f"{name}, mean {values.mean():.2f}")
    ax.set_xticks(range(1, largest + 1) if largest <= 20 else range(1, largest + 1, largest // 10))
    ax.grid(axis="x", visible=False)
    ax.set(xlabel="labels in a cluster", ylabel="share of clusters")
    figure.legend(loc="outside upper right", ncols=3)
    figure.alt = f"Share of clusters of each size for {', '.join(found)}."
    return figure


@drawn
def coverage(
    filters: Sequence[float], accuracy: Sequence[float], label_names: Sequence[str] = ()
) -> BookFigure:
    """Filters that stand for a label, S_ii: their histogram, and against the label's accuracy.

    Parameters
    ----------
    filters : S_ii, K numbers.
    accuracy : accuracy of the network on each label, K numbers from 0 to 1.
    label_names : K names, drawn beside the points up to 20 labels.

    Raises ParameterError: lengths differ, or there are fewer than 2 labels.

    >>> coverage([3, 5, 4], [0.7, 0.9, 0.8], ["cat", "dog", "ship"]).alt
    'Number of filters that stand for a label: histogram, and against the accuracy on the label.'
    """
    x, y = np.asarray(filters, dtype=float), np.asarray(accuracy, dtype=float)
    if x.ndim != 1 or x.shape != y.shape or len(x) < 2:
        raise ParameterError(f"filters has shape {x.shape} and accuracy {y.shape}; both must be (K,), K >= 2")
    if len(label_names) not in (0, len(x)):
        raise ParameterError(f"label_names has {len(label_names)} names for {len(x)} labels")
    figure, (left, right) = panels(2, columns=2, height=3.2)
    left.hist(x, bins=_bars(x), color=style.BLUE)
    left.grid(axis="x", visible=False)
    left.yaxis.get_major_locator().set_params(integer=True)
    left.set(xlabel="filters for a label, $S_{ii}$", ylabel="labels")
    right.scatter(x, y, color=style.BLUE, s=28)
    if 0 < len(label_names) <= 20:
        for place, name in enumerate(label_names):
            right.annotate(
                str(name), (x[place], y[place]), xytext=(4, 3), textcoords="offset points", fontsize=8
            )
    right.set(xlabel="filters for a label, $S_{ii}$", ylabel="accuracy on the label")
    if np.ptp(x) > 0 and np.ptp(y) > 0:
        right.set_title(f"rank correlation {stats.spearmanr(x, y).statistic:.2f}, {len(x)} labels")
    figure.alt = "Number of filters that stand for a label: histogram, and against the accuracy on the label."
    return figure


@drawn
def threshold_robustness(
    table: pd.DataFrame,
    quantities: Sequence[str] = ("N_c", "C_s", "n", "SNR_block"),
    chosen: float = 0.3,
) -> BookFigure:
    """How the layer's numbers depend on the clipping threshold, one line per layer.

    Parameters
    ----------
    table : one row per threshold and layer (and order or seed, which are averaged with their spread shown);
        columns ``threshold``, ``layer`` and ``quantities``.
    quantities : columns to draw, two pictures a row.
    chosen : the threshold used elsewhere, marked by a line.

    >>> table = pd.DataFrame({"threshold": [0.2, 0.3, 0.4], "layer": "features.1", "N_c": [2.0, 2.5, 3.0]})
    >>> threshold_robustness(table, ["N_c"]).alt
    'N_c against the clipping threshold, one line per layer.'
    """
    need(table, "threshold", "layer", *quantities)
    layers = sorted(table["layer"].unique(), key=layer_number)
    figure, axes = panels(len(quantities), columns=2, height=2.3, extra=0.6, sharex=True)
    for ax, quantity in zip(axes, quantities, strict=True):
        for layer, look in zip(layers, style.marked(len(layers)), strict=True):
            part = mean_and_spread(table[table["layer"] == layer], ["threshold"], quantity)
            points(ax, part["threshold"], part, look, f"layer {layer_number(layer)}", capsize=0)
        ax.axvline(chosen, color=style.INK, linestyle=":", linewidth=1.2)
        ax.set_title(NAMES.get(quantity, quantity))
        ax.set_ylim(bottom=0)
    for ax in axes[-2:]:
        ax.set_xlabel(r"threshold $\theta$")
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper right", ncols=min(len(layers), 6))
    figure.alt = f"{', '.join(quantities)} against the clipping threshold, one line per layer."
    return figure


@drawn
def error_against_labels(table: pd.DataFrame) -> BookFigure:
    """Error against the number of labels K, with the straight line fitted to the means.

    Parameters
    ----------
    table : one row per K and subset (or seed); columns ``labels`` (K), ``error`` (0 to 1) and, where several
        readings of "error" are compared, ``reading``.

    Raises ParameterError: a column is missing, there are no rows, or fewer than 3 values of K.

    >>> table = pd.DataFrame({"labels": [3, 5, 10], "error": [0.1, 0.2, 0.3]})
    >>> error_against_labels(table).alt
    'Error against the number of labels with fitted lines: error.'
    """
    need(table, "labels", "error")
    if table["labels"].nunique() < 3:
        raise ParameterError(
            f"table has {table['labels'].nunique()} values of labels; a line needs at least 3"
        )
    table = table if "reading" in table.columns else table.assign(reading="error")
    readings = list(table["reading"].unique())
    colors = [style.BLUE, style.ORANGE, style.MAGENTA, style.GREEN, *style.steps(len(readings))]
    figure, (ax,) = panels()
    for reading, color, one in zip(readings, colors, style.marked(len(readings)), strict=False):
        part = mean_and_spread(table[table["reading"] == reading], ["labels"], "error")
        fit = stats.linregress(part["labels"], part["mean"])
        label = f"{reading}: {fit.slope:.4f} a label, r = {fit.rvalue:.3f}"
        points(ax, part["labels"], part, style.Look(color, one.marker), label, linestyle="none", capsize=0)
        ends = np.array([part["labels"].min(), part["labels"].max()])
        ax.plot(ends, fit.intercept + fit.slope * ends, color=color, linewidth=1.4)
    ax.set_ylim(bottom=0)
    ax.set(xlabel="number of labels $K$", ylabel="error")
    figure.legend(loc="outside upper left")
    figure.alt = f"Error against the number of labels with fitted lines: {', '.join(map(str, readings))}."
    return figure


def _bars(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Edges of a histogram's bars; of whole numbers each bar holds equally many."""
    if not (x == x.round()).all():
        return np.histogram_bin_edges(x, bins=min(20, max(5, len(x) // 2)))
    step = -(-(int(np.ptp(x)) + 1) // 20)
    return np.arange(x.min() - 0.5, x.max() + 0.5 + step, step)
