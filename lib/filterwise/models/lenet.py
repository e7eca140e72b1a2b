"""The generalized LeNet of five layers: two convolutional, three fully connected, any width and ratio.

Meir et al., Sci. Rep. 13, 5423 (2023): d1 and d2 filters; d1 = 6, d2 = 16 is LeNet-5.
"""

from __future__ import annotations

import math

from torch import nn

from filterwise.errors import ParameterError, check_choice, check_count, refused
from filterwise.models.block import Block, FilterNet, fully_connected
from filterwise.models.building import models
from filterwise.models.sizes import check_positive, first_filters

STANDARD_D1, STANDARD_D2 = 6, 16
STANDARD_FC = (120, 84)
_POOLS = {"max": nn.MaxPool2d, "average": nn.AvgPool2d}


@models("lenet5")
def lenet5(
    labels: int,
    width: float,
    channels: int,
    size: int,
    *,
    d1: int | None = None,
    d2: int | None = None,
    ratio: float | None = None,
    fc: tuple[int, int] | str = STANDARD_FC,
    kernel: int = 5,
    padding: int | None = None,
    pool: str = "max",
) -> FilterNet:
    """LeNet with d1 and d2 filters; each convolution is followed by ReLU and a 2x2 pool, no batch norm.

    Parameters
    ----------
    d1 : filters of the first layer. None: 6 * width, rounded.
    d2, ratio : filters of the second layer, or d2/d1 (d2 is rounded). Neither: 16 d1 / 6, rounded, a half
        upwards
    fc : nodes of the two hidden FC layers, or "scaled": 120 and 84 times d1/6, rounded
    kernel : side of the kernels, 5 or 3
    padding : by default 0 for kernel 5, as in LeNet, and 1 for kernel 3, so that all maps can be halved
    pool : the 2x2 pool of both layers, "max" or "average"

    Raises ParameterError on a value outside these choices, a layer without filters, or maps that cannot be
    halved.
    """
    check_choice("kernel", kernel, (5, 3))
    check_choice("pool", pool, _POOLS)
    first = first_filters(d1, STANDARD_D1, width)
    second = _second(first, d2, ratio)
    hidden = _hidden(fc, first)
    pad = (0 if kernel == 5 else 1) if padding is None else check_count("padding", padding, 0)
    blocks, below, side = [], channels, size
    for filters in (first, second):
        side += 2 * pad - kernel + 1
        if side < 2 or side % 2:
            raise ParameterError(
                f"size={size!r} with kernel={kernel!r} and padding={pad!r} gives a map of side {side}, which "
                "a 2x2 pool does not divide; choose a size such as 32, 28 or 16, and padding=None"
            )
        side //= 2
        blocks.append(Block(below, filters, kernel, pad, batch_norm=False, pool=_POOLS[pool](2)))
        below = filters
    return FilterNet(blocks, fully_connected([below * side**2, *hidden, labels], "relu", last_bias=True))


def _second(first: int, d2: int | None, ratio: float | None) -> int:
    if d2 is not None and ratio is not None:
        raise ParameterError(f"d2={d2!r} and ratio={ratio!r} both set the second layer; give one of them")
    if d2 is not None:
        return check_count("d2", d2)
    if ratio is None:
        # Integers, because 16 d1 / 6 in floating point need not be exact where it ends in a half (d1 = 3k).
        return (2 * STANDARD_D2 * first + STANDARD_D1) // (2 * STANDARD_D1)
    second = math.floor(check_positive("ratio", ratio) * first + 0.5)
    if second < 1:
        least = f"it must be at least {0.5 / first!r}, one filter"
        raise ParameterError(f"ratio={ratio!r} gives d2=0 at d1={first}; {least}")
    return second


def _hidden(fc: tuple[int, int] | str, first: int) -> list[int]:
    if fc == "scaled":
        return [(2 * nodes * first + STANDARD_D1) // (2 * STANDARD_D1) for nodes in STANDARD_FC]
    if not isinstance(fc, (tuple, list)) or len(fc) != 2:
        raise refused("fc", fc, "give two numbers of nodes, such as (120, 84), or 'scaled'")
    return [check_count("fc", nodes) for nodes in fc]
