"""Quantities of chapter 1, pooling next to the output (claims P1 to P9).

Columns that are read, one row per run: ``network`` (``vgg8``, ``avgg8``, or a family name of a small net),
``base`` (the network without its pool plan: ``vgg8`` for both ``vgg8`` and ``avgg8``), ``plan`` (``V`` is the
conventional one), ``order`` (the head's series, such as ``AP2-MP4``; empty for ``V``), ``arm_kind``
(``main``, ``equal compute``; others, such as ``control``, are no part of a claim), ``fc_activation``,
``seed``, ``data``, ``epochs``, ``macs`` (multiply-accumulates per image, forward), ``accuracy`` (last epoch);
and, without training, ``routes@<order>`` and ``route_spread@<order>``.

Every comparison of accuracies has two readings.  The value is at **equal epochs**; the control is at **equal
compute**: the cheaper arm's run whose ``macs * epochs`` is within ``COMPUTE_TOLERANCE`` of the dearer arm's.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from filterwise.claims.record_rows import has, joined, rows_of, texts
from filterwise.claims.registered import Rows, quantity
from filterwise.runs.layer_columns import values_of

COMPUTE_TOLERANCE = 0.10
COMPARED_KINDS = ("main", "equal compute")
EQUAL_COMPUTE = "the same difference at equal compute (epochs x MACs per image)"
_COLUMNS = ("network", "base", "plan", "order", "seed", "data", "epochs", "macs", "accuracy")


def paired(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """Differences first - second by data and seed: ``value`` at equal epochs, ``control`` at equal compute.

    Where several epoch counts were run the longest one that both arms share is taken; for the control, the
    longest pair of runs whose compute agrees within ``COMPUTE_TOLERANCE``.

    >>> columns = ["data", "seed", "epochs", "macs", "accuracy", "device"]
    >>> late = pd.DataFrame([["d", 0, 10, 3.0, 0.9, "cpu"]], columns=columns)
    >>> early = pd.DataFrame([["d", 0, 10, 1.0, 0.8, "cpu"], ["d", 0, 30, 1.0, 0.95, "cpu"]], columns=columns)
    >>> paired(late, early)[["value", "control"]].round(3).values.tolist()
    [[0.1, -0.05]]
    """
    rows = []
    for _, left in first.groupby(["data", "seed"], sort=False):
        data, seed = left["data"].iloc[0], left["seed"].iloc[0]
        right = second[(second["data"] == data) & (second["seed"] == seed)]
        pairs = left.merge(right, how="cross", suffixes=("", "_other"))
        if pairs.empty:
            continue
        gain = (pairs["accuracy"] - pairs["accuracy_other"]).to_numpy()
        compute = pairs["epochs"] * pairs["macs"]
        other = pairs["epochs_other"] * pairs["macs_other"]
        same_epochs = pairs["epochs"] == pairs["epochs_other"]
        same_compute = (compute - other).abs() <= COMPUTE_TOLERANCE * np.maximum(compute, other)
        length = (pairs["epochs"] + pairs["epochs_other"]).to_numpy()
        rows.append(
            {
                "seed": int(seed),
                "data": str(data),
                "value": _of_longest(gain, length, same_epochs.to_numpy()),
                "control": _of_longest(gain, length, same_compute.to_numpy()),
                "device": joined([*left["device"], *right["device"]]),
            }
        )
    return pd.DataFrame(rows, columns=["seed", "data", "value", "control", "device"])


def _of_longest(gain: np.ndarray, length: np.ndarray, chosen: np.ndarray) -> float:
    return float(gain[chosen][length[chosen].argmax()]) if chosen.any() else np.nan


def _compared(records: pd.DataFrame, linear: bool = True) -> pd.DataFrame:
    """The runs that claims compare: no controls (such as nets without batch norm), linear FC layers."""
    kept = [
        (run.arm_kind in COMPARED_KINDS or not isinstance(run.arm_kind, str))
        and (not linear or run.fc_activation in ("linear", None))
        for run in rows_of(records, "arm_kind", "fc_activation")
    ]
    read = (*_COLUMNS, "fc_activation", "trained_spread")  # records are a hundred columns wide
    runs = records.loc[np.array(kept, dtype=bool), [name for name in read if name in records]]
    return runs.assign(device=np.array(texts(records, "device"), dtype=object)[kept])


def _listed(names: str | Sequence[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)


@quantity("network_accuracy", digits=4, control="million MACs per image")
def network_accuracy(records: pd.DataFrame, network: str) -> Rows:
    """Last-epoch test accuracy of one network, its longest runs."""
    if not has(records, *_COLUMNS):
        return []
    runs = _compared(records)
    runs = runs[runs["network"] == network]
    runs = runs[runs["epochs"] == runs["epochs"].max()].drop_duplicates(["data", "seed"], keep="last")
    found = runs.assign(
        arm=runs["network"] + ", " + runs["data"], value=runs["accuracy"], control=runs["macs"] / 1e6
    )
    return found.to_dict("records")


@quantity("accuracy_difference", digits=4, control=EQUAL_COMPUTE)
def accuracy_difference(
    records: pd.DataFrame, network: str | Sequence[str], baseline: str | Sequence[str]
) -> Rows:
    """Accuracy of one network minus another's, paired by seed; of several, the smallest difference."""
    if not has(records, *_COLUMNS):
        return []
    runs = _compared(records)
    tables = [
        paired(runs[runs["network"] == name], runs[runs["network"] == other])
        for name in _listed(network)
        for other in _listed(baseline)
    ]
    if any(table.empty for table in tables):
        return []  # the smallest of several needs them all
    least = pd.concat(tables).groupby(["data", "seed"], sort=False, as_index=False)
    merged = least.agg(value=("value", "min"), control=("control", "min"), device=("device", "first"))
    arm = f"{'/'.join(_listed(network))} - {'/'.join(_listed(baseline))}, "
    return merged.assign(arm=arm + merged["data"]).to_dict("records")


