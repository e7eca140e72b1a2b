"""How training went: error against the share of the epochs that has passed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from filterwise.errors import ParameterError
from filterwise.figures import style
from filterwise.figures.book_figure import BookFigure, drawn, panels
from filterwise.figures.tables import need


@drawn
def learning_curves(table: pd.DataFrame) -> BookFigure:
    """Error after each share of the epochs: training images as met (dashed) and test images (solid).

    Trainings of different length are drawn on one axis, so that a doubled one can be laid over the plain one.

    Parameters
    ----------
    table : one row an epoch; columns ``run`` (a name), ``epoch`` (from 1), ``train_error``, ``test_error``.

    >>> errors = {"train_error": [0.5, 0.3], "test_error": [0.6, 0.4]}
    >>> table = pd.DataFrame({"run": "a", "epoch": [1, 2], **errors})
    >>> learning_curves(table).alt
    'Training and test error against the share of training that has passed.'
    """
    need(table, "run", "epoch", "train_error", "test_error")
    names = list(dict.fromkeys(table["run"]))
    figure, (ax,) = panels(height=3.4)
    for name, look in zip(names, style.marked(len(names)), strict=True):
        run = table[table["run"] == name]
        share = run["epoch"] / run["epoch"].max()
        ax.plot(share, run["train_error"], color=look.color, linestyle="--", linewidth=1.2)
        ax.plot(share, run["test_error"], color=look.color, label=f"{name}, {int(run['epoch'].max())} epochs")
        ax.plot(share.iloc[-1:], run["test_error"].iloc[-1:], color=look.color, marker=look.marker)
    ax.set(xlabel="share of the training", ylabel="error")
    figure.legend(loc="outside upper left", ncols=2)
    figure.alt = "Training and test error against the share of training that has passed."
    return figure


def curves_table(histories: Mapping[str, Mapping[str, np.ndarray]]) -> pd.DataFrame:
    """The table of :func:`learning_curves` from records' arrays: name -> ``epoch``, ``train_accuracy``, ...

    Raises ParameterError: there are none, or one lacks a column.

    >>> arrays = {"epoch": np.array([1, 2]), "train_accuracy": np.array([0.5, 0.75])}
    >>> curves_table({"a": {**arrays, "test_accuracy": np.array([0.5, 0.5])}})["train_error"].tolist()
    [0.5, 0.25]
    """
    tables = []
    for name, arrays in histories.items():
        for column in ("epoch", "train_accuracy", "test_accuracy"):
            if column not in arrays:
                raise ParameterError(f"histories[{name!r}] has no {column!r}; it has {', '.join(arrays)}")
        tables.append(
            pd.DataFrame(
                {
                    "run": name,
                    "epoch": np.asarray(arrays["epoch"], dtype=int),
                    "train_error": 1 - np.asarray(arrays["train_accuracy"], dtype=float),
                    "test_error": 1 - np.asarray(arrays["test_accuracy"], dtype=float),
                }
            )
        )
    if not tables:
        raise ParameterError("histories is empty; give at least one training")
    return pd.concat(tables, ignore_index=True)
