"""How long a run will take: multiply-accumulates x images x epochs, over a rate that a written rule gives and
finished trainings on this machine correct."""

from __future__ import annotations

import contextlib
import functools
import json
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from filterwise import files
from filterwise.data import catalog
from filterwise.models import building, counting
from filterwise.runs.time_left import text

if TYPE_CHECKING:
    from filterwise.runs.specification import Run

# A training step costs about three forward passes: forward, gradient of the inputs, gradient of the weights.
PASSES_OF_A_STEP = 3
# Multiply-accumulates a second: of one thread of an AVX2 processor, and of MPS.
_RATES = {"cpu": 1.5e10, "mps": 3e11}
# On CUDA small networks wait for their kernels to be started: a millisecond a step, and a tenth of one for
# every layer with weights (its kernels forward, backward and in the optimiser). Large ones are bound by
# arithmetic: a tenth of the 990 TFLOP/s in bfloat16 that the maker of an H200 gives for dense products.
_CUDA_STEP, _CUDA_LAYER, _CUDA_RATE = 1e-3, 1e-4, 5e13
_NEWEST = 0.5  # share of the newest measurement in the stored speed, if it is a long one
_LONG = 30.0  # seconds; a shorter training, whose time is half overhead, counts for less


@dataclass(frozen=True)
class Size:
    """Of a network: multiply-accumulates of one image's forward pass, and layers with weights."""

    macs: int
    layers: int

    def rate(self, device: str, batch: int = 100, together: int = 1) -> float:
        """Multiply-accumulates a second that the rule expects, of ``together`` networks in one stack.

        >>> small, large = Size(10**6, 5), Size(10**9, 30)
        >>> f"{small.rate('cuda'):.1g} {small.rate('cuda', together=5):.1g} {large.rate('cuda'):.1g}"
        '2e+11 1e+12 3e+13'
        """
        if device != "cuda":
            return _RATES.get(device, _RATES["cpu"])
        pass_of_all = self.macs * batch * together
        started = (_CUDA_STEP + self.layers * _CUDA_LAYER) / PASSES_OF_A_STEP
        return pass_of_all / (started + pass_of_all / _CUDA_RATE)


def macs(run: Run, data_root: str | Path | None = None) -> int:
    """Multiply-accumulates of one image through a run's network, before it is edited."""
    return _size_of(run, data_root).macs


def _size_of(run: Run, data_root: str | Path | None) -> Size:
    train, _ = run.sets(data_root)
    return size(run.model, run.model_options, train.labels_count, train.shape)


@functools.lru_cache(maxsize=256)
def size(model: str, options: tuple[tuple[str, Any], ...], labels: int, shape: tuple[int, int, int]) -> Size:
    """The size of a network for images of ``shape`` (C, H, W); its weights are not drawn."""
    entry, chosen = building.models.get(model), {**dict(options), "init": None}
    width, _ = chosen.pop("width", 1.0), chosen.pop("init")
    with torch.device("meta"):
        net = entry.function(labels, width, *shape[:2], **entry.facts.get("fixed", {}), **chosen)
    layers = sum(any(True for _ in module.parameters(recurse=False)) for module in net.modules())
    return Size(counting.macs(net, shape), layers)


def seconds(run: Run, device: str, data_root: str | Path | None = None) -> float:
    """Estimated seconds of a training on ``device`` (``"cpu"``, ``"cuda"``, ...), evaluations included.

    The rule's, corrected by the speed of this network on this device if one was trained here before, else by
    that of any network on this device.
    """
    train, test = run.sets(data_root)
    images = run.recipe.epochs * (PASSES_OF_A_STEP * len(train) + len(test))
    network, known, place = _size_of(run, data_root), _load(), _place(device)
    speed = known.get(f"{place} {run.model}") or known.get(place) or 1.0
    return network.macs * images / (speed * network.rate(device, run.recipe.batch))


def foreseen(run: Run, device: str = "cuda", together: int = 1, network: Size | None = None) -> float:
    """Seconds of a training by the rule alone, its share of a stack of ``together``; the data need not be
    there, and the network must be fixed by the data set's name. With its size it need not be built.

    >>> from filterwise.runs.specification import Run
    >>> from filterwise.training.recipe import Recipe
    >>> round(foreseen(Run("lenet5", "cifar10", Recipe(epochs=60))))
    48
    """
    info, options = catalog.describe(run.data), run.data_kwargs
    share = (run.labels or info.labels) / info.labels
    train = options.get("n") or info.counts["train"] * share
    test = options.get("n_test") or info.counts["test"] * share
    if "held_out" in options:
        train, test = train * (1 - options["held_out"]), train * options["held_out"]
    network = network or size(run.model, run.model_options, run.labels or info.labels, info.shape)
    images = run.recipe.epochs * (PASSES_OF_A_STEP * train + test)
    return network.macs * images / network.rate(device, run.recipe.batch, together)


def measured(model: str, device: str) -> bool:
    """Whether this network was trained on this machine's device before, so that its speed is known."""
    return f"{_place(device)} {model}" in _load()


def speed(model: str, device: str) -> float | None:
    """How many times as fast as by the rule this network is on this machine's device; on CUDA, where the rule
    covers all sizes, else any network. None if nothing was trained here."""
    known, place = _load(), _place(device)
    return known.get(f"{place} {model}") or (known.get(place) if device == "cuda" else None)


def learn(run: Run, device: str, elapsed: float, data_root: str | Path | None = None) -> None:
    """Keep the speed of a finished training, which took ``elapsed`` seconds of steps, for the estimates to
    come."""
    if elapsed <= 0:
        return
    images = run.recipe.epochs * PASSES_OF_A_STEP * len(run.sets(data_root)[0])
    network, place, path = _size_of(run, data_root), _place(device), _path()
    new = network.macs * images / network.rate(device, run.recipe.batch) / elapsed
    # a cache that cannot be written to costs nothing but estimates
    with contextlib.suppress(OSError), files.lock(f"{path}.lock"):
        known = _load()
        share = _NEWEST * min(1.0, elapsed / _LONG)
        for name in (place, f"{place} {run.model}"):
            known[name] = new if name not in known else known[name] ** (1 - share) * new**share
        with files.atomic(path) as temporary:
            temporary.write_text(json.dumps(known, indent=1, sort_keys=True))


def _path() -> Path:
    return files.cache_folder() / "speeds.json"


def _load() -> dict[str, float]:
    try:
        return {str(name): float(value) for name, value in json.loads(_path().read_text()).items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}  # only estimates depend on it


def _place(device: str) -> str:
    """A device as the rates name it; home folders are shared between machines of different speed."""
    return f"{device} {platform.node()}"


def hope(duration: float, timed: bool) -> str:
    """An estimate in words; one that rests on no training of this machine says so.

    >>> hope(95, timed=True), hope(95, timed=False)
    ('about 1 min 35 s', '1 min 35 s by a rule of thumb, as nothing like it was timed here')
    """
    said = text(duration)
    return f"about {said}" if timed else f"{said} by a rule of thumb, as nothing like it was timed here"
