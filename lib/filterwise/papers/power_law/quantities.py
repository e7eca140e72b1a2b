"""Quantities of chapter 3, error against width (claims L1 to L8); the columns are in ``error_curves``.

All are pooled: a fit needs every width, so the interval comes from resampled seeds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from filterwise.claims.record_rows import has, joined, rows_of
from filterwise.claims.registered import Rows, quantity
from filterwise.papers.power_law.cost_of_widths import CONSERVED_RATIO
from filterwise.papers.power_law.error_curves import (
    Curve,
    curves,
    last_term,
    line,
    quadratic_p,
    r_squared,
    row,
    row_of_all,
)

TARGET_ERROR = 0.065  # a VGG-16-like error, the target of the extrapolation
R2_NEEDED = 0.98
#: Two points lie on a line whatever they are; an exponent that is compared with another needs a third.
WIDTHS_NEEDED = 3
BEND_P = 0.05
NO_POWER_LAW = "R^2 of a straight line in log width (no power law)"

ByRatio = dict[float, np.ndarray]  # d2/d1 -> errors (runs,), ascending


@quantity("width_exponent", pooled=True, control=NO_POWER_LAW)
def width_exponent(records: pd.DataFrame, family: str | None = None, data: str | None = None) -> Rows:
    """Exponent rho of error = A d1^-rho."""
    chosen = curves(records, family, data=data)
    return [row(c, line(c)[0], r_squared(c.log_width, c.error)) for c in chosen]


@quantity("width_fit_r2", pooled=True, digits=4, control=NO_POWER_LAW)
def width_fit_r2(records: pd.DataFrame, family: str | None = None, data: str | None = None) -> Rows:
    """R^2 of the straight line of log error on log d1."""
    chosen = curves(records, family, data=data)
    return [row(c, r_squared(c.log_width, c.log_error), r_squared(c.log_width, c.error)) for c in chosen]


@quantity("width_quadratic_p", pooled=True, control="number of widths")
def width_quadratic_p(records: pd.DataFrame, family: str | None = None, data: str | None = None) -> Rows:
    """p-value of a quadratic term in log d1: small means a bend or a plateau."""
    return [row(c, quadratic_p(c), len(c.width)) for c in curves(records, family, data=data)]


@quantity("widths_measured", pooled=True, digits=0, control="octaves from the narrowest to the widest")
def widths_measured(records: pd.DataFrame, family: str | None = None, data: str | None = None) -> Rows:
    """Number of widths d1 on the curve."""
    chosen = curves(records, family, data=data)
    return [row(c, len(c.width), np.log2(c.width[-1] / c.width[0])) for c in chosen]


@quantity("widths_that_lower_the_error", pooled=True, digits=2, control="number of steps")
def widths_that_lower_the_error(records: pd.DataFrame, family: str | None = None) -> Rows:
    """Share of steps from one width to the next that lower the mean error."""
    return [row(c, (np.diff(c.error) < 0).mean(), len(c.error) - 1) for c in curves(records, family)]


@quantity("width_for_error", pooled=True, digits=2, control="the same of the widest d1 measured")
def width_for_error(records: pd.DataFrame, family: str = "lenet", error: float = TARGET_ERROR) -> Rows:
    """log10 of the width d1* at which the fitted line reaches an error.

    Its logarithm, because d1* is exponentially sensitive to rho: intervals of d1* itself would reach below 0.
    """
    fits = [(curve, *line(curve)) for curve in curves(records, family)]
    return [
        row(curve, (intercept - np.log(error)) / rho / np.log(10), np.log10(curve.width[-1]))
        for curve, rho, intercept in fits
        if rho > 0
    ]


@quantity("held_out_error_ratio", pooled=True, control="width held out")
def held_out_error_ratio(records: pd.DataFrame, family: str = "lenet") -> Rows:
    """Error measured at a wider, held-out d1 over the error that the fitted line predicts there."""
    rows = []
    held = {curve.arm: curve for curve in curves(records, family, held_out=True)}
    for curve in curves(records, family):
        if curve.arm in held:
            rho, intercept = line(curve)
            wider = held[curve.arm]
            predicted = np.exp(intercept - rho * np.log(wider.width[-1]))
            rows.append(row(wider, wider.error[-1] / predicted, wider.width[-1]))
    return rows


def _pairs(records: pd.DataFrame, first: str, second: str) -> list[tuple[Curve, Curve]]:
    """The main curves of two families on the same data, of three widths at least."""
    ours, others = (
        {curve.data: curve for curve in curves(records, family) if len(curve.width) >= WIDTHS_NEEDED}
        for family in (first, second)
    )
    return [(curve, others[data]) for data, curve in ours.items() if data in others]


def _pair_row(words: str, both: tuple[Curve, Curve], value: float, control: float) -> dict[str, Any]:
    return row_of_all(f"{words}, {both[0].data}", list(both), value, control)


@quantity("exponent_difference", pooled=True, control="exponent of the first family")
def exponent_difference(records: pd.DataFrame, first: str = "vgg16", second: str = "lenet") -> Rows:
    """Exponent rho of one family minus that of the other."""
    rows = []
    for both in _pairs(records, first, second):
        one, two = (line(curve)[0] for curve in both)
        rows.append(_pair_row(f"{first} - {second}", both, one - two, one))
    return rows


@quantity("exponents_agree", pooled=True, digits=0, control="absolute difference of the exponents")
def exponents_agree(
    records: pd.DataFrame, first: str = "vgg16", second: str = "lenet", within: float = 0.1
) -> Rows:
    """1 if two families' exponents differ by at most 0.1 or their 95 % intervals (of the fits) overlap."""
    rows = []
    for both in _pairs(records, first, second):
        (one, half_one), (two, half_two) = (_exponent_and_half_interval(curve) for curve in both)
        gap = abs(one - two)
        agree = gap <= max(within, half_one + half_two)
        rows.append(_pair_row(f"{first} and {second}", both, agree, gap))
    return rows


