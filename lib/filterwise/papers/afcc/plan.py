"""Chapter 5: dense networks, their pruned retrainings, and the peers.

Tzach et al., Phys. Rev. E 111, 065307 (2025): VGG-11 in the group's sense and EfficientNet-B0, 100 labels.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from filterwise.errors import check_at_least, check_choice
from filterwise.papers.afcc import short_prunings
from filterwise.papers.afcc.ftwt_plan import ftwt_jobs
from filterwise.papers.afcc.set_jobs import jobs_of_set
from filterwise.papers.sfp.plan import hundred_labels
from filterwise.runs.jobs import Job
from filterwise.runs.specification import Run
from filterwise.training.recipe import Recipe

SEEDS = (0, 1, 2)
#: Further seeds of the masks on a CPU: by their spread F5 needs six and F6 seven.
MORE_SEEDS = range(3, 7)
#: A fifth of the training images decides the clusters; the test images decide nothing.
HELD_OUT = {"held_out": 0.2}
#: theta of the retrained masks; 0.3 is the group's.
THRESHOLDS = (0.3, 0.5, 0.7)
CRITERIA = ("afcc", "random", "magnitude", "kernel-l2", "filter-l1", "random-afcc")

#: The six-layer net of chapter 4's quick profile, its last stage half as wide again.
SIX_LAYERS = {"stages": ((16, 2), (32, 2), (96, 2))}
QUICK = Recipe(
    epochs=5, batch=50, lr=0.03, momentum=0.9, schedule="cosine", warmup_steps=20, flip=False, shift=0
)
QUICK_RETRAIN = Recipe(epochs=1, batch=50, lr=0.01, momentum=0.9, decay_every=1, flip=False, shift=0)
#: The group's 300 epochs and 0.6 every 20, shortened to 24 and 2.
CIFAR = Recipe(epochs=24, decay_every=2)
#: The group's rate and momentum of a single layer's retraining, for five epochs that slow down.
CIFAR_RETRAIN = Recipe(epochs=5, decay_every=1)
PAPER, SHORT = Recipe(), Recipe(epochs=30, decay_every=2)
PAPER_RETRAIN, SHORT_RETRAIN = Recipe(epochs=20, decay_every=4), Recipe(epochs=4, decay_every=1)
#: Random AFCC, from the released script: 260 epochs, rate 0.028 (of the convolutions; here of all layers).
IMPOSED = {"lr": 0.028, "momentum": 0.9175}


def jobs(profile: str, data_root: str | Path | None = None) -> list[Job]:
    """What chapter 5 records at a profile, the most wanted first.

    ``quick`` has embedded data; ``cifar`` VGG-11 at a quarter of its width on 100 labels; ``short`` and
    ``paper`` the paper's networks. ``data_root`` decides which set of 100 labels these take.

    >>> [job.name for job in jobs("quick")][:2]
    ['vgg-six, masks, seed 0', 'vgg-six, not pruned, seed 0']
    """
    if profile == "quick":
        own = [job for seed in SEEDS for job in _small_net(seed)]
    else:
        own = [*_vgg11(profile, data_root), *_fully_connected(profile, data_root)]
        if profile != "cifar":
            own += _anywhere(profile, data_root)
    found = [*own, *jobs_of_set(profile), *ftwt_jobs(profile)]
    return found if profile in ("quick", "cifar") else short_prunings.bundled(found, profile == "short")


def _anywhere(profile: str, data_root: str | Path | None) -> list[Job]:
    """EfficientNet-B0: all its 1x1 convolutions and its output layer, trained from scratch."""
    found = []
    for seed in SEEDS:
        family = _Family(profile, seed, data_root, "efficientnet_b0")
        found.append(family.anywhere(None, 0.0))
        for threshold in THRESHOLDS:
            found += [family.anywhere(name, threshold) for name in CRITERIA]
    return found


def _fully_connected(profile: str, data_root: str | Path | None) -> list[Job]:
    """VGG-16's two hidden layers and its output layer, pruned by what their nodes stand for."""
    found = []
    for seed in SEEDS:
        family = _Family(profile, seed, data_root, "vgg16")
        jobs = [family.retrained(None, 0.0)]
        for threshold in THRESHOLDS:
            jobs += [family.retrained(name, threshold) for name in CRITERIA]
        found += [dataclasses.replace(job, bundle="fully connected", priority=4) for job in jobs]
    return found


