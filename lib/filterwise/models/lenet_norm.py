"""The generalized LeNet with the batch norm that a VGG has: a control, no network of the paper.

Where a VGG-16 beats a LeNet, depth and batch norm differ together; this network differs from the LeNet in
the batch norm alone.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from filterwise.models.block import Block, FilterNet
from filterwise.models.building import models
from filterwise.models.lenet import STANDARD_FC, lenet5


@models("lenet5bn")
def lenet5bn(
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
    """:func:`~filterwise.models.lenet.lenet5` with batch norm between each convolution and its ReLU.

    Options are those of ``lenet5``; so are multiply-accumulates, since a norm multiplies no pairs of maps.

    Raises ParameterError: as ``lenet5``.

    >>> from filterwise import models
    >>> net = models.build("lenet5bn", d1=6)
    >>> models.macs(net), models.parameter_count(net) - models.parameter_count(models.build("lenet5", d1=6))
    (651720, 44)
    """
    options: dict[str, Any] = {"d1": d1, "d2": d2, "ratio": ratio, "fc": fc, "kernel": kernel}
    net = lenet5(labels, width, channels, size, **options, padding=padding, pool=pool)
    for block in net.features:
        assert isinstance(block, Block)
        block.bn = nn.BatchNorm2d(block.conv.out_channels)
    return net