def _exponent_and_half_interval(curve: Curve) -> tuple[float, float]:
    """Exponent and half the width of its 95 % interval from the scatter about the line; 0 for two points."""
    slope, error, freedom = last_term(curve, 1)
    return -slope, float(special.stdtrit(freedom, 0.975)) * error if freedom > 0 else 0.0


@quantity("macs_ratio_at_equal_error", pooled=True, digits=2, control="extrapolated to an error of 0.065")
def macs_ratio_at_equal_error(
    records: pd.DataFrame, first: str = "vgg16", second: str = "lenet", error: float = TARGET_ERROR
) -> Rows:
    """Operations of one family over those of the other at equal error: the smallest ratio."""
    rows = []
    for one, two in _pairs(records, first, second):
        low = max(one.error.min(), two.error.min())
        high = min(one.error.max(), two.error.max())
        if low < high:
            grid = np.geomspace(low, high, 20)
            ratio = (_macs_at(one, grid) / _macs_at(two, grid)).min()
            beyond = _macs_on_line(one, error) / _macs_on_line(two, error)
            rows.append(_pair_row(f"{first} / {second}", (one, two), ratio, beyond))
    return rows


def _macs_at(curve: Curve, errors: np.ndarray) -> np.ndarray:
    """Operations at given errors, interpolated in log-log between measured widths."""
    order = np.argsort(curve.error)
    return np.exp(np.interp(np.log(errors), curve.log_error[order], np.log(curve.macs[order])))


def _macs_on_line(curve: Curve, error: float) -> float:
    """Operations at the width that the line gives for an error; beyond the widest they grow as its square."""
    rho, intercept = line(curve)
    width = np.exp((intercept - np.log(error)) / rho)
    within = float(np.exp(np.interp(np.log(width), curve.log_width, np.log(curve.macs))))
    return within * max(1.0, float(width / curve.width[-1]) ** 2)


