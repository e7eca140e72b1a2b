"""How long networks take whose first encoders are convolutions, beside what they reach and how early.

Gross et al., Physica A 675, 130835 (2025), replace first encoders by convolutional layers to cut the time of
one forward pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from filterwise.errors import ParameterError, check_choice
from filterwise.models.counting import macs, parameter_count
from filterwise.models.encoder import Heads
from filterwise.models.modes import evaluation_mode
from filterwise.papers.afcc.measured_fields import true_test
from filterwise.prune.timing import latency
from filterwise.runs.measuring import measurements
from filterwise.runs.store import Result
from filterwise.training.device import pick_device
from filterwise.training.evaluation import evaluate
from filterwise.training.steps import autocast

#: What is timed by the name of its columns: all in float32, or matrix products in bfloat16 (mixed precision).
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@measurements("vit.latency")
def timed_in_turns(
    *results: Result,
    names: Sequence[str] = (),
    batches: Sequence[int] = (1, 128),
    repeats: int = 50,
    warm_up: int = 10,
    precisions: Sequence[str] = (),
    test_images: int = 0,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Networks in turns on the results' device: milliseconds a batch, and what they reach.

    One forward pass in evaluation mode of images that are on the device already, waited for before each
    reading of the clock; one thread of a CPU. Batch norms of the convolutions are timed as they are, not
    folded.

    Parameters
    ----------
    names : of the networks, as many as results; by default "1", "2", ...
    batches : numbers of images in a batch
    repeats, warm_up : timed batches of each network, and those before them
    precisions : "float32", and "bfloat16" for autocast to it; by default both on CUDA, elsewhere float32
    test_images : for the accuracy, the first so many, of every label equally many; 0 for all

    The row has for the batch b and the precision p: ``ms_b_p@name``, ``ms_lower_b_p@name`` and
    ``ms_upper_b_p@name`` (median, quartiles), ``speed_up_b_p@name``, the first network's median over this
    one's; ``attention_kernel_p@name``, the kernels of attention that were taken ("math" is not fused); of
    each network ``parameters@``, ``macs@``, ``test_accuracy@`` on the data set's own test images,
    ``epochs@``, ``early_epochs@``, a tenth of its epochs and at least one, and ``early_accuracy@`` and
    ``late_accuracy@``, after these and after all, on the images that its training was followed with: those
    held out, if it holds any out. Also ``batches``, ``precisions``, ``repeats``, ``warm_up``,
    ``timed_device`` and ``timed_threads`` (of a CPU).

    Raises ParameterError: names that are not as many as results, or not different; networks that read images
    of different shapes; unknown precisions; numbers below 1.
    """
    for precision in precisions:
        check_choice("precisions", precision, PRECISIONS)
    called = tuple(names) or tuple(str(number) for number in range(1, len(results) + 1))
    if len(called) != len(results) or len(set(called)) != len(called):
        raise ParameterError(f"names={called!r} must be {len(results)} different names, one for each network")
    tests = {name: true_test(one, test_images) for name, one in zip(called, results, strict=True)}
    shapes = {test.shape for test in tests.values()}
    if len(shapes) > 1:
        raise ParameterError(f"the networks read images of the shapes {sorted(shapes)}; one shape is timed")
    shape = next(iter(shapes))
    device = pick_device(results[0].device)
    nets = {name: one.network().to(device) for name, one in zip(called, results, strict=True)}
    row: dict[str, Any] = {"repeats": repeats, "warm_up": warm_up, "batches": " ".join(map(str, batches))}
    for name, result in zip(called, results, strict=True):
        reached = evaluate(nets[name], tests[name], device=device)
        row |= {
            f"parameters@{name}": parameter_count(nets[name]),
            f"macs@{name}": macs(nets[name], shape),
            f"test_accuracy@{name}": reached.accuracy,
            **{f"{column}@{name}": value for column, value in early_and_late(result.history).items()},
        }
    chosen = tuple(precisions) or (tuple(PRECISIONS) if device.type == "cuda" else ("float32",))
    for precision in chosen:
        with autocast(device, PRECISIONS[precision]):
            for name, net in nets.items():
                row[f"attention_kernel_{precision}@{name}"] = attention_kernels(net, shape)
            for batch in batches:
                table = latency(nets, shape, batch, repeats, warm_up)
                row |= {
                    "timed_device": table["device"].iloc[0],
                    "timed_threads": int(table["threads"].iloc[0]),
                }
                row |= _times(table, f"{batch}_{precision}")
    return {**row, "precisions": " ".join(chosen)}, {}


def _times(table: pd.DataFrame, what: str) -> dict[str, float]:
    row: dict[str, float] = {}
    for name, times in table.iterrows():
        row |= {
            f"ms_{what}@{name}": float(times["median"]),
            f"ms_lower_{what}@{name}": float(times["lower"]),
            f"ms_upper_{what}@{name}": float(times["upper"]),
            f"speed_up_{what}@{name}": float(times["ratio"]),
        }
    return row


def early_and_late(history: pd.DataFrame) -> dict[str, float | int | None]:
    """Accuracy after the first tenth of the epochs, at least one, and after the last.

    ``history``: one row an epoch, with ``epoch`` from 1 and ``test_accuracy``, NaN where it was not
    evaluated; the early accuracy is then that of the last evaluation until there, or None.

    >>> rows = [{"epoch": e, "test_accuracy": (e - 1) / 100} for e in range(1, 31)]
    >>> early_and_late(pd.DataFrame(rows))
    {'epochs': 30, 'early_epochs': 3, 'early_accuracy': 0.02, 'late_accuracy': 0.29}
    """
    epochs = len(history)
    early = max(1, epochs // 10)
    until = history.loc[history["epoch"] <= early, "test_accuracy"].dropna()
    return {
        "epochs": epochs,
        "early_epochs": early,
        "early_accuracy": float(until.iloc[-1]) if len(until) else None,
        "late_accuracy": float(history["test_accuracy"].iloc[-1]),
    }


class _Watch(TorchDispatchMode):
    """Writes down torch's operators as they are dispatched to a device."""

    def __init__(self) -> None:
        super().__init__()
        self.operators: set[str] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.operators.add(func.name().removeprefix("aten::"))
        return func(*args, **(kwargs or {}))


def attention_kernels(net: nn.Module, shape: tuple[int, int, int]) -> str:
    """The kernels of scaled dot-product attention that one forward pass takes, by torch's names for them.

    Which one is taken depends on the device, the precision and the size of a head: such as
    "flash_attention_for_cpu", "flash_attention", "efficient_attention", "cudnn_attention"; "math" is none of
    them, which writes all attention maps to memory; and "none" is what a network without attention has.
    Within the autocast that the caller has entered. ``shape``: (C, H, W) of an image.

    >>> from filterwise import models
    >>> attention_kernels(models.build("lenet5"), (3, 32, 32))
    'none'
    """
    weight = next(net.parameters())
    image = torch.zeros(1, *shape, dtype=weight.dtype, device=weight.device)
    heads = sum(isinstance(module, Heads) for module in net.modules())
    with evaluation_mode(net), _Watch() as watch:
        net(image)
    start = "_scaled_dot_product_"
    fused = sorted(name.removeprefix(start) for name in watch.operators if name.startswith(start))
    return " ".join(fused) or ("math" if heads else "none")
