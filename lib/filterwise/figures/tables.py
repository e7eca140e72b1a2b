"""From records, one row a run, to the long tables that figures are drawn from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from filterwise.errors import ParameterError, near_miss
from filterwise.figures.captions import Shown
from filterwise.runs.layer_columns import split


class NothingToShow(ParameterError):
    """A table has no rows, or lacks a column that is asked for; a page then says what is to be recorded.

    >>> need(pd.DataFrame({"seed": [0]}), "layer")
    Traceback (most recent call last):
    filterwise.figures.tables.NothingToShow: table has no column 'layer'; it has seed
    """


_TEXT = ' class="fw-text"'
_KEPT = ("network", "seed", "data", "labels", "profile")


def layer_number(layer: object) -> int:
    """Position of a layer, from its number or its name.

    >>> layer_number("features.13"), layer_number(4)
    (13, 4)

    Raises ParameterError: the name holds no number.
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

    Returns ``network``, ``seed`` and, where the records have them, ``data``, ``labels``, ``profile``;
    ``layer`` (the name), ``number`` (its position) and one column per quantity. Rows without any of them are
    left out; no rows where there are no records.

    Raises ParameterError: no column of that name; with the near miss.

    >>> records = pd.DataFrame({"network": ["vgg6"], "n@features.1": [9.0], "n@features.2": [4.0]})
    >>> by_layer(records, ["n"])[["network", "number", "n"]].values.tolist()
    [['vgg6', 1, 9.0], ['vgg6', 2, 4.0]]
    """
    if records.empty:
        return pd.DataFrame(columns=["network", "seed", "layer", "number", *quantities])
    parts_of = [split(str(column)) for column in records.columns]
    known = sorted({quantity for quantity, part in parts_of if part})
    for quantity in quantities:
        if quantity not in known:
            raise ParameterError(
                f"quantity={quantity!r} is in no column of the records; they have "
                f"{', '.join(known) or 'none per layer'}{near_miss(quantity, known)}"
            )
    kept = [column for column in _KEPT if column in records.columns]
    layers = sorted(
        {part for quantity, part in parts_of if part and quantity in quantities}, key=layer_number
    )
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

    Raises NothingToShow: names the missing column and those that there are.
    """
    for column in columns:
        if column not in table.columns:
            present = [str(name) for name in table.columns]
            some = ", ".join(present[:12]) + (", ..." if len(present) > 12 else "")
            raise NothingToShow(f"table has no column {column!r}; it has {some}{near_miss(column, present)}")
    if table.empty:
        raise NothingToShow("table has no rows; there is nothing to draw")


def mean_and_spread(table: pd.DataFrame, by: Sequence[str], value: str) -> pd.DataFrame:
    """Mean, standard deviation (0 for a single row) and number of rows of ``value`` per group.

    >>> table = pd.DataFrame({"layer": [1, 1, 2], "accuracy": [0.5, 0.7, 0.9]})
    >>> mean_and_spread(table, ["layer"], "accuracy")["mean"].round(2).tolist()
    [0.6, 0.9]
    """
    grouped = table.dropna(subset=[value]).groupby(list(by), sort=True)[value]
    found = grouped.agg(mean="mean", spread="std", runs="count").reset_index()
    return found.fillna({"spread": 0.0})


def counted(count: int, noun: str, plural: str = "") -> str:
    """A number and its noun.

    >>> counted(1, "network"), counted(20000, "picture"), counted(2, "entry", "entries")
    ('1 network', '20,000 pictures', '2 entries')
    """
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def seeds_a_point(counts: Iterable[int]) -> str:
    """How many seeds the points of a curve have, in words.

    >>> seeds_a_point([3, 3]), seeds_a_point([1, 3, 2]), seeds_a_point([1])
    ('3 seeds', '1 to 3 seeds', '1 seed')
    """
    each = [int(count) for count in counts]
    least, most = min(each), max(each)
    return counted(most, "seed") if least == most else f"{least} to {counted(most, 'seed')}"


def seeds_named(seeds: Sequence[int]) -> str:
    """Which seeds, in words.

    >>> seeds_named([0]), seeds_named([0, 1, 2]), seeds_named([3, 1])
    ('seed 0', 'seeds 0 to 2', 'seeds 1 and 3')
    """
    found = sorted({int(seed) for seed in seeds})
    if len(found) == 1:
        return f"seed {found[0]}"
    if len(found) > 2 and found == list(range(found[0], found[-1] + 1)):
        return f"seeds {found[0]} to {found[-1]}"
    return f"seeds {', '.join(map(str, found[:-1]))} and {found[-1]}"


def shown(table: pd.DataFrame, digits: int | Mapping[str, int] = 3, index: bool | None = None) -> Shown:
    """A table as readers want it: whole numbers whole, thousands apart, nothing where nothing is known.

    A table that is wider than its column scrolls in its own box, with a shadow where there is more.

    Parameters
    ----------
    table : any columns; truth values read "yes" and "no".
    digits : after the point, for all columns or by column (others have 3); a number that would vanish at
        so many digits gets two significant ones.
    index : show the index as row heads; by default if it has a name or is not just a count.

    >>> table = pd.DataFrame({"images": [20000.0, None], "error": [0.25, 0.00004]})
    >>> cells = re.findall("<td[^>]*>(.*?)</td>", shown(table, digits=2).html)
    >>> cells
    ['20,000', '0.25', '', '4e-05']
    """
    places = {
        column: digits if isinstance(digits, int) else digits.get(column, 3) for column in table.columns
    }
    if index is None:
        index = any(table.index.names) or not isinstance(table.index, pd.RangeIndex)
    texts = [[_text(value, places[name]) for value in table[name]] for name in table.columns]
    heads = [" ".join(map(str, name)) if isinstance(name, tuple) else str(name) for name in table.columns]
    number = [all(map(_is_number, table[name].dropna())) for name in table.columns]
    rows = []
    for place, label in enumerate(table.index):
        labels = (label if isinstance(label, tuple) else (label,)) if index else ()
        words = [escape(_text(part, 3)) for part in labels]
        cells = [f'<th scope="row">{text}</th>' if text else "<td></td>" for text in words]
        for column, numeric in zip(texts, number, strict=True):
            cells.append(f"<td{'' if numeric else _TEXT}>{escape(column[place])}</td>")
        rows.append(f"<tr>{''.join(cells)}</tr>")
    corners = [str(name) if name is not None else "" for name in table.index.names] if index else []
    above = [f'<th scope="col">{escape(head)}</th>' if head else "<td></td>" for head in [*corners, *heads]]
    return Shown(
        '<div class="fw-table" role="region" tabindex="0" aria-label="table"><table class="dataframe">\n'
        f"<thead><tr>{''.join(above)}</tr></thead>\n<tbody>\n{chr(10).join(rows)}\n</tbody></table></div>",
        table.to_string(na_rep="", index=index),
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, (bool, np.bool_))


def _text(value: Any, digits: int) -> str:
    if value is None or value is pd.NaT or value is pd.NA or value != value:
        return ""
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if not _is_number(value):
        return str(value)
    if float(value).is_integer():
        return f"{int(value):,}".replace("-", "−")
    if abs(value) < 10.0**-digits:
        return f"{value:.2g}".replace("-", "−", int(value < 0))
    return f"{value:,.{digits if abs(value) < 1e4 else 0}f}".replace("-", "−")
