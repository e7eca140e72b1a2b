"""One pass against silencing node by node, for all places of CCT-7/3x1, timed in turns in one run.

Every node's matrix (SNP, K x K) of the tokens and of five places in each encoder ("qkv", "mha", "mid",
"hid", "ff"), and every attention head's (SHP), behind one probe head (layer norm, sequence pool, linear layer
without a bias) a place:

- ours: ``read_tokens``, one pass over the images for all places; matrices are then products of class means
  and weights;
- silence and rerun, the procedure as published: for each node all other inputs of the probe head's linear
  layer are silenced, and the images go through the network up to the place and through the head again;
- the same with the place's tokens cached: only the probe head is run again;
- direct attribution, as one writes it with TransformerLens's cache: the contribution z_k W[:, k] of every
  node to every output of every input, then averaged by label; plain torch, one pass for all places.

All see the same images, batches, network (random weights) and heads (random weights; their numbers do not
matter for the time, and every way must give the same). CPU seconds of one thread. The two slow ways run for
some evenly spaced nodes of each place and are scaled linearly, which is printed; ours and direct attribution
run in full, the median of their turns counts. Differences are relative to each matrix's largest entry. Exits
with 1 if one exceeds 1e-5 or ours is less than 100 times as fast as silence and rerun.

    python benchmarks/vit.py
    python benchmarks/vit.py --quick                       # a small transformer
    python benchmarks/vit.py --labels 100 --images 200
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import filterwise as fw
from filterwise.measure.hooks import Capture, measuring
from filterwise.measure.means import float_batches, label_counts
from filterwise.measure.places_of_encoders import KINDS, TOKENS, encoder_numbers, encoder_place
from filterwise.measure.token_heads import Reading, TokenHead, read_tokens
from filterwise.prune.timing import device_name

LARGEST_DIFFERENCE = 1e-5
SMALLEST_RATIO = 100
CPU = torch.device("cpu")
Heads = Mapping[str, TokenHead]


def places_by_kind(net: nn.Module) -> dict[str, list[str]]:
    """Kind of place -> modules, bottom to top."""
    numbers = encoder_numbers(net)
    return {"tokens": [TOKENS]} | {kind: [encoder_place(net, kind, m) for m in numbers] for kind in KINDS}


def random_heads(net: nn.Module, places: list[str], ds: fw.data.ImageSet, seed: int) -> dict[str, TokenHead]:
    """A probe head a place with random weights, as wide as the place has nodes."""
    generator = torch.Generator().manual_seed(seed)
    with measuring(net, CPU), Capture(net, places) as capture:
        shapes = {place: seen.shape[1] for place, seen in capture(next(float_batches(ds, 1, CPU))[0]).items()}

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    labels = len(ds.label_names)
    return {
        place: TokenHead(place, 1 + 0.1 * drawn(d), 0.1 * drawn(d), drawn(d) / d**0.5, drawn(labels, d))
        for place, d in shapes.items()
    }


def one_pass(net: nn.Module, heads: Heads, ds: fw.data.ImageSet) -> dict[str, Tensor]:
    """Every node's matrix by place, (d, K, K)."""
    return {place: found.node_fields() for place, found in read_tokens(net, dict(heads), ds, CPU).items()}


def direct_attribution(net: nn.Module, heads: Heads, ds: fw.data.ImageSet) -> dict[str, Tensor]:
    """The same from contributions of every node to every output of every input, averaged by label."""
    cache: dict[str, Tensor] = {}
    modules = dict(net.named_modules())
    hooks = [
        modules[place].register_forward_hook(lambda _m, _i, out, place=place: cache.__setitem__(place, out))
        for place in heads
    ]
    labels = len(ds.label_names)
    sums = {place: torch.zeros(labels, *head.weight.T.shape) for place, head in heads.items()}
    with measuring(net, CPU):
        for images, own in float_batches(ds, 500, CPU):
            net(images)
            for place, head in heads.items():
                z = head.pooled(cache[place])
                contributions = z[:, :, None] * head.weight.T  # (images, d, K)
                sums[place].index_add_(0, own, contributions)
    for hook in hooks:
        hook.remove()
    counts = label_counts(ds)[:, None, None]
    return {place: (one / counts).transpose(0, 1) for place, one in sums.items()}


