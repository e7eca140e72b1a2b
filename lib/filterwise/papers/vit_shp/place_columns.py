"""Columns of chapter 7's records by place, bottom to top, and the networks whose rows are asked for.

"ff/2" is the output of encoder 2, "qkv/2" its heads', "ff/0" the tokens; layers of CNNs are "layer/1", ...
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from filterwise.claims.record_rows import has, per_run
from filterwise.claims.registered import Rows
from filterwise.claims.test_images import COLUMN as RIGHT
from filterwise.runs.layer_columns import columns_of, values_of

UNTRAINED = "the same network before its training"
TRAINED_MINUS = "trained minus untrained"

Parts = dict[str, float]  # number of the encoder -> value, bottom to top, of one run

_ABOUT = ("network", "data", "labels", "seed", "device", "accuracy", "parts", RIGHT)


def runs_of(
    records: pd.DataFrame,
    kind: str = "transformer",
    data: str = "",
    labels: int = 0,
    names: tuple[str, ...] = (),
) -> pd.DataFrame:
    """The rows of one kind of network; of one data set, or of sets with at least so many labels.

    ``names``: quantities by part that are needed, since records are a thousand columns wide; all, if empty.
    """
    if not has(records, "measure", "kind", "parts", "data", "labels"):
        return records.iloc[:0]
    chosen = (records["measure"] == "vit.places") & (records["kind"] == kind)
    chosen &= records["data"].astype(str).str.startswith(data) & (records["labels"] >= labels)
    if not names:
        return records[chosen]
    asked = [column for name in names for column in columns_of(records, name).values()]
    return records.loc[chosen, [*(name for name in _ABOUT if name in records), *asked]]


def trained_and_not(name: str) -> tuple[str, str]:
    """A quantity of trained networks, and of untrained ones."""
    return name, f"untrained_{name}"


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
    found = list(values.values())
    # equal values share the mean of their ranks
    ranks = [
        (sum(other < one for other in found) + sum(other <= one for other in found)) / 2 for one in found
    ]
    return float(np.corrcoef(np.arange(len(found)), ranks)[0, 1])


def both(rows: pd.DataFrame, name: str, place: str, of: Callable[[Parts], float], less: bool = False) -> Rows:
    """A number of trained networks beside that of untrained ones, or, ``less``, the difference of the two."""
    trained, plain = (
        [of(run) for run in by_place(rows, f"{before}{name}", place)] for before in ("", "untrained_")
    )
    values = np.subtract(trained, plain).tolist() if less else trained
    return spoken(per_run(rows, values, plain), place)


def spoken(rows: Rows, place: str) -> Rows:
    return [{**row, "arm": f"{row['arm']}, {place}"} for row in rows]
