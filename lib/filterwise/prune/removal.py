"""Channels that masks have cut off, taken out of the network for good, with the same outputs.

Torch-Pruning's dependency graph says which weights belong to one channel: those that write it (of several
convolutions, where a residual sum joins them), its batch norms, and those that read it.
"""

from __future__ import annotations

import copy
import importlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, cast

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from filterwise.errors import FilterwiseError, ParameterError
from filterwise.models.counting import parameter_count
from filterwise.models.modes import evaluation_mode
from filterwise.prune.masks import masks_of

#: How far the outputs may move, relative to the largest: rounding of sums with fewer terms stays below.
TOLERANCE = 1e-4
#: What leaves channels apart, of modules and of the operations that Torch-Pruning knows.
_APART = (nn.BatchNorm1d, nn.BatchNorm2d, nn.PReLU)
_OPERATIONS = {"_ElementWiseOp", "_FlattenOp", "_ReshapeOp"}


class TorchPruningMissing(FilterwiseError, ImportError):
    """Torch-Pruning is not installed."""


def torch_pruning() -> ModuleType:
    """The package ``torch_pruning``.

    Raises TorchPruningMissing: says what to install.
    """
    try:
        return importlib.import_module("torch_pruning")
    except ImportError as error:
        raise TorchPruningMissing(
            "taking channels out needs Torch-Pruning; install it with: pip install 'filterwise[removal]'"
        ) from error


@dataclass(frozen=True, eq=False)
class Removal:
    """A network without its dead channels.

    ``net``: the smaller copy, without masks, what was masked being zeros in it; ``table``: one row a
    convolution or linear layer, ``inputs``, ``outputs``, ``weights`` and the same ``_left``; ``parameters``,
    ``parameters_left``: of the whole network; ``constant``: channels that are cut off below but had to stay,
    by the layer that gives them.

    >>> net = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.ReLU(), nn.Conv2d(2, 3, 1, bias=False))
    >>> net[2].weight.data[:, 1] = 0  # nobody reads channel 1
    >>> found = remove_dead(net, (1, 4, 4))
    >>> found.parameters, found.parameters_left
    (8, 4)
    """

    net: nn.Module = field(repr=False)
    table: pd.DataFrame
    parameters: int
    parameters_left: int
    constant: dict[str, int]

    def __repr__(self) -> str:
        changed = self.table[self.table["weights"] != self.table["weights_left"]]
        kept = sum(self.constant.values())
        stayed = f"; {kept} constant channels stay" if kept else ""
        head = f"{self.parameters_left:,} of {self.parameters:,} parameters left{stayed}"
        return f"{head}\n{changed.to_string()}" if len(changed) else head


@dataclass(frozen=True)
class Channels:
    """Channels that go together: one group of the dependency graph.

    ``writers`` and ``readers``: (module, its indices, the channels that these are) of all convolutions and
    linear layers that give or take them.
    """

    root: nn.Module
    count: int
    writers: list[tuple[nn.Module, Tensor, Tensor]]
    readers: list[tuple[nn.Module, Tensor, Tensor]]


