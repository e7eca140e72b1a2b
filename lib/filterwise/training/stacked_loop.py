"""The training loop of stacked members, each with the checkpoints that it would have alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from filterwise.errors import RunError
from filterwise.training import checkpoint as checkpoints_
from filterwise.training.checkpoint import Checkpoint
from filterwise.training.device import fastest_kernels
from filterwise.training.device_policy import Policy, policy
from filterwise.training.feed import Feed
from filterwise.training.history import History, history_of, mean_row
from filterwise.training.loop import identity_of
from filterwise.training.progress import Progress
from filterwise.training.recipe import Recipe
from filterwise.training.stacked import Moment, Stack

if TYPE_CHECKING:
    from filterwise.data import ImageSet


def stacked_form(net: nn.Module, shape: Sequence[int], device: torch.device, recipe: Recipe) -> Policy:
    """How members are computed: what the recipe leaves open is the plain form, because one network's timing
    says nothing of the stack's."""
    plain = {"precision": "float32", "memory_format": "contiguous"}
    fixed = {name: value for name, value in plain.items() if getattr(recipe, name) == "auto"}
    return policy(net, shape, device, recipe.replace(**fixed))


class Keeper:
    """The checkpoints of the members, in one folder each.

    Parameters
    ----------
    folders : one a member
    identities, began : of each member's training, as `fit` has them
    """

    def __init__(
        self, folders: Sequence[str | Path], identities: list[dict[str, Any]], began: list[str]
    ) -> None:
        self.folders, self.identities, self.began = list(folders), identities, began
        self.starts = [checkpoints_.load(*each) for each in zip(self.folders, identities, began, strict=True)]
        epochs = sorted({0 if start is None else start.epoch for start in self.starts})
        if len(epochs) > 1:
            raise RunError(
                f"the members' checkpoints are of different epochs, {', '.join(map(str, epochs))}; train "
                "them one by one with fit, or give other folders"
            )
        self.epoch = epochs[0]
        self.began = [
            start.began if start is not None else of for start, of in zip(self.starts, began, strict=True)
        ]
        self.saved = [self.epoch if start is not None else -1 for start in self.starts]

    def form(self, device: torch.device, otherwise: Policy) -> Policy:
        """The form that the members were computed in before, on this kind of device."""
        before = [
            Policy.from_dict(start.policy)
            for start in self.starts
            if start is not None and torch.device(start.policy["device"]).type == device.type
        ]
        forms = {(form.precision, form.layout) for form in before}
        if len(forms) > 1:
            raise RunError(
                f"the members' checkpoints were computed in different forms, {sorted(forms)}; train them one "
                "by one with fit, or give other folders"
            )
        return replace(before[0], device=device) if before else otherwise

    def save(self, stack: Stack, member: int, moment: Moment, rows: list[dict[str, Any]]) -> None:
        """Write a member's checkpoint of a ``moment`` unless it is there; its network gets that state."""
        stack.hand_over(member, moment)
        if self.saved[member] == len(rows):
            return
        checkpoint = checkpoints_.take(
            stack.members[member],
            stack.momentum(member, moment),
            self.identities[member],
            self.began[member],
            rows,
            stack.form.to_dict(),
        )
        checkpoints_.save(self.folders[member], checkpoint)
        self.saved[member] = len(rows)


def train_stack(
    members: list[nn.Module],
    train: ImageSet,
    test: ImageSet | None,
    recipes: list[Recipe],
    seeds: list[int],
    device: torch.device,
    *,
    checkpoints: Sequence[str | Path] | None = None,
    checkpoint_every: int = 5,
    evaluate_every: int = 1,
    progress: bool | None = None,
    after_epoch: Callable[[Mapping[str, Any]], object] | None = None,
) -> list[History]:
    """What `fit_many` does with its engine "stacked"; the parameters are its own, checked before.

    Raises
    ------
    RunError
        The checkpoints are of other trainings, of different epochs or in different forms.
    """
    keeper = None
    if checkpoints is not None:
        identities = [
            identity_of(net, train, test, recipe, seed)
            for net, recipe, seed in zip(members, recipes, seeds, strict=True)
        ]
        began = [checkpoints_.weights_digest(net.state_dict()) for net in members]
        keeper = Keeper(checkpoints, identities, began)
    form = stacked_form(members[0], (1, *train.shape), device, recipes[0])
    form = keeper.form(device, form) if keeper is not None else form
    starts: list[Checkpoint | None] = keeper.starts if keeper is not None else [None] * len(members)
    for net, start in zip(members, starts, strict=True):
        if start is not None:
            net.load_state_dict(start.weights)
    feed = Feed(train.images, train.labels, recipes[0], seeds, device, reuse=True)
    stack = Stack(members, recipes, feed, form)
    rows: list[list[dict[str, Any]]] = [[] if start is None else list(start.rows) for start in starts]
    for member, start in enumerate(starts):
        if start is not None:
            stack.set_momentum(member, start.momentum)

    epochs, done = recipes[0].epochs, len(rows[0])
    last = stack.moment() if keeper is not None else None
    try:
        with Progress(progress, epochs, feed.steps, done) as bar, fastest_kernels(device):
            for epoch in range(done, epochs):
                before = [not reason for reason in stack.diverged]
                latest = stack.train_epoch(epoch, bar.step)
                final = epoch + 1 == epochs
                if test is not None and (final or (epoch + 1) % evaluate_every == 0):
                    stack.evaluate(test, latest)
                alive = stack.check_finite(latest, final)
                for member in range(len(members)):
                    if keeper is not None and last is not None and before[member] and not alive[member]:
                        keeper.save(stack, member, last, rows[member])
                # state and rows of an epoch belong together: nothing that can be interrupted lies between
                now = stack.moment() if keeper is not None else None
                grown = [
                    [*of, row] if sound else of for of, row, sound in zip(rows, latest, alive, strict=True)
                ]
                last, rows = now, grown
                if keeper is not None and last is not None and (final or (epoch + 1) % checkpoint_every == 0):
                    for member in _sound(stack):
                        keeper.save(stack, member, last, rows[member])
                if not any(alive):
                    break
                mean = mean_row([row for row, sound in zip(latest, alive, strict=True) if sound])
                bar.epoch(mean)
                if after_epoch is not None:
                    after_epoch(mean)
    except BaseException:
        for member in _sound(stack):
            if keeper is not None and last is not None:
                keeper.save(stack, member, last, rows[member])
        raise
    finally:
        if keeper is None:
            for member in range(len(members)):
                stack.hand_over(member)
    if keeper is not None:  # a member that diverged has the state of its checkpoint
        for member in _sound(stack):
            stack.hand_over(member)
    return [history_of(of, form, reason) for of, reason in zip(rows, stack.diverged, strict=True)]


def _sound(stack: Stack) -> list[int]:
    return [member for member, reason in enumerate(stack.diverged) if not reason]
