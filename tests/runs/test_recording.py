"""Recording: what is missing, in order, inside the budget, paying at every finished job."""

import contextlib
import errno
import os
from pathlib import Path

import pytest
from tiny_runs import RUN

from filterwise import files
from filterwise.errors import ParameterError, RunError
from filterwise.runs import (
    Job,
    Run,
    arrays,
    cost,
    finding,
    load_records,
    measurements,
    pending,
    queueing,
    record,
    recording,
    write_record,
)
from filterwise.runs.recording import parse_budget

JOBS = [
    Job(f"seed {seed}", RUN.replace(seed=seed), "tiny.weights", cost_seconds=10.0 - seed) for seed in range(3)
]


def call(tmp_path, queue=JOBS, budget="10m", **more):
    lines = []
    report = record(
        "4-sfp", "quick", queue, budget, root=tmp_path / "runs", out=tmp_path / "records", device="cpu",
        say=lines.append, **more,
    )  # fmt: skip
    return report, lines, load_records("4-sfp", "quick", tmp_path / "records")


def states(tmp_path, jobs=JOBS, **more):
    found = pending(
        "4-sfp", "quick", jobs, root=tmp_path / "runs", out=tmp_path / "records", device="cpu", **more
    )
    return {each.job.name: each.status for each in found}


def test_all_is_recorded_cheapest_first_and_once(tmp_path, monkeypatch):
    assert list(states(tmp_path).items()) == [
        ("seed 2", "missing"),
        ("seed 1", "missing"),
        ("seed 0", "missing"),
    ]
    report, lines, table = call(tmp_path)
    assert report.done == table["name"].tolist() == ["seed 2", "seed 1", "seed 0"]
    assert lines[0].startswith("3 jobs to do, 27 s by a rule of thumb, as nothing like it was timed here; ")
    assert [line.partition(": ")[0] for line in lines[1:]] == ["seed 2", "seed 1", "seed 0"]
    assert "(1 of 3" in lines[1]
    assert lines[3].endswith("(3 of 3)")
    assert [report.left, report.paused, report.failed, report.blocked] == [[], [], {}, {}]
    result = finding.stored(JOBS[0].run, tmp_path / "runs")[0]
    row = table[table["name"] == "seed 0"].iloc[0]
    assert row["accuracy"] == result.metrics["accuracy"]
    expected = result.network().state_dict()["features.1.conv.weight"].abs().mean().item()
    assert row["mean_weight@features.1.conv.weight"] == expected
    assert row["data"] == "parts"
    assert row["device"] == "cpu"
    assert (row["labels"], row["epochs"], row["seed"], row["network"]) == (3, 2, 0, "lenet5")
    assert row["spec_key"] == JOBS[0].spec_key()
    assert (
        arrays("4-sfp", "quick", row["spec_key"], tmp_path / "records")["accuracy"]
        == result.metrics["accuracy"]
    )
    monkeypatch.setattr(finding, "result", lambda *_, **__: pytest.fail("done again"))
    report, lines, again = call(tmp_path)
    assert not report.done
    assert not lines
    assert again.equals(table)


@measurements("tiny.stops")
def stops(result):
    raise KeyboardInterrupt


