"""Probe heads: one new linear layer on each frozen layer tells what that layer knows."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from filterwise.data.augmentation import augment
from filterwise.errors import DataError, ParameterError, check_choice
from filterwise.measure.features import Features, frozen_features
from filterwise.measure.head_training import Batch, HeadTrainer, confusion, generator_for
from filterwise.measure.hooks import Capture, measuring, measuring_device
from filterwise.measure.means import float_batches, label_counts
from filterwise.training import RECIPES, Recipe

if TYPE_CHECKING:
    from filterwise.data import ImageSet

#: eta 0.01, mu 0.975, alpha 1e-3, x0.975 every one of 200 epochs: equally long at every layer.
HEAD_RECIPE = RECIPES["head"]


@dataclass(frozen=True, eq=False)
class Head:
    """A trained probe head of one layer.

    Attributes
    ----------
    layer
        Name of the layer it reads.
    weight
        W, (K, F, P): output label, filter, position; float32. No bias.
    accuracy
        Share of the test images that it labels correctly: the accuracy of the layer.
    per_label
        The same within each label, (K,); NaN for a label without test images.
    history
        One row an epoch: ``epoch``, ``lr``, ``loss``, ``train_accuracy``, ``seconds``.
    recipe, seed
        How it was trained.
    pool
        Average pooling of the layer's maps before the head, or None; class means need the same.
    cached
        Whether it was trained on cached features, without augmentation.
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

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as one safetensors file (tensors, and the rest as JSON in the header); all or nothing."""
        target = Path(path)
        about: dict[str, Any] = {
            "layer": self.layer,
            "accuracy": self.accuracy,
            "recipe": self.recipe.to_dict(),
            "seed": self.seed,
            "pool": self.pool,
            "cached": self.cached,
            "history": self.history.to_dict(orient="list"),
        }
        temporary = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            tensors = {"weight": self.weight.contiguous(), "per_label": self.per_label.contiguous()}
            save_file(tensors, temporary, metadata={"head": json.dumps(about)})
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Head:
        """Read a file that :meth:`save` wrote.

        Raises
        ------
        DataError
            The file is missing, broken, or no head.
        """
        try:
            with safe_open(path, framework="pt") as stored:
                about = json.loads((stored.metadata() or {})["head"])
                weight, per_label = stored.get_tensor("weight"), stored.get_tensor("per_label")
            about["recipe"] = Recipe.from_dict(about["recipe"])
            about["history"] = pd.DataFrame(about["history"])
            return cls(weight=weight, per_label=per_label, **about)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"{os.fspath(path)}: not a saved head ({error})") from error


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
    progress: Callable[[int], None] | None = None,
) -> dict[str, Head]:
    """Train a linear head on each layer of a frozen network and test it (phase 2 of the spec).

    All layers' heads learn from the same batches in one pass over the frozen network an epoch, equally long.
    The network is in evaluation mode throughout and is left as it was found. A layer's head starts from
    U(+-1/sqrt(F*P)) drawn from the seed and the layer's name: it does not depend on which other layers are
    measured beside it.

    Parameters
    ----------
    net, layers, pool
        As in ``class_means``.
    train, test
        Image sets with the same labels.
    recipe
        Its ``flip`` and ``shift`` say whether the images are augmented. ``precision`` and ``memory_format``
        apply to the frozen network, unless cached; ``auto`` means float32, contiguous. Heads are float32.
    seed
        Of the heads' first weights, the order of images and the augmentation.
    cache
        Compute each training image's features once and keep them (see ``frozen_features``): many times
        faster, but without augmentation, so the recipe has to say ``flip=False, shift=0``.
    cache_dtype, memory
        float16 or float32, and the bytes that the cached features may take.
    progress
        Called with the number of finished epochs.

    Returns
    -------
    dict of Head
        By layer, in the order given.

    Raises
    ------
    ParameterError
        Unknown layer, labels that differ, a cache with augmentation or beyond ``memory``.
    DataError
        A set without images.
    TrainingDiverged
        A loss stopped being finite.

    >>> import filterwise as fw
    >>> data = fw.data.load("digit-pairs", split="test", n=400)
    >>> rest, held_out = data.split_off(0.5, seed=0)
    >>> net = fw.models.build("lenet5", labels=100, channels=1)
    >>> heads = probe_heads(net, "features.1", rest, held_out, HEAD_RECIPE.replace(epochs=1))
    >>> heads["features.1"].weight.shape
    torch.Size([100, 6, 196])
    """
    if tuple(train.label_names) != tuple(test.label_names):
        raise ParameterError(
            f"train has {len(train.label_names)} labels and test {len(test.label_names)}, or other names; "
            "heads need the same labels in both"
        )
    if cache and (recipe.flip or recipe.shift):
        raise ParameterError(
            "cache=True keeps one set of features an image, so it cannot be augmented; use "
            "recipe.replace(flip=False, shift=0) or cache=False"
        )
    check_choice("cache_dtype", cache_dtype, ("float16", "float32"))
    labels = len(label_counts(train, complete=False))
    label_counts(test, complete=False)
    where = measuring_device(net, device)
    with measuring(net, where):
        stored = frozen_features(net, layers, train, 500, where, pool, cache_dtype, memory) if cache else None
        with Capture(net, layers, pool) as capture:
            frozen = _Frozen(capture, recipe, where)
            first, _ = next(iter(float_batches(test, 1, where)))
            trainer = HeadTrainer(capture.shapes(first), labels, recipe, seed, where)
            batches = frozen.augmented(train, seed) if stored is None else _shuffled(stored, recipe, seed)
            with torch.enable_grad():
                trainer.train(batches, -(-len(train) // recipe.batch), progress)
            weights = {layer: weight.detach() for layer, weight in trainer.weights.items()}
            tables = confusion(weights, frozen.plain(test), labels)
    return _finish(trainer, tables, recipe, seed, pool, cache)


def _shuffled(stored: Features, recipe: Recipe, seed: int) -> Callable[[int], Iterator[Batch]]:
    """Batches of cached features, in a new order each epoch."""
    orders = generator_for(seed, "order")

    def batches(_epoch: int) -> Iterator[Batch]:
        order = torch.randperm(len(stored), generator=orders)
        return stored.batches(recipe.batch, order.to(stored.labels.device))

    return batches


class _Frozen:
    """Batches of features from the frozen network."""

    def __init__(self, capture: Capture, recipe: Recipe, device: torch.device) -> None:
        self.capture, self.recipe, self.device = capture, recipe, device
        last = recipe.memory_format == "channels_last"
        self.layout = torch.channels_last if last else torch.contiguous_format
        self.autocast = recipe.precision == "bfloat16"

    def _features(self, images: Tensor) -> Mapping[str, Tensor]:
        with torch.no_grad(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            seen = self.capture(images.contiguous(memory_format=self.layout))
        return {layer: fields.float() for layer, fields in seen.items()}

    def plain(self, ds: ImageSet) -> Iterator[Batch]:
        for images, labels in float_batches(ds, 500, self.device):
            yield self._features(images), labels

    def augmented(self, train: ImageSet, seed: int) -> Callable[[int], Iterator[Batch]]:
        orders, draws = generator_for(seed, "order"), generator_for(seed, "augmentation")
        in_memory = isinstance(getattr(train, "images", None), Tensor)
        held = train.to(self.device) if in_memory else train

        def epoch_batches(_epoch: int) -> Iterator[Batch]:
            order = torch.randperm(len(train), generator=orders)
            if in_memory:
                parts = (
                    (held.images[part], held.labels[part])
                    for part in order.to(self.device).split(self.recipe.batch)
                )
            else:
                parts = ((images, own) for images, own in held.subset(order).batches(self.recipe.batch))
            for images, own in parts:
                moved = augment(images.to(self.device), draws, self.recipe.flip, self.recipe.shift)
                yield self._features(moved), own.to(self.device)

        return epoch_batches


def _finish(
    trainer: HeadTrainer,
    tables: Mapping[str, Tensor],
    recipe: Recipe,
    seed: int,
    pool: int | None,
    cached: bool,
) -> dict[str, Head]:
    histories, weights = trainer.histories(), trainer.heads()
    heads = {}
    for layer, table in tables.items():
        right = table.diagonal().double()
        heads[layer] = Head(
            layer=layer,
            weight=weights[layer],
            accuracy=float(right.sum() / table.sum()),
            per_label=(right / table.sum(dim=1)).float(),
            history=histories[layer],
            recipe=recipe,
            seed=seed,
            pool=pool,
            cached=cached,
        )
    return heads
