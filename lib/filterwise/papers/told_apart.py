"""Jobs of the scale "small" once more, one thing varied: they tell apart why a claim failed there.

Where a verdict contradicts a paper, the claim's file names the likeliest reasons. Such a job changes one
thing, the epochs, the width or which layers are pruned, and leaves all else. Its row says what was
``varied``; no verdict counts it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from filterwise.errors import check_choice
from filterwise.runs.jobs import Job
from filterwise.runs.records import VARIED
from filterwise.runs.specification import Run

#: What can be varied, in the words of the records' column ``varied``.
LONGER, WIDER, CONVOLUTIONS = "three times the epochs", "twice the width", "convolutions alone"
_TIMES = 3
#: After all else of a plan.
_PRIORITY = 1000


@dataclass(frozen=True)
class Variation:
    """Jobs, by name, and what is varied in them: of a retraining its own epochs, not its start's."""

    jobs: tuple[str, ...]
    varied: str = LONGER


def _of_seeds(*names: str, seeds: int = 1) -> tuple[str, ...]:
    return tuple(f"{name}, seed {seed}" for seed in range(seeds) for name in names)


_PRUNED = ("not pruned", "afcc at 0.5", "magnitude at 0.5")
_CUT = ("not pruned", "afcc at 0.5", "random at 0.5")
_HALVED = ("not pruned", "andc at 0.3", "random at 0.3")
_HUNDRED = "tiny-imagenet-100"
_FTWT = ("retrained", *(f"{what} r={r}" for r in (0.9, 0.8, 0.7) for what in ("decoupled", "static")))

VARIATIONS: dict[str, tuple[Variation, ...]] = {
    "1-pooling": (
        Variation(_of_seeds("vgg8 L2 AP2-MP4, 12 epochs", "vgg8 ReLU L2 AP2-MP4, 12 epochs", seeds=3)),
    ),
    "3-power-law": (Variation(tuple(f"lenet d1={d1} seed 0" for d1 in (3, 6, 12, 24, 48, 96))),),
    "4-sfp": (
        Variation(_of_seeds("vgg6, cifar10")),
        Variation(_of_seeds("vgg6, cifar10"), WIDER),
        Variation(_of_seeds("vgg16, cifar10")),
    ),
    "5-afcc": (
        Variation(_of_seeds(*(f"ftwt: {what}, vgg6, cifar10" for what in _FTWT))),
        Variation(_of_seeds(*(f"vgg11, {what}" for what in _PRUNED))),
        Variation(_of_seeds(*(f"vgg11, {what}" for what in _CUT), seeds=3), CONVOLUTIONS),
        Variation(_of_seeds("SET, mnist5k, 20 epochs", "dense, mnist5k, 20 epochs", seeds=3)),
    ),
    "7-vit-shp": (
        Variation(_of_seeds(*(f"cct-small H4, {_HUNDRED}, {what}" for what in _HALVED))),
        Variation(_of_seeds(*(f"cct-small {net}, places" for net in ("H4, cifar10", "H16, cifar10")))),
        Variation(_of_seeds("cct-small H4 conv 1, cifar10, places")),
        Variation(_of_seeds(*(f"cct-small {net}, {_HUNDRED}, places" for net in ("H4", "H16")))),
    ),
}


def varied(chapter: str, listed: Iterable[Job]) -> Iterator[Job]:
    """The variations of a chapter's jobs at the scale "small"; none for a chapter that has none.

    Raises ParameterError: a variation is of a job that is not listed.

    >>> from filterwise.papers.chapter import jobs
    >>> [job.name for job in jobs("4-sfp", "cifar")][-2]
    'vgg6, cifar10, seed 0, twice the width'
    """
    by_name = {job.name: job for job in listed}
    for variation in VARIATIONS.get(chapter, ()):
        for name in variation.jobs:
            check_choice("job", name, by_name)
            yield _varied(by_name[name], variation.varied)


def _varied(job: Job, what: str) -> Job:
    runs = tuple(map({LONGER: _longer, WIDER: _wider, CONVOLUTIONS: _convolutions}[what], job.all_runs))
    about = {**dict(job.about), VARIED: what}
    seconds = job.cost_seconds and (1 if what == CONVOLUTIONS else _TIMES) * job.cost_seconds
    return replace(
        job, name=f"{job.name}, {what}", runs=runs, about=about, cost_seconds=seconds, priority=_PRIORITY,
        bundle="told apart",
    )  # fmt: skip


def _longer(run: Run) -> Run:
    """The steps of the rate are stretched with the epochs, so that it falls as far."""
    recipe = run.recipe
    stretched = {"decay_every": _TIMES * recipe.decay_every} if recipe.schedule == "step" else {}
    return run.replace(recipe=recipe.replace(epochs=_TIMES * recipe.epochs, **stretched))


def _wider(run: Run) -> Run:
    options = run.model_kwargs
    return run.replace(model_options={**options, "width": 2 * options["width"]})


def _convolutions(run: Run) -> Run:
    """The pruning leaves the layers behind the convolutions as they are."""
    if not isinstance(run.edit, tuple):
        return run
    name, options = run.edit
    cut: dict[str, Any] = dict(options)
    cut["layers"] = tuple(layer for layer in cut["layers"] if layer.startswith("features."))
    return run.replace(edit=(name, cut))
