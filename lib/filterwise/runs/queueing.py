"""What of a list of jobs is still to be recorded, and how long that would take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from filterwise.errors import DataError
from filterwise.runs import cost, finding, records, store, workers
from filterwise.runs.jobs import Job, check_jobs, planned_for
from filterwise.runs.measuring import measurements
from filterwise.runs.reach import code_digest
from filterwise.runs.specification import Run
from filterwise.runs.time_left import TimeLeft

_DEFAULT_OF_MEASURE = 0.1  # a measurement's share of a job, before one was timed
#: States in which nothing is to be done.
LAST = ("done", "blocked", "failed")


@dataclass(frozen=True)
class Pending:
    """A job of the list and what is known of it: done, stale, trained, resumes, missing, blocked (no data)
    or failed (it cannot even be looked at, for the reason given)."""

    job: Job
    status: str
    seconds: float
    measure_seconds: float
    reason: str = ""
    speed: float = 1.0  # by which the estimate was corrected
    trainings: Mapping[str, float] = field(default_factory=dict)  # key of a run -> its part of the seconds
    timed: bool = True  # whether the estimate rests on a training of such a network on this machine

    def seconds_now(self, device: str, folder: Path) -> float:
        """The estimate without the trainings that other jobs have finished since the list was made; on CUDA
        also corrected by what was trained since then."""
        known = cost.speed(self.job.run.model, device) if device == "cuda" else None
        spared = sum(took for key, took in self.trainings.items() if (folder / key).is_dir())
        return (self.seconds - spared) * (self.speed / known if known else 1.0)


def total_seconds(listed: Iterable[Pending]) -> float:
    """The estimate of all jobs together: what several of them train or start from is trained once."""
    seconds, known = 0.0, set()
    for each in listed:
        seconds += each.seconds - sum(took for key, took in each.trainings.items() if key in known)
        known |= set(each.trainings)
    return seconds


def pending(
    chapter: str,
    profile: str,
    queue: Sequence[Job],
    *,
    data_root: str | Path | None = None,
    root: str | Path | None = None,
    out: str | Path | None = None,
    device: str = "auto",
    stale: bool = False,
) -> list[Pending]:
    """All jobs, what is to be done first, by priority and cheapest first; nothing is run.

    A job is done if the records have a row of its ``spec_key``, on whatever device it was made; with
    ``stale`` its code must be the same, too. Without its data it is blocked. One job's error is that job's.

    >>> import tempfile
    >>> from filterwise.runs.specification import Run
    >>> from filterwise.training.recipe import Recipe
    >>> run = Run("lenet5", "parts", Recipe(epochs=1), data_options={"n": 100, "n_test": 50})
    >>> job = Job("LeNet-5, seed 0", run, "tree.network", {"exact": False})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     [each.status for each in pending("2-tree", "quick", [job], root=folder, out=folder, device="cpu")]
    ['missing']
    """
    check_jobs(queue)
    table = records.load_records(chapter, profile, out, varied=True).set_index("spec_key", drop=False)
    folder = store.runs_root(root)
    found = []
    for job in TimeLeft(queue, f"{chapter}: looking for what is recorded"):
        try:
            found.append(_pending(job, profile, table, stale, folder, data_root, device))
        except Exception as error:
            found.append(Pending(job, "failed", 0.0, 0.0, workers.in_words(error)))
    return sorted(found, key=lambda each: (each.status in LAST, each.job.priority, each.seconds))


def _pending(
    job: Job,
    profile: str,
    table: pd.DataFrame,
    stale: bool,
    folder: Path,
    data_root: str | Path | None,
    device: str,
) -> Pending:
    try:
        spec_key = job.spec_key(data_root, device)
    except DataError as error:
        if (table["settings"] == job.settings).any():  # measured where the data is
            return Pending(job, "done", 0.0, 0.0)
        return Pending(job, "blocked", 0.0, 0.0, str(error))
    old = False
    if spec_key in table.index:
        code = code_digest(measurements.get(job.measure).function)
        same = [table.loc[spec_key, "code"] == job.run.keys(data_root, device).code]
        same.append(table.loc[spec_key, "measure_code"] == code)
        old = stale and not all(same)
        if not old:
            return Pending(job, "done", 0.0, 0.0)
    left = [one for run in job.all_runs for one in _left(run, folder, data_root, device)]
    training = sum(one.seconds for one in left)
    kind = finding.device_type(device)
    planned = job.cost_seconds if kind == planned_for(profile) else None
    whole, measure = _whole(planned, training, job.run.model, kind)
    past = table[(table["network"] == job.run.model) | (table["measure"] == job.measure)]["measure_seconds"]
    measure = float(past.median()) if len(past) else measure
    share = sum(one.todo for one in left) / max(training, 1e-9)
    status = "trained" if share == 0 else "missing" if share == 1 else "resumes"
    scale = max(whole - measure, 0) / max(training, 1e-9)
    trainings = {one.key: one.todo * scale for one in left if one.todo}
    used = cost.speed(job.run.model, kind) or 1.0
    return Pending(
        job, "stale" if old else status, sum(trainings.values()) + measure, measure, "", used, trainings,
        timed=not trainings or cost.measured(job.run.model, kind),
    )  # fmt: skip


def _whole(planned: float | None, training: float, model: str, device: str) -> tuple[float, float]:
    """Estimated seconds of a job and, of these, of its measurement, if its trainings take ``training``.

    ``planned`` are the plan's seconds for this kind of device, if it gives any.
    """
    whole = training / (1 - _DEFAULT_OF_MEASURE)
    if planned is None:
        return whole, _DEFAULT_OF_MEASURE * whole
    if device != "cuda":
        whole = whole if cost.measured(model, device) else planned
        return whole, _DEFAULT_OF_MEASURE * whole
    # what the plan foresaw, heads and all, is as much faster or slower as the trainings turned out to be
    whole = planned / (cost.speed(model, device) or 1.0)
    return whole, max(_DEFAULT_OF_MEASURE * whole, whole - training)


@dataclass(frozen=True)
class _Left:
    """Estimated seconds of a run by itself, and those of them that are still to do."""

    key: str
    seconds: float
    todo: float


def _left(run: Run, folder: Path, data_root: str | Path | None, device: str) -> list[_Left]:
    """A run and, unless it is stored, those that it starts from."""
    seconds = cost.seconds(run, finding.device_type(device), data_root)
    keys = run.keys(data_root, device)
    if (folder / keys.key).is_dir():
        return [_Left(keys.key, seconds, 0.0)]
    own = _Left(keys.key, seconds, seconds * (1 - finding.done_epochs(folder, keys) / run.recipe.epochs))
    return [own, *(_left(run.start, folder, data_root, device) if run.start is not None else ())]
