"""One training step, and the seam where another backward pass can be put in: registered steps.

A registered step is a factory ``f(recipe, device, dtype, **options) -> Step``, so that a run can name it; a
paper's own is in its folder's ``backward.py``.

>>> @steps("doctest-sign")  # the sign of every gradient
... def signs(recipe, device, dtype):
...     plain = backprop(recipe, device, dtype)
...     def step(net, images, labels):
...         loss, logits = plain(net, images, labels)
...         for weight in net.parameters():
...             weight.grad = weight.grad.sign()
...         return loss, logits
...     return step
>>> steps.get("doctest-sign").function is signs
True
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from filterwise.errors import ParameterError, refused
from filterwise.registry import Registry
from filterwise.training.numerics import Numerics
from filterwise.training.recipe import Recipe

#: ``step(net, images, labels) -> (loss, logits)``: leaves the gradients in ``.grad`` of the parameters and
#: returns the mean loss (0-dimensional) and the logits (images, labels). The loop clears the gradients and
#: moves the weights. A step that is an object may also have
#:
#: ``before_epoch(net, optimiser, epoch, seed)``: called before each epoch, counted from 0, with a seed that
#: is this epoch's own; for rewiring between epochs;
#: ``state_dict()``, ``load_state_dict(state)``: what it remembers, tensors and plain values by name, for
#: checkpoints.
Step = Callable[[nn.Module, Tensor, Tensor], tuple[Tensor, Tensor]]

#: A registered step's name, its name and options, a step itself, or None for the plain one.
AnyStep = str | tuple[str, Any] | Step | None

steps = Registry("step", "filterwise.training.*", "filterwise.models.*", "filterwise.papers.*.backward")


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[object]:
    """The context in which operations run in ``dtype``; nothing at all for float32."""
    if dtype == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=dtype)


def cross_entropy(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy of logits (batch, K).

    ``labels``: int64 (batch,); or float (batch, K), each row a share for every label, divided by its sum, so
    that q labels of one image (q ones) count 1/q each. ``smoothing``: share of the target that is spread over
    all labels.
    """
    if labels.is_floating_point():
        labels = labels / labels.sum(1, keepdim=True)
    return F.cross_entropy(logits, labels, label_smoothing=smoothing)


def hits(logits: Tensor, labels: Tensor) -> Tensor:
    """Which images are answered right, bool (batch,): the largest logit is at their label.

    With float labels (batch, K): at the label of the largest share, which for soft labels is the likeliest,
    and for several labels an image any one of them.
    """
    answers = logits.argmax(1)
    if labels.is_floating_point():
        return labels.gather(1, answers[:, None])[:, 0] == labels.amax(1)
    return answers == labels


@steps("backprop")
def backprop(recipe: Recipe, device: torch.device, dtype: torch.dtype) -> Step:
    """The plain step: cross-entropy of the logits, and back-propagation."""
    smoothing = recipe.label_smoothing

    def step(net: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        with autocast(device, dtype):
            logits = net(images)
        # the loss is taken in float32 whatever the precision of the network
        loss = cross_entropy(logits.float(), labels, smoothing)
        loss.backward()
        return loss.detach(), logits.detach()

    return step


def _named(step: AnyStep) -> tuple[str, dict[str, Any]] | None:
    """A registered step's name and options; None for a step itself."""
    if step is None or isinstance(step, str):
        return step or "backprop", {}
    if isinstance(step, tuple | list):
        if len(step) != 2 or not isinstance(step[0], str):
            raise refused("step", step, "give a name, or (name, options)")
        return step[0], dict(step[1])
    if not callable(step):
        raise refused("step", step, "give a name, (name, options), or a step")
    return None


def is_plain(step: AnyStep) -> bool:
    """Whether this is plain back-propagation."""
    return _named(step) == ("backprop", {})


def identity_of_step(step: AnyStep) -> str | list[Any]:
    """What makes two steps the same, as plain values: name and options, or the name of a step itself."""
    named = _named(step)
    return list(named) if named else getattr(step, "__qualname__", type(step).__qualname__)


def make_step(step: AnyStep, recipe: Recipe, form: Numerics) -> Step:
    """The step to train with; a step of the user's own runs under autocast where the form says so.

    Raises ParameterError: no step has this name, or it does not take these options.
    """
    named = _named(step)
    if named is None:
        return _Cast(step, form)  # type: ignore[arg-type]
    name, options = named
    factory = steps.get(name).function
    try:
        return factory(recipe, form.device, form.dtype, **options)
    except TypeError as error:
        if "argument" not in str(error):
            raise
        raise ParameterError(f"step={name!r} does not take the options {options}: {error}") from error


class _Cast:
    """A user's step under autocast; all else that it has is its own."""

    def __init__(self, step: Step, form: Numerics) -> None:
        self._step, self._form = step, form

    def __call__(self, net: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        with autocast(self._form.device, self._form.dtype):
            return self._step(net, images, labels)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._step, name)


def state_of(step: Step) -> Mapping[str, Any]:
    """What a step remembers, by name; nothing for most."""
    read = getattr(step, "state_dict", None)
    return read() if read is not None else {}
