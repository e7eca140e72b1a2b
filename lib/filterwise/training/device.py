"""Which device, how many threads, and clocks that wait for the device."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from types import TracebackType

import torch
from torch import nn

from filterwise.errors import ParameterError, check_at_least, check_choice

DEVICE_TYPES = ("cpu", "cuda", "mps")


def pick_device(device: str | torch.device = "auto") -> torch.device:
    """The device to compute on; ``"auto"`` takes CUDA, then MPS, then the CPU.

    Raises ParameterError: the device is of an unknown type, or this machine does not have it.

    >>> pick_device("cpu")
    device(type='cpu')
    >>> pick_device("cdua")
    Traceback (most recent call last):
    filterwise.errors.ParameterError: device='cdua' is not known; choose from ...; did you mean 'cuda'?
    """
    if isinstance(device, str) and device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("mps") if torch.backends.mps.is_available() else torch.device("cpu")
    name, colon, index = str(device).partition(":")
    if name not in DEVICE_TYPES or (colon and not index.isdecimal()):
        allowed = ("auto", *DEVICE_TYPES, "cuda:1")
        check_choice("device", str(device), [choice for choice in allowed if choice != str(device)])
    number = int(index or 0)
    if name == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if number >= count:
            held = f"cuda:0 to cuda:{count - 1}" if count else "no CUDA device"
            raise ParameterError(f"device={str(device)!r} is absent; this machine and this torch have {held}")
        return torch.device("cuda", number)
    if number:
        raise ParameterError(f"device={str(device)!r} is absent; there is one {name!r} only")
    if name == "mps" and not torch.backends.mps.is_available():
        raise ParameterError("device='mps' is absent; this machine or this torch has no Metal device")
    return torch.device(name)


def place(net: nn.Module, device: torch.device, memory_format: torch.memory_format) -> nn.Module:
    """Move a network, in place, to a device and a memory format."""
    # torch's own annotation of `to` does not know memory_format
    return net.to(device=device, memory_format=memory_format)  # type: ignore[call-overload]


def synchronize(device: torch.device) -> None:
    """Wait until everything that was handed to ``device`` is done.

    >>> synchronize(torch.device("cpu"))
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


class Timer:
    """Wall and processor seconds of a block, the device's outstanding work included.

    >>> with Timer(torch.device("cpu")) as timer:
    ...     _ = torch.ones(10).sum()
    >>> timer.seconds >= 0
    True
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds = 0.0
        self.cpu_seconds = 0.0

    def __enter__(self) -> Timer:
        synchronize(self.device)
        self._start = (time.perf_counter(), time.process_time())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            synchronize(self.device)
        self.seconds = time.perf_counter() - self._start[0]
        self.cpu_seconds = time.process_time() - self._start[1]


@contextlib.contextmanager
def threads(count: int | None) -> Iterator[int]:
    """Let torch use ``count`` CPU threads inside the block; None leaves things as they are.

    >>> with threads(1) as count:
    ...     count
    1
    """
    if count is None:
        yield torch.get_num_threads()
        return
    check_at_least("threads", count, 1)
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield count
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def own_randomness(seed: int, device: torch.device) -> Iterator[None]:
    """Random layers (dropout) draw from ``seed`` inside the block; the caller's random state is untouched.

    Such layers draw from torch's shared generators and take no other; so these are lent and given back.
    """
    shared = [torch.default_generator]
    if device.type == "cuda":
        torch.cuda.init()
        shared.append(torch.cuda.default_generators[device.index or 0])
    states = [generator.get_state() for generator in shared]
    metal = torch.mps.get_rng_state() if device.type == "mps" else None
    try:
        for generator in shared:
            generator.manual_seed(seed)
        if metal is not None:
            torch.mps.manual_seed(seed)
        yield
    finally:
        for generator, state in zip(shared, states, strict=True):
            generator.set_state(state)
        if metal is not None:
            torch.mps.set_rng_state(metal)


@contextlib.contextmanager
def same_kernels(device: torch.device) -> Iterator[None]:
    """Have CUDA take deterministic kernels inside the block, and none that a timing chose.

    An operation without a deterministic kernel warns. The processor needs none of this.
    """
    if device.type != "cuda":
        yield
        return
    # the matrix library reads it when it is first used in a process
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    algorithms = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    flags = torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = False, True
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(algorithms, warn_only=warn_only)
        torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = flags
