"""Quantities of chapter 3 that compare curves: families, variants, ratios d2/d1 at fixed cost (L3 to L6)."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from filterwise.claims.quantities import has, joined, quantity
from filterwise.claims.quantities_power_law import (
    CONSERVED_RATIO,
    Curve,
    curves,
    line,
    quadratic_p,
    r_squared,
)

R2_NEEDED = 0.98
#: Two points lie on a line whatever they are; an exponent that is compared with another needs a third.
WIDTHS_NEEDED = 3
BEND_P = 0.05


def _pairs(records: pd.DataFrame, first: str, second: str) -> list[tuple[Curve, Curve]]:
    """The main curves of two families on the same data, of three widths at least."""
    ours, others = (
        [curve for curve in curves(records, family) if len(curve.width) >= WIDTHS_NEEDED]
        for family in (first, second)
    )
    by_data = {curve.data: curve for curve in others}
    return [(curve, by_data[curve.data]) for curve in ours if curve.data in by_data]


def _row(arm: str, both: tuple[Curve, Curve], value: float, control: float) -> dict[str, object]:
    return {
        "arm": f"{arm}, {both[0].data}",
        "n": min(curve.n for curve in both),
        "value": value,
        "control": control,
        "data": both[0].data,
        "device": joined(curve.device for curve in both),
    }


@quantity("exponent_difference", pooled=True, control="exponent of the first family")
def exponent_difference(records: pd.DataFrame, first: str = "vgg16", second: str = "lenet") -> pd.DataFrame:
    """Exponent rho of one family minus that of the other."""
    return pd.DataFrame(
        [
            _row(f"{first} - {second}", both, line(both[0])[0] - line(both[1])[0], line(both[0])[0])
            for both in _pairs(records, first, second)
        ]
    )


@quantity("exponents_agree", pooled=True, digits=0, control="absolute difference of the exponents")
def exponents_agree(
    records: pd.DataFrame, first: str = "vgg16", second: str = "lenet", within: float = 0.1
) -> pd.DataFrame:
    """1 if two families' exponents differ by at most 0.1 or their 95 % intervals (of the fits) overlap."""
    rows = []
    for both in _pairs(records, first, second):
        (one, half_one), (two, half_two) = (_exponent_and_half_interval(curve) for curve in both)
        gap = abs(one - two)
        rows.append(_row(f"{first} and {second}", both, float(gap <= max(within, half_one + half_two)), gap))
    return pd.DataFrame(rows)


def _exponent_and_half_interval(curve: Curve) -> tuple[float, float]:
    """Exponent and half the width of its 95 % interval from the scatter about the line; 0 for two points."""
    fit = stats.linregress(np.log(curve.width), np.log(curve.error))
    freedom = len(curve.width) - 2
    half = float(stats.t.ppf(0.975, freedom) * fit.stderr) if freedom > 0 else 0.0
    return -float(fit.slope), half


@quantity("macs_ratio_at_equal_error", pooled=True, digits=2, control="extrapolated to an error of 0.065")
def macs_ratio_at_equal_error(
    records: pd.DataFrame, first: str = "vgg16", second: str = "lenet", error: float = 0.065
) -> pd.DataFrame:
    """Operations of ``first`` over those of ``second`` at equal error: the smallest ratio."""
    rows = []
    for both in _pairs(records, first, second):
        low = max(curve.error.min() for curve in both)
        high = min(curve.error.max() for curve in both)
        if low >= high:
            continue
        grid = np.geomspace(low, high, 20)
        ratio = _macs_at(both[0], grid) / _macs_at(both[1], grid)
        beyond = _macs_on_line(both[0], error) / _macs_on_line(both[1], error)
        rows.append(_row(f"{first} / {second}", both, float(ratio.min()), float(beyond)))
    return pd.DataFrame(rows)


def _macs_at(curve: Curve, errors: np.ndarray) -> np.ndarray:
    """Operations at given errors, interpolated in log-log between measured widths."""
    order = np.argsort(curve.error)
    return np.exp(np.interp(np.log(errors), np.log(curve.error[order]), np.log(curve.macs[order])))


def _macs_on_line(curve: Curve, error: float) -> float:
    """Operations at the width that the line gives for an error; beyond the widest they grow as its square."""
    rho, intercept = line(curve)
    width = np.exp((intercept - np.log(error)) / rho)
    within = float(np.exp(np.interp(np.log(width), np.log(curve.width), np.log(curve.macs))))
    return within * max(1.0, float(width / curve.width.max()) ** 2)


