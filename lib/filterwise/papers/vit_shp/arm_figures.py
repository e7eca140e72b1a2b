"""What chapter 7's page draws of runs that are compared: prunings, committees, convolutions in front."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from filterwise.figures import style
from filterwise.figures.book_figure import BookFigure, drawn, panels, points
from filterwise.figures.style import Look
from filterwise.figures.tables import NothingToShow, counted, mean_and_spread
from filterwise.papers.vit_shp.figures import look_of
from filterwise.runs.layer_columns import values_of
from filterwise.runs.records import arrays

#: How every way to choose connections is drawn, and its name for a reader.
CRITERIA = {
    "andc": ("ANDC", Look(style.RED, "o")),
    "random": ("random", Look(style.INK, "x")),
    "magnitude": ("magnitude", Look(style.BLUE, "s")),
    "random-andc": ("random label sets", Look(style.OCHRE, "P")),
    "shp": ("single-head performance", Look(style.RED, "o")),
    "dense": ("not pruned", Look(style.INK, "")),
}


def prunings(records: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Rows of retrained prunings of one kind, "andc" or "heads"."""
    if not {"measure", "kind", "criterion", "theta", "accuracy"} <= set(records.columns):
        return pd.DataFrame(columns=["criterion", "theta", "accuracy"])
    return records[(records["measure"] == "vit.pruned") & (records["kind"] == kind)]


@drawn
def accuracy_against_removed(records: pd.DataFrame) -> BookFigure:
    """Test accuracy against the removed share of the masked weights, as masked and after a short retraining.

    Every way to choose keeps as many weights in each matrix as ANDC does at that point; the dashed line is
    the network that was retrained as long without masks. Bars are one standard deviation over seeds.

    Parameters
    ----------
    records : rows of records.
    """
    rows = prunings(records, "andc")
    if rows.empty:
        raise NothingToShow("pruned networks have no rows")
    figure, (left, right) = panels(2, columns=2, height=3.4, extra=0.3, sharey=True)
    share = rows[rows["criterion"] == "andc"].groupby("theta")["removed_share"].mean()
    for name, (said, look) in CRITERIA.items():
        own = rows[(rows["criterion"] == name) & rows["theta"].isin(share.index)]
        for ax, column in ((left, "accuracy_as_is"), (right, "accuracy")):
            if len(own) and column in own:
                found = mean_and_spread(own, ["theta"], column)
                points(ax, found["theta"].map(share), found, look, said if ax is right else "")
    dense = rows[rows["criterion"] == "dense"]
    for ax, column in ((left, "accuracy_as_is"), (right, "accuracy")):
        ax.axhline(dense[column].mean(), color=style.INK, linestyle="--", linewidth=1)
        ax.set_xlabel("removed share of masked weights")
    left.set(ylabel="test accuracy", title="masked, not retrained")
    right.set_title(f"retrained, {counted(dense['seed'].nunique(), 'seed')}")
    figure.legend(loc="outside upper left", ncols=4)
    figure.alt = "Test accuracy against the removed share of weights, before and after retraining."
    return figure


def pruned_table(records: pd.DataFrame, theta: float = 0.5) -> pd.DataFrame:
    """Prunings at one threshold, with and without the attention's projections: removed shares, accuracy at
    once and retrained; means over seeds."""
    found = {}
    for kind, words in (("andc", "feed-forward"), ("andc with attention", "and attention")):
        rows = prunings(records, kind)
        for name, own in rows[rows["theta"] == theta].groupby("criterion", sort=False):
            found[words, CRITERIA[str(name)][0]] = {
                "removed": own["removed_share"].mean(),
                "of the network": own["removed_network"].mean(),
                "at once": own["accuracy_as_is"].mean(),
                "retrained": _spread(own["accuracy"]),
            }
    return pd.DataFrame(found).T.rename_axis(["masked", "kept by"]) if found else pd.DataFrame()


