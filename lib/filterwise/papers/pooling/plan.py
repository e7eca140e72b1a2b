"""Chapter 1: the same network with its pooling spread over the stages, or next to the output.

Meir et al., Sci. Rep. 13, 13385 (2023). Every arm of a comparison has the same weights; a plan says which
stages keep a 2x2 max pool, an order what pools the rest after the last layer. Late pooling costs more
operations, so each comparison has two readings: equal epochs, and equal compute (the cheaper arm trained for
as many more epochs as its operations are fewer).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from filterwise.errors import ParameterError, check_at_least, check_choice
from filterwise.models.pools import PLANS, order_name, orders, parse_order, shrink
from filterwise.papers.pooling import short_arms
from filterwise.papers.pooling.arms import HEADS, LATE_ORDER, LATE_PLAN, Arm, Study
from filterwise.papers.pooling.held_out_choice import Candidate
from filterwise.runs.jobs import Job
from filterwise.runs.specification import Run
from filterwise.training.recipe import Recipe

DEPTHS = (6, 8, 13, 14, 16)
_BOTH = (("V", ""), (LATE_PLAN, LATE_ORDER))
_L3 = ("AP2-MP2", "MP2-AP2")
_OTHERS = [order for order in HEADS if order != LATE_ORDER]
#: What is tried on images kept back: every late order whose plan stays below four times V's operations.
_LATE = tuple([(LATE_PLAN, order) for order in HEADS] + [("L3", order) for order in _L3])
#: On the way to these 0.2 was tried in three arms of six layers, and was the best of none.
_RATES = (0.02, 0.05, 0.1)
_RELU = {"fc_activation": "relu"}

_MINI = Recipe(
    epochs=12,
    batch=50,
    lr=0.1,
    momentum=0.9,
    weight_decay=5e-4,
    schedule="cosine",
    warmup_steps=100,
)
QUICK = Study(
    "parts",
    {"n": 3_000, "n_test": 2_000},
    replace(_MINI, epochs=4, warmup_steps=20, shift=2),
    {"vgg-mini": ("vgg", {"stages": ((8, 1), (16, 1), (32, 1), (32, 1))})},
)
# An eighth of the papers' filters. The rate was looked at beforehand, for both arms alike, on images kept
# back (m = 6, 10,000 images, 6 epochs): 0.05, 0.1, 0.2 gave 0.589, 0.610, 0.609 in plan V and 0.596,
# 0.621, 0.618 in L2.
CIFAR = Study("cifar10", {"n": 10_000}, _MINI, {f"vgg{m}": (f"vgg{m}", {"width": 0.125}) for m in DEPTHS})
#: What :func:`filterwise.papers.pooling.held_out_choice.choices` finds in the looks (a test compares):
#: base -> the best of plan V, and of the late plans if any was tried.
CHOSEN: Mapping[str, tuple[Candidate, Candidate | None]] = {
    "vgg6": (("V", "", 0.05), ("L2", "MP4-AP2", 0.02)),
    "vgg8": (("V", "", 0.02), ("L2", "MP4-AP2", 0.05)),
    "vgg16": (("V", "", 0.02), None),
}
_WHOLE: dict[str, Any] = {f"vgg{m}": (f"vgg{m}", {"init": "he"}) for m in DEPTHS}
SHORT = Study("cifar10", {}, Recipe(epochs=30, decay_every=2), _WHOLE)
PAPER = Study("cifar10", {}, Recipe(), _WHOLE)


def arms(profile: str) -> list[list[Arm]]:
    """What a profile trains, in the order of importance: one list a priority.

    Raises ParameterError if there is no such profile.

    >>> [arm.name for arm in arms("quick")[0][:2]]
    ['vgg-mini V, 4 epochs, seed 0', 'vgg-mini after 2 AP2-MP4, 4 epochs, seed 0']
    """
    check_choice("profile", profile, _ARMS)
    return _once(_ARMS[profile]())


def _once(listed: list[list[Arm]]) -> list[list[Arm]]:
    """The lists without the trainings that an earlier comparison has already."""
    seen: set[Run] = set()
    found = []
    for group in listed:
        found.append([arm for arm in dict.fromkeys(group) if arm.run not in seen])
        seen.update(arm.run for arm in group)
    return found


def _quick() -> list[list[Arm]]:
    s, plan = QUICK, "after 2"
    return [
        s.comparison("vgg-mini", range(3), plan, LATE_ORDER),
        s.heads("vgg-mini", range(3), plan, _OTHERS),
    ]


def _cifar() -> list[list[Arm]]:
    s, seeds = CIFAR, range(3)
    bare: dict[str, Any] = {"options": {"batch_norm": False}, "kind": "control", "lr": 0.02}
    looks = [
        s.rates(base, _RATES, late, (0,)) for base, late in (("vgg6", _LATE), ("vgg8", _LATE), ("vgg16", ()))
    ]
    return [
        s.comparison("vgg6", seeds, LATE_PLAN, LATE_ORDER),
        s.heads("vgg6", seeds, LATE_PLAN, _OTHERS),
        s.comparison("vgg8", seeds, LATE_PLAN, LATE_ORDER),
        s.heads("vgg6", seeds, "L3", _L3),
        s.rates("vgg6", (*_RATES, 0.2)),
        [s.arm("vgg8", LATE_PLAN, LATE_ORDER, seed, _RELU) for seed in range(5)],
        [s.arm("vgg16", "V", "", seed) for seed in range(5)]
        + [s.arm("vgg8", LATE_PLAN, LATE_ORDER, seed) for seed in (3, 4)],
        [s.arm("vgg6", *pools, seed, **bare) for pools in _BOTH for seed in seeds],
        [s.arm("vgg16", LATE_PLAN, LATE_ORDER, seed) for seed in seeds],
        [s.arm(base, *pools, seed) for base in ("vgg13", "vgg14") for pools in _BOTH for seed in seeds],
        s.heads("vgg6", (0,), "L1", ("AP2-MP8", "MP8-AP2")),
        *[[arm for base in ("vgg6", "vgg8") for arm in _orders_and_l3(base, seed)] for seed in range(5)],
        *looks,
        chosen_arms(s, CHOSEN),
    ]


def chosen_arms(study: Study, found: Mapping[str, tuple[Candidate, Candidate | None]]) -> list[Arm]:
    """What the choice on images kept back asks for, five seeds each: V, late, and V at late's compute; and
    for claim P2 the late side of eight layers at the compute of sixteen layers in plan V.

    ``found`` is :data:`CHOSEN` or its like.
    """
    arms: list[Arm] = []
    for base, (early, late) in found.items():
        arms += study.at_rate(base, *early, range(5))
        if late is not None:
            long = study.epochs_at_equal_compute(base, *late[:2])
            arms += study.at_rate(base, *late, range(5))
            arms += study.at_rate(base, *early, range(5), long)
    shallow = found["vgg8"][1] if "vgg8" in found else None
    if shallow is not None and "vgg16" in found:
        epochs = study.epochs_of_compute(("vgg8", *shallow[:2]), ("vgg16", "V", ""))
        arms += study.at_rate("vgg8", *shallow, range(5), epochs)
    return arms


def _orders_and_l3(base: str, seed: int) -> list[Arm]:
    """Both orders of every two pools, in plan L2 at sizes 2 and 4 and in plan L3 at 2 and 2; and V at the
    small compute of plan L3."""
    pools = [(LATE_PLAN, order) for order in HEADS if "-" in order] + [("L3", order) for order in _L3]
    return [*CIFAR.comparison(base, (seed,), *pools[-1]), *(CIFAR.arm(base, *each, seed) for each in pools)]


def _full(s: Study) -> list[list[Arm]]:
    bases = [f"vgg{m}" for m in DEPTHS]
    long = {base: s.epochs_at_equal_compute(base, LATE_PLAN, LATE_ORDER) for base in bases}
    # For claim P2 at equal compute it is A-VGG8 that is the cheaper arm.
    more = round(s.recipe.epochs * s.macs("vgg16", "V", "") / s.macs("vgg8", LATE_PLAN, LATE_ORDER))
    return [
        [s.arm(base, *pools, seed) for base in bases for pools in _BOTH for seed in range(5)],
        [arm for base in ("vgg6", "vgg8") for arm in s.heads(base, range(3), LATE_PLAN, _OTHERS)],
        [
            s.arm(base, "V", "", seed, kind="equal compute", epochs=long[base])
            for base in bases
            for seed in range(3)
        ],
        [s.arm("vgg8", LATE_PLAN, LATE_ORDER, seed, kind="equal compute", epochs=more) for seed in range(5)],
        [s.arm(base, LATE_PLAN, LATE_ORDER, seed, _RELU) for base in ("vgg8", "vgg16") for seed in range(3)],
        [arm for base in bases for arm in s.rates(base, (0.005, 0.01, 0.02))],
        [arm for base in bases for arm in s.heads(base, range(3), "L3", ("AP2-MP2", "MP2-AP2"))],
        [arm for base in ("vgg6", "vgg8") for arm in s.heads(base, range(3), "L1", ("AP4-MP4", "MP4-AP4"))],
        s.heads("vgg6", range(3), "L0", ("AP4-MP8", "MP8-AP4")),
    ]


def _short() -> list[list[Arm]]:
    return [arms for _, arms in short_arms.groups(SHORT)]


_ARMS = {"quick": _quick, "cifar": _cifar, "short": _short, "paper": lambda: _full(PAPER)}
_STUDIES = {"quick": QUICK, "cifar": CIFAR, "short": SHORT, "paper": PAPER}


def jobs(profile: str, data_root: str | Path | None = None) -> list[Job]:
    """Chapter 1's list for ``filterwise record 1-pooling``; what matters most comes first.

    The exact part needs no training; it is recorded beside the first network in plan V, a row a seed.
    """
    listed = arms(profile)
    first = listed[0][0]
    trained = [
        arm.job(_same_but_seed(arm, first), priority)
        for priority, group in enumerate(listed)
        for arm in group
    ]
    if profile == "short":
        trained = short_arms.bundled(SHORT, trained)
    turned = _in_both_orders(listed)  # where P8 is decided
    every = [arm for group in listed for arm in group]
    found = []
    for arm, job in zip(every, trained, strict=True):
        found.append(job)
        if arm in turned:
            control = arm.untrained_job(job.priority)
            seconds = None if job.cost_seconds is None else short_arms.UNTRAINED
            found.append(replace(control, bundle=job.bundle, cost_seconds=seconds))
    return found


def _in_both_orders(listed: list[list[Arm]]) -> set[Arm]:
    """The compared arms with two pools whose other order is listed as well: their routes are compared."""
    known = {
        (arm.base, arm.plan, arm.run.recipe, arm.run.seed, arm.order): arm
        for group in listed
        for arm in group
        if arm.kind == "main" and "-" in arm.order
    }
    return {arm for (*same, order), arm in known.items() if (*same, _turned(order)) in known}


def _turned(order: str) -> str:
    return "-".join(reversed(order.split("-")))


def _same_but_seed(arm: Arm, other: Arm) -> bool:
    return arm.run.replace(seed=0) == other.run.replace(seed=0)


def page_jobs(
    profile: str, seed: int = 0, seeds: int = 1, plan: str = "", order: str = "", all_orders: bool = True
) -> list[Job]:
    """What the page trains: V, the late plan at equal epochs, V at its compute, and the other orders.

    Without ``plan`` it is the profile's own; without ``order`` AP2, then MP of the rest. Orders other than
    the chosen one are trained for the first seed only.

    Raises ParameterError: unknown profile, plan or order, plan "V" (nothing to compare), pools that do not
    fit the image.

    >>> [job.name for job in page_jobs("quick", seed=3, all_orders=False)]
    ['vgg-mini V, 4 epochs, seed 3', 'vgg-mini after 2 AP2-MP4, 4 epochs, seed 3',
     'vgg-mini V, 24 epochs, seed 3']
    >>> page_jobs("quick", order="AP3-MP4")
    Traceback (most recent call last):
    filterwise.errors.ParameterError: order='AP3-MP4' divides the map by 12, but this plan leaves 8 ...
    """
    check_choice("profile", profile, _STUDIES)
    check_at_least("seed", seed, 0)
    check_at_least("seeds", seeds, 1)
    study: Study = _STUDIES[profile]
    late = next(arm for arm in arms(profile)[0] if arm.plan != "V")
    base = str(late.base)
    plan = plan or late.plan
    if plan == "V":
        raise ParameterError(
            "plan='V' pools after every stage; it is the baseline, choose a late plan instead"
        )
    if not plan.startswith("after "):
        check_choice("plan", plan, [name for name in PLANS if name != "V"])
    order = order_name(parse_order(order)) if order else study.default_order(base, plan)
    study.macs(base, plan, order)  # builds the network: pools that do not fit are refused here
    found = study.comparison(base, range(seed, seed + seeds), plan, order)
    if all_orders:
        others = [other for other in orders(shrink(parse_order(order))) if other != order]
        found += study.heads(base, (seed,), plan, others)
    return [arm.job() for arm in found]
