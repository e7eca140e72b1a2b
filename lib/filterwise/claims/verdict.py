"""From records to a verdict: ``holds``, ``fails``, ``undecided``, ``reported`` or ``not measured``.

The verdict of a claim is the worst over its conditions and arms, in the order fails, undecided, holds.  A
condition that could not be evaluated while others could leaves the claim undecided. A claim without
conditions is reported.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from scipy import special

from filterwise.claims import intervals
from filterwise.claims.record_rows import has, joined, on_all_labels
from filterwise.claims.registered import Rows, quantity_of, rows_found, values_by_arm
from filterwise.claims.schema import Claim, Condition, Rule
from filterwise.claims.test_images import crossed, resampled_accuracies

#: quantity and options -> draw of seeds -> arm -> value
Draws = dict[str, dict[tuple[int, ...], Mapping[str, float]]]


@dataclass(frozen=True)
class Estimate:
    """A quantity on one arm: value, spread and interval over ``n`` seeds; ``values`` is empty when pooled.

    ``by_seeds`` and ``by_images`` are half the intervals that seeds alone and test images alone give; not a
    number where the test images were not counted.
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


@dataclass(frozen=True)
class Finding:
    """What was found for one claim at one profile."""

    claim: Claim
    profile: str
    verdict: str
    why: str  # what decided, in words
    headline: tuple[Estimate, ...] = ()  # the claim's own quantity, one per arm
    parts: tuple[Estimate, ...] = ()  # the conditions' quantities

    def estimates(self) -> list[Estimate]:
        """Headline and parts, each quantity and arm once.

        A claim's own quantity is often a condition as well; then the condition's interval is what decided.
        """
        return list({(each.quantity, each.arm): each for each in (*self.headline, *self.parts)}.values())


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
    quantities were on resampled seeds of these records.
    """
    pooled = quantity_of(name).pooled
    rows = rows_found(name, records, options)
    draws: dict[str, np.ndarray] = {}
    of_images: dict[str, np.ndarray] = {}
    if pooled and rule.kind == "interval" and max((row["n"] for row in rows), default=0) >= 2:
        before = {} if known is None else known.setdefault(f"{name} {sorted(options.items(), key=str)}", {})
        evaluate = partial(values_by_arm, name, options=options)
        draws = intervals.resampled(records, evaluate, generator, known=before)
        of_images = _image_draws(records, evaluate, generator) if quantity_of(name).images else {}
    found = []
    for arm in dict.fromkeys(row["arm"] for row in rows):
        group = [row for row in rows if row["arm"] == arm]
        values, controls = (
            np.array([row[key] for row in group], dtype=float) for key in ("value", "control")
        )
        if pooled:
            n, spread = int(group[0]["n"]), draws.get(arm, np.empty(0))
            low, high = intervals.pooled_interval(values[0], spread, n, rule.method, rule.level)
        else:
            n, spread = len({row["seed"] for row in group}), values
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
                spread=float(spread.std(ddof=1)) if len(spread) > 1 else math.nan,
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
            )
        )
    return tuple(found)


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


def judge(condition: Condition, found: Estimate, rule: Rule, seeds: int) -> tuple[str, str]:
    """Verdict of one condition on one arm, and why."""
    words = condition.words(found.n)
    if found.n < seeds:
        return "undecided", f"{found.n} of {seeds} seeds for {words} ({found.arm})"
    if rule.kind == "estimate":
        verdict = "holds" if condition.met(found.value, found.n) else "fails"
        return verdict, f"{words}: {found.value:.3g} ({found.arm})"
    if math.isnan(found.low):
        return "undecided", f"no interval from {found.n} seed for {words} ({found.arm})"
    interval = f"[{found.low:.3g}, {found.high:.3g}]"
    inside = condition.met(found.low, found.n), condition.met(found.high, found.n)
    if all(inside):
        return "holds", f"{words}: {interval} ({found.arm})"
    crosses = False
    if condition.op == "within":
        low, high = condition.limits(found.n)
        crosses = found.low < low and found.high > high
    if any(inside) or crosses:
        return "undecided", f"{words}: {interval} straddles ({found.arm})"
    return "fails", f"{words}: {interval} ({found.arm})"


def count(
    conditions: Sequence[Condition], parts: Mapping[str, Sequence[Estimate]], claim: Claim
) -> list[tuple[str, str]]:
    """Verdicts of a count rule, one per arm: all conditions met together in enough seeds."""
    rule = claim.criterion.rule
    by_arm: dict[str, dict[int, list[bool]]] = {}
    for condition in conditions:
        for found in parts[_name(condition)]:
            seeds = by_arm.setdefault(found.arm, {})
            for seed, value in zip(found.seeds, found.values, strict=True):
                seeds.setdefault(seed, []).append(condition.met(value, found.n))
    verdicts = []
    for arm, seeds in by_arm.items():
        whole = [all(met) for met in seeds.values() if len(met) == len(conditions)]
        if len(whole) < max(claim.seeds, rule.of):
            verdicts.append(("undecided", f"{len(whole)} of {max(claim.seeds, rule.of)} seeds ({arm})"))
            continue
        needed = math.ceil(rule.seeds * len(whole) / rule.of)
        verdict = "holds" if sum(whole) >= needed else "fails"
        verdicts.append((verdict, f"met in {sum(whole)} of {len(whole)} seeds, {needed} needed ({arm})"))
    return verdicts


def worst(verdicts: Sequence[tuple[str, str]]) -> tuple[str, str]:
    """The worst verdict, with the reasons of all that gave it.

    >>> worst([("holds", "a"), ("undecided", "b"), ("not measured", "c")])
    ('undecided', 'b; c')
    """
    kinds = {verdict for verdict, _ in verdicts}
    if kinds <= {"not measured"}:
        deciding = ["not measured"]
    elif "fails" in kinds:
        deciding = ["fails"]
    else:
        deciding = ["holds"] if kinds == {"holds"} else ["undecided", "not measured"]
    return deciding[0], "; ".join(dict.fromkeys(why for kind, why in verdicts if kind in deciding))


def find(
    claim: Claim,
    records: pd.DataFrame,
    profile: str,
    generator: np.random.Generator,
    others: Mapping[str, Claim] | None = None,
    choose_runs: bool = True,
) -> Finding:
    """Judge one claim on one profile's records (one row per run; may be empty).

    ``generator`` is for the bootstrap, ``others`` are the chapter's claims by id, for a claim that rests on
    others; ``choose_runs=False`` takes the records as they are instead of the claim's ``runs``.
    """
    if claim.runs and choose_runs:
        records = on_all_labels(records)
    rule = claim.criterion.rule
    headline_rule = rule if rule.kind == "interval" else Rule()
    known: Draws = {}
    headline = estimate(claim.quantity, records, claim.options, headline_rule, generator, known)
    if claim.criterion.claims:
        verdict, why = _at_extremes(claim, records, profile, generator, others or {})
        return Finding(claim, profile, verdict, why, headline)
    conditions = claim.criterion.conditions_for(profile)
    if not conditions:
        if not headline:
            return Finding(claim, profile, "not measured", "no record yet")
        return Finding(claim, profile, "reported", "no pass rule was set", headline)
    parts = {
        _name(c): estimate(c.quantity, records, c.options, c.rule or rule, generator, known)
        for c in conditions
    }
    verdicts = [("not measured", f"{c.quantity} not measured") for c in conditions if not parts[_name(c)]]
    if rule.kind == "count":
        verdicts += count([c for c in conditions if parts[_name(c)]], parts, claim)
    else:
        verdicts += [judge(c, e, c.rule or rule, claim.seeds) for c in conditions for e in parts[_name(c)]]
    verdict, why = worst(verdicts)
    return Finding(
        claim, profile, verdict, why, headline, tuple(e for c in conditions for e in parts[_name(c)])
    )


def _at_extremes(
    claim: Claim,
    records: pd.DataFrame,
    profile: str,
    generator: np.random.Generator,
    others: Mapping[str, Claim],
) -> tuple[str, str]:
    if not has(records, "labels", "layers") or records["layers"].isna().all():
        return "not measured", "no record yet"
    measured = records[records["layers"].notna()]
    counts = sorted(measured["labels"].dropna().astype(int).unique())
    if len(counts) < 2:
        return "undecided", f"one number of labels only: {counts[0]}"
    verdicts = []
    for labels in (counts[0], counts[-1]):
        part = measured[measured["labels"] == labels]
        for other in claim.criterion.claims:
            finding = find(others[other], part, profile, generator, others, choose_runs=False)
            verdicts.append((finding.verdict, f"{other} at {labels} labels: {finding.verdict}"))
    return worst(verdicts)


def _name(condition: Condition) -> str:
    return f"{condition.quantity} {sorted(condition.options.items(), key=str)} {condition.words()}"
