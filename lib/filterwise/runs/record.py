"""``filterwise record``: run and measure what a chapter's claims still miss, inside a budget of time."""

from __future__ import annotations

import datetime
import re
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from filterwise.errors import ParameterError, check_at_least, check_choice
from filterwise.parameters import TOGETHER
from filterwise.runs import cost, execute, pool, records, store
from filterwise.runs.code_digest import MEASURING_CODE, code_digest
from filterwise.runs.job import Job, plain_row
from filterwise.runs.pending import LAST, Pending, pending
from filterwise.runs.together import result as train_with
from filterwise.runs.together import turns

_clock = time.time


@dataclass
class Recorded:
    """What one call did: names of jobs by what became of them, and the table that was written."""

    path: Path
    done: list[str] = field(default_factory=list)
    paused: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    blocked: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Task:
    pending: Pending
    root: str
    data_root: str | None
    deadline: float  # seconds since 1970: other processes share it
    something_ran: str
    mates: tuple[Pending, ...]
    together: str


def parse_budget(budget: str | float) -> float:
    """Seconds of a duration such as ``"8m"``, ``"1h30m"``, ``"90s"`` or ``480``.

    Raises
    ------
    ParameterError
        If it is not a duration of at least one second.

    >>> parse_budget("1h30m"), parse_budget("90"), parse_budget(480)
    (5400.0, 90.0, 480.0)
    """
    found = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?", str(budget).strip())
    if not found or not str(budget).strip():
        raise ParameterError(f"budget={budget!r} is not a duration; write '8m', '1h30m', '90s' or seconds")
    hours, minutes, rest = (float(part or 0) for part in found.groups())
    total = 3600 * hours + 60 * minutes + rest
    check_at_least("budget", total, 1)
    return total


def record(
    chapter: str,
    profile: str,
    budget: str | float = "8m",
    *,
    queue: Sequence[Job] | None = None,
    jobs: int = 1,
    device: str = "auto",
    per_device: int = 1,
    threads: int | None = None,
    together: str = "auto",
    stale: bool = False,
    data_root: str | Path | None = None,
    root: str | Path | None = None,
    out: str | Path | None = None,
    say: Callable[[str], object] = lambda line: None,
) -> Recorded:
    """Run and measure what is missing, by priority and cheapest first, and stop inside the budget; call
    again for the rest.

    Each finished job is written at once, so a call that is stopped has not been in vain. A job whose
    estimate is more than what is left is not started, unless none has ended yet; training stops at the
    deadline with a checkpoint and goes on from there in the next call.

    Parameters
    ----------
    chapter, profile
        Such as ``"4-sfp"``, ``"cifar"``.
    budget
        Seconds, or ``"8m"``.
    queue
        Jobs of your own; default: the chapter's.
    jobs, device, per_device, threads
        As for :func:`filterwise.runs.sweep`; here one at a time unless told otherwise.
    together
        As for :func:`filterwise.runs.sweep`, among jobs of one priority and as many as there seems to be time
        for. Each is still measured and written by itself.
    stale
        Also redo what was measured by code that has changed since.
    data_root, root, out
        Folders of images, of runs and of records.
    say
        Is given a line for each job that ends.

    Raises
    ------
    ParameterError
        For a chapter, profile, budget or number that is not allowed. Errors of single jobs are in the answer.
    """
    deadline = _clock() + parse_budget(budget)
    check_choice("together", together, TOGETHER)
    known = pending(
        chapter, profile, queue=queue, data_root=data_root, root=root, out=out, device=device, stale=stale
    )
    report = Recorded(records.table_path(chapter, profile, out))
    report.blocked = {each.job.name: each.reason for each in known if each.status == "blocked"}
    todo = [each for each in known if each.status not in LAST]
    workers, place = pool.plan(jobs, device, per_device, threads)
    folder = store.runs_root(root)
    folder.mkdir(parents=True, exist_ok=True)
    flag = folder / f".record-{uuid.uuid4().hex}"
    runs, priorities = [each.job.run for each in todo], [each.job.priority for each in todo]
    order = turns(runs, workers, together, device, priorities)
    same = (str(folder), str(data_root) if data_root else None, deadline, str(flag))
    tasks = [_Task(todo[turn], *same, tuple(todo[mate] for mate in mates), together) for turn, mates in order]
    try:
        for outcome in pool.outcomes(_one, tasks, workers, place, folder) if tasks else ():
            name = tasks[outcome.index].pending.job.name
            if outcome.answer is None:
                report.failed[name] = outcome.error
                say(f"{name}: failed: {outcome.error}")
                continue
            what, row, arrays = outcome.answer
            if what == "done":
                records.write_record(chapter, profile, row, arrays, out)
                report.done.append(name)
                times = " + ".join(cost.text(row[part]) for part in ("seconds", "measure_seconds"))
                say(f"{name}: accuracy {row['accuracy']:.4f}, {times} ({len(report.done)} of {len(todo)})")
            else:
                (report.paused if what == "paused" else report.left).append(name)
                if what == "paused":
                    say(f"{name}: {row['why']}")
    finally:
        flag.unlink(missing_ok=True)
    return report


