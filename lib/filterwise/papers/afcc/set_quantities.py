"""Quantities of the comparison of SET with the cosine-similarity algorithms (claims C1 to C4).

Columns that are read, one row per run: ``family`` (only ``set-cosine``), ``algorithm`` (the six, and the
controls ``dense``, ``fixed sparse``, ``narrow dense``), ``data``, ``seed``, ``accuracy`` (last epoch);
``input_hits``, ``strength_hits``, ``lost_least_first``, ``lost_most_first``, ``removal_gap``;
``similarity_share``, ``similarity_operations``.

Comparisons are paired by seed: the networks of a seed have the same images and began with the same
connections.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from filterwise.claims.record_rows import has, rows_of
from filterwise.claims.registered import Rows, quantity
from filterwise.claims.test_images import COLUMN, difference_by_image, mean_by_image
from filterwise.errors import check_choice
from filterwise.papers.afcc.set_arms import ALGORITHMS, ARMS, BUNDLE, DENSE, FIXED

COSINE = tuple(name for name in ALGORITHMS if name != "SET")
#: Which algorithms are averaged before they are compared.
GROUPS = {"cosine": COSINE, "SET": ("SET",), **{name: (name,) for name in COSINE}, FIXED: (FIXED,)}
_ABOUT = ("family", "algorithm", "data", "seed")
#: data, seed -> algorithm -> number
Cells = dict[tuple[str, int], dict[str, float]]


def cells(records: pd.DataFrame, column: str) -> Cells:
    """One column of the comparison's runs, without those where it is not a number.

    >>> rows = [["set-cosine", "SET", "madelon", 0, 0.5], ["other", "SET", "madelon", 0, 0.7]]
    >>> cells(pd.DataFrame(rows, columns=[*_ABOUT, "accuracy"]), "accuracy")
    {('madelon', 0): {'SET': 0.5}}
    """
    found: Cells = defaultdict(dict)
    if has(records, *_ABOUT, column):
        for run in rows_of(records, *_ABOUT, column):
            value = getattr(run, column)
            if run.family == BUNDLE and value == value:
                found[str(run.data), int(run.seed)][str(run.algorithm)] = float(value)
    return dict(found)


def _paired(found: Cells, one: Sequence[str], other: str) -> dict[tuple[str, int], float]:
    """The mean of several algorithms minus another's, where all of them were run."""
    return {
        cell: float(np.mean([values[name] for name in one])) - values[other]
        for cell, values in found.items()
        if {*one, other} <= values.keys()
    }


def _by_image(records: pd.DataFrame, one: Sequence[str], other: str) -> dict[tuple[str, int], np.ndarray]:
    """:func:`_paired` of right answers image by image, (test images,), where they are kept."""
    runs: dict[tuple[str, int], dict[str, Any]] = defaultdict(dict)
    for run in rows_of(records, *_ABOUT, COLUMN) if has(records, *_ABOUT, COLUMN) else ():
        if run.family == BUNDLE:
            runs[str(run.data), int(run.seed)][str(run.algorithm)] = run
    found = {
        cell: mean_by_image([difference_by_image(each[name], each[other]) for name in one])
        for cell, each in runs.items()
        if {*one, other} <= each.keys()
    }
    return {cell: images for cell, images in found.items() if images is not None}


def _rows(
    records: pd.DataFrame,
    arm: str,
    values: dict[tuple[str, int], float],
    controls: dict[tuple[str, int], float],
    images: Mapping[tuple[str, int], np.ndarray] | None = None,
) -> Rows:
    images = images or {}
    device = str(records["device"].iloc[0]) if "device" in records and len(records) else ""
    return [
        {
            "arm": f"{arm}, {data}",
            "seed": seed,
            "value": value,
            "control": controls.get((data, seed), np.nan),
            "data": data,
            "device": device,
            **({"images": images[data, seed]} if (data, seed) in images else {}),
        }
        for (data, seed), value in values.items()
    ]


