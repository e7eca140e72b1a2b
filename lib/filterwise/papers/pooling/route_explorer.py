"""The route explorer: choose a plan and an order, see where an image's routes run; kernel or none."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from typing import Any

import torch
from torch import Tensor, nn

from filterwise.errors import ParameterError
from filterwise.figures.twin import Twin, page_html, show
from filterwise.measure.network_routes import route_maps as measured_routes
from filterwise.measure.route_counting import spread
from filterwise.papers.pooling.figures import route_maps


@dataclass(frozen=True)
class ArmRoutes:
    """Routes of some images through one trained network.

    Attributes
    ----------
    plan, order : where it pools; ``order`` is empty in plan V.
    accuracy : its test accuracy.
    routes : (n, h, w), abs(activation * gradient) of the winning logit, last layer, summed over filters.
    ends : (n, H, W), abs of the image's gradient, summed over channels.
    counts : (n,), routes a filter.
    spreads : (n,), root mean square distance of a filter's routes from their centre, in pixels of the layer.
    answers : (n,), label of the largest logit.
    """

    plan: str
    order: str
    accuracy: float
    routes: Tensor
    ends: Tensor
    counts: Tensor
    spreads: Tensor
    answers: Tensor


def follow(net: nn.Module, images: Tensor, arm: Any, device: str = "auto") -> ArmRoutes:
    """Measure the routes of images uint8 (n, C, H, W) through one network.

    ``arm`` says of the network its ``plan``, ``order`` and ``accuracy``, such as a row of the page's table.

    >>> from types import SimpleNamespace
    >>> from filterwise import models
    >>> net = models.build("vgg", size=8, stages=((4, 1), (8, 1), (8, 1)), inner=(), order="AP2-MP4")
    >>> arm = SimpleNamespace(plan="after", order="AP2-MP4", accuracy=0.1)
    >>> follow(net, torch.zeros(2, 3, 8, 8, dtype=torch.uint8), arm).routes.shape
    torch.Size([2, 8, 8])
    """
    found = measured_routes(net, images, device=device)
    filters = found.mask.shape[1]
    each = spread(found.mask.flatten(0, 1)).reshape(-1, filters)
    alive = found.mask.flatten(2).any(-1)
    return ArmRoutes(
        arm.plan,
        arm.order,
        arm.accuracy,
        found.contribution.sum(1),
        found.input_gradient.abs().sum(1),
        found.mask.sum((2, 3)).double().mean(1),
        (each * alive).sum(1) / alive.sum(1).clamp(min=1),
        found.winners,
    )


def explore_routes(
    arms: Sequence[ArmRoutes], images: Tensor, labels: Sequence[int], label_names: Sequence[str]
) -> Twin:
    """Selectors for plan, order and image over measured routes.

    In a notebook with a kernel the widgets draw with the library; elsewhere a twin shows the same maps.

    Parameters
    ----------
    arms : one a network, see :func:`follow`.
    images : uint8 (n, C, H, W), the images that were followed.
    labels : their n labels.
    label_names : K names.

    Raises ParameterError: no arm, two arms of one plan and order, or arms that followed another number of
    images.
    """
    _check(arms, images, labels)
    names = [f"{place + 1}: {label_names[label]}" for place, label in enumerate(labels)]
    said = [_answers(arm, labels, label_names) for arm in arms]
    return show(partial(_widgets, arms, images, names, said), partial(twin_html, arms, images, names, said))


def said_of_arms(arms: Sequence[ArmRoutes]) -> str:
    """How far one filter's routes lie from their centre with each order of two kinds of pools, widest first.

    The maps are sums over filters and hide it.
    """
    mixed = {arm.order.replace("-", "→"): float(arm.spreads.mean()) for arm in arms if "-" in arm.order}
    told = [f"{value:.1f} with {order}" for order, value in sorted(mixed.items(), key=lambda each: -each[1])]
    words = "*Contributions, summed over filters.* Try two orders of the same pools"
    return (
        f"{words}: one filter's routes lie {', '.join(told)} pixels from their centre."
        if told
        else f"{words}."
    )


def _answers(arm: ArmRoutes, labels: Sequence[int], label_names: Sequence[str]) -> list[str]:
    """What the network says of each image, and whether that is wrong."""
    return [
        f"{label_names[answer]}, which is {'right' if answer == label else 'wrong'}"
        for answer, label in zip(arm.answers.tolist(), labels, strict=True)
    ]


def _check(arms: Sequence[ArmRoutes], images: Tensor, labels: Sequence[int]) -> None:
    if not arms:
        raise ParameterError("arms is empty; give at least one network's routes")
    places = [(arm.plan, arm.order) for arm in arms]
    if len(set(places)) < len(places):
        raise ParameterError(f"arms holds a plan and order twice: {places}")
    counts = {len(images), len(labels), *(len(arm.routes) for arm in arms)}
    if len(counts) != 1 or len(images) == 0:
        raise ParameterError(
            f"{len(images)} images, {len(labels)} labels and arms of {sorted(counts)} images differ"
        )


def _bytes(maps: Tensor) -> list[str]:
    """Each map as base 64 of one byte a place, 255 for its largest value."""
    values = maps.double().flatten(1)
    scaled = (255 * values / values.amax(1, keepdim=True).clamp(min=1e-12)).round().to(torch.uint8)
    return [base64.b64encode(row.numpy().tobytes()).decode() for row in scaled]


def twin_html(
    arms: Sequence[ArmRoutes], images: Tensor, names: Sequence[str], said: Sequence[Sequence[str]]
) -> str:
    """The explorer as one piece of HTML: markup, style, script and maps; it asks for nothing else.

    ``said``: of each arm, in words, what it answers to each image.
    """
    first = arms[-1]
    content: dict[str, Any] = {
        "plan": first.plan,
        "order": first.order,
        "channels": images.shape[1],
        "names": list(names),
        "images": [base64.b64encode(image.numpy().tobytes()).decode() for image in images],
        "arms": [
            {
                "plan": arm.plan,
                "order": arm.order,
                "accuracy": f"{arm.accuracy:.3f}",
                "routes": _bytes(arm.routes),
                "ends": _bytes(arm.ends),
                "counts": [f"{float(count):.1f}" for count in arm.counts],
                "spreads": [f"{float(value):.2f}" for value in arm.spreads],
                "answers": list(answers),
            }
            for arm, answers in zip(arms, said, strict=True)
        ],
    }
    return page_html("routes", content, "filterwise.papers.pooling")


def _widgets(
    arms: Sequence[ArmRoutes], images: Tensor, names: Sequence[str], said: Sequence[Sequence[str]]
) -> Any:
    """The live form: two selectors and a slider, and the picture that the library draws for them."""
    import ipywidgets as widgets

    by_plan: Mapping[str, dict[str, ArmRoutes]] = {
        plan: {arm.order: arm for arm in arms if arm.plan == plan}
        for plan in dict.fromkeys(a.plan for a in arms)
    }
    answers = {(arm.plan, arm.order): told for arm, told in zip(arms, said, strict=True)}
    last = arms[-1]
    plan = widgets.Dropdown(options=list(by_plan), value=last.plan, description="plan")
    order = widgets.Dropdown(options=list(by_plan[last.plan]), value=last.order, description="order")
    chosen = widgets.IntSlider(0, 0, len(images) - 1, description="image", continuous_update=False)
    picture, caption = widgets.HTML(), widgets.HTML()

    def list_orders(_: object = None) -> None:
        order.options = list(by_plan[plan.value])

    def draw(_: object = None) -> None:
        arm = by_plan[plan.value].get(order.value)
        if arm is None:  # between a new plan and its list of orders
            return
        at = chosen.value
        shown = {arm.order or f"plan {arm.plan}": arm.routes[at : at + 1].numpy()}
        picture.value = route_maps(
            images[at : at + 1], shown, {"ends in the image": arm.ends[at : at + 1].numpy()}
        ).svg()
        answer = escape(answers[arm.plan, arm.order][at])
        caption.value = f"{escape(names[at])}, answer {answer}; {float(arm.counts[at]):.1f} routes a filter"

    plan.observe(list_orders, "value")
    for control in (plan, order, chosen):
        control.observe(draw, "value")
    draw()
    return widgets.VBox([plan, order, chosen, picture, caption])
