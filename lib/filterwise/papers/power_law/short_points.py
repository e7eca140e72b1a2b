"""Chapter 3's trainings on all images for few epochs, in bundles that an H200 ends in 25 minutes.

LeNets, and VGG-16s narrower than the standard one, leave most of such a machine idle: their seeds are trained
as one stack (``--together 5``), width by width, and end together. Of the others all of one seed come first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from filterwise.papers.vgg_runs import vgg_run
from filterwise.runs import cost, stacks
from filterwise.runs.jobs import Job

if TYPE_CHECKING:
    from filterwise.papers.power_law.plan import Point, Study

#: Members of a stack at most.
TOGETHER = 5
#: The straight line is fitted to five octaves; the sixth width is kept from the fit, for the extrapolation.
_WIDTHS, _HELD_OUT = (6, 12, 24, 48, 96), 192
_VGG_WIDTHS, _WHOLE_VGG = (4, 8, 16, 32), 64
_SEEDS = range(3)
#: Seconds in which the accuracy on the training images is measured.
_MEASURING = 2.0

Groups = list[tuple[str, "list[Point]"]]  # bundle, points of one priority


def groups(study: Study) -> Groups:
    """Bundles and their points, in the order of importance; what may train as one stack has one priority.

    LeNet with d1 = 384, and rates of decay at d1 = 192, have no place in 25 minutes beside the rest.
    """
    s, bundle = study, "widths"
    found: Groups = [
        (bundle, [s.lenet_point(d1, seed) for d1 in _WIDTHS for seed in range(5)]),
        (bundle, [s.lenet_point(_HELD_OUT, seed, held_out=True) for seed in _SEEDS]),
        (bundle, [s.vgg_point(d1, seed) for d1 in _VGG_WIDTHS for seed in _SEEDS]),
        *((bundle, [whole_vgg(s, seed)]) for seed in _SEEDS),
        (bundle, [s.lenet_point(d1, seed, family="lenet bn") for d1 in _WIDTHS[:4] for seed in _SEEDS]),
    ]
    first = [s.ratio_curve(ratio, _WIDTHS, seed) for ratio in (1.5, 5.0) for seed in _SEEDS]
    first += [
        s.variant_curve(name, _WIDTHS, seed) for name in ("average pools", "3x3 kernels") for seed in _SEEDS
    ]
    found.append(("variants", [point for curve in first for point in curve]))
    found += [("ratios", [point for seed in _SEEDS for point in s.scan(d1, seed)]) for d1 in (64, 8, 32)]
    others = [s.ratio_curve(2.8, _WIDTHS, seed) for seed in _SEEDS]
    others += [
        s.variant_curve(name, _WIDTHS, seed) for name in ("scaled FC", "no augmentation") for seed in _SEEDS
    ]
    found.append(("more variants", [point for curve in others for point in curve]))
    found.append(("more ratios", [point for seed in _SEEDS for point in s.scan(16, seed)]))
    return found


def whole_vgg(study: Study, seed: int) -> Point:
    """VGG-16 of the standard width, the very training that other chapters measure."""
    point = study.vgg_point(_WHOLE_VGG, seed)
    return replace(point, run=vgg_run("vgg16", study.vgg, seed, study.data))


def bundled(study: Study, listed: Sequence[Job]) -> list[Job]:
    """The jobs of :func:`groups`, in its order, with their bundles and what an H200 is foreseen to take.

    A job's seconds are its share of its stack.
    """
    names = [name for name, points in groups(study) for _ in points]
    runs = [job.run for job in listed]
    together = [0] * len(listed)
    for places in stacks.groups(runs, TOGETHER, [(job.priority, 1) for job in listed]):
        for place in places:
            together[place] = len(places)
    return [
        replace(job, bundle=name, cost_seconds=cost.foreseen(job.run, together=count) + _MEASURING)
        for name, job, count in zip(names, listed, together, strict=True)
    ]
