"""Every filter's label fields by captum, by silence-and-rerun and by ours, timed in turns in one run.

For K labels and a layer of F filters with four positions, all from the same images, network and head:

- ours: ``class_means`` and ``label_fields`` in chunks, one pass over the images;
- captum at its best: one pass that caches the features, then ``FeatureAblation`` of one gate a filter in
  front of the head alone; outputs are averaged by label inside the function, so that a call gives as many
  outputs as fit 10,000 at once (a call an image and output would be slower many times over);
- captum as it is usually used: ``LayerFeatureAblation`` with a mask that groups each filter's positions,
  label by label, which runs the network again for every filter;
- silence-and-rerun: the published procedure, a pass over the images for every filter.

What would take too long runs for some labels or some filters and is scaled by the number of evaluations; the
column "run" says which share ran. CPU seconds of one thread, median of five turns; peak memory is what one
run adds to the process (Linux). Every number that a method gives is compared with ours; beyond 1e-5 of the
largest field, the script exits with 1. "passes" is the time in forward passes of the images up to the layer.

    python benchmarks/captum.py
    python benchmarks/captum.py --quick

captum is needed by this benchmark only: pip install captum==0.9.0
"""

from __future__ import annotations

import argparse
import ctypes
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from silencing import silence_and_rerun
from torch import Tensor

import filterwise as fw
from filterwise.measure.features import frozen_features
from filterwise.measure.fields import field_chunks
from filterwise.measure.hooks import Capture, measuring
from filterwise.measure.means import float_batches
from filterwise.prune.timing import device_name

# this file has the package's name and must not be found in its place
_HERE = [place for place in sys.path if Path(place or ".").resolve() == Path(__file__).resolve().parent]
for _place in _HERE:
    sys.path.remove(_place)
from captum.attr import FeatureAblation, LayerFeatureAblation  # noqa: E402

sys.path[:0] = _HERE

LAYER = "features.4"
LARGEST_DIFFERENCE = 1e-5
OUTPUTS = 10_000  # of one captum call
Row = tuple[Tensor, list[int], list[int]]  # fields (f, i, K), filters, labels