def matrix_of(
    run: Callable[[], list[tuple[Tensor, Tensor]]], head: TokenHead, kept: Tensor, counts: Tensor
) -> Tensor:
    """Mean outputs (K, K) by label of the head when all inputs but ``kept`` are silenced.

    ``run``: gives batches of tokens and labels.
    """
    silenced = torch.zeros_like(head.weight)
    silenced[:, kept] = head.weight[:, kept]
    sums = torch.zeros(len(counts), len(counts), dtype=torch.float64)
    for tokens, own in run():
        sums.index_add_(0, own, (head.pooled(tokens) @ silenced.T).double())
    return (sums / counts[:, None]).float()


@dataclass
class Slow:
    """The two slow ways at one place: matrices of some groups of nodes, and seconds of each."""

    matrices: Tensor
    rerun: float
    cached: float
    ran: int


def slow_ways(
    net: nn.Module, head: TokenHead, groups: list[Tensor], ds: fw.data.ImageSet, clock: Callable[[], float]
) -> Slow:
    """Both, in turns; what is cached for the second is not timed, which favours it."""
    counts, matrices, rerun, cached = label_counts(ds), [], 0.0, 0.0
    with measuring(net, CPU), Capture(net, head.place) as capture:

        def passes() -> list[tuple[Tensor, Tensor]]:
            return [
                (capture(images)[head.place].transpose(1, 2), own)
                for images, own in float_batches(ds, 500, CPU)
            ]

        kept = passes()  # also checks that the network takes the images, once and untimed
        for group in groups:
            begin = clock()
            matrices.append(matrix_of(passes, head, group, counts))
            rerun += clock() - begin
            begin = clock()
            again = matrix_of(lambda: kept, head, group, counts)
            cached += clock() - begin
            if not torch.allclose(again, matrices[-1], atol=1e-6):
                raise SystemExit(f"{head.place}: cached tokens give other matrices than a new pass")
    return Slow(torch.stack(matrices), rerun, cached, len(groups))


def apart(found: Tensor, expected: Tensor) -> float:
    """Largest difference of any matrix, relative to the largest entry of the expected one."""
    difference, largest = (found - expected).abs().amax((1, 2)), expected.abs().amax((1, 2))
    return float(torch.where(difference > 0, difference / largest, difference).max())


def spaced(count: int, chosen: int) -> list[int]:
    """So many of ``count`` numbers, evenly spaced."""
    return torch.linspace(0, count - 1, min(count, chosen)).round().long().tolist()


