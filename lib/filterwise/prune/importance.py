"""Scores of whole channels in Torch-Pruning's convention, and its structured magnitude pruning as a peer."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from filterwise.errors import ParameterError, check_choice, check_count
from filterwise.models.counting import parameter_count
from filterwise.models.modes import evaluation_mode
from filterwise.prune.channel_paths import Traced
from filterwise.prune.masks import masked_layer, masks_of
from filterwise.prune.on_networks import Pruned
from filterwise.prune.removal import (
    Channels,
    Removal,
    channel_groups,
    dependency_graph,
    example_inputs,
    layer_sizes,
    take_out,
    torch_pruning,
)  # fmt: skip

#: Halvings of the ratio: 2**-12 is less than one channel of 4,096.
HALVINGS = 12


def channel_scores(pruned: Pruned, by: str = "connections") -> dict[str, Tensor]:
    """A score for each output channel of the layers that were masked, (F,) by the layer's name.

    Parameters
    ----------
    pruned
        What ``afcc`` returned.
    by
        "connections": kept connections into the channel and, in masked layers, out of it; a channel that AFCC
        cuts off has 0. "fields": max_j M^f[j, j], the largest mean field that the filter alone gives to the
        right output.

    Returns nothing for the layer of the labels' outputs, whose channels cannot go.

    Raises ParameterError: another ``by``.

    >>> from filterwise import models
    >>> from filterwise.prune.on_networks import afcc
    >>> net = models.build("vgg", labels=2, channels=1, size=8, stages=((4, 1), (6, 1)))
    >>> inputs = torch.rand(60, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> pruned = afcc(net, ["features.2"], (inputs, torch.arange(60) % 2), amount=0.5)
    >>> {layer: scores.shape for layer, scores in channel_scores(pruned).items()}
    {'features.2.conv': torch.Size([6])}
    """
    check_choice("by", by, ("connections", "fields"))
    found = {}
    for layer, places in pruned.places.items():
        if places.above is None:
            continue
        if by == "fields":
            probe = pruned.probes[places.above]
            found[places.layer] = (probe.mean * probe.weight).sum(dim=2).amax(dim=0)
            continue
        count = _kept(pruned.masks[layer]).sum(dim=1)
        for other, theirs in pruned.places.items():
            if theirs.below == places.above:
                columns = _kept(pruned.masks[other]).sum(dim=0)
                count = count + columns.view(len(count), -1).sum(dim=1)
        found[places.layer] = count
    return found


def _kept(mask: Tensor) -> Tensor:
    """(out, in): 1 where any weight of a connection stays."""
    return (mask.flatten(2).any(dim=2) if mask.ndim > 2 else mask).float()


class ChannelImportance:
    """Scores by layer as an importance that Torch-Pruning's pruners take: group -> one score a channel.

    Where a residual sum joins several layers' channels, the mean of their scores counts. Groups without a
    layer that has scores get None, which leaves them unpruned.

    Parameters
    ----------
    net
        The network that is handed to the pruner, without masks (``filterwise.prune.removal.unmasked_copy``).
    scores
        (F,) by layer, such as :func:`channel_scores` gives.

    Raises ParameterError: a layer that is not there, or that has another number of channels.

    With Torch-Pruning::

        importance = ChannelImportance(net, channel_scores(pruned, by="fields"))
        tp.BasePruner(net, example, importance=importance, pruning_ratio=0.5, ignored_layers=[net.fc]).step()

    >>> import torch_pruning
    >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1))
    >>> importance = ChannelImportance(net, {"0": torch.tensor([0.1, 0.9, 0.2, 0.8])})
    >>> example, options = torch.zeros(1, 3, 8, 8), {"pruning_ratio": 0.5, "ignored_layers": [net[2]]}
    >>> torch_pruning.BasePruner(net, example, importance, **options).step()
    >>> net[0].out_channels
    2
    """

    def __init__(self, net: nn.Module, scores: Mapping[str, Tensor]) -> None:
        self.scores: dict[nn.Module, Tensor] = {}
        for layer, own in scores.items():
            _, module, weight = masked_layer(net, layer)
            if own.shape != weight.shape[:1]:
                raise ParameterError(
                    f"scores of layer {layer!r} have shape {tuple(own.shape)}; {(len(weight),)} is needed"
                )
            self.scores[module] = own.detach().cpu().float()

    def __call__(self, group: Any) -> Tensor | None:
        """Scores (channels of the group,), or None."""
        place = {root: number for number, root in enumerate(group[0].root_idxs)}
        total, layers = torch.zeros(len(place)), 0
        for item in group:
            module, handler = item.dep.target.module, item.dep.handler
            if module in self.scores and "out_channels" in handler.__name__:
                where = torch.tensor([place[root] for root in item.root_idxs])
                total.index_add_(0, where, self.scores[module][torch.tensor(item.idxs)])
                layers += 1
        return total / layers if layers else None


def remove_by_magnitude(
    net: nn.Module, layers: Sequence[str], kept_weights: int, shape: tuple[int, int, int] = (3, 32, 32)
) -> Removal:
    """Torch-Pruning's structured magnitude pruning, at a given number of weights that stay in some layers.

    Whole channels with the smallest ``GroupMagnitudeImportance`` (L2 norm of all weights of the channel, as
    its users take it) are removed, the same share of every group of channels that only the named layers
    give. The share is the largest number of channels at which at most ``kept_weights`` stay in the named
    layers, so that the comparison never favours this peer; how many stay is in the table.

    Parameters
    ----------
    net
        A network without masks; left as it was found.
    layers, kept_weights
        Convolutions or linear layers, and the weights that they may keep together, as in ``savings``.
    shape
        (C, H, W) of one input.

    Returns the smaller network and what is left of it.

    Raises TorchPruningMissing; ParameterError: unknown layers, a network with masks, or a number that cannot
    be reached by removing these layers' channels.

    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Conv2d(8, 2, 1))
    >>> smaller = remove_by_magnitude(net, ["0", "2"], kept_weights=400, shape=(3, 8, 8))
    >>> smaller.parameters_left < smaller.parameters
    True
    """
    package = torch_pruning()
    if masks_of(net):
        raise ParameterError("net has masks; structured pruning starts from the network without them")
    names = [masked_layer(net, layer)[0] for layer in layers]
    check_count("kept_weights", kept_weights)
    gates = set(Traced(net).gate_layers())
    low, high, best = 0.0, 1.0, None
    for turn in range(HALVINGS + 1):
        ratio = 1.0 if turn == 0 else (low + high) / 2
        small = _at_ratio(package, net, names, gates, ratio, shape)
        left = int(layer_sizes(small).loc[names, "weights"].sum())
        if left <= kept_weights:
            high, best = ratio, small
        elif turn == 0:
            raise ParameterError(
                f"kept_weights={kept_weights} cannot be reached: with one channel left in each, the layers "
                f"{', '.join(names)} keep {left}"
            )
        else:
            low = ratio
    assert best is not None
    table = layer_sizes(net).join(layer_sizes(best).add_suffix("_left"))
    return Removal(best, table, parameter_count(net), parameter_count(best), {})


def _at_ratio(
    package: Any,
    net: nn.Module,
    names: Sequence[str],
    gates: set[str],
    ratio: float,
    shape: tuple[int, int, int],
) -> nn.Module:
    """A copy without the share ``ratio`` of each group of channels; one channel stays everywhere."""
    small = copy.deepcopy(net)
    named = {small.get_submodule(name) for name in names}
    passed = {small.get_submodule(name) for name in gates}
    importance = package.importance.GroupMagnitudeImportance()
    with evaluation_mode(small):
        graph = dependency_graph(package, small, example_inputs(small, shape))
        plans = []
        for channels in channel_groups(graph):
            if not _only(channels, named, passed):
                continue
            handler = graph.get_pruner_of_module(channels.root).prune_out_channels
            group = graph.get_pruning_group(channels.root, handler, list(range(channels.count)))
            scores = importance(group)
            count = min(channels.count - 1, int(ratio * channels.count))
            if count:
                plans.append((channels.root, scores.argsort()[:count].sort().values))
        for root, weakest in plans:
            take_out(graph, root, weakest)
    for name, weight in small.named_parameters():
        weight.requires_grad_(net.get_parameter(name).requires_grad)
    return small


def _only(channels: Channels, named: set[nn.Module], gates: set[nn.Module]) -> bool:
    """Whether the named layers alone give these channels, but for gates that scale them."""
    writers = {module for module, _, _ in channels.writers}
    return bool(writers & named) and writers <= named | gates
