"""The output layer with as many weights as AFCC leaves it, sparse from its first step and rewired."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from filterwise.measure.features import frozen_features
from filterwise.measure.head_training import generator_for, initial_weight
from filterwise.measure.heads import HEAD_RECIPE
from filterwise.models.counting import layer_names
from filterwise.papers.afcc.measured_fields import true_test
from filterwise.papers.afcc.output_heads import amounts
from filterwise.prune.masked_heads import head_accuracies, train_masked
from filterwise.prune.rewiring import ALGORITHMS, needs_similarity, rewire, sparse_mask
from filterwise.prune.similarity import cosine_similarity
from filterwise.runs.measuring import measurements
from filterwise.runs.store import Result

THRESHOLDS = (0.3, 0.7)
#: Heads whose connections are drawn once and never move.
FIXED = "fixed sparse"


@measurements("afcc.rewired")
def rewired(
    result: Result,
    *,
    head_epochs: int = 20,
    retrain_epochs: int = 10,
    thresholds: tuple[float, ...] = THRESHOLDS,
    zeta: float = 0.3,
    test_images: int = 0,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """SET and the five cosine-similarity algorithms on the last block's features, at AFCC's amounts.

    Their heads begin with random connections and fresh weights, and are trained for the epochs that the
    dense head and its pruned one have together; every epoch but the first begins with an update. The row has
    ``rewired@`` an algorithm, or "fixed sparse", and a threshold: accuracies on the test images.
    """
    net, train = result.network(), result.train_set()
    place = layer_names(net)[-1]
    features, held_out, shown = (
        frozen_features(net, place, ds, device=result.device)
        for ds in (train, result.test_set(), true_test(result, test_images))
    )
    seed, labels = result.run.seed, train.labels_count
    filters, positions = features.values[place].shape[1:]
    recipe = HEAD_RECIPE.replace(epochs=head_epochs, flip=False, shift=0)
    counts = amounts(features, held_out, place, recipe, thresholds, seed)
    arms = [(name, theta) for theta in thresholds for name in (*ALGORITHMS, FIXED)]
    size = filters * positions
    masks, weights = [], []
    for _, theta in arms:  # equal connections and equal weights for all arms of a threshold
        mask = sparse_mask(
            size, labels, generator_for(seed, f"sparse {theta}"), count=counts[theta] * positions
        )
        own = initial_weight(labels, filters, positions, generator_for(seed, f"sparse weights {theta}"))
        masks.append(mask)
        weights.append(own.flatten(1) / mask.double().mean().sqrt())
    inputs = features.values[place].flatten(1).float()
    draws = [generator_for(seed, f"rewiring {name} {theta}") for name, theta in arms]

    def update(epoch: int, learned: Tensor, on: Tensor, momentum: Tensor) -> None:
        for at, (name, _) in enumerate(arms) if epoch else ():
            if name == FIXED:
                continue
            S = cosine_similarity(inputs, inputs @ learned[at].T) if needs_similarity(name) else None
            found = rewire(learned[at], on[at], S, name, zeta, draws[at])
            on[at] = found.mask
            learned[at].mul_(found.core)
            momentum[at].mul_(found.core)

    whole = recipe.replace(epochs=head_epochs + retrain_epochs)
    trained = train_masked(
        features, place, torch.stack(weights).float(), torch.stack(masks), whole, seed, update
    )
    accuracies = head_accuracies(shown, place, trained)
    row = {f"rewired@{name}/{theta:g}": value for (name, theta), value in zip(arms, accuracies, strict=True)}
    return row, {}
