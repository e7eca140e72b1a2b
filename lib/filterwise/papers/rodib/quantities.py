"""Quantities of chapter 6, one output unit with many instants (claims R1 to R6).

Columns that are read, one row per run: ``arm`` (``single delay``, ``wide``, ``asynchronous``, or the kind of
the delay set), ``M``, ``N`` (inputs of the output layer), ``matches`` (the kind that a wide network has the
weights of), ``task`` (``one`` label a picture; two, ``both`` as the two largest instants or as a ``pair``
with its own), ``delayed``, ``purpose``, ``label_map``, ``labels``, ``data``, ``seed``, ``accuracy``,
``exact_match``, ``parameters``, ``outputs_used``, ``outputs_available``; and, without training,
``outputs@<kind>-<L>-<M>``, ``lemma_error`` and ``lemma_gradient_error``.

A gap is paired by seed: the arm minus the single delay of the same N. Its control is the arm minus the wide
single-delay network with as many weights as the arm. Without a trunk (``front`` is ``flat``) that may be the
single delay of another N: the one whose ``parameters`` come nearest, by half a hidden node at most.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from filterwise.claims.record_rows import has, joined, rows_of, texts
from filterwise.claims.registered import Rows, quantity
from filterwise.claims.test_images import difference_by_image, mean_by_image
from filterwise.errors import check_choice
from filterwise.runs.layer_columns import values_of

SINGLE, WIDE, ASYNCHRONOUS = "single delay", "wide", "asynchronous"
#: What a picture shows and how it is answered: one label; two labels, read as the two largest of K instants;
#: two labels, with one instant for each pair.
TASKS = ("one", "both", "pair")
AGAINST_WIDE = "the same against one delay with as many weights"
#: N against the number of labels K.
REGIMES = {
    "below": lambda n, labels: n < labels,
    "enough": lambda n, labels: n >= labels,
    "above": lambda n, labels: n > labels,
}
COMPARED = ("main", "two labels", "more labels", "delayed convolution")
_NEEDED = ("arm", "M", "N", "matches", "task", "delayed", "purpose", "label_map", "labels", "data", "seed")


def expected_outputs(kind: str, depth: int, delays: int) -> int:
    """How many different sums L layers of M delays have, in closed form.

    >>> [expected_outputs(kind, 3, 10) for kind in ("generic", "shared", "equal")]
    [1000, 220, 28]
    """
    if kind == "generic":
        return delays**depth
    return math.comb(delays + depth - 1, depth) if kind == "shared" else depth * (delays - 1) + 1


@quantity("output_count_error", digits=0, control="kinds, depths and numbers of delays counted")
def output_count_error(records: pd.DataFrame) -> Rows:
    """Output times that the event simulator hears minus the closed form: the largest difference."""
    rows = []
    for about, counts in zip(_about(records), values_of(records, "outputs"), strict=True):
        gaps = []
        for part, count in counts.items():
            kind, depth, delays = part.split("-")
            gaps.append(abs(count - expected_outputs(kind, int(depth), int(delays))))
        if gaps:
            rows.append({**about, "arm": "event simulator", "value": max(gaps), "control": float(len(gaps))})
    return rows


@quantity("lemma_error", unit="10^-12", control="the same of the gradients")
def lemma_error(records: pd.DataFrame) -> Rows:
    """One delayed layer of M delays against M output units, equal weights: largest difference."""
    if not has(records, "lemma_error", "lemma_gradient_error"):
        return []
    found = zip(_about(records), records["lemma_error"], records["lemma_gradient_error"], strict=True)
    return [
        {**about, "arm": "one delayed layer", "value": 1e12 * outputs, "control": 1e12 * gradients}
        for about, outputs, gradients in found
        if outputs == outputs
    ]


def _about(records: pd.DataFrame) -> list[dict[str, Any]]:
    seeds = records["seed"].tolist() if "seed" in records else [0] * len(records)
    three = zip(seeds, texts(records, "data"), texts(records, "device"), strict=True)
    return [{"seed": int(seed), "data": data, "device": device} for seed, data, device in three]


def _at_chance(value: str, labels: int, *runs: Any) -> int:
    """How many networks name no more images rightly than one guess for all would, but for 2 %."""
    known = [getattr(run, value) for run in runs if run is not None] if value == "accuracy" else []
    return sum(accuracy <= 1.02 / labels for accuracy in known)


def gaps(
    records: pd.DataFrame, value: str = "accuracy", task: str = "one", delayed: str = "both"
) -> list[dict[str, Any]]:
    """Each arm with delays minus the single delay of the same N, a row a run of the arm.

    Columns ``kind, M, N, labels, data, seed, value, images, control, accuracy, chance, device`` and ``arm``
    in words; ``images`` is a difference of accuracies image by image, None where that is not known,
    ``control`` the gap to the wide network that matches the arm, ``chance`` how many of the networks learned
    nothing.

    >>> columns = ["arm", "M", "N", "task", "labels", "data", "seed", "accuracy"]
    >>> rows = [["single delay", 1, 4, "one", 10, "d", 0, 0.5], ["generic", 4, 4, "one", 10, "d", 0, 0.75]]
    >>> table = pd.DataFrame(rows, columns=columns)
    >>> table = table.assign(matches="", delayed="both", purpose="main", label_map="spread")
    >>> [(row["arm"], row["value"]) for row in gaps(table)]
    [('generic M=4, N=4, 10 labels, d', 0.25)]
    """
    if not has(records, *_NEEDED, value):
        return []
    cells: dict[tuple[Any, ...], dict[tuple[Any, ...], Any]] = defaultdict(dict)
    for run in rows_of(records, *_NEEDED, value, "device", "front", "hidden", "parameters", "right"):
        if (run.task, run.delayed, run.label_map) != (task, delayed, "spread") or run.purpose not in COMPARED:
            continue
        cells[run.data, int(run.labels), int(run.seed)][
            int(run.N),
            run.arm,
            run.matches if run.arm == WIDE else "",
            1 if run.arm == SINGLE else int(run.M),
        ] = run
    found = []
    for (data, labels, seed), runs in cells.items():
        for (n, kind, _, delays), run in runs.items():
            single = runs.get((n, SINGLE, "", 1))
            if kind in (SINGLE, WIDE, ASYNCHRONOUS) or single is None:
                continue
            mine = getattr(run, value)
            wide = runs.get((n, WIDE, kind, delays)) or _as_many_weights(run, runs.values())
            found.append(
                {
                    "arm": f"{kind} M={delays}, N={n}, {labels} labels, {data}",
                    "kind": kind,
                    "M": delays,
                    "N": n,
                    "labels": labels,
                    "data": data,
                    "seed": seed,
                    "value": mine - getattr(single, value),
                    "images": difference_by_image(run, single) if value == "accuracy" else None,
                    "control": mine - getattr(wide, value) if wide is not None else math.nan,
                    "accuracy": mine,
                    "chance": _at_chance(value, labels, run, single, wide),
                    "device": run.device or "",
                }
            )
    return found


def _as_many_weights(run: Any, runs: Iterable[Any]) -> Any:
    """Without a trunk: the single-delay network whose parameters come nearest to a run's, or None."""
    single = [other for other in runs if other.arm in (SINGLE, WIDE) and other.front == run.front == "flat"]
    if not single:
        return None
    nearest = min(single, key=lambda other: abs(other.parameters - run.parameters))
    node = (nearest.parameters - nearest.labels) / nearest.hidden  # of its hidden layer
    return nearest if 2 * abs(nearest.parameters - run.parameters) <= node else None


