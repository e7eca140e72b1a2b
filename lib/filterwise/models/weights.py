"""Initial weights, drawn with a generator of their own; torch's global random state stays as it is."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from filterwise.errors import ParameterError

#: "torch": PyTorch's own distributions; "he": He normal weights, biases 0.
INITS = ("torch", "he")


def on_meta(make: Callable[[], nn.Module]) -> nn.Module:
    """What ``make`` builds, with its weights allocated on the CPU but not drawn.

    Layers draw weights when they are made, from the global generator. On the meta device there is nothing to
    draw, so the global state stays; :func:`initialise` draws from a generator of its own after that.

    >>> before = torch.get_rng_state()
    >>> net = on_meta(lambda: nn.Linear(3, 2))
    >>> net.weight.device.type, torch.equal(before, torch.get_rng_state())
    ('cpu', True)
    """
    with torch.device("meta"):
        net = make()
    for module in net.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            empty = torch.empty(parameter.shape, dtype=parameter.dtype, device="cpu")
            setattr(module, name, nn.Parameter(empty, requires_grad=parameter.requires_grad))
        for name, buffer in list(module.named_buffers(recurse=False)):
            setattr(module, name, torch.zeros(buffer.shape, dtype=buffer.dtype, device="cpu"))
    return net


def _fan_in(weight: Tensor) -> int:
    return weight[0].numel()  # inputs of one output: in_features, or channels / groups * kernel positions


def _draw_torch(module: nn.Conv2d | nn.Linear, generator: torch.Generator) -> None:
    """kaiming_uniform with a = sqrt(5), which is U(+-1/sqrt(fan_in)), for weights and biases."""
    bound = 1 / math.sqrt(_fan_in(module.weight))
    module.weight.uniform_(-bound, bound, generator=generator)
    if module.bias is not None:
        module.bias.uniform_(-bound, bound, generator=generator)


def _draw_he(module: nn.Conv2d | nn.Linear, generator: torch.Generator) -> None:
    """N(0, 2/fan_in); biases 0."""
    module.weight.normal_(0, math.sqrt(2 / _fan_in(module.weight)), generator=generator)
    if module.bias is not None:
        module.bias.zero_()


@torch.no_grad()
def initialise(net: nn.Module, seed: int, init: str = "torch") -> None:
    """Draw all weights of convolutions and linear layers, in the modules' order; set batch norms to 1 and 0.

    ``init="torch"`` draws the same numbers as the plain layers do after ``torch.manual_seed(seed)``.

    Raises
    ------
    ParameterError
        If a layer holds weights that no rule is known for.

    >>> plain = torch.nn.Linear(3, 2)
    >>> initialise(plain, seed=0, init="he")
    >>> plain.bias.tolist()
    [0.0, 0.0]
    """
    generator = torch.Generator().manual_seed(seed)
    draw = {"torch": _draw_torch, "he": _draw_he}[init]
    for name, module in net.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            draw(module, generator)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()  # constants only: nothing is drawn
        elif any(True for _ in module.parameters(recurse=False)):
            raise ParameterError(f"layer {name!r} of type {type(module).__name__} has weights without a rule")
