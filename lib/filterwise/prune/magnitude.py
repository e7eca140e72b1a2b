"""Magnitude pruning: the weights, or the kernels, that are largest stay."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from filterwise.errors import ParameterError
from filterwise.prune.masks import apply, masked_layer
from filterwise.training.edits import Given, edits


def largest(weight: Tensor, keep: float, kernels: bool = False) -> Tensor:
    """Mask of the share ``keep`` of a layer's weights whose modulus is largest.

    Exactly round(keep * number) stay, at least one; of equal ones the first.

    Parameters
    ----------
    weight
        (out, in), or (out, in, height, width) of a convolution.
    keep
        Above 0, at most 1.
    kernels
        Rank whole kernels by their L2 norm instead of single weights.

    Returns bool: of the shape of ``weight``, or (out, in) for kernels.

    Raises ParameterError: a share that is not in (0, 1].

    >>> largest(torch.tensor([[3.0, -4.0], [1.0, 0.0]]), keep=0.5)
    tensor([[ True,  True],
            [False, False]])
    """
    if not 0 < keep <= 1:
        raise ParameterError(f"keep={keep!r} is not allowed; it must be above 0 and at most 1")
    size = weight.detach().abs()
    if kernels:
        size = size.flatten(2).norm(dim=2) if size.ndim > 2 else size
    order = size.flatten().argsort(descending=True, stable=True)
    mask = torch.zeros(size.numel(), dtype=torch.bool, device=size.device)
    mask[order[: max(1, round(keep * size.numel()))]] = True
    return mask.view(size.shape)


@edits("magnitude")
def keep_largest(
    net: nn.Module, given: Given, *, layers: str | Sequence[str], keep: float, kernels: bool = False
) -> None:
    """Mask all but the largest weights of each named layer; see :func:`largest`.

    The share is one of all the layer's weights, also if a mask has removed some before.

    Raises ParameterError: unknown layers, or a share that is not in (0, 1].
    """
    named = [layers] if isinstance(layers, str) else layers
    apply(net, {name: largest(masked_layer(net, name)[2], keep, kernels) for name in named})
