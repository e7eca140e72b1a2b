"""The training loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import nn

from filterwise.data import ImageSet
from filterwise.errors import ParameterError, check_at_least
from filterwise.training import checkpoint as checkpoints
from filterwise.training import policy_store
from filterwise.training.device import fastest_kernels, pick_device, place
from filterwise.training.device_policy import Policy, policy
from filterwise.training.epoch import close_epoch, train_epoch
from filterwise.training.evaluation import evaluation_mode
from filterwise.training.feed import Feed
from filterwise.training.history import COLUMNS, History
from filterwise.training.progress import Progress
from filterwise.training.recipe import Recipe
from filterwise.training.step import Step, backprop, custom, sgd

if TYPE_CHECKING:
    from filterwise.data import FolderSet


def fit(
    net: nn.Module,
    train: ImageSet,
    test: ImageSet | FolderSet | None = None,
    recipe: Recipe | None = None,
    seed: int = 0,
    device: str | torch.device = "auto",
    *,
    checkpoint: str | Path | None = None,
    checkpoint_every: int = 5,
    evaluate_every: int = 1,
    progress: bool | None = None,
    resume: bool = True,
    step: Step | None = None,
    after_epoch: Callable[[Mapping[str, Any]], object] | None = None,
) -> History:
    """Train ``net`` in place.

    Order, augmentation and random layers are drawn from ``seed`` and the epoch's number, from generators of
    their own; nothing outside is seeded. On one device the same call gives the same network.

    Parameters
    ----------
    net : moved to the device; afterwards there, in contiguous memory format
    train, test : images uint8 (N, C, H, W) and labels; without ``test`` its columns stay NaN
    recipe : default `Recipe()`, the papers' for the VGG family
    seed : of order, augmentation and dropout; the initial weights are the network's own
    device : ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``
    checkpoint : folder for a checkpoint, written every ``checkpoint_every`` epochs, after the last one, and
        when the training is broken off (Ctrl-C, an error): then of the last whole epoch, whose state the
        network gets back as well
    evaluate_every : epochs between evaluations on ``test``; the last epoch is always evaluated
    progress : True or False; None shows a bar on a terminal and a line an epoch elsewhere
    resume : go on from the folder's checkpoint; False begins anew
    step : another backward pass, see `Step`. It is not run for timing, so without a word in the recipe it
        gets float32 and contiguous memory
    after_epoch : called with each new row of the history; what it raises ends the training, resumable

    Raises
    ------
    ParameterError
        A parameter, or the images' or labels' shape or range, is not allowed.
    TrainingDiverged
        The loss is no longer finite; epoch, learning rate and last finite loss are named.
    RunError
        The checkpoint is that of another training.

    >>> from filterwise import data
    >>> ds = data.ImageSet(torch.zeros(6, 1, 4, 4, dtype=torch.uint8), torch.arange(6) % 2, ("a", "b"))
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    >>> history = fit(net, ds, ds, Recipe(epochs=2, batch=4), device="cpu", progress=False)
    >>> history.table["epoch"].tolist(), history.final["test_accuracy"]
    ([1, 2], 0.5)
    """
    recipe = recipe or Recipe()
    for name, value, least in (
        ("checkpoint_every", checkpoint_every, 1),
        ("evaluate_every", evaluate_every, 1),
        ("seed", seed, 0),
    ):
        check_at_least(name, value, least)
    where = pick_device(device)
    check_sets(net, train, test, where)

    identity = identity_of(net, train, test, recipe, seed, step)
    began = checkpoints.weights_digest(net.state_dict()) if checkpoint is not None else ""
    start = checkpoints.load(checkpoint, identity, began) if checkpoint is not None and resume else None
    if start is not None and torch.device(start.policy["device"]).type == where.type:
        form = replace(Policy.from_dict(start.policy), device=where)
    else:
        form = _form(net, (min(recipe.batch, len(train)), *train.shape), where, recipe, step)

    place(net, where, form.memory_format)
    optimiser = sgd(net, recipe)
    rows: list[dict[str, Any]] = []
    if start is not None:
        checkpoints.restore(net, optimiser, start)
        rows, began = list(start.rows), start.began
    held = test.to(where) if isinstance(test, ImageSet) else test
    # a step of one's own may keep a batch for later; ours does not
    feed = Feed(train.images, train.labels, recipe, seed, where, form.memory_format, reuse=step is None)
    one_step = backprop(recipe, where, form.dtype) if step is None else custom(step, where, form.dtype)

    def boundary() -> checkpoints.Checkpoint | None:
        if checkpoint is None:
            return None
        momentum = checkpoints.momentum_of(optimiser)
        return checkpoints.take(net, momentum, identity, began, rows, form.to_dict())

    last, saved = boundary(), len(rows) if start is not None else -1
    try:
        with Progress(progress, recipe.epochs, feed.steps, len(rows)) as bar, fastest_kernels(where):
            for epoch in range(len(rows), recipe.epochs):
                row = train_epoch(net, optimiser, feed, epoch, one_step, bar.step)
                close_epoch(net, row, held, recipe.epochs, evaluate_every, where)
                rows.append(row)
                last = boundary()
                if (
                    last is not None
                    and checkpoint is not None
                    and (len(rows) == recipe.epochs or len(rows) % checkpoint_every == 0)
                ):
                    checkpoints.save(checkpoint, last)
                    saved = len(rows)
                bar.epoch(row)
                if after_epoch is not None:
                    after_epoch(row)
    except BaseException:
        if last is not None and checkpoint is not None:
            checkpoints.restore(net, optimiser, last)
            if last.epoch != saved:
                checkpoints.save(checkpoint, last)
        raise
    finally:
        place(net, where, torch.contiguous_format)
    return History(pd.DataFrame(rows, columns=list(COLUMNS)), form)


def check_sets(
    net: nn.Module, train: ImageSet, test: ImageSet | FolderSet | None, device: torch.device
) -> None:
    """Refuse images that the network does not take and labels that it has no output for.

    Raises
    ------
    ParameterError
    """
    if not isinstance(train, ImageSet):
        raise ParameterError("train must lie in memory; a folder of pictures gets there by its in_memory()")
    if test is not None and test.shape != train.shape:
        raise ParameterError(f"test has images of shape {test.shape}, train of {train.shape}")
    net.to(device)
    with evaluation_mode(net):
        try:
            outputs = net(torch.zeros(1, *train.shape, device=device))
        except RuntimeError as error:
            raise ParameterError(
                f"the network does not take images of shape {train.shape}: {error}"
            ) from error
    if outputs.ndim != 2:
        raise ParameterError(
            f"the network answers with shape {tuple(outputs.shape)}, (images, labels) is expected"
        )
    for part, ds in (("train", train), ("test", test)):
        highest = int(ds.labels.max()) if ds is not None else 0
        if highest >= outputs.shape[1]:
            raise ParameterError(
                f"{part} has labels up to {highest}, but the network has {outputs.shape[1]} outputs"
            )


def _form(
    net: nn.Module, shape: tuple[int, ...], device: torch.device, recipe: Recipe, step: Step | None
) -> Policy:
    if step is not None:
        plain = {"precision": "float32", "memory_format": "contiguous"}
        recipe = recipe.replace(**{name: to for name, to in plain.items() if getattr(recipe, name) == "auto"})
    return policy(net, shape, device, recipe)


def identity_of(
    net: nn.Module,
    train: ImageSet,
    test: ImageSet | FolderSet | None,
    recipe: Recipe,
    seed: int,
    step: Step | None = None,
) -> dict[str, Any]:
    """What makes two trainings the same one, as plain values; a checkpoint of another one is refused."""
    name = None if step is None else getattr(step, "__qualname__", type(step).__qualname__)
    return {
        "network": policy_store.signature(net),
        **{f"recipe.{key}": value for key, value in recipe.to_dict().items()},
        "seed": int(seed),
        "train": train.digest,
        "test": test.digest if test is not None else None,
        "step": name,
    }
