"""What else than a power law could fit a curve: a plateau, a bend, a logarithm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

Array = NDArray[np.float64]

#: Level of each of the two curvature tests. Both are run, so at most twice this share of straight lines is
#: called curved; about 4 % as measured, because a plateau bends the quadratic too.
LEVEL = 0.025


@dataclass(frozen=True)
class Points:
    """Logarithms of the data: u = log x minus its mean, v = log y, and weights w = 1 / variance of v.

    ``known`` says whether the weights are inverse variances that were given (sigma), or only relative.
    """

    u: Array
    v: Array
    w: Array
    known: bool

    def rss(self, fitted: Array) -> float:
        """Weighted sum of squared residuals in log y."""
        return float(np.sum(self.w * (self.v - fitted) ** 2))


def polynomial(points: Points, degree: int) -> tuple[Array, Array]:
    """Weighted least-squares coefficients of v in powers of u, lowest first, and (X'WX)^-1."""
    design = np.vander(points.u, degree + 1, increasing=True)
    root = np.sqrt(points.w)
    covariance = np.linalg.inv(design.T @ (design * points.w[:, None]))
    coefficients = np.linalg.lstsq(design * root[:, None], points.v * root, rcond=None)[0]
    return np.asarray(coefficients, dtype=float), np.asarray(covariance, dtype=float)


#: A model of log y and its derivatives, (n,) and (n, number of parameters), at a vector of parameters.
Model = Callable[[Array], tuple[Array, Array]]


def _least_squares(
    points: Points, model: Model, starts: list[list[float]], low: list[float], high: list[float]
) -> tuple[Array, float]:
    """Best of several starts of a bounded non-linear fit: parameters, and RSS."""
    root = np.sqrt(points.w)
    best, best_rss = np.array(starts[0]), np.inf
    for start in starts:
        found = optimize.least_squares(
            lambda p: root * (model(p)[0] - points.v),
            np.clip(start, np.array(low) + 1e-9, np.array(high) - 1e-9),
            jac=lambda p: root[:, None] * model(p)[1],
            bounds=(low, high),
            xtol=1e-12,
            ftol=1e-12,
        )
        if 2 * found.cost < best_rss:
            best, best_rss = found.x, 2 * float(found.cost)
    return best, best_rss


def fit_plateau(points: Points) -> tuple[float, float]:
    """y = c + A x^-rho with c >= 0: the floor c and the RSS (never above the power law's, where c = 0)."""
    line, _ = polynomial(points, 1)
    straight = points.rss(line[0] + line[1] * points.u)
    lowest = float(np.exp(points.v.min()))

    def model(p: Array) -> tuple[Array, Array]:
        # parameters: log A at u = 0, rho, c in units of twice the smallest y
        law = np.exp(np.clip(p[0] - p[1] * points.u, -600, 600))
        total = law + 2 * lowest * p[2]
        share = law / total
        return np.log(total), np.column_stack([share, -points.u * share, 2 * lowest / total])

    starts = []
    for part in (0.2, 0.8):
        rest = np.log(np.exp(points.v) - part * lowest)
        slope, level = np.polyfit(points.u, rest, 1)
        starts.append([float(level), float(-slope), part / 2])
    found, rss = _least_squares(points, model, starts, [-np.inf, -50.0, 0.0], [np.inf, 50.0, 1.0])
    if rss >= straight:
        return 0.0, straight
    return float(2 * lowest * found[2]), rss


def fit_logarithm(points: Points) -> float:
    """y = a - b log x: the RSS in log y."""
    y = np.exp(points.v)
    slope, level = np.polyfit(points.u, y, 1)
    # start from a line that is positive at all points
    steepest = 0.99 * level / np.abs(points.u).max()
    tiny = 1e-6 * float(y.min())

    def model(p: Array) -> tuple[Array, Array]:
        value = np.maximum(p[0] + p[1] * points.u, tiny)
        return np.log(value), np.column_stack([1 / value, points.u / value])

    start = [float(level), float(np.clip(slope, -steepest, steepest))]
    return _least_squares(points, model, [start], [0.0, -np.inf], [np.inf, np.inf])[1]


def aic(points: Points, rss: float, parameters: int) -> float:
    """Akaike's criterion, up to a constant that all models share; lower is better.

    With known variances chi^2 + 2k; else n log(RSS / n) + 2 (k + 1), the variance being one more parameter.
    """
    if points.known:
        return rss + 2 * parameters
    n = len(points.u)
    # a perfect fit has no finite likelihood: stop at the rounding of the data
    smallest = n * 1e-28 * float(np.mean(points.w))
    return float(n * np.log(max(rss, smallest) / n) + 2 * (parameters + 1))


def compare(points: Points) -> tuple[dict[str, float], dict[str, float], float]:
    """AIC of the four models, p-values of the two curvature tests, and the plateau's floor c.

    Curvature: (a) the quadratic term in log x against 0, two-sided; (b) the plateau against c = 0 by the
    likelihood ratio, one-sided, because c >= 0 lies on the boundary. p is NaN where there is nothing to test
    with: fewer than 4 points, or 3 different x without known variances.
    """
    line, _ = polynomial(points, 1)
    straight = points.rss(line[0] + line[1] * points.u)
    bend, covariance = polynomial(points, 2)
    bent = points.rss(np.vander(points.u, 3, increasing=True) @ bend)
    floor, flat = fit_plateau(points)
    criteria = {
        "power": aic(points, straight, 2),
        "plateau": aic(points, flat, 3),
        "quadratic": aic(points, bent, 3),
        "logarithm": aic(points, fit_logarithm(points), 2),
    }
    freedom = len(points.u) - 3
    smallest = 1e-24 * float(
        np.sum(points.w)
    )  # rounding of the logarithms, so that exact data are not "curved"
    if points.known:
        quadratic = 2 * stats.norm.sf(abs(bend[2]) / np.sqrt(covariance[2, 2]))
        plateau = 0.5 * stats.chi2.sf(straight - flat, 1)
    elif freedom < 1:
        quadratic = plateau = np.nan
    elif straight <= smallest:
        quadratic = plateau = 1.0
    else:
        variance = max(bent, smallest) / freedom
        quadratic = 2 * stats.t.sf(abs(bend[2]) / np.sqrt(variance * covariance[2, 2]), freedom)
        plateau = 0.5 * stats.f.sf((straight - flat) * freedom / max(flat, smallest), 1, freedom)
    return criteria, {"quadratic": float(quadratic), "plateau": float(plateau)}, floor