def test_a_stopped_call_has_paid_for_what_is_finished(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        call(tmp_path, [JOBS[2], Job("stops", JOBS[1].run, "tiny.stops", cost_seconds=20)])
    assert load_records("4-sfp", "quick", tmp_path / "records")["name"].tolist() == ["seed 2"]
    assert states(tmp_path) == {"seed 1": "trained", "seed 0": "missing", "seed 2": "done"}
    assert not list((tmp_path / "runs").glob(".record-*"))


def test_one_failure_does_not_stop_the_others_and_leaves_no_row(tmp_path):
    jobs = [Job("breaks", RUN, "tiny.breaks", cost_seconds=0.0), JOBS[1]]
    report, lines, table = call(tmp_path, jobs)
    assert report.failed == {"breaks": "ZeroDivisionError: a broken measurement"}
    assert report.done == table["name"].tolist() == ["seed 1"]
    assert "breaks: failed: ZeroDivisionError" in lines[1]


def test_a_job_that_cannot_even_be_looked_at_stops_no_other(tmp_path):
    huge = Job("huge", RUN.replace(**{"data_options.n": 10**15}), "tiny.weights")
    assert states(tmp_path, [huge, JOBS[1]]) == {"seed 1": "missing", "huge": "failed"}
    report, _, table = call(tmp_path, [huge, JOBS[1]])
    assert report.done == table["name"].tolist() == ["seed 1"]
    assert report.failed["huge"].startswith("MemoryError: ")


@pytest.mark.parametrize("closed", ["runs", "records"])
def test_a_folder_that_cannot_be_written_to_is_refused_before_the_work(tmp_path, monkeypatch, closed):
    (tmp_path / closed).write_text("a file")
    monkeypatch.setattr(finding, "result", lambda *_, **__: pytest.fail("trained"))
    with pytest.raises(RunError, match=f"^{closed} {tmp_path}/{closed}.* cannot be written to: Not a dir"):
        call(tmp_path)


def full(folder):
    """``files.atomic`` as on a machine whose disk at ``folder`` is full."""
    real = files.atomic

    @contextlib.contextmanager
    def atomic(path):
        if folder in Path(path).parents:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with real(path) as temporary:
            yield temporary

    return atomic


def test_what_was_measured_survives_a_full_folder_of_records(tmp_path, monkeypatch):
    undisturbed = call(tmp_path / "undisturbed")[2]
    with monkeypatch.context() as patch:
        patch.setattr(files, "atomic", full(tmp_path / "records"))
        report, lines, table = call(tmp_path)
    assert (len(table), report.done, len(lines)) == (0, [], 4)
    why = f"{tmp_path}/records/4-sfp cannot be written to: No space left on device"
    assert {error.partition("next call: ")[2] for error in report.failed.values()} == {why}
    assert set(report.failed) == {"seed 0", "seed 1", "seed 2"}
    monkeypatch.setattr(finding.loop, "fit", lambda *_, **__: pytest.fail("trained again"))
    report, _, table = call(tmp_path)
    assert sorted(report.done) == ["seed 0", "seed 1", "seed 2"]
    kept = [name for name in table if name not in ("seconds", "measure_seconds", "recorded")]
    one, other = (each.sort_values("name", ignore_index=True)[kept] for each in (table, undisturbed))
    assert one.equals(other)


def test_what_was_measured_is_recorded_though_the_folder_of_runs_is_full(tmp_path, monkeypatch):
    finding.result(RUN, tmp_path / "runs", device="cpu")
    monkeypatch.setattr(files, "atomic", full(tmp_path / "runs"))
    with pytest.warns(UserWarning, match="tiny.weights is measured but not kept: .* No space left on device"):
        report, _, table = call(tmp_path, [JOBS[0]])
    assert report.done == table["name"].tolist() == ["seed 0"]


def test_missing_data_blocks_a_job_unless_it_is_recorded(tmp_path):
    missing = Job("cifar", RUN.replace(data="cifar10", data_options={}), "tiny.weights", cost_seconds=1.0)
    report, _, table = call(tmp_path, [missing, JOBS[1]], data_root=str(tmp_path))
    assert "cifar10" in report.blocked["cifar"]
    assert table["name"].tolist() == ["seed 1"]
    write_record("4-sfp", "quick", {**table.iloc[0], "settings": missing.settings}, {}, tmp_path / "records")
    assert states(tmp_path, [missing], data_root=str(tmp_path)) == {"cifar": "done"}  # where the data was


class Clock:
    """Time that passes only when a job is trained."""

    def __init__(self, monkeypatch, seconds_a_job):
        self.now = 0.0
        real = finding.result

        def result(*arguments, **options):
            self.now += seconds_a_job
            return real(*arguments, **options | {"deadline": None})

        monkeypatch.setattr(finding, "result", result)
        monkeypatch.setattr(recording, "_clock", lambda: self.now)


def test_no_job_is_started_that_does_not_fit_unless_nothing_ran(tmp_path, monkeypatch):
    Clock(monkeypatch, seconds_a_job=9.0)
    report, _, table = call(
        tmp_path, budget="17s"
    )  # 9 s are gone, 8 are left, and "seed 1" is said to need 9
    assert report.done == table["name"].tolist() == ["seed 2"]
    assert report.left == ["seed 1", "seed 0"]
    Clock(monkeypatch, seconds_a_job=9.0)
    report, _, table = call(tmp_path, [JOBS[0]], budget="5s")  # does not fit, but nothing else would be done
    assert report.paused == ["seed 0"]  # and what it trained too late is measured by the next call


def test_a_job_waits_for_its_minimum(tmp_path, monkeypatch):
    Clock(monkeypatch, seconds_a_job=1.0)
    job = Job("in one go", RUN, "tiny.weights", cost_seconds=1.0, minimum_seconds=60)
    assert call(tmp_path, [job], budget="30s")[0].left == ["in one go"]
    assert call(tmp_path, [job], budget="90s")[0].done == ["in one go"]


def test_training_stops_at_the_deadline_and_the_next_call_goes_on(tmp_path, monkeypatch):
    job = Job("long", RUN.replace(**{"recipe.epochs": 4}), "tiny.weights")
    clock = iter([0.0, 0.0, 1e12])  # before training, before the first epoch, after it
    with monkeypatch.context() as patch:
        patch.setattr(finding, "_clock", lambda: next(clock))
        report, lines, table = call(tmp_path, [job])
    assert report.paused == ["long"]
    assert lines[1:] == ["long: paused after epoch 1 of 4"]
    assert len(table) == 0
    assert states(tmp_path, [job]) == {"long": "resumes"}
    report, _, table = call(tmp_path, [job])
    assert report.done == ["long"]
    assert table["epochs"].tolist() == [4]


def test_stale_rows_are_redone_only_when_asked_for(tmp_path, monkeypatch):
    call(tmp_path, [JOBS[0]])
    assert states(tmp_path, [JOBS[0]], stale=True) == {"seed 0": "done"}
    monkeypatch.setattr(queueing, "code_digest", lambda *parts: "other code")
    assert states(tmp_path, [JOBS[0]]) == {"seed 0": "done"}
    assert states(tmp_path, [JOBS[0]], stale=True) == {"seed 0": "stale"}
    report, _, table = call(tmp_path, [JOBS[0]], stale=True)
    assert report.done == ["seed 0"]
    assert len(table) == 1


@measurements("tiny.bad")
def bad(result, *, name, value):
    return {name: value if value else [1]}, {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "seed", "value": 1}, "'seed' is a column of every record"),
        ({"name": "x", "value": 0}, "gives 'x' as list"),
    ],
)
def test_a_row_that_cannot_be_kept_fails_its_job(tmp_path, options, message):
    report, _, table = call(tmp_path, [Job("bad", RUN, "tiny.bad", options)])
    assert message in report.failed["bad"]
    assert len(table) == 0


