"""What every profile of chapter 7 trains: data, recipes, transformers, and the CNNs beside them.

Koresh et al., Physica A 666 (2025), and Gross et al., Physica A 675, 130835 (2025): CCT-7/3x1, CIFAR-100.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filterwise.papers.sfp.plan import hundred_labels
from filterwise.runs.specification import Run
from filterwise.training.recipe import RECIPES, Recipe

#: A tenth of the training images decides masks and the best member; the test images decide nothing.
HELD_OUT = {"held_out": 0.1}

_ADAMW: dict[str, Any] = {"optimiser": "adamw", "weight_decay": 0.06, "schedule": "cosine"}
QUICK = Recipe(epochs=16, batch=50, lr=3e-3, warmup_steps=100, flip=False, shift=2, **_ADAMW)
CIFAR = Recipe(epochs=12, batch=100, lr=3e-3, warmup_steps=450, label_smoothing=0.1, **_ADAMW)
PAPER = RECIPES["cct"]
#: A tenth of the epochs, without the augmentations that need torchvision: mirrored and shifted images.
SHORT = Recipe(epochs=30, batch=128, lr=6e-4, lr_min=1e-5, warmup_steps=391, label_smoothing=0.1, **_ADAMW)
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


def scales_of(profile: str, data_root: str | Path | None = None) -> list[Scale]:
    """The data sets of a profile, the main one first."""
    if profile == "quick":
        heads = {"H4": {"heads": 4}, "H16": {"heads": 16}, "W24": {"heads": 24, "inner": 96}}
        conv = {"H4 conv": {"heads": 4, "replaced": 2}}
        cnn = Recipe(
            epochs=6, batch=50, lr=0.02, momentum=0.9, schedule="cosine", warmup_steps=20, flip=False, shift=2
        )
        return [Scale(
            "digit-pairs", {"n": 12_000, **HELD_OUT}, QUICK, _transformers("cct-mini", _MINI, heads),
            _transformers("cct-mini", _MINI, conv), _cnns(cnn, (0.23, 0.125, 0.17)), 90,
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
                _transformers("cct-small", _SMALL, conv), _cnns(cnn, (0.5, 0.5, 0.5)), 200, measured,
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
    data, cnns = hundred_labels(data_root), _cnns(cnn, (4.0, 4.0, 4.0))
    found = [Scale(data, HELD_OUT, recipe, nets, convolved, cnns, 150 * share, large)]
    flowers = {"cct7-7x2 H4": ("cct7_7x2", {"positions": "sine"})}
    fitted = recipe.replace(lr=5e-4, batch=96, warmup_steps=11 * int(share))
    return [*found, Scale("flowers102", HELD_OUT, fitted, flowers, {}, {}, 300 * share, large)]


def _cnns(recipe: Recipe, widths: tuple[float, ...]) -> dict[str, tuple[str, Mapping[str, Any], Recipe]]:
    """Three convolutional networks of different layouts.

    ``widths`` scale their filters; at the scales quick and cifar a seed that no record has chose them so that
    the networks are about as accurate, on held-out images, as the transformers.
    """
    layouts = {
        "cnn-a": ((16, 1), (32, 1), (64, 1)),
        "cnn-b": ((16, 2), (32, 2), (64, 2)),
        "cnn-c": ((24, 1), (48, 2)),
    }
    return {
        name: ("vgg", {"stages": stages, "width": width}, recipe)
        for (name, stages), width in zip(layouts.items(), widths, strict=True)
    }
