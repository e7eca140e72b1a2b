"""Routes as pictures: through pools alone on a real image, and through the last layer of trained networks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from filterwise.errors import ParameterError
from filterwise.figures import style
from filterwise.measure.route_counting import routes
from filterwise.models.pools import parse_order, shrink

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def operator_routes(x: Tensor, orders: Sequence[str]) -> style.BookFigure:
    """Which pixels of one map the gradient reaches through each pooling series; no network, no training.

    Parameters
    ----------
    x : floating point (s, s), a map or a grey image; each order divides its side, block by block.
    orders : for instance "MP2-AP4", one picture each.

    Raises
    ------
    ParameterError
        No order, an unknown one, or one that does not divide the side.
    """
    if not orders:
        raise ParameterError("orders is empty; give at least one, such as 'MP2-AP4'")
    columns = min(len(orders), 3)
    rows = -(-len(orders) // columns)
    color = np.array(_rgb(style.ORANGE))
    with style.context():
        figure = style.new(height=0.2 + 2.6 * rows)
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for ax, order in zip(axes, orders, strict=False):
            mask, count, output = _blocks(x, order)
            ax.imshow(x.numpy(), cmap="gray", interpolation="nearest")
            layer = np.zeros((*mask.shape, 4))
            layer[..., :3], layer[..., 3] = color, 0.75 * mask
            ax.imshow(layer, interpolation="nearest")
            routes = f"{count:g} route{'s' * (count != 1)} a block"
            ax.set_title(f"{order.replace('-', '→')}: {routes}\nmean output {output:.2f}", fontsize=9.5)
        _bare(axes, len(orders))
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


def route_maps(
    images: Tensor,
    maps: Mapping[str, NDArray[np.floating]],
    ends: Mapping[str, NDArray[np.floating]] | None = None,
    names: Sequence[str] = (),
) -> style.BookFigure:
    """Images, and beside each the routes through the last layer of several networks; one row an image.

    Parameters
    ----------
    images : uint8 (n, C, H, W); an empty tensor leaves their column out.
    maps : name -> (n, h, w), abs(activation * gradient) of the winning logit summed over filters.
    ends : name -> (n, H, W), the same in the image's pixels.
    names : n titles of rows.

    Raises
    ------
    ParameterError
        No map, or maps of another number of images.
    """
    columns: dict[str, NDArray[np.floating]] = {**maps, **(ends or {})}
    counts = {len(values) for values in columns.values()} | ({len(images)} if len(images) else set())
    if not columns or len(counts) != 1 or 0 in counts:
        raise ParameterError(
            f"images and maps must be of one number of at least 1; they are of {sorted(counts)}"
        )
    rows, first = counts.pop(), int(len(images) > 0)
    width = min(style.WIDTH, 0.4 + 1.7 * (len(columns) + first))
    with style.context():
        figure = style.new(height=0.35 + 1.65 * rows, width=width)
        axes = figure.subplots(rows, len(columns) + first, squeeze=False)
        for row in range(rows):
            if first:
                axes[row, 0].imshow(_picture(images[row]), cmap="gray", interpolation="nearest")
            axes[row, 0].set_ylabel(names[row] if names else "", fontsize=9)
            for ax, (name, values) in zip(axes[row, first:], columns.items(), strict=True):
                ax.imshow(np.asarray(values[row], dtype=float), cmap="viridis", interpolation="nearest")
                if row == 0:
                    ax.set_title(name.replace("-", "→"), fontsize=9.5)
        _bare(axes.ravel(), axes.size)
    figure.alt = f"Routes of {rows} images through the last layer: {', '.join(columns)}."
    return figure


def _picture(image: Tensor) -> NDArray[np.uint8]:
    array: NDArray[np.uint8] = image.numpy()
    return array[0] if len(array) == 1 else np.moveaxis(array, 0, -1)


def _bare(axes: Iterable[Axes], used: int) -> None:
    for place, ax in enumerate(axes):
        ax.grid(visible=False)
        ax.set(xticks=[], yticks=[])
        ax.set_visible(place < used)


def _rgb(color: str) -> tuple[float, float, float]:
    return int(color[1:3], 16) / 255, int(color[3:5], 16) / 255, int(color[5:7], 16) / 255


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
