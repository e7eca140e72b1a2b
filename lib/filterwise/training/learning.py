"""Which part of a network learns: chosen layers, what masks leave of their weights; and the optimiser."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from filterwise.errors import ParameterError, check_choice
from filterwise.training.recipe import Recipe


@contextlib.contextmanager
def only_these_learn(net: nn.Module, layers: Iterable[str]) -> Iterator[None]:
    """Freeze all parameters outside of these layers while the block runs; no layers: nothing is changed.

    Raises ParameterError: a layer is unknown (the near miss is named), or nothing is left that learns.
    """
    if isinstance(layers, str):
        raise ParameterError(f"learn={layers!r} is one name; give a tuple of names, such as ({layers!r},)")
    modules = {name: module for name, module in net.named_modules() if name}
    for name in layers:
        check_choice("learn", name, modules)
    inside = {id(weight) for name in layers for weight in modules[name].parameters()}
    weights = list(net.parameters())
    before = [weight.requires_grad for weight in weights]
    try:
        for weight in weights if layers else ():
            weight.requires_grad_(weight.requires_grad and id(weight) in inside)
        if not any(weight.requires_grad for weight in weights):
            raise ParameterError(f"learn={tuple(layers)} leaves no parameter that learns")
        yield
    finally:
        for weight, learned in zip(weights, before, strict=True):
            weight.requires_grad_(learned)


def learning_mode(net: nn.Module, layers: Iterable[str]) -> None:
    """Training mode for these layers and what is in and above them, evaluation mode for all others; without
    layers the whole network goes into training mode."""
    net.train(not layers)
    for name, module in net.named_modules():
        if name in layers:
            module.train()
        elif any(layer.startswith(f"{name}." if name else "") for layer in layers):
            module.training = True


@torch.no_grad()
def settle_masks(net: nn.Module) -> None:
    """Set weights below a mask (``torch.nn.utils.prune``) to 0, and work out the masked ones anew.

    These are made in every forward pass; after the last step they are one step old, and hang on a graph that
    forbids a deep copy.
    """
    for module in net.modules():
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, prune.BasePruningMethod):
                name = hook._tensor_name
                getattr(module, f"{name}_orig").mul_(getattr(module, f"{name}_mask"))
                setattr(module, name, hook.apply_mask(module).detach())


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
