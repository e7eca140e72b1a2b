"""Jobs in bundles, one after the other, with the seconds that one H200 is foreseen to take for each.

A training that several jobs need (the start of a retraining, a dense network, a member of a committee) is
counted once, in the first job of the queue that needs it. What a measurement takes is added by its chapter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from filterwise.data import catalog
from filterwise.runs import cost
from filterwise.runs.jobs import Job
from filterwise.runs.specification import Run

#: Multiply-accumulates a second of a forward pass on one thread of a processor, where a measurement stays
#: there. On a core of an AMD EPYC, in float32 and full width, a CCT-7 came to 3.3e10 and a VGG-11 to 5.5e10.
CPU_RATE = 3e10

Groups = list[tuple[str, Sequence[Job]]]  # bundle, jobs of one priority


def in_turn(bundle: str, jobs: Iterable[Job]) -> Groups:
    """The jobs of a bundle, each with a priority of its own: all of one seed before the next seed.

    A job of several seeds stands with the last of them, when its networks are there.
    """
    return [(bundle, [job]) for job in sorted(jobs, key=last_seed)]


def in_bundles(names: Iterable[str], jobs: Iterable[Job], bundle_of: Callable[[Job], str]) -> Groups:
    """The jobs bundle by bundle, in the order of the names, each bundle as :func:`in_turn`.

    Raises KeyError: a job of a bundle that is not named, so that none is lost.
    """
    found: dict[str, list[Job]] = {name: [] for name in names}
    for job in jobs:
        found[bundle_of(job)].append(job)
    return [turn for name, own in found.items() for turn in in_turn(name, own)]


def last_seed(job: Job) -> int:
    """The largest seed among a job's runs."""
    return max(run.seed for run in job.all_runs)


def queued(groups: Groups) -> list[Job]:
    """All jobs, with their bundles and, group by group, their priorities."""
    return [
        replace(job, bundle=bundle, priority=priority)
        for priority, (bundle, jobs) in enumerate(groups)
        for job in jobs
    ]


def foreseen(
    queue: Iterable[Job],
    measuring: Callable[[Job], float],
    training: Callable[[Run], float] = cost.foreseen,
) -> list[Job]:
    """The jobs of a queue with their seconds: the trainings that are their own, and ``measuring``.

    ``training``: seconds of one run, without its start.

    >>> from filterwise.training.recipe import Recipe
    >>> dense = Run("lenet5", "cifar10", Recipe(epochs=60))
    >>> jobs = [Job(name, run, "tree.network") for name, run in (("a", dense), ("b", dense.then()))]
    >>> [round(job.cost_seconds) for job in foreseen(jobs, lambda job: 2.0)]
    [50, 50]
    >>> [round(job.cost_seconds) for job in foreseen(jobs[1:], lambda job: 2.0)]
    [98]
    """
    trained: set[Run] = set()
    found = []
    for job in queue:
        own = [run for run in dict.fromkeys(_with_starts(job)) if run not in trained]
        trained.update(own)
        found.append(replace(job, cost_seconds=sum(map(training, own)) + measuring(job)))
    return found


def on_a_processor(run: Run, images: float) -> float:
    """Seconds of forward passes of so many images through a run's network, on one thread of a processor."""
    info = catalog.describe(run.data)
    network = cost.size(run.model, run.model_options, run.labels or info.labels, info.shape)
    return network.macs * images / CPU_RATE


def _with_starts(job: Job) -> Iterator[Run]:
    for run in job.all_runs:
        below: Run | None = run
        while below is not None:
            yield below
            below = below.start
