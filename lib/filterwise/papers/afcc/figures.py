"""What only chapter 5's page draws: accuracy against dilution, sorts of kernels, curves, and its tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from filterwise.figures import style
from filterwise.figures.book_figure import BookFigure, drawn, panels, points
from filterwise.figures.style import Look
from filterwise.figures.tables import NothingToShow, counted, mean_and_spread, need
from filterwise.runs.layer_columns import values_of
from filterwise.runs.records import arrays

#: How every criterion is drawn, on this page and nowhere else.
LOOKS = {
    "afcc": Look(style.RED, "o"),
    "random": Look(style.INK, "x"),
    "magnitude": Look(style.BLUE, "s"),
    "kernel-l2": Look(style.GREEN, "^"),
    "kernel-l2-within": Look(style.TEAL, "v"),
    "filter-l1": Look(style.ORANGE, "D"),
    "random-afcc": Look(style.OCHRE, "P"),
    "diagonal-top": Look(style.MAGENTA, "*"),
    "structured": Look(style.MAGENTA, "X"),
}
#: Names for a reader.
NAMES = {
    "afcc": "AFCC",
    "random": "random",
    "magnitude": "magnitude",
    "kernel-l2": "kernel norm",
    "kernel-l2-within": "kernel norm, filter by filter",
    "filter-l1": "input filter",
    "random-afcc": "random label sets",
    "diagonal-top": "largest diagonal fields",
    "structured": "whole channels",
    "dense": "not pruned",
}

VARIANTS = {"test": "clusters of the test images", "cluster": "a cluster must be shared"}


def main_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Retrained networks of the main comparison: no variants, no imposed sets."""
    need(table, "measure", "criterion", "theta", "accuracy")
    rows = table[(table["measure"] == "afcc.retrained") & table["criterion"].isin(NAMES)]
    if "variant" not in rows:
        return rows
    return rows[rows["variant"].isna() | (rows["variant"] == "")]


def removed_share(table: pd.DataFrame) -> dict[float, float]:
    """Threshold -> removed share of the masked convolutions' kernels by AFCC, mean over layers and seeds."""
    found: dict[float, list[float]] = {}
    masks = table[table["measure"] == "afcc.masks"] if "measure" in table else table.iloc[:0]
    for name, value in [pair for run in values_of(masks, "dilution") for pair in run.items()]:
        layer, _, theta = name.partition("/")
        if theta and layer.startswith("features."):
            found.setdefault(float(theta), []).append(value)
    return {theta: float(np.mean(values)) for theta, values in sorted(found.items())}


@drawn
def accuracy_against_dilution(table: pd.DataFrame, criteria: Sequence[str] = tuple(LOOKS)) -> BookFigure:
    """Test accuracy against the removed share, before and after retraining; bars are one standard deviation.

    Every criterion keeps as many weights in each layer as AFCC does at that point. The dashed line is the
    network that was not pruned: as it is, and retrained as long.

    Parameters
    ----------
    table : records, or a page's own rows.
    """
    share = removed_share(table)
    after = main_rows(table)
    if not share or after.empty:
        raise NothingToShow("retrained networks have no rows")
    figure, (left, right) = panels(2, columns=2, height=3.6, sharey=True)
    masks = table[table["measure"] == "afcc.masks"]
    for name in criteria:
        look = LOOKS[name]
        thetas = [theta for theta in share if f"unretrained@{name}/{theta:g}" in masks]
        if thetas:
            values = masks[[f"unretrained@{name}/{theta:g}" for theta in thetas]]
            found = pd.DataFrame({"mean": values.mean().to_numpy(), "spread": values.std().to_numpy()})
            points(left, [share[theta] for theta in thetas], found, look, NAMES[name])
        own = after[(after["criterion"] == name) & after["theta"].isin(share)]
        if len(own):
            found = mean_and_spread(own, ["theta"], "accuracy")
            points(right, found["theta"].map(share), found, look, "" if thetas else NAMES[name])
    dense = after[after["criterion"] == "dense"]["accuracy"]
    for ax, value in ((left, masks["unretrained@dense"].mean()), (right, dense.mean())):
        ax.axhline(value, color=style.INK, linestyle="--", linewidth=1)
        ax.set_xlabel("removed share of kernels")
    seeds = after["seed"].nunique()
    left.set(ylabel="test accuracy", title="not retrained")
    right.set_title(f"retrained, {counted(seeds, 'seed')}")
    figure.legend(loc="outside upper left", ncols=4)
    figure.alt = "Test accuracy against the removed share of kernels, before and after retraining."
    return figure


