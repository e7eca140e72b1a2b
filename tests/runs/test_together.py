"""Runs that train together: the same rows as one by one, whatever happens on the way."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from tiny_runs import CIRCUMSTANCES, RUN

from filterwise import training
from filterwise.errors import ParameterError, TrainingDiverged
from filterwise.runs import execute, grid, record, store, sweep, together
from filterwise.training import Decision

RUNS = grid(RUN, seed=range(3), **{"recipe.lr": [0.05, 0.1]})
DIVERGES = RUN.replace(**{"recipe.lr": 1e30, "recipe.momentum": 0.5})


def call(runs, tmp_path, choice="always", jobs=1, **more):
    return sweep(runs, jobs, root=tmp_path, device="cpu", progress=False, together=choice, **more)


def equal(table, other):
    """Tables that say the same but for how they were made."""
    pd.testing.assert_frame_equal(
        table.drop(columns=CIRCUMSTANCES), other.drop(columns=CIRCUMSTANCES), rtol=1e-3, atol=1e-4
    )
    return True


def made(run, root):
    """How many trained together, or None, by the stored result."""
    return execute.stored(run, root)[0].provenance.get("together")


def test_groups_hold_exactly_what_may_train_together():
    alike = [RUN.replace(**change) for change in (
        {}, {"seed": 4}, {"recipe.lr": 0.2}, {"recipe.momentum": 0.5}, {"recipe.weight_decay": 0.0},
        {"recipe.schedule": "cosine"}, {"recipe.warmup_steps": 3},
    )]  # fmt: skip
    assert together.groups(alike) == [list(range(len(alike)))]
    for change in (
        {"recipe.epochs": 3}, {"recipe.batch": 30}, {"recipe.nesterov": False}, {"recipe.flip": False},
        {"recipe.shift": 0}, {"recipe.label_smoothing": 0.1}, {"recipe.precision": "auto"},
        {"recipe.memory_format": "auto"}, {"model": "vgg6", "model_options": {}}, {"model_options.d1": 3},
        {"data_options.n": 30}, {"data_options.seed": 1},
        {"data_options": {"n": 60, "labels": 3, "held_out": 0.5}},
    ):  # fmt: skip
        assert together.groups([RUN, RUN.replace(**change), RUN.replace(seed=1)]) == [[0, 2], [1]], change
    labels = RUN.replace(data_options={"n": 60, "n_test": 30}, labels=3)
    assert together.groups([RUN, labels]) == [[0], [1]]
    many = grid(RUN, seed=range(17))
    assert [len(group) for group in together.groups(many)] == [9, 8]  # 16 and 1 would leave one alone
    assert together.groups(many[:4], apart=["a", "b", "a", "a"]) == [[0, 2, 3], [1]]


def test_every_worker_gets_a_group_and_leaders_come_first():
    runs = grid(RUN, seed=range(2), **{"model_options.d1": [2, 3, 4]})
    assert together.turns(runs, 2, "always", "cpu") == [
        (0, [3]), (1, [4]), (3, [0]), (4, [1]), (2, [5]), (5, [2]),
    ]  # fmt: skip
    assert together.turns(runs[:2], 2, "always", "cpu") == [(0, []), (1, [])]
    alone = [(place, []) for place in range(6)]
    assert together.turns(runs, 2, "never", "cuda") == alone
    assert together.turns(runs, 2, "auto", "cpu") == alone


def test_a_sweep_has_the_same_table(tmp_path, stacks):
    runs = [RUNS[0], DIVERGES, *RUNS[1:], RUN.replace(**{"model_options.d1": 3})]
    alone = call(runs, tmp_path / "alone", "never")
    assert stacks == []
    both = call(runs, tmp_path / "together")
    assert [len(seeds) for seeds, _ in stacks] == [7]
    assert both.table["status"].tolist() == ["run", "failed", "run", "run", "run", "run", "run", "run"]
    assert equal(both.table, alone.table)
    assert [failure.run for failure in both.failures] == [DIVERGES]
    assert "TrainingDiverged" in both.failures[0].traceback
    assert "learning rate 1e+30" in both.failures[0].error
    for run in RUNS:
        mine, other = (execute.stored(run, tmp_path / name)[0] for name in ("together", "alone"))
        assert (mine.provenance["together"], mine.provenance["engine"]) == (7, "stacked")
        assert mine.keys == other.keys
        assert {**other.provenance, **mine.provenance}.keys() == mine.provenance.keys()
        assert mine.history["train_loss"].tolist() == pytest.approx(
            other.history["train_loss"].tolist(), rel=1e-3
        )
        for name, weight in mine.network().state_dict().items():
            assert weight.numpy() == pytest.approx(other.network().state_dict()[name].numpy(), abs=1e-3)
    assert made(runs[-1], tmp_path / "together") is None  # of another width, it was alone
    assert [path.stem for path in (tmp_path / "together").glob("*.partial")] == [DIVERGES.key]
    again = call(RUNS, tmp_path / "together")
    assert again.table["status"].eq("stored").all()


def test_two_workers_have_the_same_table(tmp_path):
    alone = call([*RUNS, DIVERGES], tmp_path / "alone", "never")
    both = call([*RUNS, DIVERGES], tmp_path / "together", jobs=2, threads=1)
    assert equal(both.table, alone.table)
    assert [made(run, tmp_path / "together") for run in RUNS] == [4, 4, 4, 4, 3, 3]


@pytest.mark.parametrize("faster", [True, False])
def test_the_timing_decides(tmp_path, stacks, monkeypatch, faster):
    asked = []

    def faster_together(net, members, shape, device, recipe):
        asked.append((members, shape, device))
        return Decision(faster, "by a stand-in")

    monkeypatch.setattr(training, "faster_together", faster_together)
    call(RUNS[:3], tmp_path / "cpu", "auto")
    assert not asked  # on the CPU the answer is known
    monkeypatch.setattr(execute, "device_type", lambda device: "cuda")
    call(RUNS[:3], tmp_path / "cuda", "auto").check()
    assert asked[0] == (3, (20, 1, 16, 16), "cpu")
    assert [seeds for seeds, _ in stacks] == ([[0, 0, 1]] if faster else [])
    assert made(RUNS[0], tmp_path / "cuda") == (3 if faster else None)


KILLED = """
    import os, signal, sys
    sys.path.insert(0, {tests!r})
    import torch
    torch.set_num_threads(1)
    from tiny_runs import RUN
    from filterwise import training
    from filterwise.runs import grid, sweep

    real = training.fit_many

    def fit_many(*arguments, **options):
        def kill(row):
            if row["epoch"] == 3:
                os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **options | {{"after_epoch": kill}})

    training.fit_many = fit_many
    runs = grid(RUN.replace(**{{"recipe.epochs": 5}}), seed=range(3))
    sweep(runs, 1, root={root!r}, device="cpu", progress=False, together="always", checkpoint_every=2)
