"""Quantities of records with their intervals over seeds and test images."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from scipy import special

from filterwise.claims import intervals
from filterwise.claims.record_rows import joined
from filterwise.claims.registered import Rows, quantity_of, rows_found, values_by_arm
from filterwise.claims.schema import Rule
from filterwise.claims.test_images import crossed, resampled_accuracies

#: quantity and options -> its values on resampled seeds, and on resampled test images: arm -> values (draws,)
Draws = dict[str, tuple[dict[str, np.ndarray], dict[str, np.ndarray]]]


@dataclass(frozen=True)
class Estimate:
    """A quantity on one arm: value, spread and interval over ``n`` seeds.

    One that is pooled has a single value of all seeds: its ``values`` are empty, its ``spread`` not a number.
    ``by_seeds`` and ``by_images`` are half the intervals that seeds alone and test images alone give; not a
    number where the test images were not counted.

    >>> from filterwise.claims.ledger_table import findings
    >>> found = [one for finding in findings("4-sfp", "cifar") for one in finding.estimates()]
    >>> found[0].n > 0
    True
    """

    quantity: str
    arm: str
    value: float
    spread: float
    low: float
    high: float
    n: int
    control: float
    seeds: tuple[int, ...]
    values: tuple[float, ...]
    controls: tuple[float, ...]
    data: str
    device: str
    by_seeds: float = math.nan
    by_images: float = math.nan
    says: str = ""  # what it is a number of


def estimate(
    name: str,
    records: pd.DataFrame,
    options: Mapping[str, object],
    rule: Rule,
    generator: np.random.Generator,
    known: Draws | None = None,
) -> tuple[Estimate, ...]:
    """One quantity on every arm, with its interval by the rule's method and level.

    A single seed has no interval: ``low`` and ``high`` are not-a-number then. ``known`` remembers what pooled
    quantities were on resampled seeds and test images of these records: a claim's own quantity that is a
    condition as well has one interval, and is computed once.
    """
    pooled = quantity_of(name).pooled
    rows = rows_found(name, records, options)
    draws: dict[str, np.ndarray] = {}
    of_images: dict[str, np.ndarray] = {}
    if pooled and rule.kind == "interval" and max((row["n"] for row in rows), default=0) >= 2:
        known, use = {} if known is None else known, f"{name} {sorted(options.items(), key=str)}"
        if use not in known:
            known[use] = _draws(name, records, options, generator)
        draws, of_images = known[use]
    found = []
    for arm in dict.fromkeys(row["arm"] for row in rows):
        group = [row for row in rows if row["arm"] == arm]
        values, controls = (
            np.array([row[key] for row in group], dtype=float) for key in ("value", "control")
        )
        if pooled:
            n, of_seeds = int(group[0]["n"]), draws.get(arm, np.empty(0))
            low, high = intervals.pooled_interval(values[0], of_seeds, n, rule.method, rule.level)
        else:
            n = len({row["seed"] for row in group})
            low, high = intervals.mean_interval(values, generator, rule.method, rule.level)
        by_images = _image_half_width(records, group, of_images.get(arm), rule.level)
        by_seeds = (high - low) / 2
        if not math.isnan(by_images):
            low, high = intervals.widened(float(values.mean()), (low, high), by_images)
        found.append(
            Estimate(
                quantity=name,
                arm=arm,
                value=float(values.mean()),
                spread=math.nan if pooled or len(values) < 2 else float(values.std(ddof=1)),
                low=low,
                high=high,
                n=n,
                control=math.nan if np.isnan(controls).all() else float(np.nanmean(controls)),
                seeds=() if pooled else tuple(int(row["seed"]) for row in group),
                values=() if pooled else tuple(values.tolist()),
                controls=() if pooled else tuple(controls.tolist()),
                data=joined(row["data"] for row in group),
                device=joined(row["device"] for row in group),
                by_seeds=by_seeds,
                by_images=by_images,
                says=quantity_of(name).said(options),
            )
        )
    return tuple(found)


def _draws(
    name: str, records: pd.DataFrame, options: Mapping[str, object], generator: np.random.Generator
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """A pooled quantity on resampled seeds, and where it rests on test images, on resampled ones."""
    evaluate = partial(values_by_arm, name, options=options)
    by_seeds = intervals.resampled(records, evaluate, generator)
    return by_seeds, _image_draws(records, evaluate, generator) if quantity_of(name).images else {}


def _image_draws(
    records: pd.DataFrame,
    evaluate: Callable[[pd.DataFrame], Mapping[str, float]],
    generator: np.random.Generator,
) -> dict[str, np.ndarray]:
    """A pooled quantity on resampled test images: arm -> its values (draws,)."""
    draws = resampled_accuracies(records, generator, intervals.IMAGE_RESAMPLES)
    found: dict[str, list[float]] = {}
    for values in map(evaluate, draws):
        for arm, value in values.items():
            found.setdefault(arm, []).append(value)
    return {arm: np.array(each) for arm, each in found.items()}


def _image_half_width(records: pd.DataFrame, group: Rows, draws: np.ndarray | None, level: float) -> float:
    """Half the interval that the test images give an arm; not a number if they are not known."""
    if draws is not None:
        kept = draws[np.isfinite(draws)]
        return float(special.ndtri(0.5 + level / 2) * kept.std(ddof=1)) if len(kept) > 1 else math.nan
    by_image = [row["images"] for row in group if row.get("images") is not None]
    if len(by_image) < len(group) or len({len(each) for each in by_image}) > 1:
        return math.nan
    if not crossed(records, (row["seed"] for row in group), len(by_image[0])):
        return math.nan
    return intervals.image_half_width(np.stack(by_image), level)
