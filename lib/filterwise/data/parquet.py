"""Image sets as parquet files in the Hugging Face layout, decoded once into the cache.

A file has a struct column ``img`` or ``image`` with ``bytes`` (an encoded picture) and ``path``, a column
``fine_label`` or ``label`` of integers, and the label names in the schema's metadata under ``huggingface``.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from filterwise.data import decoding
from filterwise.data.cache import Meta, create_images, finish
from filterwise.data.catalog import SetInfo
from filterwise.errors import DataError

log = logging.getLogger(__name__)

IMAGE_COLUMNS = ("img", "image")
LABEL_COLUMNS = ("fine_label", "label")  # CIFAR-100 has a coarse label beside the fine one


def find_files(root: Path, name: str, split: str) -> list[Path]:
    """The parquet files of a split below ``root/name`` (or ``root`` itself when it has that name), sorted.

    Raises DataError: one of them is a folder or a pipe.
    """
    for folder in [root / name] + ([root] if root.name == name else []):
        for pattern in ("{}.parquet", "{}-*.parquet", "*/{}.parquet", "*/{}-*.parquet"):
            files = sorted(folder.glob(pattern.format(split)))
            for file in files:
                if not file.is_file():  # a folder, a pipe that nobody writes to
                    raise DataError(f"{file}: not a regular file; a parquet file is expected")
            if files:
                return files
    return []


def fill(folder: Path, files: Sequence[Path], info: SetInfo, split: str, size: int | None = None) -> Meta:
    """Decode ``files`` into ``folder`` as `cache.cached` wants it.

    ``size`` is the side that sets of photographs are resized and cropped to.

    Raises DataError: names file and row: a broken or empty file, a missing column, a label out of range, an
    image that cannot be decoded, is too large, or is not of the size of the first.
    """
    opened = [_open(file) for file in files]
    label_names = _label_names(opened, info)
    rows = sum(table.metadata.num_rows for _, table, _ in opened)
    if rows == 0:
        raise DataError(f"{files[0]}: the file has no rows; {info.name} has images there")
    resize = (decoding.shorter_side_for(size), size) if size is not None else None
    largest = decoding.LARGEST_FIXED_SIDE if resize is None else decoding.LARGEST_PHOTO_SIDE
    labels = np.empty(rows, dtype=np.int64)
    images: np.memmap | None = None
    encodings: set[str] = set()
    done = 0
    with decoding.bombs_are_errors():
        for where, encoded, label in _rows(opened):
            if not isinstance(label, int) or not 0 <= label < len(label_names):
                known = f"0 to {len(label_names) - 1}"
                raise DataError(f"{where}: label {label!r} is out of range; {known} is expected")
            encoded = encoded if isinstance(encoded, bytes) else b""  # which is refused as such
            pixels, encoding = decoding.decode(encoded, where, info.shape[0], largest, resize)
            if images is None:
                images = create_images(folder, (rows, *pixels.shape))
            if pixels.shape != images.shape[1:]:
                raise DataError(
                    f"{where}: the image is {pixels.shape[2]}x{pixels.shape[1]} pixels; "
                    f"{images.shape[3]}x{images.shape[2]} is expected, as in the first row"
                )
            images[done], labels[done] = pixels, label
            encodings.add(encoding)
            done += 1
    if images is None or done != rows:
        raise DataError(f"{files[0]}: {done} rows could be read; its metadata promises {rows}")
    lossy = sorted(encoding.lower() for encoding in encodings if encoding in ("JPEG", "WEBP", "MPO"))
    title = f"{info.name} ({', '.join(lossy)})" if info.lossless and lossy else info.name
    where = "/".join(files[0].parts[-2:]) + (f" and {len(files) - 1} more" if len(files) > 1 else "")
    return finish(folder, info, split, images, labels, label_names, f"parquet {where}", title)


def _open(file: Path) -> tuple[Path, Any, tuple[str, str]]:
    """File, `pyarrow.parquet.ParquetFile`, and the names of its image and label columns."""
    # pyarrow is imported here because a set that is in the cache is loaded faster without it
    import pyarrow as pa
    import pyarrow.parquet as pq

    if file.stat().st_size == 0:
        raise DataError(f"{file}: the file is empty (0 bytes); a parquet file is expected")
    try:
        table = pq.ParquetFile(file)
        schema = table.schema_arrow
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{file}: not a readable parquet file, perhaps cut short: {_short(error)}") from None
    chosen = []
    for what, columns in (("image", IMAGE_COLUMNS), ("label", LABEL_COLUMNS)):
        present = [name for name in columns if name in schema.names]
        if not present:
            expected, found = " or ".join(map(repr, columns)), ", ".join(schema.names)
            raise DataError(f"{file}: no {what} column; {expected} is expected, the file has: {found}")
        if schema.names.count(present[0]) > 1:
            raise DataError(f"{file}: it has several columns {present[0]!r}; one is expected")
        chosen.append(present[0])
    image, label = chosen
    kind = schema.field(image).type
    if not pa.types.is_struct(kind) or kind.get_field_index("bytes") < 0:
        raise DataError(f"{file}: column {image!r} is {kind}; a struct with a field 'bytes' is expected")
    if not pa.types.is_integer(schema.field(label).type):
        raise DataError(f"{file}: column {label!r} is {schema.field(label).type}; integers are expected")
    return file, table, (image, label)


def _label_names(opened: Sequence[tuple[Path, Any, tuple[str, str]]], info: SetInfo) -> tuple[str, ...]:
    """From the first file's metadata; numbers as names when it has none."""
    file, table, (_, column) = opened[0]
    raw = (table.schema_arrow.metadata or {}).get(b"huggingface")
    try:
        names = json.loads(raw)["info"]["features"][column]["names"] if raw is not None else None
    except (ValueError, KeyError, TypeError):
        names = None
    if names is None:
        log.info("%s has no label names; numbers are used", file)
        return tuple(str(label) for label in range(info.labels))
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise DataError(f"{file}: the metadata's names of {column!r} are no list of strings: {names!r:.80}")
    return tuple(names)


def _rows(opened: Sequence[tuple[Path, Any, tuple[str, str]]]) -> Iterator[tuple[str, object, object]]:
    """Where (file and row), encoded image, label; row by row in the files' order."""
    import pyarrow as pa

    for file, table, (image, label) in opened:
        row = 0
        try:
            for batch in table.iter_batches(batch_size=1_000, columns=[f"{image}.bytes", label]):
                # taken apart column by column: a struct's own conversion to Python is several times slower
                pictures = batch.column(image).flatten()[0].to_pylist()
                for picture, number in zip(pictures, batch.column(label).to_pylist(), strict=True):
                    yield f"{file}, row {row}", picture, number
                    row += 1
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{file}, row {row}: cannot be read from here: {_short(error)}") from None


def _short(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
