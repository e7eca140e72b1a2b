"""How the error grows with the number of labels K: a line, a root or a logarithm."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from filterwise.runs.layer_columns import values_of

LABEL_COUNTS_NEEDED = 5
#: Exponents that are tried; from a curve that has levelled off to one that bends upwards.
EXPONENTS = np.round(np.arange(-1.0, 3.0 + 1e-9, 0.01), 2)


def by_labels(records: pd.DataFrame, name: str) -> list[dict[int, float]]:
    """k -> value of ``name@K<k>``, a dictionary a run, in ascending order of k.

    >>> by_labels(pd.DataFrame({"largest_error@K10": [0.2], "largest_error@K3": [0.1]}), "largest_error")
    [{3: 0.1, 10: 0.2}]
    """
    runs = values_of(records, name)
    return [dict(sorted((int(part.removeprefix("K")), v) for part, v in run.items())) for run in runs]


def of_equal_draws(records: pd.DataFrame, name: str) -> list[dict[int, float]]:
    """As :func:`by_labels`, of the K with as many random label sets as any.

    The largest of several errors grows with their number, so only equal numbers can be compared. All labels
    of a set are one set and are left out.

    >>> columns = {"draws@K3": [4], "draws@K5": [4], "draws@K9": [1]}
    >>> of_equal_draws(pd.DataFrame({**columns, "e@K3": [0.1], "e@K5": [0.2], "e@K9": [0.3]}), "e")
    [{3: 0.1, 5: 0.2}]
    """
    found = []
    for errors, draws in zip(by_labels(records, name), by_labels(records, "draws"), strict=True):
        most = max(draws.values(), default=0)
        found.append({k: error for k, error in errors.items() if draws.get(k) == most})
    return found


def growth_exponent(counts: Sequence[float], errors: Sequence[float]) -> float:
    r"""gamma of the least-squares fit error = a + b (K^gamma - 1) / gamma, of :data:`EXPONENTS`.

    A line has gamma = 1, a root 1/2; at gamma = 0 the fit is a + b log K. The offset a is free: a line need
    not go through the origin. Errors count with weight K, because both their test images and the labels they
    are a mean of are K times as many. Too few K, or errors that are all equal, give not a number.

    >>> K = [3, 5, 10, 20, 40, 60, 80]
    >>> [growth_exponent(K, [0.1 + 0.01 * k**gamma for k in K]) for gamma in (1, 0.5)]
    [1.0, 0.5]
    """
    if len(counts) < LABEL_COUNTS_NEEDED or len(set(errors)) < 2:
        return float("nan")
    weights = np.asarray(counts, dtype=float)
    logs = np.log(weights)
    shapes = np.stack([np.expm1(gamma * logs) / gamma if gamma else logs for gamma in EXPONENTS])
    shapes -= np.average(shapes, axis=1, weights=weights)[:, None]
    error = np.asarray(errors, dtype=float) - np.average(errors, weights=weights)
    explained = (shapes @ (weights * error)) ** 2 / (shapes**2 @ weights)
    return float(EXPONENTS[explained.argmax()])


def slope(counts: Sequence[float], errors: Sequence[float]) -> float:
    """Slope of the straight line through the errors; of too few K not a number."""
    if len(counts) < LABEL_COUNTS_NEEDED or len(set(errors)) < 2:
        return float("nan")
    return float(np.polyfit(counts, errors, 1)[0])
