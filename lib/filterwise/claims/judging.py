"""Conditions on estimates: the verdict of each, and the worst of many, with the reason in words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from filterwise.claims.estimates import Estimate
from filterwise.claims.more_seeds import seeds_to_decide
from filterwise.claims.registered import quantity_of
from filterwise.claims.schema import Claim, Condition, Rule
from filterwise.claims.words import asked, number

#: Arms, and comparisons, that are named one by one; the rest stand in the card's fold.
NAMED_ARMS, NAMED_COMPARISONS = 3, 2
_SHARES = {"holds": "which all of the interval is", "fails": "which none of the interval is"}


@dataclass(frozen=True)
class Reason:
    """A verdict on one arm: what was looked at, what was found there, and what was asked for.

    ``arm``: of which networks and data. ``seeds``: how many would decide it where it is undecided, ``n`` are
    there.
    """

    verdict: str
    what: str
    found: str = ""
    wanted: str = ""
    estimate: Estimate | None = None
    seeds: float = math.nan
    arm: str = ""
    n: int = 0


def judge(condition: Condition, found: Estimate, rule: Rule, seeds: int) -> Reason:
    """The verdict of one condition on one arm; ``seeds`` are needed at least."""
    return replace(_judged(condition, found, rule, seeds), arm=found.arm, n=found.n)


def _judged(condition: Condition, found: Estimate, rule: Rule, seeds: int) -> Reason:
    about = quantity_of(condition.quantity)
    what, ask = about.said(condition.options), asked(condition, found.n)
    value = number(found.value, about.digits)
    if found.n < seeds:
        n = f"{found.n} seed{'s' if found.n > 1 else ''}"
        more = seeds_to_decide(condition, found, rule, seeds) if rule.kind == "interval" else seeds
        told = f"{value} from {n} ({found.arm})"
        return Reason("undecided", what, told, f"{ask}, of {seeds} seeds", found, more)
    if rule.kind == "estimate":
        verdict = "holds" if condition.met(found.value, found.n) else "fails"
        return Reason(verdict, what, f"{value} ({found.arm})", ask, found)
    if math.isnan(found.low):
        return Reason("undecided", what, f"{value}, without an interval ({found.arm})", ask, found)
    interval = f"interval {number(found.low, about.digits)} to {number(found.high, about.digits)}"
    inside = condition.met(found.low, found.n), condition.met(found.high, found.n)
    crosses = False
    if condition.op == "within":
        low, high = condition.limits(found.n)
        crosses = found.low < low and found.high > high
    verdict = "holds" if all(inside) else "undecided" if any(inside) or crosses else "fails"
    share = _SHARES.get(verdict, "which a part of the interval is")
    more = seeds_to_decide(condition, found, rule, seeds) if verdict == "undecided" else math.nan
    return Reason(verdict, what, f"{value}, {interval} ({found.arm})", f"{ask}, {share}", found, more)


def count(parts: Sequence[tuple[Condition, Sequence[Estimate]]], claim: Claim) -> list[Reason]:
    """Verdicts of a count rule, one per arm: all conditions (``parts``) met together in enough seeds."""
    rule = claim.criterion.rule
    by_arm: dict[str, dict[int, list[bool]]] = {}
    for condition, estimates in parts:
        for found in estimates:
            seeds = by_arm.setdefault(found.arm, {})
            for seed, value in zip(found.seeds, found.values, strict=True):
                seeds.setdefault(seed, []).append(condition.met(value, found.n))
    reasons, what = [], "Seeds in which all conditions are met"
    for arm, seeds in by_arm.items():
        whole = [all(met) for met in seeds.values() if len(met) == len(parts)]
        wanted = max(claim.seeds, rule.of)
        found_words = f"{sum(whole)} of {len(whole)} ({arm})"
        if len(whole) < wanted:
            asked_for = f"{rule.seeds} of {wanted}"
            open_one = Reason("undecided", what, found_words, asked_for, None, wanted, arm, len(whole))
            reasons.append(open_one)
            continue
        needed = math.ceil(rule.seeds * len(whole) / rule.of)
        verdict = "holds" if sum(whole) >= needed else "fails"
        reasons.append(Reason(verdict, what, found_words, f"{needed} of {len(whole)}", arm=arm))
    return reasons


def met_everywhere(reasons: Iterable[Reason], conditions: int) -> str:
    """The arms, in words, that all of so many conditions look at and that meet them all; empty without any.

    >>> found = [Reason("holds", "A", arm="x"), Reason("fails", "B", arm="x"), Reason("holds", "A", arm="y")]
    >>> met_everywhere([*found, Reason("holds", "B", arm="y"), Reason("holds", "A", arm="z")], 2)
    'y'
    """
    verdicts: dict[str, list[str]] = {}
    for reason in reasons:
        if reason.arm:
            verdicts.setdefault(reason.arm, []).append(reason.verdict)
    arms = [arm for arm, found in verdicts.items() if found == ["holds"] * conditions]
    more = f"; and {len(arms) - NAMED_ARMS} others" if len(arms) > NAMED_ARMS else ""
    return "; ".join(arms[:NAMED_ARMS]) + more


def worst(reasons: Iterable[Reason]) -> tuple[str, str, Estimate | None]:
    """The worst verdict, the reasons of all that gave it, in sentences, and the first of these estimates.

    >>> worst([Reason("holds", "A", "1 (x)", "1"), Reason("fails", "B", "2 (x)", "3"), Reason("holds", "C")])
    ('fails', 'B: 2 (x). Asked for is 3.', None)
    """
    each = list(reasons)
    kinds = {reason.verdict for reason in each}
    if kinds <= {"not measured"}:
        deciding = ["not measured"]
    elif "fails" in kinds:
        deciding = ["fails"]
    else:
        deciding = ["holds"] if kinds == {"holds"} else ["undecided", "not measured"]
    gave = [reason for reason in each if reason.verdict in deciding]
    first = next((reason.estimate for reason in gave if reason.estimate is not None), None)
    return deciding[0], _sentences(gave), first


def _sentences(reasons: Iterable[Reason]) -> str:
    arms: dict[tuple[str, str], list[str]] = {}
    for reason in reasons:
        arms.setdefault((reason.what, reason.wanted), []).append(reason.found)
    said = []
    for (what, wanted), found in arms.items():
        shown = [words for words in dict.fromkeys(found) if words]
        more = f" and {len(shown) - NAMED_ARMS} more" if len(shown) > NAMED_ARMS else ""
        numbers = f": {'; '.join(shown[:NAMED_ARMS])}{more}" if shown else ""
        said.append(f"{what}{numbers}." + (f" Asked for is {wanted}." if wanted else ""))
    left = len(said) - NAMED_COMPARISONS
    others = f" And {left} more comparison{'s' if left > 1 else ''} like these." if left > 0 else ""
    return " ".join(said[:NAMED_COMPARISONS]) + others