@dataclass
class Case:
    """One K and F: the network up to the layer, a head, images, and how much the slow ways run."""

    labels: int
    filters: int
    images: int
    budget: float
    seed: int = 0
    ds: fw.data.ImageSet = field(init=False)

    def __post_init__(self) -> None:
        generator = torch.Generator().manual_seed(self.seed)
        pixels = torch.randint(0, 256, (self.images, 3, 32, 32), generator=generator, dtype=torch.uint8)
        labels = torch.arange(self.images) % self.labels
        self.ds = fw.data.ImageSet(pixels, labels, tuple(map(str, range(self.labels))), "random")
        stages = tuple((self.filters // part, 1) for part in (8, 4, 2, 1))
        self.net = fw.models.build("vgg", labels=self.labels, stages=stages, seed=self.seed).eval()
        mean = fw.measure.class_means(self.net, LAYER, self.ds, device="cpu")
        self.weight = torch.randn(mean.shape, generator=generator)
        self.mean = mean

    def expected(self, filters: list[int], labels: list[int]) -> Tensor:
        """Ours, for some filters and labels of inputs: (f, i, K)."""
        return torch.einsum("ifp,jfp->fij", self.mean[labels][:, filters], self.weight[:, filters])

    def one_pass(self, keep: bool) -> list[Row]:
        mean = fw.measure.class_means(self.net, LAYER, self.ds, device="cpu")
        everything, rows = list(range(self.labels)), []
        for part, M in field_chunks(mean, self.weight):
            if keep:
                rows.append((M, list(range(self.filters))[part], everything))
        return rows

    def forward_only(self, keep: bool) -> list[Row]:
        with measuring(self.net, torch.device("cpu")), Capture(self.net, LAYER) as capture:
            for images, _ in float_batches(self.ds, 500, torch.device("cpu")):
                capture(images)
        return []

    def captum_best(self, keep: bool, calls: int = 0) -> list[Row]:
        """``calls``: of those that all labels take; 0 for all."""
        stored = frozen_features(self.net, LAYER, self.ds, device="cpu", dtype="float32")
        features, rows = stored.values[LAYER], []
        flat = self.weight.flatten(1).T.contiguous()
        parts = torch.arange(self.labels).split(max(1, OUTPUTS // self.labels))
        for part in parts[: calls or len(parts)]:
            chosen = torch.nonzero(torch.isin(stored.labels, part)).flatten()
            x, own = features[chosen], stored.labels[chosen] - part[0]
            counts = torch.bincount(own, minlength=len(part))[:, None]

            def averaged(gates: Tensor, x: Tensor = x, own: Tensor = own, counts: Tensor = counts) -> Tensor:
                outputs = (x * gates.view(1, -1, 1)).flatten(1) @ flat
                return (torch.zeros(len(counts), self.labels).index_add_(0, own, outputs) / counts).flatten()

            found = FeatureAblation(averaged).attribute(torch.ones(1, self.filters))
            if keep:
                fields = found.view(len(part), self.labels, self.filters).permute(2, 0, 1)
                rows.append((fields, list(range(self.filters)), part.tolist()))
        return rows

    def captum_usual(self, keep: bool, filters: int = 4, labels: int = 1) -> list[Row]:
        """For the first ``labels`` labels and ``filters`` filters; one more group holds all other filters."""
        layer = self.net.get_submodule(LAYER)
        flat, rows = self.weight.flatten(1).T.contiguous(), []
        groups = torch.arange(self.filters).clamp(max=filters).view(1, -1, 1, 1)

        def averaged(images: Tensor) -> Tensor:
            return (self.net.features(images).flatten(1) @ flat).mean(dim=0)

        for label in range(labels):
            images = fw.data.scale(self.ds.images[self.ds.labels == label])
            method = LayerFeatureAblation(averaged, layer)
            found = method.attribute(images, layer_mask=groups)  # (K, F, h, h), one value a filter
            if keep:
                fields = found[:, :filters, 0, 0].T[:, None]
                rows.append((fields, list(range(filters)), [label]))
        return rows

    def rerun(self, keep: bool, filters: int = 2) -> list[Row]:
        chosen = list(range(filters))
        found = silence_and_rerun(self.net, LAYER, self.weight, self.ds, chosen, device="cpu")
        return [(found, chosen, list(range(self.labels)))] if keep else []


def peak(run: Callable[[], object]) -> float:
    """MiB that a run adds to the process at its peak; NaN where the system does not tell."""
    status = Path("/proc/self/status")
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # what was freed before would hide what is needed now
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        before = _kilobytes(status, "VmRSS")
        run()
        return (_kilobytes(status, "VmHWM") - before) / 1024
    except (OSError, AttributeError):
        run()
        return float("nan")


def _kilobytes(status: Path, name: str) -> float:
    (line,) = [line for line in status.read_text(encoding="ascii").splitlines() if line.startswith(name)]
    return float(line.split()[1])


def compare(case: Case, turns: int) -> tuple[list[tuple[str, float, float, float, float]], float]:
    """(method, CPU seconds in full, share that ran, ratio to ours, MiB); and the largest difference."""
    calls = -(-case.labels // max(1, OUTPUTS // case.labels))
    begin = time.process_time()
    case.captum_best(False, calls=1)
    one = time.process_time() - begin
    doable = max(1, min(calls, int(case.budget / turns / one)))
    few, labels = min(4, case.filters), min(2, case.labels)
    # label by label: one pass that reads the layer, one with nothing ablated, and one a group
    methods: dict[str, tuple[Callable[[bool], list[Row]], float]] = {
        "forward pass alone": (case.forward_only, 1.0),
        "ours": (case.one_pass, 1.0),
        "captum, cached features": (lambda keep: case.captum_best(keep, doable), doable / calls),
        "captum, layer ablation": (
            lambda keep: case.captum_usual(keep, few, labels),
            labels / case.labels * (few + 3) / (case.filters + 2),
        ),
        "silence and rerun": (lambda keep: case.rerun(keep, 2), 2 / case.filters),
    }
    worst, largest = 0.0, float(case.expected(list(range(case.filters)), [0]).abs().max())
    with torch.no_grad(), measuring(case.net):
        for run, _ in methods.values():
            for fields, filters, own in run(case.labels * case.filters <= 64_000 or run is not case.one_pass):
                difference = (fields - case.expected(filters, own)).abs().max()
                worst = max(worst, float(difference) / largest)
        seconds: dict[str, list[float]] = {name: [] for name in methods}
        for _ in range(turns):
            for name, (run, _) in methods.items():
                begin = time.process_time()
                run(False)
                seconds[name].append(time.process_time() - begin)
        memory = {name: peak(lambda run=run: run(False)) for name, (run, _) in methods.items()}
    cached = statistics.median(seconds["forward pass alone"])
    full = {}
    for name, (_, share) in methods.items():
        median = statistics.median(seconds[name])
        # the features are cached once, however many labels are then ablated
        fixed = min(cached, median) if name == "captum, cached features" else 0.0
        full[name] = fixed + (median - fixed) / share
    rows = [(name, full[name], share, full[name] / full["ours"], memory[name])
            for name, (_, share) in methods.items()]  # fmt: skip
    return rows, worst


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="K = 10 and 100, F = 64, one turn")
    parser.add_argument("--images", type=int, default=500, help="at least; one a label in any case")
    parser.add_argument("--budget", type=float, default=40, help="seconds for captum's cached way, each case")
    options = parser.parse_args()
    torch.set_num_threads(1)
    turns = 1 if options.quick else 5
    processor = device_name(torch.device("cpu"))
    print(f"{processor}, one thread, torch {torch.__version__}; CPU seconds, {turns} turn(s)")
    columns = f"{'seconds':>9} {'run':>8} {'of ours':>8} {'passes':>8} {'MiB':>7}"
    print(f"{'K':>5} {'F':>4} {'images':>6}  {'method':24} {columns}", flush=True)
    passed = True
    for labels in (10, 100) if options.quick else (10, 100, 1000):
        for filters in (64,) if options.quick else (64, 512):
            images = max(100 if options.quick else options.images, labels)
            rows, worst = compare(Case(labels, filters, images, options.budget), turns)
            alone = rows[0][1]
            for name, seconds, share, ratio, memory in rows:
                values = f"{seconds:9.3f} {share:8.2%} {ratio:7.2f}x {seconds / alone:8.2f} {memory:7.0f}"
                print(f"{labels:5} {filters:4} {images:6}  {name:24} {values}")
            passed &= worst <= LARGEST_DIFFERENCE
            print(f"{'':18} largest difference from ours {worst:.1e}", flush=True)
    print("passed" if passed else "MISSED", f"(<= {LARGEST_DIFFERENCE:g} apart)")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
