"""The arms of chapter 1's comparisons: one network, several places and orders of its pools, equal weights."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from filterwise.data import catalog
from filterwise.errors import ParameterError
from filterwise.models import building, pools
from filterwise.models.counting import macs
from filterwise.runs.jobs import Job
from filterwise.runs.specification import Run
from filterwise.training.recipe import Recipe

#: The plan and order of the A-VGGs here, fixed before any of them was trained.
LATE_PLAN, LATE_ORDER = "L2", "AP2-MP4"
#: The six orders of one or two pools that divide a side by 8.
HEADS = tuple(pools.orders(8))
#: Kinds of arms at rates of their own, each a bundle that is recorded by itself.
BUNDLES = ("tuning", "chosen")
_VGG_STAGES = range(5)


@dataclass(frozen=True)
class Arm:
    """One training, and what the record says of it.

    ``base`` is the network without its pool plan, and what arms of one comparison have in common. It is None
    where a run belongs to none: the look at learning rates on held-out training images, ``kind`` ``tuning``.
    """

    network: str
    base: str | None
    plan: str
    order: str
    run: Run
    kind: str = "main"

    @property
    def name(self) -> str:
        """E.g. ``vgg6 V, 12 epochs, seed 0``."""
        parts = [f"{self.base or self.network} {self.plan} {self.order}".strip()]
        parts += [f"rate {self.run.recipe.lr:g}"] if self.kind in BUNDLES else []
        return f"{', '.join(parts)}, {self.run.recipe.epochs} epochs, seed {self.run.seed}"

    def job(self, exact: bool = False, priority: int = 0) -> Job:
        """The arm as a job; ``exact`` also records the exact routes of pools, which need no network."""
        about = {
            "network": self.network,
            "base": self.base,
            "plan": self.plan,
            "order": self.order,
            "arm_kind": self.kind,
            "fc_activation": self.run.model_kwargs.get("fc_activation", "linear"),
            "width": self.run.model_kwargs.get("width", 1.0),
            "lr": self.run.recipe.lr,
        }
        bundle = self.kind if self.kind in BUNDLES else ""
        return Job(
            self.name, self.run, "pooling.arm", {"exact": exact}, about, priority=priority, bundle=bundle
        )

    def untrained_job(self, priority: int = 0) -> Job:
        """The control of the arm's routes: the same measurement with the initial weights.

        The run's training does not show in it, so it is cut to one epoch.
        """
        job = replace(self.job(priority=priority), runs=self.run.replace(**{"recipe.epochs": 1}))
        about = {**dict(job.about), "arm_kind": "untrained"}
        return replace(
            job, name=f"{self.name}, untrained", measure="pooling.untrained", options=(), about=about
        )


@dataclass(frozen=True)
class Study:
    """The images, the recipe and the networks of one profile.

    ``networks`` maps a base name (``vgg8``) to a model's name and options.
    """

    data: str
    data_options: dict[str, Any]
    recipe: Recipe
    networks: dict[str, tuple[str, dict[str, Any]]]

    def arm(
        self,
        base: str,
        plan: str,
        order: str,
        seed: int,
        options: dict[str, Any] | None = None,
        kind: str = "main",
        **changes: Any,
    ) -> Arm:
        """One arm, with other ``options`` of the network and ``changes`` of the recipe.

        Plan "V" takes no order; a plan such as "after 1 3" lists the stages that keep a pool.
        """
        model, common = self.networks[base]
        options = options or {}
        chosen = {**common, **_pools(plan, order), **options}
        run = Run(model, self.data, replace(self.recipe, **changes), seed, None, chosen, self.data_options)
        family = base + (" ReLU" if options.get("fc_activation") == "relu" else "")
        family += " no batch norm" if options.get("batch_norm") is False else ""
        return Arm(_network(base, plan, order), family, plan, order, run, kind)

    def epochs_at_equal_compute(self, base: str, plan: str, order: str) -> int:
        """Epochs that give plan V the operations of another plan's training."""
        return self.epochs_of_compute((base, "V", ""), (base, plan, order))

    def epochs_of_compute(self, arm: tuple[str, str, str], other: tuple[str, str, str]) -> int:
        """Epochs that give an arm (base, plan, order) the operations of another one's training."""
        return round(self.recipe.epochs * self.macs(*other) / self.macs(*arm))

    def macs(self, base: str, plan: str, order: str) -> int:
        """Multiply-accumulates of one image's forward pass."""
        model, common = self.networks[base]
        info = catalog.describe(self.data)
        options = {**common, **_pools(plan, order)}
        return _macs(model, info.labels, info.shape, tuple(sorted(options.items())))

    def default_order(self, base: str, plan: str) -> str:
        """The head's series without an order: AP2, then MP of the rest."""
        stages = len(self.networks[base][1].get("stages", _VGG_STAGES))
        chosen = _pools(plan, "")
        kept = pools.inner_stages(stages, None if "inner" in chosen else plan, chosen.get("inner"))
        return pools.order_name(pools.head_steps(2 ** (stages - len(kept)), None))

    def comparison(self, base: str, seeds: Iterable[int], plan: str, order: str) -> list[Arm]:
        """V and a late arm at equal epochs, and V again at the late arm's compute."""
        long = self.epochs_at_equal_compute(base, plan, order)
        found = []
        for seed in seeds:
            found += [self.arm(base, "V", "", seed), self.arm(base, plan, order, seed)]
            if long != self.recipe.epochs:
                found.append(self.arm(base, "V", "", seed, kind="equal compute", epochs=long))
        return found

    def at_rate(
        self, base: str, plan: str, order: str, rate: float, seeds: Iterable[int], epochs: int | None = None
    ) -> list[Arm]:
        """One arm at the rate that was chosen for it, for the recipe's epochs or others.

        Its kind is ``chosen`` where the rate is not the recipe's: other comparisons leave it out.
        """
        own, epochs = self.recipe, epochs or self.recipe.epochs
        kind = "main" if epochs == own.epochs else "equal compute"
        kind = kind if rate == own.lr else "chosen"
        return [self.arm(base, plan, order, seed, kind=kind, lr=rate, epochs=epochs) for seed in seeds]

    def heads(self, base: str, seeds: Iterable[int], plan: str, orders: Iterable[str]) -> list[Arm]:
        """One plan with several head orders."""
        return [self.arm(base, plan, order, seed) for order in orders for seed in seeds]

    def rates(
        self,
        base: str,
        rates: Iterable[float],
        late: Iterable[tuple[str, str]] = ((LATE_PLAN, LATE_ORDER),),
        seeds: Iterable[int] = (0,),
    ) -> list[Arm]:
        """The same grid of learning rates for V and each late plan and order, judged on a fifth of the
        training images that is kept back."""
        arms, tried = (("V", ""), *late), tuple(rates)
        return [self.tried(base, *pools, rate, seed) for seed in seeds for pools in arms for rate in tried]

    def tried(self, base: str, plan: str, order: str, rate: float, seed: int) -> Arm:
        """One training that is judged on images kept back; it belongs to no comparison."""
        arm = self.arm(base, plan, order, seed, kind="tuning", lr=rate)
        run = arm.run.replace(**{"data_options.held_out": 0.2})
        return replace(arm, network=f"{'' if plan == 'V' else 'a'}{base} tuning", base=None, run=run)


def _pools(plan: str, order: str) -> dict[str, Any]:
    if plan == "V":
        return {"plan": "V"}
    if plan.startswith("after "):
        stages = plan.removeprefix("after ").split()
        if not stages or not all(stage.isdecimal() for stage in stages):
            raise ParameterError(
                f"plan={plan!r} is not allowed; list the stages that keep a pool, as in 'after 1 3'"
            )
        return {"inner": tuple(int(stage) for stage in stages), "order": order}
    return {"plan": plan, "order": order}


def _network(base: str, plan: str, order: str) -> str:
    """The name that figures and claims know an arm by: A-VGG has the plan and order fixed beforehand."""
    if plan == "V":
        return base
    return f"a{base}" if (plan, order) == (LATE_PLAN, LATE_ORDER) else f"a{base} {plan} {order}"


@functools.lru_cache(maxsize=64)
def _macs(model: str, labels: int, shape: tuple[int, int, int], options: tuple[tuple[str, Any], ...]) -> int:
    net = building.build(model, labels=labels, channels=shape[0], size=shape[1], **dict(options))
    return macs(net, shape)
