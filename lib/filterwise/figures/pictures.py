"""Pictures of a data set beside their labels: what a network is given, before it is used."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from filterwise.errors import ParameterError
from filterwise.figures.book_figure import BookFigure, drawn, panels

#: On a phone a row holds so many pictures, on a page twice as many.
_IN_A_ROW = 5


def as_picture(image: Tensor) -> NDArray[np.uint8]:
    """An image uint8 (C, H, W) with one or three channels as rows of grey or coloured pixels."""
    array: NDArray[np.uint8] = image.cpu().numpy()
    return array[0] if len(array) == 1 else np.moveaxis(array[:3], 0, -1)


@drawn
def picture_strip(images: Tensor, names: Sequence[str]) -> BookFigure:
    """Images in rows of up to ten, enlarged without smoothing, each under its name.

    Parameters
    ----------
    images : uint8 (n, C, H, W).
    names : n names, such as labels.

    Raises ParameterError: there is no image, or not a name for each.

    >>> import torch
    >>> picture_strip(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), ["cat", "dog"]).alt
    'Pictures of cat, dog.'
    """
    if len(images) == 0 or len(names) != len(images):
        raise ParameterError(f"{len(images)} images and {len(names)} names; they must be as many, and some")
    figure, axes = panels(len(images), columns=2 * _IN_A_ROW, height=0.95, phone=_IN_A_ROW)
    for ax, image, name in zip(axes, images, names, strict=True):
        ax.imshow(as_picture(image), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        ax.set_title(name, fontsize=7.5, loc="center")
        ax.set_axis_off()
    figure.alt = f"Pictures of {', '.join(names)}."
    return figure
