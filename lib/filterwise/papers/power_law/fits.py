"""Fits of chapter 3's curves, and the tables that its page shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from filterwise.errors import ParameterError
from filterwise.measure.fitting import PowerLaw, power_law
from filterwise.papers.power_law.cost_of_widths import lenet_macs, second_layer, vgg16_macs

FAMILIES = {"lenet": "LeNet", "vgg16": "VGG-16"}
#: Multiply-accumulates of a forward pass at any width; VGG-16's are those of its convolutions.
OPERATIONS: dict[str, Callable[[int], int]] = {
    "LeNet": lambda d1: lenet_macs(d1, second_layer(d1)),
    "VGG-16": vgg16_macs,
}
# What the page reads; a column that no record has yet is added without values.
_COLUMNS = (
    "family",
    "variant",
    "variant_kind",
    "network",
    "d1",
    "d2",
    "ratio",
    "budget",
    "held_out",
    "seed",
    "epochs",
    "accuracy",
    "train_accuracy",
    "macs",
    "parameters",
    "spec_key",
    "recorded",
)


def with_errors(records: pd.DataFrame) -> pd.DataFrame:
    """Records with ``error``, ``train_error`` and ``curve``, the name of what a row belongs to.

    >>> columns = ["family", "variant", "accuracy", "train_accuracy"]
    >>> records = pd.DataFrame([["lenet", "main", 0.75, 0.875]], columns=columns)
    >>> with_errors(records)[["curve", "error"]].values.tolist()
    [['LeNet', 0.25]]
    """
    records = records.reindex(columns=[*records.columns, *(c for c in _COLUMNS if c not in records.columns)])
    if records.empty:
        return records.assign(error=[], train_error=[], curve=[])
    names = records["family"].map(lambda family: FAMILIES.get(family, family))
    variants = records["variant"]
    curve = names.where(variants == "main", names + ", " + variants.astype(str))
    return records.assign(
        error=1 - records["accuracy"], train_error=1 - records["train_accuracy"], curve=curve
    )


def fits(table: pd.DataFrame, seed: int = 0) -> dict[str, PowerLaw]:
    """A power law for every curve with at least three widths; widths that are ``held_out`` are not used.

    Single runs are given to :func:`filterwise.measure.power_law`, so that intervals come from seeds where a
    curve has several, and from the scatter about the line where it has not.
    """
    seen = table[table["held_out"] == 0] if "held_out" in table else table
    found = {}
    for curve, part in seen.groupby("curve", sort=False):
        if part["d1"].nunique() >= 3:
            found[str(curve)] = power_law(part["d1"], part["error"], seed=seed)
    return found


def fit_table(found: dict[str, PowerLaw], target: float) -> pd.DataFrame:
    """The fits in rows: exponent, prefactor, R^2, curvature, the better of two shapes, and d1* for an error.

    Raises
    ------
    ParameterError
        If there is no fit, or the target is not between 0 and 1.
    """
    if not 0 < target < 1:
        raise ParameterError(f"target={target!r} is not an error between 0 and 1")
    if not found:
        raise ParameterError("there is no curve with three widths to fit")
    rows = []
    for curve, fit in found.items():
        width, least, most = (float(number) for number in fit.solve(target))
        rows.append(
            {
                "curve": curve,
                "widths": fit.points,
                "rho": fit.exponent,
                "rho, 95 %": "{:.3f} to {:.3f}".format(*fit.exponent_interval),
                "A": fit.prefactor,
                "R²": fit.r2,
                "curved": fit.curved,
                "p plateau": fit.curvature_p["plateau"],
                "p quadratic": fit.curvature_p["quadratic"],
                "AIC, logarithm - power": fit.aic["logarithm"] - fit.aic["power"],
                f"d1* for {target:g}": float(f"{width:.2g}"),
                "d1*, 95 %": f"{least:.2g} to {most:.2g}",
            }
        )
    return pd.DataFrame(rows).set_index("curve")


def held_out_table(table: pd.DataFrame, found: dict[str, PowerLaw]) -> pd.DataFrame:
    """Widths that no fit saw: the error measured, the line's with its interval, and their ratio."""
    rows = []
    held = table[table["held_out"] == 1]
    for (curve, d1), part in held.groupby(["curve", "d1"], sort=False):
        if curve not in found:
            continue
        value, low, high = (float(number) for number in found[curve].predict(float(str(d1)), runs=len(part)))
        mean = float(part["error"].mean())
        rows.append(
            {
                "curve": curve,
                "d1": d1,
                "n": len(part),
                "measured": mean,
                "line": value,
                "line, 95 %": f"{low:.3f} to {high:.3f}",
                "measured / line": mean / value,
            }
        )
    return pd.DataFrame(rows)


