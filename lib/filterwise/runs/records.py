"""Records: what was measured, one row a run, kept as CSV beside small arrays; read, tidied and written
here."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from filterwise.files import checkout
from filterwise.errors import ParameterError, RunError, check_choice
from filterwise.runs import store
from filterwise.runs.tables import read_csv, write_csv

#: The chapters that have records; their short names are what follows the number.
CHAPTERS = ("1-pooling", "2-tree", "3-power-law", "4-sfp", "5-afcc", "6-rodib", "7-vit-shp")
PROFILES = ("quick", "cifar", "paper")

#: The columns that every record has, in this order; measured quantities follow.
COLUMNS = (
    "name", "network", "seed", "data", "labels", "epochs", "accuracy", "seconds", "measure_seconds", "device",
    "torch", "recorded", "data_digest", "settings", "spec_key", "key", "code", "measure_code",
)  # fmt: skip


def chapter_name(chapter: str) -> str:
    """The full name of a chapter, from it or from its short name.

    Raises
    ------
    ParameterError
        With the near miss, if there is no such chapter.

    >>> chapter_name("sfp"), chapter_name("3-power-law"), chapter_name("power_law")
    ('4-sfp', '3-power-law', '3-power-law')
    """
    for known in CHAPTERS:
        if str(chapter).replace("_", "-") in (known, known.split("-", 1)[1]):
            return known
    check_choice("chapter", chapter, CHAPTERS)
    raise AssertionError("unreachable")


def records_root(root: str | Path | None = None) -> Path:
    """Where records are: ``root``, else the environment variable ``FILTERWISE_RECORDS``, else
    ``data/records``."""
    given = root or os.environ.get("FILTERWISE_RECORDS")
    return Path(given).expanduser() if given else (checkout() or Path.cwd()) / "data" / "records"


def table_path(chapter: str, profile: str, root: str | Path | None = None) -> Path:
    """The CSV file of a chapter and profile, whether it exists or not."""
    check_choice("profile", profile, PROFILES)
    return records_root(root) / chapter_name(chapter) / f"{profile}.csv"


def arrays_path(chapter: str, profile: str, spec_key: str, root: str | Path | None = None) -> Path:
    """The file of a record's arrays, whether it exists or not."""
    if not re.fullmatch(r"[0-9a-f]{12,}", str(spec_key)):
        raise ParameterError(f"spec_key={spec_key!r} must be at least 12 hexadecimal digits")
    return table_path(chapter, profile, root).with_name(f"{profile}-{spec_key[:12]}.npz")


def load_records(chapter: str, profile: str | None = None, root: str | Path | None = None) -> pd.DataFrame:
    """The records of a chapter, one row a run; an empty table if there are none.

    Parameters
    ----------
    chapter
        Full or short name.
    profile
        One of ``quick``, ``cifar``, ``paper``; ``None`` reads all of them. The column ``profile`` says which.
    root
        The folder of records; default see :func:`records_root`.

    Raises
    ------
    RunError
        If a file is there but is not a table of records.
    """
    tables = []
    for each in (profile,) if profile is not None else PROFILES:
        path = table_path(chapter, each, root)
        if path.is_file():
            table = _read(path)
            # Joined, not assigned: a table of hundreds of per-layer columns is slow to insert into.
            tables.append(
                pd.concat([pd.Series(each, table.index, dtype="str", name="profile"), table], axis=1)
            )
    if not tables:
        return pd.DataFrame(columns=["profile", *COLUMNS])
    return pd.concat(tables, ignore_index=True) if len(tables) > 1 else tables[0]


def _read(path: Path) -> pd.DataFrame:
    texts = {column: "string" for column in ("name", "data_digest", "settings", "spec_key", "key", "code")}
    try:
        # digests such as 12345678 or 1e5 are text
        table = read_csv(path, dtype={**texts, "measure_code": "string"})
    except (ValueError, OSError) as error:
        raise RunError(f"{path} is not a table of records: {error}") from error
    missing = [column for column in COLUMNS if column not in table.columns]
    if missing:
        raise RunError(f"{path} is not a table of records: it has no column {', '.join(map(repr, missing))}")
    return table


