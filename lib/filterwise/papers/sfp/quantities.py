"""Quantities of chapter 4, single-filter performance (claims S1 to S8).

Columns that are read (one row per run): ``layers`` (bottom to top, separated by spaces), ``labels`` (K),
``accuracy`` (the whole network on the test images) and per layer ``probe_accuracy``, ``N_c``, ``C_s``, ``n``,
``SNR_block``, ``no_cluster``, ``positions`` (P), ``preferred_share``, ``single_filter_accuracy``. The
untrained control has the same names with ``untrained_`` in front. At k of the K labels:
``largest_error@K<k>`` and ``largest_label_error@K<k>``, the head-only errors (largest over random subsets,
and the largest error of one label inside a problem), ``subset_C_s@K<k>`` and ``subset_N_c@K<k>``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from filterwise.claims.record_rows import has, joined, numbers, per_run, rows_of
from filterwise.claims.registered import Rows, quantity
from filterwise.runs.layer_columns import by_layer, values_of

UNTRAINED = "the same measurement on a network with untrained convolutions"
OTHER_READING = "the other reading: largest error of one label"
LABEL_COUNTS_NEEDED = 5

Layers = Mapping[str, float]  # values of one run, bottom to top


def _each(records: pd.DataFrame, function: Callable[..., float], *names: str) -> list[float]:
    """A function of the layers' values, run by run."""
    return [function(*run) for run in zip(*(by_layer(records, name) for name in names), strict=True)]


def _highest(values: Layers) -> float:
    return max(values.values(), default=np.nan)


def _last(values: Layers) -> float:
    return list(values.values())[-1] if values else np.nan


def _last_over_first(values: Layers) -> float:
    if len(values) < 2:
        return np.nan
    first, *_, last = values.values()
    if first == 0:
        return np.inf if last > 0 else np.nan
    return last / first


def _wide(values: Layers, positions: Layers) -> list[float]:
    """Layers with more than one position: at P = 1 a filter's preferred output is an identity (rank one)."""
    return [value for layer, value in values.items() if positions.get(layer, 0) > 1] or [np.nan]


def _rank_correlation(values: Layers) -> float:
    if len(values) < 3 or len(set(values.values())) < 2:
        return np.nan
    # equal values share the mean of their ranks
    ranks = [
        (sum(other < one for other in values.values()) + sum(other <= one for other in values.values())) / 2
        for one in values.values()
    ]
    return float(np.corrcoef(np.arange(len(values)), ranks)[0, 1])


@quantity("probe_rank_correlation", control=UNTRAINED)
def probe_rank_correlation(records: pd.DataFrame) -> Rows:
    """Spearman's rank correlation between layer number m and the probe head's accuracy."""
    both = (_each(records, _rank_correlation, f"{net}probe_accuracy") for net in ("", "untrained_"))
    return per_run(records, *both)


@quantity("last_head_gap", digits=4, control="accuracy of the whole network")
def last_head_gap(records: pd.DataFrame) -> Rows:
    """Accuracy of the whole network and of the last layer's probe head: their absolute difference."""
    whole, heads = numbers(records, "accuracy"), _each(records, _last, "probe_accuracy")
    return per_run(records, [abs(one - other) for one, other in zip(whole, heads, strict=True)], whole)


@quantity("probe_gain", control="probe accuracy of the last layer")
def probe_gain(records: pd.DataFrame) -> Rows:
    """Probe accuracy of the last layer minus that of the first."""

    def gain(values: Layers) -> float:
        return _last(values) - next(iter(values.values())) if len(values) > 1 else np.nan

    return per_run(records, _each(records, gain, "probe_accuracy"), _each(records, _last, "probe_accuracy"))


@quantity("preferred_share", control="1/K, a filter without preference")
def preferred_share(records: pd.DataFrame) -> Rows:
    """Share of inputs on which a filter picks its commonest output, lowest layer with P > 1."""
    shares = _each(records, lambda *layers: min(_wide(*layers)), "preferred_share", "positions")
    return per_run(records, shares, [1 / labels for labels in numbers(records, "labels")])


