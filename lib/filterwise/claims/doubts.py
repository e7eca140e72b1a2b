"""What came of the experiments that tell apart why a claim failed: the same jobs, one thing varied."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from filterwise.claims.registered import values_by_arm
from filterwise.claims.verdict import Finding, OnceMore
from filterwise.runs.records import VARIED, without_varied


def once_more(finding: Finding, records: pd.DataFrame) -> Iterator[OnceMore]:
    """The experiments of a failed claim that were run; ``records`` are those of its profile, varied ones too.

    A varied job takes the place of the one that it varies; numbers that this leaves as they are are left out.
    """
    doubt, decided = finding.claim.doubt, finding.decided_by
    if finding.verdict != "fails" or doubt is None or decided is None or VARIED not in records:
        return
    conditions = finding.claim.criterion.conditions_for(finding.profile)
    for what in doubt.varied:
        rows = records[records[VARIED] == what]
        same = without_varied(records)
        same = same[same["seed"].isin(rows["seed"])]
        replaced = rows["name"].str.removesuffix(f", {what}")
        swapped = pd.concat(
            [same[~same["name"].isin(replaced)], rows.drop(columns=VARIED)], ignore_index=True
        )
        form = _form(rows, same[same["name"].isin(replaced)])
        told: set[str] = set()
        for each in conditions:
            if each.quantity != decided.quantity or not len(rows):
                continue
            before = values_by_arm(each.quantity, same, each.options)
            for arm, after in values_by_arm(each.quantity, swapped, each.options).items():
                if arm in before and before[arm] != after and arm not in told:
                    told.add(arm)
                    yield OnceMore(what, each.quantity, arm, before[arm], after, rows["seed"].nunique(), form)


def _form(rows: pd.DataFrame, others: pd.DataFrame) -> str:
    """How rows were computed, where that is not how the others were."""
    if "precision" not in rows or set(rows["precision"]) == set(others["precision"]):
        return ""
    here, there = (" and ".join(sorted(set(table["precision"]))) for table in (rows, others))
    return f"computed in {here}, the others in {there}"
