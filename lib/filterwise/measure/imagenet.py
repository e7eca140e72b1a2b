"""ImageNet networks as measurable networks: torchvision's weights behind this project's [-1, 1] images."""

from __future__ import annotations

import os

from torch import Tensor, nn

from filterwise.errors import check_choice
from filterwise.models.building import build

#: Mean and standard deviation of the channels, on [0, 1], that torchvision's networks were trained with.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)

#: The networks of the paper by their names here, and under which ``models.build`` knows them.
NETWORKS = {"vgg16_bn": "vgg16_bn_imagenet", "efficientnet_b0": "efficientnet_b0"}


def normalise(_module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Images in [-1, 1] as torchvision's networks expect them, (x01 - mean) / std; a forward pre-hook."""
    images = inputs[0]
    mean, std = (images.new_tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    return ((images + 1) / 2 - mean) / std, *inputs[1:]


def imagenet_network(
    name: str, weights: str | os.PathLike[str], labels: int = 1000, size: int = 224
) -> nn.Module:
    """torchvision's ``vgg16_bn`` or ``efficientnet_b0``, ready to be measured.

    Its layers are ``models.layer_names(net)``. At 224x224 measure with ``pool=7``, else the first layers'
    heads have millions of inputs. Images come from the user's own folder, decoded as they are read:
    ``data.load("imagenet", root=..., split="val")``. ``weights``: path of a torchvision ``.pth`` or a
    ``.safetensors`` file; ``imagenet`` for its own download; ``random`` for one that has learned nothing.
    Raises ParameterError: an unknown name, or weights that are no such file; DataError: a file that does not
    fit the network; TorchvisionMissing: there is no torchvision.

    >>> imagenet_network("vgg16", "random")
    Traceback (most recent call last):
    filterwise.errors.ParameterError: name='vgg16' is not known; ... did you mean 'vgg16_bn'?
    """
    check_choice("name", name, NETWORKS)
    net = build(NETWORKS[name], labels=labels, size=size, weights=weights)
    net.register_forward_pre_hook(normalise)
    return net.eval()
