"""The lines of the book's page "Measure your own network", on a ResNet-18 and pictures that are made first.

Trains torchvision's ResNet-18 on 3,200 of the digits that come with the installation, in a plain loop as its
owner would, writes 1,000 others as a folder of pictures, runs the page's first two Python blocks as they
stand there, and writes the page's tables and its figure (both layouts, in ``book/measured``).

    python benchmarks/measure_network.py             # two minutes on one core; writes the page
    python benchmarks/measure_network.py --epochs 1 --images 200 --dry-run    # to try it
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from own_network import accuracy, train
from PIL import Image
from torch.utils.data import DataLoader, TensorDataset

import filterwise as fw

BOOK = Path(__file__).resolve().parents[1] / "book"
PAGE, FIGURE = BOOK / "measure-your-network.md", BOOK / "measured" / "resnet18-digits.html"
MEAN, SPREAD = (torch.tensor(one).view(3, 1, 1) for one in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
CAPTION = (
    "*Two filters under the average pool of a ResNet-18 that names digits.* Left: mean fields, as a share of "
    "the largest; middle: those above 0.3 of it; right: the same with clusters boxed and first."
)
WORDS = {
    "N_c": "clusters of a filter, $N_c$",
    "C_s": "labels in a cluster, $C_s$",
    "n": "ones outside of clusters, the noise $n$",
    "SNR_block": "ones inside clusters for each one outside, SNR",
    "share_without_cluster": "share of filters without a cluster",
}


def blocks() -> list[str]:
    """The Python blocks of the page, in order."""
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)


def write_pictures(ds: fw.data.ImageSet, folder: Path) -> None:
    """A file for each image, in a folder for each label."""
    for number, (image, label) in enumerate(zip(ds.images, ds.labels.tolist(), strict=True)):
        path = folder / ds.label_names[label] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0].numpy()).resize((36, 36)).save(path)


@contextlib.contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """The page's lines find their files in the working folder, as a reader's do."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def prepare(folder: Path, epochs: int, images: int, seed: int = 0) -> None:
    """``mine.pt`` and ``pictures`` in a folder: a trained network, and pictures that it has not seen."""
    torch.manual_seed(seed)
    learned = fw.data.load("mnist5k", split="train")
    if images:
        learned = learned.balanced(images, seed=seed)
    write_pictures(fw.data.load("mnist5k", split="test"), folder / "pictures")
    write_pictures(learned, folder / "learned")
    seen = fw.data.load_folder(folder / "learned", size=32).in_memory()
    inputs = (seen.images / 255 - MEAN) / SPREAD
    order = torch.Generator().manual_seed(seed)
    net = fw.torchvision.models.resnet18(num_classes=len(seen.label_names))
    train(net, DataLoader(TensorDataset(inputs, seen.labels), 100, True, generator=order), epochs)
    torch.save(net.state_dict(), folder / "mine.pt")


def run(folder: Path) -> dict[str, Any]:
    """The page's blocks, one after the other, and the names that they leave."""
    names: dict[str, Any] = {}
    with working_in(folder):
        for block in blocks():
            exec(block, names)
    return names


def filled_in(text: str, marker: str, table: str) -> str:
    """The page with the table between ``<!-- measured: marker -->`` and ``<!-- end -->`` replaced."""
    pattern = rf"(<!-- measured: {marker} -->\n).*?(?=<!-- end -->)"
    found, count = re.subn(pattern, lambda match: match[1] + table, text, flags=re.DOTALL)
    if count != 1:
        raise SystemExit(f"{PAGE.name} has {count} places for {marker!r}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--images", type=int, default=3200, help="training images; 0 for all")
    parser.add_argument("--dry-run", action="store_true", help="write nothing into the book")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as here:
        begin = time.perf_counter()
        prepare(Path(here), options.epochs, options.images)
        trained = time.perf_counter()
        names = run(Path(here))
        measured = time.perf_counter()
    share = accuracy(names["net"], names["data"])
    print(f"trained in {trained - begin:.0f} s, measured in {measured - trained:.0f} s, {share:.3f} right")
    summary = f"| | |\n| --- | --- |\n| accuracy of the network | {share:.3f} |\n"
    summary += "".join(f"| {words} | {names['found'][name]:.2f} |\n" for name, words in WORDS.items())
    head = "| layer | clusters $N_c$ | their size $C_s$ | noise $n$ | SNR | filters without a cluster |\n"
    lines = [
        f"| `{layer}` | " + " | ".join(f"{number:.2f}" for number in row) + " |\n"
        for layer, row in zip(names["table"].index, names["table"].to_numpy(), strict=True)
    ]
    layers = head + "| --- " * 6 + "|\n" + "".join(lines)
    print(summary, layers, sep="\n")
    if options.dry_run:
        return
    text = filled_in(PAGE.read_text(encoding="utf-8"), "resnet18 summary", summary)
    PAGE.write_text(filled_in(text, "resnet18 layers", layers), encoding="utf-8")
    shown = fw.figures.captioned(names["figure"], CAPTION, name="fig-resnet18", number="Figure 1")
    FIGURE.parent.mkdir(exist_ok=True)
    FIGURE.write_text(f'<div class="cell_output">{shown.html}</div>\n', encoding="utf-8")


if __name__ == "__main__":
    main()
