"""Routes between a unit of the first layer and an output, counted by walking through the network's layers.

Meir et al., Sci. Rep. 13, 962 (2023), figure 1: one route in a branch of a Tree-3, more than a million in
LeNet-5. The walk sets out at one pooled unit of one filter, at one position, because a filter's weights are
shared by all of them. Every layer hands on, along the connections that it really has, how many routes reach
each of its units; what stands on a connection plays no part.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from filterwise.errors import ParameterError, check_choice
from filterwise.models.block import Block, FilterNet
from filterwise.models.trees import Tree3

#: How a 2x2 max pool hands routes on. "winner": one of its four units does, each as likely, so a quarter of
#: the routes; "touched": a pooled unit counts once, if a route reaches any of the four; "all": as if
#: it summed.
RULES = ("winner", "touched", "all")


def count_routes(
    net: nn.Module, filter: int = 0, row: int = 5, column: int = 5, rule: str = "winner"
) -> Tensor:
    """Routes from one pooled unit of the first layer to every output, float64.

    Parameters
    ----------
    net : a LeNet, or a Tree-3
    filter, row, column : which unit; the default lies inside LeNet-5's map, where every window is whole
    rule : one of :data:`RULES`, for the pools above

    Returns (labels,) of a LeNet, (branches, labels) of a Tree-3.
    Raises ParameterError: another network, an unknown rule, or a unit outside of the map.

    >>> from filterwise import models
    >>> int(count_routes(models.build("lenet5"))[0]), int(count_routes(models.build("tree3", K=6, M=2))[0, 0])
    (1008000, 1)
    """
    check_choice("rule", rule, RULES)
    if isinstance(net, Tree3):
        return _through_tree(net, filter, row, column)
    if isinstance(net, FilterNet):
        return _through_layers(net, filter, row, column, rule)
    raise ParameterError(f"net is a {type(net).__name__}; routes are counted of a FilterNet or a Tree3")


def _one(shape: tuple[int, int, int], filter: int, row: int, column: int) -> Tensor:
    """One route at one unit of maps (F, h, w), as a batch of one image."""
    for name, value, size in zip(("filter", "row", "column"), (filter, row, column), shape, strict=True):
        if not 0 <= value < size:
            raise ParameterError(f"{name}={value!r} is outside of the first layer's maps {shape}")
    start = torch.zeros(1, *shape, dtype=torch.float64)
    start[0, filter, row, column] = 1
    return start


def lenet_layers(net: FilterNet) -> tuple[list[nn.Conv2d], list[int], list[nn.Linear]]:
    """Convolutions, the sides of the pools behind them, and fully connected layers.

    Raises ParameterError if a convolution has no pool behind it.
    """
    convolutions, pools = [], []
    for block in net.features:
        assert isinstance(block, Block)
        if not isinstance(block.pool, (nn.MaxPool2d, nn.AvgPool2d)):
            raise ParameterError("net has a convolution without a pool behind it; give a LeNet")
        convolutions.append(block.conv)
        side = block.pool.kernel_size
        pools.append(side if isinstance(side, int) else int(side[0]))
    return convolutions, pools, [module for module in net.classifier if isinstance(module, nn.Linear)]


def side_behind(conv: nn.Conv2d, side: int) -> int:
    """Side of the maps behind a convolution of stride 1, before a pool."""
    padding = conv.padding[0]
    assert isinstance(padding, int)
    return side + 2 * padding - conv.kernel_size[0] + 1


def _through_layers(net: FilterNet, filter: int, row: int, column: int, rule: str) -> Tensor:
    convolutions, pools, linear = lenet_layers(net)
    # the side of the first pooled map, backwards from what the fully connected part reads
    side = math.isqrt(linear[0].in_features // convolutions[-1].out_channels)
    for conv, pool in zip(convolutions[:0:-1], pools[:0:-1], strict=True):
        side = 2 * pool * side - side_behind(conv, pool * side)
    count = _one((convolutions[0].out_channels, side, side), filter, row, column)
    for conv, pool in zip(convolutions[1:], pools[1:], strict=True):
        wires = torch.ones_like(conv.weight, dtype=torch.float64)
        count = _pooled(F.conv2d(count, wires, padding=conv.padding), pool, rule)
    count = count.flatten(1)
    for layer in linear:
        count = count @ torch.ones(layer.in_features, layer.out_features, dtype=torch.float64)
    return count[0]


def _pooled(count: Tensor, size: int, rule: str) -> Tensor:
    if rule == "touched":
        return F.max_pool2d(count, size)
    mean = F.avg_pool2d(count, size)
    return mean if rule == "winner" else mean * size**2


def _through_tree(net: Tree3, filter: int, row: int, column: int) -> Tensor:
    colours, _, branches, filters, _, side = net.tree.weight.shape
    start = _one((colours * filters, side, side), filter, row, column)
    units = net.tree.strips(start).sum(-1)  # (C strips, 1): which strip holds the unit, whichever the branch
    labels = net.classifier.out_features
    wires = torch.ones(branches, len(units), labels, dtype=torch.float64)  # a branch has its own
    return torch.einsum("gn,mgl->ml", units, wires)
