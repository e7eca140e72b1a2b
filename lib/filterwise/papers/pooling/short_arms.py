"""Chapter 1's trainings at full width for a tenth of the epochs, in bundles that an H200 ends in 25 minutes.

Inside a bundle all arms of one seed come before the next seed, so that a window that closes early leaves arms
that can be compared.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from filterwise.papers.pooling.arms import HEADS, LATE_ORDER, LATE_PLAN, Arm, Study
from filterwise.runs import cost
from filterwise.runs.jobs import Job

_SEEDS = range(3)
_SHALLOW = ("vgg6", "vgg8")
_DEEP = ("vgg13", "vgg14", "vgg16")
_V, _LATE = ("V", ""), (LATE_PLAN, LATE_ORDER)
#: The orders of two pools of sizes 2 and 4; the first bundle has the fourth.
_PAIRED = [order for order in HEADS if "-" in order and order != LATE_ORDER]
_RELU = {"fc_activation": "relu"}
#: Seconds in which one network's routes, and the accuracy on its training images, are measured.
_MEASURING = 3.0
#: Seconds of a control that is trained for one epoch only to be thrown back to its initial weights.
UNTRAINED = 10.0

Groups = list[tuple[str, list[Arm]]]  # bundle, arms of one seed


def groups(study: Study) -> Groups:
    """Bundles and their arms, in the order of importance, seed by seed.

    Plan L0, at some fifty times the operations of plan V, has no place in 25 minutes.
    """
    s, found = study, []

    def bundle(name: str, arms: Iterable[Arm]) -> None:
        listed = list(arms)
        for seed in sorted({arm.run.seed for arm in listed}):
            found.append((name, [arm for arm in listed if arm.run.seed == seed]))

    compared = [s.arm(*each, seed) for seed in range(5) for each in (("vgg16", *_V), ("vgg8", *_LATE))]
    compared += [s.arm(*each, seed) for seed in _SEEDS
                 for each in (("vgg6", *_V), ("vgg6", *_LATE), ("vgg8", *_V))]  # fmt: skip
    bundle("late pooling", compared)
    bundle("orders", [arm for base in _SHALLOW for arm in s.heads(base, _SEEDS, LATE_PLAN, _PAIRED)])
    bundle("depth", [s.arm(base, *_LATE, seed) for base in _DEEP for seed in _SEEDS])
    bundle(
        "hidden activation",
        [s.arm(base, *_LATE, seed, _RELU) for base in ("vgg8", "vgg16") for seed in _SEEDS],
    )
    bundle("equal compute", _as_long(s, _SHALLOW) + _shallow_for_longer(s))
    bundle("late pooling of deep networks", [s.arm(base, *_V, seed) for base in _DEEP[:2] for seed in _SEEDS])
    for base in _DEEP:
        bundle(f"equal compute, {base}", _as_long(s, [base]))
    single = [order for order in HEADS if "-" not in order]
    bundle("single pools", [arm for base in _SHALLOW for arm in s.heads(base, _SEEDS, LATE_PLAN, single)])
    for base in (*_SHALLOW, *_DEEP):
        bundle(f"plan L3, {base}", s.heads(base, _SEEDS, "L3", ("AP2-MP2", "MP2-AP2")))
    for base in (*_SHALLOW, *_DEEP):
        bundle(f"rates, {base}", s.rates(base, (0.005, 0.01, 0.02)))
    for base in _SHALLOW:
        bundle(f"plan L1, {base}", s.heads(base, _SEEDS, "L1", ("AP4-MP4", "MP4-AP4")))
    return found


def _as_long(s: Study, bases: Iterable[str]) -> list[Arm]:
    """Plan V for as many epochs as cost what the late plan does."""
    long = {base: s.epochs_at_equal_compute(base, *_LATE) for base in bases}
    return [
        s.arm(base, *_V, seed, kind="equal compute", epochs=epochs)
        for base, epochs in long.items()
        for seed in _SEEDS
    ]


def _shallow_for_longer(s: Study) -> list[Arm]:
    """A-VGG8 at the compute of VGG-16, which is the dearer of the two."""
    more = round(s.recipe.epochs * s.macs("vgg16", *_V) / s.macs("vgg8", *_LATE))
    return [s.arm("vgg8", *_LATE, seed, kind="equal compute", epochs=more) for seed in range(5)]


def bundled(study: Study, listed: list[Job]) -> list[Job]:
    """The jobs of :func:`groups`, in its order, with their bundles and what an H200 is foreseen to take."""
    names = [name for name, arms in groups(study) for _ in arms]
    return [
        replace(job, bundle=name, cost_seconds=cost.foreseen(job.run) + _MEASURING)
        for name, job in zip(names, listed, strict=True)
    ]
