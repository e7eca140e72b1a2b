"""Routes: the paths of non-zero gradient from an output back through the pools (Meir et al. 2023, mechanism).

A max pool passes the gradient to one winner per window, an average pool to all of its window. In a series that
pools a map of s x s to one number, A the product of the average pools' sizes, A^2 positions carry a gradient of
1/A^2 each, whatever the order; the order decides where they are: max first leaves one winner in each small block
all over the map, average first one whole block of A x A.
"""

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
from filterwise.measure.hooks import check_layers, measuring, measuring_device
from filterwise.models import Block, layer_names, parse_order, pool_series
from filterwise.models.pooling import order_name, shrink

#: The head orders of the reference table: all of total 8 with one or two steps, and one of three.
REFERENCE_ORDERS = ("MP8", "AP8", "MP2-AP4", "AP4-MP2", "MP4-AP2", "AP2-MP4", "MP2-AP2-MP2")

_POOLS = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)


@dataclass(frozen=True)
class Routes:
    """What one pooling series does to maps x (..., s, s), each pooled to one number.

    Attributes
    ----------
    output : Tensor (...)
        The pooled number.
    weights : Tensor (..., s, s)
        d output / d x, by autograd.
    mask : Tensor bool (..., s, s)
        The routes: where ``weights`` is not zero.
    count : Tensor int64 (...)
        Number of routes.
    tied : Tensor int64 (...)
        Number of routes if every pixel within the tolerance of its window's maximum counts as a winner;
        autograd names only one of them. Equal to ``count`` on maps without ties.
    spread : Tensor (...)
        Root mean square distance of the routes from their centre, in pixels.
    """

    output: Tensor
    weights: Tensor
    mask: Tensor
    count: Tensor
    tied: Tensor
    spread: Tensor


def routes(x: Tensor, order: str, tolerance: float = 1e-6) -> Routes:
    """The routes of maps through a pooling series.

    Parameters
    ----------
    x : Tensor, floating point (..., s, s)
        Maps; s is what the order divides by.
    order : str
        For instance "MP2-AP4".
    tolerance : float
        Two pixels of a max pool's window are tied if they differ by no more, in units of the map.

    Raises
    ------
    ParameterError
        On an unknown order, or maps that it does not pool to one number.

    >>> x = torch.arange(16.0).reshape(4, 4)
    >>> found = routes(x, "MP2-AP2")
    >>> found.output.item(), found.count.item(), found.mask.nonzero().tolist()
    (10.0, 4, [[1, 1], [1, 3], [3, 1], [3, 3]])
    >>> routes(x, "AP2-MP2").mask.nonzero().tolist()
    [[2, 2], [2, 3], [3, 2], [3, 3]]
    """
    steps = parse_order(order)
    check_at_least("tolerance", tolerance, 0)
    side = shrink(steps)
    if not x.is_floating_point() or x.ndim < 2 or x.shape[-2:] != (side, side):
        raise ParameterError(
            f"x of shape {tuple(x.shape)} and {x.dtype} is not allowed: order={order!r} pools floating-point maps "
            f"of {side}x{side} to one number"
        )
    maps = x.detach().reshape(-1, 1, side, side)
    with torch.enable_grad():
        leaf = maps.clone().requires_grad_()
        output = pool_series(steps)(leaf)
        (weights,) = torch.autograd.grad(output.sum(), leaf)
    mask = weights != 0
    tied, below = torch.ones_like(output, dtype=torch.bool), [maps]
    for step in steps:
        below.append(pool_series((step,))(below[-1]))
    for step, values, above in zip(reversed(steps), below[-2::-1], below[:0:-1], strict=True):
        tied = _enlarge(tied, step.size)
        if step.kind == "MP":
            tied = tied & (values >= _enlarge(above, step.size) - tolerance)
    return Routes(
        output.detach().reshape(x.shape[:-2]),
        weights.reshape(x.shape),
        mask.reshape(x.shape),
        mask.sum((1, 2, 3)).reshape(x.shape[:-2]),
        tied.sum((1, 2, 3)).reshape(x.shape[:-2]),
        spread(mask[:, 0]).reshape(x.shape[:-2]),
    )


def _enlarge(values: Tensor, size: int) -> Tensor:
    return values.repeat_interleave(size, -1).repeat_interleave(size, -2)


def spread(mask: Tensor) -> Tensor:
    """Root mean square distance of the ones of a mask (N, h, w) from their centre, in pixels (N,).

    >>> spread(torch.tensor([[[True, True], [False, False]]]))
    tensor([0.5000], dtype=torch.float64)
    """
    ones = mask.to(torch.float64)
    rows, columns = (torch.arange(n, dtype=torch.float64, device=mask.device) for n in mask.shape[-2:])
    total = ones.sum((-2, -1)).clamp(min=1)
    variance = torch.zeros_like(total)
    for share, place in ((ones.sum(-1) / total[:, None], rows), (ones.sum(-2) / total[:, None], columns)):
        mean = share @ place
        variance += (share * (place - mean[:, None]) ** 2).sum(-1)
    return variance.sqrt()