def _in(regime: str, found: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    check_choice("regime", regime, REGIMES)
    return [row for row in found if REGIMES[regime](row["N"], row["labels"])]


def with_all_labels(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with the most labels of each data set; fewer are the business of the fixed network."""
    most = {
        row["data"]: max(other["labels"] for other in found if other["data"] == row["data"]) for row in found
    }
    return [row for row in found if row["labels"] == most[row["data"]]]


@quantity("same_n_gap", control=AGAINST_WIDE)
def same_n_gap(records: pd.DataFrame, regime: str = "below", delayed: str = "both") -> Rows:
    """Accuracy with delays minus one delay and the same N, where N is below, at least or above the labels."""
    return _in(regime, with_all_labels(gaps(records, delayed=delayed)))


@quantity("mean_gap", control=AGAINST_WIDE)
def mean_gap(records: pd.DataFrame, regime: str = "below", task: str = "one") -> Rows:
    """The gaps at the same N, averaged over all N of the regime, by kind of delays and seed."""
    value = "accuracy" if task == "one" else "exact_match"
    rows = []
    cells: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in _in(regime, with_all_labels(gaps(records, value, task))):
        cells[row["kind"], row["M"], row["labels"], row["data"], row["seed"]].append(row)
    for (kind, delays, labels, data, seed), found in cells.items():
        known = [row["control"] for row in found if row["control"] == row["control"]]
        rows.append(
            {
                "arm": f"{kind} M={delays}, {labels} labels, {data}",
                "seed": seed,
                "value": float(np.mean([row["value"] for row in found])),
                "images": mean_by_image([row["images"] for row in found]),
                "control": float(np.mean(known)) if known else math.nan,
                "data": data,
                "device": found[0]["device"],
            }
        )
    return rows


@quantity("gap_closing", control="the mean gap where N is above the number of labels")
def gap_closing(records: pd.DataFrame) -> Rows:
    """Mean gap over N below the number of labels minus the mean gap above, by kind of delays and seed."""
    above = {(row["arm"], row["seed"]): row for row in mean_gap(records, "above")}
    rows = []
    for row in mean_gap(records, "below"):
        other = above.get((row["arm"], row["seed"]))
        if other is not None:
            known = row["images"] is not None and other["images"] is not None
            images = row["images"] - other["images"] if known else None
            value, control = row["value"] - other["value"], other["value"]
            rows.append({**row, "value": value, "control": control, "images": images})
    return rows


def _fixed(records: pd.DataFrame) -> list[dict[str, Any]]:
    """Gaps of generic networks of one N and M that were trained on several numbers of labels of one set."""
    found = [row for row in gaps(records) if row["kind"] == "generic"]
    counts: dict[tuple[Any, ...], set[int]] = defaultdict(set)
    for row in found:
        counts[row["data"], row["N"], row["M"]].add(row["labels"])
    return [row for row in found if len(counts[row["data"], row["N"], row["M"]]) > 1]


@quantity("fixed_network_chances", unit="times chance", digits=1, control="the single delay's")
def fixed_network_chances(records: pd.DataFrame) -> Rows:
    """Accuracy of one fixed network times the number of labels K, for every K."""
    return [
        {
            **row,
            "images": None,
            "value": row["accuracy"] * row["labels"],
            "control": (row["accuracy"] - row["value"]) * row["labels"],
        }
        for row in _fixed(records)
    ]


@quantity("fixed_network_gap", control="accuracy of the single delay")
def fixed_network_gap(records: pd.DataFrame) -> Rows:
    """One fixed network minus the single delay of the same N, for every number of labels above N."""
    return [{**row, "control": row["accuracy"] - row["value"]} for row in _in("below", _fixed(records))]


@quantity("fixed_network_growth", pooled=True, digits=0, control="parameters that the single delay grows by")
def fixed_network_growth(records: pd.DataFrame) -> Rows:
    """Parameters of the fixed network at the most labels minus those at the fewest."""
    found, rows = _fixed(records), []
    if not has(records, "parameters"):
        return []
    for data, n, delays in dict.fromkeys((row["data"], row["N"], row["M"]) for row in found):
        sizes: dict[str, set[int]] = {"generic": set(), SINGLE: set()}
        runs = rows_of(records, *_NEEDED, "parameters", "device")
        runs = [run for run in runs if (run.data, run.N, run.task, run.delayed) == (data, n, "one", "both")]
        for run in runs:
            if run.arm == SINGLE or (run.arm == "generic" and int(run.M) == delays):
                sizes[run.arm].add(int(run.parameters))
        grown = {arm: float(max(each) - min(each)) for arm, each in sizes.items() if each}
        about = {"arm": f"generic M={delays}, N={n}, {data}", "n": len({run.seed for run in runs})}
        devices = joined(run.device or "" for run in runs)
        rows.append(
            {**about, "value": grown["generic"], "control": grown[SINGLE], "data": data, "device": devices}
        )
    return rows


@quantity("exact_match_gap", control=AGAINST_WIDE)
def exact_match_gap(records: pd.DataFrame, task: str = "both") -> Rows:
    """Share of pictures of which both labels are named, minus one delay's at the same N below the outputs."""
    found = _in("below", gaps(records, "exact_match", task))
    return [{**row, "arm": f"{task}: {row['arm']}"} for row in found]


@quantity("used_share", control="output times available")
def used_share(records: pd.DataFrame) -> Rows:
    """Output times that carry a label, as a share of all there are."""
    if not has(records, "arm", "M", "seed", "labels", "data", "outputs_used", "outputs_available"):
        return []
    columns = ("arm", "M", "seed", "labels", "data", "outputs_used", "outputs_available", "device")
    rows: dict[tuple[str, int], dict[str, Any]] = {}
    for run in rows_of(records, *columns):
        if run.arm in (SINGLE, WIDE, ASYNCHRONOUS):
            continue
        arm = f"{run.arm} M={int(run.M)}, {int(run.labels)} labels"
        rows[arm, int(run.seed)] = {
            "arm": arm,
            "seed": int(run.seed),
            "value": run.outputs_used / run.outputs_available,
            "control": float(run.outputs_available),
            "data": run.data,
            "device": run.device or "",
        }
    return list(rows.values())
