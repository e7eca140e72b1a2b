"""What chapter 6 measures of a trained network beside its accuracy, and its exact part, without training."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from filterwise.data.augmentation import scale
from filterwise.models.delays import KINDS, draw_delays
from filterwise.models.events import Lines, propagate
from filterwise.models.modes import evaluation_mode
from filterwise.models.rodib import TimedNet, jittered
from filterwise.models.timed_layers import DelayLayer
from filterwise.runs.measuring import measurements
from filterwise.runs.store import Result
from filterwise.training.device import pick_device
from filterwise.training.evaluation import logits

#: Of the table of counts: delayed layers L and delays M.
DEPTHS, COUNTS = (1, 2, 3), (2, 3, 5, 10)
#: Shares of the single lines that are moved to a wrong instant, and draws for each.
SHARES, DRAWS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5), 3
#: Test images whose time series a record keeps.
SHOWN = 20
_BATCH = 500


@measurements("rodib.arm")
def arm(
    result: Result, *, exact: bool = False, jitter: bool = False, task: str = "one"
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What the record of one training says beside its accuracy.

    ``outputs_available`` and ``outputs_used``, instants of the output; ``weights``, lines that there are,
    fewer than parameters where a connection has a single one; with two labels a picture ``exact_match``,
    the share of pictures of which both are named; ``jitter_accuracy@share``; with ``exact`` what
    :func:`exact_part` gives. Arrays, of seed 0: the series of the first test images.
    """
    net = result.network()
    assert isinstance(net, TimedNet)
    masks = [layer.mask for layer in net.delay_layers() if layer.mask is not None]
    row: dict[str, Any] = {
        "outputs_available": len(net.times) if net.units == 1 else result.provenance["labels"],
        "outputs_used": result.provenance["labels"],
        "weights": result.metrics["parameters"] - sum(int((mask == 0).count_nonzero()) for mask in masks),
    }
    if task != "one":
        row["exact_match"] = exact_match(result, net, task)
    if jitter:
        row |= jitter_accuracies(result, net)
    if exact:
        row |= exact_part(result.run.seed)
    return row, shown_series(result, net) if result.run.seed == 0 and net.units == 1 else {}


def exact_match(result: Result, net: nn.Module, task: str) -> float:
    """Share of test pictures whose two labels, and no others, are named.

    With an instant for each pair it is the accuracy; with rows of shares the two largest instants are named.
    """
    if task == "pair":
        return float(result.metrics["accuracy"])
    test = result.test_set()
    answers = logits(net, test, device=result.device).cpu()
    named = torch.zeros_like(answers).scatter_(1, answers.topk(2, 1).indices, 1.0)
    return float((named == (test.labels > 0)).all(1).double().mean())


def jitter_accuracies(result: Result, net: TimedNet) -> dict[str, float]:
    """Test accuracy with a share of the single lines at a wrong instant, mean of a few draws."""
    test, device = result.test_set(), pick_device(result.device)
    net = net.to(device)
    with evaluation_mode(net):
        features = [net.features(scale(images.to(device))) for images, _ in test.batches(_BATCH)]
    found = {}
    for share in SHARES:
        right = []
        for draw in range(DRAWS):
            generator = torch.Generator().manual_seed(1000 * result.run.seed + draw)
            moved = jittered(net, share, generator)
            moved.features = nn.Sequential()  # the lines come after what was computed above
            with evaluation_mode(moved):
                answers = torch.cat([moved(part) for part in features]).argmax(1).cpu()
            right.append(float((answers == test.labels).double().mean()))
        found[f"jitter_accuracy@{share:g}"] = float(np.mean(right))
    return found


def shown_series(result: Result, net: TimedNet) -> dict[str, np.ndarray]:
    """z(t) of the first test images, float32 (images, instants), with the instants, the labels' places among
    them and the images' labels."""
    test = result.test_set().subset(torch.arange(SHOWN))
    net = net.cpu()
    with evaluation_mode(net):
        z = net.series(scale(test.images))[:, :, 0]
    return {
        "series": z.numpy().astype(np.float32),
        "times": np.array(net.times),
        "label_places": net.label_places.numpy(),
        "shown_labels": test.labels.numpy(),
    }


def exact_part(seed: int) -> dict[str, float]:
    """What holds without training, on delays and weights drawn from ``seed``.

    ``outputs@kind-L-M``: instants at which the event simulator hears the output; ``unrolled_error``: largest
    difference of the simulator and the unrolled form over all of these; ``lemma_error`` and
    ``lemma_gradient_error``: of one delayed layer with M delays and a layer of M output units.

    >>> exact_part(0)["outputs@equal-3-10"]
    28.0
    """
    row, worst = {}, 0.0
    generator = torch.Generator().manual_seed(seed)
    for kind, depth, count in itertools.product(KINDS, DEPTHS, COUNTS):
        heard, unrolled = both_forms(kind, depth, count, generator)
        row[f"outputs@{kind}-{depth}-{count}"] = float(heard.shape[1])
        worst = max(worst, float((heard - unrolled).abs().max()))
    outputs, gradients = one_layer_errors(generator)
    return {**row, "unrolled_error": worst, "lemma_error": outputs, "lemma_gradient_error": gradients}


def both_forms(kind: str, depth: int, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Time series (images, instants) of a random network of small layers, event by event and unrolled."""
    delays = draw_delays(kind, count, depth, generator)
    x = torch.randn(2, 4, dtype=torch.float64, generator=generator)
    before, unrolled, lines = [0.0], x[:, None], []
    for number, own in enumerate(delays, start=1):
        last = number == depth
        layer = DelayLayer(unrolled.shape[2], 1 if last else 3, own, before).double()
        layer.draw(generator, "torch")
        before, sums = layer.times, layer(unrolled).detach()
        unrolled = sums if last else torch.relu(sums)
        activation = None if last else torch.relu
        lines.append(Lines(own, layer.weight.detach(), layer.bias.detach(), activation))
    heard = torch.stack(list(propagate(x, lines).values()), 1)
    return heard[:, :, 0], unrolled[:, :, 0]


def one_layer_errors(generator: torch.Generator, count: int = 10, inputs: int = 16) -> tuple[float, float]:
    """Largest difference of outputs, and of gradients, of one layer with M delays and M output units."""
    timed = DelayLayer(inputs, 1, draw_delays("generic", count, 1, generator)[0]).double()
    timed.draw(generator, "torch")
    units = nn.Linear(inputs, count, dtype=torch.float64)
    with torch.no_grad():
        units.weight.copy_(timed.weight[:, 0])
        units.bias.copy_(timed.bias[:, 0])
    x = torch.randn(8, inputs, dtype=torch.float64, generator=generator)
    labels = torch.randint(0, count, (8,), generator=generator)
    outputs = timed(x[:, None])[:, :, 0], units(x)
    for answers in outputs:
        nn.functional.cross_entropy(answers, labels).backward()
    gaps = []
    for one, two in ((timed.weight, units.weight), (timed.bias, units.bias)):
        assert one.grad is not None
        assert two.grad is not None
        gaps.append(float((one.grad.reshape(two.shape) - two.grad).abs().max()))
    return float((outputs[0] - outputs[1]).detach().abs().max()), max(gaps)
