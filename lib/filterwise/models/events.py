"""A timed network event by event: signals travel along delay lines, and nodes answer when they arrive.

Meir et al. (2024). Nothing here knows how many instants there are. A node sums what reaches it at the same
instant, has no memory and no leak, and a node that nothing reaches stays silent: it emits no phi(bias).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from torch import Tensor

from filterwise.errors import ParameterError
from filterwise.models.delays import TOLERANCE, check_delays

# Times are exact fractions on a grid much finer than the tolerance: sums that are equal on paper then are
# equal to the last digit, however they were added up.
_GRID = 10**13


@dataclass(frozen=True)
class Lines:
    """The delay lines into one layer, and what its nodes do with what arrives.

    Attributes
    ----------
    delays : tau_1, ..., tau_M of the layer's M lines a connection.
    weight : W (M, nodes, inputs), line by line.
    bias : b (nodes,), of each node; or (instants, nodes), of each node at each instant, first instant first.
    activation : phi; None for the output unit, which emits its sum.

    >>> import torch
    >>> two = Lines([0.0, 1.5], torch.ones(2, 1, 1))
    >>> {time: value.item() for time, value in propagate(torch.ones(1, 1), [two]).items()}
    {0.0: 1.0, 1.5: 1.0}
    """

    delays: Sequence[float]
    weight: Tensor
    bias: Tensor | None = None
    activation: Callable[[Tensor], Tensor] | None = None


def propagate(x: Tensor, layers: Sequence[Lines]) -> dict[float, Tensor]:
    """Present an input once, at time 0, and listen: instant -> what the last layer emits then.

    Parameters
    ----------
    x : (batch, inputs).
    layers : bottom to top.

    Returns (batch, nodes) of the last layer by instant, first instant first; instants at which nothing
    arrives are not there.
    Raises ParameterError: no layer, delays that cannot be, or a bias whose instants are not those at which
    the layer emits.

    >>> import torch
    >>> one = Lines([0, 1], torch.ones(2, 1, 1))
    >>> [(time, value.item()) for time, value in propagate(torch.ones(1, 1), [one, one]).items()]
    [(0.0, 1.0), (1.0, 2.0), (2.0, 1.0)]
    """
    check_delays([lines.delays for lines in layers])
    emitted = {Fraction(0): x}
    for number, lines in enumerate(layers, start=1):
        emitted = _answers(number, lines, _queue(emitted, lines.delays))
    return {float(time): value for time, value in emitted.items()}


Event = tuple[Fraction, int, int, Tensor]  # arrival, a number that settles ties, line, signal (batch, inputs)


def _queue(emitted: Mapping[Fraction, Tensor], delays: Sequence[float]) -> list[Event]:
    """Every emission sent down every line, as a priority queue by the time of arrival."""
    queue: list[Event] = []
    for time, signal in emitted.items():
        for line, delay in enumerate(delays):
            arrival = time + Fraction(round(Fraction(delay) * _GRID), _GRID)
            heapq.heappush(queue, (arrival, len(queue), line, signal))
    return queue


def _answers(number: int, lines: Lines, queue: list[Event]) -> dict[Fraction, Tensor]:
    """Empty the queue, instant by instant: sum what arrives together, add the bias, emit."""
    emitted: dict[Fraction, Tensor] = {}
    while queue:
        now, _, line, signal = heapq.heappop(queue)
        total, last = signal @ lines.weight[line].T, now
        while queue and queue[0][0] - last < TOLERANCE:
            last, _, line, signal = heapq.heappop(queue)
            total = total + signal @ lines.weight[line].T
        if lines.bias is not None:
            total = total + _bias(number, lines.bias, len(emitted))
        emitted[now] = total if lines.activation is None else lines.activation(total)
    if lines.bias is not None and lines.bias.ndim == 2 and len(lines.bias) != len(emitted):
        raise ParameterError(
            f"layer {number} has a bias for {len(lines.bias)} instants and emits at {len(emitted)}"
        )
    return emitted


def _bias(number: int, bias: Tensor, instant: int) -> Tensor:
    if bias.ndim == 1:
        return bias
    if instant >= len(bias):
        raise ParameterError(f"layer {number} has a bias for {len(bias)} instants and emits at more")
    return bias[instant]
