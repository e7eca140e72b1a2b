"""Quantities of chapter 2, learning on trees (claims T1 to T7).

Columns that are read, one row per run: ``network`` (``lenet5``, ``tree3 6/16``, ...), ``regime`` (``online``,
``offline``), ``arm_kind`` (``main``, ``control``; ``tuning``, on held-out images, and ``examples``, on fewer
images, are no part of a claim), ``rate``, ``seed``, ``data``, ``accuracy`` (last epoch), ``macs``; and
``zero_share@<layer>``, ``zero_share_untrained@<layer>``, ``routes@<rule>``, ``first_layer_terms`` and
``first_layer_winners``.

A network is judged at one rate, the best on held-out images where it was tried there, so that nothing is
chosen on the images that it is tested on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from filterwise.claims.record_rows import has, joined, rows_of
from filterwise.claims.registered import Rows, quantity
from filterwise.claims.test_images import accuracy_by_image, difference_by_image
from filterwise.runs.layer_columns import columns_of

#: To each Tree-3 the LeNet of about its operations: 0.41, 1.03, 1.60 million against 0.65, 0.99, 1.54.
AT_EQUAL_COMPUTE = {"tree3 6/16": "lenet5", "tree3 15/16": "lenet5 d1=8", "tree3 15/80": "lenet5 d1=11"}

_COLUMNS = ("network", "regime", "arm_kind", "rate", "seed", "data", "accuracy", "device")
#: (network, data) -> seed -> run, with ``accuracy`` and ``right``
Scores = dict[tuple[str, str], dict[int, Any]]


def best_rates(records: pd.DataFrame, regime: str) -> dict[tuple[str, str], float]:
    """(network, data) -> the learning rate with the best mean accuracy on held-out images.

    >>> columns = ["network", "data", "regime", "arm_kind", "rate", "accuracy"]
    >>> rows = [["a", "d", "online", "tuning", 0.1, 0.6], ["a", "d", "online", "tuning", 0.2, 0.7]]
    >>> best_rates(pd.DataFrame(rows, columns=columns), "online")
    {('a', 'd'): 0.2}
    """
    found: dict[tuple[str, str], dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for run in rows_of(records, "network", "data", "regime", "arm_kind", "rate", "accuracy"):
        if run.arm_kind == "tuning" and run.regime == regime:
            found[run.network, run.data][run.rate].append(run.accuracy)
    return {name: max(sorted(rates), key=lambda rate: np.mean(rates[rate])) for name, rates in found.items()}


def chosen(records: pd.DataFrame, regime: str) -> pd.DataFrame:
    """The runs that count: at a network's best held-out rate, or at its only one if none was tried there."""
    if not has(records, *_COLUMNS):
        return records.iloc[:0]
    best = best_rates(records, regime)
    keep = []
    for run in rows_of(records, "network", "data", "regime", "arm_kind", "rate"):
        there = run.regime == regime and run.arm_kind in ("main", "control")
        keep.append(there and best.get((run.network, run.data), run.rate) == run.rate)
    return records[np.array(keep, dtype=bool)]


def longest_settled(found: Mapping[str, pd.DataFrame]) -> str:
    """The first scale, of the longest trainings first, at which two networks have three seeds or more.

    ``found``: of every scale the runs that count. Without such a scale the first that has any run, or the
    first.

    >>> few, many = (pd.DataFrame({"network": list("ab") * n, "seed": range(2 * n)}) for n in (1, 3))
    >>> longest_settled({"paper": few, "short": many}), longest_settled({"paper": few})
    ('short', 'paper')
    """
    for name, runs in found.items():
        if len(runs) and (runs.groupby("network")["seed"].nunique() >= 3).sum() >= 2:
            return name
    return next((name for name, runs in found.items() if len(runs)), next(iter(found)))


def _scores(records: pd.DataFrame, regime: str) -> Scores:
    found: Scores = defaultdict(dict)
    for run in rows_of(chosen(records, regime), "network", "data", "seed", "accuracy", "right"):
        found[run.network, run.data][int(run.seed)] = run
    return found


