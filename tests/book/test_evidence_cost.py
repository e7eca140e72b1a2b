"""What the evidence costs: trainings once, every measurement, every bundle's foreseen minutes."""

import re

import pandas as pd
import pytest

from filterwise.book import evidence_cost
from filterwise.book.front_page import at_largest_scale, judged
from filterwise.papers.chapter import decided_by, folders, jobs
from filterwise.runs.records import load_records


def test_a_training_counts_once_and_threads_count_as_cores() -> None:
    rows = pd.DataFrame(
        {
            "spec_key": ["a", "a", "b"],
            "seconds": [3600.0, 3600.0, 1800.0],
            "measure_seconds": [0.0, 360.0, 0.0],
        }
    )
    assert evidence_cost.core_hours(rows.assign(threads=1)) == pytest.approx(1.6)
    assert evidence_cost.core_hours(rows.assign(threads=2)) == pytest.approx(3.2)
    assert evidence_cost.core_hours(rows[:0]) == 0


def test_every_committed_record_is_counted() -> None:
    table = evidence_cost.spent()
    assert table["records"].sum() == sum(len(load_records(name, varied=True)) for name in folders())
    assert (table["core-hours"] > 0).all()


def test_every_job_at_the_papers_width_is_foreseen_and_what_decides_stands_alone() -> None:
    table = evidence_cost.foreseen()
    queue = [(name, job) for name in folders() for job in jobs(name, "short")]
    assert table["jobs"].sum() == len(queue)
    assert table["minutes"].sum() == pytest.approx(sum(job.cost_seconds or 0 for _, job in queue) / 60)
    deciding = {(name, job.bundle) for name, job in queue if decided_by(name, job.bundle, "short")}
    assert (table["decides"] != "").sum() == len(deciding)


def test_the_page_says_of_every_undecided_claim_what_would_decide_it() -> None:
    text = evidence_cost.costs()
    last = text[text.index("What is undecided") :]
    open_ones = [each for each in at_largest_scale(judged()) if each.verdict == "undecided"]
    assert len(re.findall(r"^\| [A-Z]\w+, ", last, flags=re.MULTILINE)) == len(open_ones)
    for finding in open_ones:
        assert f"| {finding.claim.id}, {finding.claim.plain}" in last
