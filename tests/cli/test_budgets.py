"""``filterwise record``: the chapter's jobs are handed to the recorder, and what it did is said."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from filterwise.cli import main
from filterwise.runs import cost  # noqa: F401  before its neighbours are replaced

JOBS = [
    SimpleNamespace(name="one", bundle="P1", priority=1, cost_seconds=90.0),
    SimpleNamespace(name="two", bundle="P2", priority=0, cost_seconds=None),
]
RECORD = ["record", "4-sfp", "--profile", "cifar"]


@pytest.fixture
def asked(monkeypatch) -> dict:
    """What the recorder and the list were given; both know of one job to do and one without data."""
    asked: dict = {}

    def pending(chapter, profile, queue, **options):
        asked.update(chapter=chapter, profile=profile, queue=queue, **options)
        states = {"one": ("missing", 75.0, ""), "two": ("blocked", 0.0, "cifar10 is not there")}
        listed = [(job, *states[job.name]) for job in queue]
        return [
            SimpleNamespace(job=job, status=status, seconds=took, reason=why)
            for job, status, took, why in listed
        ]

    def record(chapter, profile, queue, budget, *, say, **options):
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
        jobs=lambda chapter, profile, data_root=None: JOBS,
        decided_by=lambda chapter, bundle, profile: ("S1", "S2") if bundle == "P1" else (),
    )
    stand_in("filterwise.runs.queueing", pending=pending)
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
    expected = {"chapter": "4-sfp", "profile": "cifar", "queue": JOBS, "budget": "10m", "bundle": None}
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
    assert set(asked) == {"chapter", "profile", "queue", "device", "stale", "data_root", "root", "out"}


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
