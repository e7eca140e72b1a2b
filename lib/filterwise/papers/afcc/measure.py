"""What chapter 5 measures: masks on a trained network, and what a retrained, masked network reaches.

Tzach et al., Phys. Rev. E 111, 065307 (2025).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from filterwise.data.augmentation import scale
from filterwise.measure.head_training import generator_for
from filterwise.measure.norms import fit_norms
from filterwise.papers.afcc.edits import root_of
from filterwise.papers.afcc.ftwt_measures import dynamic
from filterwise.papers.afcc.latencies import timed
from filterwise.papers.afcc.masked_tail import Tail
from filterwise.papers.afcc.measured_fields import fields_of, true_test
from filterwise.papers.afcc.output_heads import output_layer
from filterwise.papers.afcc.rewired_heads import rewired
from filterwise.papers.afcc.set_measures import connectivity
from filterwise.prune.equal_amount import OUTPUTS, Connections
from filterwise.prune.filter_labels import chance_of_no_common_label, lost_labels
from filterwise.prune.masks import masked_layer, masks_of
from filterwise.prune.saved import savings, totals
from filterwise.runs.measuring import measurements
from filterwise.runs.networks import beginning
from filterwise.runs.store import Result
from filterwise.training.device import pick_device
from filterwise.training.evaluation import evaluate

#: Measurements of the neighbours are registered by being imported here.
__all__ = ["connectivity", "dynamic", "masks", "output_layer", "retrained", "rewired", "timed"]

#: Every criterion at AFCC's amount; the output layer has "diagonal-top" as well.
CRITERIA = ("afcc", "random", "magnitude", "kernel-l2", "kernel-l2-within", "filter-l1", "random-afcc")
THRESHOLDS = (0.1, 0.3, 0.5, 0.7, 0.9)
#: Draws of what is drawn: random masks, and kernels with and without a common label.
DRAWS = 3
#: Images that batch norms are fitted to before a masked network is judged without retraining.
FITTED = 2000

Row = dict[str, Any]
Arrays = dict[str, np.ndarray]


@measurements("afcc.masks")
def masks(
    result: Result,
    *,
    layers: tuple[str, ...],
    all_layers: tuple[str, ...] = (),
    threshold: float = 0.3,
    thresholds: tuple[float, ...] = THRESHOLDS,
    head_epochs: int = 10,
    control: bool = True,
    criteria: tuple[str, ...] = CRITERIA,
    test_images: int = 0,
    fitted: int = FITTED,
) -> tuple[Row, Arrays]:
    """AFCC's masks of a trained network, and what they and their peers leave of its accuracy unretrained.

    Parameters
    ----------
    layers
        Masked, and judged one by one at ``threshold`` and all together at all ``thresholds``.
    all_layers
        Whose dilution is measured at ``threshold`` beside that of ``layers``, bottom to top; the control is
        the network before its training.
    test_images
        The first so many, 0 for all.
    fitted
        Training images, the first ones, that batch norms are fitted to.

    Accuracies are those of the test images, batch norms fitted to the masked network first. The row has
    ``dilution@layer/theta``, ``labels_a_filter@place/theta``, ``unretrained@criterion/theta`` and so on; the
    arrays ``diagonal@place``, M^f[j, j] as a share of the filter's maximum, float16 (F, K), from which a mask
    at any threshold follows.
    """
    wide = tuple(dict.fromkeys([*all_layers, *layers]))
    between, fields = fields_of(result, wide, head_epochs)
    leaked = fields_of(result, wide, head_epochs, "test")[1]
    row: Row = {"layers": " ".join(layers), "all_layers": " ".join(wide), "threshold": threshold}
    row |= {f"dilution@{layer}": value for layer, value in _dilutions(between, fields, threshold).items()}
    if control:
        plain = _dilutions(*fields_of(result, wide, head_epochs, trained=False), threshold)
        row |= {f"untrained_dilution@{layer}": value for layer, value in plain.items()}
    seen = _dilutions(between, leaked, threshold)
    row |= {f"test_images_dilution@{layer}": value for layer, value in seen.items()}

    chosen = {layer: between[layer] for layer in layers}
    tail = Tail(result, layers, fitted, test_images)
    row["unretrained@dense"] = tail.accuracy({})
    for theta in sorted({*thresholds, threshold}):
        found = Connections(chosen, fields, theta)
        row |= _described(found, theta)
        for criterion in criteria:
            row[f"unretrained@{criterion}/{theta:g}"] = _mean_accuracy(tail, found, criterion, layers)
        if theta == threshold:
            for layer in layers:
                for criterion in criteria:
                    value = _mean_accuracy(tail, found, criterion, (layer,))
                    row[f"unretrained_layer@{criterion}/{layer}"] = value
                row |= _overlap(tail, found, layer)
                if chosen[layer].above != OUTPUTS:
                    row |= _two_sorts(tail, found, layer)
    return row, _diagonals(chosen, fields)


def _dilutions(between: Any, fields: Any, threshold: float) -> dict[str, float]:
    """Removed share of each layer's connections."""
    found = Connections(between, fields, threshold)
    return {layer: 1 - float(found.afcc(layer).double().mean()) for layer in between}


