"""How long networks take for a batch, measured in turns."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import torch
from torch import nn

from filterwise.errors import check_count
from filterwise.models.modes import evaluation_mode
from filterwise.training.device import Timer, threads


def device_name(device: torch.device) -> str:
    """The device in words: the processor's model, or the GPU's name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def latency(
    nets: nn.Module | Mapping[str, nn.Module],
    shape: tuple[int, int, int] = (3, 32, 32),
    batch: int = 1,
    repeats: int = 50,
    warm_up: int = 3,
) -> pd.DataFrame:
    """Milliseconds that a network needs for a batch in evaluation mode, on one thread of a CPU or on its GPU.

    Several networks take turns, so that what else runs on the machine meets all of them alike. Masks cost a
    product of weight and mask in every forward pass; ``remove_dead`` gives a network without them.

    Parameters
    ----------
    nets
        A network, or several by name.
    shape, batch
        (C, H, W) of one input, and inputs in a batch.
    repeats, warm_up
        Timed batches of each network, and those before them that are not timed.

    Returns one row a network: ``median``, ``lower`` and ``upper`` quartile in ms a batch, ``ratio`` (of the
    first network's median to this one's), ``batch``, ``repeats``, ``threads``, ``device``.

    Raises ParameterError: numbers below 1.

    >>> table = latency({"one": nn.Conv2d(3, 4, 3), "two": nn.Conv2d(3, 4, 3)}, (3, 8, 8), repeats=5)
    >>> list(table.index), bool((table["lower"] <= table["upper"]).all())
    (['one', 'two'], True)
    """
    given = {"network": nets} if isinstance(nets, nn.Module) else dict(nets)
    check_count("batch", batch)
    check_count("repeats", repeats)
    check_count("warm_up", warm_up, 0)
    first = {name: next(net.parameters()) for name, net in given.items()}
    inputs = {
        name: torch.randn(batch, *shape, generator=torch.Generator().manual_seed(0)).to(weight)
        for name, weight in first.items()
    }
    times: dict[str, list[float]] = {name: [] for name in given}
    with contextlib.ExitStack() as stack:
        stack.enter_context(threads(1))
        for net in given.values():
            stack.enter_context(evaluation_mode(net))
        for turn in range(-warm_up, repeats):
            for name, net in given.items():
                with Timer(first[name].device) as timer:
                    net(inputs[name])
                if turn >= 0:
                    times[name].append(1000 * timer.seconds)
    table = pd.DataFrame(times).quantile([0.5, 0.25, 0.75]).T.set_axis(["median", "lower", "upper"], axis=1)
    return table.assign(
        ratio=table["median"].iloc[0] / table["median"],
        batch=batch,
        repeats=repeats,
        threads=1,
        device=[device_name(weight.device) for weight in first.values()],
    ).rename_axis("network")
