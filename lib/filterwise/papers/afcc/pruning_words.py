"""What chapter 5's pictures of prunings show, as sentences that follow the numbers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from filterwise.figures.tables import NothingToShow, counted
from filterwise.papers.afcc.figures import NAMES
from filterwise.runs.layer_columns import values_of

_SORTS = {
    "without": "without a common label",
    "alike": "with one and equal norms",
    "with": "with one",
}


def said_of_sorts(table: pd.DataFrame) -> str:
    """Accuracy lost to each sort of kernels, mean over layers and seeds, and whether those without a common
    label cost least.

    Parameters
    ----------
    table : as :func:`filterwise.papers.afcc.figures.two_sorts` draws it.
    """
    masks = table[table["measure"] == "afcc.masks"]
    whole = masks["unretrained@dense"].to_numpy(dtype=float)
    lost = {}
    for kind in _SORTS:
        runs = values_of(masks, f"removed_{kind}")
        found = [dense - value for dense, run in zip(whole, runs, strict=True) for value in run.values()]
        if found:
            lost[kind] = float(np.mean(found))
    if "without" not in lost:
        raise NothingToShow("removed kernels have no rows")
    told = ", ".join(f"{_SORTS[kind]} {value:.4f}" for kind, value in lost.items()).replace("-", "−")
    others = [value for kind, value in lost.items() if kind != "without"]
    if not others:
        judged = ""
    elif lost["without"] < min(others):
        judged = ": those without cost least"
    elif lost["without"] > max(others):
        judged = ": those without cost most, the opposite of the rule"
    else:
        judged = ": those without are neither the cheapest nor the dearest"
    seeds = counted(len(masks), "seed")
    spread = "" if len(masks) > 1 else ", which has no spread"
    return (
        f"Accuracy lost by removing equally many kernels, mean over layers, {seeds}{spread}: {told}{judged}."
    )


def said_of_curves(histories: Mapping[str, np.ndarray]) -> str:
    """How far apart the criteria lie after the first and after the last epoch of retraining.

    Parameters
    ----------
    histories : see :func:`filterwise.papers.afcc.figures.retraining_curves`; the dense network is left out.
    """
    ends = {name: runs.mean(axis=0)[[0, -1]] for name, runs in histories.items() if name != "dense"}
    if len(ends) < 2:
        return "Held-out accuracy during the short retraining."
    said = []
    for at, words in enumerate(("the first epoch", "the last")):
        values = {name: both[at] for name, both in ends.items()}
        low, high = min(values, key=lambda n: values[n]), max(values, key=lambda n: values[n])
        gap = values[high] - values[low]
        said.append(f"{gap:.3f} apart after {words} ({NAMES[high]} above, {NAMES[low]} below)")
    return f"Best and worst choice are {' and '.join(said)}."
