"""Many runs: several at a time, resumed after a kill, one failure at a time.

On this machine the engine is joblib's processes. The same sweep moves to a cluster with the extra
``cluster``::

    from dask_jobqueue import SLURMCluster
    from dask.distributed import Client
    from joblib import parallel_config

    # One run a process (threads_per_worker=1 by processes=cores would share a GPU between threads).
    cluster = SLURMCluster(queue="gpu", cores=1, processes=1, memory="16GB", walltime="04:00:00",
                           job_extra_directives=["--gres=gpu:1", "--cpus-per-task=1"])
    cluster.adapt(maximum_jobs=20)
    with Client(cluster), parallel_config(backend="dask", wait_for_workers_timeout=3600):
        table = fw.runs.sweep(runs, data_root="/project/images", root="/project/runs").table

The folders of runs and data must be seen by all nodes under the same names, and their file system must have
working file locks. A worker that is killed, by the walltime too, has its run resumed by another one from the
last checkpoint. From the command line: ``filterwise sweep ... --dask tcp://scheduler:8786``.
"""

from __future__ import annotations

import dataclasses
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from filterwise import disk
from filterwise.errors import ParameterError, RunError
from filterwise.runs import cost, finding, stacks, store, workers
from filterwise.runs.specification import Run

_METRICS = ("accuracy", "loss", "best_accuracy", "best_epoch", "train_accuracy", "train_loss", "epochs")
_MADE = ("precision", "memory_format", "engine", "device", "torch", "seconds")
#: Columns that say how a row was made, not what came out: they differ between machines and between calls.
CIRCUMSTANCES = ("device", "torch", "seconds", "status", "error")


@dataclass(frozen=True)
class Failure:
    """A run that ended with an error.

    >>> from filterwise.training.recipe import Recipe
    >>> Failure(Run("lenet5", "parts", Recipe(epochs=1)), "no disk space left", "").error
    'no disk space left'
    """

    run: Run
    error: str
    traceback: str


@dataclass(frozen=True)
class SweepResult:
    """``table``: one row a run, in the order given. ``failures``: what went wrong, and where.

    >>> import tempfile
    >>> from filterwise.training.recipe import Recipe
    >>> run = Run("lenet5", "parts", Recipe(epochs=1), data_options={"n": 100, "n_test": 50})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     answer = sweep([run], jobs=1, root=folder, device="cpu", progress=False).check()
    >>> answer.table["status"].tolist(), answer.failures
    (['run'], ())
    """

    table: pd.DataFrame
    failures: tuple[Failure, ...] = ()

    def check(self) -> SweepResult:
        """Itself, if no run failed.

        Raises RunError: lists the runs that failed.
        """
        if self.failures:
            listed = "; ".join(f"{describe(failure.run)}: {failure.error}" for failure in self.failures)
            raise RunError(f"{len(self.failures)} of {len(self.table)} runs failed: {listed}")
        return self


@dataclass(frozen=True)
class _Task:
    run: Run
    group: tuple[Run, ...]
    root: str
    data_root: str | None
    checkpoint_every: int


def sweep(
    runs: Iterable[Run],
    jobs: int | None = None,
    *,
    root: str | Path | None = None,
    data_root: str | Path | None = None,
    device: str = "auto",
    per_device: int = 1,
    together: int = 1,
    checkpoint_every: int = 5,
    progress: bool = True,
) -> SweepResult:
    """Run what is not stored yet, and tabulate all.

    Parameters
    ----------
    runs
        What to run; :func:`filterwise.runs.grid` makes such lists.
    jobs
        Runs at a time. Default: one a device, or on the CPU one for every core, as each run has one thread.
    root, data_root
        Where runs are stored, where the images are.
    device
        ``auto``, ``cpu``, ``cuda``, ... With several CUDA devices every worker sees one of them only.
    per_device
        Runs at a time on one CUDA device.
    together
        So many runs that differ in seed, learning rate, momentum, weight decay or schedule alone train as one
        stack of networks, which fills a GPU that a small network leaves idle. See
        :mod:`filterwise.runs.stacks`.
    checkpoint_every
        Epochs between checkpoints, which is what a killed sweep loses at most of each run in flight.
    progress
        Show a bar with the time left.

    Returns the table and the failures: a run that fails does not stop the others; it is in ``failures`` and
    has an ``error`` in the table.

    Raises ParameterError if there are no runs, or one of the numbers is too small; FolderError if the folder
    of runs is full or cannot be written to.

    >>> import tempfile
    >>> from filterwise.training import Recipe
    >>> run = Run("lenet5", "parts", Recipe(epochs=1), data_options={"n": 100, "n_test": 50})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     table = sweep([run], jobs=1, root=folder, device="cpu", progress=False).table
    >>> table[["model", "seed", "epochs", "status"]].values.tolist()
    [['lenet5', 0, 1, 'run']]
    """
    listed = _checked(runs)
    count, place = workers.plan(jobs, device, per_device)
    folder = store.runs_root(root)
    rows: dict[int, dict[str, Any]] = {}
    failures: dict[int, Failure] = {}
    waiting: dict[Run, list[int]] = {}  # one run, all rows that ask for it
    for index, run in enumerate(listed):
        try:
            found = finding.stored(run, folder, data_root, device)[0] if together == 1 else None
        except Exception as error:  # of any kind: one bad member stops no other
            failures[index] = Failure(run, workers.in_words(error), traceback.format_exc())
            continue
        if found is not None:
            rows[index] = _row(found, "stored")
        else:
            waiting.setdefault(run, []).append(index)
    asked = list(waiting)
    same = (str(folder), str(data_root) if data_root else None, checkpoint_every)
    tasks = [_Task(asked[turn], group, *same) for turn, group in stacks.turns(asked, together)]
    if tasks:
        disk.check_writable(folder, "runs")
    ended = workers.outcomes(_train, tasks, count, place, folder) if tasks else iter(())
    hidden = not (progress and tasks)
    for outcome in tqdm(ended, "sweep", len(tasks), unit="run", disable=hidden, dynamic_ncols=True):
        for index in waiting[tasks[outcome.index].run]:
            if outcome.answer is not None:
                rows[index] = outcome.answer
            else:
                failures[index] = Failure(listed[index], outcome.error, outcome.traceback)
    for index, failure in failures.items():
        rows[index] = {"status": "failed", "error": failure.error}
    table = _columns_of(listed).join(pd.DataFrame([rows[index] for index in range(len(listed))]))
    return SweepResult(table, tuple(failures[index] for index in sorted(failures)))


