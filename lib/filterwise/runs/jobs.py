"""A job: runs and what is measured on their results, which together give one record. Plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filterwise.errors import ParameterError, RunError, check_at_least
from filterwise.runs.plain_values import Options, canonical, digest, options
from filterwise.runs.specification import Run

#: Profiles whose estimates in the plans are those of a GPU; of the others they are a CPU's.
_ON_CUDA = ("short", "paper")


def planned_for(profile: str) -> str:
    """The kind of device that a profile's :attr:`Job.cost_seconds` are those of: ``"cuda"`` or ``"cpu"``."""
    return "cuda" if profile in _ON_CUDA else "cpu"


@dataclass(frozen=True)
class Job:
    """One entry of a chapter's list of what is to be recorded.

    Parameters
    ----------
    name
        In words, once in a list; shown while it runs and stored in the record.
    runs
        The training, or several: a committee, the arms of a comparison.
    measure
        Name of a registered measurement, such as ``"sfp.layers"``; it is given the runs' results.
    options
        Of the measurement. Runs, measurement and options are what a record is found by.
    about
        What the record says of the job beside what was measured: its network's name, its arm.
    cost_seconds
        Estimated seconds, training and measuring: of an H200 at ``short`` and ``paper``, of one CPU thread
        else. On a CPU it is used until the network has been trained there; ``None``, or another device,
        estimates from operations.
    minimum_seconds
        The job is not started with less than this left of the budget. A training can be left at any epoch and
        resumed, so this is only for what must be done in one go.
    priority
        Smaller numbers come first; among equals the cheapest does.
    bundle
        Jobs of one name decide claims together; ``record`` can be asked for one bundle.
    """

    name: str
    runs: Run | tuple[Run, ...]
    measure: str
    options: Options | Mapping[str, Any] = ()
    about: Options | Mapping[str, Any] = ()
    cost_seconds: float | None = None
    minimum_seconds: float = 0.0
    priority: int = 0
    bundle: str = ""

    def __post_init__(self) -> None:
        if not self.name or not isinstance(self.name, str):
            raise ParameterError(f"name={self.name!r} must be a text")
        runs = (self.runs,) if isinstance(self.runs, Run) else self.runs
        if not isinstance(runs, (tuple, list)) or not runs or not all(isinstance(run, Run) for run in runs):
            raise ParameterError(f"job {self.name!r}: runs={self.runs!r} must be a Run, or some")
        object.__setattr__(self, "runs", tuple(runs))
        if not isinstance(self.measure, str) or not self.measure:
            raise ParameterError(
                f"job {self.name!r}: measure={self.measure!r} must be the name of a measurement"
            )
        for name in ("options", "about"):
            object.__setattr__(self, name, options(f"job {self.name!r}: {name}", getattr(self, name)))
        if self.cost_seconds is not None:
            check_at_least(f"job {self.name!r}: cost_seconds", self.cost_seconds, 0)
        check_at_least(f"job {self.name!r}: minimum_seconds", self.minimum_seconds, 0)

    @property
    def all_runs(self) -> tuple[Run, ...]:
        """The runs as a tuple."""
        return self.runs  # type: ignore[return-value]

    @property
    def run(self) -> Run:
        """The first run."""
        return self.all_runs[0]

    @property
    def settings(self) -> str:
        """Digest of runs, measurement and options; needs no data."""
        return digest(*(run.settings for run in self.all_runs), self.measure, canonical(dict(self.options)))

    def spec_key(self, data_root: str | Path | None = None, device: str = "auto") -> str:
        """What the job's record is found by: digest of :attr:`settings` and the content of the data."""
        return digest(self.settings, *(run.keys(data_root, device).spec_key for run in self.all_runs))


def check_jobs(jobs: Sequence[Job]) -> None:
    """Refuse a list in which two jobs have one name, or measure the same.

    Raises RunError: names the two jobs.
    """
    names: set[str] = set()
    same: dict[str, str] = {}
    for job in jobs:
        if not isinstance(job, Job):
            raise RunError(f"the list of jobs holds {job!r}, which is a {type(job).__name__} and not a Job")
        if job.name in names:
            raise RunError(f"two jobs have the name {job.name!r}")
        names.add(job.name)
        if job.settings in same:
            raise RunError(f"the jobs {same[job.settings]!r} and {job.name!r} measure the same")
        same[job.settings] = job.name
