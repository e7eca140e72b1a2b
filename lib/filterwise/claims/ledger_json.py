"""The ledger for other programs: plain values, one entry a claim and profile."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

from filterwise.claims.estimates import Estimate
from filterwise.claims.registered import quantity_of
from filterwise.claims.verdict import Finding


def entries(found: Iterable[Finding]) -> list[dict[str, Any]]:
    """Findings as values that JSON takes; what is not a number is None.

    Each entry has ``claim``, ``chapter``, ``statement``, ``verdict`` and ``why``; ``paper`` (value, text,
    source, where); ``scope`` (profile, data, device, n seeds); ``criterion`` (text, rule, note); and
    ``measured``, for each quantity and arm its value, spread, interval, seeds, control, and the half-widths
    that seeds alone and test images alone give.

    >>> from filterwise.claims.ledger_table import findings
    >>> entries(findings("4-sfp", "quick"))[0]["claim"]
    'S1'
    """
    return [_entry(finding) for finding in found]


def _entry(finding: Finding) -> dict[str, Any]:
    claim, measured = finding.claim, finding.estimates()
    rule = claim.criterion.rule
    return {
        "chapter": claim.chapter,
        "claim": claim.id,
        "statement": claim.statement,
        "verdict": finding.verdict,
        "why": finding.why,
        "seeds_to_decide": finding.seeds_to_decide if math.isfinite(finding.seeds_to_decide) else None,
        "hours_a_seed": finding.hours_a_seed if math.isfinite(finding.hours_a_seed) else None,
        "paper": {
            "value": claim.paper.value,
            "text": claim.paper.text,
            "source": claim.paper.source,
            "where": claim.where,
        },
        "scope": {
            "profile": finding.profile,
            "data": sorted({each.data for each in measured}),
            "device": sorted({each.device for each in measured}),
            "n": finding.fewest,
        },
        "criterion": {
            "text": claim.criterion.text,
            "rule": rule.kind,
            "method": rule.method if rule.kind == "interval" else None,
            "level": rule.level if rule.kind == "interval" else None,
            "seeds": claim.seeds,
            "note": claim.note,
        },
        "doubt": None if claim.doubt is None else dataclasses.asdict(claim.doubt),
        "once_more": [
            dataclasses.asdict(each) | {"spread": _plain(each.spread)} for each in finding.once_more
        ],
        "measured": [_measured(each) for each in measured],
        "provenance": {
            "records": f"data/records/{claim.chapter}/{finding.profile}.csv",
            "claims": f"data/claims/{claim.chapter}.yml",
        },
    }


def _measured(part: Estimate) -> dict[str, Any]:
    about = quantity_of(part.quantity)
    return {
        "quantity": part.quantity,
        "says": f"{part.says}.",
        "unit": about.unit,
        "arm": part.arm,
        "value": _plain(part.value),
        "spread": _plain(part.spread),
        "interval": [_plain(part.low), _plain(part.high)],
        "half_width_by_seeds": _plain(part.by_seeds),
        "half_width_by_test_images": _plain(part.by_images),
        "n": part.n,
        "seeds": dict(zip(map(str, part.seeds), map(_plain, part.values), strict=True)),
        "control": {"value": _plain(part.control), "says": about.control},
    }


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None
