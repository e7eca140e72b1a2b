"""torchvision's networks: EfficientNet-B0, at any width and for small images too, and VGG-16 with batch norm.

Used by Meir et al., Sci. Rep. 14, 5881 (2024). torchvision is imported when such a network is built.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

from filterwise import _torchvision
from filterwise.errors import check_count, refused
from filterwise.models import weight_files
from filterwise.models.building import models
from filterwise.models.sizes import check_share, scaled_filters

#: Stages 2 to 8: expansion, kernel, stride, channels in, channels out, blocks.
_STAGES = (
    (1, 3, 1, 32, 16, 1),
    (6, 3, 2, 16, 24, 2),
    (6, 5, 2, 24, 40, 2),
    (6, 3, 2, 40, 80, 3),
    (6, 5, 1, 80, 112, 3),
    (6, 5, 2, 112, 192, 4),
    (6, 3, 1, 192, 320, 1),
)
#: Up to this side the first two strides are 1, or maps would be single pixels long before the last stage.
SMALL = 64


@torch.no_grad()
def _draw(net: nn.Module, generator: torch.Generator, draw_linear: Callable[[nn.Linear], object]) -> None:
    """Convolutions: N(0, 2/fan_out), linear layers by ``draw_linear``, biases 0, batch norms 1 and 0."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
        elif isinstance(module, nn.Conv2d):
            fan_out = module.out_channels * module.weight[0, 0].numel()
            module.weight.normal_(0, math.sqrt(2 / fan_out), generator=generator)
        elif isinstance(module, nn.Linear):
            draw_linear(module)
        if isinstance(module, (nn.Conv2d, nn.Linear)) and module.bias is not None:
            module.bias.zero_()


def draw_efficientnet(net: nn.Module, generator: torch.Generator) -> None:
    """torchvision's own initial weights of an EfficientNet; linear layers: U(+-1/sqrt(outputs))."""

    def draw_linear(linear: nn.Linear) -> None:
        bound = 1 / math.sqrt(linear.out_features)
        linear.weight.uniform_(-bound, bound, generator=generator)

    _draw(net, generator, draw_linear)


def draw_vgg(net: nn.Module, generator: torch.Generator) -> None:
    """torchvision's own initial weights of a VGG; linear layers: N(0, 0.01^2)."""
    _draw(net, generator, lambda linear: linear.weight.normal_(0, 0.01, generator=generator))


@models(
    "efficientnet_b0",
    draw=draw_efficientnet,
    read=partial(weight_files.read, published="EfficientNet_B0_Weights"),
)
def efficientnet_b0(
    labels: int,
    width: float,
    channels: int,
    size: int,
    *,
    weights: weight_files.Weights = "random",
    first_strides: int | None = None,
    dropout: float = 0.2,
    stochastic_depth: float = 0.2,
) -> nn.Module:
    """EfficientNet-B0; its layers "features.2" to "features.8" are the papers' stages 3 to 9.

    Parameters
    ----------
    width : torchvision's width factor: filters are rounded to multiples of 8, at least 8
    weights : "random"; "imagenet" takes torchvision's file, downloading it if need be; a path one of the
        user's (.safetensors, .pth). The last layer is taken over if it has ``labels`` outputs
    first_strides : strides of the first convolution and of stage 3, 1 or 2. None: 1 for images of side up to
        64, else 2, as in the paper of the network. The weights are the same
    dropout, stochastic_depth : in training both draw from torch's global generator

    Raises ParameterError on a value outside these choices; DataError if the weights cannot be had or do not
    fit; TorchvisionMissing if there is no torchvision.
    """
    check_share("dropout", dropout)
    check_share("stochastic_depth", stochastic_depth)
    if first_strides not in (None, 1, 2) or isinstance(first_strides, bool):
        raise refused("first_strides", first_strides, "choose from None, 1, 2")
    weight_files.check_weights(weights, ("random", "imagenet"))
    stride = (1 if size <= SMALL else 2) if first_strides is None else first_strides
    scaled_filters("width", 16, width)  # torchvision rounds to a multiple of 8 and never down to none
    vision = _torchvision.load().models
    _torchvision.picklable(vision.EfficientNet)
    stages = [
        vision.efficientnet.MBConvConfig(
            expansion, kernel, stride if stage == 3 else step, inputs, outputs, blocks, width_mult=width
        )
        for stage, (expansion, kernel, step, inputs, outputs, blocks) in enumerate(_STAGES, start=2)
    ]
    net: Any = vision.EfficientNet(stages, dropout, stochastic_depth, num_classes=labels)
    stem = net.features[0][0]
    net.features[0][0] = nn.Conv2d(channels, stem.out_channels, 3, stride, 1, bias=False)
    net.layer_names = tuple(f"features.{n}" for n in range(2, 9))
    return net


@models("vgg16_bn_imagenet", draw=draw_vgg, read=partial(weight_files.read, published="VGG16_BN_Weights"))
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

    ``weights`` must be given, as in :func:`efficientnet_b0`; ``dropout``, between the FC layers, draws from
    torch's global generator, in training only. Raises what that does, and a ParameterError on images below
    32x32, which five pools do not leave a pixel of.
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
