"""Routes: the paths of non-zero gradient from an output back through the pools (Meir et al. 2023).

A max pool passes the gradient to one winner per window, an average pool to all of its window. Where a series
pools a map of s x s to one number, and A is the product of its average pools' sizes, A^2 positions carry a
gradient of 1/A^2 each, whatever the order. The order decides where they are: max first leaves one winner in
each small block all over the map, average first one whole block of A x A.

This file holds the operators; the routes in a whole network are in ``network_routes.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from filterwise.errors import ParameterError, check_at_least
from filterwise.models.pools import order_name, parse_order, pool_series, shrink

#: The head orders of the reference table: all of total 8 with one or two steps, and one of three.
REFERENCE_ORDERS = ("MP8", "AP8", "MP2-AP4", "AP4-MP2", "MP4-AP2", "AP2-MP4", "MP2-AP2-MP2")


@dataclass(frozen=True)
class Routes:
    """What one pooling series does to maps x (..., s, s), each pooled to one number.

    Attributes
    ----------
    output : (...), the pooled number
    weights : (..., s, s), d output / d x, by autograd
    mask : bool (..., s, s), the routes: where ``weights`` is not zero
    count : int64 (...), number of routes
    spread : (...), root mean square distance of the routes from their centre, in pixels

    >>> found = routes(torch.rand(5, 8, 8), "AP2-MP4")
    >>> found.output.shape, found.count.tolist()
    (torch.Size([5]), [4, 4, 4, 4, 4])
    """

    output: Tensor
    weights: Tensor
    mask: Tensor
    count: Tensor
    spread: Tensor


def routes(x: Tensor, order: str) -> Routes:
    """The routes of floating-point maps x (..., s, s) through a pooling series such as "MP2-AP4".

    Of tied pixels of a max pool's window autograd names one.
    Raises ParameterError on an unknown order, or maps that it does not pool to one number.

    >>> x = torch.arange(16.0).reshape(4, 4)
    >>> found = routes(x, "MP2-AP2")
    >>> found.output.item(), found.count.item(), found.mask.nonzero().tolist()
    (10.0, 4, [[1, 1], [1, 3], [3, 1], [3, 3]])
    """
    steps = parse_order(order)
    side = shrink(steps)
    if not x.is_floating_point() or x.ndim < 2 or x.shape[-2:] != (side, side):
        raise ParameterError(
            f"x of shape {tuple(x.shape)} and {x.dtype} is not allowed: order={order!r} pools floating-point "
            f"maps of {side}x{side} to one number"
        )
    maps = x.detach().reshape(-1, 1, side, side)
    with torch.enable_grad():
        leaf = maps.clone().requires_grad_()
        output = pool_series(steps)(leaf)
        (weights,) = torch.autograd.grad(output.sum(), leaf)
    mask = weights != 0
    return Routes(
        output.detach().reshape(x.shape[:-2]),
        weights.reshape(x.shape),
        mask.reshape(x.shape),
        mask.sum((1, 2, 3)).reshape(x.shape[:-2]),
        spread(mask[:, 0]).reshape(x.shape[:-2]),
    )


def spread(mask: Tensor) -> Tensor:
    """Root mean square distance of the ones of a mask (N, h, w) from their centre, in pixels (N,).

    >>> spread(torch.ones(1, 2, 2, dtype=torch.bool)).square().round(decimals=9).tolist()
    [0.5]
    """
    ones = mask.to(torch.float64)
    rows, columns = (torch.arange(n, dtype=torch.float64, device=mask.device) for n in mask.shape[-2:])
    total = ones.sum((-2, -1)).clamp(min=1)
    variance = torch.zeros_like(total)
    for share, place in ((ones.sum(-1) / total[:, None], rows), (ones.sum(-2) / total[:, None], columns)):
        mean = share @ place
        variance += (share * (place - mean[:, None]) ** 2).sum(-1)
    return variance.sqrt()


def order_gap(x: Tensor, average: int, maximum: int) -> Tensor:
    """AP(MP(x)) - MP(AP(x)) of maps x (..., s, s), s = average * maximum; shape (...).

    Positive in the mean over maps of exchangeable pixels, but not for every map: the windows of the two
    orders hold different pixels, and one bright window of the average pool is all that AP first needs. ("The
    mean of maxima is at least the maximum of means" holds map by map where both take the same groups, that is
    for an average over the pixels at the same place of all blocks.)
    Raises ParameterError if the sizes are below 2, or the maps are not s x s.

    >>> order_gap(torch.arange(16.0).reshape(4, 4), 2, 2)
    tensor(-2.5000)
    """
    maxima_first, means_first = f"MP{maximum}-AP{average}", f"AP{average}-MP{maximum}"
    return routes(x, maxima_first).output - routes(x, means_first).output


def route_table(
    orders: Sequence[str] = REFERENCE_ORDERS, draws: int = 2000, size: int = 8, seed: int = 0
) -> pd.DataFrame:
    """Mean output, number and spread of the routes on maps of independent U(0, 1) numbers, one row per order.

    All orders see the same maps. Returns columns ``order``, ``mean_output``, ``routes``, ``spread`` (pixels),
    ``mean_output_se`` and ``spread_se``, the standard errors.
    Raises ParameterError on an unknown order or one that does not pool ``size`` to one; fewer than 2 draws.

    >>> route_table(("MP8", "AP8"), draws=20)[["order", "routes"]].values.tolist()
    [['MP8', 1.0], ['AP8', 64.0]]
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