def test_lists_and_jobs_are_checked(tmp_path):
    with pytest.raises(RunError, match="two jobs have the name 'seed 0'"):
        call(tmp_path, [JOBS[0], Job("seed 0", JOBS[1].run, "tiny.weights")])
    with pytest.raises(RunError, match="'seed 0' and 'again' measure the same"):
        call(tmp_path, [JOBS[0], Job("again", RUN, "tiny.weights")])
    with pytest.raises(ParameterError, match="must be a Run"):
        Job("x", "lenet5", "tiny.weights")
    with pytest.raises(ParameterError, match="must be the name of a measurement"):
        Job("x", RUN, 3)
    with pytest.raises(ParameterError, match="did you mean 'quick'"):
        record("4-sfp", "qick", JOBS)
    bundled = [Job("one", RUN, "tiny.weights", bundle="first")]
    with pytest.raises(ParameterError, match=r"bundle='frist' is not known; .* did you mean 'first'"):
        call(tmp_path, bundled, bundle="frist")
    assert call(tmp_path, [*bundled, JOBS[1]], bundle="first")[0].done == ["one"]


@pytest.mark.parametrize(
    ("text", "seconds"), [("8m", 480), ("1h30m", 5400), ("90s", 90), ("90", 90), (12.5, 12.5)]
)
def test_budgets(text, seconds):
    assert parse_budget(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "8 minutes", "-5", "0s", "nan", "1m1h"])
