"""The mask explorer: threshold and layer -> which connections stay, the dilution, the lost labels."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from functools import partial
from html import escape
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from filterwise.errors import ParameterError, check_choice
from filterwise.figures import style
from filterwise.figures.book_figure import BookFigure, drawn, panels
from filterwise.figures.twin import Twin, page_html, show
from filterwise.prune.cluster_connections import afcc_mask
from filterwise.prune.equal_amount import OUTPUTS, Between
from filterwise.prune.filter_labels import lost_labels

#: Thresholds of the sliders are multiples of 1 / STEPS.
STEPS = 100


class MaskView:
    """Label sets of some places at any threshold, and the masks between them.

    Parameters
    ----------
    between
        Layer -> the places that it joins.
    shares
        Place -> (F, K), each filter's M^f[j, j] as a share of its largest entry; 0 or less stands for no
        label at any threshold.
    label_names
        K names.

    Raises ParameterError: no layer, or a place without shares.
    """

    def __init__(
        self, between: Mapping[str, Between], shares: Mapping[str, Any], label_names: Sequence[str]
    ) -> None:
        needed = {place for one in between.values() for place in (one.below, one.above)} - {OUTPUTS}
        if not between or needed - set(shares):
            missing = ", ".join(sorted(needed - set(shares)))
            raise ParameterError(
                f"no shares are given for {missing}" if missing else "between names no layer"
            )
        self.between = dict(between)
        self.shares = {place: torch.as_tensor(np.asarray(shares[place], np.float32)) for place in needed}
        self.names = [str(name) for name in label_names]

    def sets(self, place: str, threshold: float) -> Tensor:
        """T_f at a threshold, bool (F, K)."""
        if place == OUTPUTS:
            return torch.eye(len(self.names), dtype=torch.bool)
        return (self.shares[place] > threshold) & (self.shares[place] > 0)

    def mask(self, layer: str, threshold: float) -> Tensor:
        """Which connections of a layer stay, bool (out, in)."""
        check_choice("layer", layer, self.between)
        one = self.between[layer]
        return afcc_mask(self.sets(one.above, threshold), self.sets(one.below, threshold))

    def says(self, layer: str, threshold: float) -> str:
        """Dilution, filters without labels, lost labels: one sentence."""
        mask, below = self.mask(layer, threshold), self.sets(self.between[layer].below, threshold)
        gone = lost_labels(below)
        named = ", ".join(self.names[label] for label in gone[:6]) + (", ..." if len(gone) > 6 else "")
        lost = f"{len(gone)} labels are in no set: {named}." if gone else "every label is in some set."
        empty = int((~below.any(dim=1)).sum())
        return (
            f"{layer} at threshold {threshold:.2f}: {100 * (1 - float(mask.double().mean())):.1f} % of "
            f"{mask.numel():,} connections removed; {empty} of {len(below)} filters below stand for no "
            f"label; {lost}"
        )


def view_of(
    arrays: Mapping[str, Any], between: Mapping[str, Between], label_names: Sequence[str] = ()
) -> MaskView:
    """The view of what the measurement ``afcc.masks`` has kept of a network; labels are numbered by default.

    Raises ParameterError: as :class:`MaskView`.
    """
    shares = {name.partition("@")[2]: arrays[name] for name in arrays if name.startswith("diagonal@")}
    labels = next(iter(shares.values())).shape[1] if shares else 0
    measured = {layer: one for layer, one in between.items() if {one.below, one.above} <= {*shares, OUTPUTS}}
    return MaskView(measured, shares, label_names or [str(label) for label in range(labels)])


def in_order(sets: Tensor) -> Tensor:
    """Filters by the first of their labels, those without last; equal ones as they come.

    >>> in_order(torch.tensor([[False, True], [False, False], [True, True]])).tolist()
    [2, 0, 1]
    """
    first = torch.where(sets.any(dim=1), sets.float().argmax(dim=1), sets.shape[1])
    return first.argsort(stable=True)


@drawn
def mask_pictures(view: MaskView, layers: Sequence[str], threshold: float) -> BookFigure:
    """Masks of some layers at one threshold, filters ordered by label; what stays is coloured."""
    from matplotlib.colors import ListedColormap

    figure, axes = panels(len(layers), columns=min(4, len(layers)), height=2.3, phone=2)
    kept = ListedColormap(["#00000000", style.BLUE])
    for ax, layer in zip(axes, layers, strict=True):
        one, mask = view.between[layer], view.mask(layer, threshold)
        rows, columns = (in_order(view.sets(place, threshold)) for place in (one.above, one.below))
        ax.imshow(
            mask[rows][:, columns].numpy(), cmap=kept, aspect="auto", interpolation="nearest", vmin=0, vmax=1
        )
        ax.set_title(f"{layer}\n{100 * (1 - float(mask.double().mean())):.0f} % removed", fontsize=9)
        ax.set(xticks=[], yticks=[])
        ax.grid(False)
    figure.alt = " ".join(view.says(layer, threshold) for layer in layers)
    return figure


def recorded_masks(arrays: Mapping[str, Any], between: Mapping[str, Between], threshold: float) -> BookFigure:
    """:func:`mask_pictures` of all layers that a record has kept."""
    view = view_of(arrays, between)
    return mask_pictures(view, list(view.between), threshold)


@drawn
def labels_and_filters(view: MaskView, place: str, threshold: float) -> BookFigure:
    """How many labels a filter stands for, and how many filters stand for a label, at one place."""
    sets = view.sets(place, threshold)
    figure, (left, right) = panels(2, columns=2, height=2.6)
    sizes, filters = sets.sum(dim=1), sets.sum(dim=0).sort(descending=True).values
    left.hist(sizes.numpy(), bins=range(int(sizes.max()) + 2), color=style.BLUE, align="left")
    left.set(xlabel="labels of a filter", ylabel="filters")
    right.bar(range(len(filters)), filters.numpy(), color=style.BLUE, width=1.0)
    right.set(xlabel="labels, most filters first", ylabel="filters of a label")
    for ax in (left, right):
        ax.grid(False, axis="x")
    gone = lost_labels(sets)
    figure.alt = (
        f"At {place} a filter stands for {float(sizes.double().mean()):.1f} labels on average, a label has "
        f"{int(filters.min())} to {int(filters.max())} filters; {len(gone)} labels have none."
    )
    return figure


def explore_masks(view: MaskView, threshold: float = 0.3) -> Twin:
    """A slider for the threshold and a selector for the layer.

    In a notebook with a kernel the widgets call the library; elsewhere a twin computes the same masks in the
    page, by the same rule.

    Raises ParameterError: a threshold outside [0, 1).
    """
    if not 0 <= threshold < 1:
        raise ParameterError(f"threshold={threshold!r} is outside [0, 1)")
    return show(partial(_widgets, view, threshold), partial(twin_html, view, threshold))


def levels(shares: Tensor) -> NDArray[np.uint8]:
    """How many of the thresholds 0, 0.01, ..., 0.99 each share exceeds, uint8 (F, K).

    >>> levels(torch.tensor([[1.0, 0.3, -0.5, 0.305]])).tolist()
    [[100, 30, 0, 31]]
    """
    total = torch.zeros(shares.shape, dtype=torch.uint8)
    for step in range(STEPS):
        total += shares > step / STEPS  # the very comparison of `MaskView.sets`
    return total.numpy()


def twin_html(view: MaskView, threshold: float = 0.3) -> str:
    """The explorer as one piece of HTML: markup, style, script and one byte a filter and label."""

    def place(name: str) -> str:
        return "" if name == OUTPUTS else name

    content = {
        "labels": len(view.names),
        "names": view.names,
        "threshold": round(threshold * STEPS),
        "start": len(view.between) - 1,
        "layers": [
            {"name": layer, "below": place(one.below), "above": place(one.above)}
            for layer, one in view.between.items()
        ],
        "places": {
            name: base64.b64encode(levels(shares).tobytes()).decode() for name, shares in view.shares.items()
        },
    }
    return page_html("masks", content, "filterwise.papers.afcc")


def _widgets(view: MaskView, threshold: float) -> Any:
    """The live form."""
    import ipywidgets as widgets

    at = widgets.FloatSlider(
        threshold, min=0, max=1 - 1 / STEPS, step=1 / STEPS, description="threshold", continuous_update=False
    )
    layer = widgets.Dropdown(options=list(view.between), value=list(view.between)[-1], description="layer")
    picture, caption = widgets.HTML(), widgets.HTML()

    def draw(_: object = None) -> None:
        picture.value = mask_pictures(view, [layer.value], at.value).html()
        caption.value = escape(view.says(layer.value, at.value))

    for control in (at, layer):
        control.observe(draw, "value")
    draw()
    return widgets.VBox([at, layer, picture, caption])
