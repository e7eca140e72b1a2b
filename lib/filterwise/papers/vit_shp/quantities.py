"""Quantities of chapter 7: nodes (claims V1 to V4) and heads (V6 to V10, H1 to H5) of transformers.

Columns that are read, of the measurement "vit.places": ``kind`` ("transformer", "convolved", "cnn"),
``network``, ``data``, ``labels``, ``accuracy``, ``parts`` (places, bottom to top) and by part, such as
``@qkv/4``, what ``encoders_measured`` says. The untrained control has the same names with ``untrained_`` in
front; random groups of the heads' nodes have ``null_`` and ``z_``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from filterwise.claims.record_rows import has, numbers, per_run
from filterwise.claims.registered import Rows, quantity
from filterwise.papers.vit_shp import arm_quantities  # noqa: F401  registered by import
from filterwise.runs.layer_columns import values_of

UNTRAINED = "the same network before its training"
RANDOM = "random groups of the same nodes"
#: Networks with at least so many heads are those of large-scale attention.
MANY = 16

Parts = dict[str, float]  # number of the encoder -> value, bottom to top, of one run


def runs_of(
    records: pd.DataFrame, kind: str = "transformer", data: str = "", labels: int = 0
) -> pd.DataFrame:
    """The rows of one kind of network; of one data set, or of sets with at least so many labels."""
    if not has(records, "measure", "kind", "parts", "data", "labels"):
        return records.iloc[:0]
    chosen = (records["measure"] == "vit.places") & (records["kind"] == kind)
    chosen &= records["data"].astype(str).str.startswith(data) & (records["labels"] >= labels)
    return records[chosen]


def by_place(records: pd.DataFrame, name: str, place: str) -> list[Parts]:
    """Number m -> value at one kind of place, a dictionary a run, bottom to top.

    >>> rows = pd.DataFrame({"parts": ["ff/0 qkv/1 ff/1"], "n@ff/1": [2.0], "n@ff/0": [9.0], "n@qkv/1": [5]})
    >>> by_place(rows, "n", "ff")
    [{'0': 9.0, '1': 2.0}]
    """
    orders = records["parts"].astype(str) if "parts" in records else [""] * len(records)
    return [
        {
            part.partition("/")[2]: values[part]
            for part in order.split()
            if part.startswith(f"{place}/") and part in values
        }
        for order, values in zip(orders, values_of(records, name), strict=True)
    ]


def last(values: Parts) -> float:
    """The value at the highest encoder."""
    return list(values.values())[-1] if values else np.nan


def last_over_first(values: Parts) -> float:
    """The value at the highest place over that at the lowest."""
    if len(values) < 2:
        return np.nan
    first, *_, top = values.values()
    return top / first if first else np.nan


def rank_correlation(values: Parts) -> float:
    """Spearman's rank correlation of places, from the bottom, and values."""
    if len(values) < 3 or len(set(values.values())) < 2:
        return np.nan
    places = pd.Series(np.arange(len(values), dtype=float))
    return float(pd.Series(list(values.values())).corr(places, method="spearman"))


def _both(
    rows: pd.DataFrame, name: str, place: str, of: Callable[[Parts], float], less: bool = False
) -> Rows:
    """A number of trained networks beside that of untrained ones, or, ``less``, the difference of the two."""
    trained, plain = (
        [of(run) for run in by_place(rows, f"{before}{name}", place)] for before in ("", "untrained_")
    )
    values = np.subtract(trained, plain).tolist() if less else trained
    return _spoken(per_run(rows, values, plain), place)


def _spoken(rows: Rows, place: str) -> Rows:
    return [{**row, "arm": f"{row['arm']}, {place}"} for row in rows]


@quantity("token_rank_correlation", control=UNTRAINED)
def token_rank_correlation(records: pd.DataFrame, place: str = "ff", data: str = "") -> Rows:
    """Spearman's rank correlation of encoder number m and the accuracy of the head trained there."""
    return _both(runs_of(records, data=data), "probe_accuracy", place, rank_correlation)


@quantity("token_gain_over_untrained", digits=4, control="gain of the untrained network")
def token_gain_over_untrained(records: pd.DataFrame, place: str = "ff", data: str = "") -> Rows:
    """Accuracy read at the last encoder minus at the first place, trained minus untrained."""

    def gain(values: Parts) -> float:
        return last(values) - next(iter(values.values())) if len(values) > 1 else np.nan

    return _both(runs_of(records, data=data), "probe_accuracy", place, gain, less=True)


