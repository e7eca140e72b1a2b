"""Where the label sets of a masked layer's filters are measured, read off the network's graph of operations.

A mask (out, in) on a layer needs two label sets. ``below``: of the channels that the layer reads, at its own
input, residual sums included. ``above``: of the channels that it gives, at the first tensor on their way that
a convolution or a linear layer reads: after batch norm, activation, residual sum and pooling.

A depthwise convolution has one input channel an output channel, so its channels inherit the label sets of
the channels that it reads. Squeeze-excitation reads and scales channels but does not decide where they are
used; it is passed by.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, fx, nn

from filterwise.errors import ParameterError, near_miss
from filterwise.measure.hooks import check_layers
from filterwise.measure.probing import Place
from filterwise.prune.masks import masked_layer

#: A pair (below, above) of places or module names; see :func:`places_of`.
Given = tuple[Place | str, Place | str | None]

# What leaves every channel where it is. Activations are recognised by where torch defines them.
_MODULES = (
    nn.Identity, nn.Flatten, nn.BatchNorm1d, nn.BatchNorm2d, nn.SyncBatchNorm, nn.Dropout, nn.Dropout2d,
    nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.ZeroPad2d, nn.Upsample,
)  # fmt: skip
_FUNCTIONS = {
    "relu", "relu_", "relu6", "leaky_relu", "silu", "gelu", "hardswish", "elu", "tanh", "sigmoid", "hardsigmoid",
    "dropout", "stochastic_depth", "batch_norm", "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d",
    "adaptive_max_pool2d", "boolean_dispatch", "mean", "flatten", "view", "reshape", "squeeze", "contiguous",
    "clone", "to", "float",
}  # fmt: skip
_SUMS: set[Any] = {operator.add, operator.iadd, torch.add, "add", "add_"}
_PRODUCTS: set[Any] = {operator.mul, operator.imul, torch.mul, "mul", "mul_"}
_GATES = (nn.Sigmoid, nn.Hardsigmoid)
_GATE_FUNCTIONS = {"sigmoid", "hardsigmoid"}
_FLAT = {"flatten", "view", "reshape", "squeeze"}
_SHAPES = {"size", "dim", "getattr", "shape", "numel"}


@dataclass(frozen=True)
class LayerPlaces:
    """Where a layer's label sets are measured.

    ``layer``: the module that has the weights; ``below``: of its input channels; ``above``: of its output
    channels, or None for the layer that gives the labels' outputs, each of which stands for its own label.
    """

    layer: str
    below: Place
    above: Place | None


def places_of(
    net: nn.Module, layers: Sequence[str], places: Mapping[str, Given] | None = None
) -> dict[str, LayerPlaces]:
    """Where to measure the label sets for masks on these layers.

    Parameters
    ----------
    net
        Any network that ``torch.fx`` can trace: no branches on values. Others need ``places``.
    layers
        Names of convolutions or linear layers, or of modules that hold only one (a block).
    places
        By layer, given by hand instead: (below, above), each a ``Place`` or the name of a module, meaning its
        output; above may be None for the layer that gives the labels' outputs.

    Returns by layer, as named.

    Raises ParameterError: an unknown layer (the near miss is named); a convolution in groups, whose kernels
    do not join all channels; a layer that reads the images; a network that cannot be traced, or in which
    channels are mixed on their way (concatenated, say), without ``places``.

    >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.ReLU(),
    ...                     nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 2))
    >>> found = places_of(net, ["3", "7"])
    >>> print(found["3"].below, "|", found["3"].above, "|", found["7"].above)
    input of 3 | input of 7 | None
    """
    given, found = dict(places or {}), {}
    for layer in given:
        if layer not in layers:
            raise ParameterError(f"places names {layer!r}, which is not among layers{near_miss(layer, layers)}")
    names = {layer: _prunable(net, layer) for layer in layers}
    traced = None
    for layer, name in names.items():
        if layer in given:
            below, above = (_placed(net, one) for one in given[layer])
            if below is None:
                raise ParameterError(f"places[{layer!r}] says no place below the layer")
            found[layer] = LayerPlaces(name, below, above)
        else:
            traced = traced or _Traced(net)
            found[layer] = LayerPlaces(name, traced.below(name), traced.above(name))
    return found


def maskable_layers(net: nn.Module) -> list[str]:
    """Convolutions and linear layers that AFCC can mask, in the order in which they run.

    Those that join all channels of a layer below to all of one above: neither the first layer, which reads
    the images, nor depthwise kernels, nor squeeze-excitation.

    Raises ParameterError: the network cannot be traced, or channels are mixed on their way.

    >>> maskable_layers(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=4),
    ...                               nn.Conv2d(4, 8, 1), nn.Flatten(), nn.Linear(8, 2)))
    ['3', '5']
    """
    traced = _Traced(net)
    return [
        str(node.target)
        for node in traced.graph.nodes
        if traced.is_reader(node) and not traced.is_depthwise(node) and not traced.gates(node)
        and traced.source(cast(fx.Node, node.args[0])).op != "placeholder"
        and getattr(traced.module(node), "groups", 1) == 1
    ]  # fmt: skip


def _prunable(net: nn.Module, layer: str) -> str:
    name, module, _ = masked_layer(net, layer)
    if getattr(module, "groups", 1) != 1:
        raise ParameterError(
            f"layer {layer!r} is a convolution in {module.groups} groups: its kernels do not join all channels, "
            "so there are no connections to choose from"
        )
    if not isinstance(module, (nn.Conv2d, nn.Linear)):
        raise ParameterError(f"layer {layer!r} is a {type(module).__name__}; Conv2d or Linear is needed")
    return name


def _placed(net: nn.Module, one: Place | str | None) -> Place | None:
    place = Place(one) if isinstance(one, str) else one
    if place is not None:
        check_layers(net, place.module)
    return place


class _Traced:
    """The graph of a network's operations, and the ways of channels through it."""

    def __init__(self, net: nn.Module) -> None:
        self.net = net
        try:
            self.graph = fx.Tracer().trace(net)
        except Exception as error:  # the network is the user's own, and may raise anything
            why = f"{type(error).__name__}: {error}".partition("\n")[0]
            raise ParameterError(
                f"torch.fx cannot trace this network ({why}); say where its layers' label sets are measured "
                "with places={layer: (module below, module above)}"
            ) from error
        self._gates: dict[fx.Node, bool] = {}
        self.runs: dict[str, list[fx.Node]] = {}
        for node in self.graph.nodes:
            if node.op == "call_module":
                self.runs.setdefault(str(node.target), []).append(node)

    def module(self, node: fx.Node) -> nn.Module | None:
        return self.net.get_submodule(str(node.target)) if node.op == "call_module" else None

    def is_reader(self, node: fx.Node) -> bool:
        return isinstance(self.module(node), (nn.Conv2d, nn.Linear))

    def is_depthwise(self, node: fx.Node) -> bool:
        module = self.module(node)
        return isinstance(module, nn.Conv2d) and module.groups == module.in_channels == module.out_channels > 1

    def below(self, layer: str) -> Place:
        """The input of the layer, or of the depthwise convolution whose channels it inherits."""
        reader = self._once(layer)
        source = self.source(cast(fx.Node, reader.args[0]))
        if source.op == "placeholder":
            raise ParameterError(
                f"layer {layer!r} reads the images, whose channels stand for no labels; leave it out"
            )
        if self.is_depthwise(source):
            return self.below(str(source.target))
        return self._read_by(reader)

    def above(self, layer: str) -> Place | None:
        """Where the layer's outputs are first read, or None if they are the network's outputs."""
        for node in self._along(self._once(layer), layer):
            for user in node.users:
                if self.is_reader(user) and not self.gates(user):
                    return self._read_by(user)
        return None

    def _once(self, layer: str) -> fx.Node:
        runs = self.runs.get(layer, [])
        if len(runs) != 1:
            raise ParameterError(
                f"layer {layer!r} runs {len(runs)} times in a forward pass; layers that run once can be masked"
            )
        return runs[0]

    def _read_by(self, reader: fx.Node) -> Place:
        """The place of what a layer reads, under the name of the first that reads the same."""
        source = self._unflattened(cast(fx.Node, reader.args[0]))
        first = next(
            node
            for node in self.graph.nodes
            if self.is_reader(node) and self._unflattened(cast(fx.Node, node.args[0])) is source
        )
        self._once(str(first.target))
        module = self.module(first)
        filters = None
        if isinstance(module, nn.Linear):
            origin = self.module(self.source(source))
            filters = getattr(origin, "out_channels", None)
        return Place(str(first.target), "input", filters)

    def _unflattened(self, node: fx.Node) -> fx.Node:
        while _called(node) in _FLAT or isinstance(self.module(node), (nn.Flatten, nn.Identity)):
            node = cast(fx.Node, node.args[0])
        return node

    def source(self, node: fx.Node) -> fx.Node:
        """The convolution, linear layer or input that a tensor's channels come from; of a sum, the first."""
        while not self.is_reader(node) and node.op != "placeholder":
            self._check(node)
            inputs = [one for one in node.all_input_nodes if not self._is_shape(one)]
            if node.target in _PRODUCTS:
                inputs = [one for one in inputs if not self._is_gate(one)] or inputs
            if not inputs:
                break
            node = inputs[0]
        return node

    def gates(self, node: fx.Node) -> bool:
        """Whether a layer is part of a gate: all that it leads to is a factor of other channels."""
        if node not in self._gates:
            ends = list(self._ends(node))
            self._gates[node] = bool(ends) and all(ends)
        return self._gates[node]

    def _ends(self, node: fx.Node) -> Iterator[bool]:
        for user in node.users:
            if self._is_gate(user):
                yield True
            elif self.is_reader(user):
                yield self.gates(user)
            elif self._keeps(user) and user.target not in _SUMS | _PRODUCTS:
                yield from self._ends(user)
            else:
                yield False

    def _is_gate(self, node: fx.Node) -> bool:
        return isinstance(self.module(node), _GATES) or _called(node) in _GATE_FUNCTIONS

    def _is_shape(self, node: fx.Node) -> bool:
        return _called(node) in _SHAPES

    def _along(self, start: fx.Node, layer: str) -> Iterator[fx.Node]:
        """Tensors in which the layer's channels are still apart, nearest first."""
        queue, seen = [start], {start}
        while queue:
            node = queue.pop(0)
            yield node
            for user in node.users:
                if user in seen or user.op == "output" or self.is_reader(user) or self._is_shape(user):
                    continue
                self._check(user, layer)
                seen.add(user)
                queue.append(user)

    def _keeps(self, node: fx.Node) -> bool:
        """Whether an operation leaves every channel where it is."""
        module = self.module(node)
        if module is None:
            return node.target in _SUMS | _PRODUCTS or _called(node) in _FUNCTIONS
        return isinstance(module, _MODULES) or type(module).__module__ == nn.modules.activation.__name__

    def _check(self, node: fx.Node, layer: str = "") -> None:
        """Raise unless an operation leaves every channel where it is."""
        if not self._keeps(node):
            module = self.module(node)
            what = type(module).__name__ if module is not None else _called(node) or str(node.op)
            ofwhat = f" of layer {layer!r}" if layer else ""
            raise ParameterError(
                f"{what!r} ({node.name}) stands in the way of the channels{ofwhat}: it is not known to leave "
                "each where it is; say where they are measured with places={layer: (below, above)}"
            )


def _called(node: fx.Node) -> str:
    """The name of the function or method that a node calls."""
    if node.op == "call_method":
        return str(node.target)
    if node.op == "call_function":
        return getattr(cast(Callable[..., Tensor], node.target), "__name__", "")
    return ""


