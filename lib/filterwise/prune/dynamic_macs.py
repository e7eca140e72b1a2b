r"""What masks for each image save: multiply-accumulates of convolutions, image by image.

With k_l filters on in layer l, k_0 the image's channels, layer l costs k_l k_(l-1) H_l W_l h^2 with kernels
of side h (Elkerdawy et al. 2022): both sides count, so that a saving is nearly quadratic. Predictors cost C F
each and are counted apart. Fully connected layers, batch norms and pools are not counted, as in the paper.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from filterwise.data.augmentation import scale
from filterwise.data.imageset import ImageSet
from filterwise.errors import ParameterError
from filterwise.measure.hooks import measuring, measuring_device
from filterwise.models.block import Block, FilterNet
from filterwise.prune.dynamic import PredictedBlock, StaticBlock, masks_from, predicted_blocks, watching
from filterwise.training.steps import hits


@dataclass(frozen=True)
class LayerCost:
    """A convolution: ``per_pair`` = H W h^2 multiply-accumulates of one filter on one input channel, and its
    predictor's, 0 without one."""

    layer: str
    channels: int
    filters: int
    per_pair: int
    predictor: int = 0


def layer_costs(net: nn.Module, shape: Sequence[int]) -> list[LayerCost]:
    """The convolutions of a network for images of ``shape`` (C, h, w), bottom to top.

    Raises ParameterError: the network is no stack of blocks.

    >>> from filterwise.models import build
    >>> net = build("vgg", channels=1, size=8, stages=((4, 1), (8, 1)))
    >>> [cost.per_pair for cost in layer_costs(net, (1, 8, 8))]
    [576, 144]
    """
    if not isinstance(net, FilterNet):
        raise ParameterError(f"a FilterNet is needed to count by layer; this is a {type(net).__name__}")
    found: list[LayerCost] = []
    sizes: dict[str, int] = {}
    handles = []
    for name, block in net.features.named_children():
        if not isinstance(block, Block | PredictedBlock | StaticBlock):
            raise ParameterError(f"layer 'features.{name}' is a {type(block).__name__} and no block")

        def note(_: nn.Module, __: object, maps: Tensor, name: str = name) -> None:
            sizes[name] = maps.shape[2] * maps.shape[3]

        handles.append(block.conv.register_forward_hook(note))
    try:
        with measuring(net), torch.no_grad():
            net(torch.zeros(1, *shape, device=next(net.parameters()).device))
    finally:
        for handle in handles:
            handle.remove()
    for name, block in net.features.named_children():
        conv = block.conv
        assert isinstance(conv, nn.Conv2d)
        pairs = sizes[name] * conv.kernel_size[0] * conv.kernel_size[1]
        own = conv.in_channels * conv.out_channels if isinstance(block, PredictedBlock) else 0
        found.append(LayerCost(f"features.{name}", conv.in_channels, conv.out_channels, pairs, own))
    return found


def image_macs(costs: Sequence[LayerCost], active: Mapping[str, Tensor], images: int) -> Tensor:
    """Multiply-accumulates of every image and layer, int64 (N, L).

    ``active``: filters that are on, int (N,), by layer; a layer that is not named has all of them on.

    >>> costs = [LayerCost("features.1", 1, 4, 576), LayerCost("features.2", 4, 8, 144)]
    >>> image_macs(costs, {"features.1": torch.tensor([2, 4])}, 2).tolist()
    [[1152, 2304], [2304, 4608]]
    """
    below = torch.full((images,), costs[0].channels)
    columns = []
    for cost in costs:
        here = active.get(cost.layer, torch.full((images,), cost.filters)).long()
        columns.append(here * below * cost.per_pair)
        below = here
    return torch.stack(columns, 1)


@dataclass(frozen=True)
class Observed:
    """What a network with masks does on a set of N images; all on the CPU.

    ``masks``, ``targets`` and ``answers``: by layer, bool (N, F): what was applied, the ground truth g, and
    z > 0 without the floor; the last two of layers with predictors only. ``macs`` (N, L) of the layers in
    ``costs``; ``right`` (N,): which images are named rightly.
    """

    costs: list[LayerCost]
    masks: dict[str, Tensor]
    targets: dict[str, Tensor]
    answers: dict[str, Tensor]
    macs: Tensor
    right: Tensor

    @property
    def full(self) -> Tensor:
        """The multiply-accumulates of each layer with all filters, int64 (L,)."""
        return image_macs(self.costs, {}, 1)[0]

    @property
    def share(self) -> float:
        """The share of all multiply-accumulates of convolutions that is left, mean over images."""
        return float(self.macs.sum(1).double().mean() / self.full.sum())

    @property
    def layer_shares(self) -> dict[str, float]:
        """The same by layer."""
        kept = self.macs.double().mean(0) / self.full
        return {cost.layer: float(one) for cost, one in zip(self.costs, kept, strict=True)}

    @property
    def predictor_share(self) -> float:
        """What the predictors cost, as a share of all multiply-accumulates of convolutions."""
        return sum(cost.predictor for cost in self.costs) / float(self.full.sum())

    @property
    def accuracy(self) -> float:
        """Share of images that are named rightly."""
        return float(self.right.double().mean())


def observe(
    net: nn.Module,
    ds: ImageSet,
    source: str = "predicted",
    batch: int = 500,
    device: str | torch.device = "auto",
) -> Observed:
    """One pass over a set in evaluation mode; the network is left as it was.

    Parameters
    ----------
    net : a stack of blocks; with predictors, with fixed masks, or with neither
    source : where masks come from; "target" puts the ground truth in place of the predictors' answers, which
        on a network that was not retrained foresees the saving before any training

    Raises ParameterError: no such source, or the network is no stack of blocks.
    """
    where = measuring_device(net, device)
    costs = layer_costs(net, ds.shape)
    kept: dict[str, dict[str, list[Tensor]]] = {name: {} for name in ("mask", "target", "answer")}
    right = []
    with measuring(net, where), masks_from(net, source), torch.no_grad():
        for images, labels in ds.batches(batch):
            with watching(net) as seen:
                logits = net(scale(images.to(where)))
            right.append(hits(logits.cpu(), labels.cpu()))
            for one in seen:
                parts = {"mask": one.mask, "target": one.target, "answer": one.logits > 0}
                for name, part in parts.items():
                    kept[name].setdefault(one.layer, []).append(part.cpu())
    masks, targets, answers = (
        {layer: torch.cat(parts) for layer, parts in kept[name].items()}
        for name in ("mask", "target", "answer")
    )
    for cost, block in zip(costs, net.features, strict=True):  # type: ignore[arg-type]
        if isinstance(block, StaticBlock):
            masks[cost.layer] = block.kept.cpu().expand(len(ds), -1)
    active = {layer: mask.sum(1) for layer, mask in masks.items()}
    macs = image_macs(costs, active, len(ds))
    return Observed(costs, masks, targets, answers, macs, torch.cat(right))


def foreseen(net: nn.Module, ds: ImageSet, device: str | torch.device = "auto") -> Observed:
    """What ground-truth masks save, and what they cost, on a network whose predictors are not trained.

    Raises ParameterError: no block has a predictor.
    """
    if not predicted_blocks(net):
        raise ParameterError("no block has a predictor; put them on with the edit 'mask_predictors'")
    return observe(net, ds, "target", device=device)
