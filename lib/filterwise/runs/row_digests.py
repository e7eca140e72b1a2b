"""A digest in each row of a table of records: a row that was changed after it was written is found.

It is over the values of the row's cells, by column; the order of columns, cells that are empty, and how a
number is written do not count. One of the cells is the digest of the file of the row's arrays.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path

from filterwise import files
from filterwise.runs.plain_values import canonical, digest

COLUMN = "row_digest"
#: Column of the digest of the file of a row's arrays; empty where it has none.
ARRAYS = "arrays_digest"
_BEFORE = "measure_code"  # the last of the columns that every record has
#: Cells that pandas reads as missing, and writes back as empty.
_MISSING = {
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A",
    "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
}  # fmt: skip


class EditedRow(UserWarning):
    """A row of records is not what was written; it is not used."""


def row_digest(cells: Mapping[str, str], texts: Collection[str] = ()) -> str:
    """Digest (32 hex digits) of a row.

    Parameters
    ----------
    cells : column -> text as in the file.
    texts : columns whose texts are never numbers, such as ``0012``.

    >>> row_digest({"a": "1", "b": "x"}) == row_digest({"b": "x", "a": "1.0", "c": ""})
    True
    >>> row_digest({"a": "0.25"}) == row_digest({"a": "0.26"})
    False
    """
    values = {
        name: text if name in texts else _value(text)
        for name, text in cells.items()
        if name != COLUMN and text not in _MISSING
    }
    return digest(canonical(values))


def _value(text: str) -> str:
    try:
        return repr(float(text) + 0.0)  # one zero
    except ValueError:
        return text.capitalize() if text.lower() in ("true", "false") else text


def file_digest(path: Path) -> str:
    """Digest (32 hex digits) of a file's bytes; empty if there is no such file."""
    try:
        return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    except FileNotFoundError:
        return ""


def rows_of_text(text: str) -> list[dict[str, str]]:
    """The rows of a CSV text, every cell as it stands there; cells that a row lacks are empty."""
    return [
        {name: cell for name, cell in row.items() if isinstance(name, str) and isinstance(cell, str)}
        for row in csv.DictReader(io.StringIO(text, newline=""))
    ]


def judged(text: str, texts: Collection[str] = ()) -> list[bool | None]:
    """Of each row of a CSV text, whether its digest fits; ``None`` where it has none."""
    return [row[COLUMN] == row_digest(row, texts) if row.get(COLUMN) else None for row in rows_of_text(text)]


def sealed(text: str, texts: Collection[str] = (), last: int | None = None) -> str:
    """A CSV text with the digests of rows that have none, or of the ``last`` so many of them.

    All other cells, digests too, are as they were.
    """
    head, *lines = [line for line in csv.reader(io.StringIO(text, newline="")) if line]
    lines = [line + [""] * (len(head) - len(line)) for line in lines]
    if COLUMN not in head:
        head, *lines = _with_column(COLUMN, head, lines)
    place = head.index(COLUMN)
    for line in lines if last is None else lines[-last:]:
        line[place] = line[place] or row_digest(dict(zip(head, line, strict=True)), texts)
    return _csv_text([head, *lines])


def _csv_text(lines: list[list[str]]) -> str:
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerows(lines)
    return out.getvalue()


def _with_column(name: str, head: list[str], lines: list[list[str]]) -> list[list[str]]:
    """Head and lines with one more column, which is empty."""
    place = next((head.index(before) + 1 for before in (ARRAYS, _BEFORE) if before in head), len(head))
    cells = [name, *[""] * len(lines)]
    return [[*line[:place], own, *line[place:]] for line, own in zip([head, *lines], cells, strict=True)]


def with_arrays(text: str, digests: Callable[[str], str], texts: Collection[str] = ()) -> str:
    """A CSV text whose rows hold the digests of their arrays, which are asked for by spec key.

    Rows that have one, and rows that were edited, are as they were; a row that gets one loses its own digest.
    """
    head, *lines = [line for line in csv.reader(io.StringIO(text, newline="")) if line]
    if ARRAYS not in head:
        head, *lines = _with_column(ARRAYS, head, lines)
    for line, fits in zip(lines, judged(text, texts), strict=True):
        cells = dict(zip(head, line, strict=True))
        if fits is not False and not cells[ARRAYS] and (found := digests(cells["spec_key"])):
            line[head.index(ARRAYS)] = found
            if COLUMN in head:
                line[head.index(COLUMN)] = ""
    return _csv_text([head, *lines])


def seal(root: str | os.PathLike[str] | None = None) -> list[str]:
    """Give every row below ``root`` (default: ``data/records``) that has none a digest, and its arrays one.

    For tables of a version that wrote none: they are believed as they are now. No other cell is changed.

    Returns a line for each table that was written.
    """
    from filterwise.runs.records import TEXTS, table_lock

    said = []
    for path in sorted(Path(files.data_folder("records", root)).glob("*/*.csv")):
        with table_lock(path):
            text = path.read_text(encoding="utf-8")
            text = with_arrays(text, partial(_digest_beside, path), TEXTS)
            without = judged(text, TEXTS).count(None)
            if without:
                with files.atomic(path) as temporary:
                    temporary.write_text(sealed(text, TEXTS), encoding="utf-8", newline="")
                said.append(f"{path}: {without} rows sealed")
    return said


def _digest_beside(table: Path, spec_key: str) -> str:
    from filterwise.runs.records import arrays_beside

    return file_digest(arrays_beside(table, spec_key))
