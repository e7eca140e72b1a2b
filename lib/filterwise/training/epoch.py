"""One pass over the training images."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from filterwise.errors import TrainingDiverged
from filterwise.training.device import Timer, own_randomness, place
from filterwise.training.evaluation import evaluate
from filterwise.training.feed import Feed, epoch_seed
from filterwise.training.learning import learning_mode
from filterwise.training.steps import Step, hits

if TYPE_CHECKING:
    from filterwise.data.folder import FolderSet
    from filterwise.data.imageset import ImageSet

# Logits are kept and counted together, so that a step costs no operation for it; 4 MB at a time.
_KEPT = 1 << 20


class Tally:
    """Losses and right answers of an epoch, kept on the device until they are asked for."""

    def __init__(self) -> None:
        self._losses: list[Tensor] = []
        self._sizes: list[int] = []
        self._logits: list[Tensor] = []
        self._labels: list[Tensor] = []
        self._right: list[Tensor] = []
        self._kept = 0

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """One step's mean loss, logits (batch, K) and labels (batch,) or (batch, K); does not wait."""
        self._losses.append(loss)
        self._sizes.append(len(labels))
        self._logits.append(logits)
        self._labels.append(labels)
        self._kept += logits.numel()
        if self._kept >= _KEPT:
            self._count()

    def _count(self) -> None:
        if self._logits:
            self._right.append(hits(torch.cat(self._logits), torch.cat(self._labels)).sum())
        self._logits, self._labels, self._kept = [], [], 0

    def totals(self) -> tuple[list[float], list[int], int]:
        """Mean loss and images of every step, and right answers in all; waits for the device."""
        self._count()
        return torch.stack(self._losses).tolist(), self._sizes, int(torch.stack(self._right).sum())


def epoch_row(
    epoch: int,
    rates: list[float],
    losses: list[float],
    sizes: list[int],
    right: int,
    timer: Timer,
    shared: int = 1,
) -> dict[str, Any]:
    """A row of the history, from each step's learning rate, mean loss and images; the test columns are NaN.

    The timer's seconds are those of ``shared`` networks. A loss that is not finite has no mean.
    """
    images, finite = sum(sizes), all(map(math.isfinite, losses))
    total = math.fsum(loss * size for loss, size in zip(losses, sizes, strict=True)) if finite else math.nan
    return {
        "epoch": epoch + 1,
        "lr": max(rates),
        "train_loss": total / images,
        "train_accuracy": right / images,
        "test_loss": math.nan,
        "test_accuracy": math.nan,
        "seconds": timer.seconds / shared,
        "cpu_seconds": timer.cpu_seconds / shared,
    }


def not_finite(epoch: int, rates: list[float], losses: list[float]) -> str:
    """Which of an epoch's steps was the first to have a loss that is not finite, in words; "" if none."""
    at = next((place for place, loss in enumerate(losses) if not math.isfinite(loss)), None)
    if at is None:
        return ""
    before = f"the last finite loss was {losses[at - 1]:.6g}" if at else "it was the first step"
    return (
        f"the loss is {losses[at]} in epoch {epoch + 1}, step {at + 1} of {len(losses)}, "
        f"at learning rate {rates[at]:g}; {before}"
    )


def train_epoch(
    net: nn.Module,
    optimiser: torch.optim.Optimizer,
    feed: Feed,
    epoch: int,
    step: Step,
    after_step: Callable[[], object] = lambda: None,
    learn: Sequence[str] = (),
) -> dict[str, Any]:
    """Train for one epoch, counted from 0; returns its row of the history, the test columns NaN.

    ``learn``: layers in training mode, all others in evaluation mode; none: all are.
    Raises TrainingDiverged: a loss is not finite.
    """
    recipe, steps = feed.recipe, feed.steps
    tally, rates = Tally(), []
    learning_mode(net, learn)
    before_epoch = getattr(step, "before_epoch", None)
    randomness = own_randomness(epoch_seed(feed.seeds[0], epoch, 1), feed.device)
    with Timer(feed.device) as timer, randomness:
        if before_epoch is not None:
            before_epoch(net, optimiser, epoch, epoch_seed(feed.seeds[0], epoch, 2))
        weights = [weight for group in optimiser.param_groups for weight in group["params"]]
        for number, (images, labels) in enumerate(feed.epoch(epoch), start=epoch * steps):
            rate = recipe.learning_rate(number, steps)
            rates.append(rate)
            for group in optimiser.param_groups:
                group["lr"] = rate
            loss, logits = step(net, images, labels)
            optimiser.step()
            for weight in weights:
                weight.grad = None
            tally.add(loss.detach(), logits.detach(), labels)
            after_step()
    losses, sizes, right = tally.totals()
    reason = not_finite(epoch, rates, losses)
    if reason:
        raise TrainingDiverged(reason)
    return epoch_row(epoch, rates, losses, sizes, right, timer)


def close_epoch(
    net: nn.Module,
    row: dict[str, Any],
    test: ImageSet | FolderSet | None,
    epochs: int,
    evaluate_every: int,
    device: torch.device,
) -> None:
    """What follows an epoch's training: the test columns of its row where they are due, and a check.

    After the last of ``epochs`` the network is brought into contiguous memory first, so that a later
    `evaluate` computes what the last row says, to the bit.
    Raises TrainingDiverged: the network is no longer finite.
    """
    final = row["epoch"] == epochs
    if final:
        place(net, device, torch.contiguous_format)
    if test is not None and (final or row["epoch"] % evaluate_every == 0):
        try:
            result = evaluate(net, test, device=device)
        except TrainingDiverged as error:
            raise TrainingDiverged(_broken(row)) from error
        row.update(test_loss=result.loss, test_accuracy=result.accuracy)
    check_finite(net, row, final)


def check_finite(net: nn.Module, row: dict[str, Any], weights: bool) -> None:
    """Raise TrainingDiverged if the epoch's last step broke the network: by its test loss, if asked by its
    weights as well."""
    finite = math.isfinite(row["test_loss"]) or math.isnan(row["test_accuracy"])
    if finite and weights:
        finite = all(bool(torch.isfinite(weight).all()) for weight in net.parameters())
    if not finite:
        raise TrainingDiverged(_broken(row))


def _broken(row: dict[str, Any]) -> str:
    return (
        f"the network is no longer finite after epoch {row['epoch']} at learning rate {row['lr']:g}; "
        f"the last finite loss was {row['train_loss']:.6g}"
    )
