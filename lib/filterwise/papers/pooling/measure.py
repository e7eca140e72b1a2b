"""What chapter 1 measures beside accuracy: exact routes of pools, and routes in a trained network."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from filterwise.data.imageset import ImageSet
from filterwise.measure import route_counting as pools
from filterwise.measure.network_routes import gradient_sparsity, route_maps
from filterwise.measure.study_layers import untrained
from filterwise.models.pools import parse_order
from filterwise.runs.measuring import measurements
from filterwise.runs.networks import beginning
from filterwise.runs.store import Result

#: Pairs of sizes (average, max) whose two orders are compared on 8x8 maps.
SIZES = ((2, 4), (4, 2))
DRAWS = 2_000
#: Test images whose gradients are followed, and the first of them that are kept for the figure.
FOLLOWED, SHOWN = 300, 8


@measurements("pooling.arm")
def arm(result: Result, *, exact: bool = False) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What the record of one training says beside its accuracy: the network's routes, accuracy on the
    training images without augmentation, and with ``exact`` the routes of pools alone.

    Arrays are the route maps, kept for seed 0.
    """
    row, maps = network_routes(result)
    row["train_accuracy"] = result.train_accuracy()
    return {**row, **(exact_routes(result.run.seed) if exact else {})}, maps if result.run.seed == 0 else {}


@measurements("pooling.untrained")
def untrained_arm(result: Result) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The control of ``trained_routes`` and ``trained_spread``: the same before training.

    Its initial weights are the run's own; its batch norms are fitted to training images.
    """
    train = result.train_set()
    net = untrained(beginning(result.run, train, result.start(), result.device), train)
    maps = route_maps(net, _first(result.test_set(), FOLLOWED).images, device=result.device)
    count, spread = _head_routes(maps.mask)
    return {"untrained_routes": count, "untrained_spread": spread}, {}


def _head_routes(mask: Tensor) -> tuple[float, float | None]:
    """Routes a map and image of bool (N, F, h, w), and their spread over the maps that have any."""
    maps = mask.flatten(0, 1)
    found = maps[maps.any(-1).any(-1)]
    spread = float(pools.spread(found).mean()) if len(found) else None
    return float(maps.sum((1, 2)).double().mean()), spread


def exact_routes(seed: int) -> dict[str, float]:
    """The route-counting table on random maps, and how often AP(MP(x)) >= MP(AP(x)).

    ``mean_output@``, ``routes@`` and ``route_spread@`` per head are on independent U(0, 1) numbers, 8x8.
    ``order_inequality_share`` is the share of maps, half of them such, half with nine of ten pixels 0 (as a
    ReLU leaves them), on which the inequality holds; ``_uniform`` and ``_sparse`` are those of each half.

    >>> exact_routes(0)["routes@MP2-AP4"]
    16.0
    """
    table = pools.route_table(draws=DRAWS, seed=seed).set_index("order")
    row = {}
    for order in table.index:
        row[f"mean_output@{order}"] = float(table.loc[order, "mean_output"])
        row[f"routes@{order}"] = float(table.loc[order, "routes"])
        row[f"route_spread@{order}"] = float(table.loc[order, "spread"])
    generator = torch.Generator().manual_seed(seed)
    uniform = torch.rand(DRAWS, 8, 8, generator=generator, dtype=torch.float64)
    sparse = uniform * (torch.rand(DRAWS, 8, 8, generator=generator) < 0.1)
    shares = {name: inequality_share(maps) for name, maps in (("uniform", uniform), ("sparse", sparse))}
    row |= {f"order_inequality_share_{name}": share for name, share in shares.items()}
    return {**row, "order_inequality_share": sum(shares.values()) / len(shares)}


def inequality_share(maps: Tensor) -> float:
    """Share of maps (N, 8, 8), and of the two pairs of sizes, with AP(MP(x)) >= MP(AP(x)).

    >>> bright = torch.zeros(1, 8, 8)
    >>> bright[0, :2, :2] = 1
    >>> inequality_share(bright)
    0.0
    """
    gaps = [pools.order_gap(maps, average, maximum) for average, maximum in SIZES]
    return float((torch.cat(gaps) >= -1e-9).double().mean())


def network_routes(result: Result) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Routes of a trained network on test images: how many, where, and how sparse its gradients are.

    The row has ``active_share@``, ``gradient_share@`` and ``route_share@`` per layer, of the loss on 300 test
    images; and of the last layer's maps, where a head pools them, ``trained_routes`` (a map and image) and
    ``trained_spread`` (pixels, maps with a route). The arrays are the route maps of the first eight images,
    summed over the filters: ``contribution`` and ``route_count``, both (8, h, w), with the labels that won.
    """
    net, test = result.network(), _first(result.test_set(), FOLLOWED)
    sparsity = gradient_sparsity(net, test.images, test.labels, device=result.device).set_index("layer")
    row: dict[str, Any] = {
        f"{name}_share@{layer}": float(sparsity.loc[layer, name])
        for name in ("active", "gradient")
        for layer in sparsity.index
    }
    row |= {f"route_share@{layer}": float(sparsity.loc[layer, "routes"]) for layer in sparsity.index}
    maps = route_maps(net, test.images, device=result.device)
    row["trained_routes"], row["trained_spread"] = _head_routes(maps.mask)
    order = result.run.model_kwargs.get("order")
    if order and _total(order) == 8 and maps.activation.shape[-1] == 8:
        row["order_inequality_share_activations"] = inequality_share(maps.activation[:50].flatten(0, 1))
    arrays: dict[str, np.ndarray] = {
        "contribution": maps.contribution[:SHOWN].sum(1).numpy().astype(np.float32),
        "route_count": maps.mask[:SHOWN].sum(1).numpy().astype(np.int16),
        "winners": maps.winners[:SHOWN].numpy(),
        "labels": test.labels[:SHOWN].numpy(),
    }
    return row, arrays


def _total(order: str) -> int:
    return int(np.prod([step.size for step in parse_order(order)]))


def _first(images: ImageSet, count: int) -> ImageSet:
    return images.subset(torch.arange(min(count, len(images))))
