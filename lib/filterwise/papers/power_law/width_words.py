"""What chapter 3's tables say, in words: captions take every number from the table that is drawn."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from filterwise.measure.fitting import PowerLaw
from filterwise.papers.power_law import shared_filters
from filterwise.papers.power_law.fits import longer, macs_at_error, middle_errors


def fits_in_words(found: Mapping[str, PowerLaw]) -> str:
    """Exponents with their intervals, and whether the line bends.

    >>> from filterwise.measure import power_law
    >>> fits_in_words({"LeNet": power_law([2, 4, 8, 16], [0.5, 0.36, 0.25, 0.18], sigma=0.005)})
    'LeNet falls with exponent 0.49 (0.47 to 0.52), no bend shown'
    """
    said = []
    for curve, fit in found.items():
        low, high = fit.exponent_interval
        bend = "and bends" if fit.curved else "no bend shown"
        said.append(f"{curve} falls with exponent {fit.exponent:.2f} ({low:.2f} to {high:.2f}), {bend}")
    return "; ".join(said)


def gap_in_words(table: pd.DataFrame) -> str:
    """How far test error lies above training error at the narrowest and the widest network of each curve."""
    said = []
    for curve, part in table.groupby("curve", sort=False):
        gap = (part["error"] - part["train_error"]).groupby(part["d1"]).mean()
        said.append(
            f"{curve}'s gap goes from {gap.iloc[0]:.3f} at d1 = {gap.index[0]:g} "
            f"to {gap.iloc[-1]:.3f} at {gap.index[-1]:g}"
        )
    return "; ".join(said)


def held_in_words(table: pd.DataFrame) -> str:
    """What hollow points are, where a table has any.

    >>> held_in_words(pd.DataFrame({"held_out": [0]}))
    ''
    """
    return "; hollow points were kept out of the fit" if (table["held_out"] == 1).any() else ""


def cost_in_words(table: pd.DataFrame, found: Mapping[str, PowerLaw]) -> str:
    """What each family costs at the middle one of the errors of :func:`macs_at_error`."""
    (error,) = middle_errors(table, 1)
    costs = macs_at_error(table, found, error).iloc[:, -1]
    return f"an error of {error:g} costs " + ", ".join(
        f"{curve} {cost} million MACs" for curve, cost in costs.items()
    )


def longer_in_words(records: pd.DataFrame) -> str:
    """What two widths of :func:`longer` gain when they are trained for longer, and the slope between them."""
    table = longer(records).pivot_table(index="epochs", columns="d1", values="error")
    low, high = table.columns[0], table.columns[-1]
    gains = " and ".join(
        f"d1 = {width:g} gains {table[width].iloc[0] - table[width].iloc[-1]:.3f}" for width in (low, high)
    )
    slopes = np.log(table[low] / table[high]) / np.log(float(high) / float(low))
    told = " and ".join(f"{slope:.3f} after {epochs:g} epochs" for epochs, slope in slopes.items())
    return f"{gains}, and from one to the other the exponent is {told}"


def scan_in_words(records: pd.DataFrame) -> str:
    """How far ratios far from 2.8 lie above those near it at the largest cost, as claim L6 is judged."""
    said = []
    for scan in shared_filters.scans(records):
        below, above = (shared_filters.penalty(scan, side) for side in ("below", "above"))
        said.append(
            f"at {scan.budget / 1e6:.3g} million MACs the mean error at ratios near 2.8 is exceeded by "
            f"{below:.3f} at ratios far below and by {above:.3f} at ratios far above"
        )
    return "; ".join(said)


def scan_costs_in_words(scan: pd.DataFrame) -> str:
    """How far the networks of a scan miss their budgets.

    >>> scan_costs_in_words(pd.DataFrame({"macs": [84.0, 101.0], "budget": [100.0, 100.0]}))
    'between 16 % less and 1 % more than its budget'
    """
    missed = 100 * (scan["macs"] / scan["budget"] - 1)
    ends = (f"{abs(end):.0f} % {'less' if end < 0 else 'more'}" for end in (missed.min(), missed.max()))
    return "between {} and {} than its budget".format(*ends)


def cost_ratios_in_words(table: pd.DataFrame) -> str:
    """The range of ratios against each family of LeNets, from the largest error to the smallest."""
    said = []
    for against, part in table.sort_values("error", ascending=False).groupby("against", sort=False):
        both = part.iloc[0], part.iloc[-1]
        ends = [f"{end['ratio']:.2f} times as much at an error of {end['error']:.2f}" for end in both]
        said.append(f"beside {against} VGG-16 costs {ends[0]} and {ends[1]}")
    words = "; ".join(said)
    return words[:1].upper() + words[1:]
