r"""Dynamic pruning: which filters are computed is decided anew for every image, by a small predictor.

Elkerdawy et al., "Fire Together Wire Together" (2022). In front of a convolution stands a linear map of the
pooled input. It learns, from the network itself, which filters would answer this image most strongly:

    z = W softmax(pool(I)) + b,   M_c = 1 where z_c > 0, that is sigmoid(z_c) > 1/2

I is the layer's input and M the mask; what it shall be, g, is in `filterwise.prune.mass_masks`. M is taken
without gradient, so that a loss of the task never reaches a predictor.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from filterwise.errors import ParameterError, check_choice, refused
from filterwise.models.block import Block, FilterNet
from filterwise.prune.mass_masks import (
    check_ratio,
    check_share,
    filter_scores,
    filters_on,
    is_number,
    mass_mask,
    uniform_mask,
)
from filterwise.training.edits import Given, edits

POOLINGS = ("max", "average")
#: What decides which filters of a block are on: its predictor, the ground truth g, or nothing.
SOURCES = ("predicted", "target", "all")


class MaskPredictor(nn.Module):
    """P: one number an input channel, softmax over channels, and a 1x1 convolution with bias to F logits.

    The convolution starts at zero weights and the same bias everywhere, so that nothing is drawn. Above 0,
    all filters are on at first.

    Parameters
    ----------
    channels, filters : of the convolution that it stands before
    pool : "max" or "average", over all positions
    bias : where all biases begin

    >>> MaskPredictor(3, 8)(torch.rand(5, 3, 16, 16)).shape
    torch.Size([5, 8])
    """

    def __init__(self, channels: int, filters: int, pool: str = "max", bias: float = 1.0) -> None:
        super().__init__()
        check_choice("pool", pool, POOLINGS)
        self.pool = pool
        self.weight = nn.Parameter(torch.zeros(filters, channels))
        self.bias = nn.Parameter(torch.full((filters,), float(bias)))

    def extra_repr(self) -> str:
        filters, channels = self.weight.shape
        return f"{channels}, {filters}, pool={self.pool!r}"

    def pooled(self, x: Tensor) -> Tensor:
        """e: (n, C, h, w) -> (n, C)."""
        return x.amax(dim=(2, 3)) if self.pool == "max" else x.mean(dim=(2, 3))

    def logits(self, pooled: Tensor) -> Tensor:
        """z: e (n, C) -> (n, F), in float32 whatever the precision of the network: z decides by its sign."""
        kind = pooled.device.type
        # the meta device, where operations are only counted, has no autocast
        with nullcontext() if kind == "meta" else torch.autocast(kind, enabled=False):
            return F.linear(pooled.float().softmax(1), self.weight, self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """z: (n, C, h, w) -> (n, F)."""
        return self.logits(self.pooled(x))


@dataclass(frozen=True)
class Seen:
    """What a block saw and decided for n images: ``pooled`` input e (n, C), with its graph; logits z,
    ground truth g and the mask that was applied, all (n, F) and without one."""

    layer: str
    pooled: Tensor
    logits: Tensor
    target: Tensor
    mask: Tensor


class PredictedBlock(nn.Module):
    """A block whose filters are switched on and off for every image by a predictor.

    The mask is applied to ReLU(BN(conv(x))), before the pool; as no activation is negative, it would be the
    same after it. Every filter is computed, also those that are off: what a network that gathers its active
    filters would save is counted in `filterwise.prune.dynamic_macs`. Batch norms see the unmasked maps of
    masked inputs, in training and afterwards. Weights have the names that they had.

    Parameters
    ----------
    block : whose convolution, batch norm, ReLU and pool become this one's
    layer : its name in the network
    r, uniform : the mass that g keeps, or the share of filters that it drops; one of them is None
    pool, bias : of the predictor
    floor : share of the filters that stay on whatever the predictor answers, those of largest logit

    ``source`` says what decides, one of :data:`SOURCES`; it is "predicted" and no part of the state.
    """

    def __init__(
        self,
        block: Block,
        layer: str,
        r: float | None = None,
        uniform: float | None = None,
        pool: str = "max",
        floor: float = 0.25,
        bias: float = 1.0,
    ) -> None:
        super().__init__()
        self.conv, self.bn, self.relu, self.pool = block.conv, block.bn, block.relu, block.pool
        self.layer, self.r, self.uniform, self.floor = layer, r, uniform, floor
        self.predictor = MaskPredictor(block.conv.in_channels, block.conv.out_channels, pool, bias)
        self.predictor.to(block.conv.weight.device)
        self.source = "predicted"
        self.seen: list[Seen] | None = None

    def extra_repr(self) -> str:
        return f"r={self.r}, uniform={self.uniform}, floor={self.floor}"

    def target(self, scores: Tensor) -> Tensor:
        """g of scores (n, F), bool (n, F)."""
        if self.r is not None:
            return mass_mask(scores, self.r)
        return uniform_mask(scores, self.uniform or 0.0)

    def forward(self, x: Tensor) -> Tensor:
        """Activations of the filters that are on, 0 of all others. (N, C, h, h) -> (N, F, h', h')"""
        pooled = self.predictor.pooled(x)
        maps = self.relu(self.bn(self.conv(x)))
        with torch.no_grad():
            logits = self.predictor.logits(pooled)
            need = self.seen is not None or self.source == "target"
            target = self.target(filter_scores(maps).float()) if need else torch.empty(0)
            if self.source == "all":
                mask = torch.ones_like(logits, dtype=torch.bool)
            else:
                mask = target if self.source == "target" else filters_on(logits, self.floor)
        if self.seen is not None:
            self.seen.append(Seen(self.layer, pooled, logits, target, mask))
        return self.pool(maps * mask[:, :, None, None].to(maps.dtype))


class StaticBlock(nn.Module):
    """A block of which only the filters ``kept``, bool (F,), answer; all others give 0, as if removed.

    Unlike masks on weights this also silences the bias and the batch norm of a filter that is off.
    """

    kept: Tensor

    def __init__(self, block: Block, kept: Tensor) -> None:
        super().__init__()
        self.conv, self.bn, self.relu, self.pool = block.conv, block.bn, block.relu, block.pool
        self.register_buffer("kept", kept.to(block.conv.weight.device))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, h) -> (N, F, h', h')"""
        maps = self.relu(self.bn(self.conv(x)))
        return self.pool(maps * self.kept[None, :, None, None].to(maps.dtype))


