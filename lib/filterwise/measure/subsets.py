"""Error against the number of labels K: heads trained on subsets of the labels, one frozen network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import torch
from torch import Tensor, nn

from filterwise.data.imageset import ImageSet
from filterwise.errors import ParameterError, check_at_least, check_choice
from filterwise.measure.features import Features, frozen_features
from filterwise.measure.head_training import HeadTrainer, confusion, generator_for
from filterwise.measure.heads import HEAD_RECIPE, check_same_labels, shuffled
from filterwise.measure.hooks import measuring, measuring_device
from filterwise.measure.means import float_batches
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
    draws : random label sets for each K; one where K is all labels, whose largest error is then of one draw
    recipe : of the heads, without ``flip`` and ``shift``. Every head gets as many steps as one on all labels
        gets in ``recipe.epochs``, in correspondingly more epochs.
    threshold : theta of ``clip``
    dtype, memory : of the stored features of each set, see ``frozen_features``

    Returns one row a head: ``labels`` (K), ``draw``, ``error`` (1 - accuracy), ``error_even``, ``error_odd``
    (on every second test image of each label, and on the others), ``largest_label_error`` (largest error of
    one of the K labels), ``N_c``, ``C_s``, ``n``, ``n_per_K2`` (n / K^2: n grows like K^2 at fixed quality),
    the three SNRs, ``share_without_cluster``, ``epochs``, ``steps``.
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
    rows = []
    for count in counts:
        for draw in range(1 if count == total else draws):
            labels = drawn_labels(total, count, draw, seed)
            own_train, own_test = (features.only_labels(labels) for features in stored)
            steps = -(-len(own_train) // recipe.batch)
            own = with_steps_of(recipe, len(train), len(own_train))
            with threads(1):
                measured = _head_on(layer, own_train, own_test, own, seed, draw, threshold)
            rows.append(
                {"labels": count, "draw": draw, **measured, "epochs": own.epochs, "steps": own.epochs * steps}
            )
    return pd.DataFrame(rows)


def drawn_labels(total: int, count: int, draw: int, seed: int) -> list[int]:
    """Random labels, ``count`` of ``total``, ascending: a draw of its own for each seed, count and draw."""
    generator = generator_for(seed, f"labels {count} {draw}")
    return sorted(torch.randperm(total, generator=generator)[:count].tolist())


def with_steps_of(recipe: Recipe, images: int, own_images: int) -> Recipe:
    """The recipe for ``own_images`` with as many steps as it has on ``images``, in more epochs if they are
    fewer, decaying as far over them as it does over its own."""
    all_steps = -(-images // recipe.batch) * recipe.epochs
    epochs = max(1, round(all_steps / -(-own_images // recipe.batch)))
    if recipe.schedule != "step":
        return recipe.replace(epochs=epochs)
    decay = recipe.decay ** ((recipe.epochs - 1) / max(1, epochs - 1) / recipe.decay_every)
    return recipe.replace(epochs=epochs, decay=decay, decay_every=1)


@torch.no_grad()
def accuracy_among(
    net: nn.Module, labels: Sequence[int], test: ImageSet, device: str | torch.device = "auto"
) -> float:
    """Accuracy of a network that is asked among few of its labels: the largest of these outputs alone.

    Parameters
    ----------
    labels : the network's outputs that count, in the order of ``test``'s labels
    test : images of these labels, numbered 0, 1, ...
    """
    where = measuring_device(net, device)
    with threads(1), measuring(net, where):
        right = sum(
            int((net(images)[:, list(labels)].argmax(dim=1) == own).sum())
            for images, own in float_batches(test, 500, where)
        )
    return right / len(test)


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
    halves = _half_errors(trainer.weights, test, count)
    summary, _, _ = layer_summary_of(test.class_means()[layer], trainer.heads()[layer], threshold)
    return {
        "error": float(1 - right.sum() / table.sum()),
        "error_even": halves[0],
        "error_odd": halves[1],
        "largest_label_error": float((1 - right / table.sum(dim=1)).max()),
        **{name: float(summary[name]) for name in _SUMMARY},
        "n_per_K2": float(summary["n"]) / count**2,
    }


def _half_errors(weights: Mapping[str, Tensor], test: Features, count: int) -> list[float]:
    """Errors on every second test image of each label, and on the others."""
    place = torch.zeros_like(test.labels)
    for label in range(count):
        own = test.labels == label
        place[own] = torch.arange(int(own.sum()), device=place.device)
    errors = []
    for half in (0, 1):
        chosen = torch.nonzero(place % 2 == half).flatten()
        (table,) = confusion(weights, test.batches(500, chosen), count).values()
        errors.append(float(1 - table.diagonal().sum() / table.sum()) if len(chosen) else float("nan"))
    return errors


def maximal_errors(table: pd.DataFrame) -> pd.DataFrame:
    """Both readings of "maximal error rate at K labels", from the rows of :func:`error_against_labels`.

    Returns a table by K: ``draws``; ``mean_error``; (a) ``largest_error``, the largest over the label sets;
    ``hardest_error``, the same without the luck of the test images: the set with the largest error on every
    second image, its error on the others, mean of both ways round; (b) ``largest_label_error``, the largest
    error of one label inside a K-label problem, mean over the sets.

    >>> rows = {"labels": [2, 2], "error": [0.2, 0.4], "error_even": [0.2, 0.5], "error_odd": [0.2, 0.3]}
    >>> table = pd.DataFrame({**rows, "largest_label_error": [0.3, 0.5]})
    >>> maximal_errors(table).round(2).iloc[0].to_dict()
    {'draws': 2.0, 'mean_error': 0.3, 'largest_error': 0.4, 'hardest_error': 0.4, 'largest_label_error': 0.4}
    """
    groups = table.groupby("labels")
    return pd.DataFrame(
        {
            "draws": groups.size(),
            "mean_error": groups["error"].mean(),
            "largest_error": groups["error"].max(),
            "hardest_error": groups[["error_even", "error_odd"]].apply(_hardest),
            "largest_label_error": groups["largest_label_error"].mean(),
        }
    )


def _hardest(halves: pd.DataFrame) -> float:
    even, odd = halves["error_even"].to_numpy(), halves["error_odd"].to_numpy()
    return float((odd[even.argmax()] + even[odd.argmax()]) / 2)
