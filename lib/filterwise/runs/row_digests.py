"""A digest in each row of a table of records: a row that was changed after it was written is found.

It is over the values of the row's cells, by column; the order of columns, cells that are empty, and how a
number is written do not count.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Collection, Mapping
from pathlib import Path

from filterwise import files
from filterwise.runs.plain_values import canonical, digest

COLUMN = "row_digest"
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
        place = head.index(_BEFORE) + 1 if _BEFORE in head else len(head)
        head, *lines = [
            [*line[:place], own, *line[place:]]
            for line, own in zip([head, *lines], [COLUMN, *[""] * len(lines)], strict=True)
        ]
    place = head.index(COLUMN)
    for line in lines if last is None else lines[-last:]:
        line[place] = line[place] or row_digest(dict(zip(head, line, strict=True)), texts)
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerows([head, *lines])
    return out.getvalue()


def seal(root: str | os.PathLike[str] | None = None) -> list[str]:
    """Give a digest to every row below ``root`` (default: ``data/records``) that has none.

    For tables of a version that wrote none: they are believed as they are now. No other cell is changed.

    Returns a line for each table that was written.
    """
    from filterwise.runs.records import TEXTS, table_lock

    said = []
    for path in sorted(Path(files.data_folder("records", root)).glob("*/*.csv")):
        with table_lock(path):
            text = path.read_text(encoding="utf-8")
            without = judged(text, TEXTS).count(None)
            if without:
                with files.atomic(path) as temporary:
                    temporary.write_text(sealed(text, TEXTS), encoding="utf-8", newline="")
                said.append(f"{path}: {without} rows sealed")
    return said
