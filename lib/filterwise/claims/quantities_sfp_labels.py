"""Quantities of chapter 4 that compare numbers of labels or networks (S5, S7, S8).

Columns that are read beside those of :mod:`filterwise.claims.quantities_sfp`: ``largest_error@K<k>`` and
``largest_label_error@K<k>``, the head-only errors at k of the K labels (largest over random subsets, and the
largest error of one label inside a problem).
"""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
from scipy import stats

from filterwise.claims.quantities import Row, has, joined, layers_of, per_run, quantity, rows_of

LABEL_COUNTS_NEEDED = 5
_AT_LABELS = re.compile(r"@K(\d+)$")


def errors_by_labels(row: Row, name: str) -> pd.Series:
    """The values of ``name@K<k>`` of one run, indexed by k in ascending order.

    >>> row = pd.Series({"largest_error@K10": 0.2, "largest_error@K3": 0.1})
    >>> errors_by_labels(row, "largest_error").to_dict()
    {3: 0.1, 10: 0.2}
    """
    found: dict[int, float] = {}
    for column, value in row.items():
        match = _AT_LABELS.search(str(column))
        if match and str(column).startswith(f"{name}@") and pd.notna(value):
            found[int(match.group(1))] = float(value)
    return pd.Series(dict(sorted(found.items())), dtype=float)


def _line(row: Row, name: str, part: str) -> float:
    errors = errors_by_labels(row, name)
    if len(errors) < LABEL_COUNTS_NEEDED or errors.nunique() < 2:
        return np.nan
    line = stats.linregress(errors.index.to_numpy(dtype=float), errors.to_numpy())
    return float(line.rvalue if part == "r" else line.slope)


@quantity("error_line_correlation", control="the other reading: largest error of one label")
def error_line_correlation(records: pd.DataFrame) -> pd.DataFrame:
    """Correlation r of the linear fit of the maximal error rate (over random label subsets) against K."""
    return per_run(
        records,
        lambda row: _line(row, "largest_error", "r"),
        lambda row: _line(row, "largest_label_error", "r"),
    )


@quantity(
    "error_line_slope", unit="a label", digits=4, control="the other reading: largest error of one label"
)
def error_line_slope(records: pd.DataFrame) -> pd.DataFrame:
    """Slope of the maximal error rate against K."""
    return per_run(
        records,
        lambda row: _line(row, "largest_error", "slope"),
        lambda row: _line(row, "largest_label_error", "slope"),
    )


@quantity("cluster_growth_with_labels", digits=2, control="K, most labels over fewest", pooled=True)
def cluster_growth_with_labels(records: pd.DataFrame) -> pd.DataFrame:
    """C_s and N_c at the last layer, most labels over fewest: the larger of the two ratios.

    One arm per network that was trained on several numbers of labels, and one per network whose heads were
    trained on subsets of the labels.
    """
    table = _last_layer(records, ["N_c", "C_s"])
    rows = []
    for network, group in [*table.groupby("network", sort=False), *_on_subsets(records)]:
        means = group.groupby("labels")[["N_c", "C_s"]].mean().sort_index()
        if len(means) < 2:
            continue
        rows.append(
            {
                "arm": str(network),
                "n": group.groupby("labels")["seed"].nunique().min(),
                "value": float((means.iloc[-1] / means.iloc[0]).max()),
                "control": float(means.index[-1]) / float(means.index[0]),
                "data": joined(group["data"]),
                "device": joined(group["device"]),
            }
        )
    return pd.DataFrame(rows)


@quantity("snr_follows_accuracy", digits=2, control="number of networks", pooled=True)
def snr_follows_accuracy(records: pd.DataFrame) -> pd.DataFrame:
    """Kendall's tau of the networks' accuracy and last-layer SNR_block, one arm per data set and K."""
    table = _last_layer(records, ["SNR_block"], keep=["accuracy"])
    rows = []
    for (data, labels), group in table.groupby(["data", "labels"], sort=False):
        means = group.groupby("network")[["accuracy", "SNR_block"]].mean()
        if len(means) < 2:
            continue
        rows.append(
            {
                "arm": f"{' / '.join(means.index)}, {data}, {labels} labels",
                "n": group.groupby("network")["seed"].nunique().min(),
                "value": float(stats.kendalltau(means["accuracy"], means["SNR_block"]).statistic),
                "control": float(len(means)),
                "data": str(data),
                "device": joined(group["device"]),
            }
        )
    return pd.DataFrame(rows)


def _on_subsets(records: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Clusters at the last layer of a frozen network for K of its labels, a table per network and data."""
    if not has(records, "network", "data", "seed"):
        return []
    rows = []
    for row in rows_of(records):
        sizes, numbers = (errors_by_labels(row, f"subset_{name}") for name in ("C_s", "N_c"))
        about = {name: row[name] for name in ("network", "data", "seed")} | {"device": row.get("device", "")}
        rows += [about | {"labels": k, "C_s": sizes[k], "N_c": numbers[k]} for k in sizes.index]
    if not rows:
        return []
    groups = pd.DataFrame(rows).groupby(["network", "data"], sort=False)
    return [(f"{one['network'].iloc[0]}, label subsets of {one['data'].iloc[0]}", one) for _, one in groups]


def _last_layer(records: pd.DataFrame, names: list[str], keep: list[str] | None = None) -> pd.DataFrame:
    """One row per run with the last layer's values; runs without them are left out."""
    columns = ["network", "data", "labels", "seed", "device", *(keep or []), *names]
    if not has(records, "network", "data", "labels", "seed", "layers", *(keep or [])):
        return pd.DataFrame(columns=columns)

    def last(row: Row, name: str) -> float:
        values = layers_of(row, name)
        return float(values.iloc[-1]) if len(values) else np.nan

    rows = [
        {
            "network": row["network"],
            "data": row["data"],
            "labels": row["labels"],
            "seed": row["seed"],
            "device": row.get("device", ""),
            **{name: row[name] for name in keep or []},
            **{name: last(row, name) for name in names},
        }
        for row in rows_of(records)
    ]
    return pd.DataFrame(rows, columns=columns).dropna(subset=[*names, "labels"]).astype({"labels": int})
