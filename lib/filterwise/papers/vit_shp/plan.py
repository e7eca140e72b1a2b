"""Chapter 7: transformers with few and many heads, their prunings, committees, convolutions in front.

Koresh et al., Physica A 666 (2025), and Gross et al., Physica A 675, 130835 (2025): CCT-7/3x1, CIFAR-100.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filterwise.errors import check_at_least, check_choice
from filterwise.papers.vit_shp import short_places
from filterwise.papers.vit_shp.scales import Scale, scales_of
from filterwise.runs.jobs import Job
from filterwise.runs.specification import Run
from filterwise.training.recipe import Recipe

SEEDS = (0, 1, 2)
THRESHOLDS = (0.3, 0.5, 0.7)
#: Networks of the toy scale whose weights the records keep, so that the page can measure them live.
SHOWN_LIVE = 2
#: ANDC, and what else keeps as many connections, by theta; label sets drawn at random at one of them.
CRITERIA = ("andc", "random", "magnitude", "random-andc")
HEAD_CRITERIA = ("shp", "random", "magnitude")


def jobs(profile: str, data_root: str | Path | None = None) -> list[Job]:
    """What chapter 7 records at a profile, the most wanted first.

    ``quick`` has embedded digits; ``cifar`` small transformers on 10 and 100 labels; ``short`` and ``paper``
    CCT-7/3x1 and its relatives on 100 labels, and, last, CCT-7/7x2 on the official split of Flowers-102,
    which has 1,020 pictures to train on. ``data_root`` decides which set of 100 labels these take.

    >>> jobs("quick")[0].name
    'cct-mini H4, digit-pairs, places, seed 0'
    """
    found = []
    for place, scale in enumerate(scales_of(profile, data_root)):
        found += _of_heads(scale, place)
        found += _of_committees(scale, 6 if place else 1)
        found += _of_convolutions(scale)
    for scale in scales_of(profile, data_root)[-1 if profile == "cifar" else 0 :][:1]:
        found += _of_prunings(scale)
    for scale in scales_of(profile, data_root)[:1]:
        found += _of_removed_heads(scale)
    return found if profile in ("quick", "cifar") else short_places.bundled(found, profile == "short")


def dense_run(profile: str, seed: int = 0, net: str = "", data_root: str | Path | None = None) -> Run:
    """A transformer of a profile's main data set: by its name, or the one with few heads.

    Raises ParameterError: an unknown profile or network.

    >>> dense_run("cifar").model_kwargs["heads"]
    4
    """
    check_choice("profile", profile, ("quick", "cifar", "short", "paper"))
    scale = scales_of(profile, data_root)[0]
    chosen = net or next(iter(scale.nets))
    check_choice("net", chosen, [*scale.nets, *scale.convolved])
    return scale.run(chosen, seed)


def page_jobs(profile: str, seed: int = 0, seeds: int = 1, data_root: str | Path | None = None) -> list[Job]:
    """What the page measures: all places of the profile's transformers, one list for every seed.

    Raises ParameterError: a negative seed, or fewer than one seed.
    """
    check_at_least("seed", seed, 0)
    check_at_least("seeds", seeds, 1)
    scale = scales_of(profile, data_root)[0]
    return [
        _places(scale, name, one)
        for one in range(seed, seed + seeds)
        for name in (*scale.nets, *scale.convolved)
    ]


def _job(scale: Scale, name: str, what: str, seed: int, runs: Any, measure: str, options: Mapping[str, Any],
         about: Mapping[str, Any], **details: Any) -> Job:  # fmt: skip
    title = f"{name}, {scale.data}, {what}, seed {seed}"
    return Job(title, runs, measure, options, {"network": name, **about}, **details)


def _places(scale: Scale, name: str, seed: int, priority: int = 0, bundle: str = "heads") -> Job:
    options = dict(scale.measured)
    if scale.data == "digit-pairs" and name in list(scale.nets)[:SHOWN_LIVE]:
        options["weights"] = True
    kind = "cnn" if name in scale.cnns else "convolved" if name in scale.convolved else "transformer"
    return _job(
        scale, name, "places", seed, scale.run(name, seed), "vit.places", options, {"kind": kind},
        cost_seconds=scale.seconds, priority=priority, bundle=bundle,
    )  # fmt: skip


def _of_heads(scale: Scale, place: int) -> list[Job]:
    """Every place of every transformer; few heads first, then many. Pictures that have to be fetched last."""
    if scale.data == "flowers102":
        return [_places(scale, name, seed, 9, "flowers") for name in scale.nets for seed in SEEDS]
    return [
        _places(scale, name, seed, priority=(2 if number == 0 else 6) if place else 0)
        for number, name in enumerate(scale.nets)
        for seed in SEEDS
    ]


def _of_committees(scale: Scale, priority: int) -> list[Job]:
    """Committees of different networks, of equal ones with other seeds, both of transformers and of CNNs."""
    found = []
    kinds = (("transformers", list(scale.nets)[:3], priority), ("cnns", list(scale.cnns), 5))
    for family, names, order in kinds:
        if len(names) < 3:
            continue
        if family == "cnns":
            found += [_places(scale, name, seed, 5, "committee") for name in names for seed in SEEDS]
        groups = [(f"different {family}", seed, [scale.run(name, seed) for name in names]) for seed in SEEDS]
        groups += [(f"equal {family}", number, [scale.run(name, seed) for seed in SEEDS])
                   for number, name in enumerate(names)]  # fmt: skip
        for kind, seed, runs in groups:
            about = {"kind": kind, "family": family, "equal": kind.startswith("equal")}
            what = f"committee of {kind}" + (f" {names[seed]}" if about["equal"] else "")
            found.append(_job(
                scale, "committee", what, seed, tuple(runs), "vit.committee", {}, about,
                cost_seconds=10, priority=order, bundle="committee",
            ))  # fmt: skip
    return found


def _of_convolutions(scale: Scale) -> list[Job]:
    """Convolutions in place of the first encoders: what they read, reach, and how long they take."""
    found = [_places(scale, name, seed, 4, "convolutions") for name in scale.convolved for seed in SEEDS]
    names = (*scale.nets, *scale.convolved)
    for seed in SEEDS if scale.convolved else ():
        runs = tuple(scale.run(name, seed) for name in names)
        spoken = tuple(name.split(" ", 1)[1] for name in names)
        found.append(_job(
            scale, "latencies", "milliseconds", seed, runs, "vit.latency", {"names": spoken},
            {"kind": "latency"}, cost_seconds=60, priority=4, bundle="convolutions",
        ))  # fmt: skip
    return found


def _again(scale: Scale) -> Recipe:
    """A short retraining, at a tenth of the rate."""
    epochs = max(2, scale.recipe.epochs // 10)
    return scale.recipe.replace(epochs=epochs, lr=scale.recipe.lr / 10, warmup_steps=0)


def _of_prunings(scale: Scale) -> list[Job]:
    """The transformer with few heads, retrained under ANDC's masks and as many connections of others."""
    found, name = [], next(iter(scale.nets))
    arms: list[tuple[str, float, dict[str, Any]]] = [("dense", 0.0, {})]
    arms += [(one, theta, {}) for theta in THRESHOLDS for one in CRITERIA[:3]] + [(CRITERIA[3], 0.5, {})]
    # the projections of the attention as well
    arms += [(one, 0.5, {"attention": True}) for one in CRITERIA[:3]]
    for seed in SEEDS:
        start = scale.run(name, seed)
        for criterion, theta, more in arms:
            masked = {"criterion": criterion, "threshold": theta, **more}
            edit = None if criterion == "dense" else ("andc", masked)
            run = start.then(recipe=_again(scale), edit=edit)
            kind = "andc with attention" if more else "andc"
            what = f"{criterion} at {theta:g}{', with attention' if more else ''}" if edit else "not pruned"
            about = {"criterion": criterion, "theta": theta, "kind": kind}
            found.append(_job(
                scale, name, what, seed, run, "vit.pruned", {"repeats": 0}, about,
                cost_seconds=scale.seconds / 5, priority=3, bundle="andc",
            ))  # fmt: skip
    return found


def _of_removed_heads(scale: Scale) -> list[Job]:
    """The transformer with many small heads without half of them, retrained as long as the whole one."""
    found, name = [], list(scale.nets)[1]
    for seed in SEEDS:
        start = scale.run(name, seed)
        options = dict(scale.nets[name][1])
        count = options["heads"] * options.get("depth", 7) // 2
        for criterion in ("dense", *HEAD_CRITERIA):
            edit = (
                None if criterion == "dense" else ("heads-removed", {"criterion": criterion, "count": count})
            )
            run = start.then(recipe=_again(scale), edit=edit)
            what = f"half of the heads by {criterion}" if edit else "all heads"
            found.append(_job(
                scale, name, what, seed, run, "vit.pruned", {},
                {"criterion": criterion, "theta": 0.0, "kind": "heads"},
                cost_seconds=scale.seconds / 5, priority=7, bundle="heads removed",
            ))  # fmt: skip
    return found
