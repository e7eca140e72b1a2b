"""What is measured of a network that rewired: which inputs its connections found, and what finding them cost.

Pieterse, Mocanu, arXiv:1903.07138 (2019). The degree of an input is the number of its connections to the
first hidden layer.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from filterwise.data import catalog
from filterwise.data.augmentation import scale
from filterwise.data.imageset import ImageSet
from filterwise.models.mlp import MLP
from filterwise.models.modes import evaluation_mode
from filterwise.prune.masks import masked_layer, masks_of
from filterwise.prune.rewiring import needs_similarity, rewire
from filterwise.prune.similarity import layer_similarities
from filterwise.runs.measuring import measurements
from filterwise.runs.plain_values import named
from filterwise.runs.specification import Run
from filterwise.runs.store import Result
from filterwise.training.device import Timer, pick_device

#: Points of a removal curve, the whole network's accuracy among them.
POINTS = 26
_TIMES = 5


def relevant_inputs(run: Run) -> int:
    """How many inputs say something of the label, the first ones; 0 where that is not known."""
    if run.data != "madelon":
        return 0
    options = {**catalog.describe("madelon").options, **run.data_kwargs}
    return int(options["informative"]) + int(options["redundant"])


def hits(scores: np.ndarray, relevant: int) -> float:
    """How many of the first ``relevant`` inputs are among as many of the highest scores.

    Where a tie lies across the border it counts by share, which is what chance would choose among equals; so
    equal scores give what guessing does.

    >>> hits(np.array([3, 1, 2, 0]), 2), hits(np.array([1, 1, 1, 1]), 2)
    (1.0, 1.0)
    """
    border = np.sort(scores)[::-1][relevant - 1]
    above, equal = scores > border, scores == border
    places = relevant - above.sum()
    return float(above[:relevant].sum() + places * equal[:relevant].sum() / equal.sum())


def removal_curves(
    net: MLP, ds: ImageSet, order: np.ndarray, counts: np.ndarray, device: torch.device
) -> np.ndarray:
    """Accuracy without the first ``count`` inputs of an order, for every count, float64 (counts,).

    A removed input has its mean over the training images, which is 0 once it is standardised; nothing is
    trained again.
    """
    net.to(device)
    labels = ds.labels.to(device)
    found = []
    with evaluation_mode(net):
        z = net.inputs(scale(ds.images.to(device)).flatten(1))
        for count in counts:
            kept = torch.ones(z.shape[1], device=device)
            kept[torch.from_numpy(order[:count].copy()).to(device)] = 0
            right = net.from_inputs(z * kept).argmax(1) == labels
            found.append(float(right.double().mean()))
    return np.array(found)


@measurements("afcc.connectivity")
def connectivity(result: Result) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Degrees of the inputs, what is left without some of them, and the price of the similarity.

    The row has ``weights``, connections and weights of dense layers, biases not counted; ``relevant``, the
    number of inputs that say something; ``input_hits``, how many of these are among as many inputs of the
    highest degree, and ``strength_hits``, the same by the sum of an input's absolute weights;
    ``degree_relevant`` and ``degree_noise``, means; ``lost_least_first`` and ``lost_most_first``, the part of
    the accuracy above chance that is lost without all but the ``relevant`` most connected inputs, and without
    these alone; ``removal_gap``, the mean difference of the two curves; ``turnover``, the share of
    connections that one more update would really replace; ``similarity_share``, processor time of all
    similarities over that of the training, and ``similarity_operations``, the same in multiply-accumulates.
    What has no meaning for a network or its data is left out.

    The arrays are ``degrees``, ``strengths`` (inputs,), ``removed`` (points,) and ``curves`` (2, points):
    accuracy with the least connected inputs removed first, and with the most connected.
    """
    net = result.network()
    assert isinstance(net, MLP)
    masks = masks_of(net)
    _, _, weight = masked_layer(net, net.layer_names[0])
    mask = masks.get("hidden.1.linear", torch.ones_like(weight, dtype=torch.bool))
    degrees = mask.sum(0).numpy()
    strengths = weight.detach().abs().double().sum(0).numpy()
    linear = {name: module for name, module in net.named_modules() if isinstance(module, nn.Linear)}
    row: dict[str, Any] = {
        "weights": sum(
            int(masks[name].sum()) if name in masks else module.weight.numel()
            for name, module in linear.items()
        )
    }
    inputs, relevant = len(degrees), relevant_inputs(result.run)
    counts = np.linspace(0, inputs, POINTS).round().astype(int)
    device, test = pick_device(result.device), result.test_set()
    # the order of equal degrees is drawn, not that of the columns, where the relevant inputs come first
    drawn = np.random.default_rng(result.run.seed).permutation(inputs)
    least = drawn[np.argsort(degrees[drawn], kind="stable")]
    orders = (least, least[::-1])
    curves = np.stack([removal_curves(net, test, order, counts, device) for order in orders])
    row["removal_gap"] = float((curves[0] - curves[1]).mean())
    if relevant:
        row |= {"relevant": relevant, "input_hits": hits(degrees, relevant)}
        row["strength_hits"] = hits(strengths, relevant)
        row["degree_relevant"] = float(degrees[:relevant].mean())
        row["degree_noise"] = float(degrees[relevant:].mean())
        above = max(curves[0, 0] - 1 / test.labels_count, 1 / len(test))
        for name, order, count in (
            ("lost_least_first", orders[0], inputs - relevant),
            ("lost_most_first", orders[1], relevant),
        ):
            left = removal_curves(net, test, order, np.array([count]), device)[0]
            row[name] = float((curves[0, 0] - left) / above)
    row |= _update(result, net, device)
    arrays: dict[str, np.ndarray] = {
        "degrees": degrees.astype(np.int16),
        "strengths": strengths.astype(np.float32),
        "removed": counts.astype(np.int16),
        "curves": curves.astype(np.float32),
    }
    return row, arrays