def dense_run(profile: str, seed: int = 0, data_root: str | Path | None = None, model: str = "vgg11") -> Run:
    """The network of a profile that is pruned, before it is; quick has one of its own.

    >>> dense_run("cifar").model_kwargs
    {'width': 0.25}
    """
    check_choice("profile", profile, ("quick", "cifar", "short", "paper"))
    if profile == "quick":
        return Run("vgg", "digit-pairs", QUICK, seed, None, SIX_LAYERS, {"n": 6000, **HELD_OUT})
    if profile == "cifar":
        return Run(model, "tiny-imagenet-100", CIFAR, seed, None, {"width": 0.25}, HELD_OUT)
    recipe = PAPER if profile == "paper" else SHORT
    return Run(model, hundred_labels(data_root), recipe, seed, None, {}, HELD_OUT)


def page_jobs(
    profile: str,
    seed: int = 0,
    seeds: int = 1,
    threshold: float = 0.3,
    criteria: Sequence[str] = ("afcc", "random", "magnitude"),
    data_root: str | Path | None = None,
) -> list[Job]:
    """What the page runs: masks of the profile's dense network, and a few retrainings under them.

    Raises ParameterError: a negative seed, fewer than one seed, an unknown criterion.

    >>> [job.name for job in page_jobs("quick")][:2]
    ['vgg-six, masks, seed 0', 'vgg-six, not pruned, seed 0']
    """
    check_at_least("seed", seed, 0)
    check_at_least("seeds", seeds, 1)
    for criterion in criteria:
        check_choice("criteria", criterion, CRITERIA)
    found = []
    for one in range(seed, seed + seeds):
        family = _Family(profile, one, data_root)
        found.append(family.masks(threshold=threshold, brief=True))
        found.append(family.retrained(None, threshold))
        found += [family.retrained(criterion, threshold) for criterion in criteria]
    return found


class _Family:
    """All jobs that stand on one dense network."""

    def __init__(
        self, profile: str, seed: int, data_root: str | Path | None = None, model: str = "vgg11"
    ) -> None:
        self.dense, self.seed = dense_run(profile, seed, data_root, model), seed
        self.network = "vgg-six" if profile == "quick" else model
        self.recipe, self.head_epochs, self.seconds = {
            "quick": (QUICK_RETRAIN, 5, 1.0),
            "cifar": (CIFAR_RETRAIN, 10, 60.0),
            "short": (SHORT_RETRAIN, 20, 0.0),  # its seconds are foreseen job by job
            "paper": (PAPER_RETRAIN, 200, 600.0),
        }[profile]
        first, last = (5, 6) if profile == "quick" else (8, 10)
        self.layers, self.all_layers = _blocks(first, last), _blocks(first - (2 if last == 6 else 3), last)
        if model == "vgg16":  # its three fully connected layers, by single-nodal performance
            self.layers = self.all_layers = ("classifier.1", "classifier.2", "classifier.3")
        #: quick has a third of its test images, so that a page is done in a minute
        self.tested: dict[str, Any] = {"test_images": 1000} if profile == "quick" else {}
        self.fitted: dict[str, Any] = {"fitted": 1000} if profile == "quick" else {}
        self.measured = {"head_epochs": self.head_epochs, "beside": self.all_layers}

    def job(self, what: str, run: Run, measure: str, options: dict[str, Any], **about: Any) -> Job:
        details = {name: about.pop(name) for name in ("priority", "bundle", "cost_seconds") if name in about}
        name = f"{self.network}, {what}, seed {self.seed}"
        return Job(name, run, measure, options, {"network": self.network, **about}, **details)

    def masks(self, threshold: float = 0.3, brief: bool = False) -> Job:
        options: dict[str, Any] = {
            "layers": self.layers,
            "head_epochs": self.head_epochs,
            "threshold": threshold,
            "all_layers": self.all_layers,
            **self.tested,
            **self.fitted,
        }
        if brief:
            options |= {"thresholds": (threshold,), "control": False, "criteria": CRITERIA[:3]}
        return self.job(
            "masks", self.dense, "afcc.masks", options, bundle="masks", cost_seconds=6 * self.seconds
        )

    def output(self) -> Job:
        return self.job(
            "output layer",
            self.dense,
            "afcc.output",
            self.tested,
            bundle="output",
            cost_seconds=4 * self.seconds,
        )

    def rewired(self) -> Job:
        return self.job(
            "output layer rewired", self.dense, "afcc.rewired", self.tested, bundle="output",
            cost_seconds=4 * self.seconds, priority=1,
        )  # fmt: skip

    def retrained(self, criterion: str | None, threshold: float, priority: int = 1, **options: Any) -> Job:
        """``criterion`` None: the dense network, its upper layers retrained as long."""
        edit = None
        what = "not pruned"
        if criterion is not None:
            extra = "".join(f", {name} {value}" for name, value in options.items())
            what = f"{criterion} at {threshold:g}{extra}"
            edit = (
                "connections",
                {
                    "layers": self.layers,
                    "criterion": criterion,
                    "threshold": threshold,
                    **self.measured,
                    **options,
                },
            )
        run = self.dense.then(recipe=self.recipe, edit=edit, train=self.layers)
        return self.job(
            what, run, "afcc.retrained", {**self.tested, **self.fitted}, criterion=criterion or "dense",
            theta=threshold if criterion else 0.0, variant=" ".join(map(str, options.values())),
            bundle="retrained", priority=priority, cost_seconds=self.seconds,
        )  # fmt: skip

    def structured(self, threshold: float) -> Job:
        return dataclasses.replace(self.retrained("structured", threshold), bundle="structured")

    def latency(self, threshold: float) -> Job:
        """Of the network that was retrained under AFCC's masks."""
        run = self.retrained("afcc", threshold).run
        return self.job(
            f"time for a batch at {threshold:g}", run, "afcc.latency", self.tested, theta=threshold,
            bundle="structured", priority=2, cost_seconds=self.seconds,
        )  # fmt: skip

    def anywhere(self, criterion: str | None, threshold: float) -> Job:
        """A network whose layers are found by tracing it; all of them learn in the retraining."""
        edit = None
        if criterion is not None:
            edit = ("connections-anywhere", {"criterion": criterion, "threshold": threshold})
        run = self.dense.then(recipe=self.recipe, edit=edit)
        return self.job(
            f"{criterion} at {threshold:g}" if criterion else "not pruned", run, "afcc.retrained", {},
            criterion=criterion or "dense", theta=threshold, variant="", bundle=self.network, priority=5,
            cost_seconds=4 * self.seconds,
        )  # fmt: skip

    def one_by_one(self, criterion: str, threshold: float) -> Job:
        """The paper's order: the output layer first, then the convolutions from the top down, each retrained
        together with the one under it before the next is pruned."""
        run, order = self.dense, (self.all_layers[-len(self.layers) - 1], *self.layers)
        for below, layer in reversed(list(itertools.pairwise(order))):
            options = {"layers": (layer,), "criterion": criterion, "threshold": threshold, **self.measured}
            run = run.then(recipe=self.recipe, edit=("connections", options), train=(below, layer))
        whole = {"before": False, **self.tested}
        return self.job(
            f"{criterion} at {threshold:g}, one by one", run, "afcc.retrained", whole,
            criterion=criterion, theta=threshold, variant="one by one", bundle="retrained", priority=2,
            cost_seconds=len(self.layers) * self.seconds,
        )  # fmt: skip

    def imposed(self, sets: str) -> Job:
        recipe = self.dense.recipe
        if recipe.schedule == "step":
            recipe = recipe.replace(**IMPOSED)
        edit = ("imposed-sets", {"layers": self.layers, "sets": sets})
        run = self.dense.replace(edit=edit, recipe=recipe)
        options = {"before": False, **self.tested}
        return self.job(
            f"{sets} sets from scratch", run, "afcc.retrained", options, criterion=f"{sets} sets",
            theta=0.0, bundle="imposed", priority=3, cost_seconds=10 * self.seconds,
        )  # fmt: skip


