"""The changes of a network with which the runs of chapter 5 begin: masks, measured or imposed.

Tzach et al., Phys. Rev. E 111, 065307 (2025).
"""

from __future__ import annotations

import torch
from torch import nn

from filterwise.errors import ParameterError, check_choice
from filterwise.measure.head_training import generator_for
from filterwise.papers.afcc.measured_fields import fields_of
from filterwise.prune.cluster_connections import afcc_mask
from filterwise.prune.criteria import keep_top
from filterwise.prune.equal_amount import OUTPUTS, Between, Connections, joined_by
from filterwise.prune.filter_labels import cyclic_label_sets, random_label_sets, warn_of_lost
from filterwise.prune.importance import remove_by_magnitude
from filterwise.prune.masks import apply, masked_layer
from filterwise.prune.on_networks import afcc
from filterwise.prune.places import maskable_layers
from filterwise.runs.store import Result
from filterwise.training.edits import Given, edits


def root_of(start: Result) -> Result:
    """The result at the beginning of a chain of runs: the network that has not been pruned."""
    below = start.start()
    return start if below is None else root_of(below)


@edits("connections")
def prune_connections(
    net: nn.Module,
    given: Given,
    *,
    layers: tuple[str, ...],
    criterion: str = "afcc",
    threshold: float = 0.3,
    share: str = "label",
    images: str = "held_out",
    head_epochs: int = 10,
    beside: tuple[str, ...] = (),
    anew: bool = False,
    draw: int = 0,
) -> nn.Module | None:
    """Mask the connections of some layers by AFCC, or as many by another criterion.

    Parameters
    ----------
    layers
        Blocks or linear layers; all are masked at once.
    criterion, threshold, share
        See ``filterwise.prune.equal_amount.Connections``; the threshold sets the amount for every criterion.
        "structured" takes out whole channels instead, by Torch-Pruning's group magnitude, until the
        convolutions together keep no more weights than AFCC leaves them; what is left of the output layer is
        masked by magnitude to AFCC's number.
    images
        Which decide the clusters: "held_out", or "test" as in the group's scripts.
    head_epochs
        Of the probe heads.
    beside
        Layers that are measured in the same pass, see ``fields_of``.
    anew
        Measure the network that the run starts from; otherwise the one that was never pruned.
    draw
        Another draw, for what is drawn.

    Raises ParameterError: a run without a start, unknown layers or criteria; TorchPruningMissing.
    """
    if given.start is None:
        raise ParameterError("edit='connections' measures a trained network: give the run a start")
    measured = given.start if anew else root_of(given.start)
    between, fields = fields_of(measured, tuple(layers), head_epochs, images, beside=tuple(beside))
    found = Connections(between, fields, threshold, share)
    if criterion == "afcc":
        for layer, one in between.items():
            if one.above == OUTPUTS:
                warn_of_lost(found.sets[one.below], given.train.label_names, layer)
    if criterion == "structured":
        return _structured(net, found, given)
    generator = generator_for(given.seed, f"criterion {criterion} {draw}")
    apply(net, found.masks(net, criterion, generator))
    return None


def _structured(net: nn.Module, found: Connections, given: Given) -> nn.Module:
    """The network with fewer channels, and as many weights as AFCC leaves."""
    kept = {layer: int(mask.sum()) for layer, mask in found.masks(net).items()}
    outputs = [layer for layer, one in found.between.items() if one.above == OUTPUTS]
    convolutions = [layer for layer in found.between if layer not in outputs]
    total = sum(kept[layer] for layer in convolutions)
    small = remove_by_magnitude(net, convolutions, total, given.train.shape).net
    for layer in outputs:
        weight = masked_layer(small, layer)[2]
        apply(small, {layer: keep_top(weight.detach().abs(), min(kept[layer], weight.numel()))})
    return small


@edits("connections-anywhere")
def prune_anywhere(net: nn.Module, given: Given, *, criterion: str = "afcc", threshold: float = 0.3) -> None:
    """Mask all maskable layers of any network, see ``filterwise.prune.maskable_layers``; the held-out images
    of the start decide.

    In EfficientNet-B0 these are the 1x1 expansions, projections, the last 1x1 convolution and the output
    layer; label sets are those where channels are used, residual sums included.

    Raises ParameterError: a run without a start, or an unknown criterion.
    """
    if given.start is None:
        raise ParameterError("edit='connections-anywhere' measures a trained network: give the run a start")
    layers, images = maskable_layers(net), root_of(given.start).test_set()
    afcc(net, layers, images, threshold, criterion, pool=2, seed=given.seed, device=given.device)


@edits("imposed-sets")
@torch.no_grad()
def impose_sets(
    net: nn.Module, given: Given, *, layers: tuple[str, ...], sets: str = "random", size: int = 5
) -> None:
    """Masks from label sets that nobody measured: Random AFCC, or Artificial AFCC with cyclic sets.

    Every filter around the layers gets ``size`` labels, all labels about equally often. Surviving weights of
    the output layer begin in U(-b, b), b = 1 / sqrt(surviving inputs of the output).

    Raises ParameterError: unknown layers, or kinds of sets.
    """
    check_choice("sets", sets, ("random", "cyclic"))
    known = joined_by(net)
    for layer in layers:
        check_choice("layers", layer, known)
    labels = given.train.labels_count
    chosen = {OUTPUTS: torch.eye(labels, dtype=torch.bool)}
    masks = {}
    for layer in layers:
        one: Between = known[layer]
        weight = masked_layer(net, layer)[2]
        filters = {one.above: weight.shape[0], one.below: _filters(net, one.below)}
        for place, count in filters.items():
            if place not in chosen:
                draws = generator_for(given.seed, f"label sets {place}")
                chosen[place] = (
                    random_label_sets(count, labels, size, draws)
                    if sets == "random"
                    else cyclic_label_sets(count, labels, size)
                )
        mask = afcc_mask(chosen[one.above], chosen[one.below])
        masks[layer] = mask.repeat_interleave(weight.shape[1] // mask.shape[1], dim=1)
        if one.above == OUTPUTS:
            bounds = 1 / masks[layer].sum(dim=1, keepdim=True).clamp_min(1).sqrt()
            draws = generator_for(given.seed, f"weights {layer}")
            weight.copy_((2 * torch.rand(weight.shape, generator=draws) - 1) * bounds)
    apply(net, masks)


def _filters(net: nn.Module, place: str) -> int:
    """Filters of the last layer with weights in a place."""
    return int(masked_layer(net, place)[2].shape[0])