def queue(
    runs: Iterable[Run],
    *,
    root: str | Path | None = None,
    data_root: str | Path | None = None,
    device: str = "auto",
) -> pd.DataFrame:
    """What a sweep would do: one row a run with its ``status`` (stored, resumes, missing, failed), estimated
    seconds, and the ``error`` of one that cannot even be looked at.

    >>> import tempfile
    >>> from filterwise.training import Recipe
    >>> run = Run("lenet5", "parts", Recipe(epochs=1), data_options={"n": 100, "n_test": 50})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     queue([run], root=folder, device="cpu")["status"].tolist()
    ['missing']
    """
    listed = _checked(runs)
    folder = store.runs_root(root)
    rows = []
    for run in listed:
        try:
            found, keys = finding.stored(run, folder, data_root, device)
            started = finding.partial_folder(folder, keys).is_dir()
            status = "stored" if found else "resumes" if started else "missing"
            hope = 0.0 if found else cost.seconds(run, finding.device_type(device), data_root)
            rows.append({"status": status, "estimated_seconds": hope, "key": keys.key, "error": ""})
        except Exception as error:
            failed = {
                "status": "failed",
                "estimated_seconds": 0.0,
                "key": "",
                "error": workers.in_words(error),
            }
            rows.append(failed)
    return _columns_of(listed).join(pd.DataFrame(rows))


def describe(run: Run) -> str:
    """A run in a few words, for lists and messages.

    >>> from filterwise.training import Recipe
    >>> describe(Run("lenet5", "parts", Recipe(), seed=3, model_options={"d1": 4}))
    'lenet5 d1=4 on parts, seed 3'
    """
    given = "".join(f" {option}={value}" for option, value in run.model_kwargs.items())
    labels = f" ({run.labels} labels)" if run.labels else ""
    return f"{run.model}{given} on {run.data}{labels}, seed {run.seed}"


def _checked(runs: Iterable[Run]) -> list[Run]:
    listed = list(runs)
    if not listed:
        raise ParameterError("runs=[] has nothing to run")
    for run in listed:
        if not isinstance(run, Run):
            raise ParameterError(f"runs holds {run!r}, which is a {type(run).__name__} and not a Run")
    return listed


def _train(task: _Task, device: str) -> dict[str, Any]:
    how: dict[str, Any] = {"data_root": task.data_root, "checkpoint_every": task.checkpoint_every}
    return _row(stacks.result(task.run, task.group, task.root, device=device, **how), "run")


def _row(result: store.Result, status: str) -> dict[str, Any]:
    metrics = {metric: result.metrics[metric] for metric in _METRICS if metric in result.metrics}
    keys, made = result.keys, result.provenance
    about = {column: made[column] for column in _MADE}
    return {**metrics, "key": keys.key, "spec_key": keys.spec_key, **about, "status": status, "error": ""}


def _columns_of(runs: Sequence[Run]) -> pd.DataFrame:
    """What distinguishes the runs: their names, all options given, and the parts of the recipe that
    differ."""
    rows = []
    for run in runs:
        row: dict[str, Any] = {"model": run.model, "data": run.data, "labels": run.labels, "seed": run.seed}
        row |= {f"model_options.{option}": value for option, value in run.model_kwargs.items()}
        row |= {f"data_options.{option}": value for option, value in run.data_kwargs.items()}
        row |= {name: run.to_dict().get(name) for name in ("edit", "train", "step") if getattr(run, name)}
        rows.append(row)
    for field in dataclasses.fields(runs[0].recipe):
        values = [getattr(run.recipe, field.name) for run in runs]
        if any(value != values[0] for value in values):
            for row, value in zip(rows, values, strict=True):
                row[f"recipe.{field.name}"] = value
    return pd.DataFrame(rows)
