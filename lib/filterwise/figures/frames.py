"""A slider over frames: drawn by the library where a kernel answers, drawn beforehand where none does."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from html import escape
from importlib import resources
from typing import Any

import pandas as pd

from filterwise.errors import ParameterError
from filterwise.figures.twin import Twin, show
from filterwise.measure.fitting import PowerLaw


def explore_frames(label: str, values: Sequence[str], frame: Callable[[int], str], start: int = 0) -> Twin:
    """A slider named ``label``; position i shows ``values[i]`` and the HTML ``frame(i)``.

    Raises
    ------
    ParameterError
        No value, or a start that is not a position.

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
    text = json.dumps({"label": label, "start": start, "frames": frames}).replace("</", "<\\/")
    name = hashlib.sha256(text.encode()).hexdigest()[:12]
    static = resources.files("filterwise.figures") / "static"
    parts = {kind: (static / f"frames.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js")}
    return (
        f'<div class="fw-frames" data-fw-frames="{escape(name)}">\n<style>\n{parts["css"]}</style>\n'
        f"{parts['html'].replace('ID', name)}</div>\n"
        f'<script>\n{parts["js"]}\nwindow.filterwiseFrames.start("{name}", {text});\n</script>\n'
    )


def _widgets(label: str, values: Sequence[str], frame: Callable[[int], str], start: int) -> Any:
    import ipywidgets as widgets

    named = [(value, place) for place, value in enumerate(values)]
    at = widgets.SelectionSlider(options=named, value=start, description=label, continuous_update=False)
    picture = widgets.HTML(frame(start))
    at.observe(lambda change: setattr(picture, "value", frame(change["new"])), "value")
    return widgets.VBox([at, picture])


def explore_targets(
    fits: Mapping[str, PowerLaw], macs: Mapping[str, Callable[[int], int]], errors: Sequence[float]
) -> Twin:
    """What width, and how many operations, the fitted lines promise for an error of the reader's choice.

    Parameters
    ----------
    fits : curve -> its fit.
    macs : curve -> multiply-accumulates of an image's forward pass at a width.
    errors : positions of the slider, the first is shown at the start.

    Raises
    ------
    ParameterError
        No curve, no error, or a curve whose operations are not given.
    """
    if not fits or not errors:
        raise ParameterError("fits and errors must hold at least one curve and one error")
    for curve in fits:
        if curve not in macs:
            raise ParameterError(f"macs has no {curve!r}; it has {', '.join(map(repr, macs))}")

    def frame(place: int) -> str:
        return _promise(fits, macs, errors[place]).to_html(border=0, classes="table")

    return explore_frames("error", [f"{error:g}" for error in errors], frame)


# Beyond this width the line is so far from any measurement that a number would say nothing.
_LARGEST = 1e6


def _promise(
    fits: Mapping[str, PowerLaw], macs: Mapping[str, Callable[[int], int]], error: float
) -> pd.DataFrame:
    rows = {}
    for curve, fit in fits.items():
        ends = [float(number) for number in fit.solve(error)]
        cost = [
            f"{macs[curve](max(1, round(end))) / 1e6:.3g}" if end <= _LARGEST else "beyond" for end in ends
        ]
        width = [f"{end:.3g}" if end <= _LARGEST else "beyond" for end in ends]
        rows[curve] = {
            "d1*": width[0],
            "95 %": f"{width[1]} to {width[2]}",
            "million MACs": cost[0],
            "95 % ": f"{cost[1]} to {cost[2]}",
        }
    return pd.DataFrame.from_dict(rows, orient="index")
