"""Errors against width from the records of chapter 3, and the straight line in log-log through them.

Columns that are read, one row per run: ``family`` (``lenet``, ``vgg16``, ...), ``variant`` (``main``, or the
name of a ratio or variant), ``variant_kind`` (``main``, ``ratio``, ``variant``, or ``budget`` for the scan of
d2/d1 at fixed cost), ``d1``, ``macs``, ``seed``, ``data``, ``accuracy``, ``held_out`` (1 for a width that no
fit may see) and, so that no curve mixes trainings of different length or on different numbers of images,
``train_images`` and ``epochs``.

A curve is made of the seeds that trained every one of its widths. Its line is the one of
:func:`filterwise.measure.power_law` through the single runs: with as many runs at each width that is least
squares on their mean logarithms, unweighted, because a spread from two to five seeds is too uncertain to
weight by.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from filterwise.claims.record_rows import has, joined, rows_of
from filterwise.measure.fitting import PowerLaw, power_law

_COLUMNS = ("family", "variant", "variant_kind", "d1", "macs", "seed", "data", "accuracy")
#: Two points lie on a line whatever they are; an exponent that is compared with another needs a third.
FEWEST_WIDTHS = 3
#: Widths, over as many octaves less one, from which on a curve on more images is judged before one on fewer.
WIDTHS_OF_A_LAW = 5
SEEDS_OF_A_LAW = 2


@dataclass(frozen=True)
class Curve:
    """Errors against width of one family and variant, trained alike; ``n`` seeds at every width.

    ``width`` and ``macs`` are arrays (widths,), narrowest first, ``errors`` (seeds, widths); ``images`` and
    ``epochs`` of the training, None if the records do not say.
    """

    arm: str
    family: str
    variant: str
    data: str
    images: float | None
    epochs: float | None
    device: str
    width: np.ndarray
    errors: np.ndarray
    macs: np.ndarray

    @property
    def n(self) -> int:
        return len(self.errors)

    @property
    def error(self) -> np.ndarray:
        """Mean error at each width (widths,)."""
        return self.errors.mean(axis=0)

    @property
    def log_width(self) -> np.ndarray:
        return np.log(self.width)

    @property
    def log_error(self) -> np.ndarray:
        """Mean logarithm of the error at each width (widths,)."""
        return np.log(self.errors).mean(axis=0)

    def law(self) -> PowerLaw:
        """The fit with its intervals and tests, as the page shows it."""
        return power_law(np.tile(self.width, self.n), self.errors.ravel())

    def at(self, widths: Iterable[float]) -> Curve:
        """The curve at those of its widths that are among ``widths``."""
        kept = np.isin(self.width, list(widths))
        parts = {"width": self.width[kept], "errors": self.errors[:, kept], "macs": self.macs[kept]}
        return Curve(**{**vars(self), **parts})


def balanced(runs: Iterable[tuple[int, float, Any]]) -> tuple[list[float], list[list[Any]]]:
    """The widths of a curve, ascending, and a row of values at these widths for each seed that has them all.

    ``runs`` are (seed, width, value). The widths are those of the seed with the most; a seed that was drawn
    twice gives two rows.

    >>> balanced([(0, 8, "a"), (0, 4, "b"), (1, 4, "c")])
    ([4.0, 8.0], [['b', 'a']])
    """
    found: dict[int, dict[float, list[Any]]] = {}
    for seed, width, value in runs:
        found.setdefault(seed, {}).setdefault(float(width), []).append(value)
    if not found:
        return [], []
    fullest: dict[float, list[Any]] = max(found.values(), key=len)
    widths = sorted(fullest)
    rows = []
    for by_width in found.values():
        if all(width in by_width for width in widths):
            times = min(len(by_width[width]) for width in widths)
            rows += [[by_width[width][time] for width in widths] for time in range(times)]
    return widths, rows


def curves(
    records: pd.DataFrame,
    family: str | None = None,
    variant_kind: str | None = "main",
    data: str | None = None,
    held_out: bool = False,
) -> list[Curve]:
    """One curve per family, variant, data set, number of images and epochs; two widths at least."""
    if not has(records, *_COLUMNS):
        return []
    arms: dict[tuple[Any, ...], list[Any]] = {}
    for run in rows_of(records, *_COLUMNS, "held_out", "device", "train_images", "epochs"):
        asked = family in (None, run.family) and data in (None, run.data)
        kind = variant_kind in (None, run.variant_kind) and run.variant_kind not in ("budget", "tuning")
        if asked and kind and (run.held_out == 1) == held_out:
            key = (run.family, run.variant, run.data, run.train_images, run.epochs)
            arms.setdefault(key, []).append(run)
    found = (_curve(key, runs) for key, runs in arms.items())
    return [curve for curve in found if len(curve.width) >= (1 if held_out else 2)]


def _curve(key: tuple[Any, ...], runs: list[Any]) -> Curve:
    name, variant, where, images, epochs = key
    widths, rows = balanced((run.seed, run.d1, run) for run in runs)
    trained = [] if images is None else [f"{int(images):,} images"]
    trained += [] if epochs is None else [f"{int(epochs)} epochs"]
    return Curve(
        arm=", ".join([f"{name} {variant}", where, *trained]),
        family=name,
        variant=variant,
        data=where,
        images=images,
        epochs=epochs,
        device=joined(run.device or "" for seed in rows for run in seed),
        width=np.array(widths),
        errors=np.array([[1 - run.accuracy for run in seed] for seed in rows]),
        macs=np.array([float(run.macs) for run in rows[0]]),
    )


def judged(records: pd.DataFrame, family: str | None = None, data: str | None = None) -> list[Curve]:
    """Of each family's main curves on a data set the one that claims are judged on.

    That is the one on the most images, for the most epochs, of those with :data:`WIDTHS_OF_A_LAW` widths and
    two seeds; while there is none, the one with the most widths. No error has a say in it.
    """

    def rank(curve: Curve) -> tuple[Any, ...]:
        trained = (curve.images or 0, curve.epochs or 0)
        if len(curve.width) >= WIDTHS_OF_A_LAW and curve.n >= SEEDS_OF_A_LAW:
            return (1, *trained)
        return (0, len(curve.width), curve.n, *trained)

    best: dict[tuple[str, str], Curve] = {}
    for curve in curves(records, family, data=data):
        place = (curve.family, curve.data)
        if place not in best or rank(curve) > rank(best[place]):
            best[place] = curve
    return list(best.values())


def pairs(records: pd.DataFrame, first: str, second: str) -> list[tuple[Curve, Curve]]:
    """The main curves of two families on the same images, three widths at least; one pair a data set.

    Of several numbers of images the largest at which both have four widths or more, or else three.
    """
    every = [curve for curve in curves(records) if len(curve.width) >= FEWEST_WIDTHS]
    ours, others = ([curve for curve in every if curve.family == family] for family in (first, second))
    both = [(a, b) for a in ours for b in others if (a.data, a.images) == (b.data, b.images)]

    def rank(pair: tuple[Curve, Curve]) -> tuple[Any, ...]:
        fewest = min(len(curve.width) for curve in pair)
        return (min(fewest, FEWEST_WIDTHS + 1), pair[0].images or 0, *(c.epochs or 0 for c in pair))

    return [
        max((pair for pair in both if pair[0].data == data), key=rank)
        for data in dict.fromkeys(pair[0].data for pair in both)
    ]


def line(curve: Curve) -> tuple[float, float]:
    """Exponent rho (> 0 for a fall) and log prefactor: those of :meth:`Curve.law`, without its bootstrap."""
    slope, intercept = np.polyfit(curve.log_width, curve.log_error, 1)
    return -float(slope), float(intercept)


def r_squared(x: np.ndarray, y: np.ndarray) -> float:
    """R^2 of the straight line of y on x; NaN where one of them does not vary, as there is none then."""
    if not (np.ptp(x) and np.ptp(y)):
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1] ** 2)


def quadratic_p(curve: Curve) -> float:
    """p-value of the quadratic term of log error in log width, of :meth:`Curve.law`; NaN below 4 widths."""
    return curve.law().curvature_p["quadratic"] if len(curve.width) >= 4 else np.nan


def row(curve: Curve, value: float, control: float) -> dict[str, Any]:
    """A row of a pooled quantity with one value a curve."""
    return row_of_all(curve.arm, [curve], value, control)


def row_of_all(arm: str, chosen: list[Curve], value: float, control: float) -> dict[str, Any]:
    """A row of a pooled quantity with one value for several curves."""
    about = {"arm": arm, "n": min(curve.n for curve in chosen)}
    about |= {"data": joined(c.data for c in chosen), "device": joined(c.device for c in chosen)}
    return {**about, "value": float(value), "control": float(control)}