def macs_at_error(
    table: pd.DataFrame,
    found: Mapping[str, PowerLaw],
    errors: Sequence[float],
    operations: Mapping[str, Callable[[int], int]] = OPERATIONS,
) -> pd.DataFrame:
    """Million multiply-accumulates that each curve needs for an error: those of the width its line gives.

    Operations are counted at that width and not fitted: over narrow networks they do not yet grow as the
    square of the width, so that a line through them is wrong beyond. A cell is marked with ``*`` where the
    error lies outside the curve's measured range.
    """
    rows = {}
    for curve, part in table.groupby("curve", sort=False):
        if curve not in found or curve not in operations:
            continue
        means = part.groupby("d1")["error"].mean()
        widths = [max(1, round(float(found[str(curve)].solve(error).value))) for error in errors]
        cells = [f"{operations[str(curve)](width) / 1e6:.3g}" for width in widths]
        inside = [means.min() <= error <= means.max() for error in errors]
        rows[str(curve)] = [cell if seen else f"{cell} *" for cell, seen in zip(cells, inside, strict=True)]
    return pd.DataFrame.from_dict(rows, orient="index", columns=[f"{error:g}" for error in errors])


def middle_errors(table: pd.DataFrame, count: int = 3) -> list[float]:
    """Round errors spread over what all curves of a table reach, for :func:`macs_at_error`."""
    means = table.groupby(["curve", "d1"])["error"].mean().groupby("curve")
    low, high = float(means.min().max()), float(means.max().min())
    if low >= high:
        low, high = float(means.min().min()), float(means.max().max())
    return [float(f"{error:.2g}") for error in np.geomspace(low, high, count + 2)[1:-1]]


def longer(records: pd.DataFrame) -> pd.DataFrame:
    """The doubled trainings and, first, the plain ones of their widths; seed 0."""
    first = records[(records["seed"] == 0) & (records["family"] == "lenet") & (records["held_out"] == 0)]
    doubled = first[first["variant"] == "twice the epochs"]
    plain = first[(first["variant"] == "main") & first["d1"].isin(doubled["d1"])]
    return pd.concat([plain, doubled]).sort_values(["d1", "epochs"])


def longer_table(records: pd.DataFrame) -> pd.DataFrame:
    """Errors of :func:`longer` by epochs and width, and the slope between the two ends of width."""
    table = longer(records).pivot_table(index="epochs", columns="d1", values="error")
    if table.shape[1] < 2:
        return table[:0]
    low, high = table.columns[0], table.columns[-1]
    slope = np.log(table[low] / table[high]) / np.log(float(high) / float(low))
    return table.rename(columns=lambda d1: f"error at d1 = {d1}").assign(**{"slope between them": slope})


def scan_table(scan: pd.DataFrame) -> pd.DataFrame:
    """The networks behind the scan of d2/d1, one row a budget and ratio."""
    grouped = scan.groupby(["budget", "ratio"])
    found = grouped.agg(
        d1=("d1", "first"),
        d2=("d2", "first"),
        macs=("macs", "first"),
        error=("error", "mean"),
        n=("error", "size"),
    )
    found["macs"] /= 1e6
    return found.rename(columns={"macs": "million MACs"})
