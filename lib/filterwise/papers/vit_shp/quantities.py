"""Quantities of chapter 7 on nodes (claims V1 to V4 and V9); those of heads and of arms are beside this file.

Columns that are read, of the measurement "vit.places": ``kind`` ("transformer", "convolved", "cnn"),
``network``, ``data``, ``labels``, ``accuracy``, ``parts`` (places, bottom to top) and by part, such as
``@qkv/4``, what ``encoders_measured`` says. The untrained control has the same names with ``untrained_`` in
front.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from filterwise.claims.record_rows import numbers, per_run
from filterwise.claims.registered import Rows, quantity
from filterwise.claims.test_images import least_by_image
from filterwise.papers.vit_shp import arm_quantities, head_quantities  # noqa: F401  registered by import
from filterwise.papers.vit_shp.place_columns import (
    TRAINED_MINUS,
    UNTRAINED,
    Parts,
    both,
    by_place,
    last,
    last_over_first,
    rank_correlation,
    runs_of,
    trained_and_not,
)  # fmt: skip


@quantity("token_rank_correlation", control=UNTRAINED)
def token_rank_correlation(records: pd.DataFrame, place: str = "ff", data: str = "") -> Rows:
    """Spearman's rank correlation of encoder number m and the accuracy of the head trained there."""
    return both(
        runs_of(records, data=data, names=trained_and_not("probe_accuracy")),
        "probe_accuracy",
        place,
        rank_correlation,
    )


@quantity("token_gain_over_untrained", digits=4, control="gain of the untrained network")
def token_gain_over_untrained(records: pd.DataFrame, place: str = "ff", data: str = "") -> Rows:
    """Accuracy read at the last encoder minus at the first place, trained minus untrained."""

    def gain(values: Parts) -> float:
        return last(values) - next(iter(values.values())) if len(values) > 1 else np.nan

    return both(
        runs_of(records, data=data, names=trained_and_not("probe_accuracy")),
        "probe_accuracy",
        place,
        gain,
        less=True,
    )


@quantity("last_encoder_gap", digits=4, control="accuracy of the whole network")
def last_encoder_gap(records: pd.DataFrame, data: str = "") -> Rows:
    """Accuracy of the whole network and of the head behind its last encoder: their absolute difference."""
    rows = runs_of(records, data=data, names=("probe_accuracy",))
    heads = [last(run) for run in by_place(rows, "probe_accuracy", "ff")]
    whole = numbers(rows, "accuracy")
    gaps = [abs(one - other) for one, other in zip(whole, heads, strict=True)]
    return per_run(rows, gaps, whole, images=least_by_image(rows, gaps))


def _highest(rows: pd.DataFrame, name: str) -> list[float]:
    """The highest value over all places of encoders, m >= 1."""
    places = [by_place(rows, name, place) for place in ("qkv", "ff")]
    found = []
    for runs in zip(*places, strict=True):
        values = [value for run in runs for m, value in run.items() if m != "0"]
        found.append(max(values, default=np.nan))
    return found


@quantity("labels_of_a_node", control=UNTRAINED, words={"less_untrained": TRAINED_MINUS})
def labels_of_a_node(
    records: pd.DataFrame, labels: int = 0, less_untrained: bool = False, data: str = ""
) -> Rows:
    """Labels a node stands for, |T_k| / K: mean over nodes, highest of all encoders and sub-blocks."""
    rows = runs_of(records, data=data, labels=labels, names=trained_and_not("D"))
    counts = np.array(numbers(rows, "labels"))
    own, plain = (np.array(_highest(rows, f"{before}D")) / counts for before in ("", "untrained_"))
    return per_run(rows, (own - plain if less_untrained else own).tolist(), plain.tolist())


@quantity("nodes_without_cluster", control=UNTRAINED)
def nodes_without_cluster(records: pd.DataFrame, labels: int = 0, data: str = "") -> Rows:
    """Share of nodes without a cluster, highest of all encoders and sub-blocks."""
    rows = runs_of(records, data=data, labels=labels, names=trained_and_not("no_cluster"))
    return per_run(rows, _highest(rows, "no_cluster"), _highest(rows, "untrained_no_cluster"))


@quantity("node_noise_ratio", control=UNTRAINED, words={"less_untrained": TRAINED_MINUS})
def node_noise_ratio(
    records: pd.DataFrame, place: str = "qkv", kind: str = "transformer", less_untrained: bool = False,
    data: str = "",
) -> Rows:  # fmt: skip
    """Noise n of a node, last place over first ("ff" from the tokens; "layer" of CNNs)."""
    return both(
        runs_of(records, kind, data, names=trained_and_not("n")), "n", place, last_over_first, less_untrained
    )


@quantity("node_snr_ratio", control=UNTRAINED, words={"less_untrained": TRAINED_MINUS})
def node_snr_ratio(
    records: pd.DataFrame, place: str = "qkv", kind: str = "transformer", less_untrained: bool = False,
    data: str = "",
) -> Rows:  # fmt: skip
    """SNR_label of nodes, last place over first ("ff" from the tokens; "layer" of CNNs)."""
    return both(
        runs_of(records, kind, data, names=trained_and_not("SNR_label")),
        "SNR_label",
        place,
        last_over_first,
        less_untrained,
    )