def remove_dead(net: nn.Module, shape: tuple[int, int, int] = (3, 32, 32)) -> Removal:
    """A copy of a masked network from which all channels that do not matter are gone; its outputs are equal.

    A channel goes

    - if nothing reads it: all weights that read it are zero, whatever it holds; this is what happens to
      filters without labels between two masked layers, and, of a residual sum, if none of its readers reads;
    - if all weights that give it are zero, so that it is the same for all inputs, and it is zero where it is
      read (a bias, or a batch norm's shift, that the ReLU cuts off); or it has one value and those that read
      it have no padding, or are linear layers: then the constant goes into their biases.

    A constant other than zero under a padded convolution stays: at the borders fewer terms are summed, which
    no bias can copy. Squeeze-excitation reads all channels that it scales, so they stay as well. Going on
    until nothing more dies. Every layer keeps one channel.

    Equal means evaluation mode; the copy is tried on two random inputs before it is returned.

    Parameters
    ----------
    net
        A network with masks, or with weights that are zero; left as it was found.
    shape
        (C, H, W) of one input.

    Raises TorchPruningMissing; ParameterError: the outputs are not the same (channels are mixed in a way that
    the dependency graph does not see).

    >>> from filterwise.prune.masks import apply
    >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.ReLU(), nn.Conv2d(5, 2, 1))
    >>> mask = torch.ones(5, 4, dtype=torch.bool)
    >>> mask[:, :3] = False
    >>> smaller = remove_dead(apply(net, {"2": mask}), (3, 8, 8))
    >>> smaller.net[0].weight.shape, smaller.parameters, smaller.parameters_left
    (torch.Size([1, 3, 3, 3]), 309, 90)
    """
    package = torch_pruning()
    small = unmasked_copy(net)
    before, parameters = layer_sizes(small), parameter_count(small)
    trained = {name: weight.requires_grad for name, weight in small.named_parameters()}
    example = example_inputs(small, shape)
    names = {module: name for name, module in small.named_modules()}
    with evaluation_mode(small):
        wanted = small(example)
        while True:
            graph = dependency_graph(package, small, example)
            plans, constant = [], {}
            for channels in channel_groups(graph):
                dead, stay = _dead(small, channels, example)
                if stay:
                    constant[names[channels.root]] = stay
                if len(dead):
                    plans.append((channels.root, dead))
            for root, dead in plans:
                take_out(graph, root, dead)
            if not plans:
                break
        got = small(example)
    if not torch.allclose(got, wanted, rtol=0, atol=TOLERANCE * float(wanted.abs().max())):
        apart = float((got - wanted).abs().max())
        raise ParameterError(
            f"without its dead channels this network's outputs differ by {apart:.2g}: it mixes channels in a "
            "way that the dependency graph does not see, so nothing can be taken out of it"
        )
    for name, weight in small.named_parameters():
        weight.requires_grad_(trained.get(name, True))
    table = before.join(layer_sizes(small).add_suffix("_left"))
    return Removal(small, table, parameters, parameter_count(small), constant)


def unmasked_copy(net: nn.Module) -> nn.Module:
    """A copy without masks: what they removed is zero in the weights themselves."""
    masked = list(masks_of(net))
    for name in masked:  # a product of weight and mask cannot be copied as part of a graph; it is made anew
        module = net.get_submodule(name)
        module.weight = cast(Tensor, module.weight).detach()
    fresh = copy.deepcopy(net)
    for name in masked:
        prune.remove(fresh.get_submodule(name), "weight")
    return fresh


def dependency_graph(package: ModuleType, net: nn.Module, example: Tensor) -> Any:
    """Torch-Pruning's graph of a network, which is traced by its gradients."""
    for weight in net.parameters():
        weight.requires_grad_(True)
    with torch.enable_grad():
        return package.DependencyGraph().build_dependency(net, example_inputs=example)


def channel_groups(graph: Any) -> Iterator[Channels]:
    """Groups of channels that something reads and that stay apart on their way."""
    for group in graph.get_all_groups():
        writers: list[tuple[nn.Module, list[int], list[int]]] = []
        readers: list[tuple[nn.Module, list[int], list[int]]] = []
        known = True
        for item in group:
            module, idxs, roots = item.dep.target.module, item.idxs, item.root_idxs
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                if getattr(module, "groups", 1) == 1:
                    ends = readers if graph.is_in_channel_pruning_fn(item.dep.handler) else writers
                    known &= None not in roots
                    ends.append((module, idxs, roots))
                else:  # a depthwise convolution only passes its channels on
                    known &= module.groups == module.in_channels == module.out_channels
            else:
                known &= isinstance(module, _APART) or type(module).__name__ in _OPERATIONS
        root = group[0].dep.target.module
        # the network's outputs have no reader
        if known and readers:
            made = [
                [(module, torch.tensor(idxs), torch.tensor(roots)) for module, idxs, roots in ends]
                for ends in (writers, readers)
            ]
            yield Channels(root, len(group[0].idxs), *made)


