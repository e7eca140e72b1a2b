"""Runs that begin where others end: started, edited, partly frozen, with steps of their own."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
from tiny_runs import CIRCUMSTANCES, RUN

from filterwise.errors import ParameterError, RunError
from filterwise.runs import Job, Run, finding, load_records, measured, measurements, record, result, sweep
from filterwise.training import loop

LAYERS = ("features.1.conv", "features.2.conv")
PRUNED = RUN.then(recipe=RUN.recipe, edit=("magnitude", {"layers": LAYERS, "keep": 0.5}))
TUNED = RUN.then(recipe=RUN.recipe.replace(epochs=1), train=("classifier",))


def trained(monkeypatch):
    """Seeds and epochs of every training from now on, in order."""
    seen, real = [], loop.fit

    def fit(net, train, test, recipe, seed, **options):
        seen.append((seed, recipe.epochs))
        return real(net, train, test, recipe, seed=seed, **options)

    monkeypatch.setattr(loop, "fit", fit)
    return seen


def test_a_run_begins_with_the_weights_that_its_start_ended_with(tmp_path, monkeypatch):
    begun = {}
    real = loop.fit

    def fit(net, *arguments, **options):
        begun.update({name: value.clone() for name, value in net.state_dict().items()})
        return real(net, *arguments, **options)

    first = result(RUN, tmp_path, device="cpu")
    monkeypatch.setattr(loop, "fit", fit)
    second = result(RUN.then(recipe=RUN.recipe), tmp_path, device="cpu")
    ended = first.network().state_dict()
    assert all(torch.equal(begun[name], value) for name, value in ended.items())
    moved = second.network().state_dict()
    assert not all(torch.equal(moved[name], value) for name, value in ended.items())
    assert second.start().keys == first.keys


def test_the_start_is_made_first_and_once_also_when_ten_workers_ask(tmp_path):
    runs = [PRUNED.replace(seed=seed) for seed in range(10)]
    answer = sweep(runs, 2, root=tmp_path, device="cpu", progress=False).check()
    assert answer.table["status"].eq("run").all()
    stored = [
        json.loads((path / "run.json").read_text()) for path in tmp_path.glob("*/") if path.name[0] != "."
    ]
    assert sorted("start" in each["run"] for each in stored) == [False] + [True] * 10
    assert answer.table["accuracy"].notna().all()


def test_masked_weights_stay_zero_and_the_network_is_rebuilt_with_its_masks(tmp_path):
    found = result(PRUNED, tmp_path, device="cpu")
    net = found.network()
    for name in LAYERS:
        module = net.get_submodule(name)
        kept = int(module.weight_mask.sum())
        assert kept == round(0.5 * module.weight_mask.numel())
        assert (module.weight[module.weight_mask == 0] == 0).all()
        assert (module.weight_orig[module.weight_mask == 0] == 0).all()
    images = torch.rand(4, 1, 16, 16)
    with torch.no_grad():
        assert torch.equal(net(images), result(PRUNED, tmp_path).network()(images))


def test_only_what_is_named_learns(tmp_path):
    first, tuned = (result(run, tmp_path, device="cpu").network().state_dict() for run in (RUN, TUNED))
    for name, value in first.items():
        assert torch.equal(tuned[name], value) == name.startswith("features")


def test_every_part_changes_the_key_and_the_start_runs_through():
    runs = [RUN, PRUNED, TUNED, RUN.then(recipe=RUN.recipe), RUN.replace(edit="head")]
    runs += [PRUNED.replace(edit=("magnitude", {"layers": LAYERS, "keep": 0.25}))]
    runs += [PRUNED.replace(start=RUN.replace(seed=1)), PRUNED.then(recipe=RUN.recipe)]
    for name in ("key", "spec_key", "settings"):
        assert len({getattr(run, name) for run in runs}) == len(runs)
    for run in runs:
        assert Run.from_dict(json.loads(json.dumps(run.to_dict()))) == run


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"edit": "magnitud"}, "edit='magnitud' is not known; .* did you mean 'magnitude'"),
        ({"step": ("backprob", {})}, "step='backprob' is not known; .* did you mean 'backprop'"),
        ({"edit": ("magnitude", {"keep": float("nan")})}, "not a finite number"),
        ({"edit": 3}, "must be a name, or a name and its options"),
        ({"train": "classifier"}, "must be a list of names"),
        ({"start": "dense"}, "start='dense' is a str; it must be a Run"),
        ({"start": RUN.replace(**{"model_options.d1": 3})}, "is not that of the start"),
    ],
)
def test_wrong_parts_are_refused_at_once(changes, message):
    with pytest.raises(ParameterError, match=message):
        Run.from_dict({**RUN.to_dict(), **changes})


def test_a_wrong_layer_is_named_when_it_is_looked_for(tmp_path):
    with pytest.raises(ParameterError, match="did you mean 'classifier'"):
        result(TUNED.replace(train=("classifer",)), tmp_path, device="cpu")


KILLED = """
import sys
from filterwise.runs import finding
from test_runs_on_runs import PRUNED
from tiny_runs import die_after

