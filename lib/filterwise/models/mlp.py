"""The multi-layer perceptron: standardised inputs, hidden layers with dropout, one linear layer on top.

Pieterse, Mocanu, arXiv:1903.07138 (2019), and Mocanu et al., Nat. Commun. 9, 2383 (2018): three hidden layers
of 1,000 nodes each, with an activation that learns its shape (SReLU). Here it is a leaky ReLU.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from filterwise.errors import check_choice, check_count, refused
from filterwise.models.building import models
from filterwise.models.sizes import check_share, scaled_filters

#: Hidden nodes' activations; none works in place, as what is before them is measured.
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"leaky": lambda: nn.LeakyReLU(0.1), "relu": nn.ReLU}


class Standardise(nn.Module):
    """(x - mean) / deviation of each input, as numbers that are set and do not learn; at first x itself."""

    mean: Tensor
    factor: Tensor

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("factor", torch.ones(inputs))

    def draw(self, generator: torch.Generator, init: str) -> None:
        """Nothing is drawn: mean 0, deviation 1."""
        self.mean.zero_()
        self.factor.fill_(1)

    def set_to(self, values: Tensor) -> None:
        """Mean and standard deviation of inputs (images, inputs); an input that never changes becomes 0."""
        wide = values.double()
        deviation, constant = wide.std(0, correction=0), (values == values[:1]).all(0)
        self.mean.copy_(wide.mean(0))
        self.factor.copy_(torch.where(constant, 0.0, 1 / deviation.masked_fill(constant, 1)))

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs) -> (N, inputs)"""
        return (x - self.mean) * self.factor


class Hidden(nn.Module):
    """Linear -> activation -> dropout. (N, nodes below) -> (N, nodes)"""

    def __init__(self, below: int, nodes: int, activation: str, dropout: float) -> None:
        super().__init__()
        self.linear = nn.Linear(below, nodes)
        self.activation = ACTIVATIONS[activation]()
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """What the layer above is given."""
        return self.dropout(self.activation(self.linear(x)))


class MLP(nn.Module):
    """Hidden layers from "1" upwards, so that "hidden.2.linear" holds the weights of the second."""

    def __init__(self, widths: Sequence[int], labels: int, activation: str, dropout: float) -> None:
        super().__init__()
        self.inputs = Standardise(widths[0])
        hidden = [Hidden(below, nodes, activation, dropout) for below, nodes in pairwise(widths)]
        self.hidden = nn.Sequential(OrderedDict((str(n), each) for n, each in enumerate(hidden, start=1)))
        self.classifier = nn.Linear(widths[-1], labels)
        self.layer_names = tuple(f"hidden.{n}" for n in range(1, len(hidden) + 1))

    def from_inputs(self, z: Tensor) -> Tensor:
        """Logits of inputs that are standardised already. (N, inputs) -> (N, labels)"""
        return self.classifier(self.hidden(z))

    def forward(self, x: Tensor) -> Tensor:
        """Logits. (N, C, S, S) -> (N, labels)"""
        return self.from_inputs(self.inputs(x.flatten(1)))


@models("mlp")
def perceptron(
    labels: int,
    width: float,
    channels: int,
    size: int,
    *,
    hidden: Sequence[int] = (200, 200, 200),
    activation: str = "leaky",
    dropout: float = 0.3,
) -> MLP:
    """Fully connected layers on all pixels of all channels.

    Parameters
    ----------
    hidden : nodes of each hidden layer, times ``width``, rounded
    activation : "leaky", slope 0.1 below 0; or "relu"
    dropout : share of the nodes of every hidden layer that a training step leaves out

    Raises ParameterError on a value outside these choices, no hidden layer, or one without nodes.

    >>> from filterwise import models
    >>> models.parameter_count(models.build("mlp", labels=2, channels=500, size=1))
    181002
    """
    check_choice("activation", activation, ACTIVATIONS)
    check_share("dropout", dropout)
    if not isinstance(hidden, (tuple, list)) or not hidden:
        raise refused("hidden", hidden, "give the nodes of each hidden layer, such as (200, 200)")
    nodes = [scaled_filters("width", check_count("hidden", each), width) for each in hidden]
    return MLP([channels * size**2, *nodes], labels, activation, dropout)
