"""Error against the number of labels K: heads trained on subsets of the labels, one frozen network."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import torch
from torch import nn

from filterwise.data.imageset import ImageSet
from filterwise.errors import ParameterError, check_at_least, check_choice
from filterwise.measure.features import Features, frozen_features
from filterwise.measure.head_training import HeadTrainer, confusion, generator_for
from filterwise.measure.heads import HEAD_RECIPE, check_same_labels, shuffled
from filterwise.measure.summary import layer_summary_of
from filterwise.training.device import threads
from filterwise.training.recipe import Recipe

_SUMMARY = ("N_c", "C_s", "n", "SNR_block", "SNR_label", "SNR_mf", "share_without_cluster")


def error_against_labels(
    net: nn.Module,
    layer: str,
    train: ImageSet,
    test: ImageSet,
    counts: Sequence[int] = (3, 5, 10, 20, 50, 100),
    draws: int = 4,
    recipe: Recipe = HEAD_RECIPE,
    seed: int = 0,
    device: str | torch.device = "auto",
    pool: int | None = None,
    threshold: float = 0.3,
    dtype: str = "float16",
    memory: int = 2**32,
) -> pd.DataFrame:
    """Train only the head, on K random labels at a time, for several K.

    The network is trained once, on all labels, and stays frozen: its features are computed once. For every K,
    ``draws`` random sets of K labels are taken; a head is trained on each and tested on the same labels, and
    the layer's clusters and noise are measured among them. Training separate networks with data and steps
    that grow with K instead would let the number of steps decide.

    Parameters
    ----------
    net, layer, device, pool : as in ``class_means``
    train, test : image sets with the same labels
    counts : the numbers of labels K, each from 2 to the number there is
    draws : random label sets for each K; one where K is all labels
    recipe : of the heads, without ``flip`` and ``shift``. Every head gets as many steps as one on all labels
        gets in ``recipe.epochs``, in correspondingly more epochs.
    threshold : theta of ``clip``
    dtype, memory : of the stored features of each set, see ``frozen_features``

    Returns one row a head: ``labels`` (K), ``draw``, ``error`` (1 - accuracy), ``largest_label_error``
    (largest error of one of the K labels), ``N_c``, ``C_s``, ``n``, ``n_per_K2`` (n / K^2: n grows like K^2
    at fixed quality), the three SNRs, ``share_without_cluster``, ``epochs``, ``steps``.
    Raises ParameterError: a K that is not possible, labels that differ, augmentation, features beyond
    ``memory``; DataError: a label without test images.

    >>> import filterwise as fw
    >>> train, test = (fw.data.load("parts", split, labels=4, n=40) for split in ("train", "test"))
    >>> net = fw.models.build("vgg", labels=4, channels=1, size=16, stages=((4, 1), (8, 1)))
    >>> recipe = HEAD_RECIPE.replace(epochs=2, flip=False, shift=0)
    >>> error_against_labels(net, "features.2", train, test, (2, 4), 3, recipe)["labels"].tolist()
    [2, 2, 2, 4]
    """
    total = len(train.label_names)
    check_same_labels(train, test)
    if recipe.flip or recipe.shift:
        raise ParameterError("features are computed once, so use recipe.replace(flip=False, shift=0)")
    check_choice("recipe.schedule", recipe.schedule, ("step", "cosine"))
    check_at_least("draws", draws, 1)
    wrong = [count for count in counts if not 2 <= count <= total]
    if wrong or not len(counts):
        raise ParameterError(f"counts={list(counts)!r}: each must be from 2 to the {total} labels of the set")
    stored = [frozen_features(net, layer, ds, 500, device, pool, dtype, memory) for ds in (train, test)]
    all_steps = -(-len(train) // recipe.batch) * recipe.epochs
    rows = []
    for count in counts:
        for draw in range(1 if count == total else draws):
            generator = generator_for(seed, f"labels {count} {draw}")
            labels = sorted(torch.randperm(total, generator=generator)[:count].tolist())
            own_train, own_test = (features.only_labels(labels) for features in stored)
            steps = -(-len(own_train) // recipe.batch)
            own = _with_steps(recipe, all_steps, steps)
            with threads(1):
                measured = _head_on(layer, own_train, own_test, own, seed, draw, threshold)
            rows.append(
                {"labels": count, "draw": draw, **measured, "epochs": own.epochs, "steps": own.epochs * steps}
            )
    return pd.DataFrame(rows)


def _with_steps(recipe: Recipe, all_steps: int, steps_an_epoch: int) -> Recipe:
    """As many epochs as give ``all_steps``, decaying over them as the recipe does over its own."""
    epochs = max(1, round(all_steps / steps_an_epoch))
    if recipe.schedule != "step":
        return recipe.replace(epochs=epochs)
    decay = recipe.decay ** (recipe.epochs / epochs / recipe.decay_every)
    return recipe.replace(epochs=epochs, decay=decay, decay_every=1)


def _head_on(
    layer: str, train: Features, test: Features, recipe: Recipe, seed: int, draw: int, threshold: float
) -> dict[str, float]:
    """Train one head on features and measure it."""
    count = len(train.label_names)
    values = train.values[layer]
    shape = (values.shape[1], values.shape[2])
    trainer = HeadTrainer({layer: shape}, count, recipe, seed, values.device)
    orders = generator_for(seed, f"order {count} {draw}")
    trainer.train(shuffled(train, recipe, orders), -(-len(train) // recipe.batch))
    table = confusion(trainer.weights, test.batches(500), count)[layer]
    right = table.diagonal().double()
    summary, _, _ = layer_summary_of(test.class_means()[layer], trainer.heads()[layer], threshold)
    return {
        "error": float(1 - right.sum() / table.sum()),
        "largest_label_error": float((1 - right / table.sum(dim=1)).max()),
        **{name: float(summary[name]) for name in _SUMMARY},
        "n_per_K2": float(summary["n"]) / count**2,
    }


def maximal_errors(table: pd.DataFrame) -> pd.DataFrame:
    """Both readings of "maximal error rate at K labels", from the rows of :func:`error_against_labels`.

    Returns a table by K: ``draws``; ``mean_error``; (a) ``largest_error``, the largest over the label sets;
    (b) ``largest_label_error``, the largest error of one label inside a K-label problem, mean over the sets.
    """
    groups = table.groupby("labels")
    return pd.DataFrame(
        {
            "draws": groups.size(),
            "mean_error": groups["error"].mean(),
            "largest_error": groups["error"].max(),
            "largest_label_error": groups["largest_label_error"].mean(),
        }
    )