def take_out(graph: Any, root: nn.Module, channels: Tensor) -> None:
    """Remove channels that a layer gives, everywhere."""
    handler = graph.get_pruner_of_module(root).prune_out_channels
    graph.get_pruning_group(root, handler, channels.tolist()).prune()


def _any(ends: list[tuple[nn.Module, Tensor, Tensor]], count: int, dim: int) -> Tensor:
    """For each channel, whether any of the ends' weights of it (along ``dim``) is not zero; bool (count,)."""
    found = torch.zeros(count)
    for module, idxs, roots in ends:
        weight = cast(Tensor, module.weight).detach().transpose(0, dim)
        own = (weight[idxs.to(weight.device)] != 0).flatten(1).any(dim=1)
        found.index_add_(0, roots, own.float().cpu())
    return found > 0


def _dead(net: nn.Module, channels: Channels, example: Tensor) -> tuple[Tensor, int]:
    """Channels that can go, constants having been put into biases, and how many constant ones stay."""
    read = _any(channels.readers, channels.count, dim=1)
    written = _any(channels.writers, channels.count, dim=0)
    cut = torch.nonzero(read & ~written).flatten()
    gone = ~read
    folds: list[tuple[nn.Module, Tensor, Tensor, Tensor]] = []
    if len(cut):
        values = _inputs(net, [module for module, _, _ in channels.readers], example)
        can = torch.ones(channels.count, dtype=torch.bool)
        for module, idxs, roots in channels.readers:
            weight = cast(Tensor, module.weight).detach()
            seen = values.get(module)
            if seen is None:  # not run exactly once
                can[roots] = False
                continue
            seen = seen.flatten(2)[:, idxs] if seen.ndim > 2 else seen[:, idxs, None]  # (2, channels, P)
            low, high = seen.amin(dim=(0, 2)).cpu(), seen.amax(dim=(0, 2)).cpu()
            same = (seen[0] == seen[1]).all(dim=1).cpu() & (low == high)
            unpadded = not isinstance(module, nn.Conv2d) or set(module.padding) == {0}
            can[roots] &= same & (torch.tensor(unpadded) | (low == 0))
            inside = torch.isin(roots, cut)
            terms = (
                weight[:, idxs[inside]].flatten(2).sum(dim=2) if weight.ndim > 2 else weight[:, idxs[inside]]
            )
            folds.append((module, terms, low[inside], roots[inside]))
        gone = gone | (can & ~written)
    if bool(gone.all()):
        gone[0] = False  # a layer without channels cannot be
    for module, terms, value, roots in folds:
        own = gone[roots]
        if bool((value[own] != 0).any()):
            bias = cast(Tensor | None, module.bias)
            added = terms[:, own] @ value[own].to(terms)
            module.bias = nn.Parameter(added if bias is None else bias.detach() + added)
    return torch.nonzero(gone).flatten(), int((read & ~written & ~gone).sum())


def _inputs(net: nn.Module, modules: list[nn.Module], example: Tensor) -> dict[nn.Module, Tensor]:
    """What modules that run once read."""
    seen: dict[nn.Module, list[Tensor]] = {module: [] for module in modules}
    handles = [
        module.register_forward_pre_hook(lambda module, inputs: seen[module].append(inputs[0].clone()))
        for module in seen
    ]
    try:
        net(example)
    finally:
        for handle in handles:
            handle.remove()
    return {module: runs[0] for module, runs in seen.items() if len(runs) == 1}


def example_inputs(net: nn.Module, shape: tuple[int, int, int]) -> Tensor:
    """Two random inputs of a network, always the same."""
    first = next(net.parameters())
    inputs = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    return inputs.to(first)


def layer_sizes(net: nn.Module) -> pd.DataFrame:
    """``inputs``, ``outputs`` and ``weights`` of every convolution and linear layer."""
    rows = {
        name: (module.weight.shape[1], module.weight.shape[0], module.weight.numel())
        for name, module in net.named_modules()
        if isinstance(module, (nn.Conv2d, nn.Linear))
    }
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["inputs", "outputs", "weights"])
    return table.rename_axis("layer")
