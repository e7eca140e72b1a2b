"""What only chapter 2's page draws: two networks and their routes, rates, curves, and zero gradients."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from filterwise.claims.record_rows import joined
from filterwise.figures import style
from filterwise.figures.book_figure import BookFigure, drawn, panels, points
from filterwise.figures.tables import NothingToShow, counted, mean_and_spread, need, seeds_a_point
from filterwise.papers.tree.quantities import best_rates, chosen, layers_of
from filterwise.runs.records import arrays

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Layers as a reader meets them.
LAYER_NAMES = {"conv": "convolution", "tree": "tree", "fc": "last layer"}


@drawn
def two_networks(lenet_routes: int, tree_routes: int) -> BookFigure:
    """LeNet-5 beside one branch of a Tree-3: all ways from one unit below to one output above.

    Parameters
    ----------
    lenet_routes, tree_routes : what the walk through each network counts.
    """
    figure, (left, right) = panels(2, columns=2, height=3.0)
    fan = [1, 12, 10, 7, 1]
    places = [[(float(n), (i + 0.5) / count) for i in range(count)] for n, count in enumerate(fan)]
    _wires(
        left, [pair for ends in itertools.pairwise(places) for pair in itertools.product(*ends)], style.GREEN
    )
    _dots(left, [place for layer in places for place in layer], style.GREEN)
    names = ("filter's unit", "second\nconvolution", "120", "84", "output")
    _named(left, range(5), names, f"LeNet-5: {lenet_routes:,} routes")
    units = [(0.0, (i + 0.5) / 12) for i in range(12)]
    strips = [(1.3, (i + 0.5) / 4) for i in range(4)]
    output = (2.6, 0.5)
    _wires(right, [(unit, strips[place // 3]) for place, unit in enumerate(units)], style.INK)
    _wires(right, [(strip, output) for strip in strips], style.INK)
    route = [units[7], strips[2], output]
    right.plot(*zip(*route, strict=True), color=style.RED, linewidth=2.4, zorder=2)
    _dots(right, [*units, *strips, output], style.INK)
    _dots(right, route, style.RED)
    _named(
        right,
        (0, 1.3, 2.6),
        ("filter's units", "strips of\na branch", "output"),
        f"a branch of Tree-3: {tree_routes} route",
    )
    figure.alt = (
        f"Left, lines fan out from one unit of LeNet-5 through every layer and meet again in an output, "
        f"{lenet_routes:,} routes in all; right, one unit of a Tree-3 reaches the output over one strip only."
    )
    return figure


def _wires(ax: Axes, ends: Sequence[tuple[tuple[float, float], tuple[float, float]]], color: str) -> None:
    for (x, y), (u, v) in ends:
        ax.plot([x, u], [y, v], color=color, linewidth=0.55, alpha=0.55, zorder=1)


def _dots(ax: Axes, places: Sequence[tuple[float, float]], color: str) -> None:
    ax.plot(*zip(*places, strict=True), "o", color=color, markersize=4.5, zorder=3)


def _named(ax: Axes, at: Any, names: Sequence[str], title: str) -> None:
    ax.set_xticks(list(at), names, fontsize=9)
    ax.set(title=title, yticks=[], ylim=(-0.02, 1.02))
    ax.grid(False)
    ax.spines[["left", "bottom"]].set_visible(False)
    ax.tick_params(length=0)


@drawn
def rates(table: pd.DataFrame, regime: str = "online") -> BookFigure:
    """Accuracy on held-out images against the learning rate, a line a network; a ring marks the best.

    Parameters
    ----------
    table : records, or a page's own rows.
    """
    need(table, "network", "regime", "arm_kind", "rate", "accuracy")
    tried = table[(table["regime"] == regime) & (table["arm_kind"] == "tuning")]
    if tried.empty:
        raise NothingToShow(f"grid of rates for {regime} learning has no rows")
    figure, (ax,) = panels(height=3.4)
    best = {name: rate for (name, _), rate in best_rates(table, regime).items()}
    for name, runs in tried.groupby("network", sort=False):
        look = style.look(str(name))
        found = mean_and_spread(runs, ["rate"], "accuracy")
        points(ax, found["rate"], found, look, f"{name}, {seeds_a_point(found['runs'])}")
        top = found[found["rate"] == best[str(name)]]
        ax.plot(top["rate"], top["mean"], "o", mfc="none", mec=look.color, markersize=14)
    ax.set_xscale("log")
    ax.set_xticks(sorted(tried["rate"].unique()))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.minorticks_off()
    ax.set(xlabel="learning rate", ylabel="accuracy on held-out images")
    figure.legend(loc="outside upper left", ncols=3)
    figure.alt = f"Accuracy on held-out images against the learning rate, {regime}, a line a network."
    return figure


@drawn
def presented(table: pd.DataFrame) -> BookFigure:
    """Test accuracy against the number of images seen once, each a training of its own.

    Parameters
    ----------
    table : records of online trainings, on all images and on parts of them.
    """
    need(table, "network", "regime", "arm_kind", "train_images", "accuracy")
    once = table[(table["regime"] == "online") & table["arm_kind"].isin(["main", "examples"])]
    several = [name for name, runs in once.groupby("network") if runs["train_images"].nunique() > 1]
    once = once[once["network"].isin(several)]
    if once.empty:
        raise NothingToShow("trainings on parts of the images have no rows")
    figure, (ax,) = panels(height=3.4)
    for name, runs in once.groupby("network", sort=False):
        found = mean_and_spread(runs, ["train_images"], "accuracy")
        label = f"{name}, {seeds_a_point(found['runs'])}"
        points(ax, found["train_images"], found, style.look(str(name)), label)
    ax.set_xscale("log")
    ax.set_xticks(sorted(once["train_images"].unique()))
    ax.xaxis.set_major_formatter("{x:,g}")
    ax.minorticks_off()
    ax.set(xlabel="images seen, each once", ylabel="test accuracy")
    figure.legend(loc="outside upper left", ncols=3)
    figure.alt = "Test accuracy against the number of images that were each seen once, a line a network."
    return figure


@drawn
def success_by_epoch(histories: Mapping[str, np.ndarray]) -> BookFigure:
    """Test accuracy against the epoch; the band is one standard deviation over seeds.

    Parameters
    ----------
    histories : network -> test accuracy (seeds, epochs).
    """
    if not histories:
        raise NothingToShow("offline trainings have no rows")
    figure, (ax,) = panels(height=3.6)
    for name, curves in histories.items():
        look, epochs = style.look(name), np.arange(1, curves.shape[1] + 1)
        mean = curves.mean(0)
        label = f"{name}, {counted(len(curves), 'seed')}"
        ax.plot(epochs, mean, color=look.color, label=label, linewidth=1.4)
        ax.plot(epochs[-1:], mean[-1:], color=look.color, marker=look.marker)
        if len(curves) > 1:
            spread = curves.std(0, ddof=1)
            ax.fill_between(epochs, mean - spread, mean + spread, color=look.color, alpha=0.2, linewidth=0)
    ax.set(xlabel="epoch", ylabel="test accuracy")
    figure.legend(loc="outside upper left", ncols=3)
    figure.alt = "Test accuracy against the epoch, a line a network, with bands of one standard deviation."
    return figure


def histories_of(records: pd.DataFrame, chapter: str, profile: str) -> dict[str, np.ndarray]:
    """Network -> test accuracy (seeds, epochs) of the offline trainings that count; empty without any."""
    runs = chosen(records, "offline")
    found: dict[str, list[np.ndarray]] = {}
    for network, spec_key in zip(runs.get("network", ()), runs.get("spec_key", ()), strict=True):
        curve = arrays(chapter, profile, str(spec_key))["history"][:, -1]
        found.setdefault(str(network), []).append(curve)
    return {name: np.stack(curves) for name, curves in found.items()}


@drawn
def zero_shares(table: pd.DataFrame, network: str) -> BookFigure:
    """Share of gradient terms that are exactly 0, by layer, before and after training.

    Bars are means over seeds; their ends are one standard deviation over test images.

    Parameters
    ----------
    table : records or a page's rows; columns ``zero_share@``, ``zero_spread@``, ``zero_share_untrained@``.
    network : whose.
    """
    need(table, "network")
    runs = table[table["network"] == network]
    layers = [layer for layer in layers_of(runs) if runs[f"zero_share@{layer}"].notna().any()]
    if not layers:
        raise NothingToShow(f"gradient terms of {network} have no rows")
    figure, (ax,) = panels(height=3.2)
    at = np.arange(len(layers))
    ends: dict[str, Any] = {"ecolor": style.INK, "capsize": 3}
    kinds = (("zero_share_untrained", "before training", style.INK), ("zero_share", "after", style.RED))
    for shift, (column, label, color) in zip((-0.2, 0.2), kinds, strict=True):
        means = [runs[f"{column}@{layer}"].mean() for layer in layers]
        spreads = [runs[f"zero_spread@{layer}"].mean() for layer in layers] if shift > 0 else None
        ax.bar(at + shift, means, 0.36, yerr=spreads, color=color, alpha=0.75, label=label, **ends)
        for x, mean in zip(at + shift, means, strict=True):
            ax.annotate(f"{mean:.2f}", (x, 0.03), ha="center", fontsize=9, color="white", weight="bold")
    ax.set_xticks(at, [LAYER_NAMES.get(layer, layer) for layer in layers])
    ax.set(ylabel="share of terms that are 0", ylim=(0, 1))
    ax.grid(False, axis="x")
    figure.legend(loc="outside upper left", ncols=2)
    figure.alt = (
        f"Share of gradient terms that are exactly zero in each layer of {network}, before and after."
    )
    return figure


def zero_table(table: pd.DataFrame, networks: Sequence[str]) -> pd.DataFrame:
    """Shares of zero terms of several networks, layer by layer, before and after training, and their spread
    over images; means over runs. Empty without any.
    """
    rows = []
    for network in networks:
        runs = table[table["network"] == network] if "network" in table else table
        for layer in layers_of(runs):
            after = runs[f"zero_share@{layer}"].mean()
            if after == after:
                name = LAYER_NAMES.get(layer, f"{layer[:-1]} {layer[-1]}")
                before, spread = (
                    runs[f"{column}@{layer}"].mean() for column in ("zero_share_untrained", "zero_spread")
                )
                shares = {"before training": before, "after": after, "± over images": spread}
                rows.append({"network": network, "layer": name, **shares})
    return pd.DataFrame(rows).set_index(["network", "layer"]) if rows else pd.DataFrame()


def colour_table(records: pd.DataFrame, chapter: str, profile: str, network: str) -> pd.DataFrame:
    """Share of zero terms by colour, mean and standard deviation over images, of one network's first seed.

    Empty where none is recorded, or the images have one colour.
    """
    runs = chosen(records, "offline")
    runs = runs[runs["network"] == network].sort_values("seed") if len(runs) else runs
    found = [arrays(chapter, profile, str(spec_key)) for spec_key in runs.get("spec_key", ())[:1]]
    shares = found[0].get("zero_share_by_colour") if found else None
    if shares is None or not len(shares):
        return pd.DataFrame()
    rows = [
        {"layer": LAYER_NAMES[layer], "colour": colour, "share of zeros": mean, "± over images": spread}
        for layer, by_colour in zip(("conv", "tree"), shares.tolist(), strict=True)
        for colour, (mean, spread) in zip(("red", "green", "blue"), by_colour, strict=True)
    ]
    return pd.DataFrame(rows).set_index(["layer", "colour"])


def cost_table(table: pd.DataFrame) -> pd.DataFrame:
    """What a network costs: weights, operations, gradient terms at most and in truth; a row a network.

    Means over the runs of each network; empty without any.
    """
    need(table, "network", "first_layer_terms", "parameters", "macs")
    runs = table[table["first_layer_terms"].notna()]
    if runs.empty:
        raise NothingToShow("gradient terms have no rows")
    nonzero = [column for column in runs if str(column).startswith("nonzero_terms@")]
    first = runs[[c for c in nonzero if str(c).endswith(("@conv", "@conv1"))]].max(axis=1)
    rows = runs.assign(first=first, total=runs[nonzero].sum(axis=1)).groupby("network", sort=False)
    return pd.DataFrame(
        {
            "weights": rows["parameters"].first(),
            "million MACs": rows["macs"].first() / 1e6,
            "first layer's terms": rows["first_layer_terms"].first(),
            "pools' winners": rows["first_layer_winners"].first(),
            "not 0": rows["first"].mean().round(),
            "not 0, all layers": rows["total"].mean().round(),
        }
    )


def results_table(table: pd.DataFrame, regime: str) -> pd.DataFrame:
    """Test accuracy of every network at its chosen rate, by operations: mean, spread, seeds, precision."""
    runs = chosen(table, regime)
    if runs.empty:
        return pd.DataFrame()
    grouped = runs.sort_values("macs", kind="stable").groupby("network", sort=False)
    return pd.DataFrame(
        {
            "rate": grouped["rate"].first(),
            "weights": grouped["parameters"].first(),
            "million MACs": grouped["macs"].first() / 1e6,
            "epochs": grouped["epochs"].first(),
            "seeds": grouped["seed"].nunique(),
            "accuracy": grouped["accuracy"].mean(),
            "± over seeds": grouped["accuracy"].std(),
            "precision": grouped["precision"].agg(lambda each: joined(sorted(each))),
        }
    )


def gains_in_words(table: pd.DataFrame, regime: str) -> str:
    """Mean accuracies at the chosen rates, as words for a caption."""
    found = results_table(table, regime)
    parts = [f"{name} {row['accuracy']:.3f}" for name, row in found.iterrows()]
    return ", ".join(parts)
