"""Training speed, side by side in one run: our loop and the usual ones.

    python benchmarks/train.py                      # LeNet-5 and VGG-6 at quarter width, on the CPU
    python benchmarks/train.py --repeats 9 --json out.json

On the CPU: images a second of `filterwise.training` and of a DataLoader loop with per-image torchvision
transforms, once fed in its own process and once by worker processes; the ratio is to the faster of the two.
And the share of our time that is outside forward pass, backward pass and optimiser step.

On CUDA: VGG-16, images a second, the share of the card's bfloat16 peak (measured, by a large matrix product),
and a bare loop in the manner of the CIFAR-10 speed runs. Without CUDA that part says so and is left out.

The images are random bytes: no file is read. Repeats alternate between the loops; medians are shown.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from peers import bare_loop, usual_loop
from torch import Tensor, nn

from filterwise import models
from filterwise.training import Feed, Recipe, resolve, threads
from filterwise.training.device import place, same_kernels, synchronize
from filterwise.training.epoch import train_epoch
from filterwise.training.learning import optimiser_of
from filterwise.training.steps import backprop

RECIPE = Recipe(epochs=100)
NETWORKS = {"lenet5": 1.0, "vgg6": 0.25}


def random_images(count: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=generator)
    return images, torch.randint(0, 10, (count,), generator=generator)


class OurLoop:
    """`fit`'s own epochs, with a clock around what any loop must do: forward, backward, step."""

    def __init__(
        self, net: nn.Module, images: Tensor, labels: Tensor, recipe: Recipe, device: torch.device
    ) -> None:
        self.form = resolve(recipe, device)
        self.net = place(net, device, self.form.layout)
        self.optimiser = optimiser_of(self.net, recipe)
        self.step = backprop(recipe, device, self.form.dtype)
        self.feed = Feed(images, labels, recipe, 0, device, self.form.layout, reuse=True)
        self.epochs = 0
        self.device, self.inside = device, 0.0

    def __call__(self, step: Callable | None = None) -> float:
        """One epoch; its seconds."""
        self.epochs += 1
        with same_kernels(self.device):
            row = train_epoch(self.net, self.optimiser, self.feed, self.epochs, step or self.step)
        return row["seconds"]

    def share_outside(self) -> float:
        """The share of an epoch that is not forward, backward or optimiser step; on the CPU."""
        inside, move = 0.0, self.optimiser.step

        def timed(function: Callable) -> Callable:
            def call(*arguments: object) -> object:
                nonlocal inside
                start = time.perf_counter()
                result = function(*arguments)
                inside += time.perf_counter() - start
                return result

            return call

        self.optimiser.step = timed(move)  # type: ignore[method-assign]
        try:
            seconds = self(timed(self.step))
        finally:
            self.optimiser.step = move  # type: ignore[method-assign]
        return 1 - inside / seconds


def alternate(loops: dict[str, Callable[[], float]], images: int, repeats: int) -> dict[str, list[float]]:
    """Images a second of each loop, ``repeats`` times by turns, after a first turn that is not counted."""
    speeds: dict[str, list[float]] = {name: [] for name in loops}
    for turn in range(repeats + 1):
        for name, loop in loops.items():
            seconds = loop()
            if turn:
                speeds[name].append(images / seconds)
    return speeds


