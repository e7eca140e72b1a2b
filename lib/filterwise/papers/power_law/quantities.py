"""Quantities of chapter 3, error against width (claims L1 to L8); the columns are in ``error_curves``.

All are pooled: a fit needs every width, so the interval comes from resampled seeds and test images.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from filterwise.claims.registered import Rows, quantity
from filterwise.papers.power_law.equal_error import Comparison, compare, nearest_to_equal
from filterwise.papers.power_law.error_curves import (
    Curve,
    curves,
    judged,
    line,
    pairs,
    quadratic_p,
    r_squared,
    row,
    row_of_all,
)
from filterwise.papers.power_law.shared_filters import Scan, excess, penalty, scans

TARGET_ERROR = 0.065  # a VGG-16-like error, the target of the extrapolation
R2_NEEDED = 0.98
BEND_P = 0.05
#: A LeNet with batch norm, which VGG-16 has and a plain LeNet has not: the control of every comparison.
CONTROL_FAMILY = "lenet bn"
NO_POWER_LAW = "R^2 of a straight line in log width (no power law)"

_pooled = partial(quantity, pooled=True, images=True)


@_pooled("width_exponent", control=NO_POWER_LAW)
def width_exponent(
    records: pd.DataFrame, family: str | None = None, data: str | None = None, every: bool = False
) -> Rows:
    """Exponent rho of error = A d1^-rho.

    With ``every`` of all main curves, not only of those that claims are judged on.
    """
    chosen = curves(records, family, data=data) if every else judged(records, family, data)
    return [row(c, line(c)[0], r_squared(c.log_width, c.error)) for c in chosen]


@_pooled("width_fit_r2", digits=4, control=NO_POWER_LAW)
def width_fit_r2(
    records: pd.DataFrame, family: str | None = None, data: str | None = None, widths: int = 3
) -> Rows:
    """R^2 of the straight line of log error on log d1."""
    chosen = [c for c in judged(records, family, data) if len(c.width) >= widths]
    return [row(c, r_squared(c.log_width, c.log_error), r_squared(c.log_width, c.error)) for c in chosen]


@_pooled("width_quadratic_p", control="number of widths")
def width_quadratic_p(
    records: pd.DataFrame, family: str | None = None, data: str | None = None, widths: int = 4
) -> Rows:
    """p-value of a quadratic term in log d1, which is small for a bend or a plateau."""
    chosen = [c for c in judged(records, family, data) if len(c.width) >= widths]
    return [row(c, quadratic_p(c), len(c.width)) for c in chosen]


@_pooled("widths_that_lower_the_error", digits=2, control="number of steps")
def widths_that_lower_the_error(records: pd.DataFrame, family: str | None = None) -> Rows:
    """Share of steps from one width to the next that lower the mean error."""
    return [row(c, (np.diff(c.error) < 0).mean(), len(c.error) - 1) for c in judged(records, family)]


@_pooled("width_for_error", digits=2, control="the same of the widest d1 measured")
def width_for_error(records: pd.DataFrame, family: str = "lenet", error: float = TARGET_ERROR) -> Rows:
    """log10 of the width d1* at which the fitted line reaches an error.

    Its logarithm, because d1* is exponentially sensitive to rho: intervals of d1* itself would reach below 0.
    """
    fits = [(curve, *line(curve)) for curve in judged(records, family)]
    return [
        row(curve, (intercept - np.log(error)) / rho / np.log(10), np.log10(curve.width[-1]))
        for curve, rho, intercept in fits
        if rho > 0
    ]


@_pooled("held_out_error_ratio", control="width held out")
def held_out_error_ratio(records: pd.DataFrame, family: str = "lenet") -> Rows:
    """Error measured at a wider, held-out d1 over the error that the line predicts there, trained alike."""
    rows = []
    held = {curve.arm: curve for curve in curves(records, family, held_out=True)}
    for curve in curves(records, family):
        if curve.arm in held:
            rho, intercept = line(curve)
            wider = held[curve.arm]
            predicted = np.exp(intercept - rho * np.log(wider.width[-1]))
            rows.append(row(wider, wider.error[-1] / predicted, wider.width[-1]))
    return rows


@_pooled("exponent_difference", control="the same against a LeNet with batch norm")
def exponent_difference(
    records: pd.DataFrame, first: str = "vgg16", second: str = "lenet", widths: int = 3
) -> Rows:
    """Exponent rho of one family minus that of another, of enough widths on the same images."""
    controls = {one.data: line(one)[0] - line(two)[0] for one, two in pairs(records, first, CONTROL_FAMILY)}
    rows = []
    for both in pairs(records, first, second):
        if min(len(curve.width) for curve in both) >= widths:
            one, two = (line(curve)[0] for curve in both)
            control = controls.get(both[0].data, np.nan)
            rows.append(row_of_all(f"{first} - {second}, {_where(both[0])}", list(both), one - two, control))
    return rows


def _where(curve: Curve) -> str:
    """E.g. ``cifar10 (jpeg), 20,000 images``."""
    return curve.data if curve.images is None else f"{curve.data}, {int(curve.images):,} images"


def _compared(
    records: pd.DataFrame, first: str, second: str
) -> dict[str, tuple[list[Curve], list[Comparison]]]:
    """Two families at equal errors, by the images that they were trained on."""
    found = {}
    for one, two in pairs(records, first, second):
        comparisons = compare(one, two)
        if comparisons:
            found[_where(one)] = ([one, two], comparisons)
    return found


@_pooled("macs_ratio_at_equal_error", digits=2, control="error at which they are compared")
def macs_ratio_at_equal_error(
    records: pd.DataFrame, first: str = "vgg16", second: str = "lenet", control: str = CONTROL_FAMILY
) -> Rows:
    """Operations of one family over those of another at equal error: the largest and the smallest ratio.

    The other family and its control, at the errors where both were measured.
    """
    rows = []
    for other in (second, control):
        for where, (both, found) in _compared(records, first, other).items():
            for words, pick in (("largest", max), ("smallest", min)):
                one = pick(found, key=lambda each: each.log_ratio)
                arm = f"{first} / {other}, {words}, {where}"
                rows.append(row_of_all(arm, both, np.exp(one.log_ratio), one.error))
    return rows


@_pooled("macs_ratio_unless_mixed", digits=2, control="errors at which they are compared")
def macs_ratio_unless_mixed(
    records: pd.DataFrame, first: str = "vgg16", second: str = "lenet", control: str = CONTROL_FAMILY
) -> Rows:
    """Ratio of operations that is nearest to 1, unless it is above 1 at some errors and below at others.

    Against a family and its control together. Where the first family is dearer in one comparison and cheaper
    in another there is no row: neither "dearer" nor "cheaper" can be said.
    """
    plain, normed = (_compared(records, first, other) for other in (second, control))
    rows = []
    for where, (both, found) in plain.items():
        others, more = normed.get(where, ([], []))
        value = np.exp(nearest_to_equal([*found, *more]))
        arm = f"{first} / {second}, {where}"
        rows.append(row_of_all(arm, [*both, *others], value, len(found) + len(more)))
    return rows


@_pooled("straight_variants", digits=0, control="variants measured")
def straight_variants(records: pd.DataFrame, kind: str, needed: int = 2, widths: int = 4) -> Rows:
    """Other ratios, or variants, with R^2 >= 0.98 in log-log and no significant bend.

    Of those with so many widths; none until as many as are needed have been measured. All of them have to
    be straight, so the 5 % are shared out among all ratios and variants (Bonferroni).
    """
    every = {each: curves(records, variant_kind=each) for each in ("ratio", "variant")}
    tested = {each: [c for c in every[each] if len(c.width) >= widths] for each in every}
    found = tested[kind]
    if len(found) < needed:
        return []
    bend = BEND_P / max(1, sum(map(len, tested.values())))
    straight = [
        curve
        for curve in found
        if r_squared(curve.log_width, curve.log_error) >= R2_NEEDED and quadratic_p(curve) > bend
    ]
    return [row_of_all(f"of {len(found)} {kind}s", found, len(straight), len(found))]


@_pooled("variant_exponent_gap", control="widths that both have")
def variant_exponent_gap(records: pd.DataFrame) -> Rows:
    """Exponent of each ratio and variant minus that of its family's main curve at the same widths.

    Each is a row of its own and has to meet a condition by itself, so no largest gap is picked.
    """
    main = {_training(curve): curve for curve in curves(records)}
    rows = []
    for other in (c for kind in ("ratio", "variant") for c in curves(records, variant_kind=kind)):
        if _training(other) in main:
            both = [other.at(main[_training(other)].width), main[_training(other)].at(other.width)]
            if len(both[0].width) >= 3:
                one, two = (line(curve)[0] for curve in both)
                rows.append(row_of_all(other.arm, both, one - two, len(both[0].width)))
    return rows


def _training(curve: Curve) -> tuple[Any, ...]:
    return curve.family, curve.data, curve.images, curve.epochs


@_pooled("conserved_ratio_excess", control="best ratio d2/d1")
def conserved_ratio_excess(records: pd.DataFrame) -> Rows:
    """Share by which the error at d2/d1 = 2.8 lies above the lowest, by one fit over all ratios."""
    return [_scan_row(scan, *excess(scan)) for scan in scans(records)]


@_pooled("far_ratio_penalty", control="ratios scanned")
def far_ratio_penalty(records: pd.DataFrame) -> Rows:
    """Mean error at ratios d2/d1 far below, and far above, 2.8 minus that of the ratios near it."""
    return [
        {**_scan_row(scan, penalty(scan, side), len(scan.ratio)), "arm": f"{side} 2.8, {scan.arm}"}
        for scan in scans(records)
        for side in ("below", "above")
    ]


def _scan_row(scan: Scan, value: float, control: float) -> dict[str, Any]:
    about = {"arm": scan.arm, "n": len(scan.errors), "data": scan.data, "device": scan.device}
    return {**about, "value": value, "control": control}
