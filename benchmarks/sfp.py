"""One pass against silence-and-rerun for VGG-16's upper convolutional layers, both timed in one run.

For each layer 8 to 13 (512 filters), every filter's matrix of average output fields (K x K) is made twice:

- ours: ``class_means`` and ``label_fields``, one forward pass over the images for all filters;
- silence and rerun, the procedure as published: for each filter all other head weights are set to zero and
  the images go through the network and the silenced head again; 512 passes a layer.

Both see the same images, batches and weights (random, batch norms fitted to the images), both stop at the
layer, and they take turns on one thread, as all measuring on the CPU does; CPU seconds are counted, so that
other work on the machine does not matter. The slow way runs in full if its 3,072 passes
fit the budget (they do on an idle core); else it does as many evenly spaced filters as fit and its seconds
are scaled linearly, which is printed. Prints the largest difference of any filter's matrix relative to that
matrix's largest entry, seconds, and their ratio; exits with 1 if a difference exceeds 1e-5 or a layer's
ratio is below 400.

    python benchmarks/sfp.py                              # 5 images of 3 labels
    python benchmarks/sfp.py --labels 100 --images 200    # some filters only
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from silencing import silence_and_rerun
from torch import Tensor, nn

import filterwise as fw

LAYERS = [f"features.{m}" for m in range(8, 14)]
LARGEST_DIFFERENCE = 1e-5
SMALLEST_RATIO = 400
TURNS = 8
OURS_A_TURN = 3  # a pass is short, so that the median of few is at the mercy of what else runs


def network(labels: int, images: Tensor, seed: int) -> nn.Module:
    """VGG-16 with random weights; its batch norms fit the images, so that no layer dies out."""
    net = fw.models.build("vgg16", labels=labels, seed=seed)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        net.train()(fw.data.scale(images))
    return net.eval()


def one_pass(
    net: nn.Module, layers: list[str], weights: dict[str, Tensor], ds: fw.data.ImageSet
) -> dict[str, Tensor]:
    means = fw.measure.class_means(net, layers, ds, device="cpu")
    return {layer: fw.measure.label_fields(means[layer], weights[layer]) for layer in layers}


def compare(
    net: nn.Module,
    layer: str,
    weight: Tensor,
    ds: fw.data.ImageSet,
    budget: float,
    clock: Callable[[], float],
) -> dict[str, Any]:
    """Both ways for one layer, in turns; the slow way does as many filters as fit ``budget`` seconds."""
    filters = weight.shape[1]
    trial = list(range(4))
    one_pass(net, [layer], {layer: weight}, ds)
    silence_and_rerun(net, layer, weight, ds, trial, device="cpu")
    begin = time.perf_counter()
    silence_and_rerun(net, layer, weight, ds, trial, device="cpu")
    fitting = int(budget * len(trial) / (time.perf_counter() - begin))
    chosen = torch.linspace(0, filters - 1, min(filters, max(TURNS, fitting))).round().long()
    ours, theirs, slow = [], 0.0, []
    for part in chosen.chunk(TURNS):
        for _ in range(OURS_A_TURN):
            begin = clock()
            fast = one_pass(net, [layer], {layer: weight}, ds)[layer]
            ours.append(clock() - begin)
        begin = clock()
        slow.append(silence_and_rerun(net, layer, weight, ds, part.tolist(), device="cpu"))
        theirs += clock() - begin
    expected = torch.cat(slow)
    largest = expected.abs().amax(dim=(1, 2))
    difference = (fast[chosen] - expected).abs().amax(dim=(1, 2))
    # a filter that no image excites has zeros in both; any other difference from zeros is infinitely large
    relative = torch.where(difference > 0, difference / largest, difference)
    seconds, rerun = statistics.median(ours), theirs * filters / len(chosen)
    return {
        "layer": layer,
        "filters": filters,
        "filters_rerun": len(chosen),
        "silent_filters": int((largest == 0).sum()),
        "relative_difference": float(relative.max()),
        "seconds_one_pass": seconds,
        "seconds_silence_and_rerun": rerun,
        "ratio": rerun / seconds,
    }


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--labels", type=int, default=3, help="K")
    parser.add_argument("--images", type=int, default=5, help="3x32x32 random images, at least one a label")
    parser.add_argument("--budget", type=float, default=165, help="seconds that the slow way may take in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", metavar="FILE", help="write the results there; - for standard output alone")
    options = parser.parse_args()
    if options.labels < 2 or options.images < options.labels:
        parser.error("--labels must be at least 2 and --images at least --labels")
    return options


def main() -> int:
    options = arguments()
    torch.set_num_threads(1)
    clock = time.process_time
    generator = torch.Generator().manual_seed(options.seed)
    images = torch.randint(0, 256, (options.images, 3, 32, 32), generator=generator, dtype=torch.uint8)
    labels = torch.arange(options.images) % options.labels
    ds = fw.data.ImageSet(images, labels, tuple(map(str, range(options.labels))), "random")
    net = network(options.labels, images, options.seed)
    means = fw.measure.class_means(net, LAYERS, ds, device="cpu")
    weights = {layer: torch.randn(mean.shape, generator=generator) for layer, mean in means.items()}

    show = (lambda *_: None) if options.json == "-" else lambda *parts: print(*parts, flush=True)
    shape = f"{options.images} images of {options.labels} labels"
    kind = "CPU seconds of one thread"
    show(f"VGG-16, {shape}, torch {torch.__version__}, {kind}")
    show(f"{'layer':12} {'rerun':>8} {'difference':>11} {'one pass, s':>12} {'rerun, s':>10} {'ratio':>7}")
    rows = []
    for layer in LAYERS:
        row = compare(net, layer, weights[layer], ds, options.budget / len(LAYERS), clock)
        rows.append(row)
        done, seconds = f"{row['filters_rerun']}/{row['filters']}", row["seconds_one_pass"]
        difference, rerun = row["relative_difference"], row["seconds_silence_and_rerun"]
        show(f"{layer:12} {done:>8} {difference:11.1e} {seconds:12.4f} {rerun:10.1f} {row['ratio']:6.0f}x")
    begin = clock()
    one_pass(net, LAYERS, weights, ds)
    together = clock() - begin
    rerun = sum(row["seconds_silence_and_rerun"] for row in rows)
    show(f"{'all in one':12} {'':8} {'':11} {together:12.4f} {rerun:10.1f} {rerun / together:6.0f}x")
    if any(row["filters_rerun"] < row["filters"] for row in rows):
        show("silence and rerun did some of the filters; its seconds are scaled linearly to all")
    passed = all(
        row["relative_difference"] <= LARGEST_DIFFERENCE and row["ratio"] >= SMALLEST_RATIO for row in rows
    )
    show(
        "passed" if passed else "MISSED",
        f"(<= {LARGEST_DIFFERENCE:g} apart, >= {SMALLEST_RATIO}x at each layer)",
    )
    if options.json:
        result = {
            "layers": rows,
            "all_layers": {
                "seconds_one_pass": together,
                "seconds_silence_and_rerun": rerun,
                "ratio": rerun / together,
            },
            "images": options.images,
            "labels": options.labels,
            "threads": 1,
            "seconds_are": kind,
            "torch": torch.__version__,
            "machine": platform.processor() or platform.machine(),
            "passed": passed,
        }
        text = json.dumps(result, indent=2) + "\n"
        if options.json == "-":
            sys.stdout.write(text)
        else:
            with open(options.json, "w", encoding="utf-8") as file:
                file.write(text)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