@quantity("rewiring_gain", digits=4, control="connections that never change, minus the same")
def rewiring_gain(records: pd.DataFrame, group: str, baseline: str) -> Rows:
    """Accuracy after the last epoch, mean over a group of algorithms, minus the baseline's, paired by seed.

    ``group`` "cosine" are all five; ``baseline`` is one of the arms.
    """
    check_choice("group", group, GROUPS)
    check_choice("baseline", baseline, ARMS)
    found = cells(records, "accuracy")
    controls = _paired(found, (FIXED,), baseline) if baseline != FIXED else {}
    name = "cosine variants" if group == "cosine" else group
    arms = GROUPS[group], baseline
    images = _by_image(records, *arms)
    return _rows(records, f"{name} - {baseline}", _paired(found, *arms), controls, images)


@quantity(
    "connectivity_hits", digits=1, control="a dense network's inputs by the sum of their weights' moduli"
)
def connectivity_hits(records: pd.DataFrame, algorithm: str | Sequence[str]) -> Rows:
    """Relevant inputs among as many of the most connected; several algorithms are an arm each."""
    found, dense = cells(records, "input_hits"), cells(records, "strength_hits")
    controls = {cell: values[DENSE] for cell, values in dense.items() if DENSE in values}
    rows: Rows = []
    for name in [algorithm] if isinstance(algorithm, str) else algorithm:
        check_choice("algorithm", name, ARMS)
        values = {cell: each[name] for cell, each in found.items() if name in each}
        rows += _rows(records, name, values, controls)
    return rows


@quantity("connectivity_hits_gain", digits=1)
def connectivity_hits_gain(records: pd.DataFrame, algorithm: str | Sequence[str], baseline: str) -> Rows:
    """Relevant inputs among the most connected, minus the baseline's, paired by seed."""
    check_choice("baseline", baseline, ARMS)
    found = cells(records, "input_hits")
    rows: Rows = []
    for name in [algorithm] if isinstance(algorithm, str) else algorithm:
        check_choice("algorithm", name, ARMS)
        rows += _rows(records, f"{name} - {baseline}", _paired(found, (name,), baseline), {})
    return rows


@quantity(
    "removal_loss",
    control="connections that never change",
    words={"order=least": "the others than the most connected", "order=most": "the most connected"},
)
def removal_loss(records: pd.DataFrame, algorithm: str, order: str) -> Rows:
    """Part of the accuracy above chance that is lost when inputs are removed.

    ``order`` "least": all inputs go but as many of the most connected as are relevant; "most": these alone.
    """
    check_choice("algorithm", algorithm, ARMS)
    check_choice("order", order, ("least", "most"))
    found = cells(records, f"lost_{order}_first")
    pick: dict[str, Any] = {
        name: {cell: each[name] for cell, each in found.items() if name in each}
        for name in (algorithm, FIXED)
    }
    return _rows(records, f"{algorithm}, {order} connected first", pick[algorithm], pick[FIXED])


@quantity("removal_gap_gain", digits=3)
def removal_gap_gain(records: pd.DataFrame, algorithm: str, baseline: str) -> Rows:
    """Mean difference of the two removal curves, least connected first minus most, less the baseline's."""
    check_choice("algorithm", algorithm, ARMS)
    check_choice("baseline", baseline, ARMS)
    values = _paired(cells(records, "removal_gap"), (algorithm,), baseline)
    return _rows(records, f"{algorithm} - {baseline}", values, {})


@quantity("similarity_share", control="the same in multiply-accumulates")
def similarity_share(records: pd.DataFrame) -> Rows:
    """Time of all similarities over the time of the training, mean over the algorithms that need them."""

    def means(column: str) -> dict[tuple[str, int], float]:
        return {
            cell: float(np.mean([each[name] for name in COSINE]))
            for cell, each in cells(records, column).items()
            if set(COSINE) <= each.keys()
        }

    return _rows(records, "similarity", means("similarity_share"), means("similarity_operations"))
