"""Figures on pooling: accuracy by depth, order and cost; sparse gradients; routes as pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from matplotlib.colors import to_rgb
from numpy.typing import NDArray
from torch import Tensor

from filterwise.errors import ParameterError
from filterwise.figures import style
from filterwise.figures.book_figure import WIDTH, BookFigure, drawn, panels, points
from filterwise.figures.pictures import as_picture
from filterwise.figures.tables import counted, layer_number, mean_and_spread, need
from filterwise.measure.route_counting import routes
from filterwise.models.pools import parse_order, shrink

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@drawn
def accuracy_by_depth(table: pd.DataFrame) -> BookFigure:
    """Test accuracy against m, conventional and late pooling, mean and standard deviation over seeds.

    Parameters
    ----------
    table : one row a run; columns ``m``, ``plan``, ``network`` (of its look) and ``accuracy``.
    """
    need(table, "m", "plan", "network", "accuracy")
    depths = sorted(table["m"].unique())
    figure, (ax,) = panels(height=3.3)
    for place, (plan, runs) in enumerate(table.groupby("plan", sort=False)):
        look = style.look(str(runs["network"].iloc[0]))
        found = mean_and_spread(runs, ["m"], "accuracy")
        at = [depths.index(m) + 0.06 * (2 * place - 1) for m in found["m"]]
        points(ax, at, found, look, f"plan {plan}, {_seeds(found)}")
    ax.set_xticks(range(len(depths)), [f"{m:g}" for m in depths])
    ax.set(xlabel="layers $m$, convolutional and fully connected", ylabel="test accuracy")
    figure.legend(loc="outside upper left", ncols=2)
    figure.alt = "Test accuracy against depth, conventional and late pooling."
    return figure


@drawn
def head_orders(table: pd.DataFrame) -> BookFigure:
    """Test accuracy of each head order: a dot a seed, a bar for the mean, the conventional plan as a band.

    Parameters
    ----------
    table : one row a run; columns ``plan`` (V is the conventional one), ``order`` and ``accuracy``.
    """
    need(table, "plan", "order", "accuracy")
    conventional = table.loc[table["plan"] == "V", "accuracy"]
    late = table[table["plan"] != "V"]
    means = late.groupby("order")["accuracy"].mean().sort_values(ascending=False)
    figure, (ax,) = panels(height=3.2)
    if len(conventional):
        mean, sd = conventional.mean(), conventional.std(ddof=1) if len(conventional) > 1 else 0.0
        ax.axhline(mean, color=style.BLUE, label="V, pools after every stage")
        ax.axhspan(mean - sd, mean + sd, color=style.BLUE, alpha=0.12, linewidth=0)
    for place, order in enumerate(means.index):
        found = late.loc[late["order"] == order, "accuracy"]
        ax.plot([place] * len(found), found, "o", color=style.ORANGE, alpha=0.7, markersize=5)
        ax.plot([place - 0.25, place + 0.25], [found.mean()] * 2, color=style.ORANGE, linewidth=2.5)
    ax.set_xticks(range(len(means)), [order.replace("-", "→\n") for order in means.index])
    ax.grid(axis="x", visible=False)
    ax.set(xlabel="pools after the last layer, first step first", ylabel="test accuracy")
    figure.legend(loc="outside upper left")
    figure.alt = "Test accuracy of the head orders: " + ", ".join(f"{o} {v:.3f}" for o, v in means.items())
    return figure


def best_order(table: pd.DataFrame) -> str:
    """The head order of the highest mean accuracy in the table of :func:`head_orders`, with that mean."""
    means = table[table["plan"] != "V"].groupby("order")["accuracy"].mean().sort_values(ascending=False)
    return f"{str(means.index[0]).replace('-', '→')} with {means.iloc[0]:.3f}"


def both_orders(order: str) -> list[str]:
    """Max first and average first at the sizes of a head of two pools; a head of one pool as it is.

    >>> both_orders("AP2-MP4")
    ['MP2-AP4', 'AP2-MP4']
    """
    sizes = [step.size for step in parse_order(order)]
    return [order] if len(sizes) != 2 else ["MP{}-AP{}".format(*sizes), "AP{}-MP{}".format(*sizes)]


@drawn
def accuracy_against_compute(table: pd.DataFrame) -> BookFigure:
    """Test accuracy against what the training cost: multiply-accumulates a forward pass times epochs.

    Parameters
    ----------
    table : one row a run; columns ``arm`` (a name), ``network`` (of its look), ``macs``, ``epochs`` and;
        ``accuracy``
    """
    from matplotlib.ticker import LogLocator

    need(table, "arm", "network", "macs", "epochs", "accuracy")
    cost = table["macs"] * table["epochs"] / 1e6
    figure, (ax,) = panels(height=3.5)
    arms = list(table.assign(cost=cost).groupby("arm", sort=False))
    looks = style.looks([str(runs["network"].iloc[0]) for _, runs in arms])
    for (arm, runs), look, marks in zip(arms, looks, style.marked(len(arms)), strict=True):
        found = mean_and_spread(runs, ["cost"], "accuracy")
        own = style.Look(look.color, marks.marker)
        label = f"{arm}, {_seeds(found)}"
        points(ax, found["cost"], found, own, label, linestyle="-" if len(found) > 1 else "none")
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_formatter("")
    ax.set(xlabel="million MACs an image × epochs", ylabel="test accuracy")
    figure.legend(loc="outside upper left", ncols=2)
    figure.alt = "Test accuracy against the compute of a training, one marker an arm."
    return figure


@drawn
def gradient_shares(table: pd.DataFrame) -> BookFigure:
    """Share of a layer's units that are active, that are given a gradient, and that are both, layer by layer.

    Parameters
    ----------
    table : one row a network and layer; columns ``name``, ``layer``, ``active``, ``gradient``, ``routes``.
    """
    need(table, "name", "layer", "active", "gradient", "routes")
    names = list(dict.fromkeys(table["name"]))
    titles = {"active": "active", "gradient": "given a gradient", "routes": "both: the gradient goes on"}
    figure, axes = panels(3, columns=3, height=2.9, sharey=True)
    for ax, (column, title) in zip(axes, titles.items(), strict=True):
        for name, look in zip(names, style.marked(len(names)), strict=True):
            part = table[table["name"] == name]
            number = part["layer"].map(layer_number)
            ax.plot(number, part[column], color=look.color, marker=look.marker, label=name)
        ax.set_title(title, fontsize=9.5)
        ax.set_xticks(sorted(set(table["layer"].map(layer_number))))
        ax.set(xlabel="layer", ylim=(0, 1.03))
    axes[0].set_ylabel("share of units before the pool")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=3)
    figure.alt = f"Sparse gradients by layer for {', '.join(names)}."
    return figure


@drawn
def operator_routes(x: Tensor, orders: Sequence[str]) -> BookFigure:
    """Which pixels of one map the gradient reaches through each pooling series; no network, no training.

    Parameters
    ----------
    x : floating point (s, s), a map or a grey image; each order divides its side, block by block.
    orders : for instance "MP2-AP4", one picture each.

    Raises ParameterError: no order, an unknown one, or one that does not divide the side.
    """
    if not orders:
        raise ParameterError("orders is empty; give at least one, such as 'MP2-AP4'")
    figure, axes = panels(len(orders), columns=3, height=2.6, extra=0.2, phone=3)
    for ax, order in zip(axes, orders, strict=True):
        mask, count, output = _blocks(x, order)
        ax.imshow(x.numpy(), cmap="gray", interpolation="nearest")
        layer = np.zeros((*mask.shape, 4))
        layer[..., :3], layer[..., 3] = to_rgb(style.ORANGE), 0.75 * mask
        ax.imshow(layer, interpolation="nearest")
        told = f"{order.replace('-', '→')}\n{counted(int(count), 'route')}, mean {output:.2f}"
        ax.set_title(told, fontsize=8)
    _bare(axes)
    figure.alt = f"Pixels that carry gradient through {', '.join(orders)}."
    return figure


def _blocks(x: Tensor, order: str) -> tuple[NDArray[np.bool_], float, float]:
    """Route mask (s, s) of all blocks of the order's size, routes a block, mean output."""
    block = shrink(parse_order(order))
    side = x.shape[-1]
    if x.ndim != 2 or x.shape[0] != side or side % block:
        raise ParameterError(
            f"x of shape {tuple(x.shape)} is not a square map that order={order!r} divides by {block}"
        )
    tiles = x.reshape(side // block, block, side // block, block).permute(0, 2, 1, 3)
    found = routes(tiles.double(), order)
    mask = found.mask.permute(0, 2, 1, 3).reshape(side, side)
    return mask.numpy(), float(found.count.double().mean()), float(found.output.mean())


@drawn
def route_maps(
    images: Tensor,
    maps: Mapping[str, NDArray[np.floating]],
    ends: Mapping[str, NDArray[np.floating]] | None = None,
    names: Sequence[str] = (),
) -> BookFigure:
    """Images, and beside each the routes through the last layer of several networks; one row an image.

    Parameters
    ----------
    images : uint8 (n, C, H, W); an empty tensor leaves their column out.
    maps : name -> (n, h, w), abs(activation * gradient) of the winning logit summed over filters.
    ends : name -> (n, H, W), the same in the image's pixels.
    names : n titles of rows.

    Raises ParameterError: no map, or maps of another number of images.
    """
    columns: dict[str, NDArray[np.floating]] = {**maps, **(ends or {})}
    counts = {len(values) for values in columns.values()} | ({len(images)} if len(images) else set())
    if not columns or len(counts) != 1 or 0 in counts:
        raise ParameterError(
            f"images and maps must be of one number of at least 1; they are of {sorted(counts)}"
        )
    rows, first = counts.pop(), int(len(images) > 0)
    width = min(WIDTH, 0.4 + 1.7 * (len(columns) + first))
    wide = len(columns) + first
    figure, axes = panels(rows * wide, columns=wide, height=1.65, extra=0.35, phone=0, width=width)
    for row in range(rows):
        beside = axes[row * wide : (row + 1) * wide]
        if first:
            beside[0].imshow(as_picture(images[row]), cmap="gray", interpolation="nearest")
        beside[0].set_ylabel(names[row] if names else "", fontsize=9)
        for ax, (name, values) in zip(beside[first:], columns.items(), strict=True):
            ax.imshow(np.asarray(values[row], dtype=float), cmap="viridis", interpolation="nearest")
            if row == 0:
                ax.set_title(name.replace("-", "→"), fontsize=9.5)
    _bare(axes)
    figure.alt = f"Routes of {rows} images through the last layer: {', '.join(columns)}."
    return figure


def _seeds(found: pd.DataFrame) -> str:
    return counted(int(found["runs"].min()), "seed")


def _bare(axes: Iterable[Axes]) -> None:
    for ax in axes:
        ax.grid(visible=False)
        ax.set(xticks=[], yticks=[])


def untied(images: Tensor, size: int = 32) -> Tensor:
    """Grey images uint8 (n, C, H, W) as maps (n, size, size) in [0, 1], padded or cut around their middle.

    A hair of noise from a generator of its own unties equal pixels, because a tie has more winners than one.

    >>> untied(torch.zeros(2, 1, 28, 28, dtype=torch.uint8)).shape
    torch.Size([2, 32, 32])
    """
    grey = images.double().mean(1) / 255
    pad = size - grey.shape[-1]
    grey = torch.nn.functional.pad(grey, (pad // 2, pad - pad // 2) * 2)
    return grey + 1e-6 * torch.rand(
        grey.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
