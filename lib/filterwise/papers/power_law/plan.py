"""Chapter 3: networks of growing width, and what each of them costs and gets wrong.

Meir et al., Sci. Rep. 13, 5423 (2023). The error of a LeNet with d1 and d2 filters, d2/d1 fixed, is claimed
to fall as eps(d1) = A d1^-rho, and that of a VGG-16 with all depths scaled by d1 alike. This module lists the
trainings; :mod:`filterwise.measure` fits the curves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filterwise.data import catalog
from filterwise.errors import ParameterError, check_at_least, check_choice
from filterwise.papers.power_law import cifar_points, short_points
from filterwise.papers.power_law.cost_of_widths import (
    CONSERVED_RATIO,
    LENET_RATIO,
    SCANNED_RATIOS,
    at_budget,
    lenet_macs,
    second_layer,
)
from filterwise.runs.jobs import Job
from filterwise.runs.specification import Run
from filterwise.training.recipe import RECIPES, Recipe


@dataclass(frozen=True)
class Point:
    """One training on a curve, and what the record says of it.

    ``kind`` is ``main`` (the curve itself, of some or of all images), ``ratio`` or ``variant`` (another
    curve, claim L5), ``budget`` (the scan of d2/d1, claim L6), ``control`` or ``tuning`` (no part of a
    curve). No fit may see a ``held_out`` width.
    """

    family: str
    d1: int
    run: Run
    variant: str = "main"
    kind: str = "main"
    ratio: float = LENET_RATIO
    budget: float | None = None
    held_out: bool = False

    @property
    def name(self) -> str:
        """E.g. ``lenet d1=6 seed 0``."""
        what = self.family if self.variant == "main" else f"{self.family}, {self.variant},"
        return f"{what} d1={self.d1} seed {self.run.seed}"

    def job(self, priority: int = 0) -> Job:
        """The point as a job."""
        about = {
            "family": self.family,
            "variant": self.variant,
            "variant_kind": self.kind,
            "d1": self.d1,
            "d2": self.run.model_kwargs.get("d2"),
            "ratio": self.ratio,
            "budget": self.budget,
            "held_out": int(self.held_out),
        }
        return Job(self.name, self.run, "power_law.point", about=about, priority=priority)


@dataclass(frozen=True)
class Study:
    """The images and recipes of one profile, from which its points are made."""

    data: str
    data_options: dict[str, Any]
    lenet: Recipe
    vgg: Recipe
    init: str = "torch"

    def lenet_point(
        self,
        d1: int,
        seed: int,
        ratio: float = LENET_RATIO,
        d2: int | None = None,
        options: dict[str, Any] | None = None,
        changes: dict[str, Any] | None = None,
        family: str = "lenet",
        **about: Any,
    ) -> Point:
        """LeNet of one width, with other ``options`` of the network and ``changes`` of the recipe.

        ``family``: of :data:`LENETS`, without or with batch norm.
        """
        d2 = second_layer(d1, ratio) if d2 is None else d2
        network = {"init": self.init, "d1": d1, "d2": d2, **(options or {})}
        recipe = replace(self.lenet, **(changes or {}))
        run = Run(LENETS[family], self.data, recipe, seed, None, network, self.data_options)
        return Point(family, d1, run, ratio=ratio, **about)

    def vgg_point(self, d1: int, seed: int, **about: Any) -> Point:
        """VGG-16 of one width, its hidden FC layers 64 d1 wide."""
        run = Run("vgg16", self.data, self.vgg, seed, None, {"d1": d1, "init": self.init}, self.data_options)
        return Point("vgg16", d1, run, ratio=2.0, **about)

    def scan(self, d1: int, seed: int, ratios: Iterable[float] = SCANNED_RATIOS) -> list[Point]:
        """The scan of d2/d1 at the cost of (d1, 2.8 d1)."""
        channels, size, _ = catalog.describe(self.data).shape
        budget = lenet_macs(d1, second_layer(d1, CONSERVED_RATIO), channels, size)
        points = []
        for ratio in ratios:
            first, second = at_budget(budget, ratio, channels, size)
            about: dict[str, Any] = {
                "variant": f"ratio {ratio:g} at the cost of {d1}",
                "kind": "budget",
                "budget": float(budget),
            }
            points.append(self.lenet_point(first, seed, ratio, second, **about))
        return points

    def ratio_curve(self, ratio: float, widths: Iterable[int], seed: int) -> list[Point]:
        """Another fixed ratio d2/d1 (claim L5)."""
        return [self.lenet_point(d1, seed, ratio, variant=f"ratio {ratio:g}", kind="ratio") for d1 in widths]

    def variant_curve(self, variant: str, widths: Iterable[int], seed: int) -> list[Point]:
        """Another LeNet, of :data:`VARIANTS` (claim L5)."""
        options, changes = VARIANTS[variant]
        about: dict[str, Any] = {
            "options": options,
            "changes": changes,
            "variant": variant,
            "kind": "variant",
        }
        return [self.lenet_point(d1, seed, **about) for d1 in widths]


#: Families of LeNets and their networks; the one with batch norm, as VGG-16 has it, is the control of L4.
LENETS = {"lenet": "lenet5", "lenet bn": "lenet5bn"}

#: Variants of LeNet for claim L5: options of the network, changes of the recipe.
VARIANTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "average pools": ({"pool": "average"}, {}),
    "3x3 kernels": ({"kernel": 3}, {}),
    "scaled FC": ({"fc": "scaled"}, {}),
    "no augmentation": ({}, {"flip": False, "shift": 0}),
}

_COSINE = Recipe(
    epochs=16, batch=50, lr=0.05, momentum=0.9, weight_decay=5e-4, schedule="cosine", warmup_steps=400,
    flip=True, shift=4,
)  # fmt: skip
# Chosen after results were seen: at 0.05 some of the narrowest nets (d1 = 1, 2) stayed near chance, which
# says nothing about width. So the rate was lowered to 0.03, d1 = 1 left out, and all 4,000 digits taken.
_FEW = replace(_COSINE, epochs=3, lr=0.03, warmup_steps=40, flip=False, shift=2)
QUICK = Study("mnist5k", {}, _FEW, _FEW)
# The peak rate was looked at beforehand, at both ends of width (10,000 images, 8 epochs, batch 100): rates of
# 0.02, 0.05, 0.1 left errors of 0.554, 0.485, 0.477 at d1 = 6 and 0.461, 0.389, 0.378 at d1 = 48. A rate of
# 0.05 at batch 50 is as large a step an image as 0.1 at batch 100; it left 0.460 at d1 = 6. He's initial
# weights at that rate silence all units of the narrowest nets, so PyTorch's own are used.
CIFAR = Study("cifar10", {"n": 20_000}, _COSINE, _COSINE)
# On every image, and for twice the epochs: with 20,000 images LeNets of d1 = 6 and 48 still
# gained 0.044 and 0.024 when they met them twice as often.
CIFAR_ALL = Study("cifar10", {}, replace(_COSINE, epochs=32), _COSINE)
# Three tenths of LeNet's epochs, which are cheap, and a tenth of VGG's.
_FEWER = RECIPES["lenet"].replace(epochs=60, milestones=((30, 0.005), (45, 0.001)))
SHORT = Study("cifar10", {}, _FEWER, Recipe(epochs=30, decay_every=2), init="he")
PAPER = Study("cifar10", {}, RECIPES["lenet"], RECIPES["group"], init="he")


def points(profile: str) -> list[list[Point]]:
    """What a profile trains, in the order of importance: one list a priority.

    Raises ParameterError if there is no such profile.

    >>> [point.name for point in points("cifar")[0][:2]]
    ['lenet d1=6 seed 0', 'lenet d1=12 seed 0']
    """
    check_choice("profile", profile, _POINTS)
    return _POINTS[profile]()


def _quick() -> list[list[Point]]:
    return [
        [QUICK.lenet_point(d1, seed) for seed in range(3) for d1 in (2, 4, 8, 16)],
        [point for seed in range(2) for point in QUICK.scan(5, seed, (0.7, 2.8, 5.6))],
    ]


def _full(s: Study) -> list[list[Point]]:
    widths = (6, 12, 24, 48, 96, 192)
    tuning = [
        replace(point, run=point.run.replace(data_options={"held_out": 0.2}))
        for d1 in (6, 192)
        for decay in (1e-4, 5e-4, 1e-3, 5e-3)
        for point in [
            s.lenet_point(d1, 0, changes={"weight_decay": decay}, variant=f"decay {decay:g}", kind="tuning")
        ]
    ]
    # d1 = 3 to 24 take hours of one core, where the wider ones need a GPU; with 3 they are three octaves
    return [
        [s.lenet_point(d1, seed) for d1 in (3, *widths) for seed in range(5 if d1 < 192 else 3)],
        [s.vgg_point(d1, seed) for d1 in (4, 8, 16, 32) for seed in range(3)]
        + [short_points.whole_vgg(s, seed) for seed in range(3)],
        [s.lenet_point(384, 0, held_out=True)],
        tuning,
        [point for ratio in (1.5, 2.8, 5.0) for point in s.ratio_curve(ratio, widths, 0)],
        [point for variant in VARIANTS for point in s.variant_curve(variant, widths, 0)],
        [point for d1 in (8, 16, 32, 64) for seed in range(3) for point in s.scan(d1, seed)],
    ]


_POINTS = {
    "quick": _quick,
    "cifar": lambda: cifar_points.groups(CIFAR, CIFAR_ALL),
    "short": lambda: [listed for _, listed in short_points.groups(SHORT)],
    "paper": lambda: _full(PAPER),
}
_STUDIES = {"quick": QUICK, "cifar": CIFAR, "short": SHORT, "paper": PAPER}


def jobs(profile: str, data_root: str | Path | None = None) -> list[Job]:
    """Chapter 3's list for ``filterwise record 3-power-law``; what matters most comes first."""
    found = [point.job(priority) for priority, group in enumerate(points(profile)) for point in group]
    return short_points.bundled(SHORT, found) if profile == "short" else found


