"""Quantities of chapter 7 that compare runs: prunings (V5), committees (H6 to H8), convolutions (H9, H10).

Columns that are read. Of "vit.pruned": ``criterion``, ``theta``, ``accuracy``, ``removed_share``. Of
"vit.committee": ``kind`` ("different transformers", "equal cnns", ...), ``data``, ``accuracy``,
``gain@softmax`` (over the mean member), ``gain_over_best@softmax``. Of "vit.latency": ``ms_128_float32@net``,
``test_accuracy@net``, ``early_accuracy@net``, with names such as "H4" and "H4 conv".
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from filterwise.claims.record_rows import compared, has, with_dense
from filterwise.claims.registered import Rows, quantity
from filterwise.claims.test_images import COLUMN, accuracy_by_image, difference_by_image, mean_by_image
from filterwise.runs.layer_columns import values_of

#: Share of the masked weights above which a pruning is called efficient.
EFFICIENT = 0.5


def _of(records: pd.DataFrame, measure: str, *columns: str) -> pd.DataFrame:
    if not has(records, "measure", "seed", "data", *columns):
        return records.iloc[:0]
    return records[records["measure"] == measure]


def _prunings(records: pd.DataFrame, kind: str) -> list[tuple[Any, pd.DataFrame]]:
    """The dense retraining and all rows of each network, data set and seed."""
    rows = _of(records, "vit.pruned", "kind", "criterion", "theta", "accuracy", "network")
    rows = rows[rows["kind"] == kind] if len(rows) else rows
    return with_dense(rows)


def _efficient(group: pd.DataFrame) -> pd.Series | None:
    """ANDC at the lowest threshold that removes at least half of the masked weights."""
    ours = group[(group["criterion"] == "andc") & (group["removed_share"] >= EFFICIENT)].sort_values("theta")
    return ours.iloc[0] if len(ours) else None


def _peer(group: pd.DataFrame, criterion: str, theta: float) -> Any:
    """The run of a criterion at a threshold; None without one."""
    chosen = group[(group["criterion"] == criterion) & np.isclose(group["theta"].astype(float), theta)]
    return chosen.iloc[0] if len(chosen) else None


def _accuracy(run: Any) -> float:
    return np.nan if run is None else float(run["accuracy"])


def _less(arm: str, of: Any, one: Any, other: Any, control: float) -> dict[str, Any]:
    """A row: accuracy of one run minus that of another, image by image where known."""
    return compared(arm, of, _accuracy(one) - _accuracy(other), control, difference_by_image(one, other))


@quantity("andc_loss", digits=4, control="loss with as many random connections")
def andc_loss(records: pd.DataFrame) -> Rows:
    """Accuracy of the network retrained without masks minus ANDC's, where at least half of the weights go.

    That is the lowest recorded threshold with a removed share of the masked matrices of at least 0.5.
    """
    found = []
    for dense, group in _prunings(records, "andc"):
        ours = _efficient(group)
        if ours is not None:
            control = dense["accuracy"] - _accuracy(_peer(group, "random", ours["theta"]))
            arm = f"{dense['network']}, {dense['data']}, threshold {ours['theta']:g}"
            found.append(_less(arm, dense, dense, ours, control))
    return found


@quantity("andc_minus_peer", digits=4, control="accuracy of the peer")
def andc_minus_peer(records: pd.DataFrame, peer: str = "random") -> Rows:
    """Accuracy of ANDC minus that of as many connections chosen otherwise, where at least half go."""
    found = []
    for dense, group in _prunings(records, "andc"):
        ours = _efficient(group)
        if ours is not None:
            other = _peer(group, peer, ours["theta"])
            found.append(_less(f"{peer}, {dense['data']}", dense, ours, other, _accuracy(other)))
    return found


def committees(records: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Rows of committees of one kind."""
    rows = _of(records, "vit.committee", "kind", "gain@softmax")
    return rows[rows["kind"] == kind] if len(rows) else rows


def _gain_by_image(run: Any, over: str = "mean") -> np.ndarray | None:
    """A committee right minus its mean member, or its best one, right, (test images,); None if not kept."""
    handle, whole = run.get(COLUMN), accuracy_by_image(run)
    members = None if whole is None else handle.others("member_right")
    if whole is None or members is None:
        return None
    base = members[int(run["best_member_number"]) - 1] if over == "best" else members.mean(axis=0)
    return np.asarray(whole - base)


@quantity("accuracy_beside_few_heads", digits=4, control="accuracy of the network with few heads")
def accuracy_beside_few_heads(records: pd.DataFrame) -> Rows:
    """Accuracy of a transformer with many heads minus that of the one with few, same seed and data."""
    if not has(records, "measure", "kind", "network", "data", "seed", "accuracy"):
        return []
    rows = records[(records["measure"] == "vit.places") & (records["kind"] == "transformer")]
    found = []
    for data, group in rows.groupby("data", sort=False):
        few = {run["seed"]: run for _, run in group[group["network"].str.endswith(" H4")].iterrows()}
        for _, run in group[~group["network"].str.endswith(" H4")].iterrows():
            base = few.get(run["seed"])
            if base is not None:
                found.append(_less(f"{run['network']}, {data}", run, run, base, _accuracy(base)))
    return found


