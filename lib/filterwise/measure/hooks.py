"""Outputs of named layers, caught by forward hooks from a network that is left as it was found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from filterwise.errors import FilterwiseError, ParameterError, near_miss
from filterwise.models.modes import evaluation_mode
from filterwise.training.device import pick_device, threads


class _StopForward(BaseException):
    """Ends a forward pass after the last layer asked for; no ``Exception``, so that no network catches it."""


def check_layers(net: nn.Module, layers: str | Sequence[str]) -> list[str]:
    """The layer names as a list, each checked to be a submodule of ``net``.

    Raises ParameterError: a name is unknown (the near miss is suggested), given twice, or the list is empty.
    """
    if not isinstance(layers, str | list | tuple):
        raise ParameterError(f"layers={layers!r} must be a name, or a list of names")
    names = [layers] if isinstance(layers, str) else list(layers)
    known = [name for name, _ in net.named_modules() if name]
    if not names:
        raise ParameterError("layers=[] names no layer; give at least one")
    for name in names:
        if name not in known:
            listed = ", ".join(repr(one) for one in known[:40]) + (", ..." if len(known) > 40 else "")
            raise ParameterError(
                f"layer {name!r} is not in this network; it has {listed}{near_miss(name, known)}"
            )
    if len(set(names)) < len(names):
        raise ParameterError(f"layers={names!r} names a layer twice")
    return names


def as_fields(output: object, layer: str, pool: int | None = None) -> Tensor:
    """Bring a layer's output to shape (N, F, P): image, filter, position.

    Maps (N, F, H, W) are flattened to P = H*W, row by row; tokens (N, T, F) become P = T; vectors (N, F)
    have P = 1. With ``pool``, maps with a side above ``2 * pool`` are average-pooled to pool x pool first
    (an option for size only: the head then has to be trained with the same ``pool``).
    Raises ParameterError: the output is no tensor (a tuple, say), has no such number of dimensions, or no
    floating-point type.

    >>> as_fields(torch.zeros(5, 8, 4, 4), "map").shape, as_fields(torch.zeros(5, 17, 8), "tokens").shape
    (torch.Size([5, 8, 16]), torch.Size([5, 8, 17]))
    """
    if not isinstance(output, Tensor):
        kind = type(output).__name__
        raise ParameterError(
            f"layer {layer!r} returns a {kind}, not one tensor; name a submodule that returns a tensor"
        )
    if not output.is_floating_point():
        raise ParameterError(f"layer {layer!r} returns {output.dtype}; floating-point activations are needed")
    if output.ndim == 4:
        if pool is not None and max(output.shape[2:]) > 2 * pool:
            output = functional.adaptive_avg_pool2d(output, pool)
        return output.flatten(2)
    if output.ndim == 3:
        return output.transpose(1, 2)
    if output.ndim == 2:
        return output.unsqueeze(2)
    raise ParameterError(
        f"layer {layer!r} returns shape {tuple(output.shape)}; maps (N, F, H, W), tokens (N, T, F) or "
        "vectors (N, F) are needed"
    )


def check_finite(layer: str, values: Tensor) -> None:
    """Raise a ParameterError for a layer's activations, or sums of them, that are not finite."""
    if not bool(torch.isfinite(values).all()):
        raise ParameterError(
            f"activations of layer {layer!r} are not finite: the network gives NaN or infinity"
        )


@contextmanager
def measuring(net: nn.Module, device: torch.device | None = None) -> Iterator[nn.Module]:
    """Evaluation mode, no autograd, on ``device``, with one thread on the CPU.

    Afterwards each module's mode, the network's device and the number of threads are what they were. The sum
    of a float32 matrix product hangs on how many threads share it: one thread gives one set of numbers.

    >>> net = nn.Dropout()
    >>> with measuring(net):
    ...     net.training, torch.is_grad_enabled(), torch.get_num_threads()
    (False, False, 1)
    >>> net.training
    True
    """
    first = next(net.parameters(), None)
    home = torch.device("cpu") if first is None else first.device
    where = home if device is None else device
    with threads(1 if where.type == "cpu" else None), evaluation_mode(net):
        try:
            if where != home:
                net.to(where)
            yield net
        finally:
            if where != home:
                net.to(home)


