"""Sweeps: one row a run, what is stored is not run again, one failure at a time."""

import pandas as pd
import pytest
from tiny_runs import CIRCUMSTANCES, RUN

from filterwise import disk
from filterwise.errors import ParameterError, RunError
from filterwise.runs import Run, describe, finding, grid, queue, result, sweep
from filterwise.training import Recipe

RUNS = grid(RUN, seed=range(2), **{"model_options.d1": [2, 3]})
# a step so long that the loss overflows
DIVERGES = RUN.replace(**{"recipe.lr": 1e30, "recipe.momentum": 0.0, "recipe.nesterov": False})
NO_DATA = Run("lenet5", "cifar10", Recipe(epochs=1))


def test_a_sweep_has_one_row_a_run_in_the_order_given(tmp_path):
    answer = sweep(
        [RUNS[3], DIVERGES, *RUNS, NO_DATA],
        1,
        root=tmp_path,
        data_root=tmp_path,
        device="cpu",
        progress=False,
    )
    table = answer.table
    assert table["status"].tolist() == ["run", "failed", "run", "run", "run", "run", "failed"]
    assert table["seed"].tolist() == [1, 0, 0, 0, 1, 1, 0]
    assert table["model_options.d1"].tolist()[:6] == [3, 2, 2, 3, 2, 3]
    assert table["recipe.lr"].tolist()[:2] == [0.05, 1e30]
    assert "recipe.batch" in table.columns  # NO_DATA has another one
    assert "recipe.decay" not in table.columns
    for index, run in enumerate(RUNS, start=2):
        stored = finding.stored(run, tmp_path)[0]
        assert table["key"][index] == run.key
        assert table["accuracy"][index] == stored.metrics["accuracy"]
    assert table["accuracy"][0] == table["accuracy"][5]  # asked for twice, run once
    assert [failure.run for failure in answer.failures] == [DIVERGES, NO_DATA]
    assert "not finite" in table["error"][1] or "finite" in answer.failures[0].error
    assert "TrainingDiverged" in answer.failures[0].traceback
    with pytest.raises(
        RunError, match=r"2 of 7 runs failed: lenet5 d1=2 fc=\(8, 8\) on parts, seed 0: .*; lenet5 on cifar10"
    ):
        answer.check()


def test_what_is_stored_is_read_and_the_rest_resumes(tmp_path, monkeypatch):
    whole = sweep(RUNS, 1, root=tmp_path / "whole", device="cpu", progress=False).check().table
    result(RUNS[1], tmp_path, device="cpu")
    clock = iter([0.0, 0.0, 1e12])
    with monkeypatch.context() as patch:
        patch.setattr(finding, "_clock", lambda: next(clock))
        with pytest.raises(finding.Paused):
            result(RUNS[2], tmp_path, device="cpu", deadline=1.0)
    before = queue(RUNS, root=tmp_path, device="cpu")
    assert before["status"].tolist() == ["missing", "stored", "resumes", "missing"]
    assert (before["estimated_seconds"] > 0).tolist() == [True, False, True, True]
    epochs = []
    real = finding.loop.fit
    monkeypatch.setattr(
        finding.loop,
        "fit",
        lambda *a, **o: real(*a, **o | {"after_epoch": lambda row: epochs.append(row["epoch"])}),
    )
    answer = sweep(RUNS, 1, root=tmp_path, device="cpu", progress=False)
    assert answer.table["status"].tolist() == ["run", "stored", "run", "run"]
    assert epochs == [1, 2, 2, 1, 2]
    assert answer.table.drop(columns=CIRCUMSTANCES).equals(whole.drop(columns=CIRCUMSTANCES))
    monkeypatch.setattr(finding, "result", lambda *_, **__: pytest.fail("run again"))
    assert sweep(RUNS, 2, root=tmp_path, device="cpu", progress=False).table["status"].eq("stored").all()


def test_two_processes_give_the_same_table_as_one(tmp_path):
    alone = sweep([*RUNS, DIVERGES], 1, root=tmp_path / "one", device="cpu", progress=False)
    both = sweep([*RUNS, DIVERGES], 2, root=tmp_path / "two", device="cpu", progress=False)
    pd.testing.assert_frame_equal(
        both.table.drop(columns=CIRCUMSTANCES), alone.table.drop(columns=CIRCUMSTANCES)
    )
    assert [failure.error for failure in both.failures] == [failure.error for failure in alone.failures]
    assert both.table["precision"].dropna().eq("float32").all()


# more bytes than any machine can address: each is the system's own error, the one for its key, the other
# only when the network is made
TOO_MANY = RUN.replace(**{"data_options.n": 10**15})
TOO_WIDE = RUN.replace(**{"model_options.d1": 10**13})


@pytest.mark.parametrize("together", [1, 2])
def test_a_member_that_cannot_even_be_looked_at_stops_no_other(tmp_path, together):
    runs = [TOO_MANY, TOO_WIDE, RUN]
    answer = sweep(runs, 1, root=tmp_path, device="cpu", together=together, progress=False)
    assert answer.table["status"].tolist() == ["failed", "failed", "run"]
    assert [failure.run for failure in answer.failures] == runs[:2]
    assert answer.table["error"][0].startswith("MemoryError: ")
    assert answer.table["error"][1].startswith("RuntimeError: ")
    listed = queue(runs, root=tmp_path, device="cpu")
    assert listed["status"].tolist() == ["failed", "failed", "stored"]
    assert listed["error"][0].startswith("MemoryError: ")


def test_a_folder_of_runs_that_is_none_is_refused_unless_all_is_stored(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=f"^runs {tmp_path}/file/runs cannot be written to: Not a directory"):
        sweep([RUN], 1, root=tmp_path / "file" / "runs", device="cpu", progress=False)
    sweep([RUN], 1, root=tmp_path, device="cpu", progress=False)
    monkeypatch.setattr(disk, "check_writable", lambda *_: pytest.fail("asked to write"))
    assert sweep([RUN], 1, root=tmp_path, device="cpu", progress=False).table["status"].tolist() == ["stored"]


def test_wrong_lists_are_refused():
    with pytest.raises(ParameterError, match=r"runs=\[\] has nothing to run"):
        sweep([])
    with pytest.raises(ParameterError, match="is a str and not a Run"):
        sweep(["lenet5"])


def test_a_run_in_words():
    assert describe(RUN) == "lenet5 d1=2 fc=(8, 8) on parts, seed 0"
