"""What a network consists of: its measurable layers, its weights, its multiply-accumulates."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from filterwise.errors import ParameterError
from filterwise.models.checks import check_count

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_COUNTED = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear, *_TRANSPOSED)


def layer_names(net: nn.Module) -> list[str]:
    """Names of the measurable layers, bottom to top; each is a module of ``net`` whose output is measured.

    Networks of this library carry them. For another one set ``net.layer_names = ("block1", "block2")``, names
    out of ``dict(net.named_modules())``.

    Raises
    ------
    ParameterError
        If the network does not say its layers, or says one that it does not have.

    >>> from filterwise import models
    >>> layer_names(models.build("lenet5"))
    ['features.1', 'features.2']
    """
    modules = dict(net.named_modules())
    named = getattr(net, "layer_names", None)
    if isinstance(named, (list, tuple)) and named:
        for name in named:
            if name not in modules:
                raise ParameterError(
                    f"net.layer_names holds {name!r}, which is no module of {type(net).__name__}"
                )
        return list(named)
    some = ", ".join(repr(name) for name in list(modules)[1:13])
    raise ParameterError(
        f"{type(net).__name__} does not say which layers to measure; "
        f"set net.layer_names to a tuple of its modules: {some}"
    )


def parameter_count(net: nn.Module) -> int:
    """Number of weights that a network learns, biases and batch-norm parameters included.

    >>> from filterwise import models
    >>> parameter_count(models.build("lenet5"))
    62006
    """
    return sum(parameter.numel() for parameter in net.parameters())


def macs(net: nn.Module, shape: tuple[int, ...] = (3, 32, 32)) -> int:
    """Multiply-accumulates of all convolutions and linear layers for one image of ``shape`` (C, h, w).

    Additions of biases, batch norms, activations and pools are not counted, as in the papers' tables. One
    forward pass of a blank image is made, on the network's own device; a network on the meta device costs
    nothing to count.

    Raises
    ------
    ParameterError
        If ``shape`` is not three positive integers, or the network cannot read such an image.

    >>> from filterwise import models
    >>> macs(models.build("lenet5"))
    651720
    """
    sides = tuple(check_count("shape", side) for side in shape)
    if len(sides) != 3:
        raise ParameterError(
            f"shape={shape!r} is not allowed; give channels, height and width, such as (3, 32, 32)"
        )
    total = 0

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        # weight[0] of a transposed convolution is what one input value reaches, of all others what one output
        # value reads: in_features, or channels / groups * kernel positions.
        values = inputs[0] if isinstance(layer, _TRANSPOSED) else output
        total += values.numel() * cast(Tensor, layer.weight)[0].numel()

    hooks = [module.register_forward_hook(count) for module in net.modules() if isinstance(module, _COUNTED)]
    training = [(module, module.training) for module in net.modules()]
    first = next(net.parameters(), torch.empty(0))
    try:
        net.eval()  # so that batch norms keep their statistics, and dropout draws nothing
        with torch.no_grad():
            net(torch.zeros(1, *sides, dtype=first.dtype, device=first.device))
    except RuntimeError as error:
        raise ParameterError(f"shape={shape!r} does not fit the network: {error}") from error
    finally:
        for module, mode in training:
            module.training = mode
        for hook in hooks:
            hook.remove()
    return total
