"""Records: what was measured, one row a job, kept as CSV beside small arrays; read and written here."""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from filterwise import disk, files
from filterwise.errors import ParameterError, RunError, check_choice
from filterwise.parameters import PROFILES
from filterwise.runs import row_digests
from filterwise.runs.csv_tables import read_csv

#: The columns that every record has, in this order; the row's digest (in the file alone), ``about`` the job
#: and measured quantities follow.
COLUMNS = (
    "name", "network", "seed", "data", "labels", "epochs", "accuracy", "train_images", "test_images", "macs",
    "parameters", "best_accuracy", "runs", "seconds", "measure_seconds", "device", "precision",
    "memory_format", "engine", "threads", "torch", "recorded", "measure", "data_digest", "settings",
    "spec_key", "key", "code", "measure_code",
)  # fmt: skip
#: The column of what was varied in a job to tell why a claim failed; such rows are no evidence for it.
VARIED = "varied"
#: Columns of text, also where it looks like a number.
TEXTS = (
    "name", "data_digest", "settings", "spec_key", "key", "code", "measure_code", row_digests.ARRAYS,
)  # fmt: skip


def table_path(chapter: str, profile: str, root: str | Path | None = None) -> Path:
    """The CSV file of a chapter and profile, whether it exists or not."""
    check_choice("profile", profile, PROFILES)
    return files.data_folder("records", root) / chapter / f"{profile}.csv"


def arrays_path(chapter: str, profile: str, spec_key: str, root: str | Path | None = None) -> Path:
    """The file of a record's arrays, whether it exists or not."""
    if not re.fullmatch(r"[0-9a-f]{12,}", str(spec_key)):
        raise ParameterError(f"spec_key={spec_key!r} must be at least 12 hexadecimal digits")
    return arrays_beside(table_path(chapter, profile, root), spec_key)


def arrays_beside(table: Path, spec_key: str) -> Path:
    """The file of a record's arrays beside its table."""
    return table.with_name(f"{table.stem}-{spec_key[:12]}.npz")


def load_records(
    chapter: str, profile: str | None = None, root: str | Path | None = None, *, varied: bool = False
) -> pd.DataFrame:
    """The records of a chapter, one row a job; an empty table if there are none.

    A row that was changed after it was written, or whose arrays were changed or are gone, is left out, with
    a warning that names file and row.

    Parameters
    ----------
    chapter
        Such as ``"4-sfp"``.
    profile
        One of ``quick``, ``cifar``, ``short``, ``paper``; ``None`` reads all of them. The column ``profile``
        says which.
    root
        The folder of records; else the environment variable ``FILTERWISE_RECORDS``, else ``data/records``.
    varied
        Also the rows whose column ``varied`` is filled: a job once more with, say, more epochs, to tell why a
        claim failed. Verdicts do without them.

    Raises RunError if a file is there but is not a table of records.

    >>> load_records("4-sfp", "cifar")["profile"].unique().tolist()
    ['cifar']
    """
    tables = []
    for each in (profile,) if profile is not None else PROFILES:
        path = table_path(chapter, each, root)
        if path.exists():
            table = _checked(path)
            table = table if varied else without_varied(table)
            # Joined, not assigned: a table of hundreds of per-layer columns is slow to insert into.
            profiles = pd.Series(each, table.index, dtype="str", name="profile")
            tables.append(pd.concat([profiles, table], axis=1))
        elif left := len(list(path.parent.glob(f"{each}-*.npz"))):
            words = f"{path} is gone, though the arrays of {left} of its rows are there"
            warnings.warn(words, row_digests.EditedRow, stacklevel=2)
    if not tables:
        return pd.DataFrame(columns=["profile", *COLUMNS])
    return pd.concat(tables, ignore_index=True) if len(tables) > 1 else tables[0]


