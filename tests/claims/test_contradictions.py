"""No card of the ledger contradicts itself: over all claims and all committed records."""

import math
from functools import cache
from itertools import pairwise

import numpy as np
import pytest

from filterwise import claims
from filterwise.claims.judging import judge
from filterwise.claims.registered import rows_found
from filterwise.claims.schema import Condition, Rule
from filterwise.claims.test_images import with_right
from filterwise.parameters import PROFILES
from filterwise.runs.records import load_records


@cache
def found():
    return tuple(claims.findings())


def name(finding):
    return f"{finding.claim.chapter} {finding.claim.id} {finding.profile}"


def contradictions(finding):
    """What a card says that cannot be true at once, in words."""
    estimates, verdict = finding.estimates(), finding.verdict
    values = [each for each in estimates if not math.isnan(each.value)]
    if verdict == "not measured" and values:
        yield "not measured, and has a value"
    if verdict != "not measured" and not values:
        yield f"{verdict}, and has no value"
    if any(each.n < 1 for each in values):
        yield "a value of no seeds"
    rule = bool(finding.claim.criterion.conditions_for(finding.profile))
    if verdict in ("holds", "fails") and not rule:
        yield f"{verdict}, and has no pass rule"
    if verdict == "reported" and rule:
        yield "reported, and has a pass rule"
    for each in values:
        inside = math.isnan(each.low) or each.low - 1e-9 <= each.value <= each.high + 1e-9
        if not inside:
            yield f"{each.quantity} ({each.arm}) lies outside of its own interval"
        if each.values and len(each.values) > 1:
            mean = float(np.mean(each.values))
            if not math.isclose(mean, each.value, rel_tol=1e-9, abs_tol=1e-12):
                yield f"{each.quantity} ({each.arm}) is not the mean of its seeds"
    yield from _undecided_by_noise(finding)


def _undecided_by_noise(finding):
    """Values that were compared without their interval although their spread is larger than they are."""
    if finding.verdict not in ("holds", "fails"):
        return
    rule = finding.claim.criterion.rule
    for condition in finding.claim.criterion.conditions_for(finding.profile):
        if (condition.rule or rule).kind != "estimate":
            continue
        for each in finding.parts:
            same = each.quantity == condition.quantity
            if same and not math.isnan(each.spread) and each.spread > abs(each.value) > 0:
                yield f"{each.quantity} ({each.arm}) decides by a value smaller than its spread"


def test_no_card_contradicts_itself():
    assert {name(one): said for one in found() if (said := list(contradictions(one)))} == {}


@pytest.mark.parametrize(
    "condition",
    [
        Condition("snr_ratio", ">", bound=0.5),
        Condition("snr_ratio", "<=", bound=0.5),
        Condition("snr_ratio", "within", low=0.4, high=0.6),
    ],
)
def test_nothing_holds_or_fails_because_an_interval_is_wide(condition):
    """An interval that grows about its middle goes from a verdict to undecided, never to one."""
    for value in np.linspace(0, 1, 21):
        verdicts = []
        for half in np.linspace(0.001, 2, 60):
            about = {"spread": 0.1, "low": value - half, "high": value + half, "n": 3, "control": 0.0}
            about |= {"seeds": (), "values": (), "controls": (), "data": "d", "device": "cpu"}
            estimate = claims.Estimate("snr_ratio", "net", value, **about)
            verdicts.append(judge(condition, estimate, Rule(), 3).verdict)
        changes = [one for one, other in pairwise(verdicts) if one != other]
        assert len(changes) <= 1
        if changes:
            assert verdicts[-1] == "undecided"


def test_values_image_by_image_have_the_values_as_their_means():
    differing, known = [], 0
    for chapter in claims.chapters():
        conditions = [each for claim in claims.load(chapter) for each in claim.criterion.conditions]
        for profile in PROFILES:
            records = with_right(load_records(chapter, profile), chapter, profile)
            for name, options in {
                (c.quantity, str(c.options)): (c.quantity, c.options) for c in conditions
            }.values():
                for row in rows_found(name, records, options):
                    if row.get("images") is not None:
                        known += 1
                        if abs(float(np.mean(row["images"])) - row["value"]) > 1e-5:
                            differing.append((name, row["arm"], row["seed"]))
    assert known > 100
    assert differing == []


def test_the_ledger_and_its_first_screen_count_alike():
    page = claims.ledger_page()
    measured = [finding for finding in found() if finding.verdict != "not measured"]
    assert page.split("\n## ", maxsplit=1)[0].count('href="#claim-') == len(measured)


def test_a_claim_that_fails_on_photographs_says_why_it_may():
    """A contradiction of a paper is not left without its likeliest reasons and the cheapest test of them."""
    failed = [each for each in found() if each.profile == "cifar" and each.verdict == "fails"]
    assert [name(each) for each in failed if each.claim.doubt is None] == []


def test_a_claim_that_is_not_measured_on_photographs_says_why():
    lacking = [each for each in found() if each.profile == "cifar" and each.verdict == "not measured"]
    assert [name(each) for each in lacking if not each.claim.unmeasured] == []


def test_what_a_seed_more_would_decide_is_told_in_hours():
    open_ones = [each for each in found() if each.profile == "cifar" and math.isfinite(each.seeds_to_decide)]
    assert [name(each) for each in open_ones if not each.hours_a_seed > 0] == []
