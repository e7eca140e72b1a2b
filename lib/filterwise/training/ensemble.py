"""Many small networks at once: seeds, or learning rates, of one network stacked and trained as one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from filterwise.errors import ParameterError, RunError, check_count
from filterwise.training import checkpoint as checkpoint_file
from filterwise.training.device import own_randomness, same_kernels, threads
from filterwise.training.feed import Feed
from filterwise.training.history import History, history_of, mean_row
from filterwise.training.learning import settle_masks
from filterwise.training.loop import check_sets, identity_of, signature
from filterwise.training.numerics import Numerics, resolve
from filterwise.training.progress import Progress
from filterwise.training.recipe import Recipe
from filterwise.training.stacked import RANDOM, Moment, Stack

if TYPE_CHECKING:
    from filterwise.data.imageset import ImageSet

#: What must be at its default: the stack moves weights by SGD, and draws that a batch shares would be shared
#: by the members.
ALONE = ("optimiser", "mixup", "cutmix", "random_erasing", "rand_augment")

#: What all members share, because they go through their batches in step.
SHARED = (
    *("epochs", "batch", "nesterov", "label_smoothing", "flip", "shift", "precision", "memory_format"),
    *ALONE,
)


def fit_many(
    nets: Sequence[nn.Module] | Callable[[int], nn.Module],
    train: ImageSet,
    test: ImageSet | None = None,
    recipes: Recipe | Sequence[Recipe] | None = None,
    seeds: Sequence[int] | None = None,
    device: str | torch.device = "auto",
    *,
    checkpoints: Sequence[str | Path] | None = None,
    checkpoint_every: int = 5,
    evaluate_every: int = 1,
    progress: bool | None = None,
    after_epoch: Callable[[Mapping[str, Any]], object] | None = None,
) -> list[History]:
    """Train several networks of one kind together; each sees what its own ``fit(..., seed)`` would show it.

    The members' weights are stacked and one ``torch.func.vmap`` computes them all, which fills a GPU that one
    small network leaves idle. On the CPU it is slower than training in turn. Sums are rounded otherwise than
    for one network, so that the histories' numerics have the engine ``stacked-S`` for S members.

    Parameters
    ----------
    nets : networks, trained in place, or a function that builds one from a seed
    train, test : as in `fit`, with one label an image
    recipes : one for all, or one for each; these may differ in learning rate, momentum, weight decay and
        schedule
    seeds : one for each member; by default 0, 1, 2, ...
    checkpoints : a folder for each member; all are of the same epoch, and of the same number of members
    checkpoint_every, evaluate_every, progress, after_epoch : as in `fit`; rows that are shown, or given to
        ``after_epoch``, are means over the members that are sound

    Returns one history a member. A member whose loss is no longer finite ends there, its reason in
    ``diverged``; the others go on unharmed. Its checkpoint is that of its last whole epoch. ``seconds`` is
    the member's share.
    Raises ParameterError: the members differ in more than they may, a network has random layers such as
    dropout, whose draws cannot be kept apart, the recipe asks for AdamW or for augmentation that batches
    share, or what `fit` refuses; RunError: the checkpoints are of other trainings, other numerics or
    different epochs: begin anew, in other folders.

    >>> from filterwise import data, models
    >>> train = data.load("parts", labels=3, n=12)
    >>> build = lambda seed: models.build("vgg", 3, channels=1, size=16, stages=((2, 1), (2, 1)), seed=seed)
    >>> histories = fit_many(build, train, None, Recipe(epochs=1, batch=6), (0, 1), "cpu", progress=False)
    >>> [history.numerics.engine for history in histories]
    ['stacked-2', 'stacked-2']
    """
    check_count("evaluate_every", evaluate_every, 1)
    check_count("checkpoint_every", checkpoint_every, 1)
    if seeds is None:
        if callable(nets):
            raise ParameterError(
                "seeds=None is not allowed where nets is a function; give one for each member"
            )
        seeds = range(len(nets))
    members = [nets(seed) for seed in seeds] if callable(nets) else list(nets)
    each = _checked(members, recipes, seeds)
    if checkpoints is not None and len({str(folder) for folder in checkpoints}) < len(members):
        raise ParameterError(f"checkpoints={list(map(str, checkpoints))} must be {len(members)} folders")
    for folder in checkpoints or ():
        checkpoint_file.check_folder(folder)
    form = resolve(each[0], device, f"stacked-{len(members)}")
    with own_randomness(0, form.device), threads(form.threads):
        for net in members:
            check_sets(net, train, test, form.device)
            settle_masks(net)
        if any(ds is not None and ds.labels.is_floating_point() for ds in (train, test)):
            raise ParameterError("members that train together take one label an image; use fit for shares")
        keeper = _Keeper(checkpoints, members, train, test, each, seeds, form)
        feed = Feed(train.images, train.labels, each[0], seeds, form.device, reuse=True)
        stack = Stack(members, each, feed, form)
        keeper.restore(stack)
        return _epochs(stack, keeper, test, checkpoint_every, evaluate_every, progress, after_epoch)


def _checked(
    members: list[nn.Module], recipes: Recipe | Sequence[Recipe] | None, seeds: Sequence[int]
) -> list[Recipe]:
    """One recipe a member, after checking that the members fit together."""
    if not members:
        raise ParameterError("nets is empty; at least one network is needed")
    if len(seeds) != len(members):
        raise ParameterError(f"there are {len(members)} nets and {len(seeds)} seeds; give one seed for each")
    for seed in seeds:
        check_count("seed", seed, 0)
    each = [recipes or Recipe()] * len(members) if isinstance(recipes, Recipe | None) else list(recipes)
    if len(each) != len(members):
        raise ParameterError(
            f"there are {len(members)} nets and {len(each)} recipes; give one, or one for each"
        )
    for place, recipe in enumerate(each):
        for name in SHARED:
            mine, first = getattr(recipe, name), getattr(each[0], name)
            if mine != first:
                raise ParameterError(f"{name}={mine!r} of member {place} differs from {first!r} of member 0")
    for name in ALONE:
        value, default = getattr(each[0], name), getattr(Recipe(), name)
        if value != default:
            raise ParameterError(
                f"{name}={value!r} is not for members that train together; train them one by one with fit"
            )
    kinds = {signature(net) for net in members}
    if len(kinds) > 1:
        raise ParameterError(f"nets are of {len(kinds)} different shapes; only equal ones train together")
    if len({id(net) for net in members}) < len(members):
        raise ParameterError("nets holds the same network twice; each member needs its own")
    for name, module in members[0].named_modules():
        if getattr(module, "p", 0) and "dropout" in type(module).__name__.lower():
            raise ParameterError(f"{RANDOM}; here in the layer {name!r}")
    return each


class _Keeper:
    """The members' rows, and their checkpoints in one folder each, if there are folders."""

    def __init__(
        self,
        folders: Sequence[str | Path] | None,
        members: list[nn.Module],
        train: ImageSet,
        test: ImageSet | None,
        recipes: list[Recipe],
        seeds: Sequence[int],
        form: Numerics,
    ) -> None:
        self.folders = folders
        self.rows: list[list[dict[str, Any]]] = [[] for _ in members]
        self.starts: list[checkpoint_file.Checkpoint | None] = [None] * len(members)
        self.moment: Moment | None = None
        if folders is None:
            return
        self.identities = [
            identity_of(net, train, test, recipe, seed, form)
            for net, recipe, seed in zip(members, recipes, seeds, strict=True)
        ]
        self.began = [checkpoint_file.weights_digest(net.state_dict()) for net in members]
        self.starts = [
            checkpoint_file.load(*each) for each in zip(folders, self.identities, self.began, strict=True)
        ]
        epochs = sorted({0 if start is None else start.epoch for start in self.starts})
        if len(epochs) > 1:
            raise RunError(
                f"the members' checkpoints are of different epochs, {', '.join(map(str, epochs))}; train "
                "those of one epoch together, or give other folders"
            )
        for member, start in enumerate(self.starts):
            if start is not None:
                self.rows[member], self.began[member] = list(start.rows), start.began
                members[member].load_state_dict(start.weights)
        self.saved = [-1 if start is None else start.epoch for start in self.starts]

    def restore(self, stack: Stack) -> None:
        """Put the checkpoints' momentum into a stack of the members, whose weights they have."""
        for member, start in enumerate(self.starts):
            if start is not None:
                stack.set_optimiser_state(member, start.optimiser)
        self.keep(stack, self.rows)

    def keep(self, stack: Stack, rows: list[list[dict[str, Any]]]) -> None:
        """Remember the state of all members as it is now, after these rows."""
        # they belong together: nothing that can be interrupted lies between
        moment = stack.moment() if self.folders is not None else None
        self.moment, self.rows = moment, rows

    def save(self, stack: Stack, member: int) -> None:
        """Write a member's checkpoint of what was kept unless it is there; its network gets that state."""
        if self.folders is None or self.moment is None:
            return
        stack.hand_over(member, self.moment)
        rows = self.rows[member]
        if self.saved[member] != len(rows):
            state = stack.optimiser_state(member, self.moment)
            net, identity = stack.members[member], self.identities[member]
            checkpoint = checkpoint_file.take(net, state, identity, self.began[member], rows)
            checkpoint_file.save(self.folders[member], checkpoint)
            self.saved[member] = len(rows)


