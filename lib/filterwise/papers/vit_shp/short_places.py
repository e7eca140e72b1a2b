"""Chapter 7's trainings in bundles, at a tenth of the epochs such that an H200 ends each in 25 minutes.

What is said of nodes needs the transformer with few heads alone, what is said of many heads the others too.
A measurement of times has all transformers of a seed, so that convolutions are trained a seed a bundle.
"""

from __future__ import annotations

from collections.abc import Sequence

from filterwise.papers.foreseen_jobs import foreseen, in_bundles, last_seed, on_a_processor, queued
from filterwise.runs.jobs import Job
from filterwise.runs.specification import Run

#: Numbers of heads and encoders of a CCT-7 unless its options say otherwise.
_HEADS, _ENCODERS = 4, 7
#: Heads on 20,000 images for 5 epochs at all places, before training and after: steps of some 8 ms on a GPU,
#: twice, then the test images, three times.
_READING = 2 * 5 * 200 * 8e-3 + 9.0
#: Heads of an encoder beside random groups of its nodes, on one thread of a processor: 5, 16, 21 and 31 s
#: were measured with 4, 32, 64 and 100 heads on 10,000 images of 100 labels.
_GROUPS, _GROUPS_A_HEAD = 6.0, 0.3
#: Images that batch norms of the untrained control are fitted to, on a processor.
_FITTED = 2_000
#: A pruned network: its masks found twice, as it begins and to judge it so, and three passes over the test
#: images.
_PRUNED = 12.0
#: Batches of two networks that are timed on one thread of a processor, the first ones included.
_TIMED = 2 * 103 * 32
#: A committee: three networks on test and held-out images, and twenty committees of independent members.
_COMMITTEE = 10.0
#: Of each network in turn: some 240 batches of 1 and of 128 images, in two precisions, and the test images.
_LATENCY = 5.0

#: The bundles in the order of the queue.
BUNDLES = (
    "heads", "many heads", "64 heads", "committee", "andc",
    *(f"convolutions, seed {seed}" for seed in range(3)),
    *(f"read after convolutions, seed {seed}" for seed in range(3)),
    "flowers", "100 heads",
    *(f"heads removed, seed {seed}" for seed in range(3)),
)  # fmt: skip
_BY_KIND = {"convolved": "read after convolutions", "latency": "convolutions", "heads": "heads removed"}


def bundled(listed: Sequence[Job], seconds: bool) -> list[Job]:
    """The jobs bundle by bundle, and in a bundle seed by seed; with ``seconds`` also what an H200 is foreseen
    to take for each."""
    queue = queued(in_bundles(BUNDLES, listed, bundle_of))
    return foreseen(queue, _measuring) if seconds else queue


def bundle_of(job: Job) -> str:
    """The bundle of a job of the papers' networks."""
    kind = str(dict(job.about)["kind"])
    if kind in _BY_KIND:
        return f"{_BY_KIND[kind]}, seed {last_seed(job)}"
    if kind == "transformer" and job.run.data == "flowers102":
        return "flowers"
    if kind == "transformer":
        heads = _heads(job.run)
        return "heads" if heads == _HEADS else "many heads" if heads == 32 else f"{heads} heads"
    return "andc" if job.measure == "vit.pruned" else "committee"


def _heads(run: Run) -> int:
    return int(run.model_kwargs.get("heads", _HEADS))


def _measuring(job: Job) -> float:
    """Seconds of a measurement, and of the masks that the job's trainings begin with."""
    kind = str(dict(job.about)["kind"])
    if job.measure == "vit.committee":
        return _COMMITTEE
    if job.measure == "vit.latency":
        return _LATENCY * len(job.all_runs)
    if job.measure == "vit.pruned":
        return _PRUNED + (on_a_processor(job.run, _TIMED) if kind == "heads" else 0.0)
    read = _READING + (on_a_processor(job.run, _FITTED) if kind != "transformer" else 0.0)
    if kind == "cnn":
        return read
    encoders = _ENCODERS - int(job.run.model_kwargs.get("replaced", 0))
    return read + encoders * (_GROUPS + _GROUPS_A_HEAD * _heads(job.run))
