"""The matrix explorer: any filter, layer and threshold; clusters boxed, noise in two colours; pictures."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from filterwise.errors import ParameterError, check_choice
from filterwise.figures.matrices import filter_matrices
from filterwise.figures.pictures import picture_strip
from filterwise.figures.tables import layer_number
from filterwise.figures.twin import Twin, page_html, show
from filterwise.measure.fields import clip
from filterwise.measure.strongest import StrongestImages

# Thresholds of the sliders are multiples of 1 / STEPS.
STEPS = 100
FIRES_ON_NONE = "It fires on none of the pictures."


def explore(
    fields: Mapping[str, Tensor],
    label_names: Sequence[str] = (),
    threshold: float = 0.3,
    most_bytes: int = 300_000,
    *,
    start: tuple[str, int] | None = None,
    strongest: StrongestImages | None = None,
) -> Twin:
    """Sliders for layer, filter and threshold over label matrices, and the pictures a filter fires on.

    In a notebook with a kernel the widgets call the library; elsewhere a twin without a kernel shows the same
    clusters and the same noise, computed in the page by the same rule.

    Parameters
    ----------
    fields : layer -> M (F, K, K), row = input label, all with the same K.
    label_names : K names; numbers when not given.
    threshold : where the threshold's slider starts, rounded to 0.01.
    most_bytes : size of matrices and pictures in the page before they are packed. If more would be needed,
        evenly spaced filters are kept.
    start : layer and number of the filter to start at; the first of the first layer when not given.
    strongest : of the same layers, as :func:`filterwise.measure.strongest_images` finds them; its pictures
        stand below the matrix.

    Raises ParameterError: no layer, matrices that are not square or of different K, names that do not fit, a
    threshold outside [0, 1), a start that is not among the filters, pictures of other layers or filters.

    >>> fields = {"features.1": torch.eye(3).repeat(2, 1, 1)}
    >>> "fw-explorer" in explore(fields, ["cat", "dog", "ship"]).html()
    True
    """
    if not fields:
        raise ParameterError("fields is empty; give at least one layer")
    matrices = {layer: torch.as_tensor(M).detach().cpu() for layer, M in fields.items()}
    shapes = {layer: tuple(M.shape) for layer, M in matrices.items()}
    labels = {shape[-1] for shape in shapes.values()}
    if len(labels) != 1 or any(len(shape) != 3 or shape[1] != shape[2] for shape in shapes.values()):
        raise ParameterError(f"fields has shapes {shapes}; each must be (F, K, K) with the same K")
    count = labels.pop()
    names = [str(name) for name in label_names] or [str(label) for label in range(count)]
    if len(names) != count:
        raise ParameterError(f"label_names has {len(names)} names for {count} labels")
    if not 0 <= threshold < 1:
        raise ParameterError(f"threshold={threshold!r} is outside [0, 1)")
    layer, number = start or (next(iter(matrices)), 0)
    check_choice("start layer", layer, matrices)
    if not 0 <= number < len(matrices[layer]):
        raise ParameterError(f"start: filter {number} of {layer!r} is not among its {len(matrices[layer])}")
    for other, M in matrices.items():
        if strongest is not None and len(strongest.places.get(other, ())) < len(M):
            raise ParameterError(f"strongest has no pictures for the {len(M)} filters of {other!r}")
    return show(
        partial(_widgets, matrices, names, threshold, (layer, number), strongest),
        partial(twin_html, matrices, names, threshold, most_bytes, (layer, number), strongest),
    )


def levels(M: Tensor) -> NDArray[np.uint8]:
    """How many of the thresholds 0, 0.01, ..., 0.99 each entry exceeds: all that clipping needs, in one byte.

    ``clip(M, k / 100)`` equals ``levels(M) > k`` exactly, because it is counted with ``clip`` itself.

    Parameters
    ----------
    M : (F, K, K).

    Returns uint8 (F, K, K), 0 to 100.

    >>> levels(torch.tensor([[[1.0, 0.3], [-0.5, 0.305]]])).tolist()
    [[[100, 30], [0, 31]]]
    """
    total = torch.zeros(M.shape, dtype=torch.uint8)
    for step in range(STEPS):
        total += clip(M, step / STEPS)
    return total.numpy()


def twin_html(
    matrices: Mapping[str, Tensor],
    names: Sequence[str],
    threshold: float,
    most_bytes: int,
    start: tuple[str, int],
    strongest: StrongestImages | None,
) -> str:
    """The explorer as one piece of HTML: markup, style, script and content; it asks for nothing else.

    Parameters
    ----------
    matrices : layer -> M (F, K, K).
    names : K names of labels.
    threshold, most_bytes, start, strongest : as in :func:`explore`.
    """
    labels = len(names)
    of_pictures = 0
    if strongest is not None:
        each = thumbnails(strongest.ds.images[:1]).numel()
        of_pictures = each * max(places.shape[1] for places in strongest.places.values())
    room = max(1, most_bytes // (len(matrices) * (labels * labels + of_pictures)))
    layers: list[dict[str, Any]] = []
    first = {"layer": list(matrices).index(start[0]), "filter": 0}
    for layer, M in matrices.items():
        evenly = np.linspace(0, len(M) - 1, min(len(M), room)).round().astype(int)
        kept = np.unique([*evenly, start[1]] if layer == start[0] else evenly)
        if layer == start[0]:
            first["filter"] = int(np.searchsorted(kept, start[1]))
        data = packed(levels(M[torch.from_numpy(kept)]).tobytes())
        shown = {"name": str(layer), "number": layer_number(layer), "of": len(M)}
        layers.append({**shown, "filters": kept.tolist(), "data": data})
    content = {"labels": list(names), "threshold": round(threshold * STEPS), "start": first, "layers": layers}
    if strongest is not None:
        content["pictures"] = _pictures(layers, strongest)
    return page_html("explorer", content, matrices=True)


def _pictures(layers: Sequence[dict[str, Any]], strongest: StrongestImages) -> dict[str, Any]:
    """Each picture once, packed, with its label; to every layer's filters the numbers of theirs are added."""
    numbers: dict[int, int] = {}
    for layer in layers:
        fired = [strongest.of(layer["name"], number) for number in layer["filters"]]
        layer["fires"] = [[numbers.setdefault(place, len(numbers)) for place in places] for places in fired]
    small = thumbnails(strongest.ds.images[list(numbers)])
    return {
        "shape": small.shape[1:],
        "labels": strongest.labels(numbers),
        "data": packed(small.numpy().tobytes()),
    }


