"""Jobs whose runs train together: each is still measured, written, put off and paused by itself."""

import sys

import pandas as pd
import pytest
from tiny_runs import RUN, measured

from filterwise.runs import Job, execute, load_records, record

JOBS = [Job(f"seed {seed}", RUN.replace(seed=seed), measured, cost_seconds=10.0) for seed in range(4)]


class Records:
    """Jobs recorded below a folder of their own."""

    def __init__(self, folder):
        self.folder, self.lines = folder, []

    def __call__(self, jobs=JOBS, budget="10m", choice="always", **more):
        report = record(
            "4-sfp", "quick", budget, queue=jobs, root=self.folder / "runs", out=self.folder / "records",
            device="cpu", together=choice, say=self.lines.append, **more,
        )  # fmt: skip
        return report, load_records("4-sfp", "quick", self.folder / "records")


def test_records_have_the_same_rows_each_written_when_it_ends(tmp_path, stacks, monkeypatch):
    alone = Records(tmp_path / "alone")(choice="never")[1]
    records = Records(tmp_path / "together")
    seen = []
    measures = [
        Job(job.name, job.run, lambda result: seen.append(len(records.lines)) or measured(result))
        for job in JOBS
    ]
    report, table = records(measures)
    assert len(stacks) == 1
    assert report.done == table["name"].tolist() == ["seed 0", "seed 1", "seed 2", "seed 3"]
    assert seen == [0, 1, 2, 3]  # when the next is measured, the one before has been written
    times = ["seconds", "measure_seconds", "recorded"]
    pd.testing.assert_frame_equal(table.drop(columns=times), alone.drop(columns=times), rtol=1e-3, atol=1e-4)
    assert records(measures)[0].done == []


def test_a_group_pauses_at_the_deadline_and_goes_on(tmp_path, monkeypatch, stacks):
    jobs = [Job(job.name, job.run.replace(**{"recipe.epochs": 4}), measured, 1.0) for job in JOBS]
    records = Records(tmp_path)
    clock = iter([0.0, 0.0, 1e12])
    with monkeypatch.context() as patch:
        patch.setattr(execute, "_clock", lambda: next(clock, 1e12))
        report, table = records(jobs)
    assert "seed 0" in report.paused
    assert records.lines[0] == "seed 0: paused after epoch 1 of 4"
    assert len(table) == 0
    assert [execute.done_epochs(tmp_path / "runs", job.run.keys()) for job in jobs] == [1, 1, 1, 1]
    report, table = records(jobs)
    assert stacks[-1] == ([0, 1, 2, 3], [2, 3, 4])
    assert sorted(report.done) == [job.name for job in jobs]
    assert table["epochs"].tolist() == [4] * 4


@pytest.mark.parametrize(("budget", "sizes"), [("25s", [2]), ("45s", [4]), ("8s", [4])])
def test_a_group_is_no_larger_than_the_budget(tmp_path, monkeypatch, stacks, budget, sizes):
    """Of four jobs of ten seconds, two fit into 25; where not even one fits, all are begun together."""
    monkeypatch.setattr(sys.modules["filterwise.runs.record"], "_clock", lambda: 0.0)
    monkeypatch.setattr(execute, "_clock", lambda: 0.0)
    Records(tmp_path)(budget=budget)
    assert [len(seeds) for seeds, _ in stacks][:1] == sizes


def test_jobs_of_other_priority_are_kept_apart(tmp_path, stacks):
    jobs = [Job(job.name, job.run, measured, priority=place // 2) for place, job in enumerate(JOBS)]
    Records(tmp_path)(jobs)
    assert [seeds for seeds, _ in stacks] == [[0, 1], [2, 3]]
