"""A run of a few seconds at most, tasks for pools and jobs for records, importable by worker processes."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from filterwise.runs import Result, Run, measurements
from filterwise.training import Recipe
from filterwise.training.steps import backprop, steps

RECIPE = Recipe(epochs=2, batch=20, lr=0.05, shift=1, precision="float32", memory_format="contiguous")
RUN = Run("lenet5", "parts", RECIPE, 0, None, {"d1": 2, "fc": (8, 8)}, {"n": 60, "n_test": 30, "labels": 3})
CIRCUMSTANCES = ["device", "torch", "seconds", "status", "error"]


@measurements("tiny.weights")
def weights(result: Result, *, doubled: bool = False) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Two layers' mean weights, and an array."""
    means = {
        f"mean_weight@{name}": parameter.abs().mean() * (1 + doubled)
        for name, parameter in result.network().named_parameters()
        if name.endswith("conv.weight")
    }
    return {"layers": " ".join(means), **means}, {"accuracy": np.array([result.metrics["accuracy"]])}


@steps("tiny-rewire")
class Rewire:
    """Back-propagation; before each epoch the smallest weights of a layer are drawn anew, as if rewired."""

    def __init__(self, recipe: Recipe, device: torch.device, dtype: torch.dtype, *, layer: str, share: float):
        self.plain, self.layer, self.share = backprop(recipe, device, dtype), layer, share

    def __call__(self, net, images, labels):
        return self.plain(net, images, labels)

    @torch.no_grad()
    def before_epoch(self, net, optimiser, epoch: int, seed: int) -> None:
        weight = net.get_submodule(self.layer).weight
        count = round(self.share * weight.numel())
        smallest = weight.abs().flatten().argsort()[:count]
        generator = torch.Generator().manual_seed(seed)
        weight.view(-1)[smallest] = 0.1 * torch.randn(count, generator=generator)


@measurements("tiny.committee")
def committee(*results: Result) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Test images that all of several networks name rightly."""
    right = np.stack([result.right for result in results])
    return {"accuracy": right.all(0).mean(), "members": len(results)}, {}


@measurements("tiny.breaks")
def breaks(result: Result) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    raise ZeroDivisionError("a broken measurement")


def work(item: dict[str, Any], device: str) -> Any:
    """A task for a pool that does what its item says."""
    if item.get("log"):
        with Path(item["log"]).open("a") as log:
            log.write(f"{os.getpid()}\n")
    if item.get("fails"):
        raise ValueError("told to fail")
    if item.get("dies"):
        time.sleep(0.3)  # so that something else is in flight
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(item.get("sleeps", 0))
    if item.get("asks"):
        import torch

        return os.getpid(), torch.get_num_threads(), os.environ.get("CUDA_VISIBLE_DEVICES"), device
    return item.get("answer")


def kill_once(flag: str) -> None:
    """The first training from now on, in any process told so, kills its process after three epochs."""
    from filterwise.training import loop

    fit = loop.fit

    def killing(*arguments: Any, **options: Any) -> Any:
        def after_epoch(row: Any) -> None:
            if row["epoch"] == 3:
                try:
                    os.close(os.open(flag, os.O_CREAT | os.O_EXCL))
                except FileExistsError:
                    return
                os.kill(os.getpid(), signal.SIGKILL)

        return fit(*arguments, **options | {"after_epoch": after_epoch})

    loop.fit = killing


def die_after(epoch: int) -> None:
    """Any training with a deadline, from now on, kills its process after so many epochs."""
    from filterwise.runs import finding

    def stop_in_time(*_: Any) -> Any:
        def after_epoch(row: Any) -> None:
            if row["epoch"] == epoch:
                os.kill(os.getpid(), signal.SIGKILL)

        return after_epoch

    finding.stop_in_time = stop_in_time