def _described(found: Connections, theta: float) -> Row:
    """Dilution and label sets at one threshold."""
    row: Row = {}
    for layer, one in found.between.items():
        row[f"dilution@{layer}/{theta:g}"] = 1 - float(found.afcc(layer).double().mean())
        sizes = [found.sets[place].sum(dim=1).double().mean() for place in (one.below, one.above)]
        labels = found.sets[OUTPUTS].shape[1]
        chance = chance_of_no_common_label(labels, *(round(float(size)) for size in sizes))
        row[f"dilution_by_chance@{layer}/{theta:g}"] = chance
        if one.above == OUTPUTS:
            row[f"lost_labels@{theta:g}"] = len(lost_labels(found.sets[one.below]))
            row[f"least_coverage@{theta:g}"] = int(found.sets[one.below].sum(dim=0).min())
    for place, sets in found.sets.items():
        if place != OUTPUTS:
            row[f"labels_a_filter@{place}/{theta:g}"] = float(sets.sum(dim=1).double().mean())
            row[f"without_labels@{place}/{theta:g}"] = float((~sets.any(dim=1)).double().mean())
    return row


def _mean_accuracy(tail: Tail, found: Connections, criterion: str, layers: tuple[str, ...]) -> float:
    """Accuracy under one criterion's masks of some layers; what is drawn, the mean of a few draws."""
    draws = DRAWS if criterion in ("random", "random-afcc") else 1
    values = []
    for draw in range(draws):
        generator = generator_for(tail.seed, f"criterion {criterion} {draw}")
        found_masks = found.masks(tail.net, criterion, generator)
        values.append(tail.accuracy({layer: found_masks[layer] for layer in layers}))
    return float(np.mean(values))


def _overlap(tail: Tail, found: Connections, layer: str) -> Row:
    """Share of AFCC's connections that kernel-L2 keeps as well, and by chance: the kept share."""
    ours, theirs = (found.masks(tail.net, name)[layer] for name in ("afcc", "kernel-l2"))
    return {
        f"overlap@{layer}": float((ours & theirs).sum() / ours.sum().clamp_min(1)),
        f"overlap_chance@{layer}": float(theirs.double().mean()),
    }


def _two_sorts(tail: Tail, found: Connections, layer: str) -> Row:
    """Accuracy after removing equally many kernels that join filters without, or with, a common label.

    Half of the rarer sort is removed. ``alike`` removes, of the kernels with a common label, those whose
    norms are nearest to those of the removed ones without: kernels without may just be the small ones.
    """
    mask = found.afcc(layer)
    norms = masked_layer(tail.net, layer)[2].detach().flatten(2).norm(dim=2).flatten()
    without, with_one = (torch.nonzero(part.flatten()).flatten() for part in (~mask, mask))
    count = min(len(without), len(with_one)) // 2
    if count == 0:
        return {}
    values: dict[str, list[float]] = {"without": [], "with": [], "alike": []}
    for draw in range(DRAWS):
        generator = generator_for(tail.seed, f"two sorts {layer} {draw}")
        first = without[torch.randperm(len(without), generator=generator)[:count]]
        second = with_one[torch.randperm(len(with_one), generator=generator)[:count]]
        alike = with_one[_nearest(norms[first], norms[with_one])]
        for name, removed in (("without", first), ("with", second), ("alike", alike)):
            kept = torch.ones(mask.numel(), dtype=torch.bool)
            kept[removed] = False
            values[name].append(tail.accuracy({layer: kept.view(mask.shape)}))
    row: Row = {f"removed_{name}@{layer}": float(np.mean(found)) for name, found in values.items()}
    row[f"removed_norm_without@{layer}"] = float(norms[first].mean())
    row[f"removed_norm_with@{layer}"] = float(norms[second].mean())
    row[f"removed_norm_alike@{layer}"] = float(norms[alike].mean())
    return {**row, f"removed_share@{layer}": count / mask.numel()}