def thumbnails(images: Tensor, side: int = 48) -> Tensor:
    """Images uint8 (n, C, H, W) with sides of at most ``side``: larger ones are averaged down in proportion.

    >>> thumbnails(torch.zeros(2, 3, 224, 112, dtype=torch.uint8)).shape
    torch.Size([2, 3, 48, 24])
    """
    height, width = images.shape[2:]
    shrink = max(1.0, max(height, width) / side)
    if shrink == 1:
        return images
    small = functional.adaptive_avg_pool2d(images.float(), (round(height / shrink), round(width / shrink)))
    return small.round().to(torch.uint8)


def packed(content: bytes) -> str:
    """Bytes, deflated without a header, in base 64; ``inflate.js`` reads them in the page.

    >>> zlib.decompress(base64.b64decode(packed(b"aaaa")), wbits=-15)
    b'aaaa'
    """
    squeeze = zlib.compressobj(level=9, wbits=-15)
    return base64.b64encode(squeeze.compress(content) + squeeze.flush()).decode()


def _widgets(
    matrices: Mapping[str, Tensor],
    names: Sequence[str],
    threshold: float,
    start: tuple[str, int],
    strongest: StrongestImages | None,
) -> Any:
    """The live form: three sliders, what the library draws for them, and the pictures fired on."""
    import ipywidgets as widgets

    layers = {f"layer {layer_number(layer)}": layer for layer in matrices}
    last = len(matrices[start[0]]) - 1
    layer = widgets.SelectionSlider(
        options=list(layers), value=f"layer {layer_number(start[0])}", description="layer", readout=True
    )
    chosen = widgets.IntSlider(start[1], 0, last, description="filter", continuous_update=False)
    theta = widgets.FloatSlider(
        threshold, min=0.0, max=0.99, step=0.01, description="threshold", continuous_update=False
    )
    picture, fires = widgets.HTML(), widgets.HTML()

    def draw(_: object = None) -> None:
        M = matrices[layers[layer.value]]
        chosen.max = len(M) - 1
        title = f"{layer.value}, filter {chosen.value}"
        picture.value = filter_matrices({title: M[chosen.value]}, names, theta.value).svg()
        if strongest is None:
            return
        places = strongest.of(layers[layer.value], chosen.value)
        told = strongest.labels(places)
        fires.value = picture_strip(strongest.ds.images[places], told).svg() if places else FIRES_ON_NONE

    for control in (layer, chosen, theta):
        control.observe(draw, "value")
    draw()
    return widgets.VBox([layer, chosen, theta, picture, *([fires] if strongest else [])])