def pruned_heads_table(records: pd.DataFrame) -> pd.DataFrame:
    """Without half of the heads: accuracy at once and retrained, parameters, and time for a batch over that
    of the network with all heads, which was timed beside it in turns; means, of the times also the range."""
    rows = prunings(records, "heads")
    found = {}
    for name, own in rows.groupby("criterion", sort=False):
        ratio = own["ms@pruned"] / own["ms@dense"]
        found[CRITERIA[str(name)][0]] = {
            "heads left": _heads(own),
            "at once": own["accuracy_as_is"].mean(),
            "retrained": _spread(own["accuracy"]),
            "parameters": round(own["parameters_left"].mean()),
            "time / all heads": f"{ratio.mean():.2f} ({ratio.min():.2f} to {ratio.max():.2f})",
        }
    return pd.DataFrame(found).T.rename_axis("heads kept by") if found else pd.DataFrame()


def _heads(own: pd.DataFrame) -> str:
    """Heads of all encoders together, as in "64 = 4 × 16" where every encoder has as many."""
    heads = float(own["heads"].mean())
    encoders = float(own["encoders"].mean()) if "encoders" in own else np.nan
    each = heads / encoders
    return f"{heads:g} = {encoders:g} × {each:g}" if each.is_integer() else f"{heads:g}"


def _spread(values: pd.Series) -> str:
    words = f"{values.mean():.3f}"
    return f"{words} ± {values.std():.3f} ({len(values)})" if len(values) > 1 else f"{words} (1)"


def committee_table(records: pd.DataFrame, data: str) -> pd.DataFrame:
    """Committees of three on one data set, a column a kind: members, the committee by three rules, gain,
    disagreement, and the expected calibration error (ECE) of a member and of the committee."""
    if not {"measure", "kind", "committee@softmax"} <= set(records.columns):
        return pd.DataFrame()
    rows = records[records["measure"] == "vit.committee"]
    rows = rows[rows["data"].astype(str).str.startswith(data)]
    found = {}
    for kind, own in rows.groupby("kind", sort=False):
        members = [column for column in own if str(column).startswith("calibration_error@")]
        found[str(kind)] = {
            "committees": len(own),
            "member": own["mean_member"].mean(),
            "softmax": own["committee@softmax"].mean(),
            "logits": own["committee@logits"].mean(),
            "vote": own["committee@vote"].mean(),
            "gain": _spread(own["gain@softmax"]),
            "if independent": own["independent_gain@softmax"].mean(),
            "disagree": own["disagreement"].mean(),
            "ECE, member": own[members].mean(axis=None),
            "ECE": own["committee_calibration_error"].mean(),
        }
    return pd.DataFrame(found).rename_axis("committees of three") if found else pd.DataFrame()


@drawn
def accuracy_against_latency(records: pd.DataFrame, batch: int = 128) -> BookFigure:
    """Test accuracy against milliseconds for a batch, a point a network: filled without convolutions, open
    with; arrows lead from the one to the other. Bars are one standard deviation over seeds.

    Parameters
    ----------
    records : rows of records; ``batch``: of the timing, 1 or 128.
    """
    rows = records[records["measure"] == "vit.latency"] if "measure" in records else records.iloc[:0]
    column = f"ms_{batch}_float32"
    times, reached = (pd.DataFrame(values_of(rows, name)) for name in (column, "test_accuracy"))
    if times.empty:
        raise NothingToShow("latencies have no rows")
    figure, (ax,) = panels(height=3.4, extra=0.3)
    for net in times.columns:
        base, look = net.partition(" conv")[0], look_of(net)
        face = look.color if base == net else "none"
        ax.errorbar(
            times[net].mean(), reached[net].mean(), reached[net].std() if len(rows) > 1 else None,
            color=look.color, marker=look.marker, markerfacecolor=face, capsize=2.5, linestyle="none",
            label=net,
        )  # fmt: skip
        if base != net:
            ends = {"xy": (times[net].mean(), reached[net].mean()),
                    "xytext": (times[base].mean(), reached[base].mean())}  # fmt: skip
            ax.annotate("", arrowprops={"arrowstyle": "->", "color": style.INK, "alpha": 0.6}, **ends)
    ax.set(xlabel=f"ms for a batch of {batch}", ylabel="test accuracy")
    ax.set_xlim(left=0)
    figure.legend(loc="outside upper left", ncols=3)
    figure.alt = f"Test accuracy against milliseconds for a batch of {batch}, with and without convolutions."
    return figure


