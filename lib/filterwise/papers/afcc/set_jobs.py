"""SET and the cosine-similarity algorithms: the trainings that are compared.

Mocanu et al., Nat. Commun. 9, 2383 (2018); Pieterse, Mocanu, arXiv:1903.07138 (2019). All sparse networks of
a seed begin with the same connections and keep their number; all networks of a seed have the same images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from filterwise.errors import check_choice, check_count
from filterwise.papers.afcc.set_arms import ALGORITHMS, ARMS, BUNDLE, DENSE, NARROW
from filterwise.runs.jobs import Job
from filterwise.runs.specification import Run
from filterwise.training.recipe import Recipe

ZETA = 0.3

#: Constant rate, no weight decay, as in the authors' program; rates are one for all arms.
RECIPE = Recipe(
    epochs=20, batch=100, lr=0.05, momentum=0.9, nesterov=False, weight_decay=0.0, decay=1.0,
    flip=False, shift=0, precision="float32",
)  # fmt: skip


@dataclass(frozen=True)
class Study:
    """One data set, one network, one recipe for all arms.

    ``inputs`` and ``labels`` of the data; ``hidden`` nodes; ``epsilon`` of the sparse layers; ``own_data``:
    every seed draws a data set of its own; ``seconds`` that a job takes on one core.
    """

    data: str
    inputs: int
    labels: int
    hidden: tuple[int, ...]
    epsilon: float
    recipe: Recipe
    seconds: float
    own_data: bool = False

    def run(self, arm: str, seed: int, data_options: Mapping[str, Any] | None = None) -> Run:
        """The training of one of :data:`ARMS`."""
        check_choice("arm", arm, ARMS)
        options = {**({"seed": seed} if self.own_data else {}), **(data_options or {})}
        hidden = (self.narrow(),) * len(self.hidden) if arm == NARROW else self.hidden
        how = {"density": 1.0} if arm in (DENSE, NARROW) else {"epsilon": self.epsilon}
        step = ("rewire", {"algorithm": arm, "zeta": ZETA}) if arm in ALGORITHMS else None
        return Run(
            "mlp", self.data, self.recipe, seed, None, {"hidden": hidden}, options,
            edit=("sparse", {**how, "standardise": True}), step=step,
        )  # fmt: skip

    def narrow(self) -> int:
        """Nodes of each hidden layer of the dense network whose number of weights comes nearest."""
        widths = (self.inputs, *self.hidden)
        pairs = pairwise(widths)
        wanted = sum(min(self.epsilon * (one + two), one * two) for one, two in pairs)
        wanted += self.hidden[-1] * self.labels

        def weights(nodes: int) -> int:
            return nodes * (self.inputs + self.labels + (len(self.hidden) - 1) * nodes)

        return min(range(1, max(self.hidden) + 1), key=lambda nodes: abs(weights(nodes) - wanted))

    def job(
        self, arm: str, seed: int, priority: int = 0, data_options: Mapping[str, Any] | None = None
    ) -> Job:
        """The job of one of :data:`ARMS`."""
        about = {"network": "mlp", "algorithm": arm, "family": BUNDLE}
        name = f"{arm}, {self.data}, {self.recipe.epochs} epochs, seed {seed}"
        run = self.run(arm, seed, data_options)
        return Job(name, run, "afcc.connectivity", {}, about, self.seconds, priority=priority, bundle=BUNDLE)


_THREE = (200, 200, 200)
MADELON = Study("madelon", 500, 2, _THREE, 10.0, RECIPE, 3, own_data=True)
MADELON_LONG = Study("madelon", 500, 2, _THREE, 10.0, RECIPE.replace(epochs=60), 8, own_data=True)
DIGITS = Study("mnist5k", 784, 10, _THREE, 10.0, RECIPE, 6)
#: The network and the rate of the authors' run on Madelon.
_PAPERS = RECIPE.replace(epochs=100, lr=0.1)
MADELON_FULL = Study("madelon", 500, 2, (1000, 1000, 1000), 20.0, _PAPERS, 100, own_data=True)
#: Madelon's study of each profile.
_STUDIES = {
    "quick": MADELON,
    "cifar": MADELON_LONG,
    "short": MADELON_FULL,
    "paper": replace(MADELON_FULL, recipe=_PAPERS.replace(epochs=500), seconds=500),
}


def jobs_of_set(profile: str) -> list[Job]:
    """SET, the five other algorithms and the controls at a profile, the most wanted first.

    ``quick``: Madelon, 20 epochs, 8 seeds. ``cifar``: Madelon, 60 epochs, 8 seeds, and digits of MNIST, 20
    epochs, 6 seeds. ``short`` and ``paper``: the authors' network on Madelon, 100 epochs and 3 seeds, or 500
    and 5.

    >>> [job.name for job in jobs_of_set("quick")][:2]
    ['SET, madelon, 20 epochs, seed 0', 'CoDASET, madelon, 20 epochs, seed 0']
    """
    check_choice("profile", profile, _STUDIES)
    seeds = {"quick": 8, "cifar": 8, "short": 3, "paper": 5}[profile]
    listed = [_STUDIES[profile].job(arm, seed) for seed in range(seeds) for arm in ARMS]
    if profile == "cifar":
        listed += [DIGITS.job(arm, seed, priority=1) for seed in range(6) for arm in ARMS]
    return listed


def page_jobs_of_set(
    profile: str, arms: Sequence[str], seed: int = 0, noise_features: int = 480
) -> list[Job]:
    """Some arms on one Madelon, for a page to train.

    With the default number of features of noise they are jobs of :func:`jobs_of_set`.
    Raises ParameterError: an unknown arm (the near miss is named), a seed or a number that is not allowed.

    >>> [job.name for job in page_jobs_of_set("quick", ["SET"], seed=3)]
    ['SET, madelon, 20 epochs, seed 3']
    """
    check_choice("profile", profile, _STUDIES)
    check_count("noise_features", noise_features, 0)
    study, options = _STUDIES[profile], {}
    if noise_features != 480:
        study, options = replace(study, inputs=20 + noise_features), {"noise_features": noise_features}
    return [study.job(arm, seed, data_options=options) for arm in arms]