@quantity("last_encoder_gap", digits=4, control="accuracy of the whole network")
def last_encoder_gap(records: pd.DataFrame, data: str = "") -> Rows:
    """Accuracy of the whole network and of the head behind its last encoder: their absolute difference."""
    rows = runs_of(records, data=data)
    heads = [last(run) for run in by_place(rows, "probe_accuracy", "ff")]
    whole = numbers(rows, "accuracy")
    return per_run(rows, [abs(one - other) for one, other in zip(whole, heads, strict=True)], whole)


def _highest(rows: pd.DataFrame, name: str) -> list[float]:
    """The highest value over all places of encoders, m >= 1."""
    places = [by_place(rows, name, place) for place in ("qkv", "ff")]
    found = []
    for runs in zip(*places, strict=True):
        values = [value for run in runs for m, value in run.items() if m != "0"]
        found.append(max(values, default=np.nan))
    return found


@quantity("labels_of_a_node", control=UNTRAINED)
def labels_of_a_node(
    records: pd.DataFrame, labels: int = 0, less_untrained: bool = False, data: str = ""
) -> Rows:
    """Labels a node stands for, |T_k| / K: mean over nodes, highest of all encoders and sub-blocks."""
    rows = runs_of(records, data=data, labels=labels)
    counts = np.array(numbers(rows, "labels"))
    own, plain = (np.array(_highest(rows, f"{before}D")) / counts for before in ("", "untrained_"))
    return per_run(rows, (own - plain if less_untrained else own).tolist(), plain.tolist())


@quantity("nodes_without_cluster", control=UNTRAINED)
def nodes_without_cluster(records: pd.DataFrame, labels: int = 0, data: str = "") -> Rows:
    """Share of nodes without a cluster, highest of all encoders and sub-blocks."""
    rows = runs_of(records, data=data, labels=labels)
    return per_run(rows, _highest(rows, "no_cluster"), _highest(rows, "untrained_no_cluster"))


@quantity("node_noise_ratio", control=UNTRAINED)
def node_noise_ratio(
    records: pd.DataFrame, place: str = "qkv", kind: str = "transformer", less_untrained: bool = False,
    data: str = "",
) -> Rows:  # fmt: skip
    """Noise n of a node, last place over first ("ff" from the tokens; "layer" of CNNs)."""
    return _both(runs_of(records, kind, data), "n", place, last_over_first, less_untrained)


@quantity("node_snr_ratio", control=UNTRAINED)
def node_snr_ratio(
    records: pd.DataFrame, place: str = "qkv", kind: str = "transformer", less_untrained: bool = False,
    data: str = "",
) -> Rows:  # fmt: skip
    """SNR_label of nodes, last place over first ("ff" from the tokens; "layer" of CNNs)."""
    return _both(runs_of(records, kind, data), "SNR_label", place, last_over_first, less_untrained)


@quantity("specialisation_z", unit="sd", digits=2, control="gap of single-head accuracies")
def specialisation_z(records: pd.DataFrame, tail: str = "", data: str = "") -> Rows:
    """How far the heads' gap is above that of random groups, last encoder, in deviations of the latter.

    gap = mean over labels of the best head's accuracy minus the mean of all heads' (``tail``: "_votes" or
    "_field" for the other two quantities).
    """
    rows = runs_of(records, data=data)
    z, gaps = (by_place(rows, f"{name}{tail}", "qkv") for name in ("z_gap", "gap"))
    return per_run(rows, [last(run) for run in z], [last(run) for run in gaps])


@quantity("labels_owned", digits=2, control="heads")
def labels_owned(records: pd.DataFrame, data: str = "") -> Rows:
    """Fewest labels that a head of the last encoder owns, in units of K / (4 H)."""
    rows = runs_of(records, data=data)
    least, heads = (np.array([last(run) for run in by_place(rows, name, "qkv")])
                    for name in ("least_owned", "heads"))  # fmt: skip
    return per_run(rows, (4 * heads * least / np.array(numbers(rows, "labels"))).tolist(), heads.tolist())


@quantity("cooperation", control="the same of random groups of as many nodes")
def cooperation(records: pd.DataFrame, less_random: bool = False) -> Rows:
    """Accuracy of a head of the last encoder on the labels it owns, minus that of its best single node."""
    rows = runs_of(records)
    apart = {}
    for before in ("", "null_"):
        head, node = (
            np.array([last(run) for run in by_place(rows, f"{before}{name}", "qkv")])
            for name in ("own_accuracy", "best_node")
        )
        apart[before] = head - node
    values = apart[""] - apart["null_"] if less_random else apart[""]
    return per_run(rows, values.tolist(), apart["null_"].tolist())


