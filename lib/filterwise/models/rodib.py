"""RoDiB: a network with M delays between successive layers and one output unit that names labels in time.

Meir et al. (2024). One presentation of an input makes the output unit emit a time series; every label has an
instant of its own, and the label whose instant has the largest value is the answer. With one delay it is the
counterpart that the paper compares with, which needs an output unit for every label.
"""

from __future__ import annotations

import copy
import math
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

from filterwise.errors import ParameterError, check_choice, check_count, refused
from filterwise.models.block import Block
from filterwise.models.building import models
from filterwise.models.delays import KINDS, arrivals, draw_delays
from filterwise.models.sizes import scaled_filters
from filterwise.models.timed_layers import BIASES, LINES, DelayLayer

#: What comes before the delays: the five convolutional layers of VGG-6, or nothing but the pixels.
FRONTS = ("vgg6", "flat")
#: Which layers are delayed: two fully connected ones, the output alone, or the last convolution and the
#: output.
DELAYED = ("both", "output", "convolution")
MAPS = ("spread", "fill")
_TRUNK = (64, 128, 256, 512)
_FC_INPUTS = 512
_MOST_INSTANTS = 10_000


class TimedNet(nn.Module):
    """A trunk that answers at once, delayed layers, and the instants at which labels are read.

    Attributes
    ----------
    features : blocks "1" to "5" of VGG-6; or "pixels", which centres and scales each channel.
    layers : delayed layers "1", "2", ReLU between them.
    banks : instants at which the trunk's last block emits; more than one if it is delayed itself.
    times : the instants of the output.
    units : output units, one or K.
    label_places : (K,), place among ``times`` of each label's instant.
    layer_names : the measurable layers.
    """

    label_places: Tensor

    def __init__(self, front: nn.Sequential, layers: list[DelayLayer], banks: int, places: list[int]) -> None:
        super().__init__()
        self.features = front
        self.layers = nn.Sequential(OrderedDict((str(m), layer) for m, layer in enumerate(layers, start=1)))
        self.banks = banks
        self.units = layers[-1].weight.shape[1]
        self.times = layers[-1].times
        self._places = places
        self.register_buffer("label_places", torch.tensor(places), False)
        blocks = [name for name, block in front.named_children() if isinstance(block, Block)]
        self.layer_names = tuple(f"features.{name}" for name in blocks) or ("layers.1",)

    def delay_layers(self) -> list[DelayLayer]:
        """The delayed layers that are no convolution, bottom to top."""
        return [layer for layer in self.layers if isinstance(layer, DelayLayer)]

    @torch.no_grad()
    def draw(self, generator: torch.Generator, init: str) -> None:
        """Fill in where labels are read; the weights are those of the modules inside."""
        self.label_places.copy_(torch.tensor(self._places))

    def series(self, x: Tensor) -> Tensor:
        """All that the output emits, z(t). (batch, C, h, h) -> (batch, instants, output units)"""
        a = torch.flatten(self.features(x), 1)
        a = a.unflatten(1, (self.banks, -1))  # (batch, instants, inputs)
        *hidden, last = self.delay_layers()
        for layer in hidden:
            a = torch.relu(layer(a))
        return last(a)

    def forward(self, x: Tensor) -> Tensor:
        """Logits. (batch, C, h, h) -> (batch, labels)"""
        z = self.series(x)
        if self.units == 1:  # one output unit, one instant a label
            return z[:, :, 0].index_select(1, self.label_places)
        return z.index_select(1, self.label_places[:1])[:, 0]  # one output unit a label, one instant


