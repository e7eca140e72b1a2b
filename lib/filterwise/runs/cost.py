"""How long a run will take: multiply-accumulates x images x epochs, over a rate measured on this machine."""

from __future__ import annotations

import contextlib
import functools
import json
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filterwise import files
from filterwise.models import building, counting

if TYPE_CHECKING:
    from filterwise.runs.specification import Run

# A training step costs about three forward passes: forward, gradient of the inputs, gradient of the weights.
_PASSES_OF_A_STEP = 3
# What a machine that has not measured anything yet is taken for: multiply-accumulates a second. The CPU's is
# of one thread of an AVX2 machine, the GPU's of a small network that leaves most of a large GPU idle.
_DEFAULT_RATES = {"cpu": 1.5e10, "cuda": 2e12, "mps": 3e11}
_NEWEST = 0.5  # share of the newest measurement in the stored rate, if it is a long one
_LONG = 30.0  # seconds; a shorter training, whose time is half overhead, counts for less


def macs(run: Run, data_root: str | Path | None = None) -> int:
    """Multiply-accumulates of one image through a run's network, before it is edited."""
    train, _ = run.sets(data_root)
    return _macs(run.model, run.model_options, train.labels_count, train.shape)


@functools.lru_cache(maxsize=64)
def _macs(model: str, options: tuple[tuple[str, Any], ...], labels: int, shape: tuple[int, int, int]) -> int:
    net = building.build(model, labels=labels, channels=shape[0], size=shape[1], **dict(options))
    return counting.macs(net, shape)


def seconds(run: Run, device: str, data_root: str | Path | None = None) -> float:
    """Estimated seconds of a training on ``device`` (``"cpu"``, ``"cuda"``, ...), evaluations included.

    The rate is that of this network on this device if one was trained here before, else that of any network
    on this device, else a guess.
    """
    train, test = run.sets(data_root)
    images = run.recipe.epochs * (_PASSES_OF_A_STEP * len(train) + len(test))
    known, place = _load(), _place(device)
    guess = _DEFAULT_RATES.get(device, _DEFAULT_RATES["cpu"])
    return macs(run, data_root) * images / (known.get(f"{place} {run.model}") or known.get(place) or guess)


def measured(model: str, device: str) -> bool:
    """Whether this network was trained on this machine's device before, so that its rate is known."""
    return f"{_place(device)} {model}" in _load()


def learn(run: Run, device: str, elapsed: float, data_root: str | Path | None = None) -> None:
    """Keep the rate of a finished training, which took ``elapsed`` seconds of steps, for the estimates to
    come."""
    if elapsed <= 0:
        return
    images = run.recipe.epochs * _PASSES_OF_A_STEP * len(run.sets(data_root)[0])
    new, place, path = macs(run, data_root) * images / elapsed, _place(device), _path()
    # a cache that cannot be written to costs nothing but estimates
    with contextlib.suppress(OSError), files.lock(f"{path}.lock"):
        known = _load()
        share = _NEWEST * min(1.0, elapsed / _LONG)
        for name in (place, f"{place} {run.model}"):
            known[name] = new if name not in known else known[name] ** (1 - share) * new**share
        with files.atomic(path) as temporary:
            temporary.write_text(json.dumps(known, indent=1, sort_keys=True))


def _path() -> Path:
    return files.cache_folder() / "rates.json"


def _load() -> dict[str, float]:
    try:
        return {str(name): float(value) for name, value in json.loads(_path().read_text()).items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}  # only estimates depend on it


def _place(device: str) -> str:
    """A device as the rates name it; home folders are shared between machines of different speed."""
    return f"{device} {platform.node()}"


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
