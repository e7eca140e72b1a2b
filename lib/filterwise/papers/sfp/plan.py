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
#: Further seeds on a CPU: three leave S3, S5 and S8 undecided, which by their spread need four or five.
MORE_SEEDS = (3, 4)
#: The six-layer net of the quick profile: 16, 16, 32, 32, 64, 64 filters, a pool after every second layer.
SIX_LAYERS = {"stages": ((16, 2), (32, 2), (64, 2))}
SIX_LAYERS_NAME = "vgg-six"

#: Half as deep: the second architecture on the same pictures.
THREE_LAYERS = {"stages": ((16, 1), (32, 1), (64, 1))}
THREE_LAYERS_NAME = "vgg-three"
#: By how much the learning rate of heads falls where they have fewer epochs than the papers' 200.
HEAD_FALL = 100.0
#: Epochs of heads on all 50,000 photographs. Heads of layers 1, 3 and 5 of a VGG-6 read the same after 10 and
#: after 20 epochs: 0.621, 0.750, 0.788 and 0.618, 0.748, 0.788 of ten labels; 0.246, 0.377, 0.401 and 0.241,
#: 0.381, 0.403 of a hundred, which have a tenth of the images each. With a rate that hardly falls, 10 epochs
#: give the lower two less: 0.570, 0.730, 0.786 of ten labels.
HEAD_EPOCHS = {"cifar10": 10, "tiny-imagenet-100": 20}
#: The few labels on which networks of many labels are measured as well: the papers' smallest number.
FEW = 3
#: The numbers of labels K of the error against K: below all labels, of which there is only one set.
COUNTS = (3, 5, 10, 20, 40, 60, 80)
#: The layers of a sixteen-layer network that are measured where the features of all would fill the memory:
#: those of VGG-16 with a pool at their end, and the neighbours of the tenth.
AFTER_POOLS = tuple(f"features.{layer}" for layer in (2, 4, 7, 9, 10, 11, 13))

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
    whole = ("counts", "few")  # of records, but not of the study that a page shows
    options = {name: value for name, value in dict(first.options).items() if name not in whole}
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
    for name, stages in ((SIX_LAYERS_NAME, SIX_LAYERS), (THREE_LAYERS_NAME, THREE_LAYERS)):
        for seed in SEEDS:
            run = Run("vgg", "digit-pairs", QUICK, seed, None, stages, {"n": 3000})
            listed.append(_job(run, name, 60, head_epochs=10, head_fall=HEAD_FALL, counts=COUNTS, few=FEW))
    for seed in SEEDS:
        run = Run("vgg", "parts", PARTS, seed, 40, SIX_LAYERS, {"n": 2000, "n_test": 1000})
        listed.append(_job(run, SIX_LAYERS_NAME, 25, head_epochs=10, head_fall=HEAD_FALL, priority=1))
    return listed


def _cifar() -> list[Job]:
    """A first seed of every network comes before the second of any; last are sixteen layers on 100 labels,
    and then further seeds."""
    ten, hundred = "cifar10", "tiny-imagenet-100"
    kinds = [("vgg6", ten, 220), ("vgg6", hundred, 600), ("vgg16", ten, 800), ("avgg16", ten, 1100)]
    order = [(*kind, seed) for seed in SEEDS for kind in [*kinds, ("avgg6", ten, 260)]]
    order += [("vgg16", hundred, 1300, seed) for seed in SEEDS]
    networks = [*kinds, ("avgg6", ten, 260), ("vgg16", hundred, 1300)]
    order += [(*kind, seed) for seed in MORE_SEEDS for kind in networks]
    listed: list[Job] = []
    for model, data, seconds, seed in order:
        options = {"width": 0.25, **({"plan": "L3"} if model.startswith("a") else {})}
        run = Run(model, data, CIFAR, seed, model_options=options)
        many = data == hundred
        job = _job(
            run,
            model,
            seconds,
            head_epochs=HEAD_EPOCHS[data],
            counts=COUNTS if many else (),
            priority=len(listed),
            head_fall=HEAD_FALL,
            only=AFTER_POOLS if model.endswith("16") else (),
            few=FEW if many else 0,
        )
        listed.append(replace(job, bundle="more seeds") if seed in MORE_SEEDS else job)
    return listed


#: Labels K of the error against K at the papers' scale.
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
                head_epochs, many = round(share * HEAD_RECIPE.epochs), run.data == hundred
                counts = (COUNTS if share == 1 else _FIVE_COUNTS) if many else ()
                # two hundred epochs end at 0.6 % of the first rate by themselves
                more = {"head_fall": HEAD_FALL if share < 1 else 0.0, "few": FEW if many else 0}
                # a rule needs the network, and this one needs torchvision, which recording does without
                built = network != "efficientnet_b0"
                seconds = _h200_seconds(run, head_epochs, counts) if built else _EFFICIENTNET_SECONDS
                order = len(SEEDS) * place + seed
                job = _job(run.replace(seed=seed), network, seconds, head_epochs, counts, True, order, **more)
                listed.append(replace(job, bundle=bundle))
    return listed


_EFFICIENTNET_SECONDS = 12_000.0
#: The numbers of labels K where minutes count: as many as a curve in K needs.
_FIVE_COUNTS = (3, 10, 20, 40, 80)
#: Heads of the last layer for each K: as many as ``sfp.errors`` draws sets of labels.
_HEADS_OF_K = 10


def _h200_seconds(run: Run, head_epochs: int, counts: Sequence[int]) -> float:
    """What an H200 is foreseen to take for a network, its heads and its control's.

    A step of all heads is a forward pass and about as long again for the heads; the clusters of all layers
    are found on the processor, in about half a minute at K = 10. With 100 labels there are ten heads more
    for each K, of the last layer.
    """
    heads = cost.foreseen(run.replace(**{"recipe.epochs": head_epochs})) * 2 / cost.PASSES_OF_A_STEP
    clusters, a_step_of_a_head = (90.0, 4e-4) if counts else (30.0, 0.0)
    batches = catalog.describe(run.data).counts["train"] / HEAD_RECIPE.batch
    steps = _HEADS_OF_K * len(counts) * head_epochs * batches
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
    **more: float | Sequence[str],
) -> Job:
    """``counts``: the numbers of labels K of the error-against-K measurement, none if empty; ``more``:
    further options of ``sfp.layers`` other than their defaults."""
    name = f"{network}, {run.data}{f' {run.labels} labels' if run.labels else ''}, seed {run.seed}"
    options = {"head_epochs": head_epochs, "augmented": augmented, "counts": tuple(counts)}
    options |= {name: value for name, value in more.items() if value}
    bundle = "100 labels" if run.data in ("cifar100", "tiny-imagenet-100") else "10 labels"
    return Job(
        name, run, "sfp.layers", options, {"network": network}, seconds, priority=priority, bundle=bundle
    )
