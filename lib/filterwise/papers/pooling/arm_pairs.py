"""Runs that are compared, paired by seed: at equal epochs or compute, in both orders of their pools."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from filterwise.claims.record_rows import joined, rows_of, texts
from filterwise.claims.test_images import difference_by_image

COMPUTE_TOLERANCE = 0.10
COMPARED_KINDS = ("main", "equal compute")
COLUMNS = ("network", "base", "plan", "order", "seed", "data", "epochs", "macs", "accuracy")
#: Pairs of orders with fewer seeds than these are left out where others have them.
PAIR_SEEDS = 3

_READ = (*COLUMNS, "lr", "fc_activation", "trained_spread", "untrained_spread", "right")
_PAIRED = ("seed", "data", "value", "control", "device", "images")
#: (data, base, plan, MP first, lr, epochs) -> seed -> the run with MP first and the run with AP first
OrderPairs = dict[tuple[Any, ...], dict[int, tuple[Any, Any]]]


def compared_runs(
    records: pd.DataFrame, kinds: Iterable[str] = COMPARED_KINDS, linear: bool = True
) -> pd.DataFrame:
    """The runs of some ``kinds``, or without one, whose FC layers are linear; records are a hundred columns
    wide, and only those that comparisons read are kept."""
    kept = [
        (run.arm_kind in kinds or not isinstance(run.arm_kind, str))
        and (not linear or run.fc_activation in ("linear", None))
        for run in rows_of(records, "arm_kind", "fc_activation")
    ]
    runs = records.loc[np.array(kept, dtype=bool), [name for name in _READ if name in records]]
    return runs.assign(device=np.array(texts(records, "device"), dtype=object)[kept])


def paired(first: pd.DataFrame, second: pd.DataFrame, same_rate: bool = True) -> pd.DataFrame:
    """Differences first - second by data and seed: ``value`` at equal epochs, ``control`` at equal compute.

    Where several epoch counts were run the longest one that both arms share is taken; for the control, the
    longest pair of runs whose compute agrees within ``COMPUTE_TOLERANCE``. ``images`` is the value image by
    image, None where that is not known. ``same_rate`` pairs runs of one learning rate only.

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
        pairs = [
            (one, other)
            for one, other in product(_runs(left), _runs(right))
            if not same_rate or _equal(one.lr, other.lr)
        ]
        if not pairs:
            continue
        epochs = _longest(pairs, lambda one, other: one.epochs == other.epochs)
        compute = _longest(pairs, _same_compute)
        rows.append(
            {
                "seed": int(seed),
                "data": str(data),
                "value": epochs[0].accuracy - epochs[1].accuracy if epochs else np.nan,
                "control": compute[0].accuracy - compute[1].accuracy if compute else np.nan,
                "device": joined([*texts(left, "device"), *texts(right, "device")]),
                "images": difference_by_image(*epochs) if epochs else None,
            }
        )
    return pd.DataFrame(rows, columns=_PAIRED)


def _runs(table: pd.DataFrame) -> list[Any]:
    return rows_of(table, "epochs", "macs", "accuracy", "lr", "right")


def _equal(one: Any, other: Any) -> bool:
    return bool(one == other or (one != one and other != other))


def _same_compute(one: Any, other: Any) -> bool:
    first, second = one.epochs * one.macs, other.epochs * other.macs
    return bool(abs(first - second) <= COMPUTE_TOLERANCE * max(first, second))


def _longest(pairs: list[tuple[Any, Any]], fits: Callable[[Any, Any], bool]) -> tuple[Any, Any] | None:
    kept = [pair for pair in pairs if fits(*pair)]
    return max(kept, key=lambda pair: pair[0].epochs + pair[1].epochs, default=None)


def order_pairs(orders: Iterable[str]) -> list[tuple[str, str]]:
    """Max first and average first at the same sizes.

    >>> order_pairs(["MP2-AP4", "MP8", "AP4-MP2", "AP2-MP4"])
    [('MP2-AP4', 'AP4-MP2')]
    """
    listed = list(orders)
    swapped = {order: "-".join(reversed(order.split("-"))) for order in listed}
    return [
        (order, swapped[order])
        for order in listed
        if order.startswith("MP") and "-AP" in order and order.count("-") == 1 and swapped[order] in listed
    ]


def runs_by_order(late: pd.DataFrame) -> OrderPairs:
    """Both orders of the same pools, of one network, plan, rate and number of epochs, seed by seed."""
    arms: dict[tuple[Any, ...], dict[int, dict[str, Any]]] = defaultdict(lambda: defaultdict(dict))
    names = ("data", "base", "plan", "order", "lr", "epochs", "seed", "accuracy", "trained_spread", "right")
    for run in rows_of(late, *names):
        rate = None if run.lr is None or run.lr != run.lr else run.lr
        arms[run.data, run.base, run.plan, rate, run.epochs][int(run.seed)][run.order] = run
    found: OrderPairs = defaultdict(dict)
    for (data, base, plan, rate, epochs), seeds in arms.items():
        for seed, runs in seeds.items():
            for one, other in order_pairs(runs):
                found[data, base, plan, one, rate, epochs][seed] = runs[one], runs[other]
    return dict(found)


def shared_seeds(pairs: OrderPairs) -> tuple[OrderPairs, list[int]]:
    """The pairs with ``PAIR_SEEDS`` seeds or more, and the seeds that all of these have, so that every seed's
    mean is over the same pairs; if no pair has as many, those with the most."""
    needed = min(PAIR_SEEDS, max(map(len, pairs.values()), default=0))
    kept = {pair: runs for pair, runs in pairs.items() if len(runs) >= needed}
    return kept, sorted(set.intersection(*map(set, kept.values()))) if kept else []
