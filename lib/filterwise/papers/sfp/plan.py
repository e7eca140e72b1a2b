"""Chapter 4: the trainings whose filters are measured one by one.

Tzach et al. 2023 (VGG-6, VGG-16, A-VGG-16 on CIFAR-10) and Meir et al. 2024 (VGG-16, EfficientNet-B0 on 100
and 1,000 labels).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from filterwise.data import catalog
from filterwise.data.sources import load
from filterwise.errors import DataError, check_at_least
from filterwise.measure.heads import HEAD_RECIPE
from filterwise.papers.pooling.arms import LATE_ORDER, LATE_PLAN
from filterwise.papers.vgg_runs import vgg_run
from filterwise.runs import cost
from filterwise.runs.jobs import Job
from filterwise.runs.specification import Run
from filterwise.training.recipe import Recipe

SEEDS = (0, 1, 2)
#: The six-layer net of the quick profile: 16, 16, 32, 32, 64, 64 filters, a pool after every second layer.
SIX_LAYERS = {"stages": ((16, 2), (32, 2), (64, 2))}
SIX_LAYERS_NAME = "vgg-six"

#: The group's recipe, 300 epochs and 0.6 every 20, shortened to 12 and 2: the rate falls 13-fold.
CIFAR = Recipe(epochs=12, decay=0.6, decay_every=2)
PAPER = Recipe()
#: A tenth of the epochs.
SHORT = Recipe(epochs=30, decay_every=2)
#: Four epochs are too few for steps: warm-up and cosine reach 0.94 where they reached 0.90 (one seed tried).
QUICK = Recipe(
    epochs=4, batch=50, lr=0.03, momentum=0.9, schedule="cosine", warmup_steps=20, flip=False, shift=0
)
#: For the procedural set: ten epochs are enough there.
PARTS = Recipe(epochs=10, batch=50, lr=0.02, momentum=0.9, decay_every=2, flip=False, shift=0)


def jobs(profile: str, data_root: str | Path | None = None) -> list[Job]:
    """What chapter 4 records at a profile, the most wanted first.

    ``quick`` has embedded data; ``cifar`` VGG-6 at a quarter of its width; ``short`` and ``paper`` the
    papers' networks. ``data_root`` decides which set of 100 labels these take.

    >>> [job.name for job in jobs("quick")][:2]
    ['vgg-six, digit-pairs, seed 0', 'vgg-six, digit-pairs, seed 1']
    """
    if profile == "quick":
        return _quick()
    if profile == "cifar":
        return _cifar()
    return _full(PAPER if profile == "paper" else SHORT, 1.0 if profile == "paper" else 0.1, data_root)


def page_jobs(
    profile: str, seed: int = 0, seeds: int = 1, threshold: float = 0.3, data_root: str | Path | None = None
) -> list[Job]:
    """The first network of a profile's records, with ``seeds`` seeds from ``seed`` on.

    Raises ParameterError: a negative seed, fewer than one seed.

    >>> [job.run.seed for job in page_jobs("quick", seed=3, seeds=2)]
    [3, 4]
    """
    check_at_least("seed", seed, 0)
    check_at_least("seeds", seeds, 1)
    first = jobs(profile, data_root)[0]
    options = {name: value for name, value in dict(first.options).items() if name != "counts"}
    stem = first.name.rpartition(", seed ")[0]
    return [
        Job(
            f"{stem}, seed {one}",
            first.run.replace(seed=one),
            "sfp.study",
            {**options, "threshold": threshold},
            first.about,
        )
        for one in range(seed, seed + seeds)
    ]


def _quick() -> list[Job]:
    listed = []
    for seed in SEEDS:
        run = Run("vgg", "digit-pairs", QUICK, seed, None, SIX_LAYERS, {"n": 3000})
        listed.append(_job(run, SIX_LAYERS_NAME, 60, head_epochs=5, counts=(3, 5, 10, 20, 50, 100)))
    for labels in (3, 40):
        for seed in SEEDS:
            # equally many images, so equally many steps, at any number of labels
            run = Run("vgg", "parts", PARTS, seed, labels, SIX_LAYERS, {"n": 2000, "n_test": 1000})
            listed.append(_job(run, SIX_LAYERS_NAME, 25, head_epochs=10, priority=1))
    return listed


def _cifar() -> list[Job]:
    quarter = {"width": 0.25}
    small = [Run("vgg6", "cifar10", CIFAR, seed, model_options=quarter) for seed in SEEDS]
    late = [Run("avgg6", "cifar10", CIFAR, seed, model_options={**quarter, "plan": "L3"}) for seed in SEEDS]
    many = [Run("vgg6", "tiny-imagenet-100", CIFAR, seed, model_options=quarter) for seed in SEEDS]
    listed = [_job(run, "vgg6", 550, head_epochs=10) for run in small]
    listed += [_job(run, "avgg6", 900, head_epochs=10, priority=1) for run in late]
    counts = (3, 5, 10, 20, 40, 70, 100)
    listed += [_job(run, "vgg6", 700, head_epochs=10, counts=counts, priority=2) for run in many]
    for seed in SEEDS:
        # 1,500 images: eight times the epochs, still a quarter of the steps of the full set
        few = CIFAR.replace(epochs=96, decay_every=16)
        run = Run("vgg6", "tiny-imagenet-100", few, seed, 3, quarter, {"labels_seed": seed})
        listed.append(_job(run, "vgg6", 110, head_epochs=40, priority=2))
    return listed


#: Labels K of the error against K at the papers' scale.
_COUNTS = (3, 5, 10, 20, 40, 70, 100)


def _full(recipe: Recipe, share: float, data_root: str | Path | None) -> list[Job]:
    """The papers' networks; ``share`` of the papers' epochs, of the networks and of the heads.

    Inside a bundle all networks of one seed come before the next seed. EfficientNet-B0, whose many small
    layers keep a GPU waiting, has no place in a bundle of 25 minutes; VGG-6 is the second architecture there.
    """
    hundred, late = hundred_labels(data_root), {"plan": LATE_PLAN, "order": LATE_ORDER}
    bundles = [
        ("10 labels", [("vgg6", vgg_run("vgg6", recipe, 0)), ("vgg16", vgg_run("vgg16", recipe, 0))]),
        ("late pooling", [("avgg16", vgg_run("vgg16", recipe, 0, **late))]),
        ("100 labels", [("vgg16", vgg_run("vgg16", recipe, 0, hundred))]),
        ("100 labels, second network", [("vgg6", vgg_run("vgg6", recipe, 0, hundred))]),
    ]
    if share == 1:
        bundles.append(("EfficientNet", [("efficientnet_b0", Run("efficientnet_b0", hundred, recipe))]))
    listed = []
    for place, (bundle, networks) in enumerate(bundles):
        for network, run in networks:
            for seed in SEEDS:
                head_epochs, counts = (
                    round(share * HEAD_RECIPE.epochs),
                    _COUNTS if run.data == hundred else (),
                )
                seconds = _h200_seconds(run, head_epochs, counts)
                order = len(SEEDS) * place + seed
                job = _job(run.replace(seed=seed), network, seconds, head_epochs, counts, True, order)
                listed.append(replace(job, bundle=bundle))
    return listed


def _h200_seconds(run: Run, head_epochs: int, counts: Sequence[int]) -> float:
    """What an H200 is foreseen to take for a network, its heads and its control's.

    A step of all heads is a forward pass and about as long again for the heads; the clusters of all layers
    are found on the processor, in about half a minute at K = 10. With 100 labels there are four heads more
    for each K, of the last layer.
    """
    heads = cost.foreseen(run.replace(**{"recipe.epochs": head_epochs})) * 2 / cost.PASSES_OF_A_STEP
    clusters, a_step_of_a_head = (90.0, 4e-4) if counts else (30.0, 0.0)
    steps = 4 * len(counts) * head_epochs * catalog.describe(run.data).counts["train"] / HEAD_RECIPE.batch
    return cost.foreseen(run) + 2 * heads + clusters + a_step_of_a_head * steps


def hundred_labels(data_root: str | Path | None = None) -> str:
    """The set of 100 labels that is at hand: ``cifar100``, else its stand-in ``tiny-imagenet-100``.

    >>> hundred_labels("/nowhere") in ("cifar100", "tiny-imagenet-100")
    True
    """
    for name in ("cifar100", "tiny-imagenet-100"):
        try:
            load(name, root=data_root)
        except DataError:
            continue
        return name
    return "cifar100"  # its absence is then reported when the job is run, with the way to fetch it


def _job(
    run: Run,
    network: str,
    seconds: float,
    head_epochs: int = 200,
    counts: Sequence[int] = (),
    augmented: bool = False,
    priority: int = 0,
) -> Job:
    """``counts``: the numbers of labels K of the error-against-K measurement; none if empty."""
    name = f"{network}, {run.data}{f' {run.labels} labels' if run.labels else ''}, seed {run.seed}"
    options = {"head_epochs": head_epochs, "augmented": augmented, "counts": tuple(counts)}
    bundle = "100 labels" if run.data in ("cifar100", "tiny-imagenet-100") else "10 labels"
    return Job(
        name, run, "sfp.layers", options, {"network": network}, seconds, priority=priority, bundle=bundle
    )
