"""Quantities of chapter 7 on heads (claims V6 to V8, V10, V11, H1 to H5).

Columns that are read are those of "vit.places", see ``quantities``; random groups of the heads' nodes have
``null_`` and ``z_`` in front.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from filterwise.claims.record_rows import numbers, per_run
from filterwise.claims.registered import Rows, quantity
from filterwise.papers.vit_shp.place_columns import (
    TRAINED_MINUS,
    UNTRAINED,
    both,
    by_place,
    last,
    last_over_first,
    rank_correlation,
    runs_of,
    spoken,
)  # fmt: skip

#: Networks with at least so many heads are those of large-scale attention.
MANY = 16


@quantity("specialisation_z", unit="sd", digits=2, control="gap of single-head accuracies")
def specialisation_z(records: pd.DataFrame, tail: str = "", data: str = "") -> Rows:
    """How far the heads' gap is above that of random groups, last encoder, in deviations of the latter.

    gap = mean over labels of the best head's accuracy minus the mean of all heads' (``tail``: "_votes" or
    "_field" for the other two quantities).
    """
    rows = runs_of(records, data=data, names=(f"z_gap{tail}", f"gap{tail}"))
    z, gaps = (by_place(rows, f"{name}{tail}", "qkv") for name in ("z_gap", "gap"))
    return per_run(rows, [last(run) for run in z], [last(run) for run in gaps])


@quantity("labels_owned", digits=2, control="heads")
def labels_owned(records: pd.DataFrame, data: str = "") -> Rows:
    """Fewest labels that a head of the last encoder owns, in units of K / (4 H), where K is at least H.

    Every label has one owner: of more heads than labels some own none, whatever was learned.
    """
    rows = runs_of(records, data=data, names=("least_owned", "heads"))
    least, heads = (np.array([last(run) for run in by_place(rows, name, "qkv")])
                    for name in ("least_owned", "heads"))  # fmt: skip
    labels = np.array(numbers(rows, "labels"), dtype=float)
    owned = np.where(labels >= heads, 4 * heads * least / labels, np.nan)
    return per_run(rows, owned.tolist(), heads.tolist())


@quantity(
    "cooperation",
    control="the same of random groups of as many nodes",
    words={"less_random": "minus the same of random groups"},
)
def cooperation(records: pd.DataFrame, less_random: bool = False) -> Rows:
    """Accuracy of a head of the last encoder on the labels it owns, minus that of its best single node."""
    rows = runs_of(records, names=("own_accuracy", "best_node", "null_own_accuracy", "null_best_node"))
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

    rows = runs_of(records, names=("owners", "z_gap"))
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
    rows = runs_of(records, names=("z_gap",))
    z = by_place(rows, "z_gap", "qkv")
    return per_run(rows, [rank_correlation(run) for run in z], [last(run) for run in z])


_WORDS = {
    "name=N_c": "clusters",
    "name=unit_share": "share of clusters of one label",
    "name=n": "noise",
    "name=least_coverage": "heads of the label that has fewest",
    "name=coverage": "heads of a label",
    "name=SNR_label": "signal-to-noise ratio",
    "how=ratio": "last encoder over first",
    "share=matrix": "as a share of the matrix",
    "share=heads": "as a share of the heads",
    "less_untrained": TRAINED_MINUS,
}


def _many_heads(records: pd.DataFrame, *names: str) -> pd.DataFrame:
    rows = runs_of(records, names=("heads", *names, *(f"untrained_{name}" for name in names)))
    heads = [last(run) for run in by_place(rows, "heads", "qkv")]
    return rows[[count >= MANY for count in heads]]


@quantity("of_a_head", control=UNTRAINED, words=_WORDS)
def of_a_head(
    records: pd.DataFrame, name: str, how: str = "last", less_untrained: bool = False, share: str = ""
) -> Rows:
    """A number of the heads' matrices, mean over heads of the last encoder, of networks with many heads.

    ``name``: see ``measure.head_summary``; ``how``: "last", or "ratio" to the first encoder; ``share``:
    divided by "matrix" (K^2) or "heads" (H).
    """
    rows = _many_heads(records, f"head_{name}")
    of = last if how == "last" else last_over_first
    own, plain = (np.array([of(run) for run in by_place(rows, f"{before}head_{name}", "qkv")])
                  for before in ("", "untrained_"))  # fmt: skip
    unit = np.ones(len(rows))
    if share == "matrix":
        unit = np.array(numbers(rows, "labels")) ** 2
    elif share == "heads":
        unit = np.array([last(run) for run in by_place(rows, "heads", "qkv")])
    values = own - plain if less_untrained else own
    return spoken(per_run(rows, (values / unit).tolist(), (plain / unit).tolist()), name)


@quantity("head_rank_correlation", control=UNTRAINED)
def head_rank_correlation(records: pd.DataFrame) -> Rows:
    """Spearman's rank correlation of encoder number and accuracy read at the heads, networks with many."""
    return both(_many_heads(records, "probe_accuracy"), "probe_accuracy", "qkv", rank_correlation)


@quantity("beyond_random_groups", unit="sd", digits=2, control="mean of the random groups")
def beyond_random_groups(records: pd.DataFrame, name: str = "N_c") -> Rows:
    """How far a number of the SHP matrices is from that of random groups, last encoder, in deviations."""
    rows = runs_of(records, names=(f"z_head_{name}", f"null_head_{name}"))
    z, null = (by_place(rows, f"{before}head_{name}", "qkv") for before in ("z_", "null_"))
    return spoken(per_run(rows, [last(run) for run in z], [last(run) for run in null]), name)


@quantity("leaning_to_a_digit", unit="sd", digits=2, control="how far heads lean")
def leaning_to_a_digit(records: pd.DataFrame) -> Rows:
    """How far heads lean to one of the two digits beyond random groups, last encoder, in deviations.

    Only of networks that read pairs of digits; lean = mean over heads of the difference of their accuracies
    on the left and on the right digit.
    """
    rows = runs_of(records, data="digit-pairs", names=("z_lean", "lean"))
    z, lean = (by_place(rows, name, "qkv") for name in ("z_lean", "lean"))
    return per_run(rows, [last(run) for run in z], [last(run) for run in lean])
