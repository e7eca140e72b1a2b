"""Chapter 2: LeNet-5 and Tree-3, with every image seen once (online) or for 200 epochs (offline).

Meir et al., Sci. Rep. 13, 962 (2023). Tree-3 has K filters a colour and M branches. Each network has its own
learning rate, chosen from one grid on a fifth of the training images that was kept back; beside each Tree-3
stands a LeNet of about its operations. All networks of a regime share recipe, data and number of seeds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filterwise.errors import ParameterError, check_at_least, check_choice, check_count
from filterwise.papers.tree import short_trees
from filterwise.runs.jobs import Job
from filterwise.runs.specification import Run
from filterwise.training.recipe import Recipe

#: Name -> model and options; see :func:`network` for the names of trees.
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "lenet5": ("lenet5", {}),
    "lenet5 d1=8": ("lenet5", {"d1": 8, "d2": 22}),
    "lenet5 d1=11": ("lenet5", {"d1": 11, "d2": 29}),
    "lenet5 fc=1200": ("lenet5", {"fc": (1200, 200)}),
}
TREES = ("tree3 6/16", "tree3 15/16", "tree3 15/80")
MAIN = ("lenet5", *TREES)
SIGMOID = ("tree3 6/16 sigmoid", "tree3 15/16 sigmoid")
CONTROLS = ("lenet5 d1=8", "lenet5 d1=11")
#: The LeNet with as many weights as the largest tree, nearly all of them in its fully connected layers.
EQUAL_SIZE = "lenet5 fc=1200"

#: Learning rates that every network is tried at, with momentum 0.9.
QUICK_RATES = (0.002, 0.005, 0.01, 0.02)
ONLINE_RATES = (0.001, 0.002, 0.005, 0.01, 0.02)
#: Parts of the training images that are seen once as well.
EXAMPLES = (2_500, 5_000, 10_000, 20_000)
OFFLINE_RATES, SMALL_RATES = (0.01, 0.02, 0.05, 0.1, 0.2), (0.02, 0.05, 0.1)
_HELD_OUT = {"held_out": 0.2}

_ONLINE = Recipe(epochs=1, batch=10, momentum=0.9, weight_decay=0.0, decay_every=1, flip=False, shift=0)
#: Times 0.6 every 20 of 200 epochs.
_OFFLINE = Recipe(epochs=200, batch=100, momentum=0.9, weight_decay=1e-4)
#: LeNet-5's own schedule: 0.5 and 0.1 of its rate from epochs 100 and 150 on.
_PIECES = ((100, 0.5), (150, 0.1))

#: Rates that were best on held-out images: online after their one pass, offline after 20 epochs (``short``).
#: Not tried at several: ten trees, which have the rate of one; and yet, offline, sigmoids.
CHOSEN_ONLINE = {
    **dict.fromkeys(("lenet5", *CONTROLS), 0.002),
    "lenet5 fc=1200": 0.005,
    "tree3 6/16": 0.01,
    "tree3 15/16": 0.005,
    "tree3 15/80": 0.005,
    "ten tree3 15/80": 0.005,
}
CHOSEN_OFFLINE = {
    **dict.fromkeys(("lenet5", "lenet5 d1=8"), 0.02),
    **dict.fromkeys((*TREES, "ten tree3 15/80"), 0.1),
    **dict.fromkeys((*SIGMOID, "lenet5 d1=11"), 0.05),
}
#: The same on few images (``cifar``).
CHOSEN_SMALL = {**CHOSEN_OFFLINE, **dict.fromkeys((*CONTROLS, "tree3 15/80"), 0.05)}


@dataclass(frozen=True)
class Arm:
    """One training, and what the record says of it.

    ``regime`` is "online" or "offline"; ``kind`` is "main", "control" (a LeNet at a Tree-3's operations,
    another activation), "tuning" (on held-out images, to choose a rate) or "examples" (on fewer images).
    """

    network: str
    regime: str
    run: Run
    kind: str = "main"

    @property
    def name(self) -> str:
        """E.g. ``tree3 6/16 online, rate 0.005, seed 0``."""
        what = {"tuning": ", held out", "examples": f", {self.run.data_kwargs.get('n')} images"}
        kind = what.get(self.kind, "")
        return f"{self.network} {self.regime}, rate {self.run.recipe.lr:g}{kind}, seed {self.run.seed}"

    def job(self, priority: int = 0, bundle: str = "") -> Job:
        """The arm as a job."""
        options = self.run.model_kwargs
        about = {
            "network": self.network,
            "regime": self.regime,
            "arm_kind": self.kind,
            "rate": self.run.recipe.lr,
            "K": options.get("K"),
            "M": options.get("M"),
            "activation": options.get("activation", "relu"),
        }
        measured = {"exact": self.kind in ("main", "control")}
        return Job(self.name, self.run, "tree.network", measured, about, priority=priority, bundle=bundle)


@dataclass(frozen=True)
class Study:
    """The images of a profile, and how long its offline trainings are."""

    data: str
    data_options: dict[str, Any]
    epochs: int = 200

    def online(self, network: str, rate: float, seed: int, kind: str = "main") -> Arm:
        """Every image once, in batches of 10, not augmented, at a constant rate."""
        return self._arm(network, "online", replace(_ONLINE, lr=rate), seed, kind)

    def offline(self, network: str, rate: float, seed: int, kind: str = "main", **changes: Any) -> Arm:
        """All epochs, mirrored and shifted images; LeNet with its own schedule of rates."""
        share = self.epochs / 200
        model, _ = network_of(network)
        if model == "lenet5":
            pieces = tuple((round(epoch * share), factor * rate) for epoch, factor in _PIECES)
            how: dict[str, Any] = {"schedule": "pieces", "milestones": pieces}
        else:
            how = {"decay_every": max(1, round(20 * share))}
        recipe = replace(_OFFLINE, epochs=self.epochs, lr=rate, **{**how, **changes})
        return self._arm(network, "offline", recipe, seed, kind)

    def _arm(self, network: str, regime: str, recipe: Recipe, seed: int, kind: str) -> Arm:
        model, options = network_of(network)
        data = {**self.data_options, **(_HELD_OUT if kind == "tuning" else {})}
        data = {name: value for name, value in data.items() if kind != "tuning" or name != "n_test"}
        step = "tree" if model == "tree3" else None
        run = Run(model, self.data, recipe, seed, None, {"init": "he", **options}, data, step=step)
        return Arm(network, regime, run, kind)

    def grid(self, regime: str, networks: Iterable[str], rates: Sequence[float], seeds: int) -> list[Arm]:
        """Every network at every rate, on held-out images."""
        make = self.online if regime == "online" else self.offline
        return [
            make(network, rate, seed, "tuning")
            for network in networks
            for rate in rates
            for seed in range(seeds)
        ]


def network_of(name: str) -> tuple[str, dict[str, Any]]:
    """Model and options of a name: a LeNet of :data:`NETWORKS`, or a Tree-3 of K filters and M branches.

    "ten tree3 K/M" has a whole tree for each label; "sigmoid" has that activation, and begins with N(0, 1).

    Raises ParameterError if it is neither.

    >>> network_of("tree3 6/16")
    ('tree3', {'K': 6, 'M': 16})
    """
    if name in NETWORKS:
        return NETWORKS[name]
    found = re.fullmatch(r"(ten )?tree3 (-?\d+)/(-?\d+)( sigmoid)?", name)
    if not found:
        check_choice("network", name, [*NETWORKS, *TREES])
        raise AssertionError
    options: dict[str, Any] = {"K": int(found[2]), "M": int(found[3])}
    options |= {"per_label": True} if found[1] else {}
    options |= {"activation": "sigmoid", "start": "normal"} if found[4] else {}
    return "tree3", options


QUICK = Study("mnist5k", {}, epochs=5)
CIFAR = Study("cifar10", {"n": 10_000}, epochs=20)
SHORT = Study("cifar10", {}, epochs=20)
PAPER = Study("cifar10", {})
_QUICK_NETWORKS = ("lenet5", "tree3 6/16")


def arms(profile: str) -> list[list[Arm]]:
    """What a profile trains, in the order of importance: one list a priority.

    Raises ParameterError if there is no such profile.

    >>> [arm.name for arm in arms("quick")[0][:2]]
    ['lenet5 online, rate 0.002, held out, seed 0', 'lenet5 online, rate 0.002, held out, seed 1']
    """
    check_choice("profile", profile, _ARMS)
    return _ARMS[profile]()


def _seen_once(study: Study, networks: Iterable[str], seeds: int, kind: str = "main") -> list[Arm]:
    return [study.online(name, CHOSEN_ONLINE[name], seed, kind) for name in networks for seed in range(seeds)]


def _many_epochs(
    study: Study, networks: Iterable[str], seeds: Iterable[int], kind: str = "main"
) -> list[Arm]:
    chosen = CHOSEN_SMALL if study is CIFAR else CHOSEN_OFFLINE
    return [study.offline(name, chosen[name], seed, kind) for seed in seeds for name in networks]


def _quick() -> list[list[Arm]]:
    return [
        QUICK.grid("online", _QUICK_NETWORKS, QUICK_RATES, 2),
        [QUICK.online(n, rate, seed) for n in _QUICK_NETWORKS for rate in QUICK_RATES for seed in range(5)],
    ]


def _cifar() -> list[list[Arm]]:
    # Online the rates are those of all images. Three seeds of one pass left T2 and T6 undecided, and two more
    # take a minute.
    return [
        _seen_once(CIFAR, MAIN, 5),
        CIFAR.grid("offline", (*MAIN, *CONTROLS), SMALL_RATES, 1),
        _many_epochs(CIFAR, MAIN, range(3)),
        _many_epochs(CIFAR, CONTROLS, range(3), "control"),
        # eleven seeds would decide T1, by the spread of eight
        _many_epochs(CIFAR, ("lenet5", "tree3 15/80"), range(3, 11)),
        _many_epochs(CIFAR, CONTROLS[1:], range(3, 11), "control"),
    ]


def _short() -> list[list[Arm]]:
    both = ((MAIN, "main"), (CONTROLS, "control"))
    more = ((("lenet5", *TREES[1:]), "main"), (CONTROLS[1:], "control"))  # five seeds would decide T6
    return [
        SHORT.grid("offline", (*MAIN, *CONTROLS), OFFLINE_RATES, 1),
        *(_many_epochs(SHORT, names, (seed,), kind) for seed in range(3) for names, kind in both),
        *(_many_epochs(SHORT, names, (seed,), kind) for seed in (3, 4) for names, kind in more),
        SHORT.grid("offline", SIGMOID, OFFLINE_RATES, 1),
    ]


def _paper() -> list[list[Arm]]:
    ten = "ten tree3 15/80"
    return [
        PAPER.grid("online", MAIN, ONLINE_RATES, 2),
        _seen_once(PAPER, MAIN, 5),
        PAPER.grid("online", CONTROLS, ONLINE_RATES, 2),
        _seen_once(PAPER, CONTROLS, 5, "control"),
        PAPER.grid("online", (EQUAL_SIZE,), ONLINE_RATES, 2),
        _seen_once(PAPER, (EQUAL_SIZE,), 5, "control"),
        [
            replace(PAPER, data_options={"n": count}).online(name, CHOSEN_ONLINE[name], seed, "examples")
            for count in EXAMPLES
            for name in ("lenet5", "tree3 6/16", "tree3 15/80")
            for seed in range(3)
        ],
        _many_epochs(PAPER, MAIN, (0,)),
        _seen_once(PAPER, (ten,), 3),
        _many_epochs(PAPER, MAIN, (1, 2)),
        _many_epochs(PAPER, CONTROLS, (0,), "control"),
        _many_epochs(PAPER, SIGMOID, (0,), "control"),
        _many_epochs(PAPER, CONTROLS, (1, 2), "control"),
        _many_epochs(PAPER, SIGMOID, (1, 2), "control"),
        _many_epochs(PAPER, (ten,), range(3)),
    ]


_ARMS = {"quick": _quick, "cifar": _cifar, "short": _short, "paper": _paper}
_STUDIES = {"quick": QUICK, "cifar": CIFAR, "short": SHORT, "paper": PAPER}


def jobs(profile: str, data_root: str | Path | None = None) -> list[Job]:
    """Chapter 2's list for ``filterwise record 2-tree``; what matters most comes first."""
    listed = [arm.job(priority, arm.regime) for priority, group in enumerate(arms(profile)) for arm in group]
    return short_trees.bundled(listed) if profile == "short" else listed


