r"""The backward pass of a Tree-3, written out by hand as a training step.

Meir et al., Sci. Rep. 13, 962 (2023). With delta_n = softmax(o)_n - target_n, one product a line:

    dU_n,mgs = delta_n t_mgs
    e_mgs = sigma'(t_mgs) sum_n delta_n U_n,mgs
    dV_mgsk(i, j) = e_mgs p_gk(rows s + i, j)
    q_gk(i, j) = sum_m e_m,g,strip(i) V_m,g,strip(i),k(i, j)          one term a branch
    dC_gk(u, v) = sum over pooled (i, j): q_gk(i, j) sigma'(p_gk(i, j)) x_g(r + u, c + v),  (r, c) the winner

There is no graph and nothing that a graph would keep: a few images at a time go forward and straight back, so
that their maps are still in the processor's cache. A pooled unit is the largest of four products of one 6x6
patch with the same 5x5 filter in four places, which makes convolution and pool one matrix product and three
maxima, and the winners' gradients another product. Only what a winner receives is ever computed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from filterwise.errors import ParameterError
from filterwise.models.trees import KERNEL, Tree3, TreePerLabel
from filterwise.training.recipe import Recipe
from filterwise.training.steps import Step, cross_entropy, steps

#: Images that go forward and back together; fewer are slower by the calls, more by the cache.
TOGETHER = 50
_PATCH = KERNEL + 1  # what the four units of a 2x2 pool see
_PLACES = ((0, 0), (0, 1), (1, 0), (1, 1))  # of the filter in a patch, in the order of a pool's units


@steps("tree")
def tree_step(recipe: Recipe, device: torch.device, dtype: torch.dtype) -> Step:
    """Cross-entropy, backwards through Tree-3 by the equations of this module. No options.

    In float32 the products are computed in the precision of the weights, so that a network in float64 is
    trained in float64; in bfloat16 they are rounded as under autocast.

    The step raises ParameterError if the network is no Tree-3.
    """
    smoothing = recipe.label_smoothing
    rooms: list[dict[str, Tensor]] = []  # memory of each tree that is used again; fresh pages cost more

    @torch.no_grad()
    def step(net: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        trees = _trees_of(net)
        rooms.extend({} for _ in trees[len(rooms) :])
        passes = [TreePass(tree, dtype, room) for tree, room in zip(trees, rooms, strict=True)]
        answers = []
        for part, named in zip(images.split(TOGETHER), labels.split(TOGETHER), strict=True):
            kept = [one.forward(part) for one in passes]
            logits = torch.cat([each.logits for each in kept], 1)
            target = _targets(named, logits, smoothing)
            slope = (logits.softmax(1) - target) / len(images)
            for one, each, delta in zip(passes, kept, _shares(slope, passes), strict=True):
                one.backward(each, delta)
            answers.append(logits)
        for one in passes:
            one.give()
        whole = torch.cat(answers)
        return cross_entropy(whole, labels, smoothing), whole

    return step


def _trees_of(net: nn.Module) -> list[Tree3]:
    if isinstance(net, Tree3):
        return [net]
    if isinstance(net, TreePerLabel):
        return list(net.trees)  # type: ignore[arg-type]
    raise ParameterError(
        f"step='tree' trains the model 'tree3' alone; this network is a {type(net).__name__}"
    )


def _targets(labels: Tensor, logits: Tensor, smoothing: float) -> Tensor:
    """The share of every label, (n, K)."""
    if labels.is_floating_point():
        shares = labels / labels.sum(1, keepdim=True)
    else:
        shares = torch.zeros_like(logits).scatter_(1, labels[:, None], 1.0)
    return shares * (1 - smoothing) + smoothing / logits.shape[1]


def _shares(slope: Tensor, passes: list[TreePass]) -> list[Tensor]:
    """delta of each tree: all columns of the one, or one column each."""
    return [slope] if len(passes) == 1 else list(slope.split(1, 1))


@dataclass
class Kept:
    """What the way back needs of the way forward, for n images; G strips in all, N = n P P positions.

    ``patches`` (C, 36, N), ``places`` four of (C, K, N), ``top`` and ``bottom`` (C, K, N): the larger of the
    upper two and of the lower two; ``maps`` (C, K, N); ``inputs`` (G, n, K rows P); ``units`` (n, G M).
    """

    patches: Tensor
    places: tuple[Tensor, ...]
    top: Tensor
    bottom: Tensor
    maps: Tensor
    inputs: Tensor
    units: Tensor
    logits: Tensor


class TreePass:
    """One Tree-3 on its way forward and back, a few images at a time; gradients add up until `give`.

    ``room`` is memory that one pass leaves to the next.
    """

    def __init__(self, net: Tree3, dtype: torch.dtype, room: dict[str, Tensor]) -> None:
        self.net, self.room = net, room
        self.dtype = net.tree.weight.dtype if dtype == torch.float32 else dtype
        self.relu = isinstance(net.tree.activation, nn.ReLU)
        self.colours, self.strips, self.branches, self.filters, self.rows, self.side = net.tree.weight.shape
        conv = net.filters.conv
        own = conv.weight.view(self.colours, self.filters, KERNEL, KERNEL)
        placed = own.new_zeros(self.colours, 4, self.filters, _PATCH, _PATCH, dtype=self.dtype)
        for place, (down, right) in enumerate(_PLACES):
            placed[:, place, :, down : down + KERNEL, right : right + KERNEL] = own
        self.placed = placed.view(self.colours, 4 * self.filters, _PATCH**2)
        self.offset = self._cast(conv.bias).view(self.colours, self.filters, 1)
        self.weight = self._cast(net.tree.weight.flatten(3).flatten(0, 1))  # V (G, M, K rows P)
        self.bias = self._cast(net.tree.bias.flatten(0, 1)[:, None])
        self.output = self._cast(net.classifier.weight)  # U (labels, G M)
        self.gradients: dict[str, Tensor] = {}

    def _cast(self, weight: Tensor | None) -> Tensor:
        assert weight is not None  # all layers of a Tree-3 have biases
        return weight.detach().to(self.dtype)

    def forward(self, images: Tensor) -> Kept:
        """Logits (n, labels) of images (n, C, S, S), and what `backward` needs."""
        patches = self.patches(images)
        products = self._memory("products", self.colours, 4 * self.filters, patches.shape[2])
        torch.bmm(self.placed, patches, out=products)
        places = products.view(self.colours, 4, self.filters, -1).unbind(1)
        top, bottom = torch.maximum(places[0], places[1]), torch.maximum(places[2], places[3])
        maps = self._active(torch.maximum(top, bottom).add_(self.offset))
        strips = maps.view(self.colours, self.filters, len(images), self.strips, -1)
        inputs = strips.permute(0, 3, 2, 1, 4).reshape(len(self.weight), len(images), -1)
        units = self._active(torch.baddbmm(self.bias, inputs, self.weight.mT))
        units = units.transpose(0, 1).reshape(len(images), -1)
        logits = torch.addmm(self._cast(self.net.classifier.bias), units, self.output.t())
        logits = logits.float() if self.dtype == torch.bfloat16 else logits
        return Kept(patches, places, top, bottom, maps, inputs, units, logits)

    def patches(self, images: Tensor) -> Tensor:
        """The 6x6 patch below every pooled unit. (n, C, S, S) -> (C, 36, n P P)

        The patches begin at even rows and columns. With the four parities of rows and columns side by side,
        each row of patches is a run of P consecutive numbers.
        """
        n, half = len(images), images.shape[2] // 2
        parities = images.reshape(n, self.colours, half, 2, half, 2).permute(1, 3, 5, 0, 2, 4).contiguous()
        image = half * half
        runs = parities.to(self.dtype).as_strided(
            (self.colours, _PATCH // 2, 2, _PATCH // 2, 2, n, self.side, self.side),
            (4 * n * image, half, 2 * n * image, 1, n * image, image, half, 1),
        )
        patches = self._memory("patches", *runs.shape).copy_(runs)
        return patches.view(self.colours, _PATCH**2, n * self.side**2)

    def _memory(self, name: str, *shape: int) -> Tensor:
        size = math.prod(shape)
        held = self.room.get(name)
        if held is None or len(held) < size or held.dtype != self.dtype:
            held = self.room[name] = self.placed.new_empty(size)
        return held[:size].view(shape)

    def _active(self, x: Tensor) -> Tensor:
        return x.relu_() if self.relu else x.sigmoid_()

    def _slope(self, y: Tensor) -> Tensor:
        """sigma' by the value y = sigma(x), in the memory of y or new."""
        return y.gt_(0) if self.relu else y * (1 - y)

    def backward(self, kept: Kept, slope: Tensor) -> None:
        """Add the gradients of a loss with d loss / d logits = ``slope`` (n, labels); uses up ``kept``."""
        delta = slope.to(self.dtype)
        self._add("classifier.weight", delta.t() @ kept.units)
        self._add("classifier.bias", slope.sum(0))
        e = (delta @ self.output).mul_(self._slope(kept.units))
        e = e.view(len(delta), len(self.weight), -1).transpose(0, 1).contiguous()  # (G, n, M)
        self._add("tree.bias", e.sum(1))
        self._add("tree.weight", torch.bmm(e.mT, kept.inputs))
        back = torch.bmm(e, self.weight)  # (G, n, K rows P)
        q = back.view(self.colours, self.strips, len(delta), self.filters, -1).permute(0, 3, 2, 1, 4)
        q = q.reshape(kept.maps.shape).mul_(self._slope(kept.maps))
        self._add("filters.conv.bias", q.sum(2))
        # a winner's gradient goes to one of four; the first wins a tie, as in the library's pool
        won = self._memory("won", self.colours, 4, *q.shape[1:])
        below = torch.mul(q, kept.bottom.gt_(kept.top))
        above = q.sub_(below)
        for place, share in ((0, above), (2, below)):
            left, right = kept.places[place], kept.places[place + 1]
            torch.mul(share, right.gt_(left), out=won[:, place + 1])
            torch.sub(share, won[:, place + 1], out=won[:, place])
        by_place = torch.bmm(won.flatten(1, 2), kept.patches.mT)  # (C, 4 K, 36)
        self._add("filters.weight", by_place)

    def _add(self, name: str, gradient: Tensor) -> None:
        known = self.gradients.get(name)
        if known is None:
            # sums over parts are taken in the precision of the weights
            self.gradients[name] = gradient.to(self.net.tree.weight.dtype)
        else:
            known.add_(gradient)

    def give(self) -> None:
        """Put the gradients where the optimiser looks for them."""
        by_place = self.gradients["filters.weight"].view(self.colours, 4, self.filters, _PATCH, _PATCH)
        shifted = [
            by_place[:, place, :, down : down + KERNEL, right : right + KERNEL]
            for place, (down, right) in enumerate(_PLACES)
        ]
        self.gradients["filters.conv.weight"] = torch.stack(shifted).sum(0)
        for name, weight in self.net.named_parameters():
            weight.grad = self.gradients[name].view_as(weight)
