"""What a training left behind: one row an epoch, and what it was run with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from filterwise.errors import TrainingDiverged
from filterwise.training.numerics import Numerics

COLUMNS = (
    "epoch", "lr", "train_loss", "train_accuracy", "test_loss", "test_accuracy", "seconds", "cpu_seconds",
)  # fmt: skip


@dataclass(frozen=True)
class History:
    """Record of one training.

    Attributes
    ----------
    table : one row an epoch: ``epoch`` from 1, ``lr``, the largest of the epoch; ``train_loss`` and
        ``train_accuracy`` as met on the way, augmented and in training mode; ``test_loss`` and
        ``test_accuracy`` of the network after the epoch, in float32 and evaluation mode, NaN where it was not
        evaluated; ``seconds`` and ``cpu_seconds`` of training alone
    numerics : the form that it was computed in
    diverged : why the training broke off, for a member of `fit_many`; the table then ends before that epoch

    >>> import torch
    >>> rows = [{"epoch": 1, "test_accuracy": 0.5}, {"epoch": 2, "test_accuracy": 0.4}]
    >>> history = history_of(rows, Numerics(torch.device("cpu")))
    >>> history.final["test_accuracy"], history.best["test_accuracy"]
    (0.4, 0.5)
    """

    table: pd.DataFrame
    numerics: Numerics
    diverged: str = ""

    @property
    def final(self) -> dict[str, Any]:
        """The last epoch's row: what this book reports; TrainingDiverged if the training broke off."""
        if self.diverged:
            raise TrainingDiverged(self.diverged)
        return _row(self.table.iloc[-1])

    @property
    def best(self) -> dict[str, Any]:
        """The row of highest test accuracy (the first of equals); without a test set, of train accuracy.

        Higher than `final` by selection, and shown only beside it. TrainingDiverged if there is no row.
        """
        if self.table.empty:
            raise TrainingDiverged(self.diverged)
        column = "test_accuracy" if self.table["test_accuracy"].notna().any() else "train_accuracy"
        return _row(self.table.iloc[int(self.table[column].argmax())])

    @property
    def seconds(self) -> float:
        """Wall seconds of training, evaluation and checkpoints not counted."""
        return float(self.table["seconds"].sum())

    @property
    def cpu_seconds(self) -> float:
        """Processor seconds of this process during training, all threads together."""
        return float(self.table["cpu_seconds"].sum())


def history_of(rows: list[dict[str, Any]], form: Numerics, diverged: str = "") -> History:
    """The history with these rows."""
    return History(pd.DataFrame(rows, columns=list(COLUMNS)), form, diverged)


def mean_row(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Several members' rows of one epoch as one, for showing how far they are."""
    means = {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
    return means | {"epoch": rows[0]["epoch"]}


def _row(row: pd.Series[Any]) -> dict[str, Any]:
    return {str(name): int(value) if name == "epoch" else float(value) for name, value in row.items()}