def _one(task: _Task, device: str) -> tuple[str, dict[str, Any], dict[str, np.ndarray]]:
    """Train and measure one job in a worker, if there is time: done, paused or left."""
    job, flag = task.pending.job, Path(task.something_ran)
    measuring = task.pending.measure_seconds
    left = task.deadline - _clock()
    if left <= 0 or left < job.minimum_seconds or (flag.exists() and task.pending.seconds > left):
        return "left", {}, {}
    mates = _mates(task, left)
    of_all = measuring + sum(mate.measure_seconds for mate in mates)
    try:
        result = train_with(
            job.run,
            [mate.job.run for mate in mates],
            task.root,
            data_root=task.data_root,
            device=device,
            # time to measure is kept free, but never so much that training makes no progress
            deadline=task.deadline - min(of_all, left / 2),
            choice=task.together,
            attempt=flag.name,
        )
    except execute.Paused as pause:
        flag.touch()
        return "paused", {"why": str(pause)}, {}
    if (flag.exists() or task.pending.status != "trained") and measuring > task.deadline - _clock():
        flag.touch()
        return "paused", {"why": "trained; there is no time left to measure"}, {}
    started = time.perf_counter()
    row, arrays = job.measure(result)
    seconds = time.perf_counter() - started
    flag.touch()
    return (
        "done",
        _record(job, result, row, seconds),
        {name: np.asarray(value) for name, value in arrays.items()},
    )


def _mates(task: _Task, left: float) -> list[Pending]:
    """Those that there is time for, by what they would take alone; all, if there is not enough for the job
    itself: then it goes on in the next call, and they with it."""
    taken, chosen = task.pending.seconds, []
    for mate in task.mates:
        if left >= mate.job.minimum_seconds and (task.pending.seconds > left or taken + mate.seconds <= left):
            chosen.append(mate)
            taken += mate.seconds
    return chosen


def _record(job: Job, result: store.Result, row: Any, seconds: float) -> dict[str, Any]:
    measured = plain_row(job.name, row, [name for name in records.COLUMNS if name != "network"])
    made = result.provenance
    common = {
        "name": job.name,
        "network": job.run.model,
        "seed": job.run.seed,
        "data": made["data"],
        "labels": made["labels"],
        "epochs": result.metrics["epochs"],
        "accuracy": result.metrics["accuracy"],
        "seconds": round(made["seconds"], 2),
        "measure_seconds": round(seconds, 2),
        "device": made["device_name"],
        "torch": made["torch"],
        "recorded": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "data_digest": result.keys.data,
        "settings": result.keys.settings,
        "spec_key": result.keys.spec_key,
        "key": result.keys.key,
        "code": result.keys.code,
        "measure_code": code_digest(MEASURING_CODE),
    }
    return {**common, **measured}