"""


def test_a_killed_group_goes_on_together_and_alone_within_the_same_call(tmp_path, stacks, monkeypatch):
    root, runs = tmp_path / "killed", grid(RUN.replace(**{"recipe.epochs": 5}), seed=range(3))
    script = KILLED.format(tests=str(Path(__file__).parent), root=str(root))
    done = subprocess.run([sys.executable, "-c", "\n".join(line[4:] for line in script.splitlines())])
    assert done.returncode == -9
    assert [execute.done_epochs(root, run.keys()) for run in runs] == [2, 2, 2]
    shutil.copytree(root, tmp_path / "retried")
    whole = call(runs, tmp_path / "whole").table
    del stacks[:]
    resumed = call(runs, root).table
    assert stacks == [([0, 1, 2], [3, 4, 5])]
    assert resumed.drop(columns=CIRCUMSTANCES).equals(whole.drop(columns=CIRCUMSTANCES))

    # a worker that died with the group is given its runs again; then one of them kills no other
    marks = [execute.partial_folder(tmp_path / "retried", run.keys()) / "together" for run in runs]
    (attempt,) = {mark.read_text() for mark in marks}
    monkeypatch.setattr(training, "fit_many", lambda *_, **__: pytest.fail("together again"))
    again = together.result(
        runs[0], runs[1:], tmp_path / "retried", device="cpu", choice="always", attempt=attempt
    )
    assert again.metrics["accuracy"] == pytest.approx(whole["accuracy"][0], abs=0.04)
    assert again.history["train_loss"].tolist() == pytest.approx(
        execute.stored(runs[0], root)[0].history["train_loss"].tolist(), rel=1e-3
    )


def test_a_group_that_fails_is_trained_one_by_one_and_not_tried_again(tmp_path, monkeypatch):
    tried = []

    def fit_many(*_, **__):
        tried.append(1)
        raise RuntimeError("out of memory")

    monkeypatch.setattr(training, "fit_many", fit_many)
    with pytest.warns(RuntimeWarning, match="3 runs could not be trained together .* out of memory"):
        answer = call(RUNS[:3], tmp_path).check()
    assert len(tried) == 1
    assert answer.table["status"].eq("run").all()
    assert [made(run, tmp_path) for run in RUNS[:3]] == [None] * 3
    assert not list(tmp_path.glob("*.partial"))


def test_only_members_in_step_go_together(tmp_path, stacks):
    stop = iter([0.0, 0.0, 1e12])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(execute, "_clock", lambda: next(stop))
        with pytest.raises(execute.Paused):
            execute.result(RUNS[2], tmp_path, device="cpu", deadline=1.0)
    execute.result(RUNS[5], tmp_path, device="cpu")
    call(RUNS, tmp_path).check()
    assert [made(run, tmp_path) for run in RUNS] == [4, 4, None, 4, 4, None]
    assert len(stacks) == 1


def test_a_diverging_leader_fails_for_itself(tmp_path):
    mates = RUNS[:2]
    with pytest.raises(TrainingDiverged, match=r"learning rate 1e\+30"):
        together.result(DIVERGES, mates, tmp_path, device="cpu", choice="always")
    assert [made(run, tmp_path) for run in mates] == [3, 3]


def test_ctrl_c_leaves_the_last_whole_epoch_of_all(tmp_path, monkeypatch, stacks):
    runs = [run.replace(**{"recipe.epochs": 4}) for run in RUNS[:3]]
    real = training.fit_many

    def stops(row):
        if row["epoch"] == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training, "fit_many", lambda *a, **o: real(*a, **o | {"after_epoch": stops}))
        with pytest.raises(KeyboardInterrupt):
            call(runs, tmp_path)
    assert [execute.done_epochs(tmp_path, run.keys()) for run in runs] == [2, 2, 2]
    assert not list(tmp_path.glob("*.partial/together"))
    call(runs, tmp_path).check()
    assert stacks[-1] == ([0, 0, 1], [3, 4])


def test_locks_are_taken_in_one_order(tmp_path, monkeypatch):
    taken, real = [], store.lock
    monkeypatch.setattr(store, "lock", lambda root, key, *_: taken.append(key) or real(root, key))
    monkeypatch.setattr(training, "fit_many", lambda *_, **__: [][0])
    with pytest.warns(RuntimeWarning, match="one by one"):
        together.result(RUNS[4], RUNS[:4], tmp_path, device="cpu", choice="always")
    assert taken[:-1] == sorted(run.key for run in RUNS[:5])
    assert taken[-1] == RUNS[4].key


def test_another_word_is_refused(tmp_path):
    message = "together='alwais' is not known; .*; did you mean 'always'"
    with pytest.raises(ParameterError, match=message):
        call(RUNS, tmp_path, "alwais")
    with pytest.raises(ParameterError, match=message):
        record("4-sfp", "quick", queue=[], together="alwais")
    with pytest.raises(ParameterError, match=message):
        together.result(RUN, RUNS, tmp_path, choice="alwais")
    assert not list(tmp_path.iterdir())


def test_the_mark_of_a_group_is_no_part_of_a_stored_run(tmp_path):
    call(RUNS[:2], tmp_path)
    folder = execute.stored(RUNS[0], tmp_path)[0].folder
    assert sorted(path.name for path in folder.iterdir()) == sorted(store.FILES)
    assert json.loads((folder / "result.json").read_text())["provenance"]["together"] == 2
