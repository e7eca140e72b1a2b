"""Augmentation by ``torchvision.transforms.v2`` on batches where they are; imported only when asked for.

All draws come from torch's shared generators, which the training loop lends with the epoch's own seed.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from types import ModuleType

import torch
from torch import Tensor

from filterwise.errors import ParameterError
from filterwise.training.recipe import Recipe

# Images that share RandAugment's draw. Batches are in random order, so who shares it is random as well.
_GROUP = 8

Mix = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def _transforms() -> ModuleType:
    from filterwise import _torchvision

    _torchvision.load()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of compiled parts that are not used here
        return importlib.import_module("torchvision.transforms.v2")


def rand_augment(images: Tensor, magnitude: int) -> Tensor:
    """RandAugment with two operations, on uint8 (N, C, H, W) with 1 or 3 channels.

    torchvision draws the operations once a call. The images are given in groups of 8, each with a draw of
    its own; one call an image would take eight times as long.
    """
    if images.shape[1] not in (1, 3):
        raise ParameterError(f"rand_augment={magnitude} needs 1 or 3 channels, not {images.shape[1]}")
    augment = _transforms().RandAugment(num_ops=2, magnitude=magnitude)
    return torch.cat([augment(group) for group in images.split(_GROUP)])


def mixer(recipe: Recipe, outputs: int) -> Mix | None:
    """What the recipe does to scaled batches, float (N, C, H, W) and labels (N,) or (N, K); None for nothing.

    Random erasing: each image by itself, with normal noise in the rectangle. Mixup and cutmix: each image
    with its neighbour in the batch, one share for the whole batch; the labels become float (N, K), K being
    ``outputs``. Raises TorchvisionMissing, which says what to install.
    """
    if not (recipe.random_erasing or recipe.mixup or recipe.cutmix):
        return None
    v2 = _transforms()
    erase = v2.RandomErasing(recipe.random_erasing, value="random", inplace=True)
    if (recipe.mixup or recipe.cutmix) and not outputs:
        raise ParameterError("mixup and cutmix need outputs, the number of labels")
    kinds = [
        kind(alpha=alpha, num_classes=outputs)
        for kind, alpha in ((v2.MixUp, recipe.mixup), (v2.CutMix, recipe.cutmix))
        if alpha
    ]
    blend = v2.RandomChoice(kinds) if kinds else None

    def mix(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        if recipe.random_erasing:
            for image in images:
                erase(image)
        if blend is None:
            return images, labels
        last = images.is_contiguous(memory_format=torch.channels_last)
        mixed, shares = blend(images, labels)
        return mixed.contiguous(
            memory_format=torch.channels_last if last else torch.contiguous_format
        ), shares

    return mix