@quantity("single_filter_accuracy_in_chances", unit="x 1/K", digits=2, control="1, guessing")
def single_filter_accuracy_in_chances(records: pd.DataFrame) -> Rows:
    """Accuracy of a filter alone, in units of 1/K: mean over filters, highest of the layers with P > 1."""
    highest = _each(records, lambda *layers: max(_wide(*layers)), "single_filter_accuracy", "positions")
    return per_run(records, np.multiply(highest, numbers(records, "labels")).tolist(), [1.0] * len(records))


@quantity("labels_covered", digits=2, control="share without a cluster, highest layer")
def labels_covered(records: pd.DataFrame) -> Rows:
    """Labels a filter stands for, N_c C_s, as a share of K: the highest of the layers."""

    def covered(count: Layers, size: Layers) -> float:
        return _highest({layer: count[layer] * size[layer] for layer in count if layer in size})

    shares = np.divide(_each(records, covered, "N_c", "C_s"), numbers(records, "labels"))
    return per_run(records, shares.tolist(), _each(records, _highest, "no_cluster"))


@quantity("filters_without_cluster")
def filters_without_cluster(records: pd.DataFrame) -> Rows:
    """Share of filters that have no cluster: the highest of the layers."""
    return per_run(records, _each(records, _highest, "no_cluster"))


@quantity("noise_ratio", control=UNTRAINED)
def noise_ratio(records: pd.DataFrame) -> Rows:
    """Noise per filter n, last measured layer over first."""
    return per_run(records, *(_each(records, _last_over_first, f"{net}n") for net in ("", "untrained_")))


@quantity("snr_ratio", control=UNTRAINED)
def snr_ratio(records: pd.DataFrame) -> Rows:
    """SNR_block, last measured layer over first."""
    both = (_each(records, _last_over_first, f"{net}SNR_block") for net in ("", "untrained_"))
    return per_run(records, *both)


def by_labels(records: pd.DataFrame, name: str) -> list[dict[int, float]]:
    """k -> value of ``name@K<k>``, a dictionary a run, in ascending order of k.

    >>> by_labels(pd.DataFrame({"largest_error@K10": [0.2], "largest_error@K3": [0.1]}), "largest_error")
    [{3: 0.1, 10: 0.2}]
    """
    runs = values_of(records, name)
    return [dict(sorted((int(part.removeprefix("K")), v) for part, v in run.items())) for run in runs]


def _correlation(counts: list[float], errors: list[float]) -> float:
    return float(np.corrcoef(counts, errors)[0, 1])


def _slope(counts: list[float], errors: list[float]) -> float:
    return float(np.polyfit(counts, errors, 1)[0])


def _lines(records: pd.DataFrame, name: str, of: Callable[[list[float], list[float]], float]) -> list[float]:
    """What a straight line of the errors against K is like, run by run; of too few K not a number."""
    return [
        of([float(k) for k in errors], list(errors.values()))
        if len(errors) >= LABEL_COUNTS_NEEDED and len(set(errors.values())) > 1
        else np.nan
        for errors in by_labels(records, name)
    ]


@quantity("error_line_correlation", control=OTHER_READING)
def error_line_correlation(records: pd.DataFrame) -> Rows:
    """Correlation r of the linear fit of the maximal error rate (over random label subsets) against K."""
    both = (_lines(records, name, _correlation) for name in ("largest_error", "largest_label_error"))
    return per_run(records, *both)


@quantity("error_line_slope", unit="a label", digits=4, control=OTHER_READING)
def error_line_slope(records: pd.DataFrame) -> Rows:
    """Slope of the maximal error rate against K."""
    both = (_lines(records, name, _slope) for name in ("largest_error", "largest_label_error"))
    return per_run(records, *both)


