"""Chapter 4: the trainings whose filters are measured one by one, and what a record of them holds.

Tzach et al. 2023 (VGG-6, VGG-16, A-VGG-16 on CIFAR-10) and Meir et al. 2024 (VGG-16, EfficientNet-B0 on 100
and 1,000 labels).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from filterwise import data
from filterwise.errors import DataError, check_choice
from filterwise.experiments.sfp_record import measure_layers
from filterwise.measure import HEAD_RECIPE
from filterwise.runs import Run
from filterwise.runs.job import Job
from filterwise.training import Recipe

PROFILES = ("quick", "cifar", "paper")
SEEDS = (0, 1, 2)
#: The six-layer net of the quick profile: 16, 16, 32, 32, 64, 64 filters, a pool after every second layer.
SIX_LAYERS = {"stages": ((16, 2), (32, 2), (64, 2))}
SIX_LAYERS_NAME = "vgg-six"

#: The group's recipe, 300 epochs and 0.6 every 20, shortened to 12 and 2: the rate falls 13-fold.
CIFAR = Recipe(epochs=12, decay=0.6, decay_every=2)
PAPER = Recipe()
#: Four epochs are too few for steps: warm-up and cosine reach 0.94 where they reached 0.90 (one seed tried).
QUICK = Recipe(
    epochs=4, batch=50, lr=0.03, momentum=0.9, schedule="cosine", warmup_steps=20, flip=False, shift=0
)
#: The spec's recipe for the procedural set.
PARTS = Recipe(epochs=10, batch=50, lr=0.02, momentum=0.9, decay_every=2, flip=False, shift=0)


def jobs(profile: str, data_root: str | Path | None = None) -> list[Job]:
    """What chapter 4 records at a profile, the most wanted first.

    Parameters
    ----------
    profile : str
        ``quick``, embedded data; ``cifar``, VGG-6 at a quarter of its width; ``paper``, the papers' networks.
    data_root : path, optional
        Where parquet files are; decides which set of 100 labels the paper profile takes.

    Raises
    ------
    ParameterError
        Unknown profile.

    >>> [job.name for job in jobs("quick")][:2]
    ['vgg-six, digit-pairs, seed 0', 'vgg-six, digit-pairs, seed 1']
    """
    check_choice("profile", profile, PROFILES)
    made: dict[str, Callable[[str | Path | None], list[Job]]] = {
        "quick": _quick,
        "cifar": _cifar,
        "paper": _paper,
    }
    return made[profile](data_root)


def _quick(_: str | Path | None) -> list[Job]:
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


def _cifar(_: str | Path | None) -> list[Job]:
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


def _paper(data_root: str | Path | None) -> list[Job]:
    hundred = hundred_labels(data_root)
    listed = []
    for seed in SEEDS:
        for model, seconds in (("vgg6", 1200), ("vgg16", 3000), ("avgg16", 7000)):
            listed.append(_job(Run(model, "cifar10", PAPER, seed), model, seconds, augmented_heads=True))
    for seed in SEEDS:
        for model, seconds in (("vgg16", 3500), ("efficientnet_b0", 12000)):
            counts = (3, 5, 10, 20, 40, 70, 100)
            run = Run(model, hundred, PAPER, seed)
            listed.append(_job(run, model, seconds, augmented_heads=True, counts=counts))
    return listed


def hundred_labels(data_root: str | Path | None = None) -> str:
    """The set of 100 labels that is at hand: ``cifar100``, else its stand-in ``tiny-imagenet-100``.

    >>> hundred_labels("/nowhere") in ("cifar100", "tiny-imagenet-100")
    True
    """
    for name in ("cifar100", "tiny-imagenet-100"):
        try:
            data.load(name, root=data_root)
        except DataError:
            continue
        return name
    return "cifar100"  # its absence is then reported when the job is run, with the way to fetch it


def _job(
    run: Run,
    network: str,
    seconds: float,
    head_epochs: int | None = None,
    counts: Sequence[int] = (),
    augmented_heads: bool = False,
    priority: int = 0,
) -> Job:
    """``counts``: the numbers of labels K of the error-against-K measurement; none if empty."""
    name = f"{network}, {run.data}{f' {run.labels} labels' if run.labels else ''}, seed {run.seed}"
    heads = HEAD_RECIPE if augmented_heads else HEAD_RECIPE.replace(flip=False, shift=0)
    if head_epochs is not None:
        heads = heads.replace(epochs=head_epochs)
    measure = partial(measure_layers, network=network, heads=heads, counts=tuple(counts))
    return Job(name, run, measure, cost_seconds=seconds, priority=priority)
