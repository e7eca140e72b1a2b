"""The matrix explorer: any filter, layer and threshold; clusters boxed, noise in two colours."""

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

from filterwise.errors import ParameterError
from filterwise.figures.matrices import filter_matrices
from filterwise.figures.tables import layer_number
from filterwise.figures.twin import Twin, page_html, show
from filterwise.measure.fields import clip

# Thresholds of the sliders are multiples of 1 / STEPS.
STEPS = 100


def explore(
    fields: Mapping[str, Tensor],
    label_names: Sequence[str] = (),
    threshold: float = 0.3,
    most_bytes: int = 300_000,
) -> Twin:
    """Sliders for layer, filter and threshold over label matrices.

    In a notebook with a kernel the widgets call the library; elsewhere a twin without a kernel shows the same
    clusters and the same noise, computed in the page by the same rule.

    Parameters
    ----------
    fields : layer -> M (F, K, K), row = input label, all with the same K.
    label_names : K names; numbers when not given.
    threshold : where the threshold's slider starts, rounded to 0.01.
    most_bytes : size of the matrices in the page. If more would be needed, evenly spaced filters are kept.

    Raises ParameterError: no layer, matrices that are not square or of different K, names that do not fit, a
    threshold outside [0, 1).

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
    return show(
        partial(_widgets, matrices, names, threshold),
        partial(twin_html, matrices, names, threshold, most_bytes),
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
    matrices: Mapping[str, Tensor], names: Sequence[str], threshold: float = 0.3, most_bytes: int = 300_000
) -> str:
    """The explorer as one piece of HTML: markup, style, script and matrices; it asks for nothing else.

    Parameters
    ----------
    matrices : layer -> M (F, K, K).
    names : K names of labels.
    threshold : where the slider starts.
    most_bytes : size of all matrices together before they are written in base 64.
    """
    labels = len(names)
    room = max(1, most_bytes // (len(matrices) * labels * labels))
    layers = []
    for layer, M in matrices.items():
        kept = np.unique(np.linspace(0, len(M) - 1, min(len(M), room)).round().astype(int))
        data = packed(levels(M[torch.from_numpy(kept)]).tobytes())
        shown = {"name": str(layer), "number": layer_number(layer), "of": len(M)}
        layers.append({**shown, "filters": kept.tolist(), "data": data})
    content = {"labels": list(names), "threshold": round(threshold * STEPS), "layers": layers}
    return page_html("explorer", content, matrices=True)


def packed(content: bytes) -> str:
    """Bytes, deflated without a header, in base 64; ``inflate.js`` reads them in the page.

    >>> zlib.decompress(base64.b64decode(packed(b"aaaa")), wbits=-15)
    b'aaaa'
    """
    squeeze = zlib.compressobj(level=9, wbits=-15)
    return base64.b64encode(squeeze.compress(content) + squeeze.flush()).decode()


def _widgets(matrices: Mapping[str, Tensor], names: Sequence[str], threshold: float) -> Any:
    """The live form: three sliders and the picture that the library draws for them."""
    import ipywidgets as widgets

    layers = {f"layer {layer_number(layer)}": M for layer, M in matrices.items()}
    first = next(iter(layers))
    layer = widgets.SelectionSlider(options=list(layers), value=first, description="layer", readout=True)
    chosen = widgets.IntSlider(0, 0, len(layers[first]) - 1, description="filter", continuous_update=False)
    theta = widgets.FloatSlider(
        threshold, min=0.0, max=0.99, step=0.01, description="threshold", continuous_update=False
    )
    picture = widgets.HTML()

    def draw(_: object = None) -> None:
        M = layers[layer.value]
        chosen.max = len(M) - 1
        title = f"{layer.value}, filter {chosen.value}"
        picture.value = filter_matrices({title: M[chosen.value]}, names, theta.value).svg()

    for control in (layer, chosen, theta):
        control.observe(draw, "value")
    draw()
    return widgets.VBox([layer, chosen, theta, picture])