def _blocks(first: int, last: int) -> tuple[str, ...]:
    """Blocks and the classifier above them."""
    return (*(f"features.{m}" for m in range(first, last + 1)), "classifier.1")


def _small_net(seed: int) -> list[Job]:
    family = _Family("quick", seed)
    found = [family.masks(), family.retrained(None, 0.0), family.output()]
    for threshold in THRESHOLDS:
        found += [family.retrained(criterion, threshold) for criterion in CRITERIA]
    found += [family.structured(0.5), family.latency(0.5), family.latency(0.9), family.rewired()]
    return [*found, family.imposed("random"), family.imposed("cyclic")]


def _vgg11(profile: str, data_root: str | Path | None) -> list[Job]:
    found = []
    for seed in SEEDS:
        family = _Family(profile, seed, data_root)
        found += [family.masks(), family.output(), family.retrained(None, 0.0, priority=0)]
        for threshold in THRESHOLDS:
            for criterion in CRITERIA:
                early = threshold == 0.5 and criterion in ("afcc", "random", "magnitude", "kernel-l2")
                found.append(family.retrained(criterion, threshold, priority=0 if early else 1))
        found.append(family.rewired())
        found.append(family.retrained("afcc", 0.5, images="test", priority=2))
        found.append(family.retrained("afcc", 0.5, share="cluster", priority=2))
        found += [family.one_by_one("afcc", 0.5), family.one_by_one("magnitude", 0.5)]
        found += [family.structured(threshold) for threshold in THRESHOLDS]
        found += [family.latency(threshold) for threshold in (*THRESHOLDS, 0.9)]
        found += [family.imposed("random"), family.imposed("cyclic")]
    if profile == "cifar":
        more = (_Family(profile, seed, data_root).masks() for seed in MORE_SEEDS)
        found += [dataclasses.replace(job, priority=3) for job in more]
    return found
