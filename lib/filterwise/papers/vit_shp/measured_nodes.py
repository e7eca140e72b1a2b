"""Pooled nodes of a trained transformer's places, measured once and read by all that prunes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from filterwise.errors import ParameterError
from filterwise.measure.token_heads import TOKEN_RECIPE, read_places
from filterwise.runs.measuring import measurements
from filterwise.runs.store import Result

#: Training images that probe heads learn from unless a run says otherwise, of every label equally many.
PROBE_IMAGES = 20_000


@measurements("vit.fields")
def pooled_nodes(
    result: Result,
    *,
    places: tuple[str, ...],
    probe_epochs: int = TOKEN_RECIPE.epochs,
    probe_images: int = PROBE_IMAGES,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Probe heads of some places on a run's training images, and what they read of its held-out images.

    ``probe_images``: so many training images, of every label equally many; 0, or no fewer than there are,
    for all. The row has ``probe_accuracy@place``; the arrays ``mu@place`` and ``weight@place``, float32
    (K, d), are the class means of the pooled nodes and the weights of the linear layer that reads them, from
    which the matrices of all nodes and heads follow.

    Raises ParameterError: the run holds out no images, so that test images would decide what is pruned.
    """
    if not result.run.data_kwargs.get("held_out"):
        raise ParameterError(
            "'vit.fields' decides what is pruned by held-out images, and this run holds none out; give it "
            "data_options={'held_out': 0.1}"
        )
    train = result.train_set()
    if 0 < probe_images < len(train):
        train = train.balanced(probe_images, seed=0)
    recipe = TOKEN_RECIPE.replace(epochs=probe_epochs)
    net, held_out = result.network(), result.test_set()
    readings = read_places(net, places, train, held_out, recipe, result.run.seed, result.device)
    arrays = {f"mu@{place}": one.mu.float().numpy() for place, one in readings.items()}
    arrays |= {f"weight@{place}": one.weight.float().numpy() for place, one in readings.items()}
    return {f"probe_accuracy@{place}": one.accuracy for place, one in readings.items()}, arrays


def nodes_of(
    result: Result,
    places: Sequence[str],
    probe_epochs: int = TOKEN_RECIPE.epochs,
    probe_images: int = PROBE_IMAGES,
) -> dict[str, tuple[Tensor, Tensor]]:
    """Place -> (mu, W), both (K, d), of a result's held-out images; read, or measured now.

    Raises ParameterError: as ``vit.fields`` does, and for places that the network does not have.
    """
    how = {"places": tuple(places), "probe_epochs": probe_epochs, "probe_images": probe_images}
    arrays = result.measured("vit.fields", **how).arrays
    return {
        place: (torch.from_numpy(arrays[f"mu@{place}"]), torch.from_numpy(arrays[f"weight@{place}"]))
        for place in places
    }
