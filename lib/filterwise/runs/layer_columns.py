"""Columns ``quantity@part`` of records: a quantity of one layer, one number of labels, one order of pools."""

from __future__ import annotations

from functools import lru_cache

import pandas as pd


def split(column: str) -> tuple[str, str]:
    """The quantity and the part; the part is empty where the column has none.

    >>> split("n@features.1"), split("accuracy")
    (('n', 'features.1'), ('accuracy', ''))
    """
    quantity, _, part = column.rpartition("@")
    return (quantity, part) if quantity else (column, "")


@lru_cache(maxsize=64)  # asked for again and again of a few tables of hundreds of columns
def _columns(names: tuple[str, ...]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for name in names:
        quantity, part = split(str(name))
        if part:
            found.setdefault(quantity, {})[part] = name
    return found


def columns_of(records: pd.DataFrame, quantity: str) -> dict[str, str]:
    """Part -> column of one quantity, in the order of the columns.

    >>> columns_of(pd.DataFrame(columns=["seed", "n@features.1", "C_s@features.1", "n@features.2"]), "n")
    {'features.1': 'n@features.1', 'features.2': 'n@features.2'}
    """
    return dict(_columns(tuple(records.columns)).get(quantity, {}))


def values_of(records: pd.DataFrame, quantity: str) -> list[dict[str, float]]:
    """Part -> value, a dictionary a run, in the order of the columns; empty cells are left out.

    >>> records = pd.DataFrame({"e@K3": [0.1, 0.2], "e@K10": [None, 0.4]})
    >>> values_of(records, "e")
    [{'K3': 0.1}, {'K3': 0.2, 'K10': 0.4}]
    """
    columns = columns_of(records, quantity)
    rows = records[list(columns.values())].to_numpy(dtype=float, na_value=float("nan")).tolist()
    return [{part: value for part, value in zip(columns, row, strict=True) if value == value} for row in rows]


def by_layer(records: pd.DataFrame, quantity: str) -> list[dict[str, float]]:
    """Layer -> value, a dictionary a run, bottom to top; layers without a value are left out.

    The column ``layers`` gives the order, as names separated by spaces.

    >>> records = pd.DataFrame({"layers": ["f.1 f.2"], "n@f.2": [3.0], "n@f.1": [9.0]})
    >>> by_layer(records, "n")
    [{'f.1': 9.0, 'f.2': 3.0}]
    """
    orders = records["layers"] if "layers" in records else [""] * len(records)
    return [
        {layer: values[layer] for layer in str(order).split() if layer in values}
        for order, values in zip(orders, values_of(records, quantity), strict=True)
    ]
