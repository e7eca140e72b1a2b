"""From records, one row a run, to the long tables that figures are drawn from."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pandas as pd

from filterwise.errors import ParameterError, near_miss

_KEPT = ("network", "seed", "data", "labels", "profile")


def layer_number(layer: object) -> int:
    """Position of a layer, from its number or its name.

    >>> layer_number("features.13"), layer_number(4)
    (13, 4)

    Raises
    ------
    ParameterError
        The name holds no number.
    """
    found = re.search(r"(\d+)\D*$", str(layer))
    if found is None:
        raise ParameterError(f"layer={layer!r} has no number; layers are named like 'features.8'")
    return int(found[1])


def by_layer(records: pd.DataFrame, quantities: Sequence[str]) -> pd.DataFrame:
    """Per-layer columns ``quantity@layer`` of records as one row per run and layer.

    Parameters
    ----------
    records : one row a run.
    quantities : names before the ``@``, such as ``probe_accuracy``.

    Returns
    -------
    DataFrame
        ``network``, ``seed`` and, where the records have them, ``data``, ``labels``, ``profile``;
        ``layer`` (the name), ``number`` (its position) and one column per quantity. Rows without any of them
        are left out.

    Raises
    ------
    ParameterError
        No column of that name; with the near miss.

    >>> records = pd.DataFrame({"network": ["vgg6"], "n@features.1": [9.0], "n@features.2": [4.0]})
    >>> by_layer(records, ["n"])[["network", "number", "n"]].values.tolist()
    [['vgg6', 1, 9.0], ['vgg6', 2, 4.0]]
    """
    split = {column: column.split("@", 1) for column in records.columns if "@" in column}
    known = sorted({quantity for quantity, _ in split.values()})
    for quantity in quantities:
        if quantity not in known:
            raise ParameterError(
                f"quantity={quantity!r} is in no column of the records; they have "
                f"{', '.join(known) or 'none per layer'}{near_miss(quantity, known)}"
            )
    kept = [column for column in _KEPT if column in records.columns]
    layers = sorted({layer for quantity, layer in split.values() if quantity in quantities}, key=layer_number)
    parts = []
    for layer in layers:
        part = records[kept].copy()
        part["layer"], part["number"] = layer, layer_number(layer)
        for quantity in quantities:
            part[quantity] = records.get(f"{quantity}@{layer}", float("nan"))
        parts.append(part.dropna(subset=list(quantities), how="all"))
    order = [*[column for column in ("network", "seed") if column in kept], "number"]
    return pd.concat(parts, ignore_index=True).sort_values(order, ignore_index=True, kind="stable")


def need(table: pd.DataFrame, *columns: str) -> None:
    """Raise unless ``table`` has rows and all ``columns``.

    Raises
    ------
    ParameterError
        Names the missing column and those that there are.
    """
    for column in columns:
        if column not in table.columns:
            present = [str(name) for name in table.columns]
            raise ParameterError(
                f"table has no column {column!r}; it has {', '.join(present)}{near_miss(column, present)}"
            )
    if table.empty:
        raise ParameterError("table has no rows; there is nothing to draw")


def mean_and_spread(table: pd.DataFrame, by: Sequence[str], value: str) -> pd.DataFrame:
    """Mean, standard deviation (0 for a single row) and number of rows of ``value`` per group.

    >>> table = pd.DataFrame({"layer": [1, 1, 2], "accuracy": [0.5, 0.7, 0.9]})
    >>> mean_and_spread(table, ["layer"], "accuracy")["mean"].round(2).tolist()
    [0.6, 0.9]
    """
    grouped = table.dropna(subset=[value]).groupby(list(by), sort=True)[value]
    found = grouped.agg(mean="mean", spread="std", runs="count").reset_index()
    return found.fillna({"spread": 0.0})
