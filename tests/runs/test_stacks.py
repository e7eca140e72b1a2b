"""Runs that train as one stack: fixed groups, keys of their own, everybody stored; kills lose nothing."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from tiny_runs import CIRCUMSTANCES, RUN

from filterwise.errors import ParameterError, TrainingDiverged
from filterwise.runs import Job, finding, grid, load_records, record, stacks, sweep

RUNS = grid(RUN, seed=range(4))
# a step so long that the loss overflows
DIVERGES = RUN.replace(**{"recipe.lr": 1e30})


def call(runs, root, together=4, **more):
    return sweep(runs, 1, root=root, device="cpu", together=together, progress=False, **more)


def test_a_stack_has_keys_of_its_own_and_nearly_the_numbers_of_single_runs(tmp_path, stacked):
    alone = call(RUNS, tmp_path, together=1).check().table
    both = call(RUNS, tmp_path).check().table
    assert [seeds for seeds, _ in stacked] == [[0, 1, 2, 3]]
    assert both["engine"].tolist() == ["stacked-4"] * 4
    assert alone["engine"].tolist() == ["single"] * 4
    assert not set(both["key"]) & set(alone["key"])
    assert both["spec_key"].tolist() == alone["spec_key"].tolist()
    assert both["train_loss"].tolist() == pytest.approx(alone["train_loss"].tolist(), rel=1e-3)
    again = call(RUNS, tmp_path).check().table
    assert len(stacked) == 1  # all were stored
    assert again.drop(columns=CIRCUMSTANCES).equals(both.drop(columns=CIRCUMSTANCES))


def test_only_what_differs_in_seed_and_rates_goes_together():
    runs = [RUN, RUN.replace(seed=1), RUN.replace(**{"recipe.lr": 0.1}), RUN.replace(**{"recipe.batch": 30})]
    runs += [RUN.then(recipe=RUN.recipe), RUN.then(recipe=RUN.recipe, seed=1)]
    assert stacks.groups(runs, 8) == [[0, 1, 2], [3], [4], [5]]
    assert stacks.groups(runs[:3], 8, ["a", "b", "a"]) == [[0, 2], [1]]
    with pytest.raises(ParameterError, match="together=0 is too small"):
        stacks.groups(runs, 0)


def test_a_member_that_diverges_fails_for_itself(tmp_path):
    answer = call([RUNS[0], DIVERGES, RUNS[1]], tmp_path)
    assert answer.table["status"].tolist() == ["run", "failed", "run"]
    (failure,) = answer.failures
    assert failure.run == DIVERGES
    with pytest.raises(TrainingDiverged):
        stacks.result(DIVERGES, (RUNS[0], DIVERGES, RUNS[1]), tmp_path, device="cpu")


KILLED = """
import sys
from filterwise.runs import grid, stacks
from tiny_runs import RUN, die_after

die_after(3)
runs = grid(RUN.replace(**{"recipe.epochs": 5}), seed=range(3))
stacks.result(runs[0], runs, sys.argv[1], device="cpu", checkpoint_every=2, deadline=1e12)
"""


def test_a_killed_stack_goes_on_and_ends_with_the_same_numbers(tmp_path, stacked):
    environment = {**os.environ, "PYTHONPATH": f"{Path(__file__).parent}:{os.environ.get('PYTHONPATH', '')}"}
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    runs = grid(RUN.replace(**{"recipe.epochs": 5}), seed=range(3))
    keys = [run.keys(None, "cpu", "stacked-3") for run in runs]
    assert [finding.done_epochs(tmp_path, each) for each in keys] == [2, 2, 2]
    resumed = call(runs, tmp_path, 3).check().table
    assert stacked == [([0, 1, 2], [3, 4, 5])]
    whole = call(runs, tmp_path / "whole", 3).check().table
    assert resumed.drop(columns=CIRCUMSTANCES).equals(whole.drop(columns=CIRCUMSTANCES))
    assert not list(tmp_path.glob("*.partial"))


def test_jobs_of_a_stack_are_measured_and_written_one_by_one(tmp_path, stacked):
    jobs = [
        Job(f"seed {run.seed}", run, "tiny.weights", cost_seconds=1.0, priority=run.seed // 2) for run in RUNS
    ]
    where = {"root": tmp_path / "runs", "device": "cpu"}
    report = record("4-sfp", "quick", jobs, together=4, out=tmp_path / "stacked", **where)
    assert sorted(report.done) == [job.name for job in jobs]
    assert [seeds for seeds, _ in stacked] == [[0, 1], [2, 3]]  # priorities are kept apart
    record("4-sfp", "quick", jobs, out=tmp_path / "alone", **where)
    tables = [load_records("4-sfp", "quick", tmp_path / name) for name in ("stacked", "alone")]
    tables = [table.sort_values("name", ignore_index=True) for table in tables]
    assert tables[0]["engine"].tolist() == ["stacked-2"] * 4
    made = ["seconds", "measure_seconds", "recorded", "engine", "key"]
    pd.testing.assert_frame_equal(*(table.drop(columns=made) for table in tables), rtol=1e-3, atol=0.04)