@quantity("committee_gain", digits=4, control="mean gain of members made independent")
def committee_gain(records: pd.DataFrame, kind: str = "different transformers", over: str = "best") -> Rows:
    """Accuracy of a soft committee of three minus that of its best member, chosen on held-out images.

    ``over``: "best", or "mean" for the mean member.
    """
    column = "gain_over_best@softmax" if over == "best" else "gain@softmax"
    rows = committees(records, kind)
    if not has(rows, column, "independent_gain@softmax"):
        return []
    found = []
    for _, run in rows.iterrows():
        values = run[column], run["independent_gain@softmax"]
        found.append(compared(f"{kind}, {run['data']}", run, *values, _gain_by_image(run, over)))
    return found


@quantity("gain_of_difference", digits=4, control="mean gain of the other committees")
def gain_of_difference(records: pd.DataFrame, other: str = "equal transformers") -> Rows:
    """Gain over the mean member: different transformers minus the mean of other committees of the same data.

    ``other``: "equal transformers" (other seeds), "different cnns" or "equal cnns".
    """
    ours, theirs = committees(records, "different transformers"), committees(records, other)
    found = []
    for _, run in ours.iterrows():
        same = theirs[theirs["data"] == run["data"]]
        if len(same):
            mean = float(same["gain@softmax"].mean())
            ours_each = _gain_by_image(run)
            mean_each = mean_by_image([_gain_by_image(one) for _, one in same.iterrows()])
            images = None if ours_each is None or mean_each is None else ours_each - mean_each
            value = run["gain@softmax"] - mean
            found.append(compared(f"against {other}, {run['data']}", run, value, mean, images))
    return found


@quantity("equal_accuracy_of_cnns", digits=4, control="mean accuracy of the transformers")
def equal_accuracy_of_cnns(records: pd.DataFrame) -> Rows:
    """Mean member of the committees of CNNs minus that of the transformers: how equal the contrast is."""
    ours, theirs = (committees(records, f"different {family}") for family in ("transformers", "cnns"))
    if not has(ours, "mean_member") or ours.empty:
        return []
    found = []
    for _, run in theirs.iterrows():
        mean = float(ours[ours["data"] == run["data"]]["mean_member"].mean())
        found.append(compared(f"cnns - transformers, {run['data']}", run, run["mean_member"] - mean, mean))
    return found


def latencies(records: pd.DataFrame, name: str) -> list[tuple[Any, str, str, dict[str, float]]]:
    """Run, name of a convolved network and of the one it is compared with, and a quantity of all networks."""
    rows = _of(records, "vit.latency")
    found = []
    for (_, run), values in zip(rows.iterrows(), values_of(rows, name), strict=True):
        for net in values:
            base = net.partition(" conv")[0]
            if base != net and base in values:
                found.append((run, net, base, values))
    return found


@quantity("time_saved", control="ms of the network without convolutions")
def time_saved(records: pd.DataFrame, batch: int = 128) -> Rows:
    """Share of a forward pass that convolutions in place of the first encoders save, float32."""
    return [
        compared(f"{net}, {run['data']}", run, 1 - values[net] / values[base], values[base])
        for run, net, base, values in latencies(records, f"ms_{batch}_float32")
    ]


@quantity(
    "accuracy_of_convolutions",
    digits=4,
    control="accuracy of the network without convolutions",
    words={"when=early": "after a tenth of the epochs, held-out images"},
)
def accuracy_of_convolutions(records: pd.DataFrame, when: str = "test") -> Rows:
    """Accuracy with convolutions in place of the first encoders minus without.

    ``when``: "test" after training, on the test images; "early" after a tenth of the epochs, held-out images.
    """
    return [
        compared(f"{net}, {run['data']}", run, values[net] - values[base], values[base])
        for run, net, base, values in latencies(records, f"{when}_accuracy")
    ]


@quantity("read_after_convolutions", digits=4, control="accuracy read after the encoders that were replaced")
def read_after_convolutions(records: pd.DataFrame) -> Rows:
    """Accuracy read after the convolutions minus after the encoders that they replaced, same seed."""
    if not has(records, "measure", "kind", "network", "data", "seed", "parts"):
        return []
    rows = records[records["measure"] == "vit.places"]
    found = []
    for _, run in rows[rows["kind"] == "convolved"].iterrows():
        base = str(run["network"]).partition(" conv")[0]
        first = min(int(part.split("/")[1]) for part in str(run["parts"]).split() if part.startswith("qkv/"))
        same = rows[(rows["network"] == base) & (rows["data"] == run["data"]) & (rows["seed"] == run["seed"])]
        column = f"probe_accuracy@ff/{first - 1}"
        if len(same) and column in rows:
            control = float(same[column].iloc[0])
            value = run["probe_accuracy@ff/0"] - control
            found.append(compared(f"{run['network']}, {run['data']}", run, value, control))
    return found
