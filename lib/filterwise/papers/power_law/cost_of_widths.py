"""What a width costs: filters of the second layer, multiply-accumulates, and the width that a budget buys.

Meir et al., Sci. Rep. 13, 5423 (2023): a LeNet with d1 and d2 filters, a VGG-16 of first depth d1.
"""

from __future__ import annotations

import math

from filterwise.errors import ParameterError
from filterwise.models.sizes import check_count, check_positive

#: d2/d1 of LeNet-5, and the one at which side times depth is the same in both layers: 28 d1 = 10 d2.
LENET_RATIO = 16 / 6
CONSERVED_RATIO = 28 / 10
#: The ratios of the scan at a fixed number of multiply-accumulates (claim L6).
SCANNED_RATIOS = (0.7, 1.4, 2.0, 2.8, 4.0, 5.6, 11.2)


def second_layer(d1: int, ratio: float = LENET_RATIO) -> int:
    """d2 = ratio * d1, rounded to the nearest integer, a half upwards.

    Raises ParameterError if d1 is below 1, or no filter is left.

    >>> [second_layer(d1) for d1 in (2, 3, 6, 12)]
    [5, 8, 16, 32]
    >>> second_layer(2, ratio=0.1)
    Traceback (most recent call last):
    filterwise.errors.ParameterError: ratio=0.1 gives d2=0 at d1=2; it must be at least 0.25, one filter
    """
    d1, ratio = check_count("d1", d1), check_positive("ratio", ratio)
    d2 = math.floor(ratio * d1 + 0.5)
    if d2 < 1:
        raise ParameterError(
            f"ratio={ratio!r} gives d2=0 at d1={d1}; it must be at least {0.5 / d1!r}, one filter"
        )
    return d2


def lenet_macs(d1: int, d2: int, channels: int = 3, size: int = 32) -> int:
    """Multiply-accumulates of one forward pass of LeNet with FC layers of 120, 84 and 10 nodes.

    58 800 d1 + 2 500 d1 d2 + 3 000 d2 + 10 920 on images of 3x32x32.

    Raises ParameterError if a layer has no filter.

    >>> lenet_macs(6, 16), lenet_macs(48, 128)
    (651720, 18577320)
    """
    d1, d2, channels = check_count("d1", d1), check_count("d2", d2), check_count("channels", channels)
    first = check_count("size", size, 16) - 4
    second = first // 2 - 4
    flat = d2 * (second // 2) ** 2
    return 25 * (channels * d1 * first**2 + d1 * d2 * second**2) + 120 * flat + 120 * 84 + 84 * 10


def vgg16_macs(d1: int) -> int:
    """Multiply-accumulates of one forward pass of VGG-16 with first depth d1, on an image of 3x32x32.

    76 032 d1^2 + 27 648 d1 of the 13 convolutions and 4 608 d1^2 + 640 d1 of the FC layers, the two hidden
    ones 64 d1 wide.

    >>> vgg16_macs(64)
    332111872
    """
    d1 = check_count("d1", d1)
    return 76_032 * d1**2 + 27_648 * d1 + 4_608 * d1**2 + 640 * d1


def at_budget(budget: float, ratio: float, channels: int = 3, size: int = 32) -> tuple[int, int]:
    """(d1, d2) with d2 = ratio * d1, rounded, whose multiply-accumulates are nearest to ``budget``.

    Raises ParameterError if one of them is not a positive number, or less than the smallest such network.

    >>> [at_budget(lenet_macs(8, 22), ratio) for ratio in (0.7, 2.8, 11.2)]
    [(12, 8), (8, 22), (4, 45)]
    """
    budget, ratio = check_positive("budget", budget), check_positive("ratio", ratio)
    d1 = max(1, math.ceil(0.5 / ratio))  # the narrowest first layer that leaves the second a filter
    below = (d1, second_layer(d1, ratio))
    least = lenet_macs(*below, channels, size)
    if budget < least:
        raise ParameterError(f"budget={budget:g} is too small for ratio={ratio!r}; d1={d1} costs {least}")
    while True:
        above = (below[0] + 1, second_layer(below[0] + 1, ratio))
        cost = lenet_macs(*above, channels, size)
        if cost > budget:
            return above if cost - budget < budget - lenet_macs(*below, channels, size) else below
        below = above
