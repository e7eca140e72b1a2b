"""Chapter 6: networks with M delays and one output unit beside their single-delay counterparts.

Meir et al. (2024). Every comparison has the same number N of inputs of the output layer, recipe and images.
Beside it stands the control: single-delay networks with as many weights as the delays cost.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

from filterwise.errors import ParameterError, check_at_least, check_choice, check_count
from filterwise.models.delays import KINDS as DELAY_KINDS
from filterwise.papers.rodib import short_delays
from filterwise.papers.rodib.quantities import ASYNCHRONOUS, SINGLE, WIDE
from filterwise.papers.rodib.timed_arms import Arm, Study, delays_needed
from filterwise.papers.sfp.plan import hundred_labels
from filterwise.runs.jobs import Job
from filterwise.training.recipe import Recipe

SEEDS = (0, 1, 2)
MORE_SEEDS, MORE_OF_FIXED = range(3, 11), (3, 4)  # where three left R2 and R4, and R3, undecided
KINDS = ("generic", "equal")  # of delay set, that are compared
FIXED_N, FIXED_M = 8, 10  # of the fixed network that learns 10, 30 and 100 labels
LABELS = (10, 30, 100)
JITTER_N = 16  # at which lines are moved to wrong instants, and single lines are drawn

# The warm-up is long because the smallest hidden layers die otherwise, those of one delay most. Looked at
# beforehand, N = 4 and three seeds: one delay named 0.44 of the digits after 20 steps of it, 0.66 after 200.
_DIGITS = Recipe(
    epochs=12, batch=64, lr=0.03, momentum=0.9, weight_decay=1e-4, schedule="cosine", warmup_steps=200,
    flip=False, shift=0,
)  # fmt: skip
QUICK = Study(
    "mnist5k", {}, _DIGITS, {"front": "flat", "init": "he"}, "mnist5k-averaged", {"n": 4_500, "n_test": 1_350}
)
QUICK_LABELS = Study("digit-pairs", {}, _DIGITS, QUICK.model)

# The rate was looked at beforehand on images kept back, one seed: 0.02 and 0.05 left the single delay at
# 0.431 and 0.413 (N = 4), 0.636 and 0.639 (N = 16), four generic delays at 0.593 and 0.611, 0.653 and 0.662.
_FEW = Recipe(
    epochs=10, batch=50, lr=0.02, momentum=0.9, weight_decay=5e-4, schedule="cosine", warmup_steps=200
)
_QUARTER = {"front": "vgg6", "width": 0.25, "init": "he"}
CIFAR = Study("cifar10", {"n": 10_000}, _FEW, _QUARTER, "cifar10-averaged", {"n": 10_080, "n_test": 4_500})
#: 150 training images of each label; fewer labels are shown as much more often as they have fewer images.
CIFAR_MANY = Study("tiny-imagenet-100", {"n": 15_000}, _FEW, _QUARTER)

#: 200 epochs, the rate times 0.6 every 20 of them.
_PAPER = Recipe(epochs=200, batch=100, lr=0.02, momentum=0.9, weight_decay=5e-4, decay=0.6, decay_every=20)
_SHORT = replace(_PAPER, epochs=20, decay_every=2)
_WHOLE = {"front": "vgg6", "init": "he"}
SHORT = Study("cifar10", {}, _SHORT, _WHOLE, "cifar10-averaged", {"n": 45_000, "n_test": 9_000})
PAPER = SHORT.but(recipe=_PAPER)
_STUDIES = {"quick": QUICK, "cifar": CIFAR, "short": SHORT, "paper": PAPER}

Groups = list[tuple[str, list[Arm]]]  # bundle, arms; in the order of importance


def groups(profile: str, data_root: str | Path | None = None) -> Groups:
    """What a profile trains, in the order of importance: a bundle of claims and its arms, a priority each.

    Raises ParameterError if there is no such profile.

    >>> [arm.name for arm in groups("cifar")[0][1][:2]]
    ['single delay, N=2, cifar10, seed 0', 'generic M=4, N=2, cifar10, seed 0']
    """
    check_choice("profile", profile, _STUDIES)
    if profile in ("quick", "cifar"):
        return _quick() if profile == "quick" else _cifar()
    ten = _STUDIES[profile]
    many = Study(hundred_labels(data_root), {}, ten.recipe, _WHOLE)
    return _full(ten, many, range(5) if profile == "paper" else SEEDS)


def arms_of(study: Study, task: str = "one") -> dict[str, int]:
    """Kind of delay set -> the smallest M with an instant for every label.

    >>> arms_of(QUICK), arms_of(QUICK, "pair")
    ({'generic': 4, 'equal': 6}, {'generic': 7, 'equal': 23})
    """
    return {kind: delays_needed(study.labels_of(task, None), kind) for kind in KINDS}


def _main(
    study: Study, sizes: Iterable[int], seeds: Iterable[int], kinds: Iterable[str] = KINDS, **about: Any
) -> list[Arm]:
    """The single delay and the kinds of delay set, each with the smallest M, at every N."""
    needed = arms_of(study, about.get("task", "one"))
    chosen = {kind: needed[kind] for kind in kinds}
    return [arm for n in sizes for arm in study.compared(n, seeds, chosen, **about)]


def _wide(
    study: Study, sizes: Iterable[int], seeds: Iterable[int], kinds: Iterable[str], **about: Any
) -> list[Arm]:
    """The single-delay networks with the weights of these kinds, at every N."""
    most = arms_of(study, about.get("task", "one"))
    three = product(sizes, seeds, kinds)
    return [study.arm(WIDE, n, seed, most[kind], matches=kind, **about) for n, seed, kind in three]


def _two_labels(study: Study, both: Sequence[int], pair: Sequence[int], seeds: Sequence[int]) -> list[Arm]:
    """Pictures with two labels, in both readings, with the wide control of the generic arm."""
    found = []
    for task, sizes in (("both", both), ("pair", pair)):
        found += _main(study, sizes, seeds, task=task, purpose="two labels")
        found += _wide(study, sizes, seeds, ["generic"], task=task, purpose="two labels")
    return found


def _more_labels(study: Study, seeds: Sequence[int], labels: Sequence[int] = LABELS) -> list[Arm]:
    """One network of N = 8 and M = 10, and its counterpart, on growing numbers of labels.

    Every label keeps its number of training images, and every training its number of steps.
    """
    found = []
    whole = study.labels_of("one", None)
    for count in labels:
        each = study
        if count != whole:
            images = study.data_options.get("n")
            options = {**study.data_options, **({"n": images * count // whole} if images else {})}
            epochs = round(study.recipe.epochs * whole / count)
            changes: dict[str, Any] = {"epochs": epochs}
            if study.recipe.schedule == "step":
                changes["decay_every"] = round(study.recipe.decay_every * whole / count)
            each = study.but(data_options=options, recipe=replace(study.recipe, **changes))
        own = None if count == whole else count
        for seed in seeds:
            found += [
                each.arm(SINGLE, FIXED_N, seed, labels=own, purpose="more labels"),
                each.arm("generic", FIXED_N, seed, FIXED_M, labels=own, purpose="more labels"),
            ]
    return found


def _maps(study: Study, sizes: Sequence[int], seeds: Sequence[int]) -> list[Arm]:
    """Ten generic delays, labels spread over the banks or filling the first."""
    return [
        study.arm("generic", n, seed, 10, label_map=label_map, purpose="label map")
        for n in sizes
        for seed in seeds
        for label_map in ("spread", "fill")
    ]


def _asynchronous(study: Study, sizes: Sequence[int], seeds: Sequence[int]) -> list[Arm]:
    delays = arms_of(study)["generic"]
    return [study.arm(ASYNCHRONOUS, n, seed, delays, purpose="control") for n in sizes for seed in seeds]


def _convolution(study: Study, sizes: Sequence[int], seeds: Sequence[int]) -> list[Arm]:
    """The last convolution delayed instead of a fully connected layer behind it."""
    kinds = {"generic": arms_of(study)["generic"]}
    about: dict[str, Any] = {"delayed": "convolution", "purpose": "delayed convolution"}
    return [arm for n in sizes for arm in study.compared(n, seeds, kinds, wide=["generic"], **about)]


def _quick() -> Groups:
    s = QUICK
    return [
        ("", _main(s, (2, 3, 4, 8, 16, 32), SEEDS)),
        ("", _wide(s, (2, 3, 4, 8), SEEDS, ("generic", "equal"))),
        ("", _two_labels(s, (4, 8), (8, 16), SEEDS)),
        ("", _maps(s, (2, 4), SEEDS) + _asynchronous(s, (JITTER_N,), SEEDS)),
        ("", _more_labels(QUICK_LABELS, SEEDS)),
    ]


def _cifar() -> Groups:
    ten, many = CIFAR, CIFAR_MANY
    return [
        ("10 labels", _main(ten, (2, 4, 6, 10, 16, 32), SEEDS)),
        ("10 labels", _wide(ten, (2, 4, 6), SEEDS, ("generic",))),
        ("several labels", _two_labels(ten, (4,), (8,), SEEDS)),
        ("more labels", _more_labels(many, SEEDS)),
        ("100 labels", _main(many, (16, 32, 64, 128), SEEDS, ("generic",))),
        ("controls", _asynchronous(ten, (JITTER_N,), SEEDS) + _maps(ten, (2, 4), SEEDS)),
        ("10 labels", _wide(ten, (2, 4, 6), SEEDS, ("equal",))),
        ("100 labels", _wide(many, (8, 16, 32, 64), SEEDS, ("generic",))),
        ("controls", _convolution(ten, (4, 16), SEEDS)),
        ("100 labels", [many.arm("equal", n, seed, 51) for n in (8, 32) for seed in SEEDS]),
        ("more labels", _more_labels(many, MORE_OF_FIXED)),
        *(("10 labels", _main(ten, (2, 4, 6, 10, 16, 32), [seed])) for seed in MORE_SEEDS),
    ]


def _full(ten: Study, many: Study, seeds: Sequence[int]) -> Groups:
    """What the claims need first, a bundle each; then more N, and what no claim asks for."""
    few, generic, mid = tuple(seeds)[:3], ("generic",), (16, 64)
    return [
        ("100 labels", _main(many, (8, 32, 128), seeds, generic) + _wide(many, (8, 32), seeds, generic)),
        ("10 labels", _main(ten, (4, 16), seeds) + _wide(ten, (4,), seeds, KINDS)),
        ("more labels", _more_labels(many, few)),
        ("several labels", _two_labels(ten, (4,), (8,), few)),
        ("10 labels, small N", _main(ten, (2, 8), seeds) + _wide(ten, (2, 8), seeds, KINDS)),
        ("10 labels, large N", _main(ten, (32, 64), seeds)),
        ("100 labels, other N", _main(many, mid, seeds, generic) + _wide(many, mid, seeds, generic)),
        ("several labels, larger N", _two_labels(ten, (8,), (16,), few)),
        ("100 labels, equal delays", [many.arm("equal", n, seed, 51) for n in (8, 32, 128) for seed in few]),
        ("controls", _convolution(ten, (4, 16), few) + _asynchronous(ten, mid, few)),
        ("controls", _maps(ten, (2, 4), few)),
    ]


def jobs(profile: str, data_root: str | Path | None = None) -> list[Job]:
    """Chapter 6's list for ``filterwise record 6-rodib``; what matters most comes first.

    The exact part needs no training; it is recorded beside the first network, a row a seed.
    """
    listed = groups(profile, data_root)
    first = listed[0][1][0]
    found: dict[str, Job] = {}
    for priority, (bundle, arms) in enumerate(listed):
        for arm in arms:
            exact = arm.run.replace(seed=0) == first.run.replace(seed=0)
            job = arm.job(exact, _moves(arm), priority, bundle)
            found.setdefault(job.settings, job)  # one training may serve two comparisons
    return short_delays.bundled(list(found.values())) if profile == "short" else list(found.values())


def _moves(arm: Arm) -> bool:
    """Whether lines of this network are moved to wrong instants."""
    return arm.purpose == "main" and arm.n == JITTER_N and arm.arm not in (SINGLE, WIDE)


def page_jobs(
    profile: str, seed: int = 0, seeds: int = 1, fc_inputs: Sequence[int] = (), delays: int = 0
) -> list[Job]:
    """What the page trains: the main comparison for ``seeds`` seeds, the controls for the first.

    Parameters
    ----------
    fc_inputs : N, at least two of them; by default 2, 3, 4, 8 and 16.
    delays : M of the generic delays; 0 for the smallest that gives an instant for every label.

    Raises ParameterError: unknown profile, an N below 1, one of them or one twice, or too few delays for the
    labels.

    >>> [job.name for job in page_jobs("quick", seed=3, fc_inputs=[2, 16])][:2]
    ['single delay, N=2, mnist5k, seed 3', 'generic M=4, N=2, mnist5k, seed 3']
    >>> page_jobs("quick", delays=3)
    Traceback (most recent call last):
    filterwise.errors.ParameterError: delays=3 give 9 output times, fewer than the 10 labels; ...
    """
    check_choice("profile", profile, _STUDIES)
    check_at_least("seed", seed, 0)
    check_at_least("seeds", seeds, 1)
    study = _STUDIES[profile]
    sizes = [check_count("fc_inputs", n) for n in fc_inputs] or [2, 3, 4, 8, 16]
    if len(set(sizes)) < max(2, len(sizes)):
        raise ParameterError(f"fc_inputs={list(fc_inputs)!r} must hold at least 2 different numbers")
    kinds = arms_of(study)
    if delays:
        labels = study.labels_of("one", None)
        if check_count("delays", delays, 2) ** 2 < labels:
            raise ParameterError(
                f"delays={delays} give {delays**2} output times, fewer than the {labels} labels; "
                f"choose at least {kinds['generic']}, or 0"
            )
        kinds["generic"] = delays
    return _page(study, sizes, kinds, range(seed, seed + seeds))


#: The networks of the explorer: N, and the numbers of delays of all three kinds.
EXPLORED_N, EXPLORED_M = 4, (6, 8, 10)


def explored(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The rows of the page's table that are the explorer's networks, by kind and M."""
    own = (table["N"] == EXPLORED_N) & (table["seed"] == seed) & (table["task"] == "one")
    own &= (table["label_map"] == "spread") & table["M"].isin(EXPLORED_M) & table["arm"].isin(DELAY_KINDS)
    order = table["arm"].map({kind: place for place, kind in enumerate(DELAY_KINDS)})
    return table.assign(order=order)[own].sort_values(["order", "M"]).drop(columns="order")


def _page(study: Study, sizes: Sequence[int], kinds: dict[str, int], seeds: Sequence[int]) -> list[Job]:
    first, small = seeds[:1], [n for n in sizes if n < study.labels_of("one", None)]
    arms = [arm for n in sizes for arm in study.compared(n, seeds, kinds)]
    arms += [study.arm(WIDE, n, first[0], kinds["generic"], matches="generic") for n in small]
    arms += _main(study, (4,), first, task="both", purpose="two labels")
    arms += _main(study, (8,), first, task="pair", purpose="two labels")
    arms += _maps(study, (4,), first) + _asynchronous(study, (max(sizes),), first)
    arms += [
        study.arm(kind, EXPLORED_N, first[0], count, purpose="explorer")
        for kind in DELAY_KINDS
        for count in EXPLORED_M
    ]
    found: dict[str, Job] = {}
    for arm in arms:
        moved = arm.purpose == "main" and arm.n == max(sizes) and arm.arm in kinds
        job = arm.job(jitter=moved and arm.run.seed == first[0])
        found.setdefault(job.settings, job)
    return list(found.values())
