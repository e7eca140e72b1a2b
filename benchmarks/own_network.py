"""The ten lines of the book's page "Prune your own network", on a ResNet-18 that is trained first.

Trains torchvision's ResNet-18 on the digits that come with the installation, in a plain loop as its owner
would, runs the page's first Python block as it stands there, and prints the page's tables: accuracy,
parameters that are not zero, parameters held, and milliseconds a batch (median and quartiles, one thread,
networks in turns); beside it magnitude pruning at the same number of weights, single ones and whole
channels, retrained alike; and what larger thresholds take out.

    python benchmarks/own_network.py
    python benchmarks/own_network.py --epochs 1 --images 400    # to try it
"""

from __future__ import annotations

import argparse
import copy
import re
import time
import warnings
from pathlib import Path

import pandas as pd
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import filterwise as fw

PAGE = Path(__file__).resolve().parents[1] / "book" / "prune-your-network.md"
MEAN, SPREAD = 0.13, 0.31  # of the digits' pixels


def blocks() -> list[str]:
    """The Python blocks of the page, in order."""
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)


def loader(ds: fw.data.ImageSet, shuffle: bool = False, seed: int = 0) -> DataLoader:
    """Normalised float inputs with three channels, and labels."""
    inputs = ((ds.images.float() / 255 - MEAN) / SPREAD).repeat(1, 3, 1, 1)
    order = torch.Generator().manual_seed(seed)
    return DataLoader(TensorDataset(inputs, ds.labels), batch_size=100, shuffle=shuffle, generator=order)


def train(net: nn.Module, data: DataLoader, epochs: int, lr: float = 0.02) -> None:
    """SGD with momentum and a cosine schedule."""
    optimiser = torch.optim.SGD(net.parameters(), lr, momentum=0.9, weight_decay=5e-4, nesterov=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs * len(data))
    net.train()
    for _ in range(epochs):
        for inputs, labels in data:
            optimiser.zero_grad()
            nn.functional.cross_entropy(net(inputs), labels).backward()
            optimiser.step()
            schedule.step()
    net.eval()


@torch.no_grad()
def accuracy(net: nn.Module, data: DataLoader) -> float:
    """Share of right answers."""
    net.eval()
    right = [(net(inputs).argmax(dim=1) == labels) for inputs, labels in data]
    return float(torch.cat(right).float().mean())


def nonzero(net: nn.Module) -> int:
    """Parameters that are not zero; of masked layers, those that are left."""
    masks = fw.prune.masks_of(net)
    removed = sum(int((~mask).sum()) for mask in masks.values())
    return sum(int((weight != 0).sum()) for weight in net.parameters()) - (removed if masks else 0)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--retrain-epochs", type=int, default=1)
    parser.add_argument("--images", type=int, default=0, help="training images at most; 0 for all")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    whole = fw.data.load("mnist5k", split="train")
    rest, held = whole.split_off(0.2, seed=options.seed)
    if options.images:
        rest = rest.balanced(options.images, seed=options.seed)
    learned, validation = loader(rest, shuffle=True, seed=options.seed), loader(held)
    test = loader(fw.data.load("mnist5k", split="test"))
    net = fw.torchvision.models.resnet18(num_classes=10)
    begin = time.perf_counter()
    train(net, learned, options.epochs)
    print(f"trained on {len(rest)} images in {time.perf_counter() - begin:.0f} s", flush=True)

    names = {
        "net": net, "validation": validation, "test": test, "accuracy": accuracy, "shape": (3, 28, 28),
        "retrain": lambda net: train(net, learned, options.retrain_epochs, lr=0.005),
    }  # fmt: skip
    begin = time.perf_counter()
    exec(blocks()[0], names)
    print(f"the page's lines took {time.perf_counter() - begin:.0f} s, retraining included\n", flush=True)
    pruned, smaller, net, dense = (names[one] for one in ("pruned", "smaller", "net", "dense"))
    print(pruned, "\n")
    print(smaller, "\n")
    whole_count, layers = smaller.parameters, names["layers"]
    rows = [
        ("dense", accuracy(dense, test), nonzero(dense), whole_count, "dense"),
        ("AFCC, masked", names["masked_accuracy"], nonzero(net), whole_count, "masked"),
        ("AFCC, retrained", accuracy(net, test), nonzero(net), whole_count, "masked"),
        ("its dead channels removed", accuracy(smaller.net, test), nonzero(smaller.net),
         smaller.parameters_left, "removed"),
    ]  # fmt: skip
    peer = copy.deepcopy(dense)
    fw.prune.afcc(peer, layers, validation, criterion="magnitude")
    for what in ("magnitude, masked", "magnitude, retrained"):
        rows.append((what, accuracy(peer, test), nonzero(peer), whole_count, "masked"))
        names["retrain"](peer)
    kept = int(pruned.table["weights_kept"].iloc[:-1].sum())
    structured = fw.prune.remove_by_magnitude(dense, layers[:-1], kept, names["shape"])
    timed = {"dense": dense, "masked": net, "removed": smaller.net, "structured": structured.net}
    times = fw.prune.latency(timed, names["shape"], batch=32)
    for what in ("channels by magnitude, removed", "channels by magnitude, retrained"):
        rows.append((what, accuracy(structured.net, test), nonzero(structured.net),
                     structured.parameters_left, "structured"))  # fmt: skip
        names["retrain"](structured.net)
    print("| | accuracy | parameters that are not zero | parameters held | ms a batch of 32 |")
    print("| --- | --- | --- | --- | --- |")
    for name, right, left, held_parameters, of in rows:
        print(f"| {name} | {right:.3f} | {left:,} | {held_parameters:,} | {_span(times, of)} |")
    print(f"\n{times['device'].iloc[0]}, {times['threads'].iloc[0]} thread, torch {torch.__version__}\n")
    columns = ("threshold", "removed connections", "accuracy, not retrained", "parameters held", "ms, dense")
    print("|", " | ".join((*columns, "ms, removed")), "|")
    print("| --- | --- | --- | --- | --- | --- |")
    for threshold in (0.3, 0.5, 0.7, 0.9):
        other = copy.deepcopy(dense)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            table = fw.prune.afcc(other, layers, validation, threshold=threshold).table
        small = fw.prune.remove_dead(other, names["shape"])
        times = fw.prune.latency({"dense": dense, "removed": small.net}, names["shape"], batch=32)
        share = 1 - table["connections_kept"].sum() / table["connections"].sum()
        print(f"| {threshold} | {share:.3f} | {accuracy(other, test):.3f} | {small.parameters_left:,} | "
              f"{_span(times, 'dense')} | {_span(times, 'removed')} |", flush=True)  # fmt: skip


def _span(times: pd.DataFrame, name: str) -> str:
    """Median and quartiles, in ms."""
    row = times.loc[name]
    return f"{row['median']:.1f} ({row['lower']:.1f} to {row['upper']:.1f})"


if __name__ == "__main__":
    main()
