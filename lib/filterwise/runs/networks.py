"""The network that a run begins with: built, or another run's trained one, and edited."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from filterwise.models.building import build
from filterwise.runs.plain_values import named
from filterwise.training.edits import Given, edits

if TYPE_CHECKING:
    from filterwise.data.imageset import ImageSet
    from filterwise.runs.specification import Run
    from filterwise.runs.store import Result


def beginning(run: Run, train: ImageSet, start: Result | None = None, device: str = "auto") -> nn.Module:
    """A run's network before its training, on the CPU.

    Parameters
    ----------
    run
        Its model is built for the shape and the labels of ``train``, unless it has a start.
    train
        The run's training images; an edit may look at them.
    start
        The result of ``run.start``, whose trained network is taken.
    device
        Where an edit may compute.

    >>> from filterwise.runs import Run
    >>> from filterwise.training import Recipe
    >>> run = Run("lenet5", "parts", Recipe(), data_options={"n": 20})
    >>> beginning(run, run.sets()[0]).classifier[-1].out_features
    10
    """
    if start is not None:
        net = start.network()
    else:
        channels, size, _ = train.shape
        net = build(
            run.model, labels=train.labels_count, channels=channels, size=size, seed=run.seed,
            **run.model_kwargs,
        )  # fmt: skip
    edit = named("edit", run.edit)
    if edit is None:
        return net
    given = Given(train=train, seed=run.seed, device=device, start=start)
    edited = edits.get(edit[0]).function(net, given, **dict(edit[1]))
    return net if edited is None else edited