def on_cpu(count: int, repeats: int, workers: int) -> dict[str, object]:
    """The CPU part, printed and returned."""
    images, labels = random_images(count)
    device, found = torch.device("cpu"), {}
    for name, width in NETWORKS.items():
        ours = OurLoop(models.build(name, width=width), images, labels, RECIPE, device)
        loops: dict[str, Callable[[], float]] = {"ours": ours}
        for number in sorted({0, workers}):
            peer = models.build(name, width=width)
            loops[f"usual, {number} workers"] = usual_loop(peer, images, labels, RECIPE, device, number)
        speeds = alternate(loops, count, repeats)
        outside = statistics.median(ours.share_outside() for _ in range(repeats))
        medians = {loop: statistics.median(values) for loop, values in speeds.items()}
        best = max(value for loop, value in medians.items() if loop != "ours")
        form = f"{ours.form.precision}, {ours.form.memory_format}"
        print(f"\n{name} at width {width:g}, batch {RECIPE.batch} ({form})")
        for loop, value in medians.items():
            spread = f"{min(speeds[loop]):,.0f} to {max(speeds[loop]):,.0f}"
            print(f"  {loop:<20}{value:>10,.0f} images/s   ({spread})")
        print(f"  ratio to the faster usual loop: {medians['ours'] / best:.2f}")
        print(f"  outside forward, backward and step: {outside:.1%} of our time")
        found[name] = {
            "speeds": speeds,
            "ratio": medians["ours"] / best,
            "outside": outside,
            **ours.form.to_dict(),
        }
    return found


def matrix_peak(device: torch.device, side: int = 8192, products: int = 30) -> float:
    """Floating-point operations a second of a large bfloat16 matrix product."""
    left = torch.randn(side, side, device=device, dtype=torch.bfloat16)
    best = 0.0
    for _ in range(5):
        synchronize(device)
        start = time.perf_counter()
        for _ in range(products):
            left @ left
        synchronize(device)
        best = max(best, 2 * side**3 * products / (time.perf_counter() - start))
    return best


def on_cuda(count: int, repeats: int) -> dict[str, object]:
    """The CUDA part, printed and returned."""
    if not torch.cuda.is_available():
        reason = f"torch {torch.__version__} finds no CUDA device here"
        print(f"\nVGG-16 on CUDA: left out, because {reason}")
        return {"left out": reason}
    images, labels = random_images(count)
    device = torch.device("cuda", torch.cuda.current_device())
    recipe, found = RECIPE.replace(precision="bfloat16"), {}
    peak = matrix_peak(device)
    print(f"\n{torch.cuda.get_device_name(device)}: {peak / 1e12:.0f} TFLOP/s in a bfloat16 matrix product")
    for batch in (100, 1000):
        recipe = recipe.replace(batch=batch)
        ours = OurLoop(models.build("vgg16"), images, labels, recipe, device)
        loops = {"ours": ours, "bare": bare_loop(models.build("vgg16"), images, labels, recipe)}
        speeds = alternate(loops, count, repeats)
        medians = {loop: statistics.median(values) for loop, values in speeds.items()}
        # forward, and backward by weights and by inputs: three times two operations a multiply-accumulate
        work = 6 * models.macs(ours.net) * medians["ours"]
        print(f"VGG-16, batch {batch} ({ours.form.precision}, {ours.form.memory_format})")
        for loop, value in medians.items():
            print(f"  {loop:<20}{value:>10,.0f} images/s")
        print(f"  ratio to the bare loop: {medians['ours'] / medians['bare']:.2f}")
        print(f"  share of the measured bfloat16 peak: {work / peak:.1%}")
        found[f"batch {batch}"] = {"speeds": speeds, "share of peak": work / peak, "peak": peak}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--images", type=int, default=5000, help="images in an epoch on the CPU (default 5000)"
    )
    parser.add_argument(
        "--cuda-images", type=int, default=50000, help="images in an epoch on CUDA (default 50000)"
    )
    parser.add_argument("--repeats", type=int, default=5, help="counted epochs of each loop (default 5)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of torch (default 1, as in fit)")
    parser.add_argument("--workers", type=int, default=2, help="workers of the second usual loop (default 2)")
    parser.add_argument("--json", type=Path, default=None, help="also write everything measured to this file")
    options = parser.parse_args()
    with threads(options.threads) as count:
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
        machine = f"{platform.machine()}, {os.cpu_count()} cores, {count} threads, torch {torch.__version__}"
        print(f"{machine}; load before the start {load:.1f}")
        found = {
            "machine": machine,
            "load": load,
            "cpu": on_cpu(options.images, options.repeats, options.workers),
        }
        found["cuda"] = on_cuda(options.cuda_images, options.repeats)
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
