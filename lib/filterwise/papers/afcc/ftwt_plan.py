"""Networks whose filters are chosen anew for every image, beside static ones of equal cost.

Elkerdawy et al., "Fire Together Wire Together" (2022). Every arm begins with the same trained network of its
seed and is retrained by the same recipe: with predictors (decoupled, joint), with the filters of largest L1
norm and the same multiply-accumulates (static), and as it is (retrained).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from filterwise.errors import check_at_least, check_choice
from filterwise.parameters import PROFILES
from filterwise.runs.jobs import Job
from filterwise.runs.specification import Run
from filterwise.training.recipe import Recipe

BUNDLE = "ftwt"
SEEDS = (0, 1, 2)
#: r at which the saving is foreseen on the dense network.
FORESEEN = (1.0, 0.95, 0.9, 0.8, 0.7, 0.6)


@dataclass(frozen=True)
class DynamicStudy:
    """A network on a data set, how it is trained and retrained, and the masses r of each mode.

    ``rate_ratio``: learning rate of the predictors over the network's. ``seconds``: estimates of a training
    and of a retraining. ``head_epochs``: of the heads that tell the filters' clusters; 0 for none.
    """

    network: str
    run: Run
    retraining: Recipe
    masses: Mapping[str, Sequence[float]]
    rate_ratio: float
    seconds: tuple[float, float]
    head_epochs: int = 0
    seeds: Sequence[int] = field(default=SEEDS)

    def jobs(self) -> list[Job]:
        """All arms of all seeds, the most wanted first."""
        return [job for seed in self.seeds for job in self.of_seed(seed)]

    def of_seed(self, seed: int) -> list[Job]:
        """The arms of one seed: dense, retrained, and by r decoupled, static and joint."""
        dense = self.run.replace(seed=seed)
        again = dense.then(recipe=self.retraining)
        listed = [
            self._job(dense, "dense", None, self.seconds[0], grid=FORESEEN),
            self._job(again, "retrained", None, self.seconds[1]),
        ]
        for mode, masses in self.masses.items():
            for r in masses:
                run = self.dynamic(dense, mode, r)
                options = {"head_epochs": self.head_epochs} if mode == "decoupled" else {}
                listed.append(self._job(run, mode, r, self.seconds[1], **options))
                if mode == "decoupled":
                    static = run.then(recipe=self.retraining, edit="static_twin")
                    listed.append(self._job(static, "static", r, self.seconds[1]))
        return listed

    def dynamic(self, dense: Run, mode: str, r: float) -> Run:
        """A trained network with predictors put on, retrained."""
        step = ("ftwt", {"mode": mode, "rate_ratio": self.rate_ratio})
        return dense.then(recipe=self.retraining, edit=("mask_predictors", {"r": r}), step=step)

    def _job(self, run: Run, arm: str, r: float | None, seconds: float, **options: Any) -> Job:
        about = {"network": self.network, "ftwt": arm, **({} if r is None else {"r": r})}
        said = arm if r is None else f"{arm} r={r:g}"
        name = f"{BUNDLE}: {said}, {self.network}, {run.data}, seed {run.seed}"
        return Job(name, run, "afcc.dynamic", options, about, seconds, bundle=BUNDLE)


_DIGITS = Recipe(
    epochs=6, batch=50, lr=0.03, momentum=0.9, weight_decay=5e-4, schedule="cosine", warmup_steps=20,
    flip=False, shift=0,
)  # fmt: skip
_PHOTOS = Recipe(
    epochs=12, batch=50, lr=0.02, momentum=0.9, weight_decay=5e-4, schedule="cosine", warmup_steps=200
)
_AMOUNTS = {"decoupled": (0.9, 0.8, 0.7), "joint": (0.9, 0.8, 0.7)}

#: Five convolutions, 16-16-pool-32-32-pool-64-pool. The paper's predictors make some 40,000 steps at a rate
#: of 0.1; here they have hundreds, and learn at 1. (At 0.1 they only found each filter's commoner answer, one
#: seed tried.)
QUICK = DynamicStudy(
    "vgg-five",
    Run("vgg", "digit-pairs", _DIGITS, 0, None, {"stages": ((16, 2), (32, 2), (64, 1))}, {"n": 4_000}),
    _DIGITS.replace(lr=0.01, warmup_steps=0),
    _AMOUNTS,
    rate_ratio=100.0,
    seconds=(30, 35),
    head_epochs=5,
)
CIFAR = DynamicStudy(
    "vgg6",
    Run("vgg6", "cifar10", _PHOTOS, 0, None, {"width": 0.25}, {"n": 10_000}),
    _PHOTOS.replace(epochs=8, lr=0.01, warmup_steps=0),
    _AMOUNTS,
    rate_ratio=100.0,
    seconds=(80, 70),
    head_epochs=5,
)


#: What the page trains itself: four convolutions, 12-12-pool-24-24-pool, on single digits.
_SHOWN = _DIGITS.replace(epochs=3)
LIVE = DynamicStudy(
    "vgg-four",
    Run("vgg", "mnist5k", _SHOWN, 0, None, {"stages": ((12, 2), (24, 2))}, {"n": 1_500, "n_test": 500}),
    _SHOWN.replace(lr=0.01, warmup_steps=0),
    {"decoupled": (0.7,)},
    rate_ratio=300.0,
    seconds=(3, 6),
    head_epochs=3,
)


def _full(epochs: int, seeds: Sequence[int], share: float) -> DynamicStudy:
    """13 convolutions and one fully connected layer, the paper's VGG-16, at the paper's r."""
    trained = Recipe(
        epochs=epochs, batch=128, lr=0.1, momentum=0.9, nesterov=False, weight_decay=5e-4, schedule="pieces",
        milestones=((round(0.75 * epochs), 0.01),),
    )  # fmt: skip
    again = trained.replace(lr=0.01, milestones=((round(0.75 * epochs), 0.001),))
    return DynamicStudy(
        "vgg14",
        Run("vgg14", "cifar10", trained),
        again,
        {"decoupled": (0.92, 0.85), "joint": (0.92, 0.88)},
        rate_ratio=10.0,
        seconds=(2_000 * share, 2_600 * share),
        seeds=seeds,
    )


def study_of(profile: str) -> DynamicStudy:
    """What a profile trains: digits, a narrow VGG-6 on photographs, or the paper's VGG-16 for a tenth or all
    of its 200 epochs.

    Raises ParameterError: no such profile.
    """
    check_choice("profile", profile, PROFILES)
    if profile in ("quick", "cifar"):
        return {"quick": QUICK, "cifar": CIFAR}[profile]
    return _full(20, SEEDS, 0.1) if profile == "short" else _full(200, SEEDS, 1.0)


def ftwt_jobs(profile: str) -> list[Job]:
    """Dynamic pruning and its controls at a profile, the most wanted first; their bundle is ``"ftwt"``.

    Raises ParameterError: no such profile.

    >>> [job.name for job in ftwt_jobs("quick")][:3:2]
    ['ftwt: dense, vgg-five, digit-pairs, seed 0', 'ftwt: decoupled r=0.9, vgg-five, digit-pairs, seed 0']
    """
    return study_of(profile).jobs()


def live_jobs(seed: int = 0) -> list[Job]:
    """The two trainings of the page: the dense network of four layers, and with predictors at r = 0.7.

    Raises ParameterError: a negative seed.

    >>> [job.run.seed for job in live_jobs(3)]
    [3, 3]
    """
    check_at_least("seed", seed, 0)
    return [job for job in LIVE.of_seed(seed) if dict(job.about)["ftwt"] in ("dense", "decoupled")]
