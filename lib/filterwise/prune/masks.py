"""Masks on weights, through ``torch.nn.utils.prune``: put on, read off, and rebuilt for a stored network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from filterwise.errors import ParameterError, near_miss

_SUFFIX = "weight_mask"


def masked_layer(net: nn.Module, layer: str) -> tuple[str, nn.Module, Tensor]:
    """Name, module and weight that a mask of ``layer`` covers: its own, or the only one inside it.

    So a block of convolution, batch norm and ReLU stands for its convolution. Weights have two dimensions or
    more; the scales of a batch norm do not count.

    Raises ParameterError: no such layer (the near miss is suggested), none with weights in it, or several.

    >>> net = nn.Sequential(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)), nn.ReLU())
    >>> masked_layer(net, "0")[0]
    '0.0'
    """
    known = dict(net.named_modules())
    if layer not in known:
        raise ParameterError(f"layer {layer!r} is not in this network{near_miss(layer, filter(None, known))}")
    found = {
        f"{layer}.{name}".strip("."): module
        for name, module in known[layer].named_modules()
        if getattr(getattr(module, "weight", None), "ndim", 0) > 1
    }
    name = layer if layer in found else next(iter(found), "")
    if not found or (layer not in found and len(found) > 1):
        inside = f"{len(found)} layers with weights: {', '.join(found)}" if found else "no layer with weights"
        raise ParameterError(f"layer {layer!r} holds {inside}; name one that has weights")
    return name, found[name], cast(Tensor, found[name].weight)


def apply(net: nn.Module, masks: Mapping[str, Tensor]) -> nn.Module:
    """Set the weights of layers to zero where their masks are False, now and in all further training.

    Each layer's weight W becomes ``weight_orig * weight_mask`` before every forward pass
    (``torch.nn.utils.prune``), so that no optimiser step, momentum or weight decay brings a masked weight
    back. A second mask on a layer leaves what both leave. Biases are not masked.

    Parameters
    ----------
    net
        Changed in place.
    masks
        By layer, see :func:`masked_layer`: bool, of the weight's shape, or (out, in), which keeps or removes
        whole kernels of a convolution (out, in, height, width).

    Returns ``net``.

    Raises ParameterError: unknown layers, masks that are not boolean or do not fit; then no mask has been put
    on.

    >>> net = nn.Sequential(nn.Conv2d(2, 3, 3))
    >>> mask = torch.tensor([[True, False], [True, True], [False, False]])
    >>> [int((kernel != 0).sum()) for kernel in apply(net, {"0": mask})[0].weight]
    [9, 18, 0]
    """
    fitted = []
    for layer, mask in masks.items():
        _, module, weight = masked_layer(net, layer)
        shape = tuple(weight.shape)
        given = tuple(mask.shape) if isinstance(mask, Tensor) else type(mask).__name__
        if given not in (shape, shape[:2]):
            whole = f" or {shape[:2]}" if len(shape) > 2 else ""
            raise ParameterError(f"mask of layer {layer!r} has shape {given}; {shape}{whole} is needed")
        if mask.dtype != torch.bool:
            raise ParameterError(f"mask of layer {layer!r} has dtype {mask.dtype}; torch.bool is needed")
        whole_kernels = mask.view(*mask.shape, *[1] * (len(shape) - mask.ndim))
        fitted.append((module, whole_kernels.expand(shape).to(weight.device)))
    for module, mask in fitted:
        prune.custom_from_mask(module, "weight", mask)
    return net


def masks_of(net: nn.Module) -> dict[str, Tensor]:
    """The masks that are on a network: bool, of the weight's shape, by layer.

    >>> masks_of(apply(nn.Sequential(nn.Linear(2, 1)), {"0": torch.tensor([[True, False]])}))
    {'0': tensor([[ True, False]])}
    """
    return {
        name.removesuffix(_SUFFIX).rstrip("."): mask.bool()
        for name, mask in net.named_buffers()
        if name.split(".")[-1] == _SUFFIX
    }


def rebuild(net: nn.Module, state_names: Iterable[str]) -> nn.Module:
    """Masks that remove nothing, on every layer that has one in a stored state, so that this can be loaded.

    ``state_names`` are the names in the state, such as ``features.8.conv.weight_mask``. Layers that have a
    mask already keep it. After loading, weights are right from the next forward pass on.

    Raises ParameterError: the state masks a layer that the network does not have.

    >>> pruned = apply(nn.Sequential(nn.Linear(2, 1)), {"0": torch.tensor([[True, False]])})
    >>> stored = pruned.state_dict()
    >>> again = rebuild(nn.Sequential(nn.Linear(2, 1)), stored)
    >>> again.load_state_dict(stored)
    <All keys matched successfully>
    """
    for state_name in state_names:
        layer, _, last = state_name.rpartition(".")
        if last == _SUFFIX:
            name, module, _ = masked_layer(net, layer)
            if name != layer:
                raise ParameterError(f"the state masks layer {layer!r}, which has no weights in this network")
            if not hasattr(module, _SUFFIX):
                prune.identity(module, "weight")
    return net
