"""Stored runs: whole or not there, trained once, resumed after a kill with the same numbers."""

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
from tiny_runs import RUN

from filterwise import models, training
from filterwise.errors import DataError, RunError
from filterwise.runs import Paused, finding, result, store
from filterwise.training import loop

TIMES = ["seconds", "cpu_seconds"]


def same_numbers(one: store.Result, other: store.Result) -> None:
    pd.testing.assert_frame_equal(one.history.drop(columns=TIMES), other.history.drop(columns=TIMES))
    assert one.metrics == other.metrics
    ours, theirs = one.network().state_dict(), other.network().state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_result_is_what_training_by_hand_gives(tmp_path):
    found = result(RUN, tmp_path, device="cpu")
    train, test = found.train_set(), found.test_set()
    net = models.build("lenet5", labels=3, channels=1, size=16, seed=0, d1=2, fc=(8, 8))
    history = training.fit(net, train, test, RUN.recipe, seed=0, device="cpu", progress=False)
    pd.testing.assert_frame_equal(found.history.drop(columns=TIMES), history.table.drop(columns=TIMES))
    stored = found.network()
    assert not stored.training
    for name, value in net.state_dict().items():
        assert torch.equal(stored.state_dict()[name], value)
    assert found.metrics["accuracy"] == training.evaluate(net, test, device="cpu").accuracy
    assert found.metrics["macs"] == models.macs(net, (1, 16, 16))
    assert found.provenance["data"] == "parts"
    assert found.provenance["torch"] == torch.__version__
    assert found.metrics["train_images"] == 60
    assert found.right.mean() == found.metrics["accuracy"]
    assert sorted(path.name for path in found.folder.iterdir()) == sorted(store.FILES)
    assert found.folder == tmp_path / RUN.key
    assert not [path.name for path in tmp_path.iterdir() if path.name not in (RUN.key, ".locks")]


def test_a_stored_result_is_read_and_not_trained_again(tmp_path, monkeypatch):
    first = result(RUN, tmp_path, device="cpu")
    monkeypatch.setattr(loop, "fit", lambda *_, **__: pytest.fail("trained again"))
    same_numbers(first, result(RUN, tmp_path))
    assert finding.stored(RUN, tmp_path)[0].provenance == first.provenance


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def replace(path: Path, old: str, new: str) -> None:
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize(
    "breaking",
    [
        lambda folder: cut(folder / "weights.safetensors"),
        lambda folder: cut(folder / "result.json"),
        lambda folder: (folder / "history.csv").unlink(),
        lambda folder: replace(folder / "run.json", '"seed": 0', '"seed": 1'),
        lambda folder: (folder / "result.json").write_text("[]"),
        lambda folder: (folder / "result.json").unlink(),
        lambda folder: replace(folder / "result.json", '"epochs": 2', '"epochs": 3'),
    ],
)  # fmt: skip
def test_a_broken_folder_is_set_aside_and_run_again(tmp_path, breaking):
    first = result(RUN, tmp_path, device="cpu")
    before = first.network().state_dict()
    breaking(first.folder)
    with pytest.warns(UserWarning, match=f"{RUN.key} is broken"):
        again = result(RUN, tmp_path, device="cpu")
    assert all(torch.equal(value, before[name]) for name, value in again.network().state_dict().items())
    assert len(list(tmp_path.glob(f"{RUN.key}.broken-*"))) == 1


def leaves(value, path=()):
    """The path of every number, truth value and text in nested lists and mappings."""
    if isinstance(value, (dict, list)):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        return [leaf for key, inner in pairs for leaf in leaves(inner, (*path, key))]
    return [path]


@pytest.mark.parametrize("name", ["result.json", "run.json"])
def test_every_single_value_is_guarded(tmp_path, name):
    folder = result(RUN, tmp_path, device="cpu").folder
    text = (folder / name).read_text()
    paths = leaves(json.loads(text))
    assert len(paths) >= 20
    for path in paths:
        changed = json.loads(text)
        *above, last = path
        inside = changed
        for key in above:
            inside = inside[key]
        value = inside[last]
        inside[last] = not value if isinstance(value, bool) else "other" if isinstance(value, str) else 7.5
        (folder / name).write_text(json.dumps(changed))
        with pytest.warns(UserWarning, match=f"{RUN.key} is broken"):
            assert store.read(folder, RUN) is None, path
        (aside,) = tmp_path.glob("*.broken-*")
        (aside / name).write_text(text)
        aside.rename(folder)
    assert store.read(folder, RUN) is not None


def test_what_a_killed_writer_left_goes_with_the_next_one(tmp_path):
    left = tmp_path / f".{RUN.key}.{'0' * 32}"
    left.mkdir()
    os.utime(left, (1, 1))
    result(RUN, tmp_path, device="cpu")
    assert not left.exists()