def test_what_is_no_budget(text):
    with pytest.raises(ParameterError, match="budget"):
        parse_budget(text)


def test_estimates_follow_what_runs_really_took(own_folders):
    run = RUN.replace(**{"recipe.epochs": 10})
    guess = cost.seconds(run, "cpu")
    assert not cost.measured(run.model, "cpu")
    cost.learn(run, "cpu", elapsed=100 * guess)
    assert cost.measured(run.model, "cpu")
    learnt = cost.seconds(run, "cpu")
    assert 90 * guess < learnt < 120 * guess  # evaluations come on top of the steps
    assert cost.seconds(run.replace(**{"recipe.epochs": 20}), "cpu") == pytest.approx(2 * learnt)
    other = Run("vgg", "parts", run.recipe, 0, None, {"stages": ((4, 1),)}, run.data_options)
    rate = [cost.macs(each) / cost.seconds(each, "cpu") for each in (run, other)]
    assert rate[0] == pytest.approx(rate[1])  # the best that is known
    (own_folders / "cache" / "speeds.json").write_text("broken")
    assert cost.seconds(run, "cpu") == guess


def test_on_cuda_small_networks_wait_and_large_ones_compute(own_folders):
    small, large = cost.Size(10**6, 5), cost.Size(10**9, 30)
    assert small.rate("cuda") < 0.01 * large.rate("cuda")
    assert small.rate("cuda", together=8) == pytest.approx(8 * small.rate("cuda"), rel=0.2)
    assert large.rate("cuda", together=8) < 2 * large.rate("cuda")  # no faster than the arithmetic
    assert cost.foreseen(RUN, "cpu") == pytest.approx(cost.seconds(RUN, "cpu"), rel=0.02)
    assert cost.foreseen(RUN, "cuda") == pytest.approx(cost.seconds(RUN, "cuda"), rel=0.02)


def test_what_was_trained_on_cuda_corrects_all_that_a_plan_foresaw(tmp_path, own_folders):
    job = Job("foreseen", RUN, "tiny.weights", cost_seconds=100.0)
    listed = queueing.Pending(job, "missing", 100.0, 10.0)
    assert listed.seconds_now("cuda", tmp_path) == 100.0
    assert queueing._whole(100.0, 60.0, RUN.model, "cuda") == (
        100.0,
        40.0,
    )  # what is not training is measuring
    other = RUN.replace(model="vgg", model_options={"stages": ((4, 1),)})
    guess = cost.seconds(other.replace(**{"recipe.epochs": 1000}), "cuda")
    cost.learn(other.replace(**{"recipe.epochs": 1000}), "cuda", elapsed=2 * guess)
    slow = 1 / cost.speed(RUN.model, "cuda")
    assert slow > 1.5
    assert listed.seconds_now("cuda", tmp_path) == pytest.approx(100 * slow)
    assert queueing._whole(100.0, 60.0 * slow, RUN.model, "cuda")[0] == pytest.approx(100 * slow)
    assert listed.seconds_now("cpu", tmp_path) == 100.0


@pytest.mark.parametrize(("recorded", "said"), [("bfloat16", True), ("float32", False)])
def test_a_machine_of_another_kind_is_told_before_it_mixes_precisions(tmp_path, recorded, said):
    fixed = [
        Job(f"seed {seed}", RUN.replace(seed=seed, **{"recipe.precision": precision}), "tiny.weights")
        for seed, precision in enumerate((recorded, "float32", "float32"))
    ]
    call(tmp_path, fixed[:1])
    _, lines, _ = call(tmp_path, fixed)
    line = "2 of them will be computed in float32, as this machine does; rows of their kind are bfloat16"
    assert (line in lines) is said
    _, lines, _ = call(tmp_path, [*fixed, Job("last", fixed[1].run.replace(seed=9), "tiny.weights")])
    assert not [each for each in lines if "computed in" in each]  # there are rows of both by now


