"""What two families' networks cost at equal error, where both were measured (claim L4).

A width of one family was measured at its own error; what the other family costs there lies between two of its
widths. They are compared only where those two are at most an octave apart, and never beyond the ends of a
curve: a ratio between far widths, or on extrapolated lines, would be one of assumptions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import special

from filterwise.papers.power_law.error_curves import Curve

#: Neighbouring widths between which operations are interpolated are at most this factor apart.
OCTAVE = 2.0


class Comparison(NamedTuple):
    """Operations of one family over those of another at an error that both reach.

    ``at`` names the network that was measured there; ``log_ratio`` is natural, ``spread`` its standard error
    from the scatter between seeds (NaN if a family has one seed), with ``freedom`` degrees of freedom.
    """

    at: str
    error: float
    log_ratio: float
    spread: float
    freedom: int


def compare(one: Curve, other: Curve) -> list[Comparison]:
    """The ratio of multiply-accumulates, ``one`` over ``other``, at every error where both were measured."""
    found = [
        *(_at(one, width, other, 1.0) for width in range(len(one.width))),
        *(_at(other, width, one, -1.0) for width in range(len(other.width))),
    ]
    return [each for each in found if each is not None]


def _at(measured: Curve, place: int, other: Curve, sign: float) -> Comparison | None:
    """At the error of one width of ``measured``; None where the other has no two near widths around it."""
    error, theirs = measured.log_error[place], other.log_error
    for low in range(len(other.width) - 1):
        near = other.width[low + 1] <= OCTAVE * other.width[low] * (1 + 1e-9)
        if near and theirs[low] >= error >= theirs[low + 1] and theirs[low] > theirs[low + 1]:
            break
    else:
        return None
    step = theirs[low + 1] - theirs[low]
    share = (error - theirs[low]) / step
    macs = np.log(other.macs)
    slope = (macs[low + 1] - macs[low]) / step  # d log MAC / d log error, below 0
    cost = macs[low] + share * (macs[low + 1] - macs[low])
    (mine, freedom), (its, others) = _scatter(measured), _scatter(other)
    variance = mine**2 / measured.n + ((1 - share) ** 2 + share**2) * its**2 / other.n
    return Comparison(
        at=f"{measured.family} d1={measured.width[place]:g}",
        error=float(np.exp(error)),
        log_ratio=float(sign * (np.log(measured.macs[place]) - cost)),
        spread=float(abs(slope) * np.sqrt(variance)),
        freedom=min(freedom, others),
    )


def _scatter(curve: Curve) -> tuple[float, int]:
    """Standard deviation of one seed's log error about the mean at its width, and its degrees of freedom."""
    freedom = len(curve.width) * (curve.n - 1)
    if freedom == 0:
        return np.nan, 0
    return float(np.sqrt(np.log(curve.errors).var(axis=0, ddof=1).mean())), freedom


def band(found: Sequence[Comparison], level: float = 0.95) -> np.ndarray:
    """Ends of the intervals of all log ratios together (comparisons, 2): Bonferroni's, for a whole curve."""
    one = 1 - (1 - level) / max(len(found), 1)
    ends = []
    for each in found:
        quantile = float(special.stdtrit(each.freedom, 0.5 + one / 2)) if each.freedom else np.nan
        half = quantile * each.spread
        ends.append((each.log_ratio - half, each.log_ratio + half))
    return np.array(ends).reshape(-1, 2)


def nearest_to_equal(found: Sequence[Comparison]) -> float:
    """The log ratio nearest to 0 where all have one sign; NaN where the first family is dearer at one error
    and cheaper at another.

    It is the hardest of all comparisons for either answer, so picking it makes neither more likely.
    """
    ratios = [each.log_ratio for each in found]
    if min(ratios) > 0:
        return min(ratios)
    return max(ratios) if max(ratios) < 0 else np.nan
