"""Quantities of chapter 4, single-filter performance, that run over the layers of one network (S1 to S4).

Columns that are read (one row per run): ``layers`` (bottom to top, separated by spaces), ``labels`` (K),
``accuracy`` (the whole network on the test images) and per layer ``probe_accuracy``, ``N_c``, ``C_s``, ``n``,
``SNR_block``, ``no_cluster``, ``positions`` (P), ``preferred_share``, ``single_filter_accuracy``.  The
untrained control has the same names with ``untrained_`` in front.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from filterwise.claims.quantities import Row, layers_of, per_run, quantity

UNTRAINED = "the same measurement on a network with untrained convolutions"


def _last(row: Row, name: str) -> float:
    values = layers_of(row, name)
    return float(values.iloc[-1]) if len(values) else np.nan


def _last_over_first(row: Row, name: str) -> float:
    values = layers_of(row, name)
    if len(values) < 2:
        return np.nan
    first, last = float(values.iloc[0]), float(values.iloc[-1])
    if first == 0:
        return np.inf if last > 0 else np.nan
    return last / first


def _wide(row: Row, name: str) -> pd.Series:
    """Layers with more than one position: at P = 1 a filter's preferred output is an identity (rank one)."""
    values, positions = layers_of(row, name), layers_of(row, "positions")
    return values[[layer for layer in values.index if positions.get(layer, 0) > 1]]


def _rank_correlation(values: pd.Series) -> float:
    if len(values) < 3 or values.nunique() < 2:
        return np.nan
    return float(stats.spearmanr(np.arange(len(values)), values.to_numpy()).statistic)


@quantity("probe_rank_correlation", control=UNTRAINED)
def probe_rank_correlation(records: pd.DataFrame) -> pd.DataFrame:
    """Spearman's rank correlation between layer number m and the probe head's accuracy."""
    return per_run(
        records,
        lambda row: _rank_correlation(layers_of(row, "probe_accuracy")),
        lambda row: _rank_correlation(layers_of(row, "untrained_probe_accuracy")),
    )


@quantity("last_head_gap", digits=4, control="accuracy of the whole network")
def last_head_gap(records: pd.DataFrame) -> pd.DataFrame:
    """Accuracy of the whole network and of the last layer's probe head: their absolute difference."""
    return per_run(
        records,
        lambda row: abs(float(row.get("accuracy", np.nan)) - _last(row, "probe_accuracy")),
        lambda row: float(row.get("accuracy", np.nan)),
    )


@quantity("probe_gain", control="probe accuracy of the last layer")
def probe_gain(records: pd.DataFrame) -> pd.DataFrame:
    """Probe accuracy of the last layer minus that of the first."""

    def gain(row: Row) -> float:
        values = layers_of(row, "probe_accuracy")
        return float(values.iloc[-1] - values.iloc[0]) if len(values) > 1 else np.nan

    return per_run(records, gain, lambda row: _last(row, "probe_accuracy"))


@quantity("preferred_share", control="1/K, a filter without preference")
def preferred_share(records: pd.DataFrame) -> pd.DataFrame:
    """Share of inputs on which a filter picks its commonest output, lowest layer with P > 1."""
    return per_run(
        records, lambda row: _wide(row, "preferred_share").min(), lambda row: 1 / float(row["labels"])
    )


@quantity("single_filter_accuracy_in_chances", unit="x 1/K", digits=2, control="1, guessing")
def single_filter_accuracy_in_chances(records: pd.DataFrame) -> pd.DataFrame:
    """Accuracy of a filter alone, in units of 1/K: mean over filters, highest of the layers with P > 1."""
    return per_run(
        records,
        lambda row: _wide(row, "single_filter_accuracy").max() * float(row["labels"]),
        lambda row: 1.0,
    )


@quantity("labels_covered", digits=2, control="share without a cluster, highest layer")
def labels_covered(records: pd.DataFrame) -> pd.DataFrame:
    """Labels a filter stands for, N_c C_s, as a share of K: the highest of the layers."""

    def covered(row: Row) -> float:
        return float((layers_of(row, "N_c") * layers_of(row, "C_s")).max() / float(row["labels"]))

    return per_run(records, covered, lambda row: layers_of(row, "no_cluster").max())


@quantity("filters_without_cluster")
def filters_without_cluster(records: pd.DataFrame) -> pd.DataFrame:
    """Share of filters that have no cluster: the highest of the layers."""
    return per_run(records, lambda row: layers_of(row, "no_cluster").max())


@quantity("noise_ratio", control=UNTRAINED)
def noise_ratio(records: pd.DataFrame) -> pd.DataFrame:
    """Noise per filter n, last measured layer over first."""
    return per_run(
        records, lambda row: _last_over_first(row, "n"), lambda row: _last_over_first(row, "untrained_n")
    )


@quantity("snr_ratio", control=UNTRAINED)
def snr_ratio(records: pd.DataFrame) -> pd.DataFrame:
    """SNR_block, last measured layer over first."""
    return per_run(
        records,
        lambda row: _last_over_first(row, "SNR_block"),
        lambda row: _last_over_first(row, "untrained_SNR_block"),
    )