def measuring_device(net: nn.Module, device: str | torch.device = "auto") -> torch.device:
    """``device``; for "auto" where the network already is, unless that is the CPU: then the best there is."""
    if device == "auto":
        first = next(net.parameters(), None)
        if first is not None and first.device.type != "cpu":
            return first.device
    return pick_device(device)


class Capture:
    """Forward passes that return the outputs of named layers as (N, F, P) and stop after the last of them.

    Images are cast to the type of the network's weights (``dtype``). For use inside :func:`measuring`; the
    hooks are removed when it closes; ``pool`` is that of :func:`as_fields`.
    Raises ParameterError: unknown layer; images that the network does not take; a layer that the forward pass
    never runs, or runs more than once (then it is unclear which output is meant: a shared ``nn.ReLU``, say).

    >>> net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2))
    >>> with measuring(net), Capture(net, ["1"]) as capture:
    ...     capture(torch.zeros(5, 1, 4, 4))["1"].shape
    torch.Size([5, 3, 4])
    """

    def __init__(self, net: nn.Module, layers: str | Sequence[str], pool: int | None = None) -> None:
        self.net, self.pool = net, pool
        self.layers = check_layers(net, layers)
        if pool is not None and (type(pool) is not int or pool < 1):
            raise ParameterError(f"pool={pool!r} must be a whole number of at least 1, or None")
        weights = (weight.dtype for weight in net.parameters() if weight.is_floating_point())
        self.dtype = next(weights, torch.float32)
        self._handles: list[torch.utils.hooks.RemovableHandle] = []
        self._seen: dict[str, Tensor] = {}
        self._runs: dict[str, int] = {}
        self._stop = False
        self._checked = False

    def __enter__(self) -> Capture:
        modules = dict(self.net.named_modules())
        for name in self.layers:
            self._handles.append(modules[name].register_forward_hook(self._hook(name)))
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._seen = {}

    def _hook(self, name: str) -> Callable[[nn.Module, object, object], None]:
        def hook(_module: nn.Module, _inputs: object, output: object) -> None:
            self._runs[name] = self._runs.get(name, 0) + 1
            fields = as_fields(output, name, self.pool)
            last = self._stop and len(self._seen) == len(self.layers) - 1
            if not last and isinstance(output, Tensor) and fields.data_ptr() == output.data_ptr():
                # What follows may work in place (ReLU(inplace=True) after a batch-norm).
                fields = fields.clone()
            self._seen[name] = fields
            if last:
                raise _StopForward

        return hook

    def _forward(self, images: Tensor, stop: bool) -> None:
        self._seen, self._runs, self._stop = {}, {}, stop
        try:
            self.net(images.to(self.dtype))
        except _StopForward:
            return
        except Exception:
            # What fails above the last layer asked for (a head for other labels) does not matter.
            if len(self._seen) < len(self.layers) or any(runs > 1 for runs in self._runs.values()):
                raise

    def _check(self, image: Tensor) -> None:
        """One image through the whole network: does each layer run exactly once?"""
        try:
            self._forward(image, stop=False)
        except (FilterwiseError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # the network is the user's own, and may raise anything
            why = f"{type(error).__name__}: {error}".partition("\n")[0]
            raise ParameterError(
                f"the network does not take images of shape {tuple(image.shape[1:])}: {why}"
            ) from error
        for name in self.layers:
            runs = self._runs.get(name, 0)
            if runs == 0:
                raise ParameterError(f"layer {name!r} is in this network but its forward pass never runs it")
            if runs > 1:
                raise ParameterError(
                    f"layer {name!r} runs {runs} times in one forward pass; name a layer that runs once"
                )
        self._checked = True

    def __call__(self, images: Tensor) -> Mapping[str, Tensor]:
        """Outputs (N, F, P) of each layer for the images (N, C, H, W), in the order asked for."""
        if not self._checked:
            self._check(images[:1])
        self._forward(images, stop=True)
        seen, self._seen = self._seen, {}
        return {name: seen[name] for name in self.layers}


def shapes_of(outputs: Mapping[str, Tensor]) -> dict[str, tuple[int, int]]:
    """(F, P) of each layer's outputs (N, F, P)."""
    return {name: (fields.shape[1], fields.shape[2]) for name, fields in outputs.items()}