def retrained_table(table: pd.DataFrame) -> pd.DataFrame:
    """Test accuracy after retraining: a row a criterion, a column a threshold; mean and spread over seeds.

    Below them variants, and networks that learned under imposed sets from scratch.
    """
    main_rows(table)  # says what is missing
    rows = table[table["measure"] == "afcc.retrained"]
    variants = rows["variant"] if "variant" in rows else pd.Series("", rows.index)
    names = [_named(*pair) for pair in zip(rows["criterion"], variants, strict=True)]
    found = rows[["theta", "accuracy"]].assign(kept=names).groupby(["kept", "theta"])["accuracy"]
    shown: dict[str, dict[str, str]] = {}
    for (name, theta), mean, std, count in found.agg(["mean", "std", "count"]).itertuples():
        shown.setdefault(name, {})[f"{theta:g}" if theta else "no threshold"] = _spread(mean, std, count)
    order = [*NAMES.values(), *(name for name in shown if name not in NAMES.values())]
    columns = sorted({column for row in shown.values() for column in row})
    kept = {name: shown[name] for name in order if name in shown}
    return pd.DataFrame(kept).T.reindex(columns=columns).fillna("").rename_axis("kept by")


def _named(criterion: str, variant: Any) -> str:
    """A criterion and its variant in words."""
    name = NAMES.get(criterion, f"{criterion}, from scratch")
    return f"{name}, {VARIANTS.get(variant, variant)}" if isinstance(variant, str) and variant else name


def _spread(mean: float, std: float, count: float) -> str:
    return f"{mean:.3f} ± {std:.3f} ({count:.0f})" if count > 1 else f"{mean:.3f} ({count:.0f})"


def compared_table(table: pd.DataFrame) -> pd.DataFrame:
    """The page's own retrainings, a row a criterion: removed weights, accuracy before and after; means."""
    rows = main_rows(table)
    rows = rows.set_index(rows["criterion"].map(NAMES)).rename_axis("kept by")
    columns = {
        "network_dilution": "weights removed",
        "accuracy_as_is": "masked",
        "accuracy_before": "norms fitted",
        "accuracy": "retrained",
    }
    found = rows.groupby(level=0, sort=False)[list(columns)].mean().rename(columns=columns)
    return found.loc[[name for name in NAMES.values() if name in found.index]]


def layer_table(table: pd.DataFrame) -> pd.DataFrame:
    """Layer by layer at the group's threshold: dilution, by chance, overlap with kernel norms, accuracy when
    this layer alone is masked; means over seeds."""
    masks = table[table["measure"] == "afcc.masks"] if "measure" in table else table.iloc[:0]
    if masks.empty:
        return pd.DataFrame()
    rows = {}
    for layer in str(masks["layers"].iloc[0]).split():
        columns = {
            "removed": f"dilution@{layer}",
            "before training": f"untrained_dilution@{layer}",
            "kept by norm too": f"overlap@{layer}",
            "by chance": f"overlap_chance@{layer}",
            "AFCC": f"unretrained_layer@afcc/{layer}",
            "random": f"unretrained_layer@random/{layer}",
            "magnitude": f"unretrained_layer@magnitude/{layer}",
        }
        rows[layer] = {name: masks[column].mean() for name, column in columns.items() if column in masks}
    return pd.DataFrame(rows).T.rename_axis("layer")


