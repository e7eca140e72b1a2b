"""What is measured of a network whose filters are chosen for each image, and of its controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from filterwise.data.imageset import ImageSet
from filterwise.measure.clustering import assign_clusters
from filterwise.measure.fields import clip, label_fields
from filterwise.measure.heads import HEAD_RECIPE, probe_heads
from filterwise.measure.means import class_means
from filterwise.prune.dynamic import predicted_blocks, put_predictors
from filterwise.prune.dynamic_macs import Observed, foreseen, image_macs, observe
from filterwise.runs.measuring import measurements
from filterwise.runs.networks import beginning
from filterwise.runs.store import Result
from filterwise.training.edits import Given

#: Highest layers of which the filters' clusters are looked at.
BRIDGED_LAYERS = 2
#: Orders of the labels that the clusters' null is drawn from.
PERMUTATIONS = 500


@measurements("afcc.dynamic")
def dynamic(
    result: Result, *, grid: Sequence[float] = (), head_epochs: int = 0
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What masks for each image do on the test images; the same columns, as far as they apply, for controls.

    Parameters
    ----------
    grid : masses r at which ground-truth masks are put on this network, to foresee what they save
    head_epochs : of linear heads on the network that the run began with; they tell the labels that each
        filter of the highest layers stands for. 0 for none

    The row has ``layers``; ``conv_macs``, all multiply-accumulates of convolutions; ``macs_share``, what is
    left of them, mean over images; by layer ``macs_share@`` and ``active@``, the share of filters that are
    on. With predictors also ``predictor_share``, their own cost; ``mask_accuracy``, how often z > 0 is g,
    beside ``majority``, the same for the best constant answer of each filter, and ``majority_layer``, for one
    of each layer; ``mask_constant``, how near the applied masks are to constant ones; all four by layer too;
    ``target@``, the share of ones in g; ``foreseen_share`` and ``foreseen_accuracy``, of g put in place of M
    before the retraining, and ``foreseen_dense_share``, of g counted then on the untouched network.
    Arrays: ``rate@`` (F, K), how often a filter is on for images of each label, and ``target_rate@``, how
    often g says so; ``foreseen`` (r, 3), the grid with share and accuracy; ``clusters@`` bool (F, K), whether
    a label is in one of the filter's clusters.
    """
    net, test = result.network(), result.test_set()
    seen = observe(net, test, device=result.device)
    row: dict[str, Any] = {
        "layers": " ".join(cost.layer for cost in seen.costs),
        "conv_macs": int(seen.full.sum()),
        "macs_share": seen.share,
        **{f"macs_share@{layer}": share for layer, share in seen.layer_shares.items()},
        **{f"active@{layer}": float(mask.double().mean()) for layer, mask in seen.masks.items()},
    }
    arrays: dict[str, np.ndarray] = {}
    if grid:
        arrays["foreseen"] = np.array([_foreseen_at(result.network(), test, r, result) for r in grid])
    if predicted_blocks(net):
        begun = beginning(result.run, result.train_set(), result.start(), result.device)
        before = foreseen(begun, test, result.device)
        untouched = observe(begun, test, "all", device=result.device)
        row |= {
            "predictor_share": seen.predictor_share,
            "foreseen_share": before.share,
            "foreseen_accuracy": before.accuracy,
            "foreseen_dense_share": _target_share(untouched),
            **mask_quality(seen),
        }
        rates = {layer: by_label(mask, test) for layer, mask in seen.masks.items()}
        wanted = {layer: by_label(target, test) for layer, target in seen.targets.items()}
        for name, each in (("rate", rates), ("target_rate", wanted)):
            arrays |= {f"{name}@{layer}": part.numpy().astype(np.float16) for layer, part in each.items()}
        start = result.start()
        if head_epochs and start is not None:
            found, clusters = bridge(start, rates, head_epochs)
            row |= found
            arrays |= {f"clusters@{layer}": inside for layer, inside in clusters.items()}
    return row, arrays


