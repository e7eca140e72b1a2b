"""From records to a verdict: ``holds``, ``fails``, ``undecided``, ``reported`` or ``not measured``.

The verdict of a claim is the worst over its conditions and arms, in the order fails, undecided, holds.  A
condition that could not be evaluated while others could leaves the claim undecided. A claim without
conditions is reported.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from filterwise.claims.estimates import Draws, Estimate, estimate
from filterwise.claims.judging import NAMED_ARMS, Reason, count, judge, met_everywhere, worst
from filterwise.claims.registered import quantity_of
from filterwise.claims.schema import Claim, Rule
from filterwise.claims.words import number

NO_RECORD = "No record yet."


@dataclass(frozen=True)
class OnceMore:
    """One number of a claim's deciding quantity, before and after one thing was varied, in the same seeds.

    Attributes
    ----------
    varied : what, such as "three times the epochs"
    quantity, arm : what it is a number of, and whose
    before, after : means over the seeds
    seeds : how many
    spread : standard deviation of ``after`` over them; not a number of one, or of a pooled quantity
    form : the precision after and before, where a processor of another kind did the one
    """

    varied: str
    quantity: str
    arm: str
    before: float
    after: float
    seeds: int
    spread: float = math.nan
    form: str = ""


@dataclass(frozen=True)
class Finding:
    """What was found for one claim at one profile.

    >>> from filterwise.claims.claim_files import load
    >>> Finding(load("4-sfp")[0], "quick", "not measured", "no record").estimates()
    []
    """

    claim: Claim
    profile: str
    verdict: str
    why: str  # what decided, in sentences
    headline: tuple[Estimate, ...] = ()  # the claim's own quantity, one per arm
    parts: tuple[Estimate, ...] = ()  # the conditions' quantities
    decided_by: Estimate | None = None  # the first that gave a verdict other than ``holds``
    #: Seeds that would decide an undecided one; not a number where it lacks something else.
    seeds_to_decide: float = math.nan
    seeds_there: int = 0  # that the comparison has which needs so many
    hours_a_seed: float = math.nan  # of one core, for one more of them
    once_more: tuple[OnceMore, ...] = ()  # experiments that tell apart why it failed

    @property
    def enough(self) -> bool:
        """Whether a comparison has the seeds that the claim asks for, or a number is reported without one."""
        if self.verdict in ("not measured", "reported"):
            return self.verdict == "reported"
        return any(part.n >= self.claim.seeds for part in self.parts)

    @property
    def fewest(self) -> int:
        """Seeds of the comparison that has the fewest, or of a number without one; 0 without any."""
        return min((part.n for part in self.parts or self.headline), default=0)

    def estimates(self) -> list[Estimate]:
        """Headline and parts, each quantity, with its options, and arm once.

        A claim's own quantity is often a condition as well; then the condition's interval is what decided.
        """
        return list(
            {(each.says, each.quantity, each.arm): each for each in (*self.headline, *self.parts)}.values()
        )


def find(
    claim: Claim,
    records: pd.DataFrame,
    profile: str,
    generator: np.random.Generator,
) -> Finding:
    """Judge one claim on one profile's records (one row per run; may be empty).

    ``generator`` is for the bootstrap.

    >>> from filterwise.claims.claim_files import load
    >>> find(load("4-sfp")[0], pd.DataFrame(), "quick", np.random.default_rng(0)).verdict
    'not measured'
    """
    rule = claim.criterion.rule
    headline_rule = rule if rule.kind == "interval" else Rule()
    known: Draws = {}
    headline = estimate(claim.quantity, records, claim.options, headline_rule, generator, known)
    conditions = claim.criterion.conditions_for(profile)
    if not conditions:
        if not headline:
            return Finding(claim, profile, "not measured", NO_RECORD)
        return Finding(claim, profile, "reported", "No pass rule was set.", headline)
    parts = [
        (each, estimate(each.quantity, records, each.options, each.rule or rule, generator, known))
        for each in conditions
    ]
    reasons = [
        Reason(
            "not measured", quantity_of(each.quantity).said(each.options), f"no value{_of_what(each.options)}"
        )
        for each, found in parts
        if not found
    ]
    decided = any(found for _, found in parts) or claim.quantity in {each.quantity for each, _ in parts}
    if headline and not decided:  # measured, and yet nothing that decides
        known_values = "; ".join(_words(each) for each in headline[:NAMED_ARMS])
        reasons.append(Reason("not measured", quantity_of(claim.quantity).said(claim.options), known_values))
    if rule.kind == "count":
        reasons += count([part for part in parts if part[1]], claim)
    else:
        reasons += [judge(c, one, c.rule or rule, claim.seeds) for c, found in parts for one in found]
    verdict, why, first = worst(reasons)
    if verdict == "not measured" and headline:
        verdict = "undecided"  # something was measured, but nothing that decides
    estimates = tuple(one for _, found in parts for one in found)
    decided_by = None if verdict == "holds" else first
    if verdict == "fails" and (arms := met_everywhere(reasons, 1 if rule.kind == "count" else len(parts))):
        why += f" All that is asked for is met in {arms}."
    needed, there = _seeds_needed(reasons) if verdict == "undecided" else (math.nan, 0)
    return Finding(claim, profile, verdict, why, headline, estimates, decided_by, needed, there)


def _seeds_needed(reasons: Iterable[Reason]) -> tuple[float, int]:
    """The most that any open reason needs, and what it has; not a number if one lacks something else."""
    open_ones = [reason for reason in reasons if reason.verdict in ("undecided", "not measured")]
    if any(math.isnan(reason.seeds) for reason in open_ones):
        return math.nan, 0
    most = max(open_ones, key=lambda reason: reason.seeds)
    return most.seeds, most.n


def _of_what(options: Mapping[str, Any]) -> str:
    """The names among a condition's options, in brackets, such as (tree3 15/16, offline)."""
    names = [
        name for value in options.values() for name in (value if isinstance(value, list | tuple) else [value])
    ]
    words = ", ".join(name for name in names if isinstance(name, str))
    return f" ({words})" if words else ""


def _words(found: Estimate) -> str:
    return f"{number(found.value, quantity_of(found.quantity).digits)} ({found.arm})"
