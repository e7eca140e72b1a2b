"""Pooled nodes of a trained transformer's places, measured once and read by all that prunes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from filterwise.errors import ParameterError
from filterwise.measure.places_of_encoders import encoder_numbers, encoder_place
from filterwise.measure.token_heads import TOKEN_RECIPE, read_places
from filterwise.prune.transformer_masks import joined_nodes, measured_places
from filterwise.runs.measuring import measurements
from filterwise.runs.store import Result


@measurements("vit.fields")
def pooled_nodes(
    result: Result, *, places: tuple[str, ...], head_epochs: int = TOKEN_RECIPE.epochs
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Probe heads of some places on a run's training images, and what they read of its held-out images.

    The row has ``probe_accuracy@place``; the arrays ``mu@place`` and ``weight@place``, float32 (K, d), are
    the class means of the pooled nodes and the weights of the linear layer that reads them, from which the
    matrices of all nodes and heads follow.

    Raises ParameterError: the run holds out no images, so that test images would decide what is pruned.
    """
    if not result.run.data_kwargs.get("held_out"):
        raise ParameterError(
            "'vit.fields' decides what is pruned by held-out images, and this run holds none out; give it "
            "data_options={'held_out': 0.1}"
        )
    recipe = TOKEN_RECIPE.replace(epochs=head_epochs)
    readings = read_places(
        result.network(), places, result.train_set(), result.test_set(), recipe, result.run.seed,
        result.device,
    )  # fmt: skip
    arrays = {f"mu@{place}": one.mu.float().numpy() for place, one in readings.items()}
    arrays |= {f"weight@{place}": one.weight.float().numpy() for place, one in readings.items()}
    return {f"probe_accuracy@{place}": one.accuracy for place, one in readings.items()}, arrays


def pruned_places(net: nn.Module) -> tuple[str, ...]:
    """The places that prunings of this network need by default: around all layers that ANDC masks, the
    attention's included, and every encoder's heads; together, so that one measurement serves all of them.
    """
    heads = [encoder_place(net, "qkv", m) for m in encoder_numbers(net)]
    return tuple(dict.fromkeys([*measured_places(joined_nodes(net, attention=True)), *heads]))


def nodes_of(
    result: Result, net: nn.Module, places: Sequence[str], head_epochs: int = TOKEN_RECIPE.epochs
) -> dict[str, tuple[Tensor, Tensor]]:
    """Place -> (mu, W), both (K, d), of a result's network ``net``; read, or measured now.

    Raises ParameterError: as ``vit.fields`` does, and for places that the network does not have.
    """
    whole = tuple(dict.fromkeys([*pruned_places(net), *places]))
    arrays = result.measured("vit.fields", places=whole, head_epochs=head_epochs).arrays
    return {
        place: (torch.from_numpy(arrays[f"mu@{place}"]), torch.from_numpy(arrays[f"weight@{place}"]))
        for place in places
    }
