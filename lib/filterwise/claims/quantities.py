"""The registry of quantities: functions from one profile's records to values per arm and seed.

A *quantity* turns the records of one chapter and profile into numbers that a claim is judged by.  An *arm* is
one network on one data set with one number of labels, or one comparison.  Two kinds exist:

per seed
    returns a table with the columns ``arm, seed, value, control, data, device``; the interval is taken over
    the seeds.
pooled
    needs all seeds at once, such as a fit to mean errors; returns ``arm, n, value, control, data, device``
    and is evaluated again on resampled seeds for its interval.

A quantity whose columns are not in the records returns an empty table: "not measured".
"""

from __future__ import annotations

import importlib
import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from filterwise import data
from filterwise.errors import ParameterError, near_miss

PER_SEED = ("arm", "seed", "value", "control", "data", "device")
POOLED = ("arm", "n", "value", "control", "data", "device")

_CHAPTER_MODULES = (
    "quantities_sfp",
    "quantities_sfp_labels",
    "quantities_pooling",
    "quantities_power_law",
    "quantities_families",
)
Row = Mapping[Any, Any]  # one record
_registry: dict[str, Quantity] = {}


@dataclass(frozen=True)
class Quantity:
    """A registered function of the records.

    Attributes
    ----------
    name : str
    function : callable
        ``function(records, **options)`` -> table, see the module's docstring.
    unit : str
        Shown after the value; empty for a plain number.
    control : str
        What the control column holds, in words; empty if there is none.
    pooled : bool
    digits : int
        Digits after the point when shown.
    """

    name: str
    function: Callable[..., pd.DataFrame]
    unit: str
    control: str
    pooled: bool
    digits: int

    @property
    def says(self) -> str:
        """The first line of the function's docstring."""
        return (inspect.getdoc(self.function) or "").split("\n", maxsplit=1)[0]


def quantity(
    name: str, *, unit: str = "", control: str = "", pooled: bool = False, digits: int = 3
) -> Callable[[Callable[..., pd.DataFrame]], Callable[..., pd.DataFrame]]:
    """Register a function as the quantity ``name``.

    Raises
    ------
    ParameterError
        If the name is taken.
    """

    def register(function: Callable[..., pd.DataFrame]) -> Callable[..., pd.DataFrame]:
        if name in _registry and _registry[name].function.__qualname__ != function.__qualname__:
            raise ParameterError(f"quantity={name!r} is registered already")
        _registry[name] = Quantity(name, function, unit, control, pooled, digits)
        return function

    return register


def names() -> tuple[str, ...]:
    """All registered quantities.

    >>> "probe_rank_correlation" in names()
    True
    """
    for module in _CHAPTER_MODULES:
        importlib.import_module(f"filterwise.claims.{module}")
    return tuple(sorted(_registry))


def get(name: str) -> Quantity:
    """One quantity by name.

    Raises
    ------
    ParameterError
        Names the near miss.
    """
    known = names()
    if name not in known:
        raise ParameterError(f"quantity={name!r} is not registered{near_miss(name, known)}")
    return _registry[name]


def check(name: str, options: Mapping[str, Any], where: str) -> None:
    """Raise unless ``name`` is registered and takes ``options``.

    Raises
    ------
    ParameterError
        Starts with ``where``; names the near miss.
    """
    known = names()
    if name not in known:
        raise ParameterError(f"{where}: unknown quantity {name!r}{near_miss(name, known)}")
    parameters = list(inspect.signature(_registry[name].function).parameters.values())[1:]
    allowed = [parameter.name for parameter in parameters]
    for option in options:
        if option not in allowed:
            raise ParameterError(
                f"{where}: quantity {name} has no option {option!r}{near_miss(option, allowed)}"
            )
    for parameter in parameters:
        if parameter.default is inspect.Parameter.empty and parameter.name not in options:
            raise ParameterError(f"{where}: quantity {name} needs the option {parameter.name!r}")


