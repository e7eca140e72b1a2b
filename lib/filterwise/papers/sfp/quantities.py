"""Quantities of chapter 4, single-filter performance (claims S1 to S8).

Columns that are read (one row per run): ``layers`` (bottom to top, separated by spaces), ``labels`` (K),
``accuracy`` (the whole network on the test images) and per layer ``probe_accuracy``, ``N_c``, ``C_s``, ``n``,
``SNR_block``, ``no_cluster``, ``positions`` (P), ``preferred_share``, ``single_filter_accuracy``. The
untrained control has the same names with ``untrained_`` in front, and what was measured for few of the labels
has them with ``few_`` in front of all. At k of the K labels: ``hardest_error@K<k>`` and ``mean_error@K<k>``,
head-only errors over ``draws@K<k>`` random subsets, ``subset_C_s@K<k>`` and ``subset_N_c@K<k>``.

A layer of one position (P = 1) has matrices of rank one by algebra, trained or not; it is an arm of its own.
With ``ends`` a quantity is taken on few and on all labels of one data set, of two or more architectures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from filterwise.claims.record_rows import has, numbers, per_run, rows_of
from filterwise.claims.registered import Rows, quantity
from filterwise.claims.test_images import least_by_image
from filterwise.papers.sfp.error_growth import by_labels, growth_exponent, of_equal_draws, slope
from filterwise.papers.sfp.label_extremes import at_both_ends
from filterwise.papers.sfp.network_order import order_of_networks
from filterwise.runs.layer_columns import by_layer

UNTRAINED = "the same measurement on a network with untrained convolutions"
MEAN_ERROR = "the same of the mean error, which no draw decides"
ONE_POSITION = ", layer of one position"

Layers = Mapping[str, float]  # values of one run, bottom to top
Function = Callable[..., float]


def _each(records: pd.DataFrame, function: Function, *names: str) -> list[float]:
    """A function of the layers' values, run by run."""
    return [function(*run) for run in zip(*(by_layer(records, name) for name in names), strict=True)]


def _both(records: pd.DataFrame, function: Function, *names: str) -> tuple[list[float], list[float]]:
    """A function of the layers' values and their positions, trained and untrained, run by run."""
    trained, control = (
        _each(records, function, *(f"{net}{name}" for name in names), "positions")
        for net in ("", "untrained_")
    )
    return trained, control


def _rows(
    records: pd.DataFrame, ends: bool, function: Function, *names: str, gain: bool = False, power: int = 0
) -> Rows:
    """Rows of a function of trained layers, times K^power, beside that of untrained ones; with ``gain``, of
    their difference."""
    records = at_both_ends(records) if ends else records
    scale = np.power(numbers(records, "labels"), power)
    trained, control = (np.multiply(each, scale) for each in _both(records, function, *names))
    return per_run(records, (trained - control if gain else trained).tolist(), control.tolist())


def _apart(
    records: pd.DataFrame, ends: bool, function: Function, *names: str, over_first: bool = True, **more: Any
) -> Rows:
    """As :func:`_rows`, of layers with maps and, an arm of its own, of those of one position.

    ``function`` is given the layers' values, bottom to top; with ``over_first`` the first layer's lead those
    of one position as well.
    """

    def of(flat: bool) -> Function:
        def value(*given: Layers) -> float:
            *values, positions = given
            layers = [layer for layer in values[0] if (positions.get(layer) == 1) == flat]
            if flat and layers and over_first:
                layers = [next(iter(values[0])), *layers]
            return function(*([each.get(layer, np.nan) for layer in layers] for each in values))

        return value

    wide, flat = (_rows(records, ends, of(each), *names, **more) for each in (False, True))
    return wide + [{**row, "arm": row["arm"] + ONE_POSITION} for row in flat]


def _last(values: Layers, *_: Layers) -> float:
    return list(values.values())[-1] if values else np.nan


def _gain(values: Layers, *_: Layers) -> float:
    return _last(values) - next(iter(values.values())) if len(values) > 1 else np.nan


def _last_over_first(values: Sequence[float]) -> float:
    if len(values) < 2:
        return np.nan
    first, *_, last = values
    if first == 0:
        return np.inf if last > 0 else np.nan
    return last / first