def _paired(scores: Scores, one: str, other: str, data: str) -> dict[int, dict[str, Any]]:
    """Seed -> accuracy of one network minus another's: ``value``, and image by image ``images``."""
    first, second = scores.get((one, data), {}), scores.get((other, data), {})
    return {
        seed: {
            "value": first[seed].accuracy - second[seed].accuracy,
            "images": difference_by_image(first[seed], second[seed]),
        }
        for seed in sorted(first.keys() & second.keys())
    }


def _differences(
    records: pd.DataFrame,
    scores: Scores,
    pair: tuple[str, str],
    controls: tuple[str, str],
    where: tuple[str, str],
) -> Rows:
    """Rows of one network minus another, with the same of two others as control; ``where``: regime, data."""
    regime, data = where
    others = _paired(scores, *controls, data)
    rows = []
    for seed, both in _paired(scores, *pair, data).items():
        control = others[seed]["value"] if seed in others else np.nan
        about = {"seed": seed, "data": data, "control": control, "images": both["images"]}
        rows.append(_row(records, f"{pair[0]} - {pair[1]}, {regime}, {data}", both["value"], about))
    return rows


@quantity("tree_gain", digits=4, control="the same against a LeNet of as many operations")
def tree_gain(
    records: pd.DataFrame, network: str | Sequence[str], regime: str, baseline: str = "lenet5"
) -> Rows:
    """Accuracy of a Tree-3 minus LeNet-5's, each at its best rate on held-out images, paired by seed.

    ``baseline`` "equal compute" is the LeNet of about as many operations; several networks are an arm each.
    """
    scores = _scores(records, regime)
    rows = []
    for name, data in ((name, data) for one in listed(network) for name, data in scores if name == one):
        equal = AT_EQUAL_COMPUTE.get(name, "")
        other = equal if baseline == "equal compute" else baseline
        rows += _differences(records, scores, (name, other), (name, equal), (regime, data))
    return rows


def _accuracies(by_seed: dict[int, Any]) -> np.ndarray:
    return np.array([run.accuracy for run in by_seed.values()])


def listed(names: str | Sequence[str]) -> list[str]:
    """One name, or several, as a list."""
    return [names] if isinstance(names, str) else list(names)


@quantity("gain_beyond_spread", digits=4, pooled=True, control="mean gain")
def gain_beyond_spread(records: pd.DataFrame, network: str, regime: str) -> Rows:
    """Mean accuracy of a Tree-3 minus LeNet-5's, less the sum of their standard deviations over seeds."""
    scores = _scores(records, regime)
    rows = []
    for name, data in scores:
        both = [_accuracies(scores.get((each, data), {})) for each in (network, "lenet5")]
        if name == network and min(map(len, both)) >= 2:
            gain = both[0].mean() - both[1].mean()
            arm, n = f"{network} - lenet5, {regime}, {data}", min(map(len, both))
            about = {"n": n, "data": data, "control": gain}
            rows.append(_row(records, arm, gain - sum(one.std(ddof=1) for one in both), about))
    return rows


@quantity("growth_step", digits=4, control="the same step of LeNets of as many operations")
def growth_step(records: pd.DataFrame, smaller: str, larger: str, regime: str | Sequence[str]) -> Rows:
    """Accuracy of the larger Tree-3 minus the smaller one's, each at its best rate, paired by seed.

    Several regimes are an arm each.
    """
    ours = (AT_EQUAL_COMPUTE.get(smaller, ""), AT_EQUAL_COMPUTE.get(larger, ""))
    rows = []
    for one in listed(regime):
        scores = _scores(records, one)
        for data in dict.fromkeys(data for _, data in scores):
            rows += _differences(records, scores, (larger, smaller), (ours[1], ours[0]), (one, data))
    return rows


