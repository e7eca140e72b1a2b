"""What the evidence costs to make again: core-hours by chapter and scale, minutes of a GPU by bundle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from filterwise.book.front_page import at_largest_scale, judged
from filterwise.claims.ledger_grid import SCALES
from filterwise.claims.more_seeds import in_words
from filterwise.papers.chapter import chapter_of, decided_by, folders, jobs
from filterwise.parameters import PROFILES
from filterwise.runs.records import load_records

#: The profile that is foreseen for a GPU, in bundles.
_WAITING = "short"


def core_hours(records: pd.DataFrame) -> float:
    """Hours of one core that the trainings and measurements of records took, each training counted once.

    >>> rows = {"spec_key": ["a", "a"], "seconds": [3600.0] * 2, "measure_seconds": [900.0] * 2, "threads": 2}
    >>> core_hours(pd.DataFrame(rows))
    3.0
    """
    if records.empty:
        return 0.0
    trained = records.drop_duplicates("spec_key")
    seconds = (trained["seconds"] * trained["threads"]).sum()
    return float((seconds + (records["measure_seconds"] * records["threads"]).sum()) / 3600)


def spent() -> pd.DataFrame:
    """One row a chapter and scale that has records: how many, on what, and their core-hours."""
    rows = []
    for name in folders():
        for profile in PROFILES:
            records = load_records(name, profile, varied=True)
            if len(records):
                rows.append(
                    {
                        "chapter": chapter_of(name).title,
                        "scale": SCALES[profile],
                        "records": len(records),
                        "device": ", ".join(sorted(set(records["device"].astype(str)))),
                        "core-hours": core_hours(records),
                    }
                )
    return pd.DataFrame(rows)


def foreseen() -> pd.DataFrame:
    """One row a bundle at the papers' width: jobs, what it decides, minutes of one H200.

    Bundles of a chapter that decide nothing, its controls and variants, are one row.
    """
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for name in folders():
        for job in jobs(name, _WAITING):
            decides = ", ".join(decided_by(name, job.bundle, _WAITING))
            own = rows.setdefault(
                (name, job.bundle if decides else ""),
                {
                    "chapter": chapter_of(name).title,
                    "bundle": job.bundle if decides else "controls and variants",
                    "jobs": 0,
                    "decides": decides,
                    "minutes": 0.0,
                },
            )
            own["jobs"] += 1
            own["minutes"] += (job.cost_seconds or 0.0) / 60
    return pd.DataFrame(rows.values())


def undecided() -> Iterator[tuple[str, str]]:
    """Each claim that the first page shows as undecided, and what would decide it."""
    for finding in at_largest_scale(judged()):
        if finding.verdict == "undecided":
            lacks = in_words(finding.seeds_to_decide, finding.seeds_there, finding.hours_a_seed)
            more = lacks or "It lacks a part that is not measured yet."
            claim = f"{finding.claim.id}, {finding.claim.plain} ({SCALES[finding.profile]})"
            yield claim, more


def costs() -> str:
    """All of it in Markdown, with the totals in words."""
    made, waiting = spent(), foreseen()
    if made.empty:
        return "There is no record yet."
    total = made["core-hours"].sum()
    rows = [
        (row["chapter"], row["scale"], str(row["records"]), row["device"], f"{row['core-hours']:.2f}")
        for _, row in made.iterrows()
    ]
    bundles = [
        (row["chapter"], row["bundle"], str(row["jobs"]), row["decides"] or "–", f"{row['minutes']:.1f}")
        for _, row in waiting.iterrows()
    ]
    return "\n\n".join(
        [
            f"The records of this copy took {total:.1f} hours of one core; `filterwise record --all` makes "
            "them again, on as many machines as share the folder of runs. What several networks start from "
            "is in these hours where it has a record of its own.",
            table(("Chapter", "Scale", "Records", "Device", "Core-hours"), rows),
            f"At the papers' width with a tenth of the epochs {waiting['minutes'].sum() / 60:.1f} hours of "
            "one H200 are foreseen, by rule and not measured; bundles are run from the top:",
            table(("Chapter", "Bundle", "Jobs", "Decides", "GPU-minutes"), bundles),
            "What is undecided at the largest scale at which a comparison has the seeds asked for, and what "
            "would decide it:",
            table(("Claim", "What would decide it"), list(undecided())),
        ]
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown.

    >>> table(["a", "b"], [["1", "x|y"]]).splitlines()[-1]
    '| 1 | x\\\\|y |'
    """
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