def measure(name: str, records: pd.DataFrame, options: Mapping[str, Any] | None = None) -> pd.DataFrame:
    """Evaluate one quantity; rows whose value is not a number are left out.

    Parameters
    ----------
    name : str
    records : DataFrame
        One row per run, one chapter and profile.
    options : mapping, optional

    Returns
    -------
    DataFrame
        Columns ``arm, seed, value, control, data, device`` or, pooled, with ``n`` for ``seed``.

    >>> records = pd.DataFrame({"network": ["n"], "data": ["d"], "labels": [2], "seed": [0]})
    >>> measure("probe_rank_correlation", records).empty  # no layer was measured
    True
    """
    found = get(name)
    columns = POOLED if found.pooled else PER_SEED
    records = records.reset_index(drop=True)  # tables that were joined repeat their row names
    table = found.function(records, **dict(options or {})) if len(records) else pd.DataFrame()
    table = table.reindex(columns=columns)
    table = table[pd.to_numeric(table["value"], errors="coerce").notna()]
    return table.reset_index(drop=True)


# ------------------------------------------------------------------ helpers for the chapters' functions


def has(records: pd.DataFrame, *columns: str) -> bool:
    """Whether the records carry all these columns."""
    return set(columns) <= set(records.columns)


def rows_of(records: pd.DataFrame) -> list[dict[Any, Any]]:
    """The records as dictionaries; many times faster than ``to_dict`` on hundreds of columns.

    >>> rows_of(pd.DataFrame({"seed": [0, 1], "data": ["a", "b"]}))
    [{'seed': 0, 'data': 'a'}, {'seed': 1, 'data': 'b'}]
    """
    columns = list(records.columns)
    return [dict(zip(columns, row, strict=True)) for row in records.astype(object).to_numpy()]


def arm_of(row: Row) -> str:
    """The name of a run's arm: network, data and number of labels.

    >>> arm_of(pd.Series({"network": "vgg6", "data": "cifar10 (jpeg)", "labels": 10}))
    'vgg6, cifar10 (jpeg), 10 labels'
    """
    return f"{row['network']}, {row['data']}, {int(row['labels'])} labels"


def on_all_labels(records: pd.DataFrame) -> pd.DataFrame:
    """The runs on all labels of their data set.

    A run on fewer labels than its set has, or than another run on the same set, is left out.

    >>> records = pd.DataFrame({"data": ["cifar10 (jpeg)", "tiny-imagenet-100", "parts", "parts"],
    ...                         "labels": [10, 3, 3, 40]})
    >>> on_all_labels(records)["labels"].tolist()
    [10, 40]
    """
    if not has(records, "data", "labels"):
        return records
    most = records.groupby("data")["labels"].transform("max")
    known = records["data"].map(_labels_of_set)
    return records[(records["labels"] == most) & ~(records["labels"] < known)]


def _labels_of_set(title: str) -> float:
    """How many labels a set has by its title in the records; NaN for one made for any number, or unknown."""
    name = str(title).split(" (")[0]
    if name not in data.names() or isinstance(data.describe(name).options.get("labels"), int):
        return np.nan
    return float(data.describe(name).labels)


def layers_of(row: Row, name: str) -> pd.Series:
    """The values of ``name@<layer>`` of one run, bottom to top, without layers that have none.

    The column ``layers`` gives the order, as names separated by spaces.

    >>> row = pd.Series({"layers": "features.1 features.2", "n@features.2": 3.0, "n@features.1": 9.0})
    >>> layers_of(row, "n").to_dict()
    {'features.1': 9.0, 'features.2': 3.0}
    """
    order = str(row["layers"]).split() if isinstance(row.get("layers"), str) else []
    values = {layer: float(row.get(f"{name}@{layer}", np.nan)) for layer in order}
    return pd.Series({layer: value for layer, value in values.items() if not math.isnan(value)}, dtype=float)


def per_run(
    records: pd.DataFrame,
    value: Callable[[Row], float],
    control: Callable[[Row], float] | None = None,
) -> pd.DataFrame:
    """A per-seed table with one value, and one control, per run."""
    if not has(records, "network", "data", "labels", "seed"):
        return pd.DataFrame()
    rows = [
        {
            "arm": arm_of(row),
            "seed": int(row["seed"]),
            "value": value(row),
            "control": control(row) if control else np.nan,
            "data": row["data"],
            "device": row.get("device", ""),
        }
        for row in rows_of(records)
    ]
    return pd.DataFrame(rows)


def joined(values: Iterable[Any]) -> str:
    """Distinct values in order of appearance, as one text.

    >>> joined(["cpu", "cuda", "cpu"])
    'cpu; cuda'
    """
    return "; ".join(dict.fromkeys(str(value) for value in values))