def _update(result: Result, net: MLP, device: torch.device) -> dict[str, float]:
    """Turnover of one more update of the trained network, and the share of the similarity in the training."""
    step = named("step", result.run.step)
    if step is None or step[0] != "rewire":
        return {}
    options: dict[str, Any] = {"algorithm": "SET", "zeta": 0.3, "samples": 10_000, **dict(step[1])}
    images = scale(result.train_set().images[: options["samples"]].to(device))
    names = list(masks_of(net))
    similarities: dict[str, Tensor] = {}
    row: dict[str, float] = {}
    if needs_similarity(options["algorithm"]):
        similarities = layer_similarities(net, names, images)
        row = _price(result, net, names, images)
    generator = torch.Generator().manual_seed(result.run.seed)
    new = total = 0
    for name in names:
        layer = net.get_submodule(name)
        weight, mask = cast(Tensor, layer.weight_orig), cast(Tensor, layer.weight_mask).bool()
        S = similarities.get(name)
        found = rewire(weight, mask, S, options["algorithm"], options["zeta"], generator)
        new, total = new + int((found.mask & ~mask).sum()), total + int(mask.sum())
    return {**row, "turnover": new / total}


def _price(result: Result, net: MLP, names: list[str], images: Tensor) -> dict[str, float]:
    """Share of the similarity in the training, once an epoch but the first: measured, and in operations.

    An epoch's operations are three times those of a forward pass; a similarity has one forward pass and one
    product a pair of neurons and image. On a processor both times are its own, on another device the clock's.
    """
    column = "cpu_seconds" if images.device.type == "cpu" else "seconds"
    took = []
    for _ in range(_TIMES):
        with Timer(images.device) as timer:
            layer_similarities(net, names, images)
        took.append(getattr(timer, column))
    epochs = int(result.metrics["epochs"])
    share = float(np.median(took)) * (epochs - 1) / float(result.history[column].sum())
    linear = {name: module for name, module in net.named_modules() if isinstance(module, nn.Linear)}
    forward = sum(module.weight.numel() for module in linear.values())
    pairs = sum(linear[name].weight.numel() for name in names)
    operations = (forward + pairs) * len(images) * (epochs - 1)
    training = 3 * forward * float(result.metrics["train_images"]) * epochs
    return {"similarity_share": share, "similarity_operations": operations / training}