def page_jobs(
    profile: str,
    seed: int = 0,
    seeds: int = 1,
    widths: Sequence[int] = (),
    ratio: float = LENET_RATIO,
    pool: str = "max",
) -> list[Job]:
    """The LeNets that the page trains; without ``widths`` those of the profile's own main curve.

    Raises ParameterError: unknown profile or pool, a width below 1 or fewer than three of them, a ratio that
    gives d2 = 0.

    >>> [job.name for job in page_jobs("quick", seed=3, widths=[2, 4, 8])]
    ['lenet d1=2 seed 3', 'lenet d1=4 seed 3', 'lenet d1=8 seed 3']
    >>> page_jobs("quick", widths=[0, 2, 4])
    Traceback (most recent call last):
    filterwise.errors.ParameterError: d1=0 is not allowed; it must be an integer of at least 1
    """
    check_choice("profile", profile, _STUDIES)
    check_choice("pool", pool, ("max", "average"))
    check_at_least("seed", seed, 0)
    check_at_least("seeds", seeds, 1)
    chosen = list(widths) or list(dict.fromkeys(point.d1 for point in points(profile)[0]))
    if len(set(chosen)) < 3 or len(set(chosen)) < len(chosen):
        raise ParameterError(
            f"widths={list(widths)!r} must hold at least 3 different widths; a line needs them"
        )
    study, options = _STUDIES[profile], {} if pool == "max" else {"pool": pool}
    found = [
        study.lenet_point(d1, seed + one, ratio, options=options) for one in range(seeds) for d1 in chosen
    ]
    return [point.job() for point in found]
