"""A run of a few seconds at most, tasks for pools and jobs for records, importable by worker processes."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np

from filterwise.runs import Result, Run
from filterwise.training import Recipe

RECIPE = Recipe(epochs=2, batch=20, lr=0.05, shift=1, precision="float32", memory_format="contiguous")
RUN = Run("lenet5", "parts", RECIPE, 0, None, {"d1": 2, "fc": (8, 8)}, {"n": 60, "n_test": 30, "labels": 3})
CIRCUMSTANCES = ["device", "torch", "threads", "seconds", "status", "error"]


def measured(result: Result) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Two layers' mean weights, and an array."""
    means = {
        f"mean_weight@{name}": parameter.abs().mean()
        for name, parameter in result.network().named_parameters()
        if name.endswith("conv.weight")
    }
    return {"layers": " ".join(means), **means}, {"accuracy": np.array([result.metrics["accuracy"]])}


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


def lease_one(arguments: str) -> str:
    """Take a device in a process of its own, and hold it for a while."""
    from filterwise.runs import lease

    given = json.loads(arguments)
    device = lease.take(given["devices"], given["per_device"], Path(given["folder"]), given["timeout"])
    assert os.environ["CUDA_VISIBLE_DEVICES"] == device
    return device