def _foreseen_at(net: nn.Module, test: ImageSet, r: float, result: Result) -> tuple[float, float, float]:
    put_predictors(net, Given(test, 0), r=r)
    found = foreseen(net, test, result.device)
    return r, found.share, found.accuracy


def _target_share(seen: Observed) -> float:
    active = {layer: target.sum(1) for layer, target in seen.targets.items()}
    macs = image_macs(seen.costs, active, len(seen.right)).sum(1)
    return float(macs.double().mean() / seen.full.sum())


def mask_quality(seen: Observed) -> dict[str, float]:
    """How well predictors answer, by layer and as means over layers; see :func:`dynamic`."""
    columns: dict[str, dict[str, float]] = {}
    for layer, target in seen.targets.items():
        on = target.double().mean(0)  # by filter
        rate = seen.masks[layer].double().mean(0)
        columns[layer] = {
            "mask_accuracy": float((seen.answers[layer] == target).double().mean()),
            "majority": float(torch.maximum(on, 1 - on).mean()),
            "majority_layer": float(max(on.mean(), 1 - on.mean())),
            "mask_constant": float(torch.maximum(rate, 1 - rate).mean()),
            "target": float(on.mean()),
        }
    row = {f"{name}@{layer}": value for layer, each in columns.items() for name, value in each.items()}
    for name in ("mask_accuracy", "majority", "majority_layer", "mask_constant"):
        row[name] = float(np.mean([each[name] for each in columns.values()]))
    return row


def by_label(mask: Tensor, ds: ImageSet) -> Tensor:
    """How often each filter is on for the images of each label: bool (N, F) -> float64 (F, K)."""
    member = F.one_hot(ds.labels.cpu(), ds.labels_count).double()
    return mask.double().T @ (member / member.sum(0).clamp_min(1))


def bridge(
    start: Result, rates: Mapping[str, Tensor], head_epochs: int
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """The labels that a filter stands for statically, beside those that it is switched on for.

    Clusters are those of the network before it was retrained (Tzach et al. 2023), on the test images. By
    layer ``bridge@``: how much more often a filter is on for the labels in its clusters than for all others,
    mean over filters that have both; ``bridge_null@``, the value that this reaches in one of 40 random orders
    of the labels. Also the clusters by layer, bool (F, K).
    """
    net, train, test = start.network(), start.train_set(), start.test_set()
    layers = list(rates)[-BRIDGED_LAYERS:]
    recipe = HEAD_RECIPE.replace(epochs=head_epochs, flip=False, shift=0)
    heads = probe_heads(net, layers, train, test, recipe, start.run.seed, start.device, cache=True)
    row, arrays = {}, {}
    for layer in layers:
        fields = label_fields(class_means(net, layer, test, device=start.device), heads[layer].weight)
        inside = assign_clusters(clip(fields)) >= 0
        rate = rates[layer].numpy()
        generator = np.random.default_rng(start.run.seed)
        orders = [generator.permutation(inside.shape[1]) for _ in range(PERMUTATIONS)]
        row[f"bridge@{layer}"] = cluster_gain(rate, inside)
        row[f"bridge_null@{layer}"] = float(
            np.quantile([cluster_gain(rate[:, order], inside) for order in orders], 0.975)
        )
        arrays[layer] = inside
    return row, arrays


def cluster_gain(rate: np.ndarray, inside: np.ndarray) -> float:
    """Mean rate on the labels inside minus on those outside, mean over filters that have both.

    ``rate`` (F, K), ``inside`` bool (F, K). NaN if no filter has both.

    >>> cluster_gain(np.array([[1.0, 0.5, 0.0]]), np.array([[True, True, False]]))
    0.75
    """
    count = inside.sum(1)
    both = (count > 0) & (count < inside.shape[1])
    if not both.any():
        return float("nan")
    rate, inside, count = rate[both], inside[both], count[both]
    within = (rate * inside).sum(1) / count
    beyond = (rate * ~inside).sum(1) / (inside.shape[1] - count)
    return float((within - beyond).mean())
