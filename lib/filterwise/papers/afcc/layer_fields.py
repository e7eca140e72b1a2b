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


def true_test(result: Result) -> ImageSet:
    """The data set's own test images, whatever part of the training images the run has held out."""
    options = {name: value for name, value in result.run.data_kwargs.items() if name != "held_out"}
    return result.run.replace(data_options=options).sets(result.data_root)[1]


@measurements("afcc.fields")
def layer_fields(
    result: Result,
    *,
    places: tuple[str, ...],
    head_epochs: int,
    images: str = "held_out",
    trained: bool = True,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Probe heads of some places, and the label fields of all their filters.

    The heads learn from the run's training images, frozen and without augmentation; the fields are those of
    the held-out or the test images. ``trained=False``: the control, the network before its training.

    The row has ``probe_accuracy@place`` (on the run's test images); the arrays ``M@place`` (F, K, K) float32.
    """
    check_choice("images", images, IMAGES)
    train = result.train_set()
    net = result.network() if trained else refit_norms(beginning(result.run, train), train)
    recipe = HEAD_RECIPE.replace(epochs=head_epochs, flip=False, shift=0)
    heads = probe_heads(
        net, places, train, result.test_set(), recipe, result.run.seed, result.device, cache=True
    )
    shown = result.test_set() if images == "held_out" else true_test(result)
    means = class_means(net, places, shown, device=result.device)
    row = {f"probe_accuracy@{place}": head.accuracy for place, head in heads.items()}
    return row, {f"M@{place}": label_fields(means[place], head).numpy() for place, head in heads.items()}


def fields_of(
    result: Result, layers: tuple[str, ...], head_epochs: int, images: str = "held_out", trained: bool = True
) -> tuple[dict[str, Between], dict[str, Tensor]]:
    """The places that these layers of a result's network join, and the places' label fields, read or taken.

    Raises ParameterError: a layer that joins no two measured places; the near miss is named.
    """
    known = joined_by(result.network())
    for layer in layers:
        check_choice("layers", layer, known)
    between = {layer: known[layer] for layer in layers}
    places = [place for one in between.values() for place in (one.below, one.above) if place != OUTPUTS]
    found = result.measured(
        "afcc.fields",
        places=tuple(dict.fromkeys(places)),
        head_epochs=head_epochs,
        images=images,
        trained=trained,
    )
    return between, {place: torch.from_numpy(found.arrays[f"M@{place}"]) for place in dict.fromkeys(places)}
