"""Several networks of one shape as one: stacked weights, computed together by ``torch.func.vmap``.

Under vmap a convolution of S members becomes one grouped convolution, a linear layer one batched product, and
batch normalisation normalises every member's channels by themselves. Each member's loss depends on its own
slice of the weights alone, so that the gradient of the sum of the losses is all members' gradients.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, vmap

from filterwise.data.augmentation import scale
from filterwise.errors import ParameterError, TrainingDiverged
from filterwise.training.device import Timer
from filterwise.training.epoch import check_finite, epoch_row, not_finite
from filterwise.training.feed import Feed
from filterwise.training.learning import settle_masks
from filterwise.training.numerics import Numerics
from filterwise.training.recipe import Recipe
from filterwise.training.steps import autocast

if TYPE_CHECKING:
    from filterwise.data.imageset import ImageSet

State = dict[str, Tensor]

RANDOM = (
    "the network draws random numbers while it trains (dropout?); members that train together cannot keep "
    "their draws apart, so train them one by one with fit"
)


@dataclass(frozen=True)
class Moment:
    """The state of S members: parameters and buffers (S, ...) by name, momentum (S, ...) by weight."""

    tensors: State
    momentum: State


class Stack:
    """S networks of one shape in training, on the feed's device; the feed has S seeds.

    ``recipes``: one a member, equal in all that the members share; ``form``: precision and memory format;
    ``diverged``: for each member why it broke off, or "".
    """

    def __init__(self, members: list[nn.Module], recipes: list[Recipe], feed: Feed, form: Numerics) -> None:
        self.members, self.recipes, self.feed, self.form = members, recipes, feed, form
        self.net = copy.deepcopy(members[0])
        self.diverged = [""] * len(members)
        trained = {name for name, weight in members[0].named_parameters() if weight.requires_grad}
        states = [_tensors(member) for member in members]
        stacks = {name: torch.stack([state[name] for state in states]) for name in states[0]}
        self.rest = {name: stacks[name] for name in stacks if name not in trained}
        self.descent = Descent({name: stacks[name] for name in stacks if name in trained}, recipes)
        self.weights = self.descent.weights

    def train_epoch(self, epoch: int, after_step: Callable[[], object]) -> list[dict[str, Any]]:
        """One pass; one row of the history for each member, the seconds shared equally."""
        members, steps, smoothing = len(self.members), self.feed.steps, self.recipes[0].label_smoothing
        losses, right, sizes, rates = [], [], [], []
        weights = list(self.weights.values())
        self.net.train()
        with Timer(self.feed.device) as timer:
            for number, (images, labels) in enumerate(self.feed.epoch(epoch), start=epoch * steps):
                rates.append([recipe.learning_rate(number, steps) for recipe in self.recipes])
                logits = self._answers(images.unflatten(0, (-1, members)), shared=False)
                labels = labels.unflatten(0, (-1, members)).T
                # (S, K, batch), as cross_entropy wants the labels' axis second
                each = F.cross_entropy(
                    logits.transpose(1, 2), labels, reduction="none", label_smoothing=smoothing
                )
                mean = each.mean(1)
                self.descent.step(torch.autograd.grad(mean.sum(), weights), rates[-1])
                losses.append(mean.detach())
                right.append((logits.detach().argmax(2) == labels).sum(1))
                sizes.append(labels.shape[1])
                after_step()
        by_member = torch.stack(losses, 1).tolist()
        hits = torch.stack(right, 1).sum(1).tolist()
        rows = []
        for member, of in enumerate(by_member):
            own = [rate[member] for rate in rates]
            self.diverged[member] = self.diverged[member] or not_finite(epoch, own, of)
            rows.append(epoch_row(epoch, own, of, sizes, hits[member], timer, members))
        return rows

    def _answers(self, images: Tensor, shared: bool) -> Tensor:
        """Logits float32 (S, batch, K) of images (batch, S, C, H, W), or of shared ones (batch, C, H, W)."""

        def one(weights: State, rest: State, images: Tensor) -> Tensor:
            return functional_call(self.net, (weights, rest), (images,))

        with autocast(self.feed.device, self.form.dtype if not shared else torch.float32):
            try:
                logits = vmap(one, in_dims=(0, 0, None if shared else 1))(self.weights, self.rest, images)
            except RuntimeError as error:
                if "randomness" in str(error):
                    raise ParameterError(RANDOM) from error
                raise
        return logits.float()

    @torch.no_grad()
    def evaluate(self, test: ImageSet, rows: list[dict[str, Any]], batch: int = 500) -> None:
        """Fill the test columns of the members' rows."""
        self.net.eval()
        loss = torch.zeros(len(self.members), dtype=torch.float64)
        right = torch.zeros(len(self.members), dtype=torch.int64)
        for images, labels in test.batches(batch):
            labels = labels.to(self.feed.device)
            logits = self._answers(scale(images.to(self.feed.device)), shared=True)
            wanted = labels.expand(len(self.members), -1)
            each = F.cross_entropy(logits.transpose(1, 2), wanted, reduction="none")
            loss += each.sum(1).cpu().to(torch.float64)
            right += (logits.argmax(2) == wanted).sum(1).cpu()
        for row, total, hits in zip(rows, loss.tolist(), right.tolist(), strict=True):
            row.update(test_loss=total / len(test), test_accuracy=hits / len(test))

    def sound(self) -> list[int]:
        """The members that did not break off."""
        return [member for member, reason in enumerate(self.diverged) if not reason]

    def check_finite(self, rows: list[dict[str, Any]], weights: bool) -> None:
        """Look at the members after an epoch; the reasons of those that broke off go to ``diverged``."""
        for member, row in enumerate(rows):
            if self.diverged[member]:
                continue
            if weights:
                self.hand_over(member)
            try:
                check_finite(self.members[member], row, weights)
            except TrainingDiverged as error:
                self.diverged[member] = str(error)

    def moment(self) -> Moment:
        """A copy of the state of all members as it is now; later steps do not change it."""
        tensors = {**self.weights, **self.rest}
        copies = {name: value.detach().clone() for name, value in tensors.items()}
        return Moment(copies, {name: value.clone() for name, value in self.descent.momentum.items()})

    def optimiser_state(self, member: int, moment: Moment) -> State:
        """A member's momentum as `fit`'s optimiser would have it, see `Checkpoint`."""
        if self.recipes[member].momentum == 0:
            return {}
        return {
            f"{place}/momentum_buffer": value[member] for place, value in enumerate(moment.momentum.values())
        }

    @torch.no_grad()
    def set_optimiser_state(self, member: int, state: Mapping[str, Any]) -> None:
        """What `optimiser_state` gave, put back; a place that it does not name has none."""
        for place, value in enumerate(self.descent.momentum.values()):
            held = state.get(f"{place}/momentum_buffer")
            if held is None:
                value[member].zero_()
            else:
                value[member].copy_(held)

    @torch.no_grad()
    def hand_over(self, member: int, moment: Moment | None = None) -> None:
        """Put a member's state, as it is now or was at a ``moment``, into its own network."""
        for name, value in _tensors(self.members[member]).items():
            if moment is not None:
                value.copy_(moment.tensors[name][member])
            else:
                value.copy_((self.weights if name in self.weights else self.rest)[name][member])
        settle_masks(self.members[member])