@quantity("late_pooling_gain", digits=4, control=EQUAL_COMPUTE)
def late_pooling_gain(records: pd.DataFrame, order: str = "AP2-MP4") -> Rows:
    """Accuracy with pooling next to the output minus the conventional plan, one arm per depth m."""
    rows: Rows = []
    if not has(records, *_COLUMNS):
        return rows
    for base, runs in _compared(records).groupby("base", sort=False):
        early = runs[runs["plan"] == "V"]
        for plan, late in runs[(runs["plan"] != "V") & (runs["order"] == order)].groupby("plan", sort=False):
            table = paired(late, early)
            rows += table.assign(arm=f"{base}, {plan} {order} - V, " + table["data"]).to_dict("records")
    return rows


@quantity("fc_activation_gap", digits=4, control="accuracy with ReLU")
def fc_activation_gap(records: pd.DataFrame) -> Rows:
    """Accuracy with linear minus with ReLU fully connected layers, same network, epochs and seed."""
    if not has(records, *_COLUMNS, "fc_activation"):
        return []
    same = ["network", "plan", "order", "data", "seed", "epochs"]
    filled = _compared(records, linear=False).fillna({"order": ""})
    linear, relu = filled[filled["fc_activation"] == "linear"], filled[filled["fc_activation"] == "relu"]
    both = linear.merge(relu, on=same, suffixes=("", "_relu"))
    both = both.assign(arm=both["network"] + ", " + both["data"], control=both["accuracy_relu"])
    return both.assign(value=both["accuracy"] - both["accuracy_relu"]).to_dict("records")


def _late(records: pd.DataFrame) -> pd.DataFrame:
    """The compared runs that pool next to the output."""
    runs = _compared(records)
    return runs[[isinstance(order, str) and order != "" for order in runs["order"]]]


