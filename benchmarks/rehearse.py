"""Every kind of job of a profile with one batch an epoch, so that no GPU minute is spent on an import error.

One job stands for all that differ from it in seed, recipe and numbers (of filters, delays, a threshold). Its
trainings are cut to one epoch of a few images of ten labels, its heads to one epoch; the networks keep their
width. What it trains and measures goes into a scratch folder and is no result.

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
from filterwise.runs import cost, finding
from filterwise.runs.jobs import Job
from filterwise.runs.measuring import measured
from filterwise.runs.specification import Run

#: Numbers in options of measurements and edits that say how much is trained, and what they become.
BRIEF = {"head_epochs": 1, "repeats": 1, "draws": 1, "probe_epochs": 1, "probe_images": 20}
#: Labels at most, and images of each to train and to test on. Where a part of the images is kept back it is
#: drawn at random: so many that no label is missed.
LABELS, EACH, EACH_OF_HELD_OUT = 10, 2, 10


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
    info, data = catalog.describe(run.data), run.data_kwargs
    labels = min(run.labels or info.labels, LABELS)
    if "held_out" in data:
        data |= {"n": EACH_OF_HELD_OUT * labels, "held_out": 0.5}
    else:
        data |= {"n": EACH * labels, "n_test": EACH * labels}
    recipe = run.recipe.replace(epochs=1, batch=data["n"], warmup_steps=0)
    edit, start = run.edit and (run.edit[0], _brief(dict(run.edit[1]))), run.start and _cut(run.start)
    changes: dict[str, Any] = {"recipe": recipe, "data_options": data, "edit": edit, "start": start}
    if labels < info.labels:
        changes["labels"] = labels
    return dataclasses.replace(run, **changes)


def _brief(options: Mapping[str, Any]) -> dict[str, Any]:
    brief = {name: BRIEF.get(name, value) for name, value in options.items()}
    if brief.get("counts"):  # numbers of labels
        brief["counts"] = tuple(count for count in brief["counts"] if count <= LABELS)
    return brief


def in_turn(jobs: Iterable[Job]) -> list[Job]:
    """One job of every kind; first those with a network, measurement or edit that none before them has."""
    kinds: dict[Hashable, Job] = {}
    for job in jobs:
        kinds.setdefault(kind(job), job)
    parts: set[Hashable] = set()
    first, later = [], []
    for job in kinds.values():
        own = {(job.measure, run.model, *(part and part[0] for part in (run.edit, run.step)))
               for run in job.all_runs}  # fmt: skip
        (later if own <= parts else first).append(job)
        parts |= own
    return first + later


def rehearse(job: Job, root: str, data_root: str | None, device: str) -> str:
    """``ok``, that its images are not at hand, or what went wrong."""
    small = cut(job)
    try:
        for run in small.all_runs:
            run.sets(data_root)
    except DataError as error:
        return f"no data: {error}"
    try:
        results = [finding.result(run, root, data_root=data_root, device=device) for run in small.all_runs]
        measured(results, small.measure, small.options)
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
    cost.learn = lambda *_, **__: None  # a batch says nothing of the speed that later estimates need
    began, failed, count = time.perf_counter(), 0, 0
    with tempfile.TemporaryDirectory() as scratch:
        for name in given.chapter or chapter.folders():
            for job in in_turn(chapter.jobs(name, given.profile, given.data_root)):
                started = time.perf_counter()
                word = rehearse(job, given.keep or scratch, given.data_root, given.device)
                failed, count = failed + (word != "ok" and not word.startswith("no data")), count + 1
                print(f"{name}  {job.name}  {time.perf_counter() - started:.1f} s  {word}", flush=True)
    print(f"{count} kinds of job, {failed} failed, {(time.perf_counter() - began) / 60:.1f} min")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
