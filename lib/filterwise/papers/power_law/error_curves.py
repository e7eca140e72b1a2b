"""Mean errors against width from the records of chapter 3, and the straight line in log-log through them.

Columns that are read, one row per run: ``family`` (``lenet``, ``vgg16``, ...), ``variant`` (``main``, or the
name of a ratio or variant), ``variant_kind`` (``main``, ``ratio``, ``variant``, or ``budget`` for the scan of
d2/d1 at fixed cost), ``d1``, ``ratio`` (d2/d1), ``budget`` (MACs that a budget run was fitted to),
``macs``, ``seed``, ``data``, ``accuracy`` and ``held_out`` (1 for a width that no fit may see).

Fits are unweighted least squares of log mean error on log width: a spread from two to five seeds is too
uncertain to weight by, and the resampling of seeds shows what it does to the fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from filterwise.claims.record_rows import has, joined, rows_of

_COLUMNS = ("family", "variant", "variant_kind", "d1", "macs", "seed", "data", "accuracy")


@dataclass(frozen=True)
class Curve:
    """Mean errors against width of one family and variant on one data set; ``n`` seeds at each width or more.

    ``width``, ``error`` and ``macs`` are arrays (widths,), narrowest first.
    """

    arm: str
    family: str
    data: str
    device: str
    n: int
    width: np.ndarray
    error: np.ndarray
    macs: np.ndarray

    @property
    def log_width(self) -> np.ndarray:
        return np.log(self.width)

    @property
    def log_error(self) -> np.ndarray:
        return np.log(self.error)


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
    arms: dict[tuple[str, str, str], dict[float, list[Any]]] = {}
    for run in rows_of(records, *_COLUMNS, "held_out", "device"):
        asked = family in (None, run.family) and data in (None, run.data)
        kind = variant_kind in (None, run.variant_kind) and run.variant_kind != "budget"
        if asked and kind and (run.held_out == 1) == held_out:
            by_width = arms.setdefault((run.family, run.variant, run.data), {})
            by_width.setdefault(float(run.d1), []).append(run)
    return [
        Curve(
            arm=f"{name} {variant}, {where}",
            family=name,
            data=where,
            device=joined(run.device or "" for runs in by_width.values() for run in runs),
            n=min(len(runs) for runs in by_width.values()),
            width=np.array(sorted(by_width)),
            error=np.array([1 - np.mean([r.accuracy for r in by_width[d1]]) for d1 in sorted(by_width)]),
            macs=np.array([float(by_width[d1][0].macs) for d1 in sorted(by_width)]),
        )
        for (name, variant, where), by_width in arms.items()
        if len(by_width) >= (1 if held_out else 2)
    ]


def line(curve: Curve) -> tuple[float, float]:
    """Exponent rho (> 0 for a fall) and log prefactor of the straight line in log-log, unweighted."""
    slope, intercept = np.polyfit(curve.log_width, curve.log_error, 1)
    return -float(slope), float(intercept)


def r_squared(x: np.ndarray, y: np.ndarray) -> float:
    """R^2 of the straight line of y on x."""
    return float(np.corrcoef(x, y)[0, 1] ** 2)


def last_term(curve: Curve, degree: int) -> tuple[float, float, int]:
    """Last coefficient of a polynomial of log error in log width, its standard error, degrees of freedom."""
    x, y = curve.log_width, curve.log_error
    design = np.vander(x, degree + 1, increasing=True)
    coefficients, *_ = np.linalg.lstsq(design, y, rcond=None)
    residual = y - design @ coefficients
    freedom = len(x) - degree - 1
    variance = residual @ residual / freedom if freedom > 0 else 0.0
    error = np.sqrt(variance * np.linalg.inv(design.T @ design)[-1, -1])
    return float(coefficients[-1]), float(error), freedom


def quadratic_p(curve: Curve) -> float:
    """p-value of the quadratic term of log error in log width; not a number below four widths."""
    if len(curve.width) < 4:
        return np.nan
    bend, error, freedom = last_term(curve, 2)
    if error < 1e-10:  # on the curve to the last digits
        return 1.0 if abs(bend) < 1e-8 else 0.0
    return float(2 * special.stdtr(freedom, -abs(bend) / error))


def row(curve: Curve, value: float, control: float) -> dict[str, Any]:
    """A row of a pooled quantity with one value a curve."""
    return row_of_all(curve.arm, [curve], value, control)


def row_of_all(arm: str, chosen: list[Curve], value: float, control: float) -> dict[str, Any]:
    """A row of a pooled quantity with one value for several curves."""
    about = {"arm": arm, "n": min(curve.n for curve in chosen)}
    about |= {"data": joined(c.data for c in chosen), "device": joined(c.device for c in chosen)}
    return {**about, "value": float(value), "control": float(control)}
