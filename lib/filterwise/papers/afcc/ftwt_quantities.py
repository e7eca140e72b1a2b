"""Quantities of dynamic pruning (claims W1 to W5; Elkerdawy et al. 2022).

Columns that are read (one row a run): ``ftwt``, the arm: dense, retrained, decoupled, joint or static;
``r``, the mass that a mask keeps (of a static run, that of the decoupled run whose cost it has); ``accuracy``
on the test images; ``macs_share``, what is left of the multiply-accumulates of convolutions; and of runs with
predictors ``foreseen_share``, ``mask_accuracy`` and ``majority``. Runs of one seed are compared with each
other, since they began with the same trained network.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from filterwise.claims.record_rows import has, rows_of
from filterwise.claims.registered import Rows, quantity
from filterwise.claims.test_images import difference_by_image, mean_by_image
from filterwise.errors import check_choice

Arms = dict[tuple[str, float], Any]  # (arm, r) -> the run; r is 0 without one

#: A run counts as pruned by half from this share of multiply-accumulates down.
HALF = 0.5


def studies(records: pd.DataFrame) -> list[tuple[dict[str, Any], Arms]]:
    """The runs of each network, data set and seed, and what a row of theirs says of them."""
    if not has(records, "network", "data", "labels", "seed", "ftwt", "r", "macs_share"):
        return []
    names = ("network", "data", "labels", "seed", "device", "ftwt", "r", "accuracy", "macs_share",
             "foreseen_share", "mask_accuracy", "majority", "right")  # fmt: skip
    found: dict[tuple[Any, ...], tuple[dict[str, Any], Arms]] = {}
    for run in rows_of(records, *names):
        if not isinstance(run.ftwt, str) or not run.ftwt:
            continue  # a run of the chapter's other methods
        about = {
            "arm": f"{run.network}, {run.data}, {int(run.labels)} labels",
            "seed": int(run.seed),
            "data": run.data,
            "device": run.device or "",
        }
        key = (run.network, run.data, run.labels, run.seed)
        r = 0.0 if run.r is None or run.r != run.r else float(run.r)
        found.setdefault(key, (about, {}))[1][run.ftwt, r] = run
    return list(found.values())


def _masses(arms: Arms, arm: str) -> list[float]:
    return sorted(r for name, r in arms if name == arm)


def _each_mass(records: pd.DataFrame, of: Callable[[Any, float], tuple[float, float]]) -> Rows:
    """A row for each decoupled run, r being part of its arm: value and control of (run, r)."""
    rows = []
    for about, arms in studies(records):
        for r in _masses(arms, "decoupled"):
            value, control = of(arms["decoupled", r], r)
            rows.append({**about, "arm": f"{about['arm']}, r = {r:g}", "value": value, "control": control})
    return rows


def _each_study(records: pd.DataFrame, of: Callable[[Arms], tuple[Any, ...]]) -> Rows:
    """A row for each network and seed: value and control of its arms, and the value image by image if ``of``
    gives that, too."""
    rows = []
    for about, arms in studies(records):
        value, control, *images = of(arms)
        row = {**about, "value": value, "control": control}
        rows.append({**row, "images": images[0]} if images and images[0] is not None else row)
    return rows


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


@quantity("mask_gain", control="accuracy of the best constant answer of each filter")
def mask_gain(records: pd.DataFrame) -> Rows:
    """Accuracy of the predicted masks minus that of the best constant answer of each filter, decoupled."""

    def gain(run: Any, r: float) -> tuple[float, float]:
        majority = _number(run.majority)
        return _number(run.mask_accuracy) - majority, majority

    return _each_mass(records, gain)


@quantity("largest_cut", control="r of that run")
def largest_cut(records: pd.DataFrame) -> Rows:
    """Share of multiply-accumulates that the decoupled run with the smallest r saves."""

    def cut(arms: Arms) -> tuple[float, float]:
        masses = _masses(arms, "decoupled")
        return (1 - arms["decoupled", masses[0]].macs_share, masses[0]) if masses else (np.nan, np.nan)

    return _each_study(records, cut)


@quantity("cut_follows_r", digits=2, control="number of masses r")
def cut_follows_r(records: pd.DataFrame) -> Rows:
    """Rank correlation of r and the multiply-accumulates that are left, decoupled."""

    def order(arms: Arms) -> tuple[float, float]:
        masses = _masses(arms, "decoupled")
        if len(masses) < 2:
            return np.nan, len(masses)
        shares = [arms["decoupled", r].macs_share for r in masses]
        ranks = np.argsort(np.argsort(shares))
        return float(np.corrcoef(np.arange(len(masses)), ranks)[0, 1]), len(masses)

    return _each_study(records, order)


@quantity("change_at_half", digits=4, control="the same of the static network of equal cost")
def change_at_half(records: pd.DataFrame) -> Rows:
    """Accuracy minus that of the dense network retrained equally, at the largest r that saves half or more.

    The run is chosen by what it costs, never by its accuracy. No row where no decoupled run saves so much.
    """

    def change(arms: Arms) -> tuple[Any, ...]:
        enough = [r for r in _masses(arms, "decoupled") if arms["decoupled", r].macs_share <= HALF]
        if not enough or ("retrained", 0.0) not in arms:
            return np.nan, np.nan
        whole, r = arms["retrained", 0.0], enough[-1]
        static = arms["static", r].accuracy - whole.accuracy if ("static", r) in arms else np.nan
        ours = arms["decoupled", r]
        return ours.accuracy - whole.accuracy, static, difference_by_image(ours, whole)

    return _each_study(records, change)


@quantity("foreseen_error", control="the same of the guess that a mass r keeps r of the filters, so r^2")
def foreseen_error(records: pd.DataFrame) -> Rows:
    """Difference of the share of multiply-accumulates foreseen before the retraining and obtained, decoupled.

    The size of it, whatever its sign.
    """
    return _each_mass(
        records,
        lambda run, r: (abs(_number(run.foreseen_share) - run.macs_share), abs(r**2 - run.macs_share)),
    )


@quantity("foreseen_over_guess", control="error of the guess r^2")
def foreseen_over_guess(records: pd.DataFrame) -> Rows:
    """By how much the foreseen share is nearer to the obtained one than the guess r^2, decoupled."""

    def nearer(run: Any, r: float) -> tuple[float, float]:
        guess = abs(r**2 - run.macs_share)
        return guess - abs(_number(run.foreseen_share) - run.macs_share), guess

    return _each_mass(records, nearer)


@quantity("dynamic_minus_static", digits=4, control="accuracy of the static networks")
def dynamic_minus_static(records: pd.DataFrame) -> Rows:
    """Accuracy of masks for each image minus that of static ones of equal cost, mean over r, decoupled."""

    def gap(arms: Arms) -> tuple[Any, ...]:
        both = [r for r in _masses(arms, "decoupled") if ("static", r) in arms]
        if not both:
            return np.nan, np.nan
        static = float(np.mean([arms["static", r].accuracy for r in both]))
        images = mean_by_image([difference_by_image(arms["decoupled", r], arms["static", r]) for r in both])
        return float(np.mean([arms["decoupled", r].accuracy for r in both])) - static, static, images

    return _each_study(records, gap)


@quantity(
    "decoupled_minus_joint",
    digits=4,
    control="the same at equal r, whatever the cost",
    words={"at=all": "mean over r", "at=smallest r": "at the smallest r"},
)
def decoupled_minus_joint(records: pd.DataFrame, at: str = "all") -> Rows:
    """Accuracy of decoupled minus joint training at equal multiply-accumulates.

    Joint training is read between its neighbours in cost, the dense network retrained being one of them. A
    decoupled run that is cheaper than every joint one is compared with the cheapest of these, to its own
    disadvantage. ``at``: "all" or "smallest r".

    Raises ParameterError: no such ``at``.
    """
    check_choice("at", at, ("all", "smallest r"))

    def gap(arms: Arms) -> tuple[float, float]:
        masses, joint = _masses(arms, "decoupled"), _masses(arms, "joint")
        if not masses or not joint or ("retrained", 0.0) not in arms:
            return np.nan, np.nan
        known = [*(arms["joint", r] for r in joint), arms["retrained", 0.0]]
        known.sort(key=lambda run: run.macs_share)
        shares, accuracies = zip(*((run.macs_share, run.accuracy) for run in known), strict=True)
        chosen = masses if at == "all" else masses[:1]
        equal = [
            arms["decoupled", r].accuracy
            - float(np.interp(arms["decoupled", r].macs_share, shares, accuracies))
            for r in chosen
        ]
        same = [
            arms["decoupled", r].accuracy - arms["joint", r].accuracy for r in chosen if ("joint", r) in arms
        ]
        return float(np.mean(equal)), float(np.mean(same)) if same else np.nan

    return _each_study(records, gap)
