"""The output layer pruned by every criterion at AFCC's amounts, retrained on cached features.

A linear head on a frozen network is a convex problem, so what a mask is worth shows without luck.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from filterwise.measure.features import Features, frozen_features
from filterwise.measure.fields import label_fields
from filterwise.measure.head_training import generator_for, initial_weight
from filterwise.measure.heads import HEAD_RECIPE
from filterwise.models.counting import layer_names
from filterwise.papers.afcc.measured_fields import true_test
from filterwise.prune.criteria import mask_of_amount
from filterwise.prune.equal_amount import OUTPUTS, Between, Connections
from filterwise.prune.filter_labels import label_sets, lost_labels
from filterwise.prune.masked_heads import head_accuracies, train_masked
from filterwise.runs.measuring import measurements
from filterwise.runs.store import Result
from filterwise.training.recipe import Recipe

CRITERIA = ("afcc", "random", "magnitude", "kernel-l2", "filter-l1", "random-afcc", "diagonal-top")
THRESHOLDS = (0.3, 0.5, 0.7, 0.9)
#: (K, F, P): labels, filters, positions.
Shape = tuple[int, int, int]
#: Draws of what is drawn; their mean is kept.
DRAWS = 3


class Arm(NamedTuple):
    """One masked head: its criterion, the threshold that set the amount, the draw."""

    criterion: str
    threshold: float
    draw: int


@measurements("afcc.output")
def output_layer(
    result: Result,
    *,
    head_epochs: int = 20,
    retrain_epochs: int = 10,
    thresholds: tuple[float, ...] = THRESHOLDS,
    test_images: int = 0,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """A new head on the last block, masked at AFCC's amounts by every criterion, before and after retraining.

    The head learns from the training images, the clusters come from the held-out ones, accuracies are of the
    test images; all heads see the same batches. The dense head is retrained too. ``fresh`` heads are trained
    under their masks from fresh weights, for the epochs of head and retraining together.

    The row has ``dense_before``, ``dense_after``; ``before@``, ``after@`` and ``fresh@`` a criterion and
    threshold; ``output_dilution@`` and ``output_lost@`` a threshold.
    """
    net, train, test = result.network(), result.train_set(), true_test(result, test_images)
    place = layer_names(net)[-1]
    features, held_out, shown = (
        frozen_features(net, place, ds, device=result.device) for ds in (train, result.test_set(), test)
    )
    seed = result.run.seed
    recipe = HEAD_RECIPE.replace(epochs=head_epochs, flip=False, shift=0)
    filters, positions = features.values[place].shape[1:]
    shape = (train.labels_count, filters, positions)
    dense = _dense(features, place, shape, recipe, seed)
    M = label_fields(held_out.class_means()[place], dense.cpu().view(shape))
    row: dict[str, Any] = {"dense_before": head_accuracies(shown, place, dense)[0]}
    masks: dict[Arm, Tensor] = {Arm("dense", 0.0, 0): torch.ones(shape, dtype=torch.bool).flatten(1)}
    for theta in thresholds:
        found = Connections({"head": Between(place, OUTPUTS)}, {place: M}, theta)
        row[f"output_dilution@{theta:g}"] = 1 - float(found.afcc("head").double().mean())
        row[f"output_lost@{theta:g}"] = len(lost_labels(found.sets[place]))
        masks |= _masks(found, dense[0].cpu().view(shape), theta, seed)
    stack = torch.stack(list(masks.values())).to(dense.device)
    begun = dense * stack
    learned = train_masked(features, place, begun, stack, recipe.replace(epochs=retrain_epochs), seed)
    fresh = {arm: mask for arm, mask in masks.items() if arm.criterion in ("afcc", "random")}
    whole = recipe.replace(epochs=head_epochs + retrain_epochs)
    again = _fresh(features, place, fresh, shape, whole, seed)
    for kind, arms, weights in (
        ("before", masks, begun), ("after", masks, learned), ("fresh", fresh, again)
    ):  # fmt: skip
        row |= _means(kind, list(arms), head_accuracies(shown, place, weights))
    row["dense_after"] = row.pop("after@dense/0")
    del row["before@dense/0"]
    return row, {}


def _dense(features: Features, place: str, shape: Shape, recipe: Recipe, seed: int) -> Tensor:
    """A head with all its weights, (1, K, F * P)."""
    first = initial_weight(*shape, generator_for(seed, f"head {place}")).flatten(1)[None]
    return train_masked(features, place, first, torch.ones_like(first, dtype=torch.bool), recipe, seed)


def amounts(
    features: Features, held_out: Features, place: str, recipe: Recipe, thresholds: Sequence[float], seed: int
) -> dict[float, int]:
    """Threshold -> pairs of filter and label that AFCC keeps in the output layer."""
    filters, positions = features.values[place].shape[1:]
    shape = (len(features.label_names), filters, positions)
    dense = _dense(features, place, shape, recipe, seed)
    M = label_fields(held_out.class_means()[place], dense.cpu().view(shape))
    return {theta: int(label_sets(M, theta).sum()) for theta in thresholds}


def _masks(found: Connections, weight: Tensor, theta: float, seed: int) -> dict[Arm, Tensor]:
    """Masks (K, F * P) of all criteria at one threshold; ``weight``: (K, F, P)."""
    masks = {}
    own = found.afcc("head")
    for criterion in CRITERIA:
        for draw in range(DRAWS if criterion in ("random", "random-afcc") else 1):
            mask = own
            if criterion != "afcc":
                draws = generator_for(seed, f"criterion {criterion} {draw}")
                scores = found.criterion(criterion, "head", draws)(weight)
                mask = mask_of_amount(weight, scores, int(own.sum()))
            whole = mask if mask.ndim == 3 else mask[:, :, None].expand(weight.shape)
            masks[Arm(criterion, theta, draw)] = whole.flatten(1)
    return masks


def _fresh(
    features: Features,
    place: str,
    masks: dict[Arm, Tensor],
    shape: Shape,
    recipe: Recipe,
    seed: int,
) -> Tensor:
    """Heads trained from fresh weights, drawn for as many inputs as an output keeps on average."""
    stack = torch.stack(list(masks.values()))
    weights = torch.stack([
        initial_weight(*shape, generator_for(seed, f"fresh head {place} {arm}")).flatten(1)
        / mask.double().mean().sqrt().clamp_min(1e-3)
        for arm, mask in masks.items()
    ]).float()  # fmt: skip
    return train_masked(features, place, weights, stack, recipe, seed)


def _means(kind: str, arms: list[Arm], accuracies: Any) -> dict[str, float]:
    """``kind@criterion/theta`` -> accuracy, the mean over draws."""
    values: dict[str, list[float]] = {}
    for arm, accuracy in zip(arms, accuracies, strict=True):
        values.setdefault(f"{kind}@{arm.criterion}/{arm.threshold:g}", []).append(accuracy)
    return {name: float(np.mean(each)) for name, each in values.items()}