def _wide(values: Layers, positions: Layers) -> list[float]:
    """Layers with more than one position: at P = 1 a filter's preferred output is an identity (rank one)."""
    return [value for layer, value in values.items() if positions.get(layer, 0) > 1] or [np.nan]


def _rank_correlation(values: Layers, *_: Layers) -> float:
    if len(values) < 3 or len(set(values.values())) < 2:
        return np.nan
    # equal values share the mean of their ranks
    ranks = [
        (sum(other < one for other in values.values()) + sum(other <= one for other in values.values())) / 2
        for one in values.values()
    ]
    return float(np.corrcoef(np.arange(len(values)), ranks)[0, 1])


@quantity("probe_rank_correlation", control=UNTRAINED)
def probe_rank_correlation(records: pd.DataFrame, ends: bool = False) -> Rows:
    """Spearman's rank correlation between layer number m and the probe head's accuracy."""
    return _rows(records, ends, _rank_correlation, "probe_accuracy")


@quantity("last_head_gap", digits=4, control="accuracy of the whole network")
def last_head_gap(records: pd.DataFrame, ends: bool = False) -> Rows:
    """Accuracy of the whole network and of the last layer's probe head: their absolute difference."""
    records = at_both_ends(records) if ends else records
    whole, heads = numbers(records, "accuracy"), _each(records, _last, "probe_accuracy")
    gaps = [abs(one - other) for one, other in zip(whole, heads, strict=True)]
    return per_run(records, gaps, whole, images=least_by_image(records, gaps))


@quantity("probe_gain_by_training", control=UNTRAINED)
def probe_gain_by_training(records: pd.DataFrame, ends: bool = False) -> Rows:
    """Probe accuracy of the last layer minus that of the first: trained minus untrained."""
    return _rows(records, ends, _gain, "probe_accuracy", gain=True)


@quantity("preferred_share", control=UNTRAINED)
def preferred_share(records: pd.DataFrame, ends: bool = False) -> Rows:
    """Share of inputs on which a filter picks its commonest output, lowest layer with P > 1."""
    return _rows(records, ends, lambda *layers: min(_wide(*layers)), "preferred_share")


@quantity("preferred_share_by_training", control=UNTRAINED)
def preferred_share_by_training(records: pd.DataFrame, ends: bool = False) -> Rows:
    """Share of a filter's commonest output, mean of the layers with P > 1: trained minus untrained."""
    return _rows(records, ends, lambda *of: float(np.mean(_wide(*of))), "preferred_share", gain=True)


@quantity("single_filter_accuracy_in_chances", unit="x 1/K", digits=2, control=UNTRAINED)
def single_filter_accuracy_in_chances(records: pd.DataFrame, ends: bool = False) -> Rows:
    """Accuracy of a filter alone, in units of 1/K: mean over filters, highest of the layers with P > 1."""
    return _rows(records, ends, lambda *layers: max(_wide(*layers)), "single_filter_accuracy", power=1)


def _covered(count: Sequence[float], size: Sequence[float]) -> float:
    return float(np.max(np.multiply(count, size))) if len(count) else np.nan


@quantity("labels_covered", digits=2, control=UNTRAINED)
def labels_covered(records: pd.DataFrame, ends: bool = False) -> Rows:
    """Labels a filter stands for, N_c C_s, as a share of K: the highest of the layers."""
    return _apart(records, ends, _covered, "N_c", "C_s", over_first=False, power=-1)


@quantity("labels_covered_by_training", digits=2, control=UNTRAINED)
def labels_covered_by_training(records: pd.DataFrame, ends: bool = False) -> Rows:
    """Labels a filter stands for, N_c C_s, as a share of K, last layer: trained minus untrained."""
    return _apart(records, ends, _last_covered, "N_c", "C_s", over_first=False, power=-1, gain=True)


def _last_covered(count: Sequence[float], size: Sequence[float]) -> float:
    return count[-1] * size[-1] if count else np.nan


@quantity("filters_without_cluster", control=UNTRAINED)
def filters_without_cluster(records: pd.DataFrame, ends: bool = False) -> Rows:
    """Share of filters that have no cluster: the highest of the layers."""
    return _rows(records, ends, lambda values, _: max(values.values(), default=np.nan), "no_cluster")


