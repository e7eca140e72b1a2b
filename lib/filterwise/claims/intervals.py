"""Intervals of a mean over seeds (Student's t, the bootstrap), and over seeds and test images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product

import numpy as np
import pandas as pd
from scipy import special

RESAMPLES = 4000
POOLED_RESAMPLES = 400
IMAGE_RESAMPLES = 200
#: Seeds up to which all draws of seeds are taken: 5 ** 5 = 3125, of which 126 differ.
ALL_DRAWS = 5
#: Share of resampled seeds on which a quantity may be undefined.
UNDEFINED_DRAWS = 0.1


def mean_interval(
    values: np.ndarray,
    generator: np.random.Generator,
    method: str = "t",
    level: float = 0.95,
    resamples: int = RESAMPLES,
) -> tuple[float, float]:
    """Two-sided interval of the mean of ``values`` (n,); not a number for fewer than two.

    ``t``: mean +- t(n-1) s / sqrt(n). ``bootstrap``: percentiles of resampled means. With three values a
    resample repeats the smallest one three times with probability 1/27 > 2.5 %, so the 95 % interval reaches
    from the smallest value to the largest, which covers the mean three times of four only.

    >>> mean_interval(np.array([1.0, 2.0, 4.0]), np.random.default_rng(0), "bootstrap")
    (1.0, 4.0)
    """
    if len(values) < 2:
        return float("nan"), float("nan")
    if method == "t":
        quantile = special.stdtrit(len(values) - 1, 0.5 + level / 2)
        half = quantile * values.std(ddof=1) / np.sqrt(len(values))
        return float(values.mean() - half), float(values.mean() + half)
    draws = values[generator.integers(0, len(values), size=(resamples, len(values)))]
    # the mean of equal values need not be that value to the last bit, and a verdict at the bound would turn
    return _percentiles(np.clip(draws.mean(axis=1), values.min(), values.max()), level)


def image_half_width(by_image: np.ndarray, level: float = 0.95) -> float:
    """Half the interval that the sample of test images gives a mean of values (seeds, test images).

    In a crossed design X_si = m + a_s + b_i + e_si the mean square over images minus that of the remainder is
    n times the variance of b; the variance of e is in the spread over seeds already. One seed cannot tell b
    from e, and its whole spread over the images is taken.

    >>> one = np.array([[1.0, 0.0, 1.0, 0.0]])
    >>> round(image_half_width(one), 3), round(image_half_width(np.repeat(one, 3, axis=0)), 3)
    (0.566, 0.566)
    """
    seeds, images = by_image.shape
    means = by_image.mean(axis=0)
    of_images = seeds * float(means.var(ddof=1))
    if seeds > 1:
        rest = by_image - means - by_image.mean(axis=1, keepdims=True) + by_image.mean()
        of_images = max(of_images - float((rest**2).sum()) / ((seeds - 1) * (images - 1)), 0.0)
    return float(special.ndtri(0.5 + level / 2) * np.sqrt(of_images / (seeds * images)))


def widened(value: float, interval: tuple[float, float], half: float) -> tuple[float, float]:
    """An interval over seeds, widened by an independent source of chance whose half-width is ``half``.

    Each side is the root of the sum of squares (Zou and Donner's recovery of variances): never narrower than
    over seeds alone, and right where one of the two sources is absent.

    >>> widened(1.0, (0.7, 1.3), 0.4)
    (0.5, 1.5)
    """
    low, high = interval
    return float(value - np.hypot(value - low, half)), float(value + np.hypot(high - value, half))


def _percentiles(draws: np.ndarray, level: float) -> tuple[float, float]:
    # "inverted_cdf" returns values that occur; interpolation would shrink the interval of three seeds
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf")
    return float(low), float(high)


def pooled_interval(
    value: float, draws: np.ndarray, n: int, method: str = "t", level: float = 0.95
) -> tuple[float, float]:
    """Interval of a pooled quantity of ``n`` seeds from its resampled values ``draws`` (resamples,).

    ``t``: value +- t(n-1) sd(draws) sqrt(n / (n-1)), because the spread of resamples of n seeds is too small
    by that root and few seeds need the wider quantile. ``bootstrap``: the percentiles of the draws. Without
    draws it is not a number.

    >>> low, high = pooled_interval(2.0, np.array([1.0, 2.0, 3.0]), n=3)
    >>> round(high - 2.0, 3), round(float(special.stdtrit(2, 0.975) * 1.5**0.5), 3)
    (5.27, 5.27)
    """
    if len(draws) == 0 or n < 2:
        return float("nan"), float("nan")
    if method == "bootstrap":
        return _percentiles(draws, level)
    half = special.stdtrit(n - 1, 0.5 + level / 2) * draws.std(ddof=1) * np.sqrt(n / (n - 1))
    return float(value - half), float(value + half)


def resampled(
    records: pd.DataFrame,
    evaluate: Callable[[pd.DataFrame], Mapping[str, float]],
    generator: np.random.Generator,
    resamples: int = POOLED_RESAMPLES,
) -> dict[str, np.ndarray]:
    """A pooled quantity evaluated on resampled seeds: arm -> its values (draws that have the arm,).

    Seeds (column ``seed``) are drawn with replacement; a seed drawn twice brings its runs twice. Of up to
    :data:`ALL_DRAWS` seeds every draw is taken, so that chance has no part in the interval; of more,
    ``resamples`` at random. On each that differs ``evaluate`` (records -> arm -> value) is called once. An
    arm whose quantity does not exist on a tenth of the draws or more has no values: those that remain are
    no random ones.
    """
    seeds = records["seed"].to_numpy()
    rows = [np.flatnonzero(seeds == seed) for seed in records["seed"].unique()]
    if len(rows) <= ALL_DRAWS:
        drawn = np.sort(list(product(range(len(rows)), repeat=len(rows))), axis=1)
    else:
        drawn = np.sort(generator.integers(0, len(rows), size=(resamples, len(rows))), axis=1)
    known: dict[tuple[int, ...], Mapping[str, float]] = {}
    found: dict[str, list[float]] = {}
    for draw in map(tuple, drawn.tolist()):
        if draw not in known:
            known[draw] = evaluate(records.iloc[np.concatenate([rows[i] for i in draw])])
        for arm, value in known[draw].items():
            found.setdefault(arm, []).append(value)
    values = {arm: np.array(each)[~np.isnan(each)] for arm, each in found.items()}
    return {arm: each for arm, each in values.items() if len(each) > (1 - UNDEFINED_DRAWS) * len(drawn)}
