"""One label matrix, of a filter or a head: as measured, clipped, and reordered with its clusters boxed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, ListedColormap
from matplotlib.patches import Patch, Rectangle

from filterwise.errors import ParameterError, check_choice
from filterwise.figures import style
from filterwise.figures.book_figure import BookFigure, drawn, panels
from filterwise.measure.clustering import clusters, permutation
from filterwise.measure.fields import clip

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray
    from torch import Tensor

# Up to so many labels their names fit beside the rows.
_NAMED_LABELS = 12
# Strength is opacity, so that a field of 0 has the colour of the page, light or dark.
_STRENGTH = LinearSegmentedColormap.from_list("strength", [style.TEAL, f"{style.INK}00", style.RED])

# Images keep one pixel an entry ("none"): resampled to a small panel, some ones of a hundred labels get lost.
NOTHING, SIGNAL, INTERNAL, EXTERNAL = range(4)
#: Ways to show a matrix.
SHOWN = ("fields", "clipped", "clusters first")


def classify(B: NDArray[np.bool_], found: Sequence[Sequence[int]]) -> NDArray[np.int8]:
    """What each entry of a clipped matrix is: 0 none, 1 in a cluster, 2 internal noise, 3 external noise.

    Parameters
    ----------
    B : bool (K, K), row = input label.
    found : the clusters of ``B``.

    Returns int8 (K, K). Internal noise is a 1 outside the blocks whose column (output label) is in some
    cluster.

    >>> B = np.array([[True, False, True], [True, True, False], [False, False, False]])
    >>> classify(B, [(0,), (1,)]).tolist()
    [[1, 0, 3], [2, 1, 0], [0, 0, 0]]
    """
    kinds = np.where(B, EXTERNAL, NOTHING).astype(np.int8)
    inside = [label for members in found for label in members]
    columns = np.zeros(len(B), dtype=bool)
    columns[inside] = True
    kinds[B & columns[None, :]] = INTERNAL
    for members in found:
        kinds[np.ix_(members, members)] = SIGNAL
    return kinds


@drawn
def filter_matrices(
    fields: Mapping[str, Tensor], label_names: Sequence[str] = (), threshold: float = 0.3
) -> BookFigure:
    """A row of three pictures for each filter: fields, clipped fields, clipped fields with clusters first.

    Parameters
    ----------
    fields : title of the row, such as ``"layer 3, filter 17"`` -> M^f (K, K), row = input label.
    label_names : K names; numbers when not given. They are drawn up to 12 labels.
    threshold : theta of the clipping.

    Raises ParameterError: no matrix, a matrix that is not square, names that do not fit, a threshold outside
    [0, 1).

    >>> import torch
    >>> filter_matrices({"layer 3, filter 17": torch.eye(3)}, ["cat", "dog", "ship"]).alt
    'Matrices of 1 filters: fields, clipped at 0.3, and reordered by cluster.'
    """
    if not fields:
        raise ParameterError("fields is empty; give at least one matrix")
    figure, axes = panels(3 * len(fields), columns=3, height=2.45, extra=0.35)
    rows = [axes[at : at + 3] for at in range(0, len(axes), 3)]
    for row, (title, M) in zip(rows, fields.items(), strict=True):
        image, *_ = [
            draw_matrix(ax, M, threshold, how, label_names) for ax, how in zip(row, SHOWN, strict=True)
        ]
        row[0].set_title(title)
        row[1].set_title(f"clipped at {threshold:g}")
        row[2].set_title("clusters first")
        row[0].set_ylabel("input label")
        bar = figure.colorbar(image, ax=row[0], shrink=0.75, pad=0.02, ticks=[-1, 0, 1])
        bar.outline.set_visible(False)
    for ax in rows[-1]:
        ax.set_xlabel("output label")
    kinds_legend(figure)
    figure.alt = (
        f"Matrices of {len(fields)} filters: fields, clipped at {threshold:g}, and reordered by cluster."
    )
    return figure


def draw_matrix(
    ax: Axes, M: Tensor, threshold: float, how: str = "clusters first", label_names: Sequence[str] = ()
) -> Any:
    """Draw a matrix M (K, K), row = input label, in one of the ways ``SHOWN``; gives matplotlib's image.

    "fields" divides by the largest entry, so that all matrices have the same scale, -1 to 1.

    Raises ParameterError: an unknown way, names that do not fit, a threshold outside [0, 1).
    """
    check_choice("how", how, SHOWN)
    labels = len(M)
    names = [str(name) for name in label_names] or [str(label) for label in range(labels)]
    if len(names) != labels:
        raise ParameterError(f"label_names has {len(names)} names for {labels} labels")
    if how == "fields":
        image, order = _fields(ax, M), list(range(labels))
    else:
        B = clip(M, threshold).numpy()
        found = clusters(B)
        order = permutation(found if how == "clusters first" else [], labels)
        image = _kinds(ax, classify(B, found)[np.ix_(order, order)])
        if how == "clusters first":
            _boxes(ax, found, labels)
    _label(ax, [names[label] for label in order])
    return image


def kinds_legend(figure: BookFigure) -> None:
    """Say above a figure what the three colours of a clipped matrix are."""
    kinds_shown = (
        ("in a cluster", style.SIGNAL),
        ("internal noise", style.INTERNAL),
        ("external noise", style.EXTERNAL),
    )
    figure.legend(
        handles=[Patch(color=color, label=name) for name, color in kinds_shown],
        loc="outside upper right",
        ncols=3,
    )


def _fields(ax: Axes, M: Tensor) -> Any:
    values = M.detach().double().cpu().numpy()
    # As the clipping divides; a matrix without a positive entry is divided by its largest size instead.
    shown = values / (values.max() if values.max() > 0 else np.abs(values).max() or 1.0)
    return ax.imshow(shown, cmap=_STRENGTH, vmin=-1, vmax=1, interpolation="none")


def _kinds(ax: Axes, kinds: NDArray[np.int8]) -> Any:
    # A ground of faint ink, so that zeros have a place on any page.
    cells = ListedColormap([f"{style.INK}1a", style.SIGNAL, style.INTERNAL, style.EXTERNAL])
    return ax.imshow(kinds, cmap=cells, vmin=-0.5, vmax=3.5, interpolation="none")


def _boxes(ax: Axes, found: Sequence[Sequence[int]], labels: int) -> None:
    # Thin beside the entries, so that a cluster of one label among a hundred keeps its colour.
    cell = ax.bbox.width / ax.figure.dpi * 72 / labels
    start, width = 0, min(2.0, cell / 6)
    for members in found:
        size = len(members)
        ax.add_patch(
            Rectangle(
                (start - 0.5, start - 0.5), size, size, fill=False, edgecolor=style.INK, linewidth=width
            )
        )
        start += size


def _label(ax: Axes, names: Sequence[str]) -> None:
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    few = len(names) <= _NAMED_LABELS
    ax.set_xticks(range(len(names)) if few else [], names if few else [], rotation=90, fontsize=8)
    ax.set_yticks(range(len(names)) if few else [], names if few else [], fontsize=8)