@drawn
def two_sorts(table: pd.DataFrame) -> BookFigure:
    """Accuracy lost when equally many kernels are removed: without a common label, with one, with one and the
    same norms. A group of bars a layer; their ends are one standard deviation over seeds.

    Parameters
    ----------
    table : records, or a page's own rows.
    """
    masks = table[table["measure"] == "afcc.masks"] if "measure" in table else table.iloc[:0]
    kinds = {
        "without": ("no common label", style.RED),
        "alike": ("a common label, equal norms", style.OCHRE),
        "with": ("a common label", style.BLUE),
    }
    layers = [name for name in values_of(masks, "removed_without")[0]] if len(masks) else []
    if not layers:
        raise NothingToShow("removed kernels have no rows")
    figure, (ax,) = panels(height=3.0)
    whole = masks["unretrained@dense"]
    for place, (kind, (label, color)) in enumerate(kinds.items()):
        lost = np.array([
            [dense - run[layer] for layer in layers]
            for dense, run in zip(whole, values_of(masks, f"removed_{kind}"), strict=True)
        ])  # fmt: skip
        spread = lost.std(axis=0, ddof=1) if len(lost) > 1 else None
        at = np.arange(len(layers)) + (place - 1) * 0.27
        ax.bar(
            at, lost.mean(axis=0), 0.25, yerr=spread, color=color, label=label, capsize=3, ecolor=style.INK
        )
    ax.set_xticks(range(len(layers)), layers)
    ax.set_ylabel("accuracy lost")
    ax.grid(False, axis="x")
    figure.legend(loc="outside upper left", ncols=3)
    figure.alt = "Accuracy lost by removing equally many kernels with and without a common label, by layer."
    return figure


@drawn
def retraining_curves(histories: Mapping[str, np.ndarray]) -> BookFigure:
    """Held-out accuracy against the epoch of retraining, a line a criterion, bands one standard deviation.

    Parameters
    ----------
    histories : criterion -> accuracy (seeds, epochs), see :func:`histories_of`.
    """
    if not histories:
        raise NothingToShow("retrainings have no rows")
    figure, (ax,) = panels(height=3.2)
    for name, curves in histories.items():
        look = LOOKS.get(name, Look(style.INK, ""))
        epochs, mean = np.arange(1, curves.shape[1] + 1), curves.mean(0)
        dashes = "--" if name == "dense" else "-"
        ax.plot(epochs, mean, dashes, color=look.color, marker=look.marker, label=NAMES[name])
        if len(curves) > 1:
            spread = curves.std(0, ddof=1)
            ax.fill_between(epochs, mean - spread, mean + spread, color=look.color, alpha=0.2, linewidth=0)
    ax.set(xlabel="epoch of retraining", ylabel="accuracy, held-out images")
    ax.xaxis.get_major_locator().set_params(integer=True)
    figure.legend(loc="outside upper left", ncols=4)
    figure.alt = "Accuracy on held-out images against the epoch of retraining, a line a criterion."
    return figure


def histories_of(records: pd.DataFrame, profile: str, theta: float) -> dict[str, np.ndarray]:
    """Criterion -> held-out accuracy (seeds, epochs) of the retrainings at one threshold, if any."""
    if not {"measure", "criterion", "theta", "spec_key"} <= set(records.columns):
        return {}
    rows = main_rows(records)
    rows = rows[(rows["theta"] == theta) | (rows["criterion"] == "dense")]
    found: dict[str, list[np.ndarray]] = {}
    for name, spec_key in zip(rows["criterion"], rows["spec_key"], strict=True):
        curve = arrays("5-afcc", profile, str(spec_key))["history"][:, -1]
        found.setdefault(str(name), []).append(curve)
    return {name: np.stack(found[name]) for name in NAMES if name in found}
