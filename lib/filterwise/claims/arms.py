"""What the papers' functions of records share: columns, the names of arms, the runs on all labels."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd


def has(records: pd.DataFrame, *columns: str) -> bool:
    """Whether the records carry all these columns."""
    return set(columns) <= set(records.columns)


def numbers(records: pd.DataFrame, column: str) -> list[float]:
    """One column as numbers; not-a-number where the records do not carry it."""
    return records[column].astype(float).tolist() if column in records else [np.nan] * len(records)


def texts(records: pd.DataFrame, column: str) -> list[str]:
    """One column as texts; empty where the records do not carry it."""
    return records[column].astype(str).tolist() if column in records else [""] * len(records)


def per_run(
    records: pd.DataFrame, values: Iterable[float], controls: Iterable[float] | None = None
) -> list[dict[str, Any]]:
    """Rows of a per-seed quantity with one value, and one control, per run.

    The arm is the network, its data and its number of labels; none without these columns.

    >>> records = pd.DataFrame({"network": ["vgg6"], "data": ["cifar10 (jpeg)"], "labels": [10], "seed": [0]})
    >>> per_run(records, [0.5])[0]["arm"]
    'vgg6, cifar10 (jpeg), 10 labels'
    """
    if not has(records, "network", "data", "labels", "seed"):
        return []
    about = records[["network", "data", "labels", "seed"]].itertuples(index=False)
    controls = controls or [np.nan] * len(records)
    return [
        {
            "arm": f"{network}, {data}, {int(labels)} labels",
            "seed": int(seed),
            "value": value,
            "control": control,
            "data": data,
            "device": device,
        }
        for (network, data, labels, seed), value, control, device in zip(
            about, values, controls, texts(records, "device"), strict=True
        )
    ]


def on_all_labels(records: pd.DataFrame) -> pd.DataFrame:
    """The runs on all labels of their data set.

    A run on fewer labels than its set has, or than another run on the same set, is left out.

    >>> records = pd.DataFrame({"data": ["cifar10 (jpeg)", "tiny-imagenet-100", "parts", "parts"],
    ...                         "labels": [10, 3, 3, 40]})
    >>> on_all_labels(records)["labels"].tolist()
    [10, 40]
    """
    if not has(records, "data", "labels"):
        return records
    most = records.groupby("data")["labels"].transform("max")
    known = records["data"].map({title: _labels_of_set(title) for title in records["data"].unique()})
    return records[(records["labels"] == most) & ~(records["labels"] < known)]


def _labels_of_set(title: str) -> float:
    """How many labels a set has by its title in the records; NaN for one made for any number, or unknown."""
    from filterwise import data

    name = str(title).split(" (")[0]
    if name not in data.names() or isinstance(data.describe(name).options.get("labels"), int):
        return np.nan
    return float(data.describe(name).labels)


def joined(values: Iterable[Any]) -> str:
    """Distinct values in order of appearance, as one text.

    >>> joined(["cpu", "cuda", "cpu"])
    'cpu; cuda'
    """
    return "; ".join(dict.fromkeys(str(value) for value in values))