def timed(run: Callable[[], object], clock: Callable[[], float]) -> float:
    begin = clock()
    run()
    return clock() - begin


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="depth 2, d = 64, 64 tokens instead of CCT-7/3x1"
    )
    parser.add_argument("--labels", type=int, default=10, help="K")
    parser.add_argument("--images", type=int, default=20, help="random images, at least one a label")
    parser.add_argument("--nodes", type=int, default=2, help="of each place, for the two slow ways")
    parser.add_argument("--heads", type=int, default=4, help="H; it divides the width")
    parser.add_argument("--turns", type=int, default=5, help="of ours and of direct attribution")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.labels < 2 or options.images < options.labels:
        parser.error("--labels must be at least 2 and --images at least --labels")
    torch.set_num_threads(1)
    clock = time.process_time
    generator = torch.Generator().manual_seed(options.seed)
    pixels = torch.randint(0, 256, (options.images, 3, 32, 32), generator=generator, dtype=torch.uint8)
    labels = torch.arange(options.images) % options.labels
    ds = fw.data.ImageSet(pixels, labels, tuple(map(str, range(options.labels))), "random")
    network = {"depth": 2, "d": 64, "tokenizer_layers": 2} if options.quick else {}
    net = fw.models.build(
        "cct" if options.quick else "cct7_3x1", labels=options.labels, heads=options.heads, **network
    ).eval()
    kinds = places_by_kind(net)
    heads = random_heads(net, [place for places in kinds.values() for place in places], ds, options.seed)

    shape = f"{options.images} images of {options.labels} labels"
    print(f"{'a small CCT' if options.quick else 'CCT-7/3x1'}, {options.heads} heads, {shape}")
    print(f"{device_name(CPU)}, one thread, torch {torch.__version__}; CPU seconds", flush=True)

    def forward() -> None:
        with measuring(net, CPU):
            for images, _ in float_batches(ds, 500, CPU):
                net(images)

    ways = {"ours": lambda: one_pass(net, heads, ds), "direct": lambda: direct_attribution(net, heads, ds)}
    matrices = {name: way() for name, way in ways.items()}
    ways = {"forward": forward, **ways}
    readings: dict[str, Reading] = read_tokens(net, dict(heads), ds, CPU)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.turns):
        for name, way in ways.items():
            seconds[name].append(timed(way, clock))

    columns = f"{'rerun, s':>10} {'cached, s':>10} {'difference':>11}"
    print(f"{'place':12} {'matrices':>9} {'ran':>5} {columns}")
    worst = max(apart(matrices["direct"][place], matrices["ours"][place]) for place in heads)
    direct_apart, rerun, cached, total = worst, 0.0, 0.0, 0
    kinds_of_rows = {**{kind: (kind, False) for kind in kinds}, "qkv, heads": ("qkv", True)}
    for name, (kind, by_head) in kinds_of_rows.items():
        row_rerun = row_cached = 0.0
        row_worst, row_ran, row_total = 0.0, 0, 0
        for place in kinds[kind]:
            nodes = torch.arange(len(heads[place].score))
            groups = list(nodes.view(options.heads, -1) if by_head else nodes[:, None])
            chosen = spaced(len(groups), options.nodes)
            slow = slow_ways(net, heads[place], [groups[one] for one in chosen], ds, clock)
            ours = readings[place].head_fields(options.heads) if by_head else matrices["ours"][place]
            row_worst = max(row_worst, apart(ours[chosen], slow.matrices))
            row_rerun += slow.rerun * len(groups) / slow.ran
            row_cached += slow.cached * len(groups) / slow.ran
            row_ran, row_total = row_ran + slow.ran, row_total + len(groups)
        times = f"{row_rerun:10.1f} {row_cached:10.2f} {row_worst:11.1e}"
        print(f"{name:12} {row_total:9} {row_ran:5} {times}", flush=True)
        rerun, cached, worst, total = (
            rerun + row_rerun,
            cached + row_cached,
            max(worst, row_worst),
            total + row_total,
        )
    alone, fast, direct = (statistics.median(seconds[name]) for name in ("forward", "ours", "direct"))
    print(
        "silence and rerun, and the same with cached tokens, are scaled linearly from the matrices that ran"
    )
    print(f"{'all ' + str(total) + ' matrices':34} {'seconds':>10} {'of ours':>9}")
    for name, value in (
        ("forward pass alone", alone),
        ("ours, one pass", fast),
        ("direct attribution, one pass", direct),
        ("silence and rerun, cached tokens", cached),
        ("silence and rerun", rerun),
    ):
        print(f"{name:34} {value:10.3f} {value / fast:8.2f}x")
    print(f"direct attribution is {direct_apart:.1e} from ours at most, silencing {worst:.1e}")
    passed = worst <= LARGEST_DIFFERENCE and rerun / fast >= SMALLEST_RATIO
    print("passed" if passed else "MISSED", f"(<= {LARGEST_DIFFERENCE:g} apart, >= {SMALLEST_RATIO}x)")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
