"""Whether several networks train faster together than one after the other: timed once, then remembered.

On a GPU a small network leaves most of the device idle, and a stack of them fills it; a large one fills it
alone, and a stack only costs memory. Where one turns into the other cannot be read off the network. So a few
steps of the stack are timed against as many of one network, both as they would be trained, and the answer is
kept where the device policy keeps its own, see `filterwise.training.policy_store`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from filterwise.errors import FilterwiseError, check_at_least
from filterwise.training import policy_store
from filterwise.training.device import fastest_kernels, own_randomness, pick_device, place
from filterwise.training.device_policy import Policy, copy_of, policy
from filterwise.training.epoch import train_epoch
from filterwise.training.feed import Feed
from filterwise.training.recipe import Recipe
from filterwise.training.stacked import Stack
from filterwise.training.stacked_loop import stacked_form
from filterwise.training.step import backprop, sgd

#: The stack must beat the members one after the other by this factor; less is not worth tying them together.
MARGIN = 1.1
_STEPS = 10  # in a row: on a GPU steps overlap with their launching
_ROUNDS = 3  # at most; the best one counts
_SECONDS = 3.0  # timed for each of the two, about


@dataclass(frozen=True)
class Decision:
    """Whether to train together, and why."""

    together: bool
    why: str


def faster_together(
    net: nn.Module,
    members: int,
    shape: Sequence[int],
    device: str | torch.device = "auto",
    recipe: Recipe | None = None,
) -> Decision:
    """Decide whether ``members`` networks like ``net`` are trained together by ``fit_many``.

    The processor gets no probe: there the members of a sweep are trained by processes beside each other, and
    a stack computes them at 0.6 to 0.9 times the speed of one after the other (``benchmarks/ensemble.py``).
    Elsewhere training steps on random images are timed, batches included, once per machine, torch, network,
    batch shape and number of members rounded up to a power of two. The time is that of a process which has
    the device for itself. Neither the network nor any random state is touched.

    Parameters
    ----------
    shape : (batch, channels, height, width) of one member's batches

    Raises
    ------
    ParameterError
        The device is unknown or absent, or ``members`` is not positive.

    >>> faster_together(nn.Linear(2, 2), 8, (10, 3, 8, 8), "cpu")
    Decision(together=False, why='on the CPU members train in processes beside each other')
    """
    check_at_least("members", members, 1)
    where, recipe = pick_device(device), recipe or Recipe()
    if where.type == "cpu":
        return Decision(False, "on the CPU members train in processes beside each other")
    if members == 1:
        return Decision(False, "there is only one")
    members = 1 << (members - 1).bit_length()
    return _probed(net, members, tuple(shape), where, recipe)


def _probed(
    net: nn.Module, members: int, shape: tuple[int, ...], device: torch.device, recipe: Recipe
) -> Decision:
    alone, stacked = policy(net, shape, device, recipe), stacked_form(net, shape, device, recipe)
    forms = [
        (way, f"{form.precision} {form.layout}") for way, form in (("alone", alone), ("together", stacked))
    ]
    key = {**policy_store.key(net, shape, device, forms), "members": members}
    stored = policy_store.read(key, forms)
    if stored is None:
        with policy_store.locked(key):
            # another process may have timed it while this one waited
            stored = policy_store.read(key, forms)
            if stored is None:
                try:
                    with own_randomness(0, device), fastest_kernels(device):
                        one, all_ = _time(net, members, shape, device, recipe, alone, stacked)
                except (FilterwiseError, RuntimeError) as error:
                    # random layers, an operation without a stacked form; not kept: memory may be short today
                    return Decision(False, f"{members} of them cannot be stacked: {error}")
                faster = all_ * MARGIN < members * one
                policy_store.write(key, forms[faster], {forms[0]: members * one, forms[1]: all_})
                why = f"timed: {members} alone {1e3 * members * one:.3g} ms, together {1e3 * all_:.3g} ms"
                return Decision(faster, f"{why} a step")
    return Decision(stored == forms[1], "timed before on this machine")


def _time(
    net: nn.Module,
    members: int,
    shape: tuple[int, ...],
    device: torch.device,
    recipe: Recipe,
    alone: Policy,
    stacked: Policy,
) -> tuple[float, float]:
    """Seconds of one member's step alone, and of a step of all members together; the best of some rounds."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (_STEPS * shape[0], *shape[1:]), dtype=torch.uint8, generator=generator)
    labels = torch.zeros(len(images), dtype=torch.int64)
    recipe = recipe.replace(lr=1e-6, batch=shape[0])

    one = place(copy_of(net), device, alone.memory_format)
    feed = Feed(images, labels, recipe, 0, device, alone.memory_format, reuse=True)
    optimiser, step = sgd(one, recipe), backprop(recipe, device, alone.dtype)
    nets = [place(copy_of(net), device, torch.contiguous_format) for _ in range(members)]
    stack = Stack(
        nets, [recipe] * members, Feed(images, labels, recipe, range(members), device, reuse=True), stacked
    )

    def solo() -> float:
        return float(train_epoch(one, optimiser, feed, 0, step)["seconds"]) / _STEPS

    def together() -> float:
        return float(stack.train_epoch(0, lambda: None)[0]["seconds"]) * members / _STEPS

    best = []
    for way in (solo, together):
        way()  # prepares kernels
        seconds = way()
        rounds = max(0, min(_ROUNDS - 1, math.ceil(_SECONDS / (seconds * _STEPS)) - 1))
        best.append(min([seconds, *(way() for _ in range(rounds))]))
    return best[0], best[1]
