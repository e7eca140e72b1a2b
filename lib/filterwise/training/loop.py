"""The training loop."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from filterwise.data.imageset import ImageSet
from filterwise.errors import ParameterError, check_count, refused
from filterwise.models.modes import evaluation_mode
from filterwise.training import checkpoint as checkpoints
from filterwise.training.device import place, same_kernels, threads
from filterwise.training.epoch import close_epoch, train_epoch
from filterwise.training.evaluation import answer, check_labels
from filterwise.training.feed import Feed
from filterwise.training.history import History, history_of
from filterwise.training.learning import only_these_learn, optimiser_of, settle_masks
from filterwise.training.numerics import Numerics, resolve
from filterwise.training.progress import Progress
from filterwise.training.recipe import Recipe
from filterwise.training.steps import AnyStep, identity_of_step, is_plain, make_step, state_of

if TYPE_CHECKING:
    from filterwise.data.folder import FolderSet


def fit(
    net: nn.Module,
    train: ImageSet,
    test: ImageSet | FolderSet | None = None,
    recipe: Recipe | None = None,
    seed: int = 0,
    device: str | torch.device = "auto",
    *,
    learn: Sequence[str] = (),
    step: AnyStep = None,
    checkpoint: str | Path | None = None,
    checkpoint_every: int = 5,
    evaluate_every: int = 1,
    progress: bool | None = None,
    resume: bool = True,
    after_epoch: Callable[[Mapping[str, Any]], object] | None = None,
) -> History:
    """Train ``net`` in place.

    Order, augmentation and random layers are drawn from ``seed`` and the epoch's number, from generators of
    their own; nothing outside is seeded. On one kind of machine the same call gives the same network: the
    numerics follow a rule, see `filterwise.training.numerics`, and the processor computes with one thread.

    Parameters
    ----------
    net : moved to the device; afterwards there, in contiguous memory format
    train, test : images uint8 (N, C, H, W) and labels; without ``test`` its columns stay NaN
    recipe : default `Recipe()`, the papers' for the VGG family
    seed : of order, augmentation and dropout; the initial weights are the network's own
    device : ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``
    learn : names of the layers that learn. All other parameters are frozen, and the modules without a part
        that learns stay in evaluation mode: batch norms keep their statistics, dropout is off
    step : a registered step's name, (name, options), or another backward pass, see `Step`; a step that is
        given itself runs in the precision of the numerics
    checkpoint : folder for a checkpoint, written every ``checkpoint_every`` epochs, after the last one, and
        when the training is broken off (Ctrl-C, an error): then of the last whole epoch, whose state the
        network gets back as well
    evaluate_every : epochs between evaluations on ``test``; the last epoch is always evaluated
    progress : True or False; None shows a bar on a terminal and a line an epoch elsewhere
    resume : go on from the folder's checkpoint; False begins anew
    after_epoch : called with each new row of the history; what it raises ends the training, resumable

    Raises ParameterError: a parameter, or the images' or labels' shape or range, is not allowed;
    TrainingDiverged: the loss is no longer finite (epoch, learning rate and last finite loss are named);
    RunError: the checkpoint is that of another training, or of other numerics; TorchvisionMissing: the recipe
    asks for an augmentation of torchvision's, which is not installed.

    >>> ds = ImageSet(torch.zeros(6, 1, 4, 4, dtype=torch.uint8), torch.arange(6) % 2, ("a", "b"))
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    >>> fit(net, ds, ds, Recipe(epochs=2, batch=4), device="cpu", progress=False).final["test_accuracy"]
    0.5
    """
    recipe = recipe or Recipe()
    for name, value, least in (
        ("checkpoint_every", checkpoint_every, 1),
        ("evaluate_every", evaluate_every, 1),
        ("seed", seed, 0),
    ):
        check_count(name, value, least)
    if not isinstance(recipe, Recipe):
        raise refused("recipe", recipe, "give a Recipe, such as RECIPES['group']")
    if checkpoint is not None:
        checkpoints.check_folder(checkpoint)
    form = resolve(recipe, device)
    one_step = make_step(step, recipe, form)
    with threads(form.threads), only_these_learn(net, learn):
        outputs = check_sets(net, train, test, form.device)
        identity = identity_of(net, train, test, recipe, seed, form, learn, step)
        settle_masks(net)
        began = checkpoints.weights_digest(net.state_dict()) if checkpoint is not None else ""
        start = checkpoints.load(checkpoint, identity, began) if checkpoint is not None and resume else None
        place(net, form.device, form.layout)
        optimiser = optimiser_of(net, recipe)
        rows: list[dict[str, Any]] = []
        if start is not None:
            checkpoints.restore(net, optimiser, one_step, start)
            rows, began = list(start.rows), start.began
        held = test.to(form.device) if isinstance(test, ImageSet) else test
        # a step of one's own may keep a batch for later; ours does not
        reuse = is_plain(step)
        feed = Feed(train.images, train.labels, recipe, seed, form.device, form.layout, reuse, outputs)

        def boundary() -> checkpoints.Checkpoint | None:
            if checkpoint is None:
                return None
            remembered = checkpoints.optimiser_state(optimiser), state_of(one_step)
            return checkpoints.take(net, remembered[0], identity, began, rows, remembered[1])

        last, saved = boundary(), len(rows) if start is not None else -1
        try:
            with (
                Progress(progress, recipe.epochs, feed.steps, len(rows)) as bar,
                same_kernels(form.device),
            ):
                for epoch in range(len(rows), recipe.epochs):
                    row = train_epoch(net, optimiser, feed, epoch, one_step, bar.step, learn)
                    close_epoch(net, row, held, recipe.epochs, evaluate_every, form.device)
                    rows.append(row)
                    last = boundary()
                    due = len(rows) == recipe.epochs or len(rows) % checkpoint_every == 0
                    if due and last is not None and checkpoint is not None:
                        checkpoints.save(checkpoint, last)
                        saved = len(rows)
                    bar.epoch(row)
                    if after_epoch is not None:
                        after_epoch(row)
        except BaseException:
            if last is not None and checkpoint is not None:
                checkpoints.restore(net, optimiser, one_step, last)
                if last.epoch != saved:
                    checkpoints.save(checkpoint, last)
            raise
        finally:
            place(net, form.device, torch.contiguous_format)
            settle_masks(net)
    return history_of(rows, form)


def check_sets(
    net: nn.Module, train: ImageSet, test: ImageSet | FolderSet | None, device: torch.device
) -> int:
    """The number of the network's outputs; a ParameterError for images that it does not take and labels that
    it has no output for.
    """
    if not isinstance(train, ImageSet):
        raise ParameterError("train must lie in memory; a folder of pictures gets there by its in_memory()")
    if test is not None and not hasattr(test, "batches"):
        raise ParameterError(f"test is a {type(test).__name__}; an ImageSet or a FolderSet is expected")
    if test is not None and test.shape != train.shape:
        raise ParameterError(f"test has images of shape {test.shape}, train of {train.shape}")
    net.to(device)
    with evaluation_mode(net):
        outputs = answer(net, torch.zeros(1, *train.shape, device=device))
    for part, ds in (("train", train), ("test", test)):
        if ds is not None:
            check_labels(part, ds.labels, outputs.shape[1])
    return int(outputs.shape[1])


def signature(net: nn.Module) -> str:
    """Digest of a network's modules, their options and the shapes of its state; not of its values."""
    shapes = [(name, tuple(value.shape), str(value.dtype)) for name, value in net.state_dict().items()]
    text = f"{type(net).__module__}.{type(net).__qualname__}\n{net!r}\n{shapes}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def identity_of(
    net: nn.Module,
    train: ImageSet,
    test: ImageSet | FolderSet | None,
    recipe: Recipe,
    seed: int,
    form: Numerics,
    learn: Sequence[str] = (),
    step: AnyStep = None,
) -> dict[str, Any]:
    """What makes two trainings the same one, as plain values; a checkpoint of another one is refused."""
    return {
        "network": signature(net),
        **{f"recipe.{key}": value for key, value in recipe.to_dict().items()},
        "seed": int(seed),
        "train": train.digest,
        "test": test.digest if test is not None else None,
        "learn": sorted(learn),
        "step": identity_of_step(step),
        "numerics.device": form.device.type,
        **{f"numerics.{key}": value for key, value in form.to_dict().items()},
    }
