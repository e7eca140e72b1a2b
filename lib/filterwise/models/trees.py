"""Tree-3: filters of each colour, a tree of private weights above them, and one fully connected layer.

Meir et al., Sci. Rep. 13, 962 (2023). A unit of the first layer feeds, in each of M branches, one unit of the
second: the one whose strip of the pooled map it lies in. Between a weight and an output there is one route.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from filterwise.errors import check_choice, check_count, refused
from filterwise.models.building import models
from filterwise.models.sizes import check_flag, first_filters

KERNEL = 5
ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid}
#: How the weights begin: by the inputs of one unit; as an initialiser sees that takes the whole tensor of the
#: tree for one unit's inputs; or N(0, 1) everywhere.
STARTS = ("unit inputs", "tensor inputs", "normal")
# Images whose unpooled maps fit in a processor's cache; three times as fast as 500 at once.
_AT_ONCE = 100


class ColourFilters(nn.Module):
    """K filters 5x5 for each colour, no padding; 2x2 max pool; activation. (N, C, S, S) -> (N, C K, P, P)

    The maps lie colour by colour: all K of the first, then all of the second. The pool comes before the
    activation, which rises, so that the values are those of the other order at a quarter of the work.
    """

    def __init__(self, channels: int, filters: int, activation: str, start: str) -> None:
        super().__init__()
        kind = _UnitConv2d if start == "normal" else nn.Conv2d
        self.conv: nn.Conv2d = kind(channels, channels * filters, KERNEL, groups=channels)
        self.pool = nn.MaxPool2d(2)
        self.activation = ACTIVATIONS[activation]()

    def forward(self, x: Tensor) -> Tensor:
        """p_gk(i, j). (N, C, S, S) -> (N, C K, P, P)"""
        if torch.is_grad_enabled() or len(x) <= _AT_ONCE:
            return self.activation(self.pool(self.conv(x)))
        return self.activation(torch.cat([self.pool(self.conv(part)) for part in x.split(_AT_ONCE)]))


class TreeLayer(nn.Module):
    """t_mgs = sigma(beta_mgs + sum_k sum_ij V_mgsk(i, j) p_gk(rows s + i, j)): one strip, one unit a branch.

    ``weight`` V is (colours, strips, M, K, rows, P), ``bias`` (colours, strips, M); a strip is ``rows`` whole
    rows of the pooled map (P, P) of one colour, summed over its K filters. One batched product for all
    branches, colours and strips.
    """

    def __init__(
        self, colours: int, filters: int, side: int, rows: int, branches: int, activation: str, start: str
    ) -> None:
        super().__init__()
        strips = side // rows
        self.weight = nn.Parameter(torch.empty(colours, strips, branches, filters, rows, side))
        self.bias = nn.Parameter(torch.empty(colours, strips, branches))
        self.activation = ACTIVATIONS[activation]()
        self.start = start

    @property
    def fan_in(self) -> int:
        """Inputs of one unit, K rows P."""
        return self.weight[0, 0, 0].numel()

    def draw(self, generator: torch.Generator, init: str) -> None:
        """He normal or PyTorch's uniform distribution by the fan-in that ``start`` says, or N(0, 1)."""
        inputs = self.fan_in
        if self.start == "tensor inputs":
            # generic initialisers multiply all sizes but the first: of (1, M, K, C, strips, ...) all there is
            inputs = self.weight.numel()
        if self.start == "normal":
            self.weight.normal_(0, 1, generator=generator)
            self.bias.zero_()
        elif init == "he":
            self.weight.normal_(0, math.sqrt(2 / inputs), generator=generator)
            self.bias.zero_()
        else:
            bound = 1 / math.sqrt(inputs)
            self.weight.uniform_(-bound, bound, generator=generator)
            self.bias.uniform_(-bound, bound, generator=generator)

    def strips(self, maps: Tensor) -> Tensor:
        """The inputs of each unit. (N, C K, P, P) -> (C strips, N, K rows P)"""
        colours, strips, _, filters, rows, side = self.weight.shape
        parts = maps.reshape(len(maps), colours, filters, strips, rows * side)
        return parts.permute(1, 3, 0, 2, 4).reshape(colours * strips, len(maps), self.fan_in)

    def forward(self, maps: Tensor) -> Tensor:
        """t, colour by colour, strip by strip, branch by branch. (N, C K, P, P) -> (N, C strips M)"""
        inputs = self.strips(maps)
        weight = self.weight.flatten(3).flatten(0, 1)  # (C strips, M, K rows P)
        units = torch.baddbmm(self.bias.flatten(0, 1)[:, None], inputs, weight.mT)
        return self.activation(units.transpose(0, 1).flatten(1))


