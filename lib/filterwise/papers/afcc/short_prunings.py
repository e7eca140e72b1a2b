"""Chapter 5's trainings in bundles, at a tenth of the epochs such that an H200 ends each in 25 minutes.

First what the claims need, a bundle each; then other thresholds and variants that no claim asks for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from filterwise.papers.foreseen_jobs import foreseen, in_bundles, on_a_processor, queued
from filterwise.runs import cost
from filterwise.runs.jobs import Job
from filterwise.runs.specification import Run

#: EfficientNet-B0's, as ``cost.size`` gives it for 32 x 32 pixels and 100 labels; building it needs
#: torchvision, which recording does without.
EFFICIENTNET = cost.Size(116_282_368, 131)
#: Thresholds of EfficientNet-B0's first bundle. The claim looks at the lowest that prunes a convolution by
#: 0.8; should neither do so, the bundle of the third decides it.
_FIRST_THRESHOLDS = (0.3, 0.5)
#: What the claim on EfficientNet-B0 compares.
_JUDGED = ("dense", "afcc", "random")

# Seconds that measurements are allowed. Where they hang on a GPU, a step of heads on cached features is taken
# as a millisecond, whatever its size, and a pass over 10,000 test images, all its copies included, as two
# seconds.
_STEP, _PASS = 1e-3, 2.0
_BATCH = 100
#: Label fields of all places of one network: heads of 20 epochs on 40,000 images, cached once.
_FIELDS = 20 * 40_000 / _BATCH * _STEP + 3 * _PASS
#: Masks of one network: fields of the trained and the untrained one; 126 passes of its upper layers under
#: masks, 55 for five thresholds, 44 layer by layer and 27 for the two sorts of kernels; and before each of
#: the first 99 the masks of all layers, 0.1 to 0.9 s on one thread of a processor.
_MASKS = 2 * _FIELDS + 126 * 0.3 + 99 * 0.5
#: Heads of the output layer: 20 + 10 + 30 epochs of up to 45 at a time; or 20 + 30 epochs of 14, rewired.
_OUTPUT = {
    "afcc.output": 60 * 40_000 / _BATCH * 2 * _STEP + 20,
    "afcc.rewired": 50 * 40_000 / _BATCH * _STEP + 20,
}
#: A retrained network: its masks found twice, as it begins and once more to judge it so, and three passes.
_RETRAINED = 2 * 1.0 + 3 * _PASS
#: EfficientNet-B0: heads at the places of 33 layers, 30 epochs on 7,000 images, a step as long as four, and
#: label sets of 15,000 filters on a processor; this, too, twice.
_ANYWHERE = 30 * 7_000 / _BATCH * 4 * _STEP + 4.0
#: Rewiring between 99 of 100 epochs, not in the rule of trainings, and curves of removed inputs.
_CONNECTIVITY = 99 * 0.1 + 5.0
#: Batches that a network is timed for, the first ones included, networks in turn, and what is built before.
_TIMED, _IN_TURN, _BUILDING = 103 * 32, 4, 10.0

#: The bundles in the order of the queue.
BUNDLES = (
    "masks", "retrained", "set-cosine", "imposed", "fully connected", "ftwt", "efficientnet_b0", "structured",
    "latencies", "variants", "efficientnet_b0, threshold 0.7", "efficientnet_b0, peers", "output",
)  # fmt: skip
_BY_MEASURE = {
    "afcc.masks": "masks",
    "afcc.output": "output",
    "afcc.rewired": "output",
    "afcc.connectivity": "set-cosine",
    "afcc.dynamic": "ftwt",
}


def bundled(listed: Sequence[Job], seconds: bool) -> list[Job]:
    """The jobs bundle by bundle, and in a bundle seed by seed; with ``seconds`` also what an H200 is foreseen
    to take for each."""
    queue = queued(in_bundles(BUNDLES, listed, bundle_of))
    return foreseen(queue, _measuring, _training) if seconds else queue


def bundle_of(job: Job) -> str:
    """The bundle of a job of the papers' networks."""
    about = {"network": "", "criterion": "", "theta": 0.0, "variant": "", **dict(job.about)}
    criterion, theta = about["criterion"], about["theta"]
    if job.measure in _BY_MEASURE:
        return _BY_MEASURE[job.measure]
    if job.measure == "afcc.latency":
        return "structured" if theta == 0.5 else "latencies"
    if about["network"] == "vgg16":
        return "fully connected"
    if about["network"] == "efficientnet_b0":
        if theta and theta not in _FIRST_THRESHOLDS:
            return "efficientnet_b0, threshold 0.7"
        return "efficientnet_b0" if criterion in _JUDGED else "efficientnet_b0, peers"
    if criterion.endswith(" sets"):
        return "imposed"
    if criterion == "structured":
        return "structured"
    return "variants" if about["variant"] else "retrained"


def _training(run: Run) -> float:
    """Seconds of a training by the rule."""
    return cost.foreseen(run, network=EFFICIENTNET if run.model == "efficientnet_b0" else None)


def _measuring(job: Job) -> float:
    """Seconds of a measurement, and of the masks that the job's trainings begin with."""
    options: dict[str, Any] = dict(job.options)
    if job.measure == "afcc.masks":
        return _MASKS
    if job.measure in _OUTPUT:
        return _OUTPUT[job.measure]
    if job.measure == "afcc.connectivity":
        return _CONNECTIVITY
    if job.measure == "afcc.latency":
        return on_a_processor(job.run, _TIMED * _IN_TURN) + _BUILDING
    if job.measure == "afcc.dynamic":
        predicted = dict(job.about)["ftwt"] in ("decoupled", "joint")
        return _PASS * (3 if predicted else 1 + len(options.get("grid", ())))
    if job.run.model == "efficientnet_b0" and job.run.edit:
        return 2 * _ANYWHERE + 3 * _PASS
    # VGG-16's fields are found for the first job of a seed; VGG-11's already are, for its masks
    return _RETRAINED + _FIELDS * (job.run.model == "vgg16" and dict(job.about)["criterion"] == "dense")
