"""Every kind of job of a profile, with one batch an epoch: an hour of a GPU is not spent on an import error.

One job stands for all that differ from it in seed, recipe and numbers (of filters, nodes, delays, a threshold).
Its trainings are cut to one epoch of a few images, its heads to one epoch; the networks keep their full width. What it trains and
measures goes into a scratch folder and is no result.

    python benchmarks/rehearse.py --profile short [--chapter 4-sfp ...] [--data-root DIR] [--keep DIR]
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
import time
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

from filterwise.data import catalog
from filterwise.errors import DataError
from filterwise.papers import chapter
from filterwise.runs import finding
from filterwise.runs.jobs import Job
from filterwise.runs.measuring import measured
from filterwise.runs.specification import Run

#: Numbers in options of measurements and edits that say how long something is trained, and what they become.
BRIEF = {"head_epochs": 1, "repeats": 1, "draws": 1}
#: Images of each label to train and to test on.
EACH = 1
#: Where a part is kept back it is drawn at random: few labels, with so many images that none of them is missed.
FEW_LABELS, EACH_OF_FEW = 10, 10


def kind(job: Job) -> Hashable:
    """What two jobs have in common of which one rehearsal is enough."""
    return job.measure, tuple(sorted(name for name, _ in job.options)), tuple(map(_kind, job.all_runs))


def _kind(run: Run) -> Hashable:
    edit = run.edit and (run.edit[0], _words(run.edit[1]))
    step = run.step and (run.step[0], _words(run.step[1]))
    begun = _kind(run.start) if run.start else None
    return run.model, _words(run.model_options), run.data, edit, step, bool(run.train), begun


def _words(options: Iterable[tuple[str, Any]]) -> Hashable:
    """The names of options, and the values that are words, such as a pool plan or a criterion."""
    return tuple((name, value if isinstance(value, str) else None) for name, value in options)


def cut(job: Job) -> Job:
    """The job, its trainings of one epoch of one batch, its heads of one epoch."""
    runs = tuple(_cut(run) for run in job.all_runs)
    return dataclasses.replace(job, runs=runs, options=_brief(dict(job.options)))


def _cut(run: Run) -> Run:
    labels, data = run.labels or catalog.describe(run.data).labels, run.data_kwargs
    changes: dict[str, Any] = {}
    if "held_out" in data:
        labels = min(labels, FEW_LABELS)
        data |= {"n": EACH_OF_FEW * labels, "held_out": 0.5}
        changes = {"labels": labels}
    else:
        data |= {"n": EACH * labels, "n_test": EACH * labels}
    recipe = run.recipe.replace(epochs=1, batch=data["n"], warmup_steps=0)
    edit, start = run.edit and (run.edit[0], _brief(dict(run.edit[1]))), run.start and _cut(run.start)
    return dataclasses.replace(run, recipe=recipe, data_options=data, edit=edit, start=start, **changes)


def _brief(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: BRIEF.get(name, value) for name, value in options.items()}


def rehearse(job: Job, root: str, data_root: str | None, device: str) -> str:
    """``ok`` or what went wrong."""
    try:
        small = cut(job)
        results = [finding.result(run, root, data_root=data_root, device=device) for run in small.all_runs]
        measured(results, small.measure, small.options)
    except DataError as error:
        return f"no data: {error}"
    except Exception as error:  # one job's error must not keep the others from being tried
        return f"{type(error).__name__}: {error}"
    return "ok"


def main() -> int:
    """Print a line for each kind of job; the exit status is 1 if one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="short")
    parser.add_argument("--chapter", action="append", choices=list(chapter.folders()))
    parser.add_argument("--data-root")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--keep", help="a folder in which what was done is found by the next call")
    given = parser.parse_args()
    began, failed, count = time.perf_counter(), 0, 0
    with tempfile.TemporaryDirectory() as scratch:
        for name in given.chapter or chapter.folders():
            kinds: dict[Hashable, Job] = {}
            for job in chapter.jobs(name, given.profile, given.data_root):
                kinds.setdefault(kind(job), job)
            for job in kinds.values():
                started = time.perf_counter()
                word = rehearse(job, given.keep or scratch, given.data_root, given.device)
                failed, count = failed + (word != "ok" and not word.startswith("no data")), count + 1
                print(f"{name}  {job.name}  {time.perf_counter() - started:.1f} s  {word}", flush=True)
    print(f"{count} kinds of job, {failed} failed, {(time.perf_counter() - began) / 60:.1f} min")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
