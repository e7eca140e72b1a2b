"""Quantities of chapter 3, error against width.

Columns that are read, one row per run: ``family`` (``lenet``, ``vgg16``, ...), ``variant`` (``main``, or the
name of a ratio or variant), ``variant_kind`` (``main``, ``ratio``, ``variant``, or ``budget`` for the scan of
d2/d1 at fixed cost), ``d1``, ``ratio`` (d2/d1), ``budget`` (MACs that a budget run was fitted to),
``macs``, ``seed``, ``data``, ``accuracy`` and ``held_out`` (1 for a width that no fit may see).

All are pooled: a fit needs every width, so the interval comes from resampled seeds.  Fits are unweighted
least squares of log mean error on log width: a spread from two to five seeds is too uncertain to
weight by, and the resampling shows what it does to the fit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from filterwise.claims.quantities import has, joined, quantity

_COLUMNS = ("family", "variant", "variant_kind", "d1", "macs", "seed", "data", "accuracy")
CONSERVED_RATIO = 2.8  # side 28 over side 10 of LeNet's two convolutional outputs
TARGET_ERROR = 0.065  # a VGG-16-like error, the spec's target of the extrapolation


@dataclass(frozen=True)
class Curve:
    """Mean errors against width of one family and variant on one data set."""

    arm: str
    data: str
    device: str
    n: int
    width: np.ndarray
    error: np.ndarray
    macs: np.ndarray
    spread: np.ndarray | None  # standard error of each mean; None if some width has one seed only


def curves(
    records: pd.DataFrame,
    family: str | None = None,
    variant_kind: str | None = "main",
    data: str | None = None,
    held_out: bool = False,
) -> list[Curve]:
    """Mean error per width, one curve per family, variant and data set; two widths at least."""
    if not has(records, *_COLUMNS):
        return []
    runs = records[records["variant_kind"] != "budget"]
    runs = runs.assign(held_out=runs["held_out"].fillna(0) if has(runs, "held_out") else 0)
    for column, wanted in (("family", family), ("variant_kind", variant_kind), ("data", data)):
        if wanted is not None:
            runs = runs[runs[column] == wanted]
    runs = runs[runs["held_out"].astype(bool) == held_out].assign(error=1 - runs["accuracy"])
    found = []
    for (name, variant, where), group in runs.groupby(["family", "variant", "data"], sort=False):
        points = group.groupby("d1").agg(
            error=("error", "mean"), macs=("macs", "first"), n=("seed", "size"), sd=("error", "std")
        )
        if len(points) < (1 if held_out else 2):
            continue
        mean_error = points["sd"] / np.sqrt(points["n"])
        spread = mean_error.to_numpy() if (mean_error > 0).all() else None
        found.append(
            Curve(
                arm=f"{name} {variant}, {where}",
                data=str(where),
                device=joined(group["device"]) if has(group, "device") else "",
                n=int(points["n"].min()),
                width=points.index.to_numpy(dtype=float),
                error=points["error"].to_numpy(),
                macs=points["macs"].to_numpy(dtype=float),
                spread=spread,
            )
        )
    return found


def line(curve: Curve) -> tuple[float, float]:
    """Exponent rho (> 0 for a fall) and log prefactor of the straight line in log-log, unweighted."""
    slope, intercept = np.polyfit(np.log(curve.width), np.log(curve.error), 1)
    return -float(slope), float(intercept)


def r_squared(x: np.ndarray, y: np.ndarray) -> float:
    """R^2 of the straight line of y on x."""
    return float(stats.linregress(x, y).rvalue ** 2)


def quadratic_p(curve: Curve) -> float:
    """p-value of the quadratic term of log error in log width; not a number below four widths."""
    x, y = np.log(curve.width), np.log(curve.error)
    if len(x) < 4:
        return np.nan
    design = np.column_stack([np.ones_like(x), x, x**2])
    coefficients, *_ = np.linalg.lstsq(design, y, rcond=None)
    residual = y - design @ coefficients
    freedom = len(x) - 3
    variance = residual @ residual / freedom
    if variance < 1e-20:
        return 1.0 if abs(coefficients[2]) < 1e-8 else 0.0
    error = np.sqrt(variance * np.linalg.inv(design.T @ design)[2, 2])
    return float(2 * stats.t.sf(abs(coefficients[2]) / error, freedom))


def _table(rows: list[tuple[Curve, float, float]]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"arm": c.arm, "n": c.n, "value": value, "control": control, "data": c.data, "device": c.device}
            for c, value, control in rows
        ]
    )


@quantity("width_exponent", pooled=True, control="R^2 of a straight line in log width (no power law)")
def width_exponent(records: pd.DataFrame, family: str | None = None, data: str | None = None) -> pd.DataFrame:
    """Exponent rho of error = A d1^-rho."""
    chosen = curves(records, family, data=data)
    return _table([(c, line(c)[0], r_squared(np.log(c.width), c.error)) for c in chosen])


@quantity("width_fit_r2", pooled=True, digits=4, control="R^2 of a straight line in log width (no power law)")
def width_fit_r2(records: pd.DataFrame, family: str | None = None, data: str | None = None) -> pd.DataFrame:
    """R^2 of the straight line of log error on log d1."""
    chosen = curves(records, family, data=data)
    return _table(
        [
            (c, r_squared(np.log(c.width), np.log(c.error)), r_squared(np.log(c.width), c.error))
            for c in chosen
        ]
    )


@quantity("width_quadratic_p", pooled=True, control="number of widths")
def width_quadratic_p(
    records: pd.DataFrame, family: str | None = None, data: str | None = None
) -> pd.DataFrame:
    """p-value of a quadratic term in log d1: small means a bend or a plateau."""
    return _table([(c, quadratic_p(c), len(c.width)) for c in curves(records, family, data=data)])


@quantity("widths_measured", pooled=True, digits=0, control="octaves from the narrowest to the widest")
def widths_measured(
    records: pd.DataFrame, family: str | None = None, data: str | None = None
) -> pd.DataFrame:
    """Number of widths d1 on the curve."""
    chosen = curves(records, family, data=data)
    return _table([(c, len(c.width), np.log2(c.width.max() / c.width.min())) for c in chosen])


@quantity("widths_that_lower_the_error", pooled=True, digits=2, control="number of steps")
def widths_that_lower_the_error(records: pd.DataFrame, family: str | None = None) -> pd.DataFrame:
    """Share of steps from one width to the next that lower the mean error."""
    return _table(
        [(c, float((np.diff(c.error) < 0).mean()), len(c.error) - 1) for c in curves(records, family)]
    )


@quantity("width_for_error", pooled=True, digits=2, control="the same of the widest d1 measured")
def width_for_error(
    records: pd.DataFrame, family: str = "lenet", error: float = TARGET_ERROR
) -> pd.DataFrame:
    """log10 of the width d1* at which the fitted line reaches an error.

    Its logarithm, because d1* is exponentially sensitive to rho: intervals of d1* itself would reach below 0.
    """
    rows = []
    for curve in curves(records, family):
        rho, intercept = line(curve)
        if rho > 0:
            reached = (intercept - np.log(error)) / rho / np.log(10)
            rows.append((curve, float(reached), float(np.log10(curve.width.max()))))
    return _table(rows)


@quantity("held_out_error_ratio", pooled=True, control="width held out")
def held_out_error_ratio(records: pd.DataFrame, family: str = "lenet") -> pd.DataFrame:
    """Error measured at a wider, held-out d1 over the error that the fitted line predicts there."""
    rows = []
    held = {curve.arm: curve for curve in curves(records, family, held_out=True)}
    for curve in curves(records, family):
        if curve.arm in held:
            rho, intercept = line(curve)
            wider = held[curve.arm]
            predicted = np.exp(intercept - rho * np.log(wider.width[-1]))
            rows.append((wider, float(wider.error[-1] / predicted), wider.width[-1]))
    return _table(rows)