@quantity("straight_variants", pooled=True, digits=0, control="variants measured")
def straight_variants(records: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Variants with R^2 >= 0.98 in log-log and no significant bend; ``kind`` is ``ratio`` or ``variant``."""
    found = curves(records, None, variant_kind=kind)
    if not found:
        return pd.DataFrame()
    straight = [
        curve
        for curve in found
        if len(curve.width) >= 4
        and r_squared(np.log(curve.width), np.log(curve.error)) >= R2_NEEDED
        and quadratic_p(curve) > BEND_P
    ]
    row = {"arm": f"every {kind}", "n": min(curve.n for curve in found), "value": float(len(straight))}
    row |= {"control": float(len(found)), "data": joined(curve.data for curve in found)}
    return pd.DataFrame([row | {"device": joined(curve.device for curve in found)}])


@quantity("variant_exponent_gap", pooled=True, control="variants measured")
def variant_exponent_gap(records: pd.DataFrame) -> pd.DataFrame:
    """Largest distance of a variant's exponent from the exponent of its family's main curve."""
    main = {(curve.arm.split()[0], curve.data): curve for curve in curves(records)}
    others = [c for kind in ("ratio", "variant") for c in curves(records, variant_kind=kind)]
    gaps = [
        (abs(line(curve)[0] - line(main[curve.arm.split()[0], curve.data])[0]), curve)
        for curve in others
        if (curve.arm.split()[0], curve.data) in main
    ]
    if not gaps:
        return pd.DataFrame()
    row = {
        "arm": "every ratio and variant",
        "n": min(curve.n for _, curve in gaps),
        "value": max(g for g, _ in gaps),
    }
    row |= {"control": float(len(gaps)), "data": joined(curve.data for _, curve in gaps)}
    return pd.DataFrame([row | {"device": joined(curve.device for _, curve in gaps)}])


@quantity(
    "conserved_ratio_excess", pooled=True, unit="standard deviations", digits=2, control="best ratio d2/d1"
)
def conserved_ratio_excess(records: pd.DataFrame) -> pd.DataFrame:
    """Error at d2/d1 = 2.8 minus the lowest of all ratios, in standard deviations, at the largest cost."""
    return _at_budget(records, _excess)


@quantity("low_ratio_penalty", pooled=True, control="best ratio d2/d1")
def low_ratio_penalty(records: pd.DataFrame, ratio: float = 0.7) -> pd.DataFrame:
    """Error at a small ratio d2/d1 minus the error at 2.8, at the largest cost."""
    return _at_budget(records, lambda means, _: _nearest(means, ratio) - _nearest(means, CONSERVED_RATIO))


def _nearest(means: pd.Series, ratio: float) -> float:
    """The error at the ratio that lies nearest on a log scale, within 15 %."""
    ratios = means.index.to_numpy(dtype=float)
    distance = np.abs(np.log(ratios / ratio))
    return float(means.iloc[distance.argmin()]) if distance.min() <= np.log(1.15) else np.nan


def _excess(means: pd.Series, spread: pd.Series) -> float:
    gap = _nearest(means, CONSERVED_RATIO) - float(means.min())
    if gap == 0:
        return 0.0
    best = float(spread.iloc[int(means.to_numpy().argmin())])
    return gap / best if best > 0 else np.nan


def _at_budget(records: pd.DataFrame, value) -> pd.DataFrame:  # type: ignore[no-untyped-def]
    if not has(records, "variant_kind", "ratio", "budget", "accuracy", "seed", "data"):
        return pd.DataFrame()
    runs = records[records["variant_kind"] == "budget"]
    rows = []
    for data, group in runs.groupby("data", sort=False):
        dearest = group[group["budget"] == group["budget"].max()]
        errors = (1 - dearest["accuracy"]).groupby(dearest["ratio"])
        means = errors.mean()
        if len(means) < 2:
            continue
        rows.append(
            {
                "arm": f"{dearest['budget'].iloc[0] / 1e6:.3g} million MACs, {data}",
                "n": int(errors.size().min()),
                "value": value(means, errors.std()),
                "control": float(means.idxmin()),
                "data": str(data),
                "device": joined(dearest.get("device", [""])),
            }
        )
    return pd.DataFrame(rows)
