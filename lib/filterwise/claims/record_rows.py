"""What the papers' functions of records share: columns and the names of arms."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np
import pandas as pd


def has(records: pd.DataFrame, *columns: str) -> bool:
    """Whether the records carry all these columns."""
    return all(column in records.columns for column in columns)


def numbers(records: pd.DataFrame, column: str) -> list[float]:
    """One column as numbers; not-a-number where the records do not carry it."""
    return records[column].astype(float).tolist() if column in records else [np.nan] * len(records)


def texts(records: pd.DataFrame, column: str) -> list[str]:
    """One column as texts; empty where the records do not carry it."""
    return records[column].astype(str).tolist() if column in records else [""] * len(records)


def rows_of(records: pd.DataFrame, *names: str) -> list[Any]:
    """Some columns as named tuples; ``None`` where the records do not carry one.

    A loop over tens of runs is many times faster than tables of them, and a claim is resampled often.
    """
    missing = [None] * len(records)
    columns = (records[name].tolist() if name in records else missing for name in names)
    return list(map(_row_type(names)._make, zip(*columns, strict=True)))


@cache
def _row_type(names: tuple[str, ...]) -> Any:
    return namedtuple("Row", names)


def per_run(
    records: pd.DataFrame,
    values: Iterable[float],
    controls: Iterable[float] | None = None,
    *,
    images: Iterable[np.ndarray | None] | None = None,
) -> list[dict[str, Any]]:
    """Rows of a per-seed quantity with one value, and one control, per run.

    ``images`` are as for :func:`compared`.

    The arm is the network, its data and its number of labels; no rows without these columns.
    """
    if not has(records, "network", "data", "labels", "seed"):
        return []
    controls = controls or [np.nan] * len(records)
    images = images or [None] * len(records)
    return [
        {
            "arm": f"{run.network}, {run.data}, {int(run.labels)} labels",
            "seed": int(run.seed),
            "value": value,
            "control": control,
            "data": run.data,
            "device": run.device or "",
            "images": by_image,
        }
        for run, value, control, by_image in zip(
            rows_of(records, "network", "data", "labels", "seed", "device"), values, controls, images,
            strict=True,
        )
    ]  # fmt: skip


def compared(
    arm: str, run: Any, value: float, control: float, images: np.ndarray | None = None
) -> dict[str, Any]:
    """One row of a per-seed quantity that compares runs; seed, data and device are those of ``run``, a row of
    records. ``images``: the value image by image, (test images,), if it is known."""
    about = {"data": run["data"], "device": run.get("device") or ""}
    row = {"arm": arm, "seed": int(run["seed"]), "value": float(value), "control": float(control), **about}
    return row if images is None else {**row, "images": images}


def with_dense(rows: pd.DataFrame) -> list[tuple[Any, pd.DataFrame]]:
    """Of retrained prunings, the dense network's row and all rows of each network, data set and seed; a group
    without a dense network is left out. The column ``criterion`` says what was kept."""
    found = []
    for _, group in rows.groupby(["network", "data", "seed"], sort=True) if len(rows) else ():
        dense = group[group["criterion"] == "dense"]
        if len(dense):
            found.append((dense.iloc[0], group))
    return found


def joined(values: Iterable[Any]) -> str:
    """Distinct values in order of appearance, as one text."""
    return "; ".join(dict.fromkeys(str(value) for value in values))