def _epochs(
    stack: Stack,
    keeper: _Keeper,
    test: ImageSet | None,
    checkpoint_every: int,
    evaluate_every: int,
    progress: bool | None,
    after_epoch: Callable[[Mapping[str, Any]], object] | None,
) -> list[History]:
    epochs, done, device = stack.recipes[0].epochs, len(keeper.rows[0]), stack.form.device
    try:
        with Progress(progress, epochs, stack.feed.steps, done) as bar, same_kernels(device):
            for epoch in range(done, epochs):
                before = stack.sound()
                latest = stack.train_epoch(epoch, bar.step)
                final = epoch + 1 == epochs
                if test is not None and (final or (epoch + 1) % evaluate_every == 0):
                    stack.evaluate(test, latest)
                stack.check_finite(latest, final)
                sound = stack.sound()
                for member in before:
                    if member not in sound:
                        keeper.save(stack, member)
                rows = [
                    [*of, row] if member in sound else of
                    for member, (of, row) in enumerate(zip(keeper.rows, latest, strict=True))
                ]
                keeper.keep(stack, rows)
                if final or (epoch + 1) % checkpoint_every == 0:
                    for member in sound:
                        keeper.save(stack, member)
                if not sound:
                    break
                mean = mean_row([latest[member] for member in sound])
                bar.epoch(mean)
                if after_epoch is not None:
                    after_epoch(mean)
    except BaseException:
        for member in stack.sound():
            keeper.save(stack, member)
        raise
    finally:
        if keeper.folders is None:
            for member in range(len(stack.members)):
                stack.hand_over(member)
    if keeper.folders is not None:  # a member that diverged has the state of its checkpoint
        for member in stack.sound():
            stack.hand_over(member)
    return [
        history_of(of, stack.form, reason) for of, reason in zip(keeper.rows, stack.diverged, strict=True)
    ]
