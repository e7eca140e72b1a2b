"""Precision and memory format for a network on a device: timed once, then remembered.

Which of the forms is fastest cannot be read off a flag: channels_last and bfloat16 win on one processor and
lose on the next. So a few real training steps of a copy of the network are timed, and the choice is kept in a
small JSON file per machine, torch, network and batch shape, so that later runs compute in the same form.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from filterwise.training import policy_store
from filterwise.training.device import Timer, fastest_kernels, own_randomness, pick_device, place
from filterwise.training.recipe import Recipe
from filterwise.training.step import backprop, sgd

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}

# A form must beat the plainest one, float32 contiguous, by this factor; less is within a timing's noise.
_MARGIN = 1.05
_ROUNDS = 8  # at most; the best one counts
_SECONDS = 0.5  # timed per form, about
_LONG_STEP = 1.0  # seconds; above it the probe takes fewer images


@dataclass(frozen=True)
class Policy:
    """How a network is computed on a device.

    >>> Policy(torch.device("cpu")).precision
    'float32'
    """

    device: torch.device
    dtype: torch.dtype = torch.float32
    memory_format: torch.memory_format = torch.contiguous_format
    why: str = "the plainest form"

    @property
    def precision(self) -> str:
        return next(name for name, dtype in DTYPES.items() if dtype == self.dtype)

    @property
    def layout(self) -> str:
        return next(name for name, layout in FORMATS.items() if layout == self.memory_format)

    def to_dict(self) -> dict[str, str]:
        """Plain values; `from_dict` turns them back."""
        return {
            "device": str(self.device),
            "precision": self.precision,
            "memory_format": self.layout,
            "why": self.why,
        }

    @classmethod
    def from_dict(cls, values: dict[str, str]) -> Policy:
        """The policy that `to_dict` described.

        >>> Policy.from_dict(Policy(torch.device("cpu")).to_dict()) == Policy(torch.device("cpu"))
        True
        """
        form = DTYPES[values["precision"]], FORMATS[values["memory_format"]]
        return cls(torch.device(values["device"]), *form, values["why"])


def policy(
    net: nn.Module,
    shape: Sequence[int],
    device: str | torch.device = "auto",
    recipe: Recipe | None = None,
) -> Policy:
    """Choose precision and memory format for training ``net`` on batches of ``shape``.

    What the recipe fixes is taken as it is. Where a choice is left, training steps of a copy are timed,
    unless a choice for this machine, torch, network and shape is on file. Neither the network nor any random
    state is touched.

    Parameters
    ----------
    shape : (batch, channels, height, width)

    Raises
    ------
    ParameterError
        The device is unknown or absent.

    >>> recipe = Recipe(precision="float32", memory_format="channels_last")
    >>> policy(nn.Conv2d(3, 2, 3), (10, 3, 8, 8), "cpu", recipe).layout
    'channels_last'
    """
    where, recipe = pick_device(device), recipe or Recipe()
    forms = _forms(net, where, recipe)
    if len(forms) == 1:
        return _policy(where, forms[0], "the only form that the recipe and the device allow")

    key = policy_store.key(net, shape, where, forms)
    stored = policy_store.read(key, forms)
    if stored is not None:
        return _policy(where, stored, "timed before on this machine")
    with policy_store.locked(key):
        # another process may have timed it while this one waited
        stored = policy_store.read(key, forms)
        if stored is not None:
            return _policy(where, stored, "timed before on this machine")
        times = _time(net, tuple(shape), where, recipe, forms)
        fastest = min(times, key=lambda form: times[form])
        if times[forms[0]] <= times[fastest] * _MARGIN:
            fastest = forms[0]
        policy_store.write(key, fastest, times)
    listed = ", ".join(f"{'/'.join(form)} {1e3 * seconds:.3g} ms" for form, seconds in times.items())
    return _policy(where, fastest, f"timed: {listed} a step")


Form = tuple[str, str]  # precision, memory format


def _policy(device: torch.device, form: Form, why: str) -> Policy:
    return Policy(device, DTYPES[form[0]], FORMATS[form[1]], why)


def _forms(net: nn.Module, device: torch.device, recipe: Recipe) -> list[Form]:
    """What may be chosen, the plainest first."""
    precisions, layouts = [recipe.precision], [recipe.memory_format]
    if recipe.precision == "auto":
        # MPS stays in float32: its autocast covers too few operations to be trusted unseen. A processor with
        # vectors of 256 bits or fewer has no bfloat16 arithmetic, so there is nothing to time.
        narrow = device.type == "cpu" and "AVX512" not in torch.backends.cpu.get_cpu_capability()
        precisions = ["float32"] if device.type == "mps" or narrow else ["float32", "bfloat16"]
    if recipe.memory_format == "auto":
        planes = any(weight.ndim == 4 for weight in net.parameters()) and device.type != "mps"
        layouts = ["contiguous", "channels_last"] if planes else ["contiguous"]
    return [(precision, layout) for precision in precisions for layout in layouts]


class _Probe:
    """A copy of the network in one form, ready to be timed."""

    def __init__(
        self, net: nn.Module, images: Tensor, device: torch.device, recipe: Recipe, form: Form
    ) -> None:
        chosen = _policy(device, form, "")
        self.net = place(copy_of(net), device, chosen.memory_format).train()
        self.images = images.to(memory_format=chosen.memory_format)
        self.labels = torch.zeros(len(images), dtype=torch.int64, device=device)
        self.step = backprop(recipe, device, chosen.dtype)
        self.optimiser = sgd(self.net, recipe.replace(lr=1e-6))

    def seconds(self, steps: int, images_count: int) -> float:
        """Mean seconds of a step; of processor time on the CPU, which other programs disturb least."""
        images, labels = self.images[:images_count], self.labels[:images_count]
        with Timer(images.device) as timer:
            for _ in range(steps):
                self.step(self.net, images, labels)
                self.optimiser.step()
                self.optimiser.zero_grad(set_to_none=True)
        return (timer.cpu_seconds if images.device.type == "cpu" else timer.seconds) / steps


def _time(
    net: nn.Module, shape: tuple[int, ...], device: torch.device, recipe: Recipe, forms: list[Form]
) -> dict[Form, float]:
    """Seconds of a training step, the best of some alternating rounds, by form."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(shape, generator=generator).mul_(2).sub_(1).to(device)
    count = shape[0]
    best: dict[Form, float] = {}
    probes: dict[Form, _Probe] = {}
    with own_randomness(0, device), fastest_kernels(device):
        for form in forms:
            probe = _Probe(net, images, device, recipe, form)
            first = probe.seconds(1, count)  # also prepares kernels
            if not best and first > _LONG_STEP:
                count = max(min(8, count), math.floor(count * _LONG_STEP / first))
            # bfloat16 without hardware for it is ten times slower: not worth another step
            hopeless = bool(best) and first > 5 * min(best.values())
            best[form] = first if hopeless else probe.seconds(1, count)
            if best[form] <= 2 * min(best.values()):
                probes[form] = probe
        typical = min(best.values())
        # on a GPU steps overlap with their launching, so that only a row of them shows the true pace
        steps = 10 if device.type == "cuda" else 1
        rounds = max(1, min(_ROUNDS, math.ceil(_SECONDS / (typical * steps))))
        for _ in range(rounds):
            for form, probe in probes.items():
                best[form] = min(best[form], probe.seconds(steps, count))
    return best


def copy_of(net: nn.Module) -> nn.Module:
    """A deep copy that shares nothing with ``net``; masks by ``torch.nn.utils.prune`` are no hindrance."""
    for module in net.modules():
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, prune.BasePruningMethod):
                # the masked weight is computed anew in every forward pass; the last one hangs on a graph
                weight: Any = getattr(module, hook._tensor_name)
                setattr(module, hook._tensor_name, weight.detach())
    return copy.deepcopy(net)
