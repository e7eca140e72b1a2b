"""What came of the experiments that tell apart why a claim failed: the same jobs, one thing varied."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from filterwise.claims.registered import rows_found
from filterwise.claims.verdict import Finding, OnceMore
from filterwise.runs.records import VARIED, without_varied

_LENGTH = re.compile(r", \d+ epochs")  # in the name of an arm whose epochs are varied


def once_more(finding: Finding, records: pd.DataFrame) -> Iterator[OnceMore]:
    """What experiments gave that tell apart why a claim failed: of each number that misses what is asked for.

    ``records`` are those of the finding's profile, varied ones too. The varied jobs alone are compared with
    the same jobs unvaried, so that a number that needs another run as well, such as a peer's, has no value.
    """
    doubt = finding.claim.doubt
    if finding.verdict != "fails" or doubt is None or VARIED not in records:
        return
    plain = without_varied(records)
    for what in doubt.varied:
        rows = records[records[VARIED] == what].drop(columns=VARIED).reset_index(drop=True)
        twins = plain[plain["name"].isin(rows["name"].str.removesuffix(f", {what}"))].reset_index(drop=True)
        form, told = _form(rows, twins), set[tuple[str, str]]()
        for each in finding.claim.criterion.conditions_for(finding.profile) if len(rows) else ():
            before = _by_arm(each.quantity, twins, each.options)
            for arm, after in _by_arm(each.quantity, rows, each.options).items():
                key = (each.quantity, arm)
                own = [part for part in finding.parts if (part.quantity, _LENGTH.sub("", part.arm)) == key]
                missed = not all(each.met(part.value, part.n) for part in own)
                if missed and arm in before and key not in told:
                    told.add(key)
                    spread = statistics.stdev(after) if len(after) > 1 else math.nan
                    means = statistics.fmean(before[arm]), statistics.fmean(after)
                    seeds = rows["seed"].nunique()
                    yield OnceMore(what, each.quantity, arm, *means, seeds, spread, form)


def _by_arm(name: str, records: pd.DataFrame, options: Mapping[str, Any]) -> dict[str, list[float]]:
    """A quantity's values on each arm, without its epochs: of every seed, or the one that is pooled."""
    found: dict[str, list[float]] = {}
    for row in rows_found(name, records, options):
        found.setdefault(_LENGTH.sub("", row["arm"]), []).append(float(row["value"]))
    return found


def _form(rows: pd.DataFrame, others: pd.DataFrame) -> str:
    """How rows were computed, where that is not how the others were."""
    if "precision" not in rows or set(rows["precision"]) == set(others["precision"]):
        return ""
    here, there = (" and ".join(sorted(set(table["precision"]))) for table in (rows, others))
    return f"computed in {here}, the others in {there}"