def route_table(
    orders: Sequence[str] = REFERENCE_ORDERS, draws: int = 2000, size: int = 8, seed: int = 0
) -> pd.DataFrame:
    """Mean output, number and spread of the routes on maps of independent U(0, 1) numbers, one row per order.

    All orders see the same maps.

    Returns
    -------
    DataFrame
        order, mean_output, routes, spread (pixels), and the standard errors mean_output_se, spread_se.

    Raises
    ------
    ParameterError
        On an unknown order or one that does not pool ``size`` to one; fewer than 2 draws.

    >>> route_table(["MP8", "AP4-MP2"], draws=50)[["order", "routes"]].values.tolist()
    [['MP8', 1.0], ['AP4-MP2', 16.0]]
    """
    check_at_least("draws", draws, 2)
    check_at_least("size", size, 2)
    maps = torch.rand(draws, size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    rows = []
    for order in orders:
        found = routes(maps, order)
        rows.append(
            {
                "order": order_name(parse_order(order)),
                "mean_output": found.output.mean().item(),
                "routes": found.count.to(torch.float64).mean().item(),
                "spread": found.spread.mean().item(),
                "mean_output_se": found.output.std().item() / draws**0.5,
                "spread_se": found.spread.std().item() / draws**0.5,
            }
        )
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class RouteMaps:
    """Where the winning logit's gradient arrives, per image.

    Attributes
    ----------
    layer : str
        The last convolutional layer; its activations are taken before its pool.
    winners : Tensor int64 (N,)
        Label of the largest logit.
    activation, gradient : Tensor (N, F, h, w)
        Activations of that layer and d logit / d activation.
    input_gradient : Tensor (N, C, H, W)
        d logit / d image.
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
    def input_mask(self) -> Tensor:
        """The routes' ends in the image, bool (N, C, H, W)."""
        return self.input_gradient != 0

    @property
    def contribution(self) -> Tensor:
        """abs(activation * gradient), (N, F, h, w)."""
        return (self.activation * self.gradient).abs()


def route_maps(
    net: nn.Module, images: Tensor, layer: str | None = None, device: str | torch.device = "auto"
) -> RouteMaps:
    """Which positions of the last convolutional layer, and of the image, carry the winning logit's gradient.

    Parameters
    ----------
    images : Tensor (N, C, H, W)
        uint8 images are scaled to [-1, 1], as in training.
    layer : str, optional
        Another measurable layer. Its activations are taken before its pool.

    Raises
    ------
    ParameterError
        On an unknown layer.

    >>> from filterwise import models
    >>> net = models.build("vgg", size=8, stages=((4, 1), (8, 1)), inner=(), order="AP2-MP4")
    >>> route_maps(net, torch.zeros(3, 3, 8, 8)).gradient.shape
    torch.Size([3, 8, 8, 8])
    """
    name = layer_names(net)[-1] if layer is None else layer
    check_layers(net, name)
    device = measuring_device(net, device)
    with measuring(net, device), torch.enable_grad(), _before_pools(net, [name]) as caught:
        x = _floating(images.to(device)).requires_grad_()
        logits = net(x)
        best, winners = logits.max(1)
        gradient, input_gradient = torch.autograd.grad(best.sum(), [caught[name], x])
    return RouteMaps(name, winners.cpu(), caught[name].detach().cpu(), gradient.cpu(), input_gradient.cpu())


def gradient_sparsity(
    net: nn.Module, images: Tensor, labels: Tensor, batch: int = 100, device: str | torch.device = "auto"
) -> pd.DataFrame:
    """Share of units with a non-zero gradient of the loss, layer by layer.

    The units are those of each measurable layer before its pool; the loss is the cross-entropy. The weights'
    own gradients are not touched.

    Parameters
    ----------
    images : Tensor (N, C, H, W)
        uint8 images are scaled to [-1, 1], as in training.
    labels : Tensor int64 (N,)

    Returns
    -------
    DataFrame
        layer; active: share of units with an activation; gradient: share that the pools above pass a gradient
        to; routes: share with both, where the gradient goes on.

    Raises
    ------
    ParameterError
        If there are no images, or not one label for each.

    >>> from filterwise import models
    >>> net = models.build("vgg", size=8, stages=((4, 1), (8, 1)), inner=(), order="AP4-MP2")
    >>> gradient_sparsity(net, torch.rand(5, 3, 8, 8), torch.arange(5))["gradient"][1]
    0.25
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
