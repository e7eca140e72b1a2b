"""Changes of a network before its training, found by name: a new head, masks, other blocks.

An edit is ``f(net, given, **options) -> nn.Module | None``: it changes ``net`` in place, or returns another
network. It must be deterministic from the network, what is given, and its options.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from filterwise.data.imageset import ImageSet
from filterwise.errors import ParameterError
from filterwise.registry import Registry

edits = Registry("edit", "filterwise.training.edits", "filterwise.prune.*", "filterwise.papers.*.edits")


@dataclass(frozen=True)
class Given:
    """What an edit may look at: training images, the run's seed, where to compute, and the result that the
    network comes from (None for a new one).

    >>> from filterwise.data import load
    >>> Given(load("parts", labels=3, n=6), seed=0).device
    'cpu'
    """

    train: ImageSet
    seed: int
    device: str = "cpu"
    start: Any = None


@edits("head")
@torch.no_grad()
def new_head(net: nn.Module, given: Given) -> None:
    """A new last linear layer, with one output for each of the training set's labels.

    Weights and biases are drawn from U(-b, b), b = 1 / sqrt(inputs), as torch does for a linear layer.
    Raises ParameterError: the network has no linear layer.
    """
    linear = [name for name, module in net.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise ParameterError("edit='head' needs a network with a linear layer")
    parent, _, name = linear[-1].rpartition(".")
    old = net.get_submodule(linear[-1])
    if not name or not isinstance(old, nn.Linear):
        raise ParameterError("edit='head' needs a network around its linear layer")
    weight = next(old.parameters())
    head = nn.utils.skip_init(
        nn.Linear, old.in_features, given.train.labels_count, bias=old.bias is not None, dtype=weight.dtype
    )
    generator = torch.Generator().manual_seed(given.seed)
    bound = 1 / math.sqrt(old.in_features)
    for values in head.parameters():
        values.uniform_(-bound, bound, generator=generator)
    setattr(net.get_submodule(parent), name, head.to(weight.device))