def without_varied(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that verdicts count: none in which something was varied to tell why a claim failed."""
    if VARIED not in table:
        return table
    return table[table[VARIED].isna()].drop(columns=VARIED).reset_index(drop=True)


def _checked(path: Path) -> pd.DataFrame:
    """The rows whose digests fit, and those that have none, without the digests."""
    table, text = _read(path)
    found = row_digests.judged(text, TEXTS)
    if len(found) != len(table):
        raise RunError(
            f"{path} is not a table of records: {len(found)} or {len(table)} rows, by who reads it"
        )
    if False in found:
        edited = _named(table, [place for place, fits in enumerate(found) if fits is False])
        words = f"{path}: changed after being written, and not used: {edited}"
        warnings.warn(words, row_digests.EditedRow, stacklevel=4)
    if None in found:
        old = _named(table, [place for place, fits in enumerate(found) if fits is None])
        how = "filterwise.runs.row_digests.seal() gives them one"
        warnings.warn(f"{path}: rows without a digest: {old}; {how}", stacklevel=4)
    given = table[row_digests.ARRAYS].fillna("") if row_digests.ARRAYS in table else [""] * len(table)
    # of an edited row not even the name of its file is to be trusted
    other = [
        bool(fits and digest) and row_digests.file_digest(arrays_beside(path, key)) != digest
        for fits, key, digest in zip(found, table["spec_key"], given, strict=True)
    ]
    if places := [place for place, is_other in enumerate(other) if is_other]:
        words = f"{path}: not used, as their arrays were changed or are gone: {_named(table, places)}"
        warnings.warn(words, row_digests.EditedRow, stacklevel=4)
    whole = [fits is not False and not is_other for fits, is_other in zip(found, other, strict=True)]
    without = [row_digests.COLUMN, row_digests.ARRAYS]
    return table[whole].reset_index(drop=True).drop(columns=without, errors="ignore")


def _named(table: pd.DataFrame, places: list[int]) -> str:
    """Rows by number, the first below the header being 1, and name."""
    shown = ", ".join(f"row {place + 1} ({table['name'].iloc[place]})" for place in places[:5])
    return shown + (f" and {len(places) - 5} more" if len(places) > 5 else "")


def _read(path: Path) -> tuple[pd.DataFrame, str]:
    """A table as it is, and the text of its file."""
    if not path.is_file():
        raise RunError(f"{path} is not a table of records: it is not a regular file")
    try:
        text = path.read_text(encoding="utf-8")
        # digests such as 12345678 or 1e5 are text
        table = read_csv(io.StringIO(text), dtype=dict.fromkeys((*TEXTS, row_digests.COLUMN), "string"))
    except (ValueError, OSError) as error:
        raise RunError(f"{path} is not a table of records: {error}") from error
    missing = [column for column in COLUMNS if column not in table.columns]
    if missing:
        raise RunError(f"{path} is not a table of records: it has no column {', '.join(map(repr, missing))}")
    return table, text


@contextlib.contextmanager
def table_lock(path: Path) -> Iterator[None]:
    """Hold a table, from any process and whatever its folder of runs: the lock lies beside what it guards.

    Temporary files of the table and its arrays that a killed process left are removed. Raises FolderError if
    the folder is full, or cannot be written to.
    """
    with disk.naming(path.parent), files.lock(path.with_name(f".{path.stem}.lock")):
        disk.forget_unfinished(path)
        disk.forget_unfinished(path.with_suffix(".npz"), f"{path.stem}-*")
        yield


def write_record(
    chapter: str,
    profile: str,
    row: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    root: str | Path | None = None,
) -> Path:
    """Add one row, or replace the row of the same ``spec_key``; arrays first, so that a row always has them.

    The row gets its digest. Other rows keep theirs: one that was edited stays one. A table without digests
    is of an older version, and gets them all.

    Raises RunError if the row misses one of :data:`COLUMNS`; FolderError if the folder is full, or cannot be
    written to.

    >>> import tempfile
    >>> filled = dict.fromkeys(COLUMNS, 0) | {"name": "one", "spec_key": "0123456789abcdef"}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = write_record("2-tree", "quick", filled, {"right": np.ones(3)}, folder)
    ...     load_records("2-tree", "quick", folder)["name"].tolist()
    ['one']
    """
    missing = [column for column in COLUMNS if column not in row]
    if missing:
        raise RunError(f"a record needs {', '.join(map(repr, missing))}")
    path = table_path(chapter, profile, root)
    with table_lock(path):
        kept = arrays_path(chapter, profile, row["spec_key"], root)
        of_arrays = ""
        if arrays:
            with files.atomic(kept) as temporary:
                np.savez_compressed(temporary, **arrays)  # type: ignore[arg-type]
                of_arrays = row_digests.file_digest(temporary)
        digests = {row_digests.ARRAYS: of_arrays, row_digests.COLUMN: ""}
        rows, last = pd.DataFrame([{**row, **digests}]), None
        if path.is_file():
            table, _ = _read(path)
            last = 1 if row_digests.COLUMN in table else None
            table = table[table["spec_key"] != row["spec_key"]]
            rows = pd.concat([table.astype(object), rows.astype(object)], ignore_index=True)
        first = [*COLUMNS, *digests]
        quantities = [column for column in rows.columns if column not in first]
        text = rows[[*first, *quantities]].to_csv(index=False)
        with files.atomic(path) as temporary:
            temporary.write_text(row_digests.sealed(text, TEXTS, last), encoding="utf-8", newline="")
        if not arrays:
            kept.unlink(missing_ok=True)
    return path


def arrays(
    chapter: str, profile: str, spec_key: str, root: str | Path | None = None
) -> dict[str, np.ndarray]:
    """The arrays of a record.

    Raises RunError if there are none, where the message says which records have some, or the file is damaged.

    >>> row = load_records("4-sfp", "cifar").iloc[0]
    >>> "right" in arrays("4-sfp", "cifar", row["spec_key"])
    True
    """
    path = arrays_path(chapter, profile, spec_key, root)
    if not path.is_file():
        others = sorted(other.name for other in path.parent.glob(f"{profile}-*.npz"))
        raise RunError(f"{path} does not exist; arrays are kept in {', '.join(others) or 'no other file'}")
    return arrays_of(path)


def arrays_of(path: Path, names: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """The arrays in a record's file, or those of these names that it has.

    Raises RunError if it is not there, or damaged.
    """
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return {name: file[name] for name in file.files if names is None or name in names}
    # numpy, zipfile and zlib have errors of their own for every place of the damage
    except Exception as error:
        raise RunError(f"{path} is damaged, or holds no arrays: {error}; record it again") from error
