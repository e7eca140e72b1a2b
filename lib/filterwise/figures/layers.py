"""What changes from layer to layer: probe accuracy, clusters, noise, signal-to-noise ratio, dominance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from filterwise.errors import ParameterError
from filterwise.figures import style
from filterwise.figures.book_figure import BookFigure, drawn, panels
from filterwise.figures.tables import layer_number, mean_and_spread, need

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Axis labels of the quantities that layers are described by.
NAMES = {
    "N_c": "clusters a filter, $N_c$",
    "C_s": "labels a cluster, $C_s$",
    "n": "noise ones a filter, $n$",
    "n_in": "internal noise, $n_{in}$",
    "n_out": "external noise, $n_{out}$",
    "SNR_block": "SNR$_{block}$",
    "SNR_label": "SNR$_{label}$",
    "SNR_mf": "SNR$_{mf}$",
    "share_without_cluster": "share without cluster",
    "probe_accuracy": "probe accuracy",
}
#: At the end of a network's name: its control without training, drawn dashed in the network's own colour.
UNTRAINED = ", untrained"
_LETTERS = 84  # in a line of a legend that is as wide as the page
_FROM_ZERO = frozenset(NAMES) - {"probe_accuracy"}


@drawn
def probe_accuracy(
    table: pd.DataFrame, accuracy: str = "probe_accuracy", chance: float | None = None
) -> BookFigure:
    """Accuracy of a linear head on each layer, one line per network, mean and standard deviation over seeds.

    Parameters
    ----------
    table : one row per network, seed and layer; columns ``network``, ``number`` or ``layer``, and
        ``accuracy``. A column ``network_accuracy`` (the whole network's) is drawn as a dashed line.
    accuracy : the column with the heads' accuracy, 0 to 1.
    chance : accuracy of guessing, drawn as a dotted line.

    >>> table = pd.DataFrame({"network": ["vgg6"] * 2, "seed": [0, 0], "number": [1, 2]})
    >>> table["probe_accuracy"] = [0.4, 0.7]
    >>> probe_accuracy(table, chance=0.1).alt
    'Accuracy of a linear head against the layer, for vgg6.'
    """
    figure, (ax,) = panels()
    _lines(ax, table, accuracy)
    if "network_accuracy" in table.columns:
        for network, value in table.groupby("network")["network_accuracy"].mean().items():
            ax.axhline(float(value), color=style.look(str(network)).color, linestyle="--", linewidth=1.2)
        ax.plot([], [], color=style.INK, linestyle="--", linewidth=1.2, label="the whole network")
    if chance is not None:
        ax.axhline(chance, color=style.INK, linestyle=":", linewidth=1.2, label="chance")
    ax.set(xlabel="layer $m$", ylabel="test accuracy of the head")
    figure.legend(loc="outside upper right", ncols=4)
    figure.alt = f"Accuracy of a linear head against the layer, for {_listed(table['network'])}."
    return figure


@drawn
def layer_quantities(
    table: pd.DataFrame, quantities: Sequence[str] = ("N_c", "C_s", "n", "SNR_block")
) -> BookFigure:
    """Small pictures, one a quantity, of what a layer's filters are like; lines as in :func:`probe_accuracy`.

    A network whose name ends in :data:`UNTRAINED` is dashed, in the colour of the trained one.

    Parameters
    ----------
    table : one row per network, seed and layer; columns ``network``, ``number`` or ``layer``, and
        ``quantities``.
    quantities : columns to draw, two pictures a row.

    >>> table = pd.DataFrame({"network": ["vgg6"] * 2, "seed": [0, 0], "number": [1, 2], "n": [9.0, 4.0]})
    >>> layer_quantities(table, ["n"]).alt
    'n against the layer, for vgg6.'
    """
    if not quantities:
        raise ParameterError("quantities is empty; give at least one column")
    figure, axes = panels(len(quantities), columns=2, height=2.5, extra=0.4, sharex=True)
    for ax, quantity in zip(axes, quantities, strict=True):
        _lines(ax, table, quantity)
        ax.set_title(NAMES.get(quantity, quantity))
        if quantity in _FROM_ZERO:
            ax.set_ylim(bottom=0)
    for ax in axes[-2:]:
        ax.set_xlabel("layer $m$")
        ax.tick_params(labelbottom=True)
    if table["network"].nunique() > 1:
        handles, names = axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper left", ncols=_columns(names))
    figure.alt = f"{', '.join(quantities)} against the layer, for {_listed(table['network'])}."
    return figure


@drawn
def commonest_share(
    shares: Mapping[str, Sequence[float]], chance: float | None = None, bins: int = 20
) -> BookFigure:
    """Histograms over filters of how often a filter's commonest answer comes (S2), one picture a layer.

    Parameters
    ----------
    shares : layer -> for each filter, the share of test inputs whose largest output is the commonest one.
    chance : share of a filter whose answers are spread evenly, 1/K.
    bins : bars between 0 and 1.

    Raises ParameterError: no layer, or shares outside [0, 1].

    >>> commonest_share({"layer 1": [0.3, 0.9], "layer 2": [0.2, 0.4]}, chance=0.1).alt
    'Histograms over filters of the share of the commonest answer, 2 layers.'
    """
    if not shares:
        raise ParameterError("shares is empty; give at least one layer")
    colors = style.steps(len(shares))
    edges = np.linspace(0, 1, bins + 1)
    figure, axes = panels(len(shares), columns=3, height=1.9, extra=0.5, sharex=True)
    for ax, (layer, values), color in zip(axes, shares.items(), colors, strict=True):
        found = np.asarray(values, dtype=float)
        if found.size == 0 or not ((found >= 0) & (found <= 1)).all():
            raise ParameterError(f"shares[{layer!r}] must hold numbers from 0 to 1, one a filter")
        ax.hist(found, bins=edges, color=color)
        ax.yaxis.get_major_locator().set_params(integer=True)
        ax.axvline(found.mean(), color=style.INK, linewidth=1.6)
        if chance is not None:
            ax.axvline(chance, color=style.INK, linestyle=":", linewidth=1.2)
        ax.set_title(f"layer {layer_number(layer)}: mean {found.mean():.2f}")
    figure.supxlabel("share of inputs with the filter's commonest answer", color=style.INK, fontsize=10.5)
    figure.supylabel("filters", color=style.INK, fontsize=10.5)
    figure.alt = f"Histograms over filters of the share of the commonest answer, {len(shares)} layers."
    return figure


def _columns(names: Sequence[str]) -> int:
    """Columns of a legend that is as wide as the page; a handle takes the room of six letters."""
    return max(1, _LETTERS // (max(map(len, names)) + 6))


def _lines(ax: Axes, table: pd.DataFrame, value: str) -> None:
    table = _numbered(table)
    need(table, "network", value)
    for network, part in mean_and_spread(table, ["network", "number"], value).groupby("network", sort=False):
        trained = str(network).removesuffix(UNTRAINED)
        drawn = style.look(trained)
        runs = int(part["runs"].max())
        line = "-" if trained == network else "--"
        name = f"{network}, {runs} seeds" if runs > 1 else str(network)
        ax.plot(part["number"], part["mean"], line, color=drawn.color, marker=drawn.marker, label=name,
                markerfacecolor=drawn.color if trained == network else "none")  # fmt: skip
        if runs > 1:
            low, high = part["mean"] - part["spread"], part["mean"] + part["spread"]
            ax.fill_between(part["number"], low, high, color=drawn.color, alpha=0.18, linewidth=0)
    ticks = sorted(table["number"].unique())
    ax.set_xticks(ticks)


def _numbered(table: pd.DataFrame) -> pd.DataFrame:
    if "number" in table.columns or table.empty:
        return table
    need(table, "layer")
    return table.assign(number=[layer_number(layer) for layer in table["layer"]])


def _listed(networks: pd.Series) -> str:
    return ", ".join(str(network) for network in networks.unique())
