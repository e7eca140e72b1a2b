"""Every kind of job of a profile with one batch an epoch, so that no GPU minute is spent on an import error.

One job stands for all that differ from it in seed, recipe and numbers (of filters, delays, a threshold). Its
trainings are cut to one epoch of a few images of ten labels, its heads to two epochs; the networks keep their
width. It sees copies of the parquet files with a few images of each label, so that measuring on all test
images is short as well. What it trains and measures goes into a scratch folder and is no result. With
--to-verdicts, every job is cut so and recorded, and the chapter's claims are judged on these records: that
shows that a queue leads to its verdicts, and nothing else.

    python benchmarks/rehearse.py --profile short [--chapter 4-sfp ...] [--data-root DIR] [--keep DIR]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet

from filterwise.claims.ledger_table import findings
from filterwise.data import catalog
from filterwise.data.parquet import LABEL_COLUMNS
from filterwise.errors import DataError
from filterwise.papers import chapter
from filterwise.runs import cost, finding
from filterwise.runs.jobs import Job
from filterwise.runs.measuring import measured
from filterwise.runs.recording import record
from filterwise.runs.specification import Run

#: Numbers in options of measurements and edits that say how much is trained, and what they become.
BRIEF = {"head_epochs": 2, "repeats": 1, "draws": 1, "probe_epochs": 1, "probe_images": 20}
#: Labels at most, and images of each to train and to test on. Where a part of the images is kept back it is
#: drawn at random: so many that no label is missed.
LABELS, EACH, EACH_OF_HELD_OUT = 10, 2, 10
#: Images of each label that the copies of parquet files keep.
IN_COPY = {"train": 12, "test": 3}


def few_images(data_root: Path, folder: Path) -> None:
    """Copy the parquet files below ``data_root`` into ``folder``, `IN_COPY` images of each label."""
    for file in sorted(data_root.rglob("*.parquet")):
        each = IN_COPY["train" if file.name.startswith("train") else "test"]
        table = pyarrow.parquet.read_table(file)
        column = next((name for name in LABEL_COLUMNS if name in table.column_names), None)
        if column is None:  # no set of images
            continue
        labels = table[column].to_pandas()
        kept = (labels.groupby(labels).cumcount() < each).to_numpy().nonzero()[0]
        copy = folder / file.relative_to(data_root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        pyarrow.parquet.write_table(table.take(kept), copy)


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
    """The job, its trainings of one epoch of one batch, its heads of two epochs."""
    runs = tuple(_cut(run) for run in job.all_runs)
    return replace(job, runs=runs, options=_brief(dict(job.options)))


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
    return replace(run, **changes)


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


def _apart(jobs: Iterable[Job]) -> Iterator[Job]:
    """The jobs, cut; an epoch more for each that differed from another in its epochs alone."""
    seen: set[Hashable] = set()
    for whole in jobs:
        job = cut(whole)
        while (job.all_runs, job.measure, job.options) in seen:
            longer = [run.recipe.replace(epochs=run.recipe.epochs + 1) for run in job.all_runs]
            runs = (replace(run, recipe=recipe) for run, recipe in zip(job.all_runs, longer, strict=True))
            job = replace(job, runs=tuple(runs))
        seen.add((job.all_runs, job.measure, job.options))
        yield job


def to_verdicts(name: str, profile: str, folder: Path, data_root: str | None, device: str) -> int:
    """Record every job of a chapter, cut, and judge its claims on that; how many jobs failed.

    A line for each bundle names the claims that it decides, with what was found for them. "Not measured" is
    right where numbers of labels were cut away, and where by chance a rate won on held-out images that the
    plan does not train with; else it is a defect.
    """
    queue = list(_apart(chapter.jobs(name, profile, data_root)))
    places = {"root": folder / "runs", "out": folder / "records"}
    report = record(name, profile, queue, "100h", device=device, data_root=data_root, say=print, **places)
    for word, listed in (("failed", report.failed), ("blocked", report.blocked)):
        for reason, count in Counter(listed.values()).items():
            print(f"{name}  {count} jobs {word}: {reason}", flush=True)
    verdicts = {
        found.claim.id: found.verdict for found in findings(name, profile, records_folder=places["out"])
    }
    for bundle in dict.fromkeys(job.bundle for job in queue if job.bundle):
        words = [f"{claim} {verdicts[claim]}" for claim in chapter.decided_by(name, bundle, profile)]
        print(f"{name}  bundle {bundle!r}: {', '.join(words) or 'no claim of its own'}", flush=True)
    return len(report.failed)


def main() -> int:
    """Print a line for each kind of job; the exit status is 1 if one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="short")
    parser.add_argument("--chapter", action="append", choices=list(chapter.folders()))
    parser.add_argument("--data-root")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--keep", help="a folder in which what was done is found by the next call")
    parser.add_argument("--to-verdicts", action="store_true", help="every job, and the claims judged on that")
    given = parser.parse_args()
    cost.learn = lambda *_, **__: None  # a batch says nothing of the speed that later estimates need
    began, failed, count = time.perf_counter(), 0, 0
    with tempfile.TemporaryDirectory() as scratch:
        folder, data_root = given.keep or scratch, given.data_root
        if data_root:
            data_root = str(Path(folder) / "images")
            few_images(Path(given.data_root), Path(data_root))
        for name in given.chapter or chapter.folders():
            if given.to_verdicts:
                failed += to_verdicts(name, given.profile, Path(folder), data_root, given.device)
                continue
            for job in in_turn(chapter.jobs(name, given.profile, data_root)):
                started = time.perf_counter()
                word = rehearse(job, folder, data_root, given.device)
                failed, count = failed + (word != "ok" and not word.startswith("no data")), count + 1
                print(f"{name}  {job.name}  {time.perf_counter() - started:.1f} s  {word}", flush=True)
    print(f"{count} kinds of job, {failed} failed, {(time.perf_counter() - began) / 60:.1f} min")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