@quantity("straight_variants", pooled=True, digits=0, control="variants measured")
def straight_variants(records: pd.DataFrame, kind: str) -> Rows:
    """Other ratios, or variants, with R^2 >= 0.98 in log-log and no significant bend."""
    found = curves(records, variant_kind=kind)
    straight = [
        curve
        for curve in found
        if len(curve.width) >= 4
        and r_squared(curve.log_width, curve.log_error) >= R2_NEEDED
        and quadratic_p(curve) > BEND_P
    ]
    return [row_of_all(f"every {kind}", found, len(straight), len(found))] if found else []


@quantity("variant_exponent_gap", pooled=True, control="variants measured")
def variant_exponent_gap(records: pd.DataFrame) -> Rows:
    """Largest distance of a variant's exponent from the exponent of its family's main curve."""
    main = {(curve.family, curve.data): line(curve)[0] for curve in curves(records)}
    others = [c for kind in ("ratio", "variant") for c in curves(records, variant_kind=kind)]
    others = [curve for curve in others if (curve.family, curve.data) in main]
    gaps = [abs(line(curve)[0] - main[curve.family, curve.data]) for curve in others]
    return [row_of_all("every ratio and variant", others, max(gaps), len(gaps))] if gaps else []


@quantity(
    "conserved_ratio_excess", pooled=True, unit="standard deviations", digits=2, control="best ratio d2/d1"
)
def conserved_ratio_excess(records: pd.DataFrame) -> Rows:
    """Error at d2/d1 = 2.8 minus the lowest of all ratios, in standard deviations, at the largest cost."""
    return _at_budget(records, _excess)


@quantity("low_ratio_penalty", pooled=True, control="best ratio d2/d1")
def low_ratio_penalty(records: pd.DataFrame, ratio: float = 0.7) -> Rows:
    """Error at a small ratio d2/d1 minus the error at 2.8, at the largest cost."""
    return _at_budget(records, lambda errors: _mean(errors, ratio) - _mean(errors, CONSERVED_RATIO))


def _mean(errors: ByRatio, ratio: float) -> float:
    """The mean error at the ratio that lies nearest on a log scale, within 15 %."""
    nearest = min(errors, key=lambda each: abs(np.log(each / ratio)))
    return float(errors[nearest].mean()) if abs(np.log(nearest / ratio)) <= np.log(1.15) else np.nan


def _best(errors: ByRatio) -> float:
    return min(sorted(errors), key=lambda ratio: errors[ratio].mean())


def _excess(errors: ByRatio) -> float:
    best = errors[_best(errors)]
    gap = _mean(errors, CONSERVED_RATIO) - float(best.mean())
    if gap == 0:
        return 0.0
    # a seed drawn several times has no spread, whatever the last digit of a mean says
    return gap / float(best.std(ddof=1)) if np.ptp(best) > 0 else np.nan


def _at_budget(records: pd.DataFrame, value: Callable[[ByRatio], float]) -> Rows:
    """A function of the errors (runs,) by ratio, at the largest cost."""
    if not has(records, "variant_kind", "ratio", "budget", "accuracy", "seed", "data"):
        return []
    runs = rows_of(records, "variant_kind", "ratio", "budget", "accuracy", "data", "device")
    runs = [run for run in runs if run.variant_kind == "budget"]
    rows = []
    for data in dict.fromkeys(run.data for run in runs):
        budget = max(run.budget for run in runs if run.data == data)
        dearest = [run for run in runs if run.data == data and run.budget == budget]
        errors = {
            ratio: np.array([1 - run.accuracy for run in dearest if run.ratio == ratio])
            for ratio in sorted({run.ratio for run in dearest})
        }
        if len(errors) >= 2:
            rows.append(
                {
                    "arm": f"{budget / 1e6:.3g} million MACs, {data}",
                    "n": min(len(each) for each in errors.values()),
                    "value": value(errors),
                    "control": float(_best(errors)),
                    "data": data,
                    "device": joined(run.device or "" for run in dearest),
                }
            )
    return rows
