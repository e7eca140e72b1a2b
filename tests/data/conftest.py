"""Tiny parquet files in the Hugging Face layout, and a cache of each test's own."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from picture_files import NAMES


@pytest.fixture(autouse=True)
def own_cache(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Path | None:
    """No test here reads or writes the user's cache, data folder or mirror, but for the local data's."""
    if request.node.get_closest_marker("local_data"):
        return None
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("FILTERWISE_CACHE", str(cache))
    monkeypatch.delenv("FILTERWISE_DATA", raising=False)
    monkeypatch.delenv("FILTERWISE_MIRROR", raising=False)
    return cache


@pytest.fixture
def write_parquet() -> Callable[..., Path]:
    def write(
        path: Path,
        pictures: Sequence[bytes | None],
        labels: Sequence[int | None],
        names: Sequence[str] | None = NAMES,
        image_column: str = "img",
        label_column: str = "label",
        extra: dict[str, Any] | None = None,
    ) -> Path:
        rows = [None if picture is None else {"bytes": picture, "path": None} for picture in pictures]
        kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        columns = {image_column: pa.array(rows, kind), label_column: pa.array(labels), **(extra or {})}
        table = pa.table(columns)
        if names is not None:
            features = {label_column: {"names": list(names), "_type": "ClassLabel"}}
            metadata = {"huggingface": json.dumps({"info": {"features": features}})}
            table = table.replace_schema_metadata(metadata)
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path, row_group_size=4)
        return path

    return write