@models("rodib")
def delayed_net(
    labels: int,
    width: float,
    channels: int,
    size: int,
    *,
    delays: int = 10,
    kind: str = "generic",
    fc_inputs: int | None = None,
    hidden: int | None = None,
    front: str = "vgg6",
    delayed: str = "both",
    label_map: str = "spread",
    bias: str = "instant",
    lines: str = "all",
    delay_seed: int = 0,
) -> TimedNet:
    """One output unit and M delays; or with ``delays=1`` the counterpart with one output unit a label.

    Parameters
    ----------
    delays : M, delay lines of every connection between delayed layers
    kind : of the delay set: "generic" (all sums differ), "shared" (the same generic set in both layers) or
        "equal" (0, 1, ..., M - 1)
    fc_inputs : N, depth of the trunk's last layer, by default 512 * width; without a trunk the hidden nodes
    hidden : nodes of the hidden layer behind a trunk; None: N
    front : "vgg6", five blocks of 64, 128, 256, 512 filters times width and N for images of 32x32, or "flat",
        the pixels themselves
    delayed : "both": N -> hidden and hidden -> output; "output": N -> output alone; "convolution": the
        trunk's last convolution, as M filter banks, and the output
    label_map : "spread": the labels take turns over the banks (equal delays: the K central instants);
        "fill": the instants of the first bank first
    bias : "instant", of every node at each instant, or "node"
    lines : "all"; or "one", the asynchronous control: every connection has a single line with a delay drawn
        out of M, and an output unit for every label is read at the instant in the middle
    delay_seed : of the delays, and of the lines of that control; not of the weights

    Raises ParameterError: a value outside these choices, options that do not go together, images that the
    trunk cannot halve to one pixel, or more labels than output times, with both numbers.

    >>> from filterwise import models
    >>> net = models.build("rodib", labels=10, delays=4, fc_inputs=8, front="flat", channels=1, size=28)
    >>> len(net.times), net(torch.zeros(2, 1, 28, 28)).shape
    (16, torch.Size([2, 10]))
    """
    given = {"kind": kind, "front": front, "delayed": delayed, "label_map": label_map, "bias": bias}
    choices = (KINDS, FRONTS, DELAYED, MAPS, BIASES)
    for (name, value), allowed in zip([*given.items(), ("lines", lines)], (*choices, LINES), strict=True):
        check_choice(name, value, allowed)
    count, seed = check_count("delays", delays), check_count("delay_seed", delay_seed, 0)
    depth = 1 if delayed == "output" else 2
    if count**depth > _MOST_INSTANTS:
        raise refused("delays", delays, f"the unrolled network would have {count**depth:,} instants")
    sets = draw_delays(kind, count, depth, torch.Generator().manual_seed(seed))
    n = (
        scaled_filters("width", _FC_INPUTS, width)
        if fc_inputs is None
        else check_count("fc_inputs", fc_inputs)
    )
    if front == "flat" and delayed == "output" and fc_inputs is not None:
        raise refused("fc_inputs", fc_inputs, "the pixels are the inputs of the one layer")
    nodes = _hidden_nodes(hidden, n, front, delayed)
    units = labels if count == 1 or lines == "one" else 1
    how: dict[str, Any] = {"bias": bias, "lines": lines, "seed": seed}
    trunk, inputs = _trunk(width, channels, size, n, front, count if delayed == "convolution" else 1)
    first = arrivals([0.0], sets[0])[0]
    if delayed == "output":
        stack = [DelayLayer(inputs, units, sets[0], **how)]
    elif delayed == "convolution":
        if lines == "one":
            raise ParameterError("lines='one' draws single connections; delayed='convolution' has none")
        stack = [DelayLayer(n, units, sets[1], before=first, **how)]
    else:
        stack = [
            DelayLayer(inputs, nodes, sets[0], **how),
            DelayLayer(nodes, units, sets[1], before=first, **{**how, "seed": seed + 1}),
        ]
    instants = len(stack[-1].times)
    if units > 1:
        return TimedNet(trunk, stack, len(first) if delayed == "convolution" else 1, [instants // 2])
    if labels > instants:
        raise ParameterError(
            f"labels={labels} is more than the {instants} output times of delays={count}, kind={kind!r}, "
            f"delayed={delayed!r}; it takes delays={_needed(labels, kind, depth)}"
        )
    places = label_instants(labels, sets, kind, label_map)
    return TimedNet(trunk, stack, len(first) if delayed == "convolution" else 1, places)


def _hidden_nodes(hidden: int | None, n: int, front: str, delayed: str) -> int:
    if hidden is None:
        return n
    if front == "flat" or delayed != "both":
        where = f"front={front!r} and delayed={delayed!r} have no hidden layer but the fc_inputs"
        raise refused("hidden", hidden, where)
    return check_count("hidden", hidden)


def _trunk(
    width: float, channels: int, size: int, n: int, front: str, banks: int
) -> tuple[nn.Sequential, int]:
    """VGG-6's blocks, the last with N filters for each bank, or the pixels; and how many numbers come out."""
    if front == "flat":
        if banks > 1:
            raise ParameterError("delayed='convolution' needs a trunk; front='flat' has none")
        # images that are mostly background would leave most small hidden layers dead from the start
        pixels = nn.BatchNorm2d(channels, affine=False)
        return nn.Sequential(OrderedDict(pixels=pixels)), channels * size**2
    if size != 32:
        raise refused("size", size, "front='vgg6' halves images of 32x32 five times; front='flat' takes any")
    filters = [scaled_filters("width", each, width) for each in _TRUNK] + [banks * n]
    below = [channels, *filters]
    blocks = [Block(one, two, pool=nn.MaxPool2d(2)) for one, two in zip(below, filters, strict=False)]
    return nn.Sequential(OrderedDict((str(m), block) for m, block in enumerate(blocks, start=1))), n


def _needed(labels: int, kind: str, depth: int) -> int:
    """The smallest M whose instants are enough for K labels."""
    count = 1
    while True:
        instants = {
            "generic": count**depth,
            "shared": math.comb(count + depth - 1, depth),
            "equal": depth * (count - 1) + 1,
        }
        if instants[kind] >= labels:
            return count
        count += 1


def label_instants(labels: int, delays: list[list[float]], kind: str, label_map: str) -> list[int]:
    """Which place in T_L each of K labels is read at, for one or two layers of M delays.

    A path (m1, m2) takes line m1 of the first layer, into bank m1, and line m2 of the second. "spread" gives
    label k the path (k mod M, k div M), so that the labels take turns over the banks; where sums commute
    ("shared"), (k mod M, k mod M + k div M). With "equal" delays it is the K central instants. "fill" goes
    through the lines of bank 0, then of bank 1, and so on. Instants that are taken are passed over.

    >>> label_instants(4, [[0.0, 1.0, 2.0]] * 2, "equal", "spread")
    [0, 1, 2, 3]
    >>> label_instants(4, [[0.1, 0.2], [0.01, 0.03]], "generic", "spread")
    [0, 2, 1, 3]
    """
    if len(delays) == 1:
        return list(range(labels))
    count = len(delays[0])
    times, table = arrivals(arrivals([0.0], delays[0])[0], delays[1])
    if kind == "equal" and label_map == "spread":
        first = (len(times) - labels) // 2
        return list(range(first, first + labels))
    paths = []
    for turn in range(count**2):
        slow, fast = divmod(turn, count)
        if label_map == "fill":
            paths.append((slow, fast))
        else:
            paths.append((fast, (slow + fast) % count if kind == "shared" else slow))
    instant = {place: at for at, places in enumerate(table) for place in places}
    return list(dict.fromkeys(instant[bank * count + line] for bank, line in paths))[:labels]


def jittered(net: TimedNet, share: float, generator: torch.Generator) -> TimedNet:
    """A copy in which a share of the single lines has a wrong delay: another one of its layer's M.

    What such a line carries arrives at a wrong instant; in the unrolled form its weight moves to another
    line of the same connection, and adds to the weight there. The lines of delayed convolutions stay.

    Parameters
    ----------
    share : of the lines of every delayed layer, from 0 to 1.
    generator : draws which lines, and where to.

    Raises ParameterError: a share outside [0, 1], or a layer with one delay, which has no wrong one.

    >>> from filterwise import models
    >>> net = models.build("rodib", labels=4, delays=2, width=0.1)
    >>> other = jittered(net, 0.5, torch.Generator().manual_seed(0))
    >>> len(list(other.parameters())) == len(list(net.parameters()))
    True
    """
    if not 0 <= share <= 1:
        raise refused("share", share, "it must be from 0 to 1")
    moved = copy.deepcopy(net)
    for layer in moved.delay_layers():
        weight = layer.weight.detach().cpu()
        lines = len(weight)
        if lines < 2:
            raise ParameterError("a layer with one delay has no wrong instant; give a network with delays")
        wrong = torch.rand(weight.shape, generator=generator) < share
        step = torch.randint(1, lines, weight.shape, generator=generator)
        line = torch.arange(lines)[:, None, None].expand_as(step)
        target = torch.where(wrong, (line + step) % lines, line)
        layer.weight.data.copy_(torch.zeros_like(weight).scatter_add_(0, target, weight))
    return moved