def _nearest(wanted: torch.Tensor, offered: torch.Tensor) -> torch.Tensor:
    """Indices of as many offered values as wanted, each once, the sums of differences small.

    Both are sorted, and the wanted ones take, in ascending order, the nearest offered one that is left.

    >>> sorted(_nearest(torch.tensor([1.8, 1.0]), torch.tensor([5.0, 1.1, 1.9])).tolist())
    [1, 2]
    """
    values, order = offered.sort()
    place = torch.searchsorted(values, wanted.sort().values).clamp(max=len(values) - 1)
    # places must rise by at least one, and leave room for those that follow
    steps = torch.arange(len(place))
    risen = (place - steps).cummax(dim=0).values + steps
    room = len(values) - len(place) + steps
    return order[torch.minimum(risen, room)]


def _diagonals(between: Any, fields: Any) -> Arrays:
    """M^f[j, j] over the filter's largest entry, float16 (F, K); a filter without a positive entry has 0."""
    places = dict.fromkeys(place for one in between.values() for place in (one.below, one.above))
    kept = {}
    for place in places:
        if place != OUTPUTS:
            M = fields[place]
            largest = M.amax(dim=(1, 2))[:, None]
            share = torch.where(largest > 0, M.diagonal(dim1=1, dim2=2) / largest, torch.zeros(()))
            kept[f"diagonal@{place}"] = share.clamp_min(-1).numpy().astype(np.float16)
    return kept


@measurements("afcc.retrained")
def retrained(
    result: Result, *, before: bool = True, test_images: int = 0, fitted: int = FITTED
) -> tuple[Row, Arrays]:
    """A masked network after its retraining, on the data set's own test images.

    The row has ``accuracy``; with ``before`` the accuracy of the masked network without retraining, batch
    norms as they were (``accuracy_as_is``) and fitted to it (``accuracy_before``); what the masks save, by
    layer and in all; and ``removed_largest``, the largest modulus among removed weights, which must be 0.
    """
    test = true_test(result, test_images)
    net = result.network()
    found = evaluate(net, test, device=result.device)
    row: Row = {"accuracy": found.accuracy, "test_loss": found.loss}
    net = net.cpu()
    shape = test.shape
    table = savings(net, shape)
    on = masks_of(net)
    row |= {f"dilution@{layer}": float(table["dilution"][layer]) for layer in on}
    row |= {f"weight_dilution@{layer}": float(table["weight_dilution"][layer]) for layer in on}
    root = root_of(result)
    row |= totals(net, shape, None if root.run == result.run else root.network())
    removed = [
        (module.weight_orig.detach() * ~module.weight_mask.bool()).abs().max()
        for name, module in net.named_modules()
        if name in on
    ]
    row["removed_largest"] = float(max(removed, default=torch.zeros(())))
    if before and result.run.start is not None:
        train = result.train_set()
        begun = beginning(result.run, train, result.start(), result.device)
        row["accuracy_as_is"] = evaluate(begun, test, device=result.device).accuracy
        device = pick_device(result.device)
        anew = fit_norms(begun.to(device), scale(train.images[:fitted].to(device)))
        row["accuracy_before"] = evaluate(anew, test, device=result.device).accuracy
    return row, {"test_right": np.packbits(found.right.numpy())}
