"""Many masked linear heads of one frozen layer, trained at once on its cached features.

A head on frozen features is a convex problem: no luck of the optimiser hides which mask was the better one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from filterwise.errors import ParameterError, TrainingDiverged
from filterwise.measure.features import Features
from filterwise.measure.head_training import generator_for
from filterwise.training.learning import descent
from filterwise.training.recipe import Recipe

#: ``before_epoch(epoch, weights, masks, momentum)``, the last three (heads, K, D) and changed in place: for
#: masks that move between epochs. Epochs count from 0; ``momentum`` is zero before the first.
BeforeEpoch = Callable[[int, Tensor, Tensor, Tensor], None]


def train_masked(
    features: Features,
    layer: str,
    weights: Tensor,
    masks: Tensor,
    recipe: Recipe,
    seed: int = 0,
    before_epoch: BeforeEpoch | None = None,
) -> Tensor:
    """Train several bias-free heads, each under its mask; all see the same batches in the same order.

    Removed weights are exactly zero after every step, and so is their momentum.

    Parameters
    ----------
    features, layer
        Of the training images; the layer's (N, F, P) are flattened filter by filter to D = F * P inputs.
    weights
        Where they begin, (heads, K, D).
    masks
        bool (heads, K, D).
    recipe
        Schedule, momentum, weight decay, batch and epochs; features are not augmented.
    seed
        Of the order of the images.
    before_epoch
        See :data:`BeforeEpoch`.

    Returns the trained weights (heads, K, D), float32, on the features' device.

    Raises ParameterError: shapes that do not fit, or a recipe that augments; TrainingDiverged: a weight is no
    longer finite.
    """
    inputs = features.values[layer][0].numel()
    shape = (len(weights), len(features.label_names), inputs)
    if tuple(weights.shape) != shape or tuple(masks.shape) != shape or masks.dtype != torch.bool:
        raise ParameterError(
            f"weights {tuple(weights.shape)} and masks {tuple(masks.shape)} ({masks.dtype}) do not fit "
            f"(heads, K, D) = {shape} and torch.bool"
        )
    if recipe.flip or recipe.shift:
        raise ParameterError("cached features cannot be augmented; use recipe.replace(flip=False, shift=0)")
    device = features.labels.device
    masks = masks.to(device).clone()
    learned = weights.detach().to(device, torch.float32, copy=True).mul_(masks)
    learned.grad = torch.zeros_like(learned)
    optimiser = descent([learned], recipe)
    orders = generator_for(seed, "order")
    steps, step = -(-len(features) // recipe.batch), 0
    for epoch in range(recipe.epochs):
        if before_epoch is not None:
            before_epoch(epoch, learned, masks, _momentum(optimiser, learned))
        order = torch.randperm(len(features), generator=orders).to(device)
        for values, labels in features.batches(recipe.batch, order):
            for group in optimiser.param_groups:
                group["lr"] = recipe.learning_rate(step, steps)
            _gradient(learned, values[layer].flatten(1), labels, recipe.label_smoothing)
            learned.grad.mul_(masks)
            optimiser.step()
            step += 1
    if not bool(torch.isfinite(learned).all()):
        raise TrainingDiverged(f"a masked head diverged; lower lr={recipe.lr!r}")
    return learned.detach()


@torch.no_grad()
def _gradient(weights: Tensor, inputs: Tensor, labels: Tensor, smoothing: float) -> None:
    """d loss / d W of every head, into ``weights.grad``: (softmax - wanted)^T inputs / B."""
    heads, outputs, size = weights.shape
    logits = (inputs @ weights.view(-1, size).T).view(len(inputs), heads, outputs)
    error = logits.softmax(dim=2)
    error -= smoothing / outputs
    error[torch.arange(len(inputs), device=inputs.device), :, labels] -= 1 - smoothing
    assert weights.grad is not None
    torch.mm(error.view(len(inputs), -1).T.div_(len(inputs)), inputs, out=weights.grad.view(-1, size))


def _momentum(optimiser: torch.optim.Optimizer, weights: Tensor) -> Tensor:
    """The optimiser's momentum of the weights, which it keeps from its first step on."""
    kept = optimiser.state[weights]
    buffer = kept.get("momentum_buffer")
    if buffer is None:
        return torch.zeros_like(weights)
    return buffer


@torch.no_grad()
def head_accuracies(features: Features, layer: str, weights: Tensor) -> Sequence[float]:
    """Share of the images that each head (heads, K, D) names rightly, on cached features of test images."""
    heads, outputs, size = weights.shape
    right = torch.zeros(heads, dtype=torch.int64)
    for values, labels in features.batches(500):
        logits = (values[layer].flatten(1) @ weights.view(-1, size).T).view(-1, heads, outputs)
        right += (logits.argmax(dim=2) == labels[:, None]).sum(dim=0).cpu()
    return (right.double() / len(features)).tolist()
