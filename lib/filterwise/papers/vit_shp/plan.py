"""Chapter 7: transformers with few and many heads, their prunings, committees, convolutions in front.

Koresh et al., Physica A 666 (2025), and Gross et al., Physica A 675, 130835 (2025): CCT-7/3x1, CIFAR-100.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filterwise.errors import check_at_least, check_choice
from filterwise.papers.sfp.plan import hundred_labels
from filterwise.runs.jobs import Job
from filterwise.runs.specification import Run
from filterwise.training.recipe import RECIPES, Recipe

SEEDS = (0, 1, 2)
#: A tenth of the training images decides masks and the best member; the test images decide nothing.
HELD_OUT = {"held_out": 0.1}
THRESHOLDS = (0.3, 0.5, 0.7)
#: Networks of the toy scale whose weights the records keep, so that the page can measure them live.
SHOWN_LIVE = 2
#: ANDC, and what else keeps as many connections, by theta; label sets drawn at random at one of them.
CRITERIA = ("andc", "random", "magnitude", "random-andc")
HEAD_CRITERIA = ("shp", "random", "magnitude")

_ADAMW: dict[str, Any] = {"optimiser": "adamw", "weight_decay": 0.06, "schedule": "cosine"}
QUICK = Recipe(epochs=16, batch=50, lr=3e-3, warmup_steps=100, flip=False, shift=2, **_ADAMW)
CIFAR = Recipe(epochs=12, batch=100, lr=3e-3, warmup_steps=450, label_smoothing=0.1, **_ADAMW)
PAPER = RECIPES["cct"]
#: A tenth of the epochs, without the augmentations that need torchvision: mirrored and shifted images.
SHORT = Recipe(epochs=30, batch=128, lr=6e-4, lr_min=1e-5, warmup_steps=391, label_smoothing=0.1, **_ADAMW)
#: Retrained under masks, or with fewer heads, at a tenth of the rate.
_AGAIN: dict[str, Any] = {"warmup_steps": 0}

#: Sixteen tokens from one convolution, so that depth has something to do, and four encoders.
_TINY = {"depth": 4, "kernel": 5, "stride": 4, "linear_std": 0.1, "attention_dropout": 0.0, "depth_rate": 0.0}
_MINI, _SMALL = {**_TINY, "d": 48}, {**_TINY, "d": 64}


@dataclass(frozen=True)
class Scale:
    """What a profile trains.

    ``nets``: name -> model and options, the first the one with few heads; ``convolved``: those with
    convolutions in place of the first encoders; ``cnns``: the convolutional networks of the control;
    ``seconds``: of one training; ``measured``: options of "vit.places".
    """

    data: str
    options: Mapping[str, Any]
    recipe: Recipe
    nets: Mapping[str, tuple[str, Mapping[str, Any]]]
    convolved: Mapping[str, tuple[str, Mapping[str, Any]]]
    cnns: Mapping[str, tuple[str, Mapping[str, Any], Recipe]]
    seconds: float
    measured: Mapping[str, Any]

    def run(self, name: str, seed: int) -> Run:
        """A network of this scale, dense."""
        if name in self.cnns:
            model, options, recipe = self.cnns[name]
        else:
            (model, options), recipe = {**self.nets, **self.convolved}[name], self.recipe
        return Run(model, self.data, recipe, seed, None, options, self.options)


def _transformers(
    base: str, common: Mapping[str, Any], heads: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    return {f"{base} {name}": ("cct", {**common, **options}) for name, options in heads.items()}


def _scale_of(profile: str, data_root: str | Path | None = None) -> list[Scale]:
    """The data sets of a profile, the main one first."""
    if profile == "quick":
        heads = {"H4": {"heads": 4}, "H16": {"heads": 16}, "W24": {"heads": 24, "inner": 96}}
        conv = {"H4 conv": {"heads": 4, "replaced": 2}}
        cnn = Recipe(
            epochs=6, batch=50, lr=0.02, momentum=0.9, schedule="cosine", warmup_steps=20, flip=False, shift=2
        )
        return [Scale(
            "digit-pairs", {"n": 12_000, **HELD_OUT}, QUICK, _transformers("cct-mini", _MINI, heads),
            _transformers("cct-mini", _MINI, conv), _cnns(cnn, 1.0), 90,
            {"probe_images": 4000, "test_images": 3000},
        )]  # fmt: skip
    if profile == "cifar":
        heads = {"H4": {"heads": 4}, "H16": {"heads": 16}, "W16": {"heads": 16, "inner": 128}}
        conv = {
            "H4 conv": {"heads": 4, "replaced": 2},
            "H4 conv 1": {"heads": 4, "replaced": 2, "convolutions": 1},
            "W16 conv": {"heads": 16, "inner": 128, "replaced": 2},
        }
        cnn = Recipe(epochs=4, decay_every=1, decay=0.4)
        measured = {"probe_images": 20_000, "probe_epochs": 4}
        wide = {"H4": {"heads": 4}, "H16": {"heads": 16}, "W32": {"heads": 32, "inner": 128}}
        return [
            Scale(
                "cifar10", HELD_OUT, CIFAR, _transformers("cct-small", _SMALL, heads),
                _transformers("cct-small", _SMALL, conv), _cnns(cnn, 0.75), 200, measured,
            ),
            Scale(
                "tiny-imagenet-100", HELD_OUT, CIFAR, _transformers("cct-small", _SMALL, wide), {}, {}, 200,
                measured,
            ),
        ]  # fmt: skip
    recipe, share = (PAPER, 10.0) if profile == "paper" else (SHORT, 1.0)
    more = {"H4": {}, "L32": {"heads": 32}, "L64": {"heads": 64}, "W100": {"heads": 100, "inner": 400}}
    conv = {f"{name} conv {q}-{c}": {**more[name], "replaced": q, "convolutions": c}
            for name in ("H4", "L32") for q, c in ((3, 2), (2, 2), (3, 3), (4, 2))}  # fmt: skip
    nets, convolved = (
        {f"cct7 {name}": ("cct7_3x1", options) for name, options in each.items()} for each in (more, conv)
    )
    large = {
        "probe_epochs": 30 if profile == "paper" else 5,
        "probe_images": 0 if profile == "paper" else 20_000,
    }
    cnn = Recipe(epochs=30 * int(share), decay_every=2 * int(share))
    found = [
        Scale(
            hundred_labels(data_root), HELD_OUT, recipe, nets, convolved, _cnns(cnn, 4.0), 150 * share, large
        )
    ]
    if profile == "paper":
        flowers = {"cct7-7x2 H4": ("cct7_7x2", {"positions": "sine"})}
        fitted = PAPER.replace(lr=5e-4, batch=96, warmup_steps=110)
        found.append(Scale("flowers102", HELD_OUT, fitted, flowers, {}, {}, 3000, large))
    return found


def _cnns(recipe: Recipe, width: float) -> dict[str, tuple[str, Mapping[str, Any], Recipe]]:
    """Three convolutional networks of different layouts; ``width`` scales their filters."""
    layouts = {
        "cnn-a": ((16, 1), (32, 1), (64, 1)),
        "cnn-b": ((16, 2), (32, 2), (64, 2)),
        "cnn-c": ((24, 1), (48, 2)),
    }
    return {name: ("vgg", {"stages": stages, "width": width}, recipe) for name, stages in layouts.items()}


def jobs(profile: str, data_root: str | Path | None = None) -> list[Job]:
    """What chapter 7 records at a profile, the most wanted first.

    ``quick`` has embedded digits; ``cifar`` small transformers on 10 and 100 labels; ``short`` and ``paper``
    CCT-7/3x1 and its relatives on 100 labels (``paper`` also CCT-7/7x2 on the official split of Flowers-102,
    1,020 pictures to train on). ``data_root`` decides which set of 100 labels these take.

    >>> jobs("quick")[0].name
    'cct-mini H4, digit-pairs, places, seed 0'
    """
    found = []
    for place, scale in enumerate(_scale_of(profile, data_root)):
        found += _of_heads(scale, place)
        found += _of_committees(scale, 6 if place else 1)
        found += _of_convolutions(scale)
    for scale in _scale_of(profile, data_root)[-1 if profile == "cifar" else 0 :][:1]:
        found += _of_prunings(scale)
    for scale in _scale_of(profile, data_root)[:1]:
        found += _of_removed_heads(scale)
    return found


def dense_run(profile: str, seed: int = 0, net: str = "", data_root: str | Path | None = None) -> Run:
    """A transformer of a profile's main data set: by its name, or the one with few heads.

    Raises ParameterError: an unknown profile or network.

    >>> dense_run("cifar").model_kwargs["heads"]
    4
    """
    check_choice("profile", profile, ("quick", "cifar", "short", "paper"))
    scale = _scale_of(profile, data_root)[0]
    chosen = net or next(iter(scale.nets))
    check_choice("net", chosen, [*scale.nets, *scale.convolved])
    return scale.run(chosen, seed)


def page_jobs(profile: str, seed: int = 0, seeds: int = 1, data_root: str | Path | None = None) -> list[Job]:
    """What the page measures: all places of the profile's transformers, one list for every seed.

    Raises ParameterError: a negative seed, or fewer than one seed.
    """
    check_at_least("seed", seed, 0)
    check_at_least("seeds", seeds, 1)
    scale = _scale_of(profile, data_root)[0]
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
    """Every place of every transformer; few heads first, then many."""
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


def _of_prunings(scale: Scale) -> list[Job]:
    """The transformer with few heads, retrained under ANDC's masks and as many connections of others."""
    found, name = [], next(iter(scale.nets))
    again = scale.recipe.replace(epochs=max(2, scale.recipe.epochs // 10), lr=scale.recipe.lr / 10, **_AGAIN)
    for seed in SEEDS:
        start = scale.run(name, seed)
        arms: list[tuple[str, float]] = [("dense", 0.0)]
        arms += [
            (one, theta) for theta in THRESHOLDS for one in CRITERIA if one != "random-andc" or theta == 0.5
        ]
        for criterion, theta in arms:
            masked = {"criterion": criterion, "threshold": theta}
            edit = None if criterion == "dense" else ("andc", masked)
            run = start.then(recipe=again, edit=edit)
            what = f"{criterion} at {theta:g}" if edit else "not pruned"
            found.append(_job(
                scale, name, what, seed, run, "vit.pruned", {"repeats": 0},
                {"criterion": criterion, "theta": theta, "kind": "andc"},
                cost_seconds=scale.seconds / 5, priority=3, bundle="andc",
            ))  # fmt: skip
    return found


def _of_removed_heads(scale: Scale) -> list[Job]:
    """The transformer with many small heads without half of them, retrained as long as the whole one."""
    found, name = [], list(scale.nets)[1]
    again = scale.recipe.replace(epochs=max(2, scale.recipe.epochs // 10), lr=scale.recipe.lr / 10, **_AGAIN)
    for seed in SEEDS:
        start = scale.run(name, seed)
        options = dict(scale.nets[name][1])
        count = options["heads"] * options.get("depth", 7) // 2
        for criterion in ("dense", *HEAD_CRITERIA):
            edit = (
                None if criterion == "dense" else ("heads-removed", {"criterion": criterion, "count": count})
            )
            run = start.then(recipe=again, edit=edit)
            what = f"half of the heads by {criterion}" if edit else "all heads"
            found.append(_job(
                scale, name, what, seed, run, "vit.pruned", {},
                {"criterion": criterion, "theta": 0.0, "kind": "heads"},
                cost_seconds=scale.seconds / 5, priority=7, bundle="heads removed",
            ))  # fmt: skip
    return found