def page_jobs(
    profile: str, seed: int = 0, seeds: int = 1, K: int = 6, M: int = 16, rates: Sequence[float] = ()
) -> list[Job]:
    """What the page trains, online: LeNet-5 and a Tree-3, at every rate, once on held-out images to choose.

    Without ``rates`` they are the profile's.

    Raises ParameterError: unknown profile, K or M below 1, a rate that is not above 0 or is given twice.

    >>> [job.name for job in page_jobs("quick", rates=[0.01])]
    ['lenet5 online, rate 0.01, held out, seed 0', 'tree3 6/16 online, rate 0.01, held out, seed 0',
     'lenet5 online, rate 0.01, seed 0', 'tree3 6/16 online, rate 0.01, seed 0']
    >>> page_jobs("quick", K=0)
    Traceback (most recent call last):
    filterwise.errors.ParameterError: K=0 is not allowed; it must be an integer of at least 1
    """
    check_choice("profile", profile, _STUDIES)
    check_at_least("seed", seed, 0)
    check_at_least("seeds", seeds, 1)
    check_count("K", K)
    check_count("M", M)
    chosen = list(rates) or list(QUICK_RATES if profile == "quick" else ONLINE_RATES)
    if len(set(chosen)) < len(chosen) or min(chosen) <= 0:
        raise ParameterError(f"rates={list(rates)!r} must be different numbers above 0")
    study, networks = _STUDIES[profile], ("lenet5", f"tree3 {K}/{M}")
    found = [study.online(name, rate, seed, "tuning") for name in networks for rate in chosen]
    found += [
        study.online(name, rate, one, "main")
        for name in networks
        for rate in chosen
        for one in range(seed, seed + seeds)
    ]
    return [arm.job() for arm in found]