@quantity("cluster_growth_with_labels", digits=2, control="K, most labels over fewest", pooled=True)
def cluster_growth_with_labels(records: pd.DataFrame) -> Rows:
    """C_s and N_c at the last layer, most labels over fewest: the larger of the two ratios.

    One arm per network that was trained on several numbers of labels, and one per network whose heads were
    trained on subsets of the labels.
    """
    arms: dict[str, dict[int, Rows]] = {}
    for run in [*_last_layer(records, "N_c", "C_s"), *_subsets(records)]:
        arms.setdefault(run["arm"], {}).setdefault(run["labels"], []).append(run)
    rows = []
    for arm, by_count in arms.items():
        few, many = min(by_count), max(by_count)
        if few < many:
            growth = [_mean(by_count[many], name) / _mean(by_count[few], name) for name in ("N_c", "C_s")]
            rows.append(_pooled_row(arm, list(by_count.values()), max(growth), many / few))
    return rows


@quantity("snr_follows_accuracy", digits=2, control="number of networks", pooled=True)
def snr_follows_accuracy(records: pd.DataFrame) -> Rows:
    """Kendall's tau of the networks' accuracy and last-layer SNR_block, one arm per data set and K."""
    arms: dict[tuple[str, int], dict[str, Rows]] = {}
    for run in _last_layer(records, "SNR_block"):
        arms.setdefault((run["data"], run["labels"]), {}).setdefault(run["network"], []).append(run)
    rows = []
    for (data, labels), networks in arms.items():
        if len(networks) >= 2:
            names = sorted(networks)
            accuracy, ratio = ([_mean(networks[n], of) for n in names] for of in ("accuracy", "SNR_block"))
            arm = f"{' / '.join(names)}, {data}, {labels} labels"
            rows.append(_pooled_row(arm, list(networks.values()), _kendall(accuracy, ratio), len(names)))
    return rows


def _mean(runs: Rows, name: str) -> float:
    return float(np.mean([run[name] for run in runs]))


def _kendall(first: list[float], second: list[float]) -> float:
    """Kendall's tau-b: agreement of the signs of all differences; of equal values not a number."""
    one, two = (np.sign(np.subtract.outer(each, each)) for each in (first, second))
    pairs = np.sqrt((one**2).sum() * (two**2).sum())
    return float((one * two).sum() / pairs) if pairs else np.nan


def _pooled_row(arm: str, groups: list[Rows], value: float, control: float) -> dict[str, Any]:
    about = {name: joined(run[name] for group in groups for run in group) for name in ("data", "device")}
    n = min(len({run["seed"] for run in group}) for group in groups)
    return {"arm": arm, "n": n, "value": value, "control": float(control), **about}


def _subsets(records: pd.DataFrame) -> Rows:
    """Clusters at the last layer of a frozen network for K of its labels, a row per run and K."""
    both = (by_labels(records, f"subset_{name}") for name in ("C_s", "N_c"))
    runs = zip(rows_of(records, "network", "data", "seed", "device"), *both, strict=True)
    return [
        {
            "arm": f"{run.network}, label subsets of {run.data}",
            "labels": k,
            "C_s": size,
            "N_c": counts[k],
            "seed": run.seed,
            "data": run.data,
            "device": run.device or "",
        }
        for run, sizes, counts in runs
        for k, size in sizes.items()
    ]


def _last_layer(records: pd.DataFrame, *names: str) -> Rows:
    """One row per run with the last layer's values; runs without them are left out."""
    if not has(records, "network", "data", "labels", "seed", "layers"):
        return []
    runs = rows_of(records, "network", "data", "labels", "seed", "accuracy", "device")
    values = zip(*(_each(records, _last, name) for name in names), strict=True)
    return [
        {**run._asdict(), "arm": run.network, "labels": int(run.labels), "device": run.device or ""}
        | dict(zip(names, last, strict=True))
        for run, last in zip(runs, values, strict=True)
        if not np.isnan([run.labels, *last]).any()
    ]
