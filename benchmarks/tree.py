"""Training speed of Tree-3, side by side in one run: plain torch, our module, our backward pass by hand.

    python benchmarks/tree.py
    python benchmarks/tree.py --networks 15/80 --batches 100 --repeats 9 --json out.json

A step is forward pass, backward pass and optimiser, on the CPU with one thread and random images. "plain" is
the network as one would write it: a grouped convolution, ReLU, pool, and one contraction of the tree, with
automatic differentiation, contiguous and channels_last, in float32 and under bfloat16 autocast; "module" is
`filterwise`'s network with automatic differentiation; "by hand" the registered step "tree". Repeats alternate
between the forms; medians of images a second are shown, and the ratio of "by hand" to the fastest plain form,
to the plain form in float32 and contiguous memory, and to the module.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from filterwise import models
from filterwise.papers.tree.backward import tree_step
from filterwise.training import Recipe
from filterwise.training.steps import backprop

CPU = torch.device("cpu")
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Plain(nn.Module):
    """Tree-3 as it is written in the paper, operation by operation."""

    def __init__(self, K: int, M: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3 * K, 5, groups=3)
        self.tree = nn.Parameter(torch.randn(M, 3, 7, K, 2, 14) * (2 / (28 * K)) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(M, 3, 7))
        self.last = nn.Linear(21 * M, 10)

    def forward(self, x: Tensor) -> Tensor:
        pooled = F.max_pool2d(F.relu(self.conv(x)), 2)
        strips = pooled.reshape(len(x), 3, self.tree.shape[3], 7, 2, 14)
        units = torch.einsum("bgksij,mgskij->bmgs", strips, self.tree) + self.bias
        return self.last(F.relu(units).flatten(1))


def forms(K: int, M: int) -> dict[str, tuple[nn.Module, Callable, torch.memory_format]]:
    """Name -> network, step and memory format."""
    recipe = Recipe()
    found: dict[str, tuple[nn.Module, Callable, torch.memory_format]] = {}
    for layout, memory in LAYOUTS.items():
        for precision, dtype in DTYPES.items():
            name = f"plain {precision} {layout}"
            found[name] = (Plain(K, M), backprop(recipe, CPU, dtype), memory)
    for precision, dtype in DTYPES.items():
        for name, make in (("module", backprop), ("by hand", tree_step)):
            net = models.build("tree3", K=K, M=M, init="he")
            found[f"{name} {precision}"] = (net, make(recipe, CPU, dtype), torch.channels_last)
    return found


class Trainer:
    """One form, ready to train on the same random batch."""

    def __init__(self, net: nn.Module, step: Callable, memory: torch.memory_format, batch: int) -> None:
        generator = torch.Generator().manual_seed(0)
        images = torch.rand(batch, 3, 32, 32, generator=generator) * 2 - 1
        self.images = images.contiguous(memory_format=memory)
        self.labels = torch.randint(0, 10, (batch,), generator=generator)
        self.net, self.step = net.to(memory_format=memory), step
        self.optimiser = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9, nesterov=True, fused=True)

    def images_a_second(self, steps: int) -> float:
        start = time.perf_counter()
        for _ in range(steps):
            self.step(self.net, self.images, self.labels)
            self.optimiser.step()
            self.optimiser.zero_grad()
        return steps * len(self.images) / (time.perf_counter() - start)


def measure(K: int, M: int, batch: int, repeats: int) -> dict[str, float]:
    """Median images a second of every form."""
    trainers = {name: Trainer(*form, batch) for name, form in forms(K, M).items()}
    steps = max(2, 1000 // batch)
    for trainer in trainers.values():
        trainer.images_a_second(2)
    speeds: dict[str, list[float]] = {name: [] for name in trainers}
    for _ in range(repeats):
        for name, trainer in trainers.items():
            speeds[name].append(trainer.images_a_second(steps))
    return {name: statistics.median(found) for name, found in speeds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["6/16", "15/16", "15/80"], help="K/M")
    parser.add_argument("--batches", nargs="+", type=int, default=[10, 100])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for network in chosen.networks:
        K, M = map(int, network.split("/"))
        for batch in chosen.batches:
            found = measure(K, M, batch, chosen.repeats)
            best = max(speed for name, speed in found.items() if name.startswith("plain"))
            print(f"K={K} M={M}, batch {batch}, images a second")
            for name, speed in found.items():
                print(f"  {name:32s}{speed:9,.0f}")
            for precision in DTYPES:
                ours = found[f"by hand {precision}"]
                print(
                    f"  by hand, {precision}: {ours / best:.2f} of the fastest plain form, "
                    f"{ours / found['plain float32 contiguous']:.2f} of plain float32 contiguous, "
                    f"{ours / found[f'module {precision}']:.2f} of the module"
                )
            rows.append({"K": K, "M": M, "batch": batch, **found})
    if chosen.json:
        chosen.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
