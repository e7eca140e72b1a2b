"""The scan of d2/d1 at a fixed number of multiply-accumulates, pooled over ratios (claim L6).

A ratio that is said to minimise the error needs a valley: networks near it must be better than those far
below and than those far above. An integer d1 misses the budget, by most where it is smallest, so each error
is first set to the budget by the slope of the main curve's log error against log operations.

Columns that are read: those of :mod:`error_curves`, ``ratio`` (d2/d1) and ``budget`` (multiply-accumulates).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from filterwise.claims.record_rows import has, joined, rows_of
from filterwise.papers.power_law.cost_of_widths import CONSERVED_RATIO
from filterwise.papers.power_law.error_curves import balanced, curves

_COLUMNS = ("variant_kind", "ratio", "budget", "macs", "accuracy", "seed", "data")
#: Two seeds say so little of their own spread that a dearer scan of two does not replace one of three.
SEEDS_OF_A_SCAN = 3
#: Ratios within this factor of the conserved one are near it, those beyond the other are far from it.
NEAR, FAR = 1.5, 1.9
#: A quadratic goes through three ratios whatever they are.
FEWEST_RATIOS = 4


@dataclass(frozen=True)
class Scan:
    """Errors against d2/d1 at one cost; ``ratio`` (ratios,), ascending, ``errors`` (seeds, ratios)."""

    data: str
    device: str
    budget: float
    ratio: np.ndarray
    errors: np.ndarray

    @property
    def arm(self) -> str:
        return f"{self.budget / 1e6:.3g} million MACs, {self.data}"


def scans(records: pd.DataFrame) -> list[Scan]:
    """Each data set's scan at the largest cost, of the seeds that have every ratio.

    The largest cost is that of the scans with three seeds; while there is none, of those with the most.
    """
    if not has(records, *_COLUMNS):
        return []
    runs = rows_of(records, *_COLUMNS, "device", "train_images", "epochs")
    arms: dict[tuple[Any, ...], list[Any]] = {}
    for run in runs:
        if run.variant_kind == "budget":
            arms.setdefault((run.data, run.train_images, run.epochs, run.budget), []).append(run)
    slopes = {
        (curve.data, curve.images, curve.epochs): _cost_slope(curve.macs, curve.error)
        for curve in curves(records, "lenet")
    }
    best: dict[str, tuple[tuple[int, float], Scan]] = {}
    for (data, *trained, budget), members in arms.items():
        ratios, rows = balanced((run.seed, run.ratio, run) for run in members)
        slope = slopes.get((data, *trained), 0.0)
        errors = [[(1 - run.accuracy) * (budget / run.macs) ** slope for run in seed] for seed in rows]
        device = joined(run.device or "" for run in members)
        scan = Scan(data, device, budget, np.array(ratios), np.array(errors))
        rank = (min(len(rows), SEEDS_OF_A_SCAN), budget)
        if len(ratios) >= 2 and (data not in best or rank > best[data][0]):
            best[data] = (rank, scan)
    return [scan for _, scan in best.values()]


def _cost_slope(macs: np.ndarray, error: np.ndarray) -> float:
    """d log error / d log operations of a curve, at most 0."""
    return min(0.0, float(np.polyfit(np.log(macs), np.log(error), 1)[0]))


def penalty(scan: Scan, side: str) -> float:
    """Mean error at ratios far ``below`` or ``above`` 2.8 minus that of the ratios near it; NaN without any.

    The mean over ratios is one planned contrast: no ratio is picked by its error.
    """
    octaves = np.log(scan.ratio / CONSERVED_RATIO)
    near = np.abs(octaves) <= np.log(NEAR)
    far = octaves < -np.log(FAR) if side == "below" else octaves > np.log(FAR)
    if not near.any() or not far.any():
        return np.nan
    return float(scan.errors[:, far].mean() - scan.errors[:, near].mean())


def excess(scan: Scan) -> tuple[float, float]:
    """How far the error at 2.8 lies above the lowest, as a share, and the ratio where it is lowest.

    Both from a quadratic of log error in log ratio through all ratios, so that neither is one noisy mean;
    the lowest is looked for among the ratios scanned. NaN for fewer than four ratios.
    """
    if len(scan.ratio) < FEWEST_RATIOS:
        return np.nan, np.nan
    curve = np.polyfit(np.log(scan.ratio), np.log(scan.errors).mean(axis=0), 2)
    places = [np.log(scan.ratio[0]), np.log(scan.ratio[-1])]
    if curve[0] > 0:
        places.append(float(np.clip(-curve[1] / (2 * curve[0]), *places)))
    best = min(places, key=lambda place: np.polyval(curve, place))
    gap = np.polyval(curve, np.log(CONSERVED_RATIO)) - np.polyval(curve, best)
    return float(np.expm1(gap)), float(np.exp(best))
