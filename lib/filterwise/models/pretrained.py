"""torchvision's VGG-16 with batch norm, for its public ImageNet weights."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import nn

from filterwise import _torchvision
from filterwise.models import weight_files
from filterwise.models.building import models
from filterwise.models.sizes import check_count, check_share, refused


def draw(net: nn.Module, generator: torch.Generator) -> None:
    """torchvision's own initial weights of a VGG; linear layers: N(0, 0.01^2)."""
    weight_files.draw_as_torchvision(
        net, generator, lambda linear: linear.weight.normal_(0, 0.01, generator=generator)
    )


@models("vgg16_bn_imagenet", draw=draw, read=partial(weight_files.read, published="VGG16_BN_Weights"))
def vgg16_bn(
    labels: int,
    width: float,
    channels: int,
    size: int,
    *,
    weights: weight_files.Weights = None,
    dropout: float = 0.5,
) -> nn.Module:
    """torchvision's VGG-16 with batch norm, 13 measurable layers: each block's output after ReLU and pool.

    Parameters
    ----------
    weights : must be given: "imagenet" takes torchvision's file, downloading it if need be; else "random" or
        a path. The last layer is taken over if it has ``labels`` outputs.
    dropout : between the FC layers, in training only; draws from torch's global generator

    Raises ParameterError on a value outside these choices; on images below 32x32, which five pools do not
    leave a pixel of; DataError if the weights cannot be had or do not fit; TorchvisionMissing if there is no
    torchvision.
    """
    if width != 1.0:
        raise refused("width", width, "'vgg16_bn_imagenet' has one width, so it must be 1.0")
    check_share("dropout", dropout)
    check_count("size", size, 32)
    weight_files.check_weights(weights, ("imagenet", "random"))
    vision = _torchvision.load().models
    _torchvision.picklable(vision.VGG)
    net: Any = vision.vgg16_bn(weights=None, num_classes=labels, dropout=dropout)
    if channels != 3:
        net.features[0] = nn.Conv2d(channels, 64, 3, padding=1)
    # a block ends with the module before the next convolution
    starts = [n for n, module in enumerate(net.features) if isinstance(module, nn.Conv2d)]
    net.layer_names = tuple(f"features.{start - 1}" for start in [*starts[1:], len(net.features)])
    return net