finding.result(PRUNED.start, sys.argv[1], device="cpu")
die_after(3)
run = PRUNED.replace(**{"recipe.epochs": 5})
finding.result(run, sys.argv[1], device="cpu", checkpoint_every=2, deadline=1e12)
"""


def test_a_killed_pruned_run_resumes_with_its_masks_and_the_same_numbers(tmp_path):
    path = f"{Path(__file__).parent}:{os.environ.get('PYTHONPATH', '')}"
    environment = {**os.environ, "PYTHONPATH": path}
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    run = PRUNED.replace(**{"recipe.epochs": 5})
    assert finding.done_epochs(tmp_path, run.keys(device="cpu")) == 2
    resumed, whole = (result(run, root, device="cpu") for root in (tmp_path, tmp_path / "whole"))
    assert resumed.metrics == whole.metrics
    ours, theirs = resumed.network().state_dict(), whole.network().state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_step_that_rewires_between_epochs_resumes_with_the_same_numbers(tmp_path):
    step = ("tiny-rewire", {"layer": "classifier.1", "share": 0.2})
    run = RUN.replace(**{"step": step, "recipe.epochs": 4})
    plain = RUN.replace(**{"recipe.epochs": 4})
    whole, other = (result(each, tmp_path / "whole", device="cpu") for each in (run, plain))
    assert whole.keys.key != other.keys.key
    ours, theirs = whole.network().state_dict(), other.network().state_dict()
    assert not torch.equal(ours["classifier.1.weight"], theirs["classifier.1.weight"])
    clock = iter([0.0, 0.0, 100.0])  # too late for a second epoch, whatever the first one takes
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finding, "_clock", lambda: next(clock))
        with pytest.raises(finding.Paused):
            result(run, tmp_path, device="cpu", deadline=150.0)
    assert finding.done_epochs(tmp_path, run.keys(device="cpu")) == 1
    resumed = result(run, tmp_path, device="cpu")
    assert resumed.metrics == whole.metrics
    again = resumed.network().state_dict()
    assert all(torch.equal(again[name], ours[name]) for name in ours)


def test_a_start_that_is_gone_is_named(tmp_path):
    import shutil

    found = result(PRUNED, tmp_path, device="cpu")
    shutil.rmtree(found.start().folder)
    with pytest.raises(RunError, match="which is gone; run it again"):
        found.network()


def test_a_deadline_in_the_start_pauses_the_whole(tmp_path):
    with pytest.raises(finding.Paused):
        result(PRUNED, tmp_path, device="cpu", deadline=time.time() - 1)


def test_measurements_are_taken_once_and_read_back(tmp_path, monkeypatch):
    one, other = (result(run, tmp_path, device="cpu") for run in (RUN, RUN.replace(seed=1)))
    first = one.measured("tiny.weights")
    taken, entry = [], measurements.get("tiny.weights")

    def counting(result, **options):
        taken.append(options)
        return entry.function(result, **options)

    counting.__module__ = entry.function.__module__
    monkeypatch.setitem(measurements._entries, "tiny.weights", dataclasses.replace(entry, function=counting))
    again = one.measured("tiny.weights")
    assert not taken
    assert again.row == first.row
    assert again.arrays["accuracy"] == first.arrays["accuracy"]
    doubled = one.measured("tiny.weights", doubled=True)
    assert taken == [{"doubled": True}]
    assert doubled.row["mean_weight@features.1.conv.weight"] == pytest.approx(
        2 * first.row["mean_weight@features.1.conv.weight"]
    )
    both = measured((one, other), "tiny.committee")
    assert both.row["members"] == 2
    assert both.row["accuracy"] == (one.right & other.right).mean()
    (kept,) = (one.folder / "measured").glob("tiny.committee-*.npz")
    kept.write_bytes(kept.read_bytes()[:-40])
    with pytest.warns(UserWarning, match="is broken .* measured again"):
        assert measured((one, other), "tiny.committee").row == both.row
    with pytest.raises(ParameterError, match=r"measurement='tiny.weight' is not known; .*'tiny.weights'"):
        one.measured("tiny.weight")


def test_records_hold_several_measurements_of_a_run_and_one_of_several_runs(tmp_path):
    mates = tuple(RUN.replace(seed=seed) for seed in range(3))
    jobs = [
        Job("plain", RUN, "tiny.weights", about={"network": "tiny"}),
        Job("doubled", RUN, "tiny.weights", {"doubled": True}),
        Job("all three", mates, "tiny.committee"),
        Job("pruned", PRUNED, "tiny.committee"),
    ]
    report = record("4-sfp", "quick", jobs, root=tmp_path / "runs", out=tmp_path, device="cpu")
    assert sorted(report.done) == sorted(job.name for job in jobs)
    table = load_records("4-sfp", "quick", tmp_path).set_index("name")
    assert table["spec_key"].nunique() == 4
    assert table.loc["plain", "key"] == table.loc["doubled", "key"]
    assert table.loc["all three", "runs"] == 3
    assert table.loc["plain", "network"] == "tiny"
    right = [result(run, tmp_path / "runs").right for run in mates]
    assert table.loc["all three", "accuracy"] == (right[0] & right[1] & right[2]).mean()
    assert not record("4-sfp", "quick", jobs, root=tmp_path / "runs", out=tmp_path, device="cpu").done
    with pytest.raises(RunError, match="measure the same"):
        record("4-sfp", "quick", [jobs[0], Job("again", RUN, "tiny.weights")])


def test_one_process_or_two_give_the_same_table(tmp_path):
    runs = [RUN, PRUNED, TUNED, PRUNED.replace(seed=1)]
    tables = [
        sweep(runs, jobs, root=tmp_path / str(jobs), device="cpu", progress=False).check().table
        for jobs in (1, 2)
    ]
    pd.testing.assert_frame_equal(*(table.drop(columns=CIRCUMSTANCES) for table in tables))
