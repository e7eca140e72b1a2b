"""One backward step through one branch of a Tree-3, picture by picture: what gets a gradient, what not."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from filterwise.data.augmentation import scale
from filterwise.data.imageset import ImageSet
from filterwise.errors import ParameterError, check_at_least
from filterwise.figures import style
from filterwise.figures.book_figure import BookFigure, drawn, panels
from filterwise.figures.frames import explore_frames
from filterwise.figures.twin import Twin
from filterwise.models.modes import evaluation_mode
from filterwise.models.trees import Tree3


@dataclass(frozen=True)
class BranchStep:
    """Which terms of one filter, in one branch, are not 0 for one image.

    ``positions`` bool (h, h): uses of the filter before the pool; ``weights`` bool (P, P): weights of the
    branch above the filter's pooled map, strip below strip; ``units`` bool (C strips, M): active units of the
    tree; ``answer``: the label that is said.
    """

    positions: Tensor
    weights: Tensor
    units: Tensor
    answer: int


def branch_step(net: Tree3, image: Tensor, label: int, filter: int = 0, branch: int = 0) -> BranchStep:
    """The backward step for one image uint8 (C, S, S), by the equations, without automatic differentiation.

    ``filter`` counts all colours' filters, colour by colour.
    Raises ParameterError: a filter or branch that the network does not have.

    >>> from filterwise import models
    >>> net = models.build("tree3", K=2, M=3, size=20)
    >>> branch_step(net, torch.zeros(3, 20, 20, dtype=torch.uint8), 0).positions.shape
    torch.Size([16, 16])
    """
    colours, strips, branches, filters, rows, side = net.tree.weight.shape
    for name, value, count in (("filter", filter, colours * filters), ("branch", branch, branches)):
        if not 0 <= value < count:
            raise ParameterError(f"{name}={value!r} is none of the network's {count}")
    colour, own = divmod(filter, filters)
    with evaluation_mode(net):
        product = net.filters.conv(scale(image[None]))
        pooled, winners = F.max_pool2d(product, 2, return_indices=True)
        maps = net.filters.activation(pooled)
        t = net.tree(maps)
        logits = net.classifier(t)
        delta = logits.softmax(1) - F.one_hot(torch.tensor([label]), logits.shape[1])
        slope = (t > 0) if isinstance(net.tree.activation, torch.nn.ReLU) else t * (1 - t)
        e = ((delta @ net.classifier.weight) * slope).view(colours, strips, branches)[colour, :, branch]
        inputs = maps[0, filter].view(strips, rows, side)
        above = net.tree.weight[colour, :, branch, own]  # (strips, rows, P)
        q = (e[:, None, None] * above).view(1, 1, side, side)
        q = q * (maps[:, filter : filter + 1] > 0)
        at = winners[:, filter : filter + 1]
        positions = F.max_unpool2d(q, at, [2, 2], output_size=product.shape[-2:])[0, 0] != 0
        weights = ((e[:, None, None] * inputs) != 0).view(side, side)
        units = (t != 0).view(colours * strips, branches)
    return BranchStep(positions, weights, units, int(logits.argmax()))


@drawn
def step_picture(
    step: BranchStep, image: Tensor, names: tuple[str, str], filter: int, branch: int
) -> BookFigure:
    """The picture, the filter's positions, the branch's weights, the tree's units; coloured is not 0.

    Parameters
    ----------
    step : see :func:`branch_step`.
    image : uint8 (C, S, S).
    names : the picture's label and the network's answer, in words.
    """
    from matplotlib.colors import ListedColormap

    figure, axes = panels(4, columns=4, height=2.25, phone=2)
    picture = image.permute(1, 2, 0).squeeze(-1).numpy()
    axes[0].imshow(picture, cmap="gray" if picture.ndim == 2 else None)
    parts = (step.positions, step.weights, step.units.T)
    titles = (f"filter {filter}'s positions", f"branch {branch}'s weights", "tree's units")
    colors = ListedColormap(["#8a8a8a40", style.RED])
    for ax, part, title in zip(axes[1:], parts, titles, strict=True):
        ax.imshow(part.numpy(), cmap=colors, vmin=0, vmax=1, aspect="auto", interpolation="nearest")
        share = float((~part).double().mean())
        ax.set_title(f"{title}\n{100 * share:.0f} % zero", fontsize=9)
    verdict = "right" if names[0] == names[1] else "wrong"
    axes[0].set_title(f"{names[0]}\nanswer: {names[1]}, {verdict}", fontsize=9)
    for ax in axes:
        ax.set(xticks=[], yticks=[])
        ax.grid(False)
    figure.alt = (
        f"A {names[0]}; coloured are the positions of filter {filter}, the weights of branch {branch} and "
        "the units of the tree whose gradient is not zero."
    )
    return figure


def explore_steps(net: Tree3, ds: ImageSet, count: int = 10, filter: int = 0, branch: int = 0) -> Twin:
    """A slider over pictures, the first of each of ``count`` labels: the backward step through one branch.

    Raises ParameterError: fewer than one picture, or a filter or branch that the network does not have.
    """
    check_at_least("count", count, 1)
    first: dict[int, int] = {}
    for place, label in enumerate(ds.labels.tolist()):
        first.setdefault(label, place)
    chosen = sorted(first.items())[:count]
    names = [str(name) for name in ds.label_names]

    def frame(at: int) -> str:
        label, place = chosen[at]
        image = ds.images[place].cpu()
        step = branch_step(net, image, label, filter, branch)
        return step_picture(step, image, (names[label], names[step.answer]), filter, branch).html()

    return explore_frames("picture", [names[label] for label, _ in chosen], frame)
