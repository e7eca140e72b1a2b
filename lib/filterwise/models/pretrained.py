"""Public ImageNet weights: torchvision's VGG-16 with batch norm, and how a weight file is read."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from filterwise import _torchvision
from filterwise.errors import DataError, ParameterError, near_miss
from filterwise.models import checks

#: "random", "imagenet" or the path of a file.
Weights = str | os.PathLike[str] | None

_FILES = (".safetensors", ".pth", ".pt")


def check_weights(weights: Weights, words: tuple[str, ...]) -> None:
    """Raise unless ``weights`` is one of ``words`` or an existing file of a known kind.

    Raises
    ------
    ParameterError
        Says what is allowed.

    >>> check_weights("imagenett", ("random", "imagenet"))
    Traceback (most recent call last):
    filterwise.errors.ParameterError: weights='imagenett' is not allowed; choose from 'random', 'imagenet' \
or the path of a .safetensors, .pth or .pt file; did you mean 'imagenet'?
    """
    if isinstance(weights, str) and weights in words:
        return
    listed = ", ".join(map(repr, words))
    allowed = (
        f"choose from {listed} or the path of a .safetensors, .pth or .pt file{near_miss(weights, words)}"
    )
    if not isinstance(weights, (str, os.PathLike)) or Path(weights).suffix not in _FILES:
        raise ParameterError(f"weights={weights!r} is not allowed; {allowed}")
    if not Path(weights).is_file():
        raise ParameterError(f"weights={os.fspath(weights)!r} does not exist; {allowed}")


def vgg16_bn(
    labels: int,
    width: float,
    channels: int,
    size: int,
    *,
    weights: Weights = None,
    dropout: float = 0.5,
) -> nn.Module:
    """torchvision's VGG-16 with batch norm, 13 measurable layers: each block's output after ReLU and pool.

    Parameters
    ----------
    weights : "imagenet", "random" or path
        Must be given. "imagenet" takes torchvision's file, downloading it if need be. The last layer is taken
        over if it has ``labels`` outputs.
    dropout : float
        Between the FC layers, in training only; draws from torch's global generator.

    Raises
    ------
    ParameterError
        On a value outside these choices; on images below 32x32, which five pools do not leave a pixel of.
    DataError
        If the weights cannot be had or do not fit.
    TorchvisionMissing
        If there is no torchvision.
    """
    if width != 1.0:
        raise ParameterError(f"width={width!r} is not allowed in 'vgg16_bn_imagenet'; it must be 1.0")
    if isinstance(dropout, bool) or not isinstance(dropout, (int, float)) or not 0 <= dropout < 1:
        raise ParameterError(f"dropout={dropout!r} is not allowed; it must be at least 0 and below 1")
    checks.check_count("size", size, 32)
    check_weights(weights, ("imagenet", "random"))
    models = _torchvision.load().models
    _torchvision.picklable(models.VGG)
    net: Any = models.vgg16_bn(weights=None, num_classes=labels, dropout=dropout)
    if channels != 3:
        net.features[0] = nn.Conv2d(channels, 64, 3, padding=1)
    net.layer_names = _block_ends(net.features)
    return net


def _block_ends(features: nn.Sequential) -> tuple[str, ...]:
    """The last module of each block: the one before the next convolution."""
    starts = [n for n, module in enumerate(features) if isinstance(module, nn.Conv2d)]
    return tuple(f"features.{start - 1}" for start in [*starts[1:], len(features)])


@torch.no_grad()
def draw(net: nn.Module, seed: int) -> None:
    """torchvision's own initial weights of a VGG, from a generator of their own.

    Convolutions: N(0, 2/fan_out), linear layers: N(0, 0.01^2), biases 0, batch norms 1 and 0.
    """
    generator = torch.Generator().manual_seed(seed)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
        elif isinstance(module, (nn.Conv2d, nn.Linear)):
            fan_out = module.weight.numel() / module.weight.shape[1]
            spread = 0.01 if isinstance(module, nn.Linear) else math.sqrt(2 / fan_out)
            module.weight.normal_(0, spread, generator=generator)
            if module.bias is not None:
                module.bias.zero_()


def read(net: nn.Module, name: str, weights: Weights) -> None:
    """Fill ``net`` with the weights of a file, or of torchvision's ("imagenet"); "random" leaves it as it is.

    The last linear layer stays as it is if the file's has another number of outputs. All else must fit.

    Raises
    ------
    DataError
        If the file cannot be had or read, or a weight is missing, superfluous or of another shape. The
        network is then left as it was.
    """
    if weights in (None, "random"):
        return
    given = _download(name) if weights == "imagenet" else _read_file(Path(os.fspath(weights)))
    own = net.state_dict()
    head = [key for key, module in net.named_modules() if isinstance(module, nn.Linear)][-1]
    if f"{head}.weight" in given and len(given[f"{head}.weight"]) != len(own[f"{head}.weight"]):
        given.update({key: own[key] for key in (f"{head}.weight", f"{head}.bias")})
    wrong = [f"{key} is missing" for key in own if key not in given]
    wrong += [f"{key} is not a weight of this network" for key in given if key not in own]
    wrong += [
        f"{key} is {tuple(given[key].shape)}, expected {tuple(own[key].shape)}"
        for key in own
        if key in given and given[key].shape != own[key].shape
    ]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise DataError(f"weights={str(weights)!r} do not fit {name!r}: {'; '.join(wrong[:3])}{more}")
    net.load_state_dict(given)


def _read_file(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        content = torch.load(path, map_location="cpu", weights_only=True)  # never runs code of the file
    except Exception as error:
        raise DataError(f"weights file {str(path)!r} cannot be read: {error}") from error
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise DataError(f"weights file {str(path)!r} holds no weights by name, as net.state_dict() does")
    return dict(content)


def _download(name: str) -> dict[str, Tensor]:
    models = _torchvision.load().models
    entry = {"efficientnet_b0": "EfficientNet_B0_Weights", "vgg16_bn_imagenet": "VGG16_BN_Weights"}[name]
    source = getattr(models, entry).IMAGENET1K_V1
    try:
        return dict(source.get_state_dict(progress=False, check_hash=True))
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"weights='imagenet' could not be fetched from {source.url}: {error}; "
            "fetch the file where there is a network and give its path"
        ) from error