def write_record(
    chapter: str,
    profile: str,
    row: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    root: str | Path | None = None,
) -> Path:
    """Add one row, or replace the row of the same ``spec_key``; arrays first, so that a row always has them.

    Raises
    ------
    RunError
        If the row misses one of :data:`COLUMNS`.
    """
    missing = [column for column in COLUMNS if column not in row]
    if missing:
        raise RunError(f"a record needs {', '.join(map(repr, missing))}")
    path = table_path(chapter, profile, root)
    with store.lock(store.runs_root(), f"records-{store.name_digest(path.resolve())}"):
        kept = arrays_path(chapter, profile, row["spec_key"], root)
        path.parent.mkdir(parents=True, exist_ok=True)
        if arrays:
            plain: Any = {name: _array(name, value) for name, value in arrays.items()}
            temporary = kept.with_name(f".{kept.stem}.{uuid.uuid4().hex}.npz")
            try:
                np.savez_compressed(temporary, **plain)
                os.replace(temporary, kept)
            finally:
                temporary.unlink(missing_ok=True)
        rows = pd.DataFrame([dict(row)])
        if path.is_file():
            table = _read(path)
            table = table[table["spec_key"] != row["spec_key"]]
            rows = pd.concat([table.astype(object), rows.astype(object)], ignore_index=True)
        quantities = [column for column in rows.columns if column not in COLUMNS]
        write_csv(rows[[*COLUMNS, *quantities]], path)
        if not arrays:
            kept.unlink(missing_ok=True)
    return path


def _array(name: str, value: object) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype == object:
        raise RunError(
            f"array {name!r} holds Python objects; only numbers, truth values and text can be kept"
        )
    return array


def arrays(
    chapter: str, profile: str, spec_key: str, root: str | Path | None = None
) -> dict[str, np.ndarray]:
    """The arrays of a record.

    Raises
    ------
    RunError
        If there are none; the message says which records have some.
    """
    path = arrays_path(chapter, profile, spec_key, root)
    if not path.is_file():
        others = sorted(other.name for other in path.parent.glob(f"{profile}-*.npz"))
        raise RunError(f"{path} does not exist; arrays are kept in {', '.join(others) or 'no other file'}")
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def tidy(records: pd.DataFrame) -> pd.DataFrame:
    """Per-layer quantities as a long table: what is not per layer, and ``layer``, ``quantity``, ``value``.

    Columns named ``quantity@layer`` turn into rows; empty cells (a layer that this network does not have) go.
    The order is that of the records, then of the columns.

    >>> wide = pd.DataFrame({"name": ["a"], "probe@features.1": [0.4], "probe@features.2": [0.6]})
    >>> tidy(wide)[["name", "layer", "quantity", "value"]].values.tolist()
    [['a', 'features.1', 'probe', 0.4], ['a', 'features.2', 'probe', 0.6]]
    """
    measured = [column for column in records.columns if "@" in column]
    others = [column for column in records.columns if column not in measured]
    order = {column: position for position, column in enumerate(measured)}
    long = records.reset_index(drop=True).reset_index(names="_record").melt(
        id_vars=["_record", *others], value_vars=measured, var_name="_column", value_name="value"
    )  # fmt: skip
    long = long.dropna(subset=["value"])
    long = long.assign(_order=long["_column"].map(order)).sort_values(["_record", "_order"], kind="stable")
    parts = [str(column).rpartition("@") for column in long["_column"]]
    long = long.assign(layer=[part[2] for part in parts], quantity=[part[0] for part in parts])
    return long[[*others, "layer", "quantity", "value"]].reset_index(drop=True)
