"""A layer of delay lines in its unrolled form: all lines and instants in one matrix product.

Meir et al. (2024). For delays whose sums all differ, a layer gives every instant t - tau_m of the layer below
its own instant t; where sums coincide, what arrives together is added up. Both are one product with the M
lines' weights side by side, and a table that says what arrives when.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from filterwise.models.delays import arrivals

#: ``instant``: every node has a bias for each instant at which it can emit; ``node``: one for all of them.
BIASES = ("instant", "node")
#: ``all``: every connection has all M lines; ``one``: each has one of them, drawn with equal chances.
LINES = ("all", "one")


class DelayLayer(nn.Module):
    """u_j(t) = b_j(t) + sum over lines m that arrive at t of sum_i W^m_ji a_i(t - tau_m).

    Attributes
    ----------
    weight : W (M, nodes, inputs), line by line.
    bias : (instants, nodes) or (nodes,).
    times : the instants at which the layer emits, ascending.
    table : of each instant the places j M + m of what arrives, padded with one place more than there are.

    Weights and biases are 0 until :meth:`draw`, as `filterwise.models.build` calls it.

    >>> layer = DelayLayer(5, 3, [0.0, 1.0], before=[0.0, 1.0])
    >>> layer(torch.zeros(7, 2, 5)).shape
    torch.Size([7, 3, 3])
    """

    table: Tensor
    mask: Tensor | None

    def __init__(
        self,
        inputs: int,
        nodes: int,
        delays: Sequence[float],
        before: Sequence[float] = (0.0,),
        bias: str = "instant",
        lines: str = "all",
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.times, places = arrivals(before, delays)
        self.places = len(before) * len(delays)
        most = max(map(len, places))
        self._table = [row + [self.places] * (most - len(row)) for row in places]
        # in place as they come: the lower of two layers needs no look-up
        self._in_order = [row[0] for row in places] == list(range(self.places))
        self._seed = seed
        self.weight = nn.Parameter(torch.zeros(len(delays), nodes, inputs))
        shape = (len(self.times), nodes) if bias == "instant" else (nodes,)
        self.bias = nn.Parameter(torch.zeros(shape))
        self.register_buffer("table", torch.tensor(self._table), False)
        self.register_buffer("mask", torch.zeros_like(self.weight) if lines == "one" else None, False)

    @torch.no_grad()
    def draw(self, generator: torch.Generator, init: str) -> None:
        """He normal weights with the fan-in of one line, or ("torch") U(+-1/sqrt(fan_in)); the fixed tables.

        Where a connection has one line of M, a line has inputs / M of them. Biases begin at 0 with "he".
        """
        self.table.copy_(torch.tensor(self._table))
        lines, _, inputs = self.weight.shape
        fan_in: float = inputs
        if self.mask is not None:
            fan_in = inputs / lines
            own = torch.Generator().manual_seed(self._seed)
            line = torch.randint(0, lines, self.weight.shape[1:], generator=own)
            self.mask.copy_(F.one_hot(line, lines).permute(2, 0, 1))
        if init == "he":
            self.weight.normal_(0, math.sqrt(2 / fan_in), generator=generator)
            self.bias.zero_()
            return
        bound = 1 / math.sqrt(fan_in)
        self.weight.uniform_(-bound, bound, generator=generator)
        self.bias.uniform_(-bound, bound, generator=generator)

    def forward(self, a: Tensor) -> Tensor:
        """What arrives, summed. (batch, instants below, inputs) -> (batch, instants, nodes)"""
        weight = self.weight if self.mask is None else self.weight * self.mask
        nodes = weight.shape[1]
        sent = F.linear(a, weight.flatten(0, 1))  # (batch, instants below, M nodes)
        sent = sent.reshape(len(a), self.places, nodes)
        if not self._in_order:
            sent = F.pad(sent, (0, 0, 0, 1))  # a silent place, for instants at which less arrives
            sent = sent.index_select(1, self.table.flatten()).unflatten(1, self.table.shape)
            # summed in float32 whatever the lines' precision: many lines may arrive at one instant
            sent = sent.sum(2, dtype=torch.promote_types(sent.dtype, torch.float32))
        return sent + self.bias
