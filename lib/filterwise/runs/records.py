"""Records: what was measured, one row a job, kept as CSV beside small arrays; read and written here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from filterwise import files
from filterwise.errors import ParameterError, RunError, check_choice
from filterwise.parameters import PROFILES
from filterwise.runs.csv_tables import read_csv, write_csv

#: The columns that every record has, in this order; ``about`` the job and measured quantities follow.
COLUMNS = (
    "name", "network", "seed", "data", "labels", "epochs", "accuracy", "train_images", "test_images", "macs",
    "parameters", "best_accuracy", "runs", "seconds", "measure_seconds", "device", "precision",
    "memory_format", "engine", "threads", "torch", "recorded", "measure", "data_digest", "settings",
    "spec_key", "key", "code", "measure_code",
)  # fmt: skip
_TEXTS = ("name", "data_digest", "settings", "spec_key", "key", "code", "measure_code")


def table_path(chapter: str, profile: str, root: str | Path | None = None) -> Path:
    """The CSV file of a chapter and profile, whether it exists or not."""
    check_choice("profile", profile, PROFILES)
    return files.data_folder("records", root) / chapter / f"{profile}.csv"


def arrays_path(chapter: str, profile: str, spec_key: str, root: str | Path | None = None) -> Path:
    """The file of a record's arrays, whether it exists or not."""
    if not re.fullmatch(r"[0-9a-f]{12,}", str(spec_key)):
        raise ParameterError(f"spec_key={spec_key!r} must be at least 12 hexadecimal digits")
    return table_path(chapter, profile, root).with_name(f"{profile}-{spec_key[:12]}.npz")


def load_records(chapter: str, profile: str | None = None, root: str | Path | None = None) -> pd.DataFrame:
    """The records of a chapter, one row a job; an empty table if there are none.

    Parameters
    ----------
    chapter
        Such as ``"4-sfp"``.
    profile
        One of ``quick``, ``cifar``, ``short``, ``paper``; ``None`` reads all of them. The column ``profile``
        says which.
    root
        The folder of records; else the environment variable ``FILTERWISE_RECORDS``, else ``data/records``.

    Raises RunError if a file is there but is not a table of records.
    """
    tables = []
    for each in (profile,) if profile is not None else PROFILES:
        path = table_path(chapter, each, root)
        if path.is_file():
            table = _read(path)
            # Joined, not assigned: a table of hundreds of per-layer columns is slow to insert into.
            profiles = pd.Series(each, table.index, dtype="str", name="profile")
            tables.append(pd.concat([profiles, table], axis=1))
    if not tables:
        return pd.DataFrame(columns=["profile", *COLUMNS])
    return pd.concat(tables, ignore_index=True) if len(tables) > 1 else tables[0]


def _read(path: Path) -> pd.DataFrame:
    try:
        # digests such as 12345678 or 1e5 are text
        table = read_csv(path, dtype=dict.fromkeys(_TEXTS, "string"))
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

    The lock lies beside the table, so that recorders with other folders of runs wait for each other as well.

    Raises RunError if the row misses one of :data:`COLUMNS`.
    """
    missing = [column for column in COLUMNS if column not in row]
    if missing:
        raise RunError(f"a record needs {', '.join(map(repr, missing))}")
    path = table_path(chapter, profile, root)
    with files.lock(path.with_name(f".{profile}.lock")):
        kept = arrays_path(chapter, profile, row["spec_key"], root)
        if arrays:
            with files.atomic(kept) as temporary:
                np.savez_compressed(temporary, **arrays)  # type: ignore[arg-type]
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


def arrays(
    chapter: str, profile: str, spec_key: str, root: str | Path | None = None
) -> dict[str, np.ndarray]:
    """The arrays of a record.

    Raises RunError if there are none; the message says which records have some.
    """
    path = arrays_path(chapter, profile, spec_key, root)
    if not path.is_file():
        others = sorted(other.name for other in path.parent.glob(f"{profile}-*.npz"))
        raise RunError(f"{path} does not exist; arrays are kept in {', '.join(others) or 'no other file'}")
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}