class Tree3(nn.Module):
    """Filters, tree, and a fully connected layer that reads all branches. (N, C, S, S) -> (N, labels)"""

    layer_names = ("filters",)

    def __init__(
        self,
        labels: int,
        channels: int,
        size: int,
        filters: int,
        branches: int,
        rows: int,
        activation: str,
        start: str,
    ) -> None:
        super().__init__()
        side = (size - KERNEL + 1) // 2
        self.filters = ColourFilters(channels, filters, activation, start)
        self.tree = TreeLayer(channels, filters, side, rows, branches, activation, start)
        units = self.tree.bias.numel()
        kind = _UnitLinear if start == "normal" else nn.Linear
        self.classifier: nn.Linear = kind(units, labels)

    def forward(self, x: Tensor) -> Tensor:
        """Logits o_n = a_n + sum_mgs U_n,mgs t_mgs. (N, C, S, S) -> (N, labels)"""
        return self.classifier(self.tree(self.filters(x)))


class TreePerLabel(nn.Module):
    """A whole Tree-3 with one output for each label, so that every weight belongs to one output."""

    def __init__(self, labels: int, *shape: Any) -> None:
        super().__init__()
        self.trees = nn.ModuleList(Tree3(1, *shape) for _ in range(labels))

    def forward(self, x: Tensor) -> Tensor:
        """Logits. (N, C, S, S) -> (N, labels)"""
        return torch.cat([tree(x) for tree in self.trees], 1)


@models("tree3")
def tree3(
    labels: int,
    width: float,
    channels: int,
    size: int,
    *,
    K: int | None = None,
    M: int = 16,
    activation: str = "relu",
    rows: int | None = None,
    start: str = "unit inputs",
    per_label: bool = False,
) -> Tree3 | TreePerLabel:
    """Tree-3 for images (channels, size, size).

    Parameters
    ----------
    K : filters of each colour; None: 6 * width, rounded
    M : branches
    activation : "relu" or "sigmoid", of filters and tree
    rows : rows of the pooled map in a strip. None: 2, and 4 for images of one channel, as in the paper's
        networks for CIFAR-10 and MNIST
    start : the scale of the initial weights: "unit inputs", by the inputs of one unit; "tensor inputs",
        in the tree by the whole tensor's, which is far smaller; "normal", N(0, 1) everywhere and biases 0
    per_label : one whole tree with one output for each label ("10 Tree-3" for ten) instead of one for all

    Raises ParameterError on a value outside these choices, K or M below 1, or a size that cannot be tiled.

    >>> from filterwise import models
    >>> models.parameter_count(models.build("tree3", K=6, M=16))
    60622
    """
    filters = first_filters(K, 6, width, "K")
    check_count("M", M)
    check_choice("activation", activation, ACTIVATIONS)
    check_choice("start", start, STARTS)
    check_flag("per_label", per_label)
    strip = (4 if channels == 1 else 2) if rows is None else check_count("rows", rows)
    _check_tiling(size, strip)
    shape = (channels, size, filters, M, strip, activation, start)
    return TreePerLabel(labels, *shape) if per_label else Tree3(labels, *shape)


def _check_tiling(size: int, rows: int) -> None:
    if _tiles(size, rows):
        return
    near = [s for s in range(max(KERNEL + 1, size - 4 * rows), size + 4 * rows) if _tiles(s, rows)]
    near = sorted(near, key=lambda s: abs(s - size))[:3]
    raise refused(
        "size",
        size,
        f"its map of side {size - KERNEL + 1} must halve into strips of rows={rows} whole rows; "
        f"sizes near it that do: {', '.join(map(str, sorted(near)))}",
    )


def _tiles(size: int, rows: int) -> bool:
    side, odd = divmod(size - KERNEL + 1, 2)
    return side >= 1 and not odd and side % rows == 0


class _Unit:
    """Weights drawn from N(0, 1), biases 0, whatever ``init`` says."""

    weight: Tensor
    bias: Tensor

    def draw(self, generator: torch.Generator, init: str) -> None:
        self.weight.normal_(0, 1, generator=generator)
        self.bias.zero_()


class _UnitConv2d(_Unit, nn.Conv2d):  # type: ignore[misc]
    pass


class _UnitLinear(_Unit, nn.Linear):  # type: ignore[misc]
    pass
