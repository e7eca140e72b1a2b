"""What a network consists of: its measurable layers, its weights, its multiply-accumulates."""

from __future__ import annotations

from itertools import chain

import torch
from torch import nn
from torch.func import functional_call

from filterwise.errors import ParameterError, check_count, refused
from filterwise.models.modes import evaluation_mode


def layer_names(net: nn.Module) -> list[str]:
    """Names of the measurable layers, bottom to top; each is a module of ``net`` whose output is measured.

    Networks of this library carry them. For another one set ``net.layer_names = ("block1", "block2")``, names
    out of ``dict(net.named_modules())``.
    Raises ParameterError if the network does not say its layers, or says one that it does not have.

    >>> from filterwise import models
    >>> layer_names(models.build("lenet5"))
    ['features.1', 'features.2']
    """
    modules = dict(net.named_modules())
    named = getattr(net, "layer_names", None)
    if isinstance(named, (list, tuple)) and named:
        for name in named:
            if name not in modules:
                kind = type(net).__name__
                raise ParameterError(f"net.layer_names holds {name!r}, which is no module of {kind}")
        return list(named)
    some = ", ".join(repr(name) for name in list(modules)[1:13])
    raise ParameterError(
        f"{type(net).__name__} does not say which layers to measure; "
        f"set net.layer_names to a tuple of its modules: {some}"
    )


def parameter_count(net: nn.Module) -> int:
    """Number of weights that a network learns, biases and batch-norm parameters included.

    >>> parameter_count(nn.Linear(10, 2))
    22
    """
    return sum(parameter.numel() for parameter in net.parameters())


def macs(net: nn.Module, shape: tuple[int, ...] = (3, 32, 32)) -> int:
    """Multiply-accumulates of all convolutions and matrix products for one image of ``shape`` (C, h, w).

    Linear layers and attention are matrix products. Additions of biases, norms, activations and pools are not
    counted, as in the papers' tables. Half of what ``torch.utils.flop_counter`` counts in one forward pass on
    the meta device, where nothing is computed.
    Raises ParameterError if ``shape`` is not three positive integers, or no such image can be read.

    >>> from filterwise import models
    >>> macs(models.build("lenet5"))
    651720
    """
    from torch.utils.flop_counter import FlopCounterMode  # imports torch's compiler, as an optimiser does

    sides = tuple(check_count("shape", side) for side in shape)
    if len(sides) != 3:
        raise refused("shape", shape, "give channels, height and width, such as (3, 32, 32)")
    first = next(net.parameters(), torch.empty(0))
    image = torch.empty(1, *sides, dtype=first.dtype, device="meta")
    state = {name: value.to("meta") for name, value in chain(net.named_parameters(), net.named_buffers())}
    counter = FlopCounterMode(display=False)
    try:
        with evaluation_mode(net), counter:
            functional_call(net, state, image)
    except RuntimeError as error:
        raise ParameterError(f"shape={shape!r} does not fit the network: {error}") from error
    return counter.get_total_flops() // 2