@quantity("order_contrast", unit="standard errors", digits=2, control="order pairs looked at", pooled=True)
def order_contrast(records: pd.DataFrame) -> Rows:
    """Largest difference between two orders of the same pools, in standard errors of the paired mean."""
    if not has(records, *_COLUMNS):
        return []
    # (base, plan, data) -> order -> (seed, epochs) -> accuracies
    arms: dict[tuple[str, ...], dict[str, dict[tuple[int, int], list[float]]]] = defaultdict(dict)
    late = _late(records)
    for run in rows_of(late, "base", "plan", "data", "order", "seed", "epochs", "accuracy"):
        order = arms[run.base, run.plan, run.data].setdefault(run.order, defaultdict(list))
        order[run.seed, run.epochs].append(run.accuracy)
    found = []
    for (*_, data), orders in arms.items():
        for one, two in combinations(sorted(orders), 2):
            if {part[:2] for part in one.split("-")} != {"AP", "MP"} or not _swapped(one, two):
                continue
            both = sorted(orders[one].keys() & orders[two].keys())
            gaps = np.array([np.mean(orders[one][run]) - np.mean(orders[two][run]) for run in both])
            if len(gaps) >= 2 and gaps.std(ddof=1) > 0:
                found.append((abs(gaps.mean()) / (gaps.std(ddof=1) / np.sqrt(len(gaps))), len(gaps), data))
    if not found:
        return []
    value, n, _ = max(found)
    row = {"arm": "largest of the order pairs", "n": n, "value": float(value), "control": float(len(found))}
    return [row | {"data": joined(data for *_, data in found), "device": joined(late["device"])}]


@quantity("route_count_error", control="0, the count A^2")
def route_count_error(records: pd.DataFrame) -> Rows:
    """Routes counted through each head minus A^2, A the product of the AP sizes: the largest difference."""

    def worst(routes: dict[str, float]) -> float:
        return max(abs(count - _routes(order)) for order, count in routes.items())

    return _exact(records, values_of(records, "routes"), worst, 0.0)


@quantity("route_spread_ratio", digits=2, control="1, an order without effect")
def route_spread_ratio(records: pd.DataFrame) -> Rows:
    """Spread of the routes, MP first over AP first, at equal sizes: smallest ratio over the order pairs."""

    def smallest(spread: dict[str, float]) -> float:
        return min((spread[a] / spread[b] for a, b in _order_pairs(spread)), default=np.nan)

    return _exact(records, values_of(records, "route_spread"), smallest, 1.0)


@quantity("trained_spread_ratio", digits=2, control="1, an order without effect")
def trained_spread_ratio(records: pd.DataFrame) -> Rows:
    """Spread of the trained networks' routes, MP first over AP first: smallest ratio over the order pairs."""
    if not has(records, *_COLUMNS, "trained_spread"):
        return []
    rows = []
    same = ["base", "plan", "data", "seed", "epochs"]
    for (base, plan, data, seed, _), runs in _late(records).groupby(same, sort=False):
        about = {"arm": f"{base} {plan}, {data}", "seed": seed, "data": str(data)}
        spread = runs.set_index("order")["trained_spread"].dropna()
        ratios = [spread[a] / spread[b] for a, b in _order_pairs(spread.index) if spread[b] > 0]
        if ratios:
            device = joined(runs["device"])
            rows.append({**about, "value": float(min(ratios)), "control": 1.0, "device": device})
    return rows


def _exact(
    records: pd.DataFrame,
    found: Sequence[dict[str, float]],
    value: Callable[[dict[str, float]], float],
    control: float,
) -> Rows:
    """Rows of what was counted on random maps without training; runs that did not count have none."""
    if not has(records, "seed"):
        return []
    about = zip(records["seed"], texts(records, "data"), texts(records, "device"), strict=True)
    common = {"arm": "random maps", "control": control}
    return [
        {**common, "seed": seed, "value": value(one), "data": data, "device": device}
        for (seed, data, device), one in zip(about, found, strict=True)
        if one
    ]


def _routes(order: str) -> int:
    """A^2 of a head such as ``AP2-MP4``."""
    sizes = [int(size) for kind, size in re.findall(r"(AP|MP)(\d+)", order) if kind == "AP"]
    return int(np.prod(sizes, dtype=int)) ** 2


def _order_pairs(orders: Iterable[str]) -> list[tuple[str, str]]:
    """Max first and average first at the same sizes, such as ``("MP2-AP4", "AP4-MP2")``."""
    first = {kind: [order for order in orders if order.startswith(kind)] for kind in ("MP", "AP")}
    return [(a, b) for a in first["MP"] for b in first["AP"] if _swapped(a, b)]


def _swapped(one: str, two: str) -> bool:
    """Whether two series of two pools hold the same pools in the other order: AP2-MP4 and MP4-AP2."""
    first, second = one.split("-"), two.split("-")
    return len(first) == 2 and first == second[::-1] and first != second
