"""Chapter 6's trainings for a tenth of the epochs, in bundles that an H200 ends in 25 minutes."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from filterwise.papers.foreseen_jobs import foreseen, in_bundles, queued
from filterwise.runs.jobs import Job

#: Seconds of every job: the weights read back and the series of a few images.
_EACH = 2.0
#: Of two labels a picture: the answers to all test images once more.
_TWO_LABELS = 1.0
#: Of lines moved to wrong instants: 18 passes of the layers behind the trunk over the test images, which
#: go through the trunk once. A processor took 3, with a trunk of a quarter of the width.
_JITTER = 5.0
#: Of the event simulator on small layers, on a processor.
_EXACT = 3.0


def bundled(listed: Sequence[Job]) -> list[Job]:
    """The jobs, bundle by bundle in the order given, and in a bundle seed by seed, with what an H200 is
    foreseen to take for each."""
    names = dict.fromkeys(job.bundle for job in listed)
    return foreseen(queued(in_bundles(names, listed, attrgetter("bundle"))), _measuring)


def _measuring(job: Job) -> float:
    options: dict[str, Any] = dict(job.options)
    more = _TWO_LABELS * (options["task"] != "one") + _JITTER * options["jitter"] + _EXACT * options["exact"]
    return _EACH + more
