"""Many small networks at once: seeds, or learning rates, of one network trained together on one device."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from filterwise.errors import ParameterError, TrainingDiverged, check_at_least, check_choice
from filterwise.training import policy_store
from filterwise.training.device import own_randomness, pick_device, place, threads
from filterwise.training.device_policy import policy
from filterwise.training.epoch import close_epoch, train_epoch
from filterwise.training.feed import Feed
from filterwise.training.history import History, history_of, mean_row
from filterwise.training.loop import check_sets
from filterwise.training.progress import Progress
from filterwise.training.recipe import Recipe
from filterwise.training.stacked import RANDOM
from filterwise.training.stacked_loop import train_stack
from filterwise.training.step import backprop, sgd

if TYPE_CHECKING:
    from filterwise.data import ImageSet

ENGINES = ("auto", "stacked", "threads")

#: What all members share, because they go through their batches in step.
SHARED = ("epochs", "batch", "nesterov", "label_smoothing", "flip", "shift", "precision", "memory_format")


def fit_many(
    nets: Sequence[nn.Module] | Callable[[int], nn.Module],
    train: ImageSet,
    test: ImageSet | None = None,
    recipes: Recipe | Sequence[Recipe] | None = None,
    seeds: Sequence[int] | None = None,
    device: str | torch.device = "auto",
    *,
    engine: str = "auto",
    checkpoints: Sequence[str | Path] | None = None,
    checkpoint_every: int = 5,
    evaluate_every: int = 1,
    progress: bool | None = None,
    after_epoch: Callable[[Mapping[str, Any]], object] | None = None,
) -> list[History]:
    """Train several networks of one kind together; each sees what its own ``fit(..., seed)`` would show it.

    Two ways of doing it. "stacked": the members' weights are stacked and one ``torch.func.vmap`` computes
    them all, which fills a GPU that one small network leaves idle. "threads": each member is trained by one
    CPU thread, as many at a time as torch has threads, which wastes nothing on splitting small operations.
    "auto" takes threads on the CPU, where stacking is slower than training in turn, and stacks elsewhere and
    where checkpoints are asked for, which threads cannot keep: each is at another epoch.

    Parameters
    ----------
    nets : networks, trained in place, or a function that builds one from a seed
    train, test : as in `fit`
    recipes : one for all, or one for each; these may differ in learning rate, momentum, weight decay and
        schedule
    seeds : one for each member; by default 0, 1, 2, ...
    engine : "auto", "stacked" or "threads"
    checkpoints : a folder for each member, for the checkpoint that `fit` would write there, so that `fit` can
        go on with one member and `fit_many` with those that `fit` has left; all are of the same epoch
    checkpoint_every : as in `fit`
    evaluate_every : epochs between evaluations on ``test``; the last epoch is always evaluated
    progress : as in `fit`; a row shows the means over the members
    after_epoch : as in `fit`, called with the means over the members that are sound; stacked members only

    Returns
    -------
    One history a member. A member whose loss is no longer finite ends there, its reason in ``diverged``; the
    others go on unharmed. Its checkpoint is that of its last whole epoch. ``seconds`` is the member's share
    where the members are stacked, and its thread's own time otherwise.

    Raises
    ------
    ParameterError
        The members differ in more than they may, a network has random layers such as dropout, whose draws
        cannot be kept apart, or what `fit` refuses.
    RunError
        The checkpoints are of other trainings, of different epochs or in different forms: train the members
        one by one with `fit`.

    >>> from filterwise import data, models
    >>> ds = data.ImageSet(torch.zeros(6, 1, 4, 4, dtype=torch.uint8), torch.arange(6) % 2, ("a", "b"))
    >>> nets = [nn.Sequential(nn.Flatten(), nn.Linear(16, 2)) for _ in range(2)]
    >>> recipe = Recipe(epochs=2, batch=4)
    >>> histories = fit_many(nets, ds, ds, recipe, seeds=(0, 1), device="cpu", progress=False)
    >>> [history.final["test_accuracy"] for history in histories]
    [0.5, 0.5]
    """
    check_choice("engine", engine, ENGINES)
    check_at_least("evaluate_every", evaluate_every, 1)
    check_at_least("checkpoint_every", checkpoint_every, 1)
    if seeds is None:
        if callable(nets):
            raise ParameterError(
                "seeds=None is not allowed where nets is a function; give one for each member"
            )
        seeds = range(len(nets))
    members = [nets(seed) for seed in seeds] if callable(nets) else list(nets)
    each = _checked(members, recipes, seeds)
    where = pick_device(device)
    for net in members:
        check_sets(net, train, test, where)
    stacked_only = checkpoints is not None or after_epoch is not None
    if engine == "auto":
        engine = "threads" if where.type == "cpu" and not stacked_only else "stacked"
    if engine == "threads" and where.type != "cpu":
        raise ParameterError(f"engine='threads' is for the CPU, not {where}; choose 'stacked'")
    if engine == "threads" and stacked_only:
        raise ParameterError("engine='threads' has no checkpoints and no after_epoch; choose 'stacked'")
    if checkpoints is not None and len({str(folder) for folder in checkpoints}) < len(members):
        raise ParameterError(f"checkpoints={list(map(str, checkpoints))} must be {len(members)} folders")
    with own_randomness(0, where):
        if engine == "threads":
            return _in_threads(members, train, test, each, list(seeds), where, evaluate_every, progress)
        return train_stack(
            members, train, test, each, list(seeds), where,
            checkpoints=checkpoints, checkpoint_every=checkpoint_every, evaluate_every=evaluate_every,
            progress=progress, after_epoch=after_epoch,
        )  # fmt: skip


def _checked(
    members: list[nn.Module], recipes: Recipe | Sequence[Recipe] | None, seeds: Sequence[int]
) -> list[Recipe]:
    """One recipe a member, after checking that the members fit together."""
    if not members:
        raise ParameterError("nets is empty; at least one network is needed")
    if len(seeds) != len(members):
        raise ParameterError(f"there are {len(members)} nets and {len(seeds)} seeds; give one seed for each")
    for seed in seeds:
        check_at_least("seed", seed, 0)
    each = [recipes or Recipe()] * len(members) if isinstance(recipes, Recipe | None) else list(recipes)
    if len(each) != len(members):
        raise ParameterError(
            f"there are {len(members)} nets and {len(each)} recipes; give one, or one for each"
        )
    for place_, recipe in enumerate(each):
        for name in SHARED:
            mine, first = getattr(recipe, name), getattr(each[0], name)
            if mine != first:
                raise ParameterError(f"{name}={mine!r} of member {place_} differs from {first!r} of member 0")
    kinds = {policy_store.signature(net) for net in members}
    if len(kinds) > 1:
        raise ParameterError(f"nets are of {len(kinds)} different shapes; only equal ones train together")
    if len({id(net) for net in members}) < len(members):
        raise ParameterError("nets holds the same network twice; each member needs its own")
    for name, module in members[0].named_modules():
        if getattr(module, "p", 0) and "dropout" in type(module).__name__.lower():
            raise ParameterError(f"{RANDOM}; here in the layer {name!r}")
    return each


class _Stopped(Exception):
    """Another member failed, or Ctrl-C."""


def _in_threads(
    members: list[nn.Module],
    train: ImageSet,
    test: ImageSet | None,
    recipes: list[Recipe],
    seeds: list[int],
    device: torch.device,
    evaluate_every: int,
    progress: bool | None,
) -> list[History]:
    shape = (min(recipes[0].batch, len(train)), *train.shape)
    form = policy(members[0], shape, device, recipes[0])
    shared = Feed(train.images, train.labels, recipes[0], seeds[0], device, form.memory_format, reuse=True)
    untouched = torch.default_generator.get_state()
    stop, lock, epochs = threading.Event(), threading.Lock(), recipes[0].epochs
    rows: list[list[dict[str, Any]]] = [[] for _ in members]

    def check() -> None:
        if stop.is_set():
            raise _Stopped

    def tell(bar: Progress, epoch: int) -> None:
        with lock:
            done = [member[epoch] for member in rows if len(member) > epoch]
            if len(done) == len(rows):
                bar.epoch(mean_row(done))

    def one(number: int, bar: Progress) -> History:
        net, recipe = place(members[number], device, form.memory_format), recipes[number]
        feed, optimiser = shared.with_seed(seeds[number], recipe), sgd(net, recipe)
        step = backprop(recipe, device, form.dtype)
        try:
            for epoch in range(epochs):
                row = train_epoch(net, optimiser, feed, epoch, step, check, alone=False)
                if not torch.equal(untouched, torch.default_generator.get_state()):
                    raise ParameterError(RANDOM)
                close_epoch(net, row, test, epochs, evaluate_every, device)
                rows[number].append(row)
                tell(bar, epoch)
        except TrainingDiverged as error:
            return history_of(rows[number], form, str(error))
        finally:
            place(net, device, torch.contiguous_format)
        return history_of(rows[number], form)

    workers = min(torch.get_num_threads(), len(members))
    # one thread inside each member; set before the pool's threads begin, which then start with it
    with threads(1), Progress(progress, epochs, shared.steps) as bar, ThreadPoolExecutor(workers) as pool:
        tasks = [pool.submit(one, number, bar) for number in range(len(members))]
        try:
            return [task.result() for task in tasks]
        except BaseException:
            stop.set()
            for task in tasks:
                task.cancel()
            raise