def test_nothing_half_written_stays_when_writing_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "_write_json", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        result(RUN, tmp_path, device="cpu")
    left = {path.name for path in tmp_path.iterdir() if path.is_dir()}
    assert left == {".locks", f"{RUN.key}.partial"}
    monkeypatch.undo()
    assert result(RUN, tmp_path, device="cpu").metrics["epochs"] == 2  # from the checkpoint of the last epoch


def test_missing_data_is_an_error_and_leaves_nothing(tmp_path):
    run = RUN.replace(data="cifar10", data_options={})
    with pytest.raises(DataError, match="cifar10"):
        result(run, tmp_path, data_root=str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_weights_that_no_longer_fit_are_an_error(tmp_path, monkeypatch):
    found = result(RUN, tmp_path, device="cpu")
    monkeypatch.setattr(store, "beginning", lambda *_: models.build("lenet5", labels=4, channels=1, size=16))
    with pytest.raises(RunError, match="weights do not fit 'lenet5'"):
        found.network()


def test_a_deadline_pauses_and_the_next_call_ends_with_the_same_numbers(tmp_path):
    run = RUN.replace(**{"recipe.epochs": 4})
    uninterrupted = result(run, tmp_path / "whole", device="cpu")
    with pytest.raises(Paused, match="no time left"):
        result(run, tmp_path, device="cpu", deadline=time.time() - 1)
    for epoch in (1, 2, 3):
        # too late for a second epoch, whatever the first one takes
        clock = iter([0.0, 0.0, 100.0])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(finding, "_clock", lambda clock=clock: next(clock))
            with pytest.raises(Paused, match=f"paused after epoch {epoch} of 4"):
                result(run, tmp_path, device="cpu", deadline=150.0)
        assert finding.done_epochs(tmp_path, run.keys()) == epoch
    same_numbers(result(run, tmp_path, device="cpu", deadline=time.time() + 600), uninterrupted)


KILLED = """
import os, signal, sys, torch
from tiny_runs import RUN
from filterwise.runs import finding
torch.set_num_threads(1)
calls = 0
def clock():
    global calls
    calls += 1
    if calls == 2 + 3:  # twice before the first epoch, then once after each
        os.kill(os.getpid(), signal.SIGKILL)
    return 0.0
finding._clock = clock
run = RUN.replace(**{"recipe.epochs": 5})
finding.result(run, sys.argv[1], device="cpu", checkpoint_every=2, deadline=1e9)
"""


def test_a_killed_run_resumes_and_ends_with_the_same_numbers(tmp_path, monkeypatch):
    run = RUN.replace(**{"recipe.epochs": 5})
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert finding.stored(run, tmp_path)[0] is None
    assert finding.done_epochs(tmp_path, run.keys()) == 2  # what came after the checkpoint is lost
    epochs = []
    monkeypatch.setattr(finding, "stop_in_time", lambda *_: lambda row: epochs.append(row["epoch"]))
    resumed = result(run, tmp_path, device="cpu", deadline=time.time() + 600)
    assert epochs == [3, 4, 5]
    same_numbers(resumed, result(run, tmp_path / "whole", device="cpu"))
    assert not finding.partial_folder(tmp_path, run.keys()).exists()


HOLD = """
import sys, filelock
lock = filelock.FileLock(sys.argv[1])
lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""


def test_one_lock_a_key(tmp_path):
    with store.lock(tmp_path, "k"):
        (path,) = (tmp_path / ".locks").iterdir()
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], **pipes)
    assert holder.stdout.readline() == "held\n"
    with (
        pytest.raises(RunError, match="held by another process"),
        store.lock(tmp_path, "k", timeout=0.1),
    ):
        pass
    with store.lock(tmp_path, "other", timeout=0.1):
        pass
    holder.kill()  # the system frees the lock of a process that dies
    holder.communicate()
    with store.lock(tmp_path, "k", timeout=10):
        pass


def test_roots_come_from_arguments_then_environment_then_checkout(monkeypatch, tmp_path):
    assert store.runs_root(tmp_path) == tmp_path
    assert store.runs_root() == Path(os.environ["FILTERWISE_RUNS"])
    monkeypatch.delenv("FILTERWISE_RUNS")
    assert store.runs_root().parts[-2:] == ("data", "runs")


def test_stored_json_is_plain(tmp_path):
    found = result(RUN, tmp_path, device="cpu")
    values = json.loads((found.folder / "run.json").read_text())
    assert values["key"] == RUN.key
    assert store.Run.from_dict(values["run"]) == RUN
