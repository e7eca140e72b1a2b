"""Routes in a whole network: where the gradient of an output arrives, and how sparse gradients are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from filterwise.data.augmentation import scale
from filterwise.errors import ParameterError, check_at_least
from filterwise.measure.hooks import check_finite, check_layers, measuring, measuring_device
from filterwise.models.block import Block
from filterwise.models.counting import layer_names

_POOLS = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)


@dataclass(frozen=True)
class RouteMaps:
    """Where the winning logit's gradient arrives, per image.

    Attributes
    ----------
    layer : the last convolutional layer; its activations are taken before its pool
    winners : int64 (N,), label of the largest logit
    activation, gradient : (N, F, h, w), activations of that layer and d logit / d activation
    input_gradient : (N, C, H, W), d logit / d image; the routes end where it is not 0

    >>> from filterwise import models
    >>> net = models.build("vgg", size=8, stages=((4, 1), (8, 1)))
    >>> found = route_maps(net, torch.rand(5, 3, 8, 8), device="cpu")
    >>> found.layer, found.winners.shape, found.input_gradient.shape
    ('features.2', torch.Size([5]), torch.Size([5, 3, 8, 8]))
    """

    layer: str
    winners: Tensor
    activation: Tensor
    gradient: Tensor
    input_gradient: Tensor

    @property
    def mask(self) -> Tensor:
        """The routes through the layer, bool (N, F, h, w): gradient where the unit is active.

        Behind a unit that its ReLU has silenced no route goes on, even where its gradient is not zero.
        """
        return (self.gradient != 0) & (self.activation != 0)

    @property
    def contribution(self) -> Tensor:
        """abs(activation * gradient), (N, F, h, w)."""
        return (self.activation * self.gradient).abs()


def route_maps(
    net: nn.Module, images: Tensor, layer: str | None = None, device: str | torch.device = "auto"
) -> RouteMaps:
    """Which positions of the last convolutional layer, and of the image, carry the winning logit's gradient.

    ``images``: (N, C, H, W); uint8 images are scaled to [-1, 1], as in training. ``layer``: another
    measurable layer; its activations are taken before its pool. Raises ParameterError on an unknown layer,
    or activations that are not finite.

    >>> from filterwise import models
    >>> net = models.build("vgg", size=8, stages=((4, 1), (8, 1), (8, 1)), inner=(), order="AP2-MP4")
    >>> route_maps(net, torch.zeros(5, 3, 8, 8)).gradient.shape
    torch.Size([5, 8, 8, 8])
    """
    name = layer_names(net)[-1] if layer is None else layer
    check_layers(net, name)
    device = measuring_device(net, device)
    with measuring(net, device), torch.enable_grad(), _before_pools(net, [name]) as caught:
        x = _floating(images.to(device)).requires_grad_()
        logits = net(x)
        check_finite(name, caught[name])
        best, winners = logits.max(1)
        gradient, input_gradient = torch.autograd.grad(best.sum(), [caught[name], x])
    return RouteMaps(name, winners.cpu(), caught[name].detach().cpu(), gradient.cpu(), input_gradient.cpu())


def gradient_sparsity(
    net: nn.Module, images: Tensor, labels: Tensor, batch: int = 100, device: str | torch.device = "auto"
) -> pd.DataFrame:
    """Share of units with a non-zero gradient of the loss, layer by layer.

    The units are those of each measurable layer before its pool; the loss is the cross-entropy. The weights'
    own gradients are not touched. ``images``: (N, C, H, W); uint8 images are scaled to [-1, 1], as in
    training; ``labels``: int64 (N,).
    Returns columns ``layer``; ``active``, the share of units with an activation; ``gradient``, the share that
    the pools above pass a gradient to; ``routes``, the share with both, where the gradient goes on.
    Raises ParameterError if there are no images, or not one label for each.

    >>> from filterwise import models
    >>> net = models.build("vgg", labels=3, channels=1, size=8, stages=((4, 1), (8, 1)))
    >>> gradient_sparsity(net, torch.rand(6, 1, 8, 8), torch.arange(6) % 3, device="cpu")["layer"].tolist()
    ['features.1', 'features.2']
    """
    check_at_least("batch", batch, 1)
    if len(images) == 0 or labels.shape != (len(images),):
        raise ParameterError(
            f"labels of shape {tuple(labels.shape)} for {len(images)} images are not allowed; "
            "give at least one image, and one label for each"
        )
    names = layer_names(net)
    device = measuring_device(net, device)
    counts = torch.zeros(len(names), 4, dtype=torch.int64)
    with measuring(net, device), torch.enable_grad(), _before_pools(net, names) as caught:
        for some, targets in zip(images.split(batch), labels.split(batch), strict=True):
            logits = net(_floating(some.to(device)).requires_grad_())
            loss = functional.cross_entropy(logits, targets.to(device), reduction="sum")
            gradients = torch.autograd.grad(loss, [caught[name] for name in names])
            for row, (name, gradient) in enumerate(zip(names, gradients, strict=True)):
                active, passed = caught[name] != 0, gradient != 0
                sums = [part.sum().item() for part in (active, passed, active & passed)]
                counts[row] += torch.tensor([*sums, gradient.numel()])
    shares = (counts[:, :3] / counts[:, 3:]).tolist()
    return pd.DataFrame(shares, columns=["active", "gradient", "routes"]).assign(layer=names)[
        ["layer", "active", "gradient", "routes"]
    ]


def _floating(images: Tensor) -> Tensor:
    return images.detach().clone() if images.is_floating_point() else scale(images)


@contextmanager
def _before_pools(net: nn.Module, names: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Catches each layer's activations where its pool reads them; of a layer without a pool, its output."""
    caught: dict[str, Tensor] = {}

    def reader(name: str) -> Callable[..., None]:
        return lambda _module, inputs: caught.update({name: inputs[0]})

    def keeper(name: str) -> Callable[..., None]:
        return lambda _module, _inputs, output: caught.update({name: output})

    handles = []
    for name in names:
        module = net.get_submodule(name)
        pool = module.pool if isinstance(module, Block) else module
        if isinstance(module, Block) or isinstance(pool, _POOLS):
            handles.append(pool.register_forward_pre_hook(reader(name)))
        else:
            handles.append(module.register_forward_hook(keeper(name)))
    try:
        yield caught
    finally:
        for handle in handles:
            handle.remove()
