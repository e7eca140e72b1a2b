"""``filterwise record``: the chapter's jobs are handed to the recorder, and what it did is said."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from filterwise.cli import budgets, main
from filterwise.papers.chapter import folders
from filterwise.parameters import PROFILES
from filterwise.runs import (
    cost,  # noqa: F401  before its neighbours are replaced
    load_records,
)
from filterwise.runs.queueing import total_seconds

JOBS = [
    SimpleNamespace(name="one", bundle="P1", priority=1, cost_seconds=90.0),
    SimpleNamespace(name="two", bundle="P2", priority=0, cost_seconds=None),
]
RECORD = ["record", "4-sfp", "--profile", "cifar"]


@pytest.fixture
def asked(monkeypatch) -> dict:
    """What the recorder and the list were given; both know of one job to do and one without data."""
    asked: dict = {}
    budgets: list = []
    states = {"one": ("missing", 75.0, ""), "two": ("blocked", 0.0, "cifar10 is not there")}
    asked.update(budgets=budgets, states=states)

    def pending(chapter, profile, queue, **options):
        asked.update(chapter=chapter, profile=profile, queue=queue, **options)
        listed = [(job, *states[job.name]) for job in queue]
        return [
            SimpleNamespace(
                job=job, status=status, seconds=took, reason=why, trainings={}, timed=job.name != "new"
            )
            for job, status, took, why in listed
        ]

    def record(chapter, profile, queue, budget, *, say, **options):
        budgets.append((chapter, budget))
        asked.update(chapter=chapter, profile=profile, queue=queue, budget=budget, **options)
        say("one: accuracy 0.5")
        blocked = {"two": "cifar10 is not there"}
        return SimpleNamespace(
            path=Path("a.csv"), done=["one"], paused=[], left=["x"], failed={}, blocked=blocked
        )

    def stand_in(name: str, **functions) -> None:
        module = ModuleType(name)
        vars(module).update(functions)
        monkeypatch.setitem(sys.modules, name, module)

    stand_in("filterwise.papers", __path__=[])
    stand_in(
        "filterwise.papers.chapter",
        folders=lambda: {"4-sfp": "sfp", "5-afcc": "afcc"},
        jobs=lambda chapter, profile, data_root=None: JOBS,
        decided_by=lambda chapter, bundle, profile: ("S1", "S2") if bundle == "P1" else (),
    )
    stand_in("filterwise.runs.queueing", pending=pending, total_seconds=total_seconds)
    stand_in("filterwise.runs.recording", record=record)
    return asked


def test_recording_says_what_it_did(asked, capsys, tmp_path):
    given = [
        "--budget",
        "10m",
        "--jobs",
        "2",
        "--together",
        "4",
        "--runs",
        "r",
        "--data-root",
        str(tmp_path),
        "--stale",
    ]
    assert main([*RECORD, *given]) == 0
    said = capsys.readouterr()
    last = "1 recorded in a.csv, 1 to do, 0 failed, 1 blocked"
    assert said.out.splitlines() == ["one: accuracy 0.5", last]
    assert said.err == "filterwise: blocked: two: cifar10 is not there\n"
    assert 599 < asked.pop("budget") <= 600
    assert len(asked.pop("budgets")) == 1
    del asked["states"]
    expected = {"chapter": "4-sfp", "profile": "cifar", "queue": JOBS, "bundle": None}
    expected |= {"jobs": 2, "together": 4, "per_device": 1, "device": "auto", "stale": True}
    assert asked == expected | {"root": "r", "data_root": str(tmp_path), "out": None}


def test_what_is_pending_is_listed(asked, capsys):
    assert main([*RECORD, "--dry-run"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in said[:2]] == [["missing", "one"], ["blocked", "two"]]
    assert said[0].endswith("1 min 15 s")
    assert said[1].endswith("cifar10 is not there")
    assert said[2:] == [
        "bundle 'P2': 0 of 1 jobs to do",
        "bundle 'P1': 1 of 1 jobs to do, about 1 min 15 s here; decides S1, S2",
        "1 of 2 jobs to do, about 1 min 15 s",
    ]
    assert asked.pop("budgets") == []
    del asked["states"]
    assert set(asked) == {"chapter", "profile", "queue", "device", "stale", "data_root", "root", "out"}


def test_without_a_training_here_no_estimate_says_about(asked, capsys, monkeypatch):
    monkeypatch.setattr(JOBS[0], "name", "new")
    asked["states"]["new"] = ("missing", 75.0, "")
    assert main([*RECORD, "--dry-run"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[-2:] == [
        "bundle 'P1': 1 of 1 jobs to do, 1 min 15 s here; decides S1, S2",
        "1 of 2 jobs to do, 1 min 15 s by a rule of thumb, as nothing like it was timed here",
    ]


def test_a_bundle_for_a_gpu_says_what_a_gpu_is_foreseen_to_take(asked, capsys):
    assert main(["record", "4-sfp", "--profile", "short", "--dry-run"]) == 0
    foreseen = "about 1 min 15 s here, 1 min 30 s foreseen on an H200; decides S1, S2"
    assert f"bundle 'P1': 1 of 1 jobs to do, {foreseen}" in capsys.readouterr().out


def test_one_bundle_is_recorded_alone(asked, refused, capsys):
    assert main([*RECORD, "--bundle", "P1"]) == 0
    assert (asked["queue"], asked["bundle"]) == (JOBS[:1], "P1")
    capsys.readouterr()
    assert "bundle='P3' is not known; choose from 'P1', 'P2'; did you mean" in refused(
        *RECORD, "--bundle", "P3"
    )


def test_all_chapters_share_one_budget(asked, capsys, monkeypatch):
    now = iter([0.0, 10.0, 50.0])
    monkeypatch.setattr(budgets.time, "monotonic", lambda: next(now))
    assert main(["record", "--all", "--profile", "cifar", "--budget", "60s"]) == 0
    assert asked["budgets"] == [("4-sfp", 50.0), ("5-afcc", 10.0)]
    said = capsys.readouterr().out.splitlines()
    assert [said[0], said[3]] == ["4-sfp:", "5-afcc:"]


def test_what_the_budget_does_not_reach_is_said(asked, capsys, monkeypatch):
    now = iter([0.0, 10.0, 70.0])
    monkeypatch.setattr(budgets.time, "monotonic", lambda: next(now))
    assert main(["record", "--all", "--profile", "cifar", "--budget", "60s"]) == 0
    assert [chapter for chapter, _ in asked["budgets"]] == ["4-sfp"]
    assert capsys.readouterr().out.endswith("\n5-afcc: not begun, the budget of 60s is spent\n")


def test_what_is_pending_of_all_is_a_line_a_chapter(asked, capsys):
    assert main(["record", "--all", "--profile", "cifar", "--dry-run"]) == 0
    line = "1 of 2 jobs to do, about 1 min 15 s"
    assert capsys.readouterr().out.splitlines() == [f"4-sfp: {line}", f"5-afcc: {line}"]


def test_without_a_chapter_rows_are_counted(capsys, monkeypatch):
    monkeypatch.delenv("FILTERWISE_RECORDS")
    assert main(["record"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["recorded", *PROFILES]
    counts = {line.split()[0]: line.split()[1:] for line in lines[:-2]}
    assert list(counts) == list(folders())
    rows = load_records("4-sfp", varied=True)["profile"].value_counts()
    assert counts["4-sfp"] == [str(rows.get(profile, "-")) for profile in PROFILES]
    assert all(line.startswith("filterwise record ") for line in lines[-2:])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("4-sfp", "--all", "--profile", "cifar"), "4-sfp and --all are two answers"),
        (("--profile", "cifar"), "a CHAPTER is missing"),
        (("4-sfp",), "--profile is missing; choose from 'quick'"),
        (("--all",), "--profile is missing"),
        (("--all", "--profile", "short", "--bundle", "heads"), "--bundle heads is of one chapter"),
    ],
)
def test_which_chapter_and_profile_must_be_clear(refused, arguments, message):
    assert message in refused("record", *arguments)
