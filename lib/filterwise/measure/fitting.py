"""A power law y = A x^-rho fitted to repeated measurements, with intervals and a test for curvature."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from filterwise.errors import ParameterError, check_at_least, check_count
from filterwise.measure.alternatives import LEVEL, Points, compare, polynomial

Array = NDArray[np.float64]

#: Runs at each x from which on the spread at an x is taken from that x alone.
OWN_SPREAD = 3


class Estimate(NamedTuple):
    """A value with the ends of its 95 % interval; arrays where several were asked for.

    >>> fit = power_law([1, 4, 16, 64], [0.8, 0.4, 0.2, 0.1], sigma=0.004)
    >>> foreseen = fit.predict(256)
    >>> bool(foreseen.low < foreseen.value < foreseen.high)
    True
    """

    value: float | Array
    low: float | Array
    high: float | Array


@dataclass(frozen=True, eq=False)
class PowerLaw:
    """The fit y = A x^-rho.

    Attributes
    ----------
    exponent, exponent_interval : rho, above 0 if y falls, and its 95 % interval
    prefactor, prefactor_interval : A
    r2 : weighted R^2 of log y on log x, over the means at each x
    curved : True if a plateau or a bend is significant (at 5 % for both tests together); then rho depends on
        the range of x and an extrapolation is not to be trusted
    curvature_p : p-values of ``quadratic`` and ``plateau``; NaN where there is too little to test
    floor : c of the best y = c + A x^-rho, c >= 0
    aic : Akaike's criterion (lower is better) of ``power``, ``plateau``, ``quadratic`` (in log-log) and
        ``logarithm`` (y = a - b log x)
    points : number of different x

    >>> fit = power_law([1, 4, 16, 64], [0.8, 0.4, 0.2, 0.1], sigma=0.004)
    >>> round(fit.exponent, 2), round(float(fit.predict(256).value), 3), fit.curved
    (0.5, 0.05, False)
    """

    exponent: float
    exponent_interval: tuple[float, float]
    prefactor: float
    prefactor_interval: tuple[float, float]
    r2: float
    curved: bool
    curvature_p: dict[str, float]
    floor: float
    aic: dict[str, float]
    points: int
    _draws: Array = field(repr=False)  # (bootstraps, 2): log A and rho
    _scatter: float = field(repr=False)  # spread of one run's log y at an x

    def predict(self, x: ArrayLike, runs: int | None = None) -> Estimate:
        """A x^-rho at one or more x, also outside the fitted range, with its 95 % interval.

        With ``runs`` it is the interval of the mean of so many new runs at x, not of the line itself.
        """
        where = _positive("x", x)
        value = self.prefactor * where**-self.exponent
        logs = self._draws[:, :1] - self._draws[:, 1:] * np.log(where.reshape(1, -1))
        if runs is not None:
            check_at_least("runs", runs, 1)
            noise = np.random.default_rng(0).standard_normal(logs.shape)
            logs = logs + noise * self._scatter / np.sqrt(runs)
        low, high = np.exp(np.quantile(logs, (0.025, 0.975), axis=0))
        return _estimate(where, value, low.reshape(where.shape), high.reshape(where.shape))

    def solve(self, y: ArrayLike) -> Estimate:
        """The x at which A x^-rho = y, with its 95 % interval.

        Exponentially sensitive to rho, so the interval is skewed; its end is infinite if lines of the other
        direction are compatible with the data.
        """
        wanted = _positive("y", y)
        with np.errstate(over="ignore", divide="ignore"):
            value = np.exp((np.log(self.prefactor) - np.log(wanted)) / self.exponent)
            logs = (self._draws[:, :1] - np.log(wanted.reshape(1, -1))) / self._draws[:, 1:]
            logs[np.sign(self._draws[:, 1]) != np.sign(self.exponent)] = np.inf
            low, high = np.exp(np.quantile(logs, (0.025, 0.975), axis=0, method="nearest"))
        return _estimate(wanted, value, low.reshape(wanted.shape), high.reshape(wanted.shape))


def power_law(
    x: ArrayLike,
    y: ArrayLike,
    sigma: ArrayLike | None = None,
    seed: int = 0,
    bootstraps: int = 2000,
) -> PowerLaw:
    """Fit y = A x^-rho by weighted least squares of log y on log x.

    Three kinds of input, and where their intervals come from:

    - repeats (several y at equal x, say seeds): every run has the same weight. Bootstrap over the runs:
      residuals from the mean at each x, widened by sqrt(n / (n - 1)), are drawn anew, from those at the same
      x if there are 3 or more runs at each, else from all together.
    - ``sigma``, standard errors of y: weights (y / sigma)^2, intervals from normal errors of that size.
    - neither: the scatter about the line; at least 3 points, and wide intervals for few.

    Where the scatter is estimated from few runs, the draws are widened by Student's t over the normal
    quantile, because a plain bootstrap of two or three runs gives intervals that are too narrow.
    Raises ParameterError: values that are not positive or not finite, lengths that differ, fewer than 3
    different x.

    >>> fit = power_law([2, 4, 8, 16], [0.5, 0.36, 0.25, 0.18], sigma=0.005)
    >>> round(fit.exponent, 2), fit.curved, round(fit.solve(fit.predict(32).value).value, 6)
    (0.49, False, 32.0)
    """
    xs, ys = _positive("x", x).ravel(), _positive("y", y).ravel()
    if len(xs) != len(ys):
        raise ParameterError(f"x has {len(xs)} values and y {len(ys)}; they must be as many")
    different, group = np.unique(xs, return_inverse=True)
    if len(different) < 3:
        raise ParameterError(
            f"x={different.tolist()!r} has {len(different)} different values; at least 3 are needed"
        )
    check_count("bootstraps", bootstraps, 100)
    check_count("seed", seed, 0)
    relative = None
    if sigma is not None:
        given = _positive("sigma", sigma).ravel()
        if len(given) not in (1, len(ys)):
            raise ParameterError(f"sigma has {len(given)} values and y {len(ys)}; give 1 or as many")
        relative = given / ys
    weights = np.ones_like(ys) if relative is None else relative**-2
    centre = float(np.log(xs).mean())
    points = Points(np.log(xs) - centre, np.log(ys), weights, known=relative is not None)

    line, covariance = polynomial(points, 1)
    # what each point adds to the slope: the row of (X'WX)^-1 X'W that belongs to it
    design = np.vander(points.u, 2, increasing=True)
    share = (design * weights[:, None]) @ covariance
    errors, scatter = _errors(points, group, line, share[:, 1], np.random.default_rng(seed), bootstraps)
    moved = line + errors @ share
    draws = np.column_stack([moved[:, 0] - moved[:, 1] * centre, -moved[:, 1]])

    criteria, p_values, floor = compare(points)
    (log_low, rho_low), (log_high, rho_high) = np.quantile(draws, (0.025, 0.975), axis=0)
    return PowerLaw(
        exponent=float(-line[1]),
        exponent_interval=(float(rho_low), float(rho_high)),
        prefactor=float(np.exp(line[0] - line[1] * centre)),
        prefactor_interval=(float(np.exp(log_low)), float(np.exp(log_high))),
        r2=_r2(points, group, line),
        curved=any(p < LEVEL for p in p_values.values()),
        curvature_p=p_values,
        floor=floor,
        aic=criteria,
        points=len(different),
        _draws=draws,
        _scatter=scatter,
    )


def _errors(
    points: Points, group: NDArray[np.intp], line: Array, share: Array,
    generator: np.random.Generator, bootstraps: int,
) -> tuple[Array, float]:  # fmt: skip
    """Drawn errors of log y, (bootstraps, n), and the spread of one run at the mean weight."""
    size = (bootstraps, len(points.v))
    if points.known:
        return generator.standard_normal(size) / np.sqrt(points.w), float(np.sqrt(np.mean(1 / points.w)))
    counts = np.bincount(group)
    repeats = len(points.v) - len(counts)
    if repeats == 0:
        freedom = len(points.v) - 2
        scatter = float(np.sqrt(points.rss(line[0] + line[1] * points.u) / freedom))
        return generator.standard_normal(size) * scatter * _student(freedom), scatter
    residuals = points.v - (np.bincount(group, points.v) / counts)[group]
    scatter = float(np.sqrt(np.sum(residuals**2) / repeats))
    residuals *= np.sqrt(counts / np.maximum(counts - 1, 1))[group]
    own = counts[counts > 1].min() >= OWN_SPREAD
    pool = residuals[counts[group] > 1]
    errors = np.empty(size)
    for g, count in enumerate(counts):
        members = np.flatnonzero(group == g)
        errors[:, members] = generator.choice(
            residuals[members] if own and count > 1 else pool, size=(bootstraps, count)
        )
    freedom_of = float(repeats)
    if own:
        # Satterthwaite: degrees of freedom of the slope's variance, a sum of estimates of their own
        parts = np.bincount(group, share**2 * residuals**2)[counts > 1]
        if parts.sum() > 0:
            freedom_of = float(parts.sum() ** 2 / np.sum(parts**2 / (counts[counts > 1] - 1)))
    return errors * _student(freedom_of), scatter


def _student(freedom: float) -> float:
    """How much wider than normal an interval with an estimated spread is."""
    return float(stats.t.ppf(0.975, freedom) / stats.norm.ppf(0.975))


def _r2(points: Points, group: NDArray[np.intp], line: Array) -> float:
    total = np.bincount(group, points.w)
    u, v = (np.bincount(group, points.w * values) / total for values in (points.u, points.v))
    middle = np.sum(total * v) / total.sum()
    about = np.sum(total * (v - middle) ** 2)
    left = np.sum(total * (v - line[0] - line[1] * u) ** 2)
    return float(1 - left / about) if about > 0 else 1.0


def _positive(name: str, values: ArrayLike) -> Array:
    try:
        array = np.asarray(values, dtype=float)
    except (TypeError, ValueError) as error:
        raise ParameterError(f"{name} must hold numbers: {error}") from error
    wrong = array[~(np.isfinite(array) & (array > 0))].ravel()
    if array.size == 0 or len(wrong):
        shown = f"holds {float(wrong[0])!r}" if len(wrong) else "is empty"
        raise ParameterError(
            f"{name} {shown}; finite numbers above 0 are needed, because logarithms are fitted"
        )
    return array


def _estimate(like: Array, value: Array, low: Array, high: Array) -> Estimate:
    if like.ndim == 0:
        return Estimate(float(value), float(low), float(high))
    return Estimate(value, low, high)