class Descent:
    """Stochastic gradient descent for stacked weights (S, ...), with a recipe (rate, momentum, L2) a member.

    All weights lie in one stretch of memory, so that a step is a handful of operations on it.
    """

    def __init__(self, weights: State, recipes: list[Recipe]) -> None:
        first = next(iter(weights.values()))
        self.device, self.nesterov = first.device, recipes[0].nesterov
        self._flat = torch.cat([weight.flatten() for weight in weights.values()])
        self._momentum = torch.zeros_like(self._flat)

        def windows(flat: Tensor) -> State:
            parts = flat.split([weight.numel() for weight in weights.values()])
            return {
                name: part.view(weight.shape)
                for (name, weight), part in zip(weights.items(), parts, strict=True)
            }

        #: the weights as they are trained, and their momentum: windows into the one stretch
        self.weights = {name: part.requires_grad_() for name, part in windows(self._flat).items()}
        self.momentum = windows(self._momentum)
        members = torch.arange(len(recipes), device=self.device)
        self._member = torch.cat(
            [members.repeat_interleave(weight[0].numel()) for weight in weights.values()]
        )
        self._keep = self._spread([recipe.momentum for recipe in recipes])
        self._pull = self._spread([recipe.weight_decay for recipe in recipes])
        self._rates: list[float] = []

    def _spread(self, values: list[float]) -> Tensor:
        """Each member's value at its weights; a single one where they are all equal."""
        if len(set(values)) == 1:
            return torch.tensor(values[0], device=self.device)
        return torch.tensor(values, device=self.device).index_select(0, self._member)

    @torch.no_grad()
    def step(self, gradients: tuple[Tensor, ...], rates: list[float]) -> None:
        """Move the weights; ``rates`` are the members' learning rates."""
        if rates != self._rates:
            self._rates, self._rate = rates, self._spread(rates)
        gradient = torch.cat([gradient.flatten() for gradient in gradients])
        gradient.addcmul_(self._flat, self._pull)
        self._momentum.mul_(self._keep).add_(gradient)
        move = gradient.addcmul_(self._momentum, self._keep) if self.nesterov else self._momentum
        self._flat.addcmul_(move, self._rate, value=-1)


def _tensors(net: nn.Module) -> State:
    """Parameters and buffers by name, those left out of ``state_dict`` as well."""
    return {name: value.detach() for name, value in [*net.named_parameters(), *net.named_buffers()]}