@quantity("success_rate", digits=4, control="LeNet-5 in the same place")
def success_rate(records: pd.DataFrame, network: str, regime: str) -> Rows:
    """Test accuracy of a network at its best rate on held-out images."""
    scores = _scores(records, regime)
    rows = []
    for (name, data), by_seed in scores.items():
        lenet = scores.get(("lenet5", data), {})
        for seed, run in by_seed.items() if name == network else ():
            control = lenet[seed].accuracy if seed in lenet else np.nan
            about = {"seed": seed, "data": data, "control": control, "images": accuracy_by_image(run)}
            rows.append(_row(records, f"{network}, {regime}, {data}", run.accuracy, about))
    return rows


@quantity("zero_share", control="before training")
def zero_share(
    records: pd.DataFrame, layer: str, network: str | Sequence[str], regime: str | Sequence[str]
) -> Rows:
    """Share of a layer's gradient terms that are exactly 0 for an image, mean over test images.

    Several networks and regimes are an arm each.
    """
    return [
        row
        for one in listed(regime)
        for name in listed(network)
        for row in _shares(records, layer, name, one, lambda after, before: after)
    ]


@quantity("zero_share_gain", digits=4, control="before training")
def zero_share_gain(records: pd.DataFrame, layer: str, network: str, regime: str) -> Rows:
    """Share of gradient terms that are exactly 0 after training minus the share before."""
    return _shares(records, layer, network, regime, lambda after, before: after - before)


def _shares(records: pd.DataFrame, layer: str, network: str, regime: str, value: Any) -> Rows:
    after, before = f"zero_share@{layer}", f"zero_share_untrained@{layer}"
    if not has(records, *_COLUMNS, after, before):
        return []
    runs = chosen(records, regime)
    rows = []
    for (_, run), one, other in zip(runs.iterrows(), runs[after], runs[before], strict=True):
        if run["network"] == network and one == one:
            about = {"seed": int(run["seed"]), "data": run["data"], "control": float(other)}
            rows.append(
                _row(records, f"{layer} of {network}, {regime}, {run['data']}", value(one, other), about)
            )
    return rows


@quantity("route_count", digits=0, control="LeNet-5, counting every unit of a pool")
def route_count(records: pd.DataFrame, network: str, rule: str) -> Rows:
    """Routes from an inner pooled unit of the first layer to an output, in a Tree-3 within one branch."""
    rows = _counted(records, network, f"routes@{rule}")
    every = {row["data"]: row["value"] for row in _counted(records, "lenet5", "routes@all")}
    return [{**row, "control": every.get(row["data"], np.nan)} for row in rows]


@quantity(
    "first_layer_bound",
    digits=0,
    control="the pools' winners alone",
    words={"winners": "the pools' winners alone"},
)
def first_layer_bound(records: pd.DataFrame, network: str, winners: bool = False) -> Rows:
    """Gradient terms of the first layer for one image at most."""
    return _counted(
        records, network, "first_layer_winners" if winners else "first_layer_terms", "first_layer_winners"
    )


def _counted(records: pd.DataFrame, network: str, column: str, control: str = "") -> Rows:
    """What was counted on a network itself, a row a data set and seed; ``control`` is another column."""
    if not has(records, *_COLUMNS, column):
        return []
    runs = records[(records["network"] == network) & records[column].notna()]
    runs = runs.drop_duplicates(["data", "seed"])
    controls = runs[control] if control in runs else [np.nan] * len(runs)
    return [
        _row(
            runs,
            f"{network}, {run['data']}",
            float(run[column]),
            {"seed": int(run["seed"]), "data": run["data"], "control": float(other)},
        )
        for (_, run), other in zip(runs.iterrows(), controls, strict=True)
    ]


def _row(records: pd.DataFrame, arm: str, value: float, about: dict[str, Any]) -> dict[str, Any]:
    return {"arm": arm, "value": float(value), "device": joined(records["device"]), **about}


def layers_of(records: pd.DataFrame) -> list[str]:
    """Layers whose gradient terms were counted, in the order of the columns."""
    return list(columns_of(records, "zero_share"))
