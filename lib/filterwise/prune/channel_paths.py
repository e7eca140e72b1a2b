"""The ways of channels through a network: which operations leave each where it is, and who reads it first."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
from torch import Tensor, fx, nn

from filterwise.errors import ParameterError
from filterwise.measure.probing import Place

# What leaves every channel where it is. Activations are recognised by where torch defines them.
_MODULES = (
    nn.Identity, nn.Flatten, nn.BatchNorm1d, nn.BatchNorm2d, nn.SyncBatchNorm, nn.Dropout, nn.Dropout2d,
    nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.ZeroPad2d, nn.Upsample,
)  # fmt: skip
_FUNCTIONS = {
    "relu", "relu_", "relu6", "leaky_relu", "silu", "gelu", "hardswish", "elu", "tanh", "sigmoid",
    "hardsigmoid", "dropout", "stochastic_depth", "batch_norm", "max_pool2d", "avg_pool2d",
    "adaptive_avg_pool2d", "adaptive_max_pool2d", "boolean_dispatch", "mean", "flatten", "view", "reshape",
    "squeeze", "contiguous", "clone", "to", "float",
}  # fmt: skip
_SUMS: set[Any] = {operator.add, operator.iadd, torch.add, "add", "add_"}
_PRODUCTS: set[Any] = {operator.mul, operator.imul, torch.mul, "mul", "mul_"}
_GATES = (nn.Sigmoid, nn.Hardsigmoid)
_GATE_FUNCTIONS = {"sigmoid", "hardsigmoid"}
_FLAT = {"flatten", "view", "reshape", "squeeze"}
_SHAPES = {"size", "dim", "getattr", "shape", "numel"}


class Traced:
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

    def read(self, reader: fx.Node) -> fx.Node:
        """The tensor that a module reads."""
        return cast(fx.Node, reader.args[0])

    def is_depthwise(self, node: fx.Node) -> bool:
        module = self.module(node)
        return (
            isinstance(module, nn.Conv2d) and module.groups == module.in_channels == module.out_channels > 1
        )

    def below(self, layer: str) -> Place:
        """The input of the layer, or of the depthwise convolution whose channels it inherits."""
        reader = self._once(layer)
        source = self.source(self.read(reader))
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
                f"layer {layer!r} runs {len(runs)} times in a forward pass; one that runs once can be masked"
            )
        return runs[0]

    def _read_by(self, reader: fx.Node) -> Place:
        """The place of what a layer reads, under the name of the first that reads the same."""
        source = self._unflattened(self.read(reader))
        first = next(
            node
            for node in self.graph.nodes
            if self.is_reader(node) and self._unflattened(self.read(node)) is source
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

    def gate_layers(self) -> list[str]:
        """Layers that only scale other channels, as in squeeze-excitation."""
        return [str(node.target) for node in self.graph.nodes if self.is_reader(node) and self.gates(node)]

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
        activation = type(module).__module__ == nn.modules.activation.__name__
        return isinstance(module, _MODULES) or (activation and not isinstance(module, nn.MultiheadAttention))

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