def test_seconds_of_another_kind_of_device_are_no_estimate(tmp_path, own_folders):
    """A plan for a GPU gives a GPU's seconds; on a CPU the operations say how long it takes."""
    job = Job("planned", RUN, "tiny.weights", cost_seconds=1e6)
    foreseen = {
        profile: queueing.pending("0-none", profile, [job], out=tmp_path, device="cpu")[0].seconds
        for profile in ("cifar", "short")
    }
    assert foreseen["cifar"] == pytest.approx(1e6)
    assert foreseen["short"] == pytest.approx(cost.seconds(RUN, "cpu") / 0.9, rel=0.01)


def test_what_several_jobs_start_from_is_estimated_once(tmp_path, own_folders):
    long = RUN.replace(**{"recipe.epochs": 100})
    later = [RUN.replace(start=long, seed=seed) for seed in (1, 2)]
    jobs = [Job(f"from one start, {run.seed}", run, "tiny.weights") for run in later]
    alone = queueing.pending("0-none", "cifar", [Job("alone", long, "tiny.weights")], out=tmp_path)
    listed = queueing.pending("0-none", "cifar", jobs, out=tmp_path, root=tmp_path / "runs", device="cpu")
    spent = listed[0].seconds
    start = alone[0].trainings[long.keys(None, "cpu").key]
    assert queueing.total_seconds(listed) == pytest.approx(2 * spent - start)
    assert listed[1].seconds_now("cpu", tmp_path / "runs") == pytest.approx(spent)
    (tmp_path / "runs" / long.keys(None, "cpu").key).mkdir(parents=True)  # another job trained it
    assert listed[1].seconds_now("cpu", tmp_path / "runs") == pytest.approx(spent - start)
    assert spent - start < 0.2 * spent


def test_a_short_training_hardly_moves_the_estimate(own_folders):
    run = RUN.replace(**{"recipe.epochs": 10})
    cost.learn(run, "cpu", elapsed=100.0)
    known = cost.seconds(run, "cpu")
    brief = run.replace(**{"recipe.epochs": 1})
    cost.learn(brief, "cpu", elapsed=1.0)  # ten times as fast
    assert known / 1.1 < cost.seconds(run, "cpu") < known
    cost.learn(run, "cpu", elapsed=50.0)  # twice as fast, and long
    assert cost.seconds(run, "cpu") < known / 1.3


def test_what_is_trained_too_late_is_measured_by_the_next_call(tmp_path, monkeypatch):
    clock = Clock(monkeypatch, seconds_a_job=95.0)
    job = Job(
        "long", RUN, "tiny.weights", cost_seconds=100.0
    )  # 10 of them to measure, it is said; 5 are left
    report, lines, table = call(tmp_path, [job], budget="100s")
    assert lines[1:] == ["long: trained; there is no time left to measure"]
    assert states(tmp_path, [job]) == {"long": "trained"}
    clock.now = 0.0
    report, _, table = call(
        tmp_path, [job], budget="5s"
    )  # as nothing else has run, it is not put off for ever
    assert report.done == table["name"].tolist() == ["long"]


def test_time_to_measure_never_takes_all_time_from_training(tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(finding, "result", lambda *_, deadline, **__: given.append(deadline) or 1 / 0)
    monkeypatch.setattr(recording, "_clock", lambda: 0.0)
    for seconds in (100.0, 10_000.0):
        call(tmp_path, [Job("long", RUN, "tiny.weights", cost_seconds=seconds)], budget="100s")
    assert given == pytest.approx([90.0, 50.0])


def test_several_at_a_time(tmp_path):
    report, _, table = call(tmp_path, JOBS, jobs=2)
    assert sorted(report.done) == sorted(table["name"]) == ["seed 0", "seed 1", "seed 2"]
    assert table.set_index("name")["seed"].to_dict() == {"seed 0": 0, "seed 1": 1, "seed 2": 2}
