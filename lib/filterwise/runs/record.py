"""``filterwise record``: run and measure what a chapter's claims still miss, inside a budget of time."""

from __future__ import annotations

import datetime
import importlib
import re
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from filterwise.errors import DataError, ParameterError, check_at_least, check_choice
from filterwise.runs import cost, execute, pool, records, store
from filterwise.runs.code_digest import MEASURING_CODE, TRAINING_CODE, code_digest
from filterwise.runs.job import Job, check_jobs, plain_row

_DEFAULT_OF_MEASURE = 0.1  # a measurement's share of a job, before one was timed
_LAST = ("done", "blocked")
_clock = time.time


@dataclass(frozen=True)
class Pending:
    """A job of the list and what is known of it: done, stale, trained, resumes, missing or blocked (no
    data)."""

    job: Job
    status: str
    seconds: float
    measure_seconds: float
    reason: str = ""


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


def chapter_jobs(chapter: str, profile: str, data_root: str | Path | None = None) -> list[Job]:
    """The list of ``filterwise.experiments.<chapter>.jobs``; checked.

    Raises
    ------
    ParameterError
        If there is no such chapter, or it records nothing.
    """
    full = records.chapter_name(chapter)
    check_choice("profile", profile, records.PROFILES)
    module = f"filterwise.experiments.{full.split('-', 1)[1].replace('-', '_')}"
    try:
        listed = importlib.import_module(module).jobs(profile, data_root)
    except ModuleNotFoundError as error:
        if error.name not in (module, "filterwise.experiments"):
            raise
        raise ParameterError(f"chapter={chapter!r} has no experiments ({module} does not exist)") from None
    check_jobs(listed)
    return list(listed)


def pending(
    chapter: str,
    profile: str,
    *,
    queue: Sequence[Job] | None = None,
    data_root: str | Path | None = None,
    root: str | Path | None = None,
    out: str | Path | None = None,
    device: str = "auto",
    stale: bool = False,
) -> list[Pending]:
    """All jobs of a chapter, what is to be done first, by priority and cheapest first; nothing is run.

    A job is done if the records have a row of its ``spec_key``; with ``stale`` its code must be the same,
    too. Without its data it is blocked.
    """
    listed = list(queue) if queue is not None else chapter_jobs(chapter, profile, data_root)
    check_jobs(listed)
    table = records.load_records(chapter, profile, out).set_index("spec_key", drop=False)
    codes = {"code": code_digest(TRAINING_CODE), "measure_code": code_digest(MEASURING_CODE)}
    folder = store.runs_root(root)
    found = [_pending(job, table, codes if stale else {}, folder, data_root, device) for job in listed]
    return sorted(found, key=lambda each: (each.status in _LAST, each.job.priority, each.seconds))


def _pending(
    job: Job,
    table: pd.DataFrame,
    codes: dict[str, str],
    folder: Path,
    data_root: str | Path | None,
    device: str,
) -> Pending:
    try:
        keys = job.run.keys(data_root)
    except DataError as error:
        if (table["settings"] == job.run.settings).any():  # measured where the data is
            return Pending(job, "done", 0.0, 0.0)
        return Pending(job, "blocked", job.cost_seconds or 0.0, 0.0, str(error))
    old = keys.spec_key in table.index and any(
        table.loc[keys.spec_key, name] != code for name, code in codes.items()
    )
    if keys.spec_key in table.index and not old:
        return Pending(job, "done", 0.0, 0.0)
    on = execute.device_type(device)
    timed = cost.measured(job.run.model, on)
    whole = job.cost_seconds
    if whole is None or timed:
        whole = cost.seconds(job.run, on, data_root=data_root) / (1 - _DEFAULT_OF_MEASURE)
    same = (
        table[table["network"] == job.run.model]["measure_seconds"] if len(table) else pd.Series(dtype=float)
    )
    measure = float(same.median()) if len(same) else _DEFAULT_OF_MEASURE * whole
    if (folder / keys.key).is_dir():
        return Pending(job, "stale" if old else "trained", measure, measure)
    done = execute.done_share(folder, keys, job.run)
    status = "stale" if old else "resumes" if done else "missing"
    return Pending(job, status, (whole - measure) * (1 - done) + measure, measure)


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
    known = pending(
        chapter, profile, queue=queue, data_root=data_root, root=root, out=out, device=device, stale=stale
    )
    report = Recorded(records.table_path(chapter, profile, out))
    report.blocked = {each.job.name: each.reason for each in known if each.status == "blocked"}
    todo = [each for each in known if each.status not in _LAST]
    workers, place = pool.plan(jobs, device, per_device, threads)
    folder = store.runs_root(root)
    folder.mkdir(parents=True, exist_ok=True)
    flag = folder / f".record-{uuid.uuid4().hex}"
    tasks = [
        _Task(each, str(folder), str(data_root) if data_root else None, deadline, str(flag)) for each in todo
    ]
    try:
        for outcome in pool.outcomes(_one, tasks, workers, place, folder) if tasks else ():
            name = todo[outcome.index].job.name
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
    left = task.deadline - _clock()
    if left <= 0 or left < job.minimum_seconds or (flag.exists() and task.pending.seconds > left):
        return "left", {}, {}
    try:
        result = execute.result(
            job.run,
            task.root,
            data_root=task.data_root,
            device=device,
            deadline=task.deadline - task.pending.measure_seconds,
        )
    except execute.Paused as pause:
        flag.touch()
        return "paused", {"why": str(pause)}, {}
    left = task.deadline - _clock()
    if flag.exists() and task.pending.measure_seconds > left:
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
