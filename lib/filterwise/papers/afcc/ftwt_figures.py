"""Figures and tables of masks for each image: accuracy against cost, foreseen cost, filters by label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap

from filterwise.errors import ParameterError
from filterwise.figures import style
from filterwise.figures.book_figure import BookFigure, drawn, panels
from filterwise.figures.tables import NothingToShow, by_layer, counted, mean_and_spread, need

ARMS = {
    "decoupled": style.Look(style.BLUE, "o"),
    "joint": style.Look(style.ORANGE, "s"),
    "static": style.Look(style.MAGENTA, "D"),
}
#: What a legend calls the arms.
WORDS = {"decoupled": "dynamic, decoupled", "joint": "dynamic, joint", "static": "static, L1 norm"}
_MASKS = ("mask_accuracy", "majority", "mask_constant", "target", "active")
# How often is opacity, so that "never" has the colour of the page, light or dark.
_OFTEN = LinearSegmentedColormap.from_list("often", [f"{style.INK}1a", style.BLUE])
# Up to so many labels their names fit below the columns.
_NAMED_LABELS = 20


def of_dynamic(records: pd.DataFrame) -> pd.DataFrame:
    """The rows of records that are dynamic pruning or its controls.

    Raises NothingToShow: the records have none.
    """
    need(records, "ftwt", "macs_share", "accuracy")
    found = records[records["ftwt"].notna() & (records["ftwt"] != "")]
    if found.empty:
        raise NothingToShow("table has no runs of dynamic pruning; there is nothing to draw")
    return found


@drawn
def accuracy_against_macs(records: pd.DataFrame) -> BookFigure:
    """Test accuracy against the multiply-accumulates that are left, a line an arm, an error bar both ways.

    Parameters
    ----------
    records : one row a run, with ``ftwt``, ``r``, ``macs_share``, ``accuracy``; the dense network retrained
        is drawn as a dashed line.
    """
    table = of_dynamic(records)
    figure, (ax,) = panels(height=3.4)
    for arm, look in ARMS.items():
        runs = table[table["ftwt"] == arm]
        if runs.empty:
            continue
        both = [mean_and_spread(runs, ["r"], column) for column in ("macs_share", "accuracy")]
        name = f"{WORDS[arm]}, {counted(int(both[0]['runs'].max()), 'seed')}"
        ax.errorbar(both[0]["mean"], both[1]["mean"], both[1]["spread"], both[0]["spread"], color=look.color,
                    marker=look.marker, capsize=2.5, label=name)  # fmt: skip
    whole = table[table["ftwt"] == "retrained"]["accuracy"]
    if len(whole):
        ax.axhline(whole.mean(), color=style.INK, linestyle="--", linewidth=1.2, label="dense, retrained")
    ax.set(xlabel="share of multiply-accumulates that is left", ylabel="test accuracy")
    figure.legend(loc="outside upper left", ncols=2)
    figure.alt = "Test accuracy against the share of multiply-accumulates, for dynamic and static masks."
    return figure


@drawn
def rate_matrix(
    wanted: np.ndarray, rate: np.ndarray, clusters: np.ndarray, label_names: Sequence[str] = ()
) -> BookFigure:
    """Filters by labels, in one order: ones in the ground truth, how often on, labels of their clusters.

    Parameters
    ----------
    wanted, rate : (F, K), from 0 to 1: how often g and how often the mask is 1.
    clusters : bool (F, K), whether a label is in one of the filter's clusters.
    label_names : K names; drawn up to 20 labels.

    Raises ParameterError: the shapes differ.
    """
    parts = [np.asarray(values, dtype=float) for values in (wanted, rate, clusters)]
    if parts[0].ndim != 2 or len({part.shape for part in parts}) > 1:
        shapes = ", ".join(str(part.shape) for part in parts)
        raise ParameterError(f"wanted, rate and clusters have shapes {shapes}; (filters, labels) of all")
    # by the middle of the labels that a filter stands for, those without any last
    labels, count = parts[2].shape[1], parts[2].sum(1)
    middle = np.where(count, (parts[2] * np.arange(labels)).sum(1) / np.maximum(count, 1), labels)
    order = np.argsort(middle, kind="stable")
    names = list(map(str, label_names)) if labels <= _NAMED_LABELS else []
    figure, axes = panels(3, columns=3, height=3.2, phone=0, sharey=True)
    for ax, values, title in zip(axes, parts, ("wanted: ones in g", "on", "its clusters"), strict=True):
        image = ax.imshow(values[order], cmap=_OFTEN, vmin=0, vmax=1, aspect="auto", interpolation="nearest")
        ax.set(title=title, xlabel="label")
        ax.grid(visible=False)
        ax.set_xticks(range(len(names)) if names else [], names, rotation=90, fontsize=8)
    axes[0].set_ylabel("filter")
    figure.colorbar(image, ax=axes, shrink=0.8, pad=0.02).outline.set_visible(False)
    figure.alt = (
        f"{len(order)} filters by {labels} labels: how often each is wanted, how often on, its clusters."
    )
    return figure


def rates_kept(kept: Mapping[str, np.ndarray], layer: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What :func:`rate_matrix` draws of a layer, from the arrays of a measurement or a record.

    Raises NothingToShow: they were not kept for this layer.
    """
    names = [f"{name}@{layer}" for name in ("target_rate", "rate", "clusters")]
    for name in names:
        if name not in kept:
            raise NothingToShow(f"table of arrays has no {name!r}; there is nothing to draw")
    return kept[names[0]].astype(float), kept[names[1]].astype(float), kept[names[2]]


def masks_table(records: pd.DataFrame) -> pd.DataFrame:
    """Predictors layer by layer, decoupled, means over seeds: right answers, the best constant answer of
    each filter, how constant the masks are, ones in the ground truth, and filters that are on."""
    table = of_dynamic(records)
    table = table[table["ftwt"] == "decoupled"]
    if table.empty:
        raise NothingToShow("table has no runs with predictors; there is nothing to show")
    parts = [by_layer(runs, _MASKS).assign(r=r) for r, runs in table.groupby("r", sort=False)]
    names = {"number": "layer", "mask_accuracy": "right", "majority": "constant answer",
             "mask_constant": "masks constant", "target": "ones in g", "active": "on"}  # fmt: skip
    found = pd.concat(parts).groupby(["r", "number"], sort=False)[list(_MASKS)].mean().reset_index()
    return found.rename(columns=names).set_index(["r", "layer"])


def said_of_cost(records: pd.DataFrame) -> str:
    """The accuracies at the smallest r, dynamic and static, beside the dense network's."""
    table = of_dynamic(records)
    said = []
    for arm in ARMS:
        runs = table[table["ftwt"] == arm]
        if len(runs):
            last = runs[runs["r"] == runs["r"].min()]
            said.append(f"{WORDS[arm]} {last['accuracy'].mean():.3f} at {last['macs_share'].mean():.0%}")
    whole = table[table["ftwt"] == "retrained"]["accuracy"]
    dense = f"; dense {whole.mean():.3f}" if len(whole) else ""
    return f"*Accuracy and cost left at the smallest r:* {', '.join(said)}{dense}."
