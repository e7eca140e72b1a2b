"""The quantities that claims are judged by: functions from one profile's records to values per arm and seed.

An *arm* is one network on one data set with one number of labels, or one comparison. Two kinds exist:

per seed
    returns rows with ``arm, seed, value, control, data, device``; the interval is taken over the seeds.
pooled
    needs all seeds at once, such as a fit to mean errors; returns rows with ``arm, n, value, control, data,
    device`` and is evaluated again on resampled seeds for its interval; with ``images`` on resampled test
    images as well.

A row per seed may also have ``images``, its value image by image, float (test images,): see ``test_images``.

A quantity whose columns are not in the records returns no rows: "not measured". Each paper defines its own,
in ``papers/<name>/quantities.py``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from filterwise.errors import ParameterError, near_miss
from filterwise.registry import Registry

PER_SEED = ("arm", "seed", "value", "control", "data", "device")
POOLED = ("arm", "n", "value", "control", "data", "device")

Rows = list[dict[Any, Any]]
Function = Callable[..., Rows]

#: The quantities of all chapters, by name; :func:`quantity` registers one.
#:
#: >>> "tree_gain" in quantities.names()
#: True
quantities = Registry("quantity", "filterwise.papers.*.quantities")


@dataclass(frozen=True)
class Quantity:
    """A registered function of the records, ``function(records, **options)`` -> rows.

    >>> quantity_of("tree_gain").unit
    ''
    """

    name: str
    function: Function
    unit: str  # shown after the value; empty for a plain number
    control: str  # what the control column holds, in words; empty if there is none
    pooled: bool
    digits: int  # after the point when shown
    images: bool  # a pooled one that test images are resampled for: it rests on the column ``accuracy``
    words: Mapping[str, str]  # option=value, or option alone where it is true -> what it makes of the number

    @property
    def says(self) -> str:
        """The first line of the function's docstring."""
        return (inspect.getdoc(self.function) or "").split("\n", maxsplit=1)[0]

    def said(self, options: Mapping[str, Any]) -> str:
        """What it is a number of with these options, without a stop.

        >>> quantity_of("decoupled_minus_joint").said({"at": "smallest r"}).rpartition(", ")[2]
        'at the smallest r'
        """
        used = (name if value is True else f"{name}={value}" for name, value in options.items())
        return ", ".join([self.says.rstrip("."), *(self.words[each] for each in used if each in self.words)])


def quantity(
    name: str,
    *,
    unit: str = "",
    control: str = "",
    pooled: bool = False,
    digits: int = 3,
    images: bool = False,
    words: Mapping[str, str] | None = None,
) -> Callable[[Function], Function]:
    """Register a function as the quantity ``name``; the words are those of :class:`Quantity`.

    >>> from filterwise.claims.registered import quantities
    >>> "tree_gain" in quantities.names()
    True
    """
    facts = {"unit": unit, "control": control, "pooled": pooled, "digits": digits, "images": images}
    return quantities(name, **facts, words=words or {})


def quantity_of(name: str) -> Quantity:
    """One quantity by name; a :class:`ParameterError` names the near miss."""
    entry = quantities.get(name)
    return Quantity(name, entry.function, **entry.facts)


def check_use(name: str, options: Mapping[str, Any], where: str) -> None:
    """Raise a ParameterError that starts with ``where`` unless ``name`` is known and takes ``options``."""
    known = quantities.names()
    if name not in known:
        raise ParameterError(f"{where}: unknown quantity {name!r}{near_miss(name, known)}")
    parameters = list(inspect.signature(quantities.get(name).function).parameters.values())[1:]
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
    """A quantity of records (a row per run, one chapter and profile), without rows that are not a number.

    Returns columns ``arm, seed, value, control, data, device`` or, pooled, with ``n`` for ``seed``.

    >>> from filterwise.runs import load_records
    >>> options = {"network": "tree3 15/80", "regime": "online"}
    >>> list(measure("tree_gain", load_records("2-tree", "cifar"), options))[:3]
    ['arm', 'seed', 'value']
    """
    columns = POOLED if quantity_of(name).pooled else PER_SEED
    return pd.DataFrame(rows_found(name, records, options or {}), columns=columns)


def rows_found(name: str, records: pd.DataFrame, options: Mapping[str, Any]) -> Rows:
    """The rows of :func:`measure` without a table about them."""
    records = records.reset_index(drop=True)  # tables that were joined repeat their row names
    rows = quantities.get(name).function(records, **options) if len(records) else []
    return [row for row in rows if row["value"] == row["value"]]


def values_by_arm(name: str, records: pd.DataFrame, options: Mapping[str, Any]) -> dict[str, float]:
    """The values of a pooled quantity alone."""
    return {row["arm"]: float(row["value"]) for row in rows_found(name, records, options)}
