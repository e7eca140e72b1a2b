"""Chapter 2's trainings for a tenth of the epochs: a bundle that an H200 ends in 25 minutes, and sigmoids.

Rates come first, because a network is judged at the one that is best on held-out images; then, seed by seed,
the networks and the LeNets of as many operations, with two seeds more of those that decide T1 and T6. No
claim asks for trees with sigmoids at this scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from filterwise.papers.foreseen_jobs import foreseen
from filterwise.runs.jobs import Job

#: Seconds in which gradient terms are counted, in two passes over the test images, before training and after,
#: and the training images are named. One thread of a processor took 10 to 47 for the same.
_COUNTING = 5.0


def bundled(listed: Sequence[Job]) -> list[Job]:
    """The jobs in their order, with their bundles and what an H200 is foreseen to take for each."""
    return foreseen([replace(job, bundle=_bundle(job)) for job in listed], _measuring)


def _bundle(job: Job) -> str:
    if dict(job.about)["activation"] == "sigmoid":
        return "sigmoid"
    return "more seeds" if job.run.seed > 2 else job.bundle


def _measuring(job: Job) -> float:
    return _COUNTING if dict(job.options)["exact"] else 0.0
