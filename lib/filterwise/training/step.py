"""One training step, and the seam where another backward pass can be put in."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from filterwise.training.recipe import Recipe

#: ``step(net, images, labels) -> (loss, logits)``: leaves the gradients in ``.grad`` of the parameters and
#: returns the mean loss (0-dimensional) and the logits (images, labels), both detached. It runs under
#: autocast where the policy's precision is bfloat16. The loop clears the gradients and moves the weights.
Step = Callable[[nn.Module, Tensor, Tensor], tuple[Tensor, Tensor]]


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[object]:
    """The context in which operations run in ``dtype``; nothing at all for float32."""
    if dtype == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=dtype)


def backprop(recipe: Recipe, device: torch.device, dtype: torch.dtype) -> Step:
    """The usual step: cross-entropy of the logits, and back-propagation.

    >>> net, images = nn.Flatten(), torch.tensor([[[[0.0, 0.0]]]], requires_grad=True)
    >>> loss, logits = backprop(Recipe(), torch.device("cpu"), torch.float32)(net, images, torch.tensor([1]))
    >>> round(loss.item(), 4), images.grad.flatten().tolist()
    (0.6931, [0.5, -0.5])
    """
    smoothing = recipe.label_smoothing

    def step(net: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        with autocast(device, dtype):
            logits = net(images)
        # the loss is taken in float32 whatever the precision of the network
        loss = F.cross_entropy(logits.float(), labels, label_smoothing=smoothing)
        loss.backward()
        return loss.detach(), logits.detach()

    return step


def custom(step: Step, device: torch.device, dtype: torch.dtype) -> Step:
    """A step of the user's own, run under autocast where ``dtype`` is not float32."""

    def wrapped(net: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        with autocast(device, dtype):
            loss, logits = step(net, images, labels)
        return loss.detach(), logits.detach()

    return wrapped


def sgd(net: nn.Module, recipe: Recipe) -> torch.optim.SGD:
    """Stochastic gradient descent by the recipe on the parameters that are trained."""
    return descent([weight for weight in net.parameters() if weight.requires_grad], recipe)


def descent(weights: list[Tensor], recipe: Recipe) -> torch.optim.SGD:
    """Stochastic gradient descent by the recipe on these weights.

    The fused form moves all weights in one kernel; it exists on the CPU and on CUDA.
    """
    fused = all(weight.device.type in ("cpu", "cuda") and weight.is_floating_point() for weight in weights)
    return torch.optim.SGD(
        weights,
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
        fused=fused,
        foreach=None if fused else True,
    )
