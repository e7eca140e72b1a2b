"""The optimisers that a recipe can name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from filterwise.training.recipe import Recipe


def optimiser_of(net: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser for those parameters of a network that learn."""
    return descent([weight for weight in net.parameters() if weight.requires_grad], recipe)


def descent(weights: Sequence[Tensor], recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser for these weights.

    The fused form moves all weights in one kernel; it exists on the CPU and on CUDA.
    """
    fused = all(weight.device.type in ("cpu", "cuda") and weight.is_floating_point() for weight in weights)
    how: dict[str, Any] = {"lr": recipe.lr, "weight_decay": recipe.weight_decay, "fused": fused}
    how["foreach"] = None if fused else True
    if recipe.optimiser == "adamw":
        return torch.optim.AdamW(weights, betas=recipe.betas, eps=recipe.eps, **how)
    return torch.optim.SGD(weights, momentum=recipe.momentum, nesterov=recipe.nesterov, **how)
