"""What a chapter still has to record, and how long that would take."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from filterwise.errors import DataError, ParameterError, check_choice
from filterwise.runs import cost, execute, records, store
from filterwise.runs.code_digest import MEASURING_CODE, TRAINING_CODE, code_digest
from filterwise.runs.job import Job, check_jobs

_DEFAULT_OF_MEASURE = 0.1  # a measurement's share of a job, before one was timed
#: States in which nothing is to be done.
LAST = ("done", "blocked")


@dataclass(frozen=True)
class Pending:
    """A job of the list and what is known of it: done, stale, trained, resumes, missing or blocked (no
    data)."""

    job: Job
    status: str
    seconds: float
    measure_seconds: float
    reason: str = ""


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
    return sorted(found, key=lambda each: (each.status in LAST, each.job.priority, each.seconds))


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
