"""How many gradient terms one image asks for, at most and in truth.

Meir et al., Sci. Rep. 13, 962 (2023), figure 2. A term is one use of one weight: a filter's weight at one
position and, in a Tree-3, in one branch; the sum over positions and branches comes later. With ReLU and max
pools most terms are exactly 0: the position did not win its pool, its value is 0, or what is above is silent.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from filterwise.errors import ParameterError
from filterwise.models.block import FilterNet
from filterwise.models.modes import evaluation_mode
from filterwise.models.trees import Tree3
from filterwise.papers.tree.routes import lenet_layers, side_behind

#: Layers of a Tree-3.
TREE_LAYERS = ("conv", "tree", "fc")
_AT_ONCE = 500


def first_layer_terms(net: nn.Module, shape: tuple[int, int, int] = (3, 32, 32)) -> tuple[int, int]:
    """Gradient terms of the first layer for one image of ``shape`` (C, S, S): all, and pools' winners alone.

    Weights times positions, in a Tree-3 times branches as well.
    Raises ParameterError if the network is neither a LeNet nor a Tree-3.

    >>> from filterwise import models
    >>> first_layer_terms(models.build("lenet5"))
    (352800, 88200)
    >>> first_layer_terms(models.build("tree3", K=6, M=16))[0]
    5644800
    """
    if isinstance(net, Tree3):
        conv, branches, pooled = net.filters.conv, net.tree.weight.shape[2], net.tree.weight.shape[-1] ** 2
    elif isinstance(net, FilterNet):
        convolutions, pools, _ = lenet_layers(net)
        conv, branches = convolutions[0], 1
        pooled = (side_behind(conv, shape[1]) // pools[0]) ** 2
    else:
        raise ParameterError(f"net is a {type(net).__name__}; terms are counted of a FilterNet or a Tree3")
    each = conv.weight.numel() * branches
    return each * side_behind(conv, shape[1]) ** 2, each * pooled


def tree_terms(net: Tree3, images: Tensor) -> tuple[dict[str, Tensor], dict[str, int]]:
    """Terms that are not 0 for each image, and all terms, of a Tree-3's three layers.

    A connection's term is the input times what comes back; the latter of an active unit is taken as not 0.
    ``images`` float (N, C, S, S). The first mapping has float64 (C, N), by colour, for "conv" and "tree", and
    (1, N) for "fc"; the second the number of all terms of that row.
    """
    colours, strips, branches, filters, rows, side = net.tree.weight.shape
    conv = net.filters.conv
    window = conv.weight[0].numel()
    with evaluation_mode(net):
        maps = net.filters(images)
        units = net.tree(maps).view(len(images), colours, strips, branches)
        inputs = net.tree.strips(maps).view(colours, strips, len(images), -1)
    positive = (inputs != 0).sum(-1, dtype=torch.float64)  # (C, strips, N)
    relu = isinstance(net.filters.activation, nn.ReLU)
    active = (units != 0) if relu else torch.ones_like(units, dtype=torch.bool)
    branch_count = active.sum(-1, dtype=torch.float64).permute(1, 2, 0)  # (C, strips, N)
    used = (positive * branch_count).sum(1)  # (C, N): pooled inputs above 0 that meet an active unit
    labels = net.classifier.out_features
    found = {"conv": used * window, "tree": used, "fc": branch_count.sum((0, 1))[None] * labels}
    whole = {
        "conv": side_behind(conv, images.shape[-1]) ** 2 * filters * branches * window,
        "tree": strips * rows * side * filters * branches,
        "fc": colours * strips * branches * labels,
    }
    return found, whole


def lenet_terms(net: FilterNet, images: Tensor, labels: Tensor) -> tuple[dict[str, Tensor], dict[str, int]]:
    """As :func:`tree_terms`, of a LeNet's layers "conv1", "conv2", "fc1", ... for the loss on ``labels``.

    A term is not 0 where the weight's input and the gradient of the unit that it feeds are not. Values are
    float64 (1, N).
    """
    kept: dict[str, tuple[Tensor, Tensor]] = {}
    handles = []
    convolutions, _, linear = lenet_layers(net)
    layers: dict[str, nn.Conv2d | nn.Linear] = {f"conv{n}": conv for n, conv in enumerate(convolutions, 1)}
    layers |= {f"fc{n}": module for n, module in enumerate(linear, 1)}
    for name, module in layers.items():

        def keep(_module: nn.Module, given: tuple[Tensor], out: Tensor, name: str = name) -> Tensor:
            kept[name] = (given[0].detach().clone(), out)
            return out.clone()  # ReLUs work in place, on this copy

        handles.append(module.register_forward_hook(keep))
    try:
        loss = nn.functional.cross_entropy(net(images), labels, reduction="sum")
        slopes = torch.autograd.grad(loss, [out for _, out in kept.values()])
    finally:
        for handle in handles:
            handle.remove()
    found, whole = {}, {}
    for (name, (given, out)), slope in zip(kept.items(), slopes, strict=True):
        module = layers[name]
        arriving, given = (slope != 0).to(torch.float64), (given != 0).to(torch.float64)
        if isinstance(module, nn.Conv2d):
            window = torch.ones_like(module.weight[:1], dtype=torch.float64)
            seen = nn.functional.conv2d(given, window, padding=module.padding)  # inputs that are not 0
            found[name] = (arriving * seen).sum((1, 2, 3))[None]
            whole[name] = out[0].numel() * module.weight[0].numel()
        else:
            found[name] = (arriving.sum(1) * given.sum(1))[None]
            whole[name] = module.weight.numel()
    return found, whole


def terms(net: nn.Module, images: Tensor, labels: Tensor) -> tuple[dict[str, Tensor], dict[str, int]]:
    """:func:`tree_terms` or :func:`lenet_terms` of many images, a few hundred at a time.

    Raises ParameterError if the network is neither.
    """
    if not isinstance(net, (Tree3, FilterNet)):
        raise ParameterError(f"net is a {type(net).__name__}; terms are counted of a FilterNet or a Tree3")
    parts = list(_parts(net, images, labels))
    return {name: torch.cat([found[name] for found, _ in parts], 1) for name in parts[0][0]}, parts[0][1]


def _parts(
    net: nn.Module, images: Tensor, labels: Tensor
) -> Iterator[tuple[dict[str, Tensor], dict[str, int]]]:
    for part, named in zip(images.split(_AT_ONCE), labels.split(_AT_ONCE), strict=True):
        if isinstance(net, Tree3):
            yield tree_terms(net, part)
        elif isinstance(net, FilterNet):
            yield lenet_terms(net, part, named)
