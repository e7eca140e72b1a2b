"""The series explorer: choose delays and an image, see what the one output unit emits; kernel or none."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from typing import Any

from torch import Tensor

from filterwise.data.augmentation import scale
from filterwise.errors import ParameterError
from filterwise.figures.twin import Twin, page_html, show
from filterwise.models.modes import evaluation_mode
from filterwise.models.rodib import TimedNet
from filterwise.papers.rodib.figures import time_series


@dataclass(frozen=True)
class Heard:
    """What one trained network's output unit emits for some images.

    Attributes
    ----------
    kind, delays : of its delay set, M.
    accuracy : its test accuracy.
    times : the instants, ascending.
    places : K, the place among them of each label's instant.
    series : z(t), (n, instants).
    """

    kind: str
    delays: int
    accuracy: float
    times: list[float]
    places: list[int]
    series: Tensor

    @property
    def answers(self) -> list[int]:
        """The label whose instant has the largest value, for each image."""
        return self.series[:, self.places].argmax(1).tolist()


def listen(net: TimedNet, images: Tensor, arm: Any) -> Heard:
    """Present images uint8 (n, C, h, h) to a network with one output unit; ``arm`` names kind, M, accuracy.

    >>> import torch
    >>> from types import SimpleNamespace
    >>> from filterwise import models
    >>> net = models.build("rodib", delays=4, front="flat", fc_inputs=2, channels=1, size=8)
    >>> arm, images = SimpleNamespace(arm="generic", M=4, accuracy=0.1), torch.zeros(3, 1, 8, 8)
    >>> heard = listen(net, images.to(torch.uint8), arm)
    >>> heard.series.shape, len(heard.answers)
    (torch.Size([3, 16]), 3)
    """
    net = net.cpu()
    with evaluation_mode(net):
        z = net.series(scale(images))[:, :, 0]
    return Heard(str(arm.arm), int(arm.M), float(arm.accuracy), net.times, net.label_places.tolist(), z)


def explore_series(
    heard: Sequence[Heard], images: Tensor, labels: Sequence[int], label_names: Sequence[str]
) -> Twin:
    """Selectors for the kind of delays and M, a slider for the image, over the series of trained networks.

    In a notebook with a kernel the widgets draw with the library; elsewhere a twin draws the same numbers.

    Parameters
    ----------
    heard : one a network, see :func:`listen`.
    images : uint8 (n, C, h, h), the images that came in.
    labels : their n labels.
    label_names : K names.

    Raises ParameterError: no network, two of one kind and M, or networks that heard another number of images.
    """
    if not heard:
        raise ParameterError("heard is empty; give at least one network's series")
    places = [(one.kind, one.delays) for one in heard]
    if len(set(places)) < len(places):
        raise ParameterError(f"heard holds a kind and M twice: {places}")
    numbers = {len(images), len(labels), *(len(one.series) for one in heard)}
    if len(numbers) != 1 or len(images) == 0:
        raise ParameterError(
            f"{len(images)} images, {len(labels)} labels and series of {sorted(numbers)} images differ"
        )
    return show(
        partial(_widgets, heard, images, labels, label_names),
        partial(twin_html, heard, images, labels, label_names),
    )


def twin_html(
    heard: Sequence[Heard], images: Tensor, labels: Sequence[int], label_names: Sequence[str]
) -> str:
    """The explorer as one piece of HTML: markup, style, script and series; it asks for nothing else."""
    content: dict[str, Any] = {
        "kind": heard[0].kind,
        "channels": images.shape[1],
        "names": [str(name) for name in label_names],
        "labels": [int(label) for label in labels],
        "images": [base64.b64encode(image.numpy().tobytes()).decode() for image in images],
        "nets": [
            {
                "kind": one.kind,
                "M": one.delays,
                "accuracy": f"{one.accuracy:.3f}",
                "places": one.places,
                "series": [[round(value, 2) for value in row] for row in one.series.tolist()],
            }
            for one in heard
        ],
    }
    return page_html("series", content, "filterwise.papers.rodib")


def _widgets(
    heard: Sequence[Heard], images: Tensor, labels: Sequence[int], label_names: Sequence[str]
) -> Any:
    """The live form: two selectors and a slider, and the picture that the library draws for them."""
    import ipywidgets as widgets

    by_kind: dict[str, dict[int, Heard]] = {}
    for one in heard:
        by_kind.setdefault(one.kind, {})[one.delays] = one
    first = heard[0].kind
    kind = widgets.Dropdown(options=list(by_kind), value=first, description="delays")
    count = widgets.SelectionSlider(options=list(by_kind[first]), description="M", continuous_update=False)
    chosen = widgets.IntSlider(0, 0, len(images) - 1, description="image", continuous_update=False)
    picture, caption = widgets.HTML(), widgets.HTML()

    def list_counts(_: object = None) -> None:
        known = list(by_kind[kind.value])
        if tuple(known) != tuple(count.options):
            count.options = known

    def draw(_: object = None) -> None:
        one = by_kind[kind.value].get(count.value)
        if one is None:  # between a new kind and its list of M
            return
        at = chosen.value
        z, truth = one.series[at : at + 1], [int(labels[at])]
        drawn = time_series(z, one.times, one.places, truth, label_names, images[at : at + 1])
        picture.value = drawn.svg()
        caption.value = escape(summary(one, at, truth[0], label_names))

    kind.observe(list_counts, "value")
    for control in (kind, count, chosen):
        control.observe(draw, "value")
    draw()
    return widgets.VBox([kind, count, chosen, picture, caption])


def summary(one: Heard, at: int, truth: int, label_names: Sequence[str]) -> str:
    """What is seen, in words."""
    answer = one.answers[at]
    right = "right" if answer == truth else f"wrong, it is {label_names[truth]}"
    return (
        f"{one.kind.capitalize()} delays, M = {one.delays}: {len(one.times)} output times, "
        f"{len(one.places)} of them carry a label. The largest of these says {label_names[answer]}, {right}. "
        f"Test accuracy {one.accuracy:.3f}."
    )
