"""Label fields of a trained network's places, measured once and read by every pruning that starts from it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from filterwise.data.imageset import ImageSet
from filterwise.errors import check_choice
from filterwise.measure.fields import label_fields
from filterwise.measure.heads import HEAD_RECIPE, probe_heads
from filterwise.measure.means import class_means
from filterwise.measure.norms import refit_norms
from filterwise.prune.equal_amount import OUTPUTS, Between, joined_by
from filterwise.runs.measuring import measurements
from filterwise.runs.networks import beginning
from filterwise.runs.store import Result

#: Which images decide the clusters: those that were held out, or, as in the group's scripts, the test images.
IMAGES = ("held_out", "test")


def true_test(result: Result, count: int = 0) -> ImageSet:
    """The data set's own test images, whatever part of the training images the run has held out.

    ``count``: the first so many, of every label equally many, 0 for all.
    """
    options = {name: value for name, value in result.run.data_kwargs.items() if name != "held_out"}
    test = result.run.replace(data_options=options).sets(result.data_root)[1]
    return test.balanced(count, seed=0) if count else test


@measurements("afcc.fields")
def layer_fields(
    result: Result, *, places: tuple[str, ...], head_epochs: int, trained: bool = True
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Probe heads of some places, and the label fields of all their filters.

    The heads learn from the run's training images, frozen and without augmentation. ``trained=False``: the
    control, the network before its training.

    The row has ``probe_accuracy@place``, on the held-out images; the arrays ``held_out@place`` and
    ``test@place`` are the fields (F, K, K) of the held-out and of the test images, float32.
    """
    train = result.train_set()
    net = result.network() if trained else refit_norms(beginning(result.run, train), train)
    recipe = HEAD_RECIPE.replace(epochs=head_epochs, flip=False, shift=0)
    heads = probe_heads(
        net, places, train, result.test_set(), recipe, result.run.seed, result.device, cache=True
    )
    arrays: dict[str, np.ndarray] = {}
    for images, shown in (("held_out", result.test_set()), ("test", true_test(result))):
        means = class_means(net, places, shown, device=result.device)
        arrays |= {f"{images}@{place}": label_fields(means[place], heads[place]).numpy() for place in places}
    return {f"probe_accuracy@{place}": head.accuracy for place, head in heads.items()}, arrays


def fields_of(
    result: Result,
    layers: tuple[str, ...],
    head_epochs: int,
    images: str = "held_out",
    trained: bool = True,
    beside: tuple[str, ...] = (),
) -> tuple[dict[str, Between], dict[str, Tensor]]:
    """The places that these layers of a result's network join, and the places' label fields, read or taken.

    ``beside``: layers whose places are measured in the same pass, so that one measurement serves several; a
    place's head and fields do not depend on it.

    Raises ParameterError: a layer that joins no two measured places, with the near miss; unknown images.
    """
    check_choice("images", images, IMAGES)
    known = joined_by(result.network())
    for layer in (*layers, *beside):
        check_choice("layers", layer, known)
    joined = {place for layer in (*layers, *beside) for place in (known[layer].below, known[layer].above)}
    ordered = dict.fromkeys(place for one in known.values() for place in (one.below, one.above))
    places = tuple(place for place in ordered if place in joined and place != OUTPUTS)
    found = result.measured("afcc.fields", places=places, head_epochs=head_epochs, trained=trained)
    between = {layer: known[layer] for layer in layers}
    return between, {place: torch.from_numpy(found.arrays[f"{images}@{place}"]) for place in places}
