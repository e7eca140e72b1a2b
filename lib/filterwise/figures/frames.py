"""A slider over frames: drawn by the library where a kernel answers, drawn beforehand where none does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from filterwise.errors import ParameterError
from filterwise.figures.twin import Twin, page_html, show


def explore_frames(label: str, values: Sequence[str], frame: Callable[[int], str], start: int = 0) -> Twin:
    """A slider named ``label``; position i shows ``values[i]`` and the HTML ``frame(i)``.

    Raises ParameterError: no value, or a start that is not a position.

    >>> "fw-frames" in explore_frames("n", ["one", "two"], lambda i: f"<p>{i + 1}</p>").html()
    True
    """
    if not values or not 0 <= start < len(values):
        raise ParameterError(f"start={start!r} is no position of a slider with {len(values)} values")
    return show(
        partial(_widgets, label, values, frame, start), partial(twin_html, label, values, frame, start)
    )


def twin_html(label: str, values: Sequence[str], frame: Callable[[int], str], start: int) -> str:
    """The slider as one piece of HTML: markup, style, script and frames; it asks for nothing else."""
    frames = [{"value": value, "html": frame(place)} for place, value in enumerate(values)]
    return page_html("frames", {"label": label, "start": start, "frames": frames})


def _widgets(label: str, values: Sequence[str], frame: Callable[[int], str], start: int) -> Any:
    import ipywidgets as widgets

    named = [(value, place) for place, value in enumerate(values)]
    at = widgets.SelectionSlider(options=named, value=start, description=label, continuous_update=False)
    picture = widgets.HTML(frame(start))
    at.observe(lambda change: setattr(picture, "value", frame(change["new"])), "value")
    return widgets.VBox([at, picture])
