"""``filterwise record``: run and measure what a list of jobs still misses, inside a budget of time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from filterwise import disk
from filterwise.errors import check_choice
from filterwise.runs import cost, finding, records, rows, stacks, store, workers
from filterwise.runs.durations import parse_budget
from filterwise.runs.jobs import Job
from filterwise.runs.measuring import measured
from filterwise.runs.queueing import LAST, Pending, pending, total_seconds
from filterwise.runs.specification import Run
from filterwise.runs.time_left import text
from filterwise.training.numerics import resolve

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
    group: tuple[Run, ...]  # trained together with the job's run, itself among them


def record(
    chapter: str,
    profile: str,
    queue: Sequence[Job],
    budget: str | float = "8m",
    *,
    jobs: int = 1,
    device: str = "auto",
    per_device: int = 1,
    together: int = 1,
    stale: bool = False,
    bundle: str | None = None,
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
        Such as ``"4-sfp"``, ``"cifar"``: where the rows go.
    queue
        The jobs, such as a chapter's plan lists.
    budget
        Seconds, or ``"8m"``.
    jobs, device, per_device
        As for :func:`filterwise.runs.sweep`; here one at a time unless told otherwise.
    together
        As for :func:`filterwise.runs.sweep`, among jobs of one run each and one priority. Each is still
        measured and written by itself.
    stale
        Also redo what was measured by code that has changed since.
    bundle
        Only the jobs of this bundle.
    data_root, root, out
        Folders of images, of runs and of records.
    say
        Is given a line with the number of jobs, and one for each that ends.

    Raises ParameterError for a profile, bundle, budget or number that is not allowed; FolderError, before
    anything is trained, if the folder of runs or of records is full or cannot be written to. Errors of single
    jobs are in the answer. What was measured and could not be written, as the folder of records filled up
    meanwhile, stays beside its run, and the next call writes it.

    >>> import tempfile
    >>> from filterwise.runs.specification import Run
    >>> from filterwise.training.recipe import Recipe
    >>> run = Run("lenet5", "parts", Recipe(epochs=1), data_options={"n": 100, "n_test": 50})
    >>> job = Job("LeNet-5, seed 0", run, "tree.network", {"exact": False})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     record("2-tree", "quick", [job], "1m", device="cpu", root=folder, out=folder).done
    ['LeNet-5, seed 0']
    """
    deadline = _clock() + parse_budget(budget)
    if bundle is not None:
        check_choice("bundle", bundle, dict.fromkeys(job.bundle for job in queue if job.bundle))
        queue = [job for job in queue if job.bundle == bundle]
    known = pending(
        chapter, profile, queue, data_root=data_root, root=root, out=out, device=device, stale=stale
    )
    report = Recorded(records.table_path(chapter, profile, out))
    report.blocked = {each.job.name: each.reason for each in known if each.status == "blocked"}
    report.failed = {each.job.name: each.reason for each in known if each.status == "failed"}
    todo = [each for each in known if each.status not in LAST]
    count, place = workers.plan(jobs, device, per_device)
    folder = store.runs_root(root)
    if not todo:
        return report
    disk.check_writable(folder, "runs")
    disk.check_writable(report.path.parent, "records")
    kinds = [(each.job.priority, len(each.job.all_runs)) for each in todo]
    turns = stacks.turns([each.job.run for each in todo], together, kinds)
    hope = cost.hope(total_seconds(todo) / max(count, 1), all(each.timed for each in todo))
    jobs_words = f"{len(todo)} job{'s' if len(todo) > 1 else ''} to do"
    say(f"{jobs_words}, {hope}; {text(max(deadline - _clock(), 0))} are given to them now")
    if mixed := _mixed([each.job for each in todo], report.path, device):
        say(mixed)
    began, rest = _clock(), list(todo)
    with disk.scratch(folder, "record") as marks:
        same = (str(folder), str(data_root) if data_root else None, deadline, str(marks / "ran"))
        tasks = [_Task(todo[turn], *same, group) for turn, group in turns]
        for outcome in workers.outcomes(_one, tasks, count, place, folder):
            name = tasks[outcome.index].pending.job.name
            rest.remove(tasks[outcome.index].pending)
            if outcome.answer is None:
                report.failed[name] = outcome.error
                say(f"{name}: failed: {outcome.error}")
                continue
            what, row, arrays = outcome.answer
            if what == "done":
                try:
                    records.write_record(chapter, profile, row, arrays, out)
                except disk.FolderError as error:
                    report.failed[name] = f"measured, and kept beside its run for the next call: {error}"
                    say(f"{name}: {report.failed[name]}")
                    continue
                report.done.append(name)
                times = " + ".join(text(row[part]) for part in ("seconds", "measure_seconds"))
                foreseen = [total_seconds(some) / count for some in (todo, rest)]
                took = seconds_left(_clock() - began, len(todo) - len(rest), len(rest), *foreseen)
                left = f", about {text(took)} left" if round(took) > 0 else ""
                count_words = f"{len(report.done)} of {len(todo)}{left}"
                say(f"{name}: accuracy {row['accuracy']:.4f}, {times} ({count_words})")
            else:
                (report.paused if what == "paused" else report.left).append(name)
                if what == "paused":
                    say(f"{name}: {row['why']}")
    return report


