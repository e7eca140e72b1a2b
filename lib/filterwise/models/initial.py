"""Initial weights, drawn with a generator of their own; torch's global random state stays as it is.

A module with weights that no rule here is for says itself how they are drawn, with a method
``draw(generator, init)`` that fills its own parameters and buffers in place, not those of modules inside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import chain

import torch
from torch import Tensor, nn

from filterwise.errors import ParameterError

#: "torch": PyTorch's own distributions; "he": He normal weights, biases 0.
INITS = ("torch", "he")

_AFFINE = (nn.Conv1d, nn.Conv2d, nn.Linear)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm)


def on_meta(make: Callable[[], nn.Module]) -> nn.Module:
    """What ``make`` builds, with its weights allocated on the CPU but not drawn, and its buffers 0.

    Layers draw weights when they are made, from the global generator. On the meta device there is nothing to
    draw, so the global state stays; :func:`initialise` draws from a generator of its own after that.
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


def _affine(weight: Tensor, bias: Tensor | None, generator: torch.Generator, init: str) -> None:
    fan_in = weight[0].numel()  # inputs of one output: in_features, or channels / groups * kernel positions
    if init == "he":  # N(0, 2/fan_in); biases 0
        weight.normal_(0, math.sqrt(2 / fan_in), generator=generator)
        if bias is not None:
            bias.zero_()
        return
    # kaiming_uniform with a = sqrt(5), which is U(+-1/sqrt(fan_in)), for weights and biases
    bound = 1 / math.sqrt(fan_in)
    weight.uniform_(-bound, bound, generator=generator)
    if bias is not None:
        bias.uniform_(-bound, bound, generator=generator)


def _embedding(module: nn.Embedding, generator: torch.Generator, init: str) -> None:
    if init == "he":  # He's rule is for sums over inputs; tables of tokens are small, as in transformers
        nn.init.trunc_normal_(module.weight, 0, 0.02, -0.04, 0.04, generator=generator)
    else:
        module.weight.normal_(0, 1, generator=generator)
    if module.padding_idx is not None:
        module.weight[module.padding_idx].zero_()


@torch.no_grad()
def initialise(net: nn.Module, seed: int, init: str = "torch") -> None:
    """Draw all weights, in the modules' order.

    - a module with a method ``draw`` draws its own;
    - Conv1d, Conv2d, Linear: U(+-1/sqrt(fan_in)) as in PyTorch, or ("he") N(0, 2/fan_in) and biases 0;
    - BatchNorm1d, BatchNorm2d, LayerNorm: 1 and 0;
    - Embedding: N(0, 1) as in PyTorch, or ("he") N(0, 0.02^2) cut at two standard deviations.

    ``init="torch"`` draws the same numbers as the plain layers do after ``torch.manual_seed(seed)``.
    Raises ParameterError if a layer holds weights or buffers that no rule is known for.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, module in net.named_modules():
        own = getattr(module, "draw", None)
        if callable(own):
            own(generator, init)
        elif isinstance(module, _AFFINE):
            _affine(module.weight, module.bias, generator, init)
        elif isinstance(module, _NORMS):
            module.reset_parameters()  # constants only: nothing is drawn
        elif isinstance(module, nn.Embedding):
            _embedding(module, generator, init)
        elif any(True for _ in chain(module.parameters(recurse=False), module.buffers(recurse=False))):
            raise ParameterError(
                f"layer {name!r} of type {type(module).__name__} has weights or buffers without a rule; "
                "give it a method draw(generator, init)"
            )
