"""Many small networks at once, against training them one after the other; in one run.

    python benchmarks/ensemble.py
    python benchmarks/ensemble.py --members 4 16 --repeats 5 --json out.json

Images a second, counted over all members, of S solo runs in turn and of `fit_many`, which stacks their
weights under ``torch.func.vmap``. On the CPU, with one thread, and on CUDA where there is one. The images
are random bytes: no file is read. Repeats alternate; medians are shown.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import nn

from filterwise import models
from filterwise.data import ImageSet
from filterwise.training import Recipe, fit, fit_many, synchronize

BUILDS: dict[str, Callable[[int], nn.Module]] = {
    "lenet5, 2 filters": lambda seed: models.build("lenet5", d1=2, seed=seed),
    "lenet5": lambda seed: models.build("lenet5", seed=seed),
    "vgg, 8 to 32 filters": lambda seed: models.build("vgg", stages=((8, 2), (16, 2), (32, 2)), seed=seed),
}


def random_set(count: int) -> ImageSet:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=generator)
    return ImageSet(images, torch.arange(count) % 10, tuple("0123456789"))


def solo(
    build: Callable[[int], nn.Module], ds: ImageSet, recipe: Recipe, members: int, device: torch.device
) -> None:
    for seed in range(members):
        fit(build(seed), ds, None, recipe, seed, device, progress=False)


def seconds(call: Callable[[], object], device: torch.device) -> float:
    synchronize(device)
    start = time.perf_counter()
    call()
    synchronize(device)
    return time.perf_counter() - start


def compare(device: torch.device, members: list[int], count: int, repeats: int) -> dict[str, object]:
    """Print and return the speeds on one device."""
    ds, recipe, found = random_set(count), Recipe(epochs=2, batch=50), {}
    for name, build in BUILDS.items():
        for number in members:
            calls: dict[str, Callable[[], object]] = {
                "solo": partial(solo, build, ds, recipe, number, device),
                "stacked": partial(fit_many, build, ds, None, recipe, range(number), device, progress=False),
            }
            times: dict[str, list[float]] = {way: [] for way in calls}
            for turn in range(repeats + 1):
                for way, call in calls.items():
                    took = seconds(call, device)
                    if turn:  # the first turn prepares kernels
                        times[way].append(took)
            work = number * count * recipe.epochs
            speeds = {way: work / statistics.median(values) for way, values in times.items()}
            print(f"{name}, {number} members on {device}")
            for way, speed in speeds.items():
                print(f"  {way:<10}{speed:>10,.0f} images/s   x {speed / speeds['solo']:.2f}")
            found[f"{name}, {number}"] = {"speeds": speeds, "seconds": times}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--members", type=int, nargs="+", default=[4, 16], help="members (default 4 16)")
    parser.add_argument("--images", type=int, default=1000, help="images in an epoch (default 1000)")
    parser.add_argument("--cuda-images", type=int, default=10000, help="the same on CUDA (default 10000)")
    parser.add_argument("--repeats", type=int, default=3, help="counted repeats (default 3)")
    parser.add_argument("--json", type=Path, default=None, help="also write everything measured to this file")
    options = parser.parse_args()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    machine = f"{os.cpu_count()} cores, torch {torch.__version__}"
    print(f"{machine}; load before the start {load:.1f}")
    found = {"cpu": compare(torch.device("cpu"), options.members, options.images, options.repeats)}
    if torch.cuda.is_available():
        device = torch.device("cuda", torch.cuda.current_device())
        found["cuda"] = compare(device, options.members, options.cuda_images, options.repeats)
    else:
        print(f"CUDA: left out, because torch {torch.__version__} finds no CUDA device here")
    if options.json is not None:
        options.json.write_text(
            json.dumps({"machine": machine, "load": load, **found}, indent=1) + "\n", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