def _mixed(todo: Sequence[Job], path: Path, device: str) -> str:
    """A sentence where jobs will be computed in a precision that no row of their kind has; else empty.

    A comparison of rows in two precisions has the difference of the two in it.
    """
    table = records.load_records(path.parent.name, path.stem, path.parents[1])
    known: dict[str, set[str]] = {}
    for measure, precision in zip(table["measure"], table["precision"], strict=True):
        known.setdefault(measure, set()).add(precision)
    here = [(job.measure, resolve(job.all_runs[0].recipe, device).precision) for job in todo]
    other = [(own, known[measure]) for measure, own in here if measure in known and own not in known[measure]]
    if not other:
        return ""
    precisions = " and ".join(sorted({own for own, _ in other}))
    recorded = " and ".join(sorted(set().union(*(found for _, found in other))))
    jobs = f"{len(other)} of them" if len(other) > 1 else "one of them"
    return f"{jobs} will be computed in {precisions}, as this machine does; rows of their kind are {recorded}"


def seconds_left(elapsed: float, done: int, left: int, foreseen: float, rest: float) -> float:
    """What is left of a queue takes, by what was foreseen of all and of the rest, and what the others took.

    Where these were quicker than foreseen, the rest is in proportion; what they took longer is a cost of each
    job, because that of small ones is foreseen worst.

    >>> seconds_left(10, 1, 9, foreseen=91, rest=90), seconds_left(5, 1, 9, foreseen=100, rest=90)
    (171.0, 45.0)
    """
    expected = foreseen - rest
    late = max(0.0, elapsed - expected) / done
    return rest * min(1.0, elapsed / max(expected, 1e-9)) + left * late


def _one(task: _Task, device: str) -> tuple[str, dict[str, Any], dict[str, np.ndarray]]:
    """Train and measure one job in a worker, if there is time: done, paused or left."""
    job, flag = task.pending.job, Path(task.something_ran)
    measuring = task.pending.measure_seconds
    left = task.deadline - _clock()
    if (
        left <= 0
        or left < job.minimum_seconds
        or (flag.exists() and task.pending.seconds_now(finding.device_type(device), Path(task.root)) > left)
    ):
        return "left", {}, {}
    # time to measure is kept free, but never so much that training makes no progress
    how: dict[str, Any] = {"data_root": task.data_root, "device": device}
    how["deadline"] = task.deadline - min(measuring, left / 2)
    try:
        if len(job.all_runs) == 1:
            results = [stacks.result(job.run, task.group, task.root, **how)]
        else:
            results = [finding.result(run, task.root, **how) for run in job.all_runs]
    except finding.Paused as pause:
        flag.touch()
        return "paused", {"why": str(pause)}, {}
    if (flag.exists() or task.pending.status != "trained") and measuring > task.deadline - _clock():
        flag.touch()
        return "paused", {"why": "trained; there is no time left to measure"}, {}
    found = measured(results, job.measure, job.options)
    flag.touch()
    return "done", rows.row(job, results, found), rows.arrays(results, found)
