"""Pooling next to the output: accuracy by depth, by order of the pools and by cost; sparse gradients."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from filterwise.figures import style
from filterwise.figures.tables import layer_number, mean_and_spread, need
from filterwise.papers.pooling.quantities import paired

_MARKERS = "osD^vPX"


def accuracy_by_depth(table: pd.DataFrame, references: Mapping[str, float] | None = None) -> style.BookFigure:
    """Test accuracy against m, conventional and late pooling, mean and standard deviation over seeds.

    Parameters
    ----------
    table : one row a run; columns ``m``, ``pooling`` (a name), ``network`` (of its look) and ``accuracy``.
    references : name -> accuracy, dotted lines.

    Raises
    ------
    ParameterError
        A column is missing, or there are no rows.
    """
    need(table, "m", "pooling", "network", "accuracy")
    depths = sorted(table["m"].unique())
    with style.context():
        figure = style.new(height=3.3)
        ax = figure.subplots()
        for place, (pooling, runs) in enumerate(table.groupby("pooling", sort=False)):
            look = style.look(str(runs["network"].iloc[0]))
            found = mean_and_spread(runs, ["m"], "accuracy")
            at = [depths.index(m) + 0.06 * (2 * place - 1) for m in found["m"]]
            label = f"{pooling}, n = {int(found['runs'].min())}"
            ax.errorbar(
                at,
                found["mean"],
                found["spread"],
                color=look.color,
                marker=look.marker,
                capsize=2.5,
                label=label,
            )
        for name, value in (references or {}).items():
            ax.axhline(value, color=style.INK, linestyle=":", linewidth=1.2, label=name)
        ax.set_xticks(range(len(depths)), [f"{m:g}" for m in depths])
        ax.set(xlabel="layers $m$, convolutional and fully connected", ylabel="test accuracy")
        figure.legend(loc="outside upper left", ncols=2)
    figure.alt = "Test accuracy against depth, conventional and late pooling."
    return figure


def head_orders(table: pd.DataFrame, baseline: pd.DataFrame | None = None) -> style.BookFigure:
    """Test accuracy of each head order: a dot a seed, a bar for the mean, the conventional plan as a band.

    Parameters
    ----------
    table : one row a run; columns ``order`` and ``accuracy``.
    baseline : runs of the conventional plan at equal epochs; column ``accuracy``.

    Raises
    ------
    ParameterError
        A column is missing, or there are no rows.
    """
    need(table, "order", "accuracy")
    means = table.groupby("order")["accuracy"].mean().sort_values(ascending=False)
    with style.context():
        figure = style.new(height=3.2)
        ax = figure.subplots()
        if baseline is not None:
            need(baseline, "accuracy")
            mean, sd = (
                baseline["accuracy"].mean(),
                baseline["accuracy"].std(ddof=1) if len(baseline) > 1 else 0.0,
            )
            ax.axhline(mean, color=style.BLUE, label=f"V, pools after every stage, n = {len(baseline)}")
            ax.axhspan(mean - sd, mean + sd, color=style.BLUE, alpha=0.12, linewidth=0)
        for place, order in enumerate(means.index):
            found = table.loc[table["order"] == order, "accuracy"]
            ax.plot([place] * len(found), found, "o", color=style.ORANGE, alpha=0.7, markersize=5)
            ax.plot([place - 0.25, place + 0.25], [found.mean()] * 2, color=style.ORANGE, linewidth=2.5)
        ax.set_xticks(range(len(means)), [order.replace("-", "→") for order in means.index])
        ax.grid(axis="x", visible=False)
        ax.set(xlabel="pools after the last layer, first step first", ylabel="test accuracy")
        if baseline is not None:
            ax.legend(loc="lower left")
    figure.alt = "Test accuracy of the head orders: " + ", ".join(f"{o} {v:.3f}" for o, v in means.items())
    return figure


def accuracy_against_compute(table: pd.DataFrame) -> style.BookFigure:
    """Test accuracy against what the training cost: multiply-accumulates a forward pass times epochs.

    Parameters
    ----------
    table : one row a run; columns ``arm`` (a name), ``network`` (of its look), ``macs``, ``epochs`` and
        ``accuracy``.

    Raises
    ------
    ParameterError
        A column is missing, or there are no rows.
    """
    from matplotlib.ticker import LogLocator

    need(table, "arm", "network", "macs", "epochs", "accuracy")
    cost = table["macs"] * table["epochs"] / 1e6
    with style.context():
        figure = style.new(height=3.5)
        ax = figure.subplots()
        arms = list(table.assign(cost=cost).groupby("arm", sort=False))
        looks = style.looks([str(runs["network"].iloc[0]) for _, runs in arms])
        for place, ((arm, runs), look) in enumerate(zip(arms, looks, strict=True)):
            found = mean_and_spread(runs, ["cost"], "accuracy")
            ax.errorbar(
                found["cost"], found["mean"], found["spread"], color=look.color, capsize=2.5,
                marker=_MARKERS[place % len(_MARKERS)], linestyle="-" if len(found) > 1 else "none",
                label=f"{arm}, n = {int(found['runs'].min())}",
            )  # fmt: skip
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_formatter("")
        ax.set(xlabel="million multiply-accumulates an image × epochs", ylabel="test accuracy")
        figure.legend(loc="outside upper left", ncols=2)
    figure.alt = "Test accuracy against the compute of a training, one marker an arm."
    return figure


def gradient_shares(table: pd.DataFrame) -> style.BookFigure:
    """Share of a layer's units that are active, that are given a gradient, and that are both, layer by layer.

    Parameters
    ----------
    table : one row a network and layer; columns ``name``, ``layer``, ``active``, ``gradient``, ``routes``.

    Raises
    ------
    ParameterError
        A column is missing, or there are no rows.
    """
    need(table, "name", "layer", "active", "gradient", "routes")
    names = list(dict.fromkeys(table["name"]))
    titles = {"active": "active", "gradient": "given a gradient", "routes": "both: the gradient goes on"}
    with style.context():
        figure = style.new(height=2.9)
        axes = figure.subplots(1, 3, sharey=True)
        for ax, (column, title) in zip(axes, titles.items(), strict=True):
            for place, (name, color) in enumerate(zip(names, style.steps(len(names)), strict=True)):
                part = table[table["name"] == name]
                number = part["layer"].map(layer_number)
                ax.plot(number, part[column], color=color, marker=_MARKERS[place % len(_MARKERS)], label=name)
            ax.set_title(title, fontsize=9.5)
            ax.set_xticks(sorted(set(table["layer"].map(layer_number))))
            ax.set(xlabel="layer", ylim=(0, 1.03))
        axes[0].set_ylabel("share of units before the pool")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=3)
    figure.alt = f"Sparse gradients by layer for {', '.join(names)}."
    return figure


def gain_table(table: pd.DataFrame) -> pd.DataFrame:
    """Late minus V, paired by seed, at equal epochs and at equal compute: mean, standard error, seeds.

    Parameters
    ----------
    table : one row a run; columns ``base``, ``plan``, ``order``, ``data``, ``seed``, ``epochs``, ``macs``,
        ``accuracy``, ``device``.

    Raises
    ------
    ParameterError
        A column is missing, or there are no rows.
    """
    need(table, "base", "plan", "order", "data", "seed", "epochs", "macs", "accuracy", "device")
    rows = []
    for (base, plan, order), late in table[table["plan"] != "V"].groupby(
        ["base", "plan", "order"], sort=False
    ):
        both = paired(late, table[(table["base"] == base) & (table["plan"] == "V")])
        for column, at in (("value", "equal epochs"), ("control", "equal compute")):
            found = both[column].dropna().astype(float)
            error = found.std(ddof=1) / np.sqrt(len(found)) if len(found) > 1 else np.nan
            if len(found):
                row = {"arm": f"{base} {plan} {order}", "at": at, "late - V": found.mean()}
                rows.append({**row, "standard error": error, "n": len(found)})
    return pd.DataFrame(rows, columns=["arm", "at", "late - V", "standard error", "n"])
