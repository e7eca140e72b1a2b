"""Probe heads: one new linear layer on each frozen layer tells what that layer knows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pandas as pd
import torch
from torch import Tensor, nn

from filterwise.data.augmentation import augment
from filterwise.data.imageset import ImageSet
from filterwise.errors import ParameterError, check_choice, refused
from filterwise.measure.features import Features, frozen_features
from filterwise.measure.head_training import Batch, HeadTrainer, Watch, confusion, generator_for
from filterwise.measure.hooks import Capture, check_finite, measuring, measuring_device, shapes_of
from filterwise.measure.means import float_batches, label_counts
from filterwise.training.recipe import RECIPES, Recipe

#: eta 0.01, mu 0.975, alpha 1e-3, x0.975 every one of 200 epochs: equally long at every layer.
HEAD_RECIPE = RECIPES["head"]


@dataclass(frozen=True, eq=False)
class Head:
    """A trained probe head of one layer.

    Attributes
    ----------
    layer : name of the layer it reads
    weight : W, float32 (K, F, P): output label, filter, position; no bias
    accuracy : share of the test images that it labels correctly, the accuracy of the layer
    per_label : (K,), the same within each label; NaN for a label without test images
    history : one row an epoch: ``epoch``, ``lr``, ``loss``, ``train_accuracy``, ``seconds``
    recipe, seed : how it was trained
    pool : average pooling of the layer's maps before the head, or None; class means need the same
    cached : whether it was trained on cached features, without augmentation
    """

    layer: str
    weight: Tensor
    accuracy: float
    per_label: Tensor
    history: pd.DataFrame = field(repr=False)
    recipe: Recipe = HEAD_RECIPE
    seed: int = 0
    pool: int | None = None
    cached: bool = False

    def __repr__(self) -> str:
        shape = tuple(self.weight.shape)
        return f"Head({self.layer!r}, (K, F, P) = {shape}, accuracy {self.accuracy:.4f})"


def probe_heads(
    net: nn.Module,
    layers: str | list[str] | tuple[str, ...],
    train: ImageSet,
    test: ImageSet,
    recipe: Recipe = HEAD_RECIPE,
    seed: int = 0,
    device: str | torch.device = "auto",
    pool: int | None = None,
    cache: bool = False,
    cache_dtype: str = "float16",
    memory: int = 2**32,
    watch: Watch | None = None,
) -> dict[str, Head]:
    """Train a linear head on each layer of a frozen network and test it.

    All layers' heads learn from the same batches in one pass over the frozen network an epoch, equally long.
    The network is in evaluation mode throughout and is left as it was found. A layer's head starts from
    U(+-1/sqrt(F*P)) drawn from the seed and the layer's name: it does not depend on which other layers are
    measured beside it. Heads and network are float32 whatever the processor, and on the CPU one thread does
    the work, so that one call gives one set of numbers.

    Parameters
    ----------
    net, layers, pool : as in ``class_means``
    train, test : image sets with the same labels
    recipe : its ``flip`` and ``shift`` say whether the images are augmented
    seed : of the heads' first weights, the order of images and the augmentation
    cache : compute each training image's features once and keep them (see ``frozen_features``): many times
        faster, but without augmentation, so the recipe has to say ``flip=False, shift=0``
    cache_dtype, memory : float16 or float32, and the bytes that the cached features may take
    watch : called with every batch of test images, to read more off the same pass: the trained weights
        (K, F, P) by layer, the outputs (N, F, P) by layer, and the labels (N,)

    Returns heads by layer, in the order given.
    Raises ParameterError: unknown layer, labels that differ, a cache with augmentation or beyond ``memory``;
    DataError: a test set without images, a label without training images; TrainingDiverged: a loss stopped
    being finite.

    >>> import filterwise as fw
    >>> rest, held_out = fw.data.load("digit-pairs", split="test", n=1000).split_off(0.2, seed=0)
    >>> net = fw.models.build("lenet5", labels=100, channels=1)
    >>> heads = probe_heads(net, "features.1", rest, held_out, HEAD_RECIPE.replace(epochs=1))
    >>> heads["features.1"].weight.shape
    torch.Size([100, 6, 196])
    """
    if not isinstance(recipe, Recipe):
        raise refused("recipe", recipe, "give a Recipe, such as HEAD_RECIPE")
    check_same_labels(train, test)
    if cache and (recipe.flip or recipe.shift):
        raise ParameterError(
            "cache=True keeps one set of features an image, so it cannot be augmented; use "
            "recipe.replace(flip=False, shift=0) or cache=False"
        )
    check_choice("cache_dtype", cache_dtype, ("float16", "float32"))
    labels = len(label_counts(train))
    label_counts(test, complete=False)
    where = measuring_device(net, device)
    with measuring(net, where):
        stored = frozen_features(net, layers, train, 500, where, pool, cache_dtype, memory) if cache else None
        with Capture(net, layers, pool) as capture:
            first, _ = next(iter(float_batches(test, 1, where)))
            outputs = capture(first)
            for layer, fields in outputs.items():
                check_finite(layer, fields)
            trainer = HeadTrainer(shapes_of(outputs), labels, recipe, seed, where)
            if stored is None:
                batches = _augmented(capture, train, recipe, seed, where)
            else:
                batches = shuffled(stored, recipe, generator_for(seed, "order"))
            trainer.train(batches, -(-len(train) // recipe.batch))
            del stored, batches  # the test images may need the memory
            seen = ((capture(images), own) for images, own in float_batches(test, 500, where))
            tables = confusion(trainer.weights, seen, labels, watch)
    heads, histories = trainer.heads(), trainer.histories()
    found = {}
    for layer, table in tables.items():
        right, images = table.diagonal().double(), table.sum(dim=1)
        about = (float(right.sum() / images.sum()), (right / images).float(), histories[layer])
        found[layer] = Head(layer, heads[layer], *about, recipe, seed, pool, cache)
    return found


def check_same_labels(train: ImageSet, test: ImageSet) -> None:
    """Raise a ParameterError unless both sets have the same labels, and images of one shape."""
    if train.shape != test.shape:
        raise ParameterError(f"train has images of shape {train.shape}, test of {test.shape}")
    if tuple(train.label_names) != tuple(test.label_names):
        raise ParameterError(
            f"train has {len(train.label_names)} labels and test {len(test.label_names)}, or other names; "
            "heads need the same labels in both"
        )


def shuffled(stored: Features, recipe: Recipe, orders: torch.Generator) -> Callable[[int], Iterator[Batch]]:
    """Batches of cached features, in a new order each epoch."""

    def batches(_epoch: int) -> Iterator[Batch]:
        order = torch.randperm(len(stored), generator=orders)
        return stored.batches(recipe.batch, order.to(stored.labels.device))

    return batches


def _augmented(
    capture: Capture, train: ImageSet, recipe: Recipe, seed: int, device: torch.device
) -> Callable[[int], Iterator[Batch]]:
    """Batches of features of the training images, augmented anew and in a new order each epoch."""
    orders, draws = generator_for(seed, "order"), generator_for(seed, "augmentation")
    in_memory = isinstance(getattr(train, "images", None), Tensor)
    held = train.to(device) if in_memory else train

    def batches(_epoch: int) -> Iterator[Batch]:
        order = torch.randperm(len(train), generator=orders)
        if in_memory:
            parts = ((held.images[part], held.labels[part]) for part in order.to(device).split(recipe.batch))
        else:
            parts = ((images, own) for images, own in held.subset(order).batches(recipe.batch))
        for images, own in parts:
            yield capture(augment(images.to(device), draws, recipe.flip, recipe.shift)), own.to(device)

    return batches