@quantity("noise_ratio", control=UNTRAINED)
def noise_ratio(records: pd.DataFrame, ends: bool = False) -> Rows:
    """Noise per filter n, last measured layer over first."""
    return _apart(records, ends, _last_over_first, "n")


@quantity("noise_ratio_by_training", control=UNTRAINED)
def noise_ratio_by_training(records: pd.DataFrame, ends: bool = False) -> Rows:
    """Noise per filter n, last measured layer over first: trained minus untrained."""
    return _apart(records, ends, _last_over_first, "n", gain=True)


@quantity("snr_ratio", control=UNTRAINED)
def snr_ratio(records: pd.DataFrame, ends: bool = False) -> Rows:
    """SNR_block, last measured layer over first."""
    return _apart(records, ends, _last_over_first, "SNR_block")


@quantity("snr_ratio_by_training", control=UNTRAINED)
def snr_ratio_by_training(records: pd.DataFrame, ends: bool = False) -> Rows:
    """SNR_block, last measured layer over first: trained minus untrained."""
    return _apart(records, ends, _last_over_first, "SNR_block", gain=True)


def _growth(records: pd.DataFrame, of: Callable[[list[int], list[float]], float]) -> Rows:
    """What the errors are like as a function of K, of the hardest label set beside the mean, run by run."""
    both = (
        [of(list(errors), list(errors.values())) for errors in of_equal_draws(records, name)]
        for name in ("hardest_error", "mean_error")
    )
    return per_run(records, *both)


@quantity("error_growth_exponent", digits=2, control=MEAN_ERROR)
def error_growth_exponent(records: pd.DataFrame) -> Rows:
    """gamma of the fit a + b K^gamma to the maximal error rate of equally many label subsets at every K."""
    return _growth(records, growth_exponent)


@quantity("error_line_slope", unit="a label", digits=4, control=MEAN_ERROR)
def error_line_slope(records: pd.DataFrame) -> Rows:
    """Slope of the maximal error rate of equally many label subsets against K."""
    return _growth(records, slope)


@quantity("cluster_growth_with_labels", digits=2, control="K, all labels over fewest")
def cluster_growth_with_labels(records: pd.DataFrame) -> Rows:
    """C_s and N_c at the last layer, all labels of a data set over its smallest subsets: the larger ratio."""
    grown: list[dict[str, float]] = [{} for _ in range(len(records))]
    labels = numbers(records, "labels")
    for name in ("C_s", "N_c"):
        subsets, whole = by_labels(records, f"subset_{name}"), _each(records, _last, name)
        for run, values, last, most in zip(grown, subsets, whole, labels, strict=True):
            if values:
                run[name], run["K"] = last / next(iter(values.values())), most / min(values)
    growth = [max(run.get("C_s", np.nan), run.get("N_c", np.nan)) for run in grown]
    return per_run(records, growth, [run.get("K", np.nan) for run in grown])


@quantity("snr_follows_accuracy", digits=2, control=UNTRAINED, pooled=True, images=True)
def snr_follows_accuracy(records: pd.DataFrame) -> Rows:
    """Kendall's tau of three or more networks' accuracy and last-layer SNR_block, an arm a data set and K."""
    return order_of_networks(_last_layer(records), gain=False)


@quantity("snr_gain_follows_accuracy", digits=2, control=UNTRAINED, pooled=True, images=True)
def snr_gain_follows_accuracy(records: pd.DataFrame) -> Rows:
    """Kendall's tau of three or more networks' accuracy and last-layer SNR_block, trained minus untrained."""
    return order_of_networks(_last_layer(records), gain=True)


def _last_layer(records: pd.DataFrame) -> Rows:
    """One row per run with the last layer's ratios; runs without them are left out."""
    if not has(records, "network", "data", "labels", "seed", "layers"):
        return []
    runs = rows_of(records, "network", "data", "labels", "seed", "accuracy", "device")
    ratios = zip(*_both(records, _last, "SNR_block"), strict=True)
    return [
        {**run._asdict(), "labels": int(run.labels), "device": run.device or ""}
        | {"SNR_block": trained, "untrained_SNR_block": control}
        for run, (trained, control) in zip(runs, ratios, strict=True)
        if not np.isnan([run.labels, trained]).any()
    ]
