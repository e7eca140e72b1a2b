"""Where the label sets of a masked layer's filters are measured, read off the network's graph of operations.

A mask (out, in) on a layer needs two label sets. ``below``: of the channels that the layer reads, at its own
input, residual sums included. ``above``: of the channels that it gives, at the first tensor on their way that
a convolution or a linear layer reads: after batch norm, activation, residual sum and pooling.

A depthwise convolution has one input channel an output channel, so its channels inherit the label sets of
the channels that it reads. Squeeze-excitation reads and scales channels but does not decide where they are
used; it is passed by.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from filterwise.errors import ParameterError, near_miss
from filterwise.measure.hooks import check_layers
from filterwise.measure.probing import Place
from filterwise.prune.channel_paths import Traced
from filterwise.prune.masks import masked_layer

#: A pair (below, above) of places or module names; see :func:`places_of`.
Given = tuple[Place | str, Place | str | None]


@dataclass(frozen=True)
class LayerPlaces:
    """Where a layer's label sets are measured.

    ``layer``: the module that has the weights; ``below``: of its input channels; ``above``: of its output
    channels, or None for the layer that gives the labels' outputs, each of which stands for its own label.

    >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.ReLU(), nn.Conv2d(5, 2, 1))
    >>> found = places_of(net, ["2"])["2"]
    >>> print(found.below, "|", found.above)
    input of 2 | input of 4
    """

    layer: str
    below: Place
    above: Place | None


def places_of(
    net: nn.Module, layers: Sequence[str], places: Mapping[str, Given] | None = None
) -> dict[str, LayerPlaces]:
    """Where to measure the label sets for masks on these layers.

    Parameters
    ----------
    net
        Any network that ``torch.fx`` can trace: no branches on values. Others need ``places``.
    layers
        Names of convolutions or linear layers, or of modules that hold only one (a block).
    places
        By layer, given by hand instead: (below, above), each a ``Place`` or the name of a module, meaning its
        output; above may be None for the layer that gives the labels' outputs.

    Returns by layer, as named.

    Raises ParameterError: an unknown layer (the near miss is named); a convolution in groups, whose kernels
    do not join all channels; a layer that reads the images; a network that cannot be traced, or in which
    channels are mixed on their way (concatenated, say), without ``places``.

    >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.ReLU(),
    ...                     nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 2))
    >>> found = places_of(net, ["3", "7"])
    >>> print(found["3"].below, "|", found["3"].above, "|", found["7"].above)
    input of 3 | input of 7 | None
    """
    given, found = dict(places or {}), {}
    for layer in given:
        if layer not in layers:
            raise ParameterError(
                f"places names {layer!r}, which is not among layers{near_miss(layer, layers)}"
            )
    names = {layer: _prunable(net, layer) for layer in layers}
    traced = None
    for layer, name in names.items():
        if layer in given:
            below, above = (_placed(net, one) for one in given[layer])
            if below is None:
                raise ParameterError(f"places[{layer!r}] says no place below the layer")
            found[layer] = LayerPlaces(name, below, above)
        else:
            traced = traced or Traced(net)
            found[layer] = LayerPlaces(name, traced.below(name), traced.above(name))
    return found


def maskable_layers(net: nn.Module) -> list[str]:
    """Convolutions and linear layers that AFCC can mask, in the order in which they run.

    Those that join all channels of a layer below to all of one above: neither the first layer, which reads
    the images, nor depthwise kernels, nor squeeze-excitation.

    Raises ParameterError: the network cannot be traced, or channels are mixed on their way.

    >>> maskable_layers(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=4),
    ...                               nn.Conv2d(4, 8, 1), nn.Flatten(), nn.Linear(8, 2)))
    ['3', '5']
    """
    traced = Traced(net)
    return [
        str(node.target)
        for node in traced.graph.nodes
        if traced.is_reader(node) and not traced.is_depthwise(node) and not traced.gates(node)
        and traced.source(traced.read(node)).op != "placeholder"
        and getattr(traced.module(node), "groups", 1) == 1
    ]  # fmt: skip


def _prunable(net: nn.Module, layer: str) -> str:
    name, module, _ = masked_layer(net, layer)
    if getattr(module, "groups", 1) != 1:
        raise ParameterError(
            f"layer {layer!r} is a convolution in {module.groups} groups: its kernels do not join all "
            "channels, so there are no connections to choose from"
        )
    if not isinstance(module, (nn.Conv2d, nn.Linear)):
        raise ParameterError(f"layer {layer!r} is a {type(module).__name__}; Conv2d or Linear is needed")
    return name


def _placed(net: nn.Module, one: Place | str | None) -> Place | None:
    place = Place(one) if isinstance(one, str) else one
    if place is not None:
        check_layers(net, place.module)
    return place
