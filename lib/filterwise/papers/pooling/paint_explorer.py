"""The painter: a map to paint, three pools to put in order, and what the order does to its routes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from html import escape
from typing import Any

import torch
from torch import Tensor

from filterwise.errors import ParameterError, check_choice
from filterwise.figures.twin import Twin, page_html, show
from filterwise.measure.route_counting import routes
from filterwise.papers.pooling.figures import operator_routes

SIDE, HIGHEST, STEPS = 8, 9, 3
KINDS = ("MP", "AP")


def explore_map(values: Tensor, kinds: Sequence[str] = ("AP", "MP", "MP")) -> Twin:
    """A map to paint and three 2 x 2 pools to arrange; the reversed order stands beside.

    The map shrinks to one number; pixels that are part of it are marked. Of equal numbers in a window of a
    max pool the first wins, as in torch. In a notebook with a kernel the map is typed, a digit a pixel.

    Parameters
    ----------
    values : integers in 0..9, (8, 8); the map at the start.
    kinds : "MP" or "AP", of the pools, first step first.

    Raises ParameterError: another shape or other values, or no three kinds.

    >>> explore_map(torch.eye(8).long()).html().count("<svg")
    3
    """
    digits = [[int(value) for value in row] for row in torch.as_tensor(values).reshape(-1, SIDE).tolist()]
    flat = [value for row in digits for value in row]
    if (
        len(flat) != SIDE**2
        or min(flat) < 0
        or max(flat) > HIGHEST
        or flat != torch.as_tensor(values).flatten().tolist()
    ):
        raise ParameterError(f"values must be {SIDE} x {SIDE} integers in 0..{HIGHEST}")
    for kind in kinds:
        check_choice("kinds", kind, KINDS)
    if len(kinds) != STEPS:
        raise ParameterError(
            f"kinds={tuple(kinds)!r} must name {STEPS} pools, which take {SIDE} x {SIDE} to one"
        )
    return show(partial(_widgets, digits, kinds), partial(twin_html, flat, kinds))


def order_of(kinds: Sequence[str]) -> str:
    """The order of 2 x 2 pools of these kinds.

    >>> order_of(["AP", "MP"])
    'AP2-MP2'
    """
    return "-".join(f"{kind}2" for kind in kinds)


def said(values: Tensor, kinds: Sequence[str]) -> str:
    """What an order does to a map, in words.

    >>> said(torch.arange(64).reshape(8, 8) % 10, ["MP", "MP", "MP"])
    'MP2-MP2-MP2: output 9, 1 route'
    """
    found = routes(values.double(), order_of(kinds))
    count = int(found.count)
    output = f"{found.output.item():.6f}".rstrip("0").rstrip(".")
    return f"{order_of(kinds)}: output {output}, {count} route{'s' if count > 1 else ''}"


def twin_html(flat: Sequence[int], kinds: Sequence[str]) -> str:
    """The painter as one piece of HTML: markup, style, script and map; it asks for nothing else."""
    return page_html("paint", {"map": list(flat), "kinds": list(kinds)}, "filterwise.papers.pooling")


def _widgets(digits: list[list[int]], kinds: Sequence[str]) -> Any:
    """The live form: the map as text, a selector a pool, and the library's picture of the routes."""
    import ipywidgets as widgets

    text = "\n".join("".join(map(str, row)) for row in digits)
    typed = widgets.Textarea(text, description="map", rows=SIDE)
    steps = [widgets.Dropdown(options=list(KINDS), value=kind, description=f"step {at + 1}")
             for at, kind in enumerate(kinds)]  # fmt: skip
    picture, words = widgets.HTML(), widgets.HTML()

    def draw(_: object = None) -> None:
        pixels = [int(each) for each in typed.value if each.isdigit()]
        if len(pixels) != SIDE**2:
            words.value = escape(f"The map has {len(pixels)} digits; it needs {SIDE**2}.")
            return
        values, chosen = torch.tensor(pixels).reshape(SIDE, SIDE), [step.value for step in steps]
        both = (chosen, chosen[::-1])
        picture.value = operator_routes(values.double(), [order_of(each) for each in both]).svg()
        words.value = escape("; reversed, ".join(said(values, each) for each in both))

    for control in (typed, *steps):
        control.observe(draw, "value")
    draw()
    return widgets.VBox([typed, *steps, picture, words])
