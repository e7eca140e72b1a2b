"""The arms of chapter 6's comparisons: one network, one delay or M, and what each is compared with.

Meir et al. (2024). N is the number of inputs of the output layer. "single delay" is the counterpart with one
output unit a label and the same N; "wide" is that counterpart with as many hidden nodes as give it the
weights of the arm that it matches.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from filterwise.data import catalog
from filterwise.models.building import build
from filterwise.models.counting import parameter_count
from filterwise.papers.rodib.quantities import ASYNCHRONOUS, SINGLE, WIDE
from filterwise.runs.jobs import Job
from filterwise.runs.specification import Run
from filterwise.training.recipe import Recipe

PAIRS = 45  # unordered pairs of ten labels


@dataclass(frozen=True)
class Arm:
    """One training, and what the record says of it.

    ``arm`` is :data:`SINGLE`, :data:`WIDE`, :data:`ASYNCHRONOUS` or the kind of the delay set; ``delays`` M,
    also of the arm that a wide network ``matches``; ``purpose`` what it is for.
    """

    arm: str
    delays: int
    n: int
    run: Run
    task: str = "one"
    purpose: str = "main"
    matches: str = ""
    label_map: str = "spread"

    @property
    def name(self) -> str:
        """E.g. ``generic M=4, N=8, cifar10, seed 0``."""
        chosen = self.run.model_kwargs
        parts = [f"{self.arm} M={self.delays}" if chosen.get("delays", 1) > 1 else self.arm]
        parts[0] += f" as {self.matches} M={self.delays}" if self.matches else ""
        parts += [f"N={self.n}", self.run.data]
        parts += [f"{self.run.labels} labels"] if self.run.labels else []
        parts += [self.task] if self.task != "one" else []
        parts += [self.label_map] if self.label_map != "spread" else []
        parts += ["delayed convolution"] if chosen.get("delayed") == "convolution" else []
        return f"{', '.join(parts)}, seed {self.run.seed}"

    def job(
        self,
        exact: bool = False,
        jitter: bool = False,
        priority: int = 0,
        bundle: str = "",
        seconds: float | None = None,
    ) -> Job:
        """The arm as a job; ``exact`` also records the counts of the event simulator, ``jitter`` what is left
        when lines are moved to wrong instants."""
        chosen = self.run.model_kwargs
        about = {
            "network": "single-delay" if self.arm in (SINGLE, WIDE) else "RoDiB",
            "arm": self.arm,
            "M": self.delays,
            "N": self.n,
            "hidden": chosen.get("hidden", chosen["fc_inputs"]),
            "matches": self.matches,
            "label_map": self.label_map,
            "delayed": chosen.get("delayed", "both"),
            "front": chosen["front"],
            "task": self.task,
            "purpose": self.purpose,
            "lr": self.run.recipe.lr,
        }
        options = {"exact": exact, "jitter": jitter, "task": self.task}
        return Job(
            self.name, self.run, "rodib.arm", options, about, seconds, priority=priority, bundle=bundle
        )


@dataclass(frozen=True)
class Study:
    """The images, the recipe and the network of one profile.

    ``model`` are options of ``rodib`` that all arms share; ``data`` has one label a picture, ``averaged``
    two.
    """

    data: str
    data_options: Mapping[str, Any]
    recipe: Recipe
    model: Mapping[str, Any]
    averaged: str = ""
    averaged_options: Mapping[str, Any] = field(default_factory=dict)

    def arm(
        self,
        arm: str,
        n: int,
        seed: int,
        delays: int = 1,
        *,
        task: str = "one",
        labels: int | None = None,
        purpose: str = "main",
        matches: str = "",
        label_map: str = "spread",
        delayed: str = "both",
    ) -> Arm:
        """One arm; M = ``delays``, of a wide network those of the arm that it matches."""
        chosen: dict[str, Any] = {**self.model, "fc_inputs": n}
        if delayed != "both":
            chosen["delayed"] = delayed
        if arm == WIDE:
            chosen |= self._wide(n, delays, matches, task, labels, delayed)
        elif arm == SINGLE:
            chosen["delays"] = 1
        elif arm == ASYNCHRONOUS:
            chosen |= {"delays": delays, "lines": "one"}
        else:
            chosen |= {"delays": delays, "kind": arm}
        if label_map != "spread":
            chosen["label_map"] = label_map
        data, options = self.data, dict(self.data_options)
        if task != "one":
            data, options = self.averaged, {**self.averaged_options}
            if task == "pair":
                options["target"] = "pair"
        run = Run("rodib", data, self.recipe, seed, labels, chosen, options)
        return Arm(arm, delays, n, run, task, purpose, matches, label_map)

    def labels_of(self, task: str, labels: int | None) -> int:
        """The outputs of a task on this study's images."""
        return labels or (PAIRS if task == "pair" else catalog.describe(self.data).labels)

    def _wide(
        self, n: int, delays: int, kind: str, task: str, labels: int | None, delayed: str
    ) -> dict[str, Any]:
        """Options of the single-delay network that comes nearest to the arm's number of weights.

        Its weights grow in a straight line with its hidden nodes, so two networks tell the rest.
        """
        outputs = self.labels_of(task, labels)
        common = {**self.model, "fc_inputs": n, "delayed": delayed}
        name = "hidden" if self.model["front"] != "flat" and delayed == "both" else "fc_inputs"

        def weights(**own: Any) -> int:
            return _weights(self.data, outputs, tuple(sorted({**common, **own}.items())))

        one, two = (weights(delays=1, **{name: nodes}) for nodes in (1, 2))
        nodes = 1 + (weights(delays=delays, kind=kind) - one) / (two - one)
        return {"delays": 1, name: max(1, round(nodes))}

    def compared(
        self, n: int, seeds: Iterable[int], arms: Mapping[str, int], wide: Iterable[str] = (), **about: Any
    ) -> list[Arm]:
        """The single-delay network with N, the arms (kind -> M) with N, and the wide networks of some."""
        found = []
        for seed in seeds:
            found += [self.arm(SINGLE, n, seed, **about)]
            found += [self.arm(kind, n, seed, delays, **about) for kind, delays in arms.items()]
            found += [self.arm(WIDE, n, seed, arms[kind], matches=kind, **about) for kind in wide]
        return found

    def but(self, **changes: Any) -> Study:
        """The same with other values."""
        return replace(self, **changes)


def delays_needed(labels: int, kind: str) -> int:
    """The smallest M with ``labels`` output times at two delayed layers.

    >>> [delays_needed(100, kind) for kind in ("generic", "shared", "equal")]
    [10, 14, 51]
    """
    if kind == "equal":
        return math.ceil((labels + 1) / 2)
    if kind == "generic":
        return math.isqrt(labels - 1) + 1
    return next(count for count in range(1, labels + 1) if math.comb(count + 1, 2) >= labels)


@functools.cache
def _weights(data: str, outputs: int, options: tuple[tuple[str, Any], ...]) -> int:
    channels, size, _ = catalog.describe(data).shape
    return parameter_count(build("rodib", outputs, channels=channels, size=size, **dict(options)))
