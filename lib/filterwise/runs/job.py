"""A job: one run and what is measured on its result, which together give one record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from filterwise.errors import ParameterError, RunError, check_at_least
from filterwise.runs.spec import Run
from filterwise.runs.store import Result

Row = Mapping[str, float | int | str | bool | None]
Measure = Callable[[Result], tuple[Row, Mapping[str, np.ndarray]]]


@dataclass(frozen=True)
class Job:
    """One entry of a chapter's list of what is to be recorded.

    Parameters
    ----------
    name
        In words, once in a list; shown while it runs and stored in the record.
    run
        The training.
    measure
        ``measure(result) -> (row, arrays)``: quantities (per layer: ``"quantity@layer"``) and small arrays
        for figures. A function of a module, so that other processes can be given it. It should measure on
        ``result.device``. It may set ``"network"``, which is ``run.model`` otherwise.
    cost_seconds
        Estimated seconds on the device that the profile is meant for, training and measuring. It is used
        until the network has been trained on the machine at hand; ``None`` estimates from operations.
    minimum_seconds
        The job is not started with less than this left of the budget. A training can be left at any epoch and
        resumed, so this is only for what must be done in one go.
    priority
        Smaller numbers come first; among equals the cheapest does.
    """

    name: str
    run: Run
    measure: Measure
    cost_seconds: float | None = None
    minimum_seconds: float = 0.0
    priority: int = 0

    def __post_init__(self) -> None:
        if not self.name or not isinstance(self.name, str):
            raise ParameterError(f"name={self.name!r} must be a text")
        if not isinstance(self.run, Run):
            raise ParameterError(f"job {self.name!r}: run={self.run!r} must be a Run")
        if not callable(self.measure):
            raise ParameterError(
                f"job {self.name!r}: measure={self.measure!r} must be a function of a result"
            )
        if self.cost_seconds is not None:
            check_at_least(f"job {self.name!r}: cost_seconds", self.cost_seconds, 0)
        check_at_least(f"job {self.name!r}: minimum_seconds", self.minimum_seconds, 0)


def check_jobs(jobs: Sequence[Job]) -> None:
    """Refuse a list in which two jobs have one name, or one run: a record is found by its run.

    Raises
    ------
    RunError
        Names the two jobs.
    """
    names: set[str] = set()
    runs: dict[str, str] = {}
    for job in jobs:
        if not isinstance(job, Job):
            raise RunError(f"the list of jobs holds {job!r}, which is a {type(job).__name__} and not a Job")
        if job.name in names:
            raise RunError(f"two jobs have the name {job.name!r}")
        names.add(job.name)
        if job.run.settings in runs:
            raise RunError(f"the jobs {runs[job.run.settings]!r} and {job.name!r} have the same run")
        runs[job.run.settings] = job.name


def plain_row(job: str, row: Row, reserved: Sequence[str]) -> dict[str, Any]:
    """A measured row with plain values.

    Raises
    ------
    RunError
        If it has one of the ``reserved`` columns, or a value that is not a number, truth value, text or None.

    >>> plain_row("a", {"snr@features.1": np.float32(0.5), "layers": "features.1"}, ["seed"])
    {'snr@features.1': 0.5, 'layers': 'features.1'}
    """
    values: dict[str, Any] = {}
    for name, value in row.items():
        if name in reserved:
            raise RunError(f"job {job!r}: measure gives {name!r}, which is a column of every record")
        if isinstance(value, np.generic) or (hasattr(value, "item") and getattr(value, "ndim", None) == 0):
            value = value.item()  # type: ignore[union-attr]
        if value is not None and type(value) not in (bool, int, float, str):
            raise RunError(
                f"job {job!r}: measure gives {name!r} as {type(value).__name__}; arrays go beside the row"
            )
        values[name] = value
    return values