@quantity("owner_agreement", control="z of the heads' gap")
def owner_agreement(records: pd.DataFrame) -> Rows:
    """Adjusted Rand index of a seed's owner map with those of the other seeds, last encoder, mean."""
    from sklearn.metrics import adjusted_rand_score

    rows = runs_of(records)
    found: Rows = []
    maps: dict[Any, dict[int, list[str]]] = {}
    kept = []
    for _, run in rows.iterrows():
        parts = [part for part in str(run["parts"]).split() if part.startswith("qkv/")]
        column = f"owners@{parts[-1]}" if parts else ""
        if column in rows and isinstance(run[column], str):
            arm = (run["network"], run["data"], run["labels"])
            maps.setdefault(arm, {})[int(run["seed"])] = run[column].split()
            kept.append((arm, run, run.get(f"z_gap@{parts[-1]}")))
    for arm, run, z in kept:
        others = [other for seed, other in maps[arm].items() if seed != int(run["seed"])]
        mine = maps[arm][int(run["seed"])]
        if others:
            mean = float(np.mean([adjusted_rand_score(mine, other) for other in others]))
            found += per_run(pd.DataFrame([run]), [mean], [float(z) if z is not None else np.nan])
    return found


@quantity("specialisation_rank_correlation", control="z at the last encoder")
def specialisation_rank_correlation(records: pd.DataFrame) -> Rows:
    """Spearman's rank correlation of encoder number m and z of the heads' gap."""
    rows = runs_of(records)
    z = by_place(rows, "z_gap", "qkv")
    return per_run(rows, [rank_correlation(run) for run in z], [last(run) for run in z])


def _many_heads(records: pd.DataFrame) -> pd.DataFrame:
    rows = runs_of(records)
    heads = [last(run) for run in by_place(rows, "heads", "qkv")]
    return rows[[count >= MANY for count in heads]]


@quantity("of_a_head", control=UNTRAINED)
def of_a_head(
    records: pd.DataFrame, name: str, how: str = "last", less_untrained: bool = False, share: str = ""
) -> Rows:
    """A number of the SHP matrices of networks with many heads, last encoder; see ``measure.head_summary``.

    ``how``: "last", or "ratio" to the first encoder; ``share``: divided by "matrix" (K^2) or "heads" (H).
    """
    rows = _many_heads(records)
    of = last if how == "last" else last_over_first
    own, plain = (np.array([of(run) for run in by_place(rows, f"{before}head_{name}", "qkv")])
                  for before in ("", "untrained_"))  # fmt: skip
    unit = np.ones(len(rows))
    if share == "matrix":
        unit = np.array(numbers(rows, "labels")) ** 2
    elif share == "heads":
        unit = np.array([last(run) for run in by_place(rows, "heads", "qkv")])
    values = own - plain if less_untrained else own
    return _spoken(per_run(rows, (values / unit).tolist(), (plain / unit).tolist()), name)


@quantity("head_rank_correlation", control=UNTRAINED)
def head_rank_correlation(records: pd.DataFrame) -> Rows:
    """Spearman's rank correlation of encoder number and accuracy read at the heads, networks with many."""
    return _both(_many_heads(records), "probe_accuracy", "qkv", rank_correlation)


@quantity("beyond_random_groups", unit="sd", digits=2, control="mean of the random groups")
def beyond_random_groups(records: pd.DataFrame, name: str = "N_c") -> Rows:
    """How far a number of the SHP matrices is from that of random groups, last encoder, in deviations."""
    rows = runs_of(records)
    z, null = (by_place(rows, f"{before}head_{name}", "qkv") for before in ("z_", "null_"))
    return _spoken(per_run(rows, [last(run) for run in z], [last(run) for run in null]), name)


@quantity("leaning_to_a_digit", unit="sd", digits=2, control="how far heads lean")
def leaning_to_a_digit(records: pd.DataFrame) -> Rows:
    """How far heads lean to one of the two digits beyond random groups, last encoder, in deviations.

    Only of networks that read pairs of digits; lean = mean over heads of the difference of their accuracies
    on the left and on the right digit.
    """
    rows = runs_of(records, data="digit-pairs")
    z, lean = (by_place(rows, name, "qkv") for name in ("z_lean", "lean"))
    return per_run(rows, [last(run) for run in z], [last(run) for run in lean])
