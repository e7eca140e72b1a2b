"""Training or evaluation: every module's own mode, kept and given back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import nn


@contextlib.contextmanager
def evaluation_mode(net: nn.Module) -> Iterator[nn.Module]:
    """``net`` in evaluation mode and without gradients; every module's own mode comes back afterwards.

    >>> net = nn.Dropout()
    >>> with evaluation_mode(net):
    ...     net.training
    False
    >>> net.training
    True
    """
    modes = [(module, module.training) for module in net.modules()]
    net.eval()
    try:
        with torch.no_grad():
            yield net
    finally:
        for module, training in modes:
            module.training = training
