"""How long a run will take: multiply-accumulates x images x epochs, over a rate measured on this machine."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import platform
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from filterwise import models
from filterwise.runs import datasets

if TYPE_CHECKING:
    from filterwise.runs.spec import Run

# A training step costs about three forward passes: forward, gradient of the inputs, gradient of the weights.
_PASSES_OF_A_STEP = 3
# What a machine that has not measured anything yet is taken for: multiply-accumulates a second. The CPU's is
# of one thread of an AVX2 machine, the GPU's of a small network that leaves most of a large GPU idle.
_DEFAULT_RATES = {"cpu": 1.5e10, "cuda": 2e12, "mps": 3e11}
_NEWEST = 0.5  # share of the newest measurement in the stored rate, if it is a long one
_LONG = 30.0  # seconds; a shorter training, whose time is half overhead, counts for less


def operations(run: Run, data_root: str | Path | None = None) -> float:
    """Multiply-accumulates of a whole training, its evaluations on the test images included."""
    train, test = datasets.train_and_test(run, data_root)
    return float(macs(run, data_root)) * run.recipe.epochs * (_PASSES_OF_A_STEP * len(train) + len(test))


def macs(run: Run, data_root: str | Path | None = None) -> int:
    """Multiply-accumulates of one image through a run's network."""
    train, _ = datasets.train_and_test(run, data_root)
    return _macs(run.model, run.model_options, len(train.label_names), train.shape)


@functools.lru_cache(maxsize=64)
def _macs(model: str, options: tuple[tuple[str, Any], ...], labels: int, shape: tuple[int, int, int]) -> int:
    net = models.build(model, labels=labels, channels=shape[0], size=shape[1], **dict(options))
    return models.macs(net, shape)


def seconds(run: Run, device: str, threads: int | None = None, data_root: str | Path | None = None) -> float:
    """Estimated seconds of a training on ``device`` (``"cpu"``, ``"cuda"``, ...), from the stored rates.

    The rate is that of this network on this device if one was trained here before, else that of any network
    on this device, else a guess.
    """
    return operations(run, data_root) / rate(run.model, device, threads)


def rate(model: str, device: str, threads: int | None = None) -> float:
    """Multiply-accumulates a second, see :func:`seconds`."""
    known = _load()
    kind = device.split(":")[0]
    place = _place(kind, threads)
    guess = _DEFAULT_RATES.get(kind, _DEFAULT_RATES["cpu"]) * (_threads(threads) if kind == "cpu" else 1)
    return known.get(f"{place} {model}") or known.get(place) or guess


def measured(model: str, device: str, threads: int | None = None) -> bool:
    """Whether this network was trained on this machine's device before, so that its rate is known."""
    return f"{_place(device.split(':')[0], threads)} {model}" in _load()


def learn(run: Run, device: str, elapsed: float, data_root: str | Path | None = None) -> None:
    """Keep the rate of a finished training, which took ``elapsed`` seconds of steps, for the estimates to
    come.

    On the CPU these should be processor seconds over threads: seconds on the clock count other programs too.
    """
    if elapsed <= 0:
        return
    images = len(datasets.train_and_test(run, data_root)[0])
    new = float(macs(run, data_root)) * run.recipe.epochs * _PASSES_OF_A_STEP * images / elapsed
    path = _path()
    place = _place(device.split(":")[0], None)
    with contextlib.suppress(OSError):  # a cache that cannot be written to costs nothing but estimates
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            known = _load()
            share = _NEWEST * min(1.0, elapsed / _LONG)
            for name in (place, f"{place} {run.model}"):
                known[name] = new if name not in known else known[name] ** (1 - share) * new**share
            temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
            temporary.write_text(json.dumps(known, indent=1, sort_keys=True))
            os.replace(temporary, path)


def _path() -> Path:
    return Path(os.environ.get("FILTERWISE_CACHE") or Path.home() / ".cache" / "filterwise") / "rates.json"


def _load() -> dict[str, float]:
    try:
        return {str(name): float(value) for name, value in json.loads(_path().read_text()).items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}  # only estimates depend on it


def _threads(threads: int | None) -> int:
    if threads is None:
        import torch

        return torch.get_num_threads()
    return threads


def _place(kind: str, threads: int | None) -> str:
    """A device as the rates name it; home folders are shared between machines of different speed."""
    return f"{kind} {platform.node()} x{_threads(threads)}" if kind == "cpu" else f"{kind} {platform.node()}"


def text(duration: float) -> str:
    """Seconds in words.

    >>> text(4.2), text(95), text(7380)
    ('4 s', '1 min 35 s', '2 h 3 min')
    """
    whole = round(duration)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
