"""How far a training is: a bar on a terminal, a line an epoch elsewhere, or nothing."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from tqdm import tqdm


class Progress:
    """Tells of epochs on standard error.

    ``show``: True, False, or None for a bar on a terminal and plain lines elsewhere; ``epochs`` in all, of
    which ``done`` were done before, and ``steps`` in each.
    """

    def __init__(self, show: bool | None, epochs: int, steps: int, done: int = 0) -> None:
        self.epochs, self.steps = epochs, steps
        self.lines = show is not False and not sys.stderr.isatty()
        self.bar: tqdm[Any] | None = None
        if show is not False and not self.lines:
            self.bar = tqdm(
                total=epochs * steps, initial=done * steps, unit="step", leave=False, file=sys.stderr
            )

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self.bar.close()

    def step(self) -> None:
        """One step is done."""
        if self.bar is not None:
            self.bar.update()

    def epoch(self, row: Mapping[str, Any]) -> None:
        """One epoch is done."""
        text = describe(row, self.epochs)
        if self.bar is not None:
            self.bar.set_description_str(text)
        elif self.lines:
            print(text, file=sys.stderr, flush=True)


def describe(row: Mapping[str, Any], epochs: int) -> str:
    """A row of the history in words."""
    test = row["test_accuracy"]
    shown = f", test {test:.4f}" if test == test else ""
    return (
        f"epoch {row['epoch']}/{epochs}: loss {row['train_loss']:.4f}, accuracy {row['train_accuracy']:.4f}"
        f"{shown}, {row['seconds']:.1f} s"
    )