def predicted_blocks(net: nn.Module) -> list[PredictedBlock]:
    """The blocks with a predictor, bottom to top."""
    return [module for module in net.modules() if isinstance(module, PredictedBlock)]


@contextmanager
def watching(net: nn.Module) -> Iterator[list[Seen]]:
    """Collect what the blocks of ``net`` see while the ``with`` block runs, in the order of the passes."""
    seen: list[Seen] = []
    blocks = predicted_blocks(net)
    try:
        for block in blocks:
            block.seen = seen
        yield seen
    finally:
        for block in blocks:
            block.seen = None


@contextmanager
def masks_from(net: nn.Module, source: str) -> Iterator[nn.Module]:
    """Let all blocks take their masks from one of :data:`SOURCES` while the ``with`` block runs.

    Raises ParameterError: no such source.
    """
    check_choice("source", source, SOURCES)
    blocks = predicted_blocks(net)
    before = [block.source for block in blocks]
    try:
        for block in blocks:
            block.source = source
        yield net
    finally:
        for block, own in zip(blocks, before, strict=True):
            block.source = own


@edits("mask_predictors")
def put_predictors(
    net: nn.Module,
    given: Given,
    *,
    r: float | None = None,
    uniform: float | None = None,
    pool: str = "max",
    floor: float = 0.25,
    layers: Sequence[str] = (),
    bias: float = 1.0,
) -> None:
    """Put a predictor before the convolution of each named block, of all if none is named.

    Deterministic: nothing is drawn. The options are those of :class:`PredictedBlock`.

    Raises ParameterError: the network is not made of blocks, a layer is none of them or has a predictor,
    not exactly one of ``r`` and ``uniform`` is given, or a value is out of its range.
    """
    if (r is None) == (uniform is None):
        given_both = f"r={r!r} and uniform={uniform!r}"
        raise ParameterError(f"{given_both}: give one, the mass r to keep or the share of filters to drop")
    if r is not None:
        check_share("r", r)
    else:
        check_ratio("uniform", uniform)
    check_choice("pool", pool, POOLINGS)
    if not is_number(floor) or not 0 <= floor <= 1:
        raise refused("floor", floor, "it must be a share of the filters, from 0 to 1")
    if not is_number(bias):
        raise refused("bias", bias, "it must be a finite number")
    blocks = blocks_of(net)
    if isinstance(layers, str):
        raise refused("layers", layers, f"give a list of names, such as [{layers!r}]")
    for layer in layers:
        check_choice("layers", layer, blocks)
    for layer in layers or blocks:
        replace_block(net, layer, PredictedBlock(blocks[layer], layer, r, uniform, pool, floor, bias))


def blocks_of(net: nn.Module) -> Mapping[str, Block]:
    """The plain blocks of a network by name, bottom to top.

    Raises ParameterError: the network is no stack of blocks, or has none that is plain.
    """
    features = net.features.named_children() if isinstance(net, FilterNet) else ()
    found = {f"features.{name}": block for name, block in features if isinstance(block, Block)}
    if not found:
        kind = type(net).__name__
        raise ParameterError(f"masks for each image need a FilterNet with plain blocks; this is a {kind}")
    return found


def replace_block(net: nn.Module, layer: str, block: nn.Module) -> None:
    """Put a block in the place of another one."""
    parent, _, name = layer.rpartition(".")
    setattr(net.get_submodule(parent), name, block)
