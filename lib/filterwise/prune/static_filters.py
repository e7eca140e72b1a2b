"""The static counterpart of masks for each image: the same filters are off for every image."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from filterwise.errors import ParameterError
from filterwise.prune.dynamic import StaticBlock, blocks_of, predicted_blocks, replace_block
from filterwise.prune.dynamic_macs import image_macs, observe
from filterwise.training.edits import Given, edits

#: Training images over which the saving of the other network is averaged, at most.
COUNTED_IMAGES = 2_000


def largest_filters(weight: Tensor, count: int) -> Tensor:
    """The ``count`` filters with the largest L1 norm (Li et al. 2017), bool (F,); of equal ones the first.

    ``weight``: (F, C, h, w).

    >>> largest_filters(torch.tensor([[[[1.0]]], [[[-3.0]]], [[[2.0]]]]), 2).tolist()
    [False, True, True]
    """
    norms = weight.detach().abs().flatten(1).sum(1)
    kept = torch.zeros(len(norms), dtype=torch.bool, device=norms.device)
    kept[norms.argsort(descending=True, stable=True)[:count]] = True
    return kept


@edits("static_twin")
def static_twin(net: nn.Module, given: Given) -> nn.Module:
    """The dense network that a network with predictors began with, pruned to the same multiply-accumulates.

    The run must start from one that put predictors on. How many filters that one uses, on average over
    training images and layer by layer, is where the static network begins; all layers are then scaled by one
    factor to the smallest number of multiply-accumulates that is not below. So the static network is never
    the cheaper one. In each layer the filters with the largest L1 norms stay.

    Raises ParameterError: the run does not start from a run with predictors that starts from a dense one.
    """
    dense: Any = given.start.start() if given.start is not None else None
    if dense is None or not predicted_blocks(net):
        raise ParameterError(
            "edit='static_twin' needs a run that starts from a run with edit='mask_predictors' that starts "
            "from a dense run"
        )
    chosen = torch.arange(min(COUNTED_IMAGES, len(given.train)))
    seen = observe(net, given.train.subset(chosen.tolist()), device=given.device)
    wanted = float(seen.macs.sum(1).double().mean())
    mean = {layer: float(mask.sum(1).double().mean()) for layer, mask in seen.masks.items()}

    def counts(factor: float) -> dict[str, Tensor]:
        full = {cost.layer: cost.filters for cost in seen.costs}
        return {
            layer: torch.tensor([min(max(round(factor * one), 1), full[layer])])
            for layer, one in mean.items()
        }

    def macs(factor: float) -> int:
        return int(image_macs(seen.costs, counts(factor), 1).sum())

    low, high = 0.0, max(cost.filters for cost in seen.costs) / min(max(one, 1e-9) for one in mean.values())
    for _ in range(60):  # macs grows with the factor; at ``high`` no filter is off
        middle = (low + high) / 2
        low, high = (low, middle) if macs(middle) >= wanted else (middle, high)
    static: nn.Module = dense.network()
    blocks = blocks_of(static)
    for layer, count in counts(high).items():
        block = blocks[layer]
        replace_block(static, layer, StaticBlock(block, largest_filters(block.conv.weight, int(count))))
    return static