def latency_table(records: pd.DataFrame) -> pd.DataFrame:
    """Every network: parameters, operations, ms at batch 1 and 128, accuracy early and at the end; means."""
    rows = records[records["measure"] == "vit.latency"] if "measure" in records else records.iloc[:0]
    names = {
        "parameters": "parameters",
        "macs": "operations",
        "ms_1_float32": "ms, batch 1",
        "ms_128_float32": "ms, batch 128",
        "early_accuracy": "accuracy early",
        "test_accuracy": "accuracy",
    }
    columns = {said: pd.DataFrame(values_of(rows, name)).mean() for name, said in names.items()}
    table = pd.DataFrame(columns)
    if table.empty:
        return table
    for name in ("parameters", "operations"):
        table[name] = table[name].round()
    return table.rename_axis("network")


def histories(records: pd.DataFrame, profile: str, data: str = "") -> dict[str, np.ndarray]:
    """Network -> held-out accuracy (seeds, epochs) of the dense trainings with and without convolutions."""
    if not {"measure", "kind", "network", "spec_key"} <= set(records.columns):
        return {}
    rows = records[(records["measure"] == "vit.places") & records["kind"].isin(["transformer", "convolved"])]
    rows = rows[rows["data"].astype(str).str.startswith(data)]
    found: dict[str, list[np.ndarray]] = {}
    for network, spec_key in zip(rows["network"], rows["spec_key"], strict=True):
        found.setdefault(str(network), []).append(
            arrays("7-vit-shp", profile, str(spec_key))["history"][:, -1]
        )
    paired = {name.partition(" conv")[0] for name in found if " conv" in name}
    return {name: np.stack(runs) for name, runs in found.items() if name.partition(" conv")[0] in paired}


@drawn
def learning_with_convolutions(curves: Mapping[str, np.ndarray]) -> BookFigure:
    """Held-out accuracy against the epoch: solid without convolutions, dashed with; bands one deviation.

    Parameters
    ----------
    curves : network -> accuracy (seeds, epochs), see :func:`histories`.
    """
    if not curves:
        raise NothingToShow("trainings with convolutions have no rows")
    bases = list(dict.fromkeys(name.partition(" conv")[0] for name in curves))
    figure, axes = panels(len(bases), columns=2, height=3.0, extra=0.3, sharey=True)
    for ax, base in zip(axes, bases, strict=True):
        own: list[tuple[str, Any]] = [(name, one) for name, one in curves.items()
                                      if name.partition(" conv")[0] == base]  # fmt: skip
        for place, (name, runs) in enumerate(own):
            epochs, mean = np.arange(1, runs.shape[1] + 1), runs.mean(0)
            dashes = "-" if name == base else ("--", ":", "-.")[(place - 1) % 3]
            ax.plot(epochs, mean, dashes, color=look_of(base).color, label=name)
            if len(runs) > 1:
                low, high = mean - runs.std(0, ddof=1), mean + runs.std(0, ddof=1)
                ax.fill_between(epochs, low, high, color=look_of(base).color, alpha=0.15, linewidth=0)
        ax.set(xlabel="epoch", title=base)
        ax.legend(loc="lower right")
    axes[0].set_ylabel("accuracy, held-out images")
    figure.alt = "Held-out accuracy against the epoch, with and without convolutions in front."
    return figure
