"""What chapter 2 measures beside accuracy: gradient terms that are 0, routes, and bounds."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from filterwise.data.augmentation import scale
from filterwise.data.imageset import ImageSet
from filterwise.models.block import FilterNet
from filterwise.models.trees import Tree3
from filterwise.papers.tree.gradient_terms import first_layer_terms, terms
from filterwise.papers.tree.routes import RULES, count_routes
from filterwise.runs.measuring import measurements
from filterwise.runs.networks import beginning
from filterwise.runs.store import Result


@measurements("tree.network")
def network(result: Result, *, exact: bool = True) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """A Tree-3 or LeNet, trained and as it began, on all test images; nothing without ``exact``.

    The row has, per layer, ``zero_share@``, the mean share of gradient terms that are exactly 0 for an image,
    ``zero_spread@``, its standard deviation over images, and ``nonzero_terms@``, the mean number of the
    others; ``zero_share_untrained@``; ``first_layer_terms`` and ``first_layer_winners``, the bounds of the
    first layer; ``routes@`` by rule, from an inner unit to the first output, in one branch; and
    ``train_accuracy_plain`` on training images without augmentation, which is all for trees one a label.
    Array ``zero_share_by_colour``: (layers with colours, colours, 2), mean and spread.
    """
    if not exact:
        return {}, {}
    net = result.network()
    row: dict[str, Any] = {"train_accuracy_plain": result.train_accuracy()}
    if not isinstance(net, (Tree3, FilterNet)):
        return row, {}
    test = result.test_set()
    whole, winners = first_layer_terms(net, test.shape)
    row |= {"first_layer_terms": whole, "first_layer_winners": winners}
    row |= _routes(net)
    shares, colours = zero_shares(net, test, result.device)
    row |= shares
    began = beginning(result.run, result.train_set(), result.start(), result.device)
    untrained, _ = zero_shares(began, test, result.device)
    row |= {
        name.replace("zero_share@", "zero_share_untrained@"): value
        for name, value in untrained.items()
        if name.startswith("zero_share@")
    }
    return row, {"zero_share_by_colour": colours} if colours.size else {}


def zero_shares(net: nn.Module, ds: ImageSet, device: str = "cpu") -> tuple[dict[str, float], np.ndarray]:
    """``zero_share@``, ``zero_spread@`` and ``nonzero_terms@`` of each layer over the images of a set.

    The array (layers with colours, colours, 2) has mean and standard deviation over images by colour.
    """
    where = torch.device("cpu" if device == "auto" else device)
    images = scale(ds.images.to(where))
    found, all_terms = terms(net.to(where), images, ds.labels.to(where))
    row, colours = {}, []
    for layer, nonzero in found.items():
        by_colour = (1 - nonzero / all_terms[layer]).cpu()  # (C or 1, N)
        share = by_colour.mean(0)
        row[f"zero_share@{layer}"] = float(share.mean())
        row[f"zero_spread@{layer}"] = float(share.std())
        row[f"nonzero_terms@{layer}"] = float(nonzero.sum(0).mean())
        if len(by_colour) > 1:
            colours.append(torch.stack([by_colour.mean(1), by_colour.std(1)], 1).numpy())
    return row, np.array(colours)


def _routes(net: Tree3 | FilterNet) -> dict[str, float]:
    if isinstance(net, Tree3):
        return {"routes@branch": float(count_routes(net)[0, 0])}
    return {f"routes@{rule}": float(count_routes(net, rule=rule)[0]) for rule in RULES}
