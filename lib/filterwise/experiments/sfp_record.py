"""What a record of chapter 4 holds of one trained network: a row of numbers and small arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from filterwise import measure, models
from filterwise.data import ImageSet
from filterwise.experiments.sfp_study import SfpStudy, study, untrained
from filterwise.runs import Result
from filterwise.runs.store import build_network
from filterwise.training import Recipe

#: Filters whose matrices a record keeps where K is too large to keep all.
SHOWN_FILTERS = 6
#: Entries of a layer's matrices up to which a record keeps all filters: 128 filters at K = 10.
ALL_FILTERS_ENTRIES = 20_000
#: Random label sets for each K of the error against K.
LABEL_DRAWS = 4
_AT_K = ("N_c", "C_s", "n", "SNR_block")


def measure_layers(
    result: Result, network: str, heads: Recipe, counts: tuple[int, ...] = ()
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The row and the arrays that a record of chapter 4 keeps of one trained network.

    Parameters
    ----------
    result : Result
    network : str
        The name under which claims and figures know it.
    heads : Recipe
        Of the probe heads.
    counts : tuple of int
        Numbers of labels K at which heads are trained on subsets of the labels; none if empty.

    Returns
    -------
    row : dict
        ``<quantity>@<layer>`` and ``untrained_<quantity>@<layer>``, see
        :mod:`filterwise.claims.quantities_sfp`; ``<quantity>@K<k>``; ``layers``, ``head_epochs``,
        ``threshold``, ``macs``, ``parameters``.
    arrays : dict
        Per layer ``M@``, ``filters@`` (which filters), ``S@``, ``per_label@``, ``preferred@``, ``sizes@``
        (clusters of each size), ``thresholds`` and its ``threshold_columns``.
    """
    net, train, test = result.network(), result.train_set(), result.test_set()
    seed = result.run.seed
    found = study(net, train, test, recipe=heads, seed=seed, device=result.device)
    plain = untrained(build_network(result.run, result.data_root), train)
    control = study(
        plain, train, test, found.layers, recipe=heads, seed=seed, device=result.device, thresholds=()
    )
    row: dict[str, Any] = {
        "network": network,
        "layers": " ".join(found.layers),
        "head_epochs": heads.epochs,
        "threshold": found.threshold,
        "macs": models.macs(net, train.shape),
        "parameters": models.parameter_count(net),
    }
    row |= _per_layer(found, "")
    row |= {
        name: value for name, value in _per_layer(control, "untrained_").items() if "shuffled" not in name
    }
    if counts:
        row |= errors_row(net, found.layers[-1], train, test, counts, heads, seed, result.device)
    return row, kept_arrays(found)


def errors_row(
    net: nn.Module,
    layer: str,
    train: ImageSet,
    test: ImageSet,
    counts: Sequence[int],
    heads: Recipe,
    seed: int = 0,
    device: str | torch.device = "auto",
) -> dict[str, float]:
    """Errors of heads on subsets of K labels, both readings of "maximal", and the filters' clusters among
    them.

    Every head gets as many steps as one on all labels: with equal epochs the small subsets, which have few
    images, would be trained too briefly and the error at small K would say so.

    Returns
    -------
    dict
        ``mean_error@K<k>``, ``largest_error@K<k>``, ``largest_label_error@K<k>``, and means over the subsets
        of the layer's clusters, ``subset_N_c@K<k>`` and so on.
    """
    table = measure.error_against_labels(
        net,
        layer,
        train,
        test,
        counts,
        LABEL_DRAWS,
        heads.replace(flip=False, shift=0),
        seed,
        device,
        equal="steps",
    )
    errors = measure.maximal_errors(table).drop(columns="draws")
    clusters = table.groupby("labels")[list(_AT_K)].mean().add_prefix("subset_")
    return {
        f"{name}@K{k}": float(value)
        for columns in (errors, clusters)
        for name, column in columns.items()
        for k, value in column.items()
    }


def _per_layer(found: SfpStudy, prefix: str) -> dict[str, float]:
    return {
        f"{prefix}{quantity}@{layer}": float(value)
        for quantity, column in found.table.items()
        for layer, value in column.items()
    }


def kept_arrays(found: SfpStudy) -> dict[str, np.ndarray]:
    """Small arrays for the figures: float16 matrices, counts and accuracies.

    All filters' matrices where they are few and small (K = 10); else :data:`SHOWN_FILTERS`, evenly spaced
    among the filters that have a cluster, without looking at how they came out.
    """
    kept: dict[str, np.ndarray] = {}
    for layer in found.layers:
        fields = found.matrices[layer]
        assigned = measure.assign_clusters(measure.clip(fields, found.threshold))
        filters = torch.arange(len(fields))
        if fields.numel() > ALL_FILTERS_ENTRIES:
            filters = _evenly(filters[torch.from_numpy((assigned >= 0).any(axis=1))], SHOWN_FILTERS)
        chosen = fields[filters]
        largest = chosen.abs().amax(dim=(1, 2), keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
        kept[f"M@{layer}"] = (
            (chosen / largest).numpy().astype(np.float16)
        )  # each filter's largest modulus is 1
        kept[f"filters@{layer}"] = filters.numpy().astype(np.int16)
        kept[f"S@{layer}"] = found.coverage[layer].numpy().astype(np.int16)
        kept[f"per_label@{layer}"] = found.per_label[layer].numpy().astype(np.float32)
        kept[f"preferred@{layer}"] = found.preferred[layer].numpy().astype(np.float16)
        sizes = measure.cluster_sizes(assigned)
        kept[f"sizes@{layer}"] = np.bincount(sizes[sizes > 0], minlength=1).astype(np.int32)
    sweep = found.thresholds
    kept["threshold_layers"] = sweep["layer"].to_numpy().astype(str)
    numbers = sweep.drop(columns="layer")
    kept["threshold_columns"] = np.array(list(numbers.columns), dtype=str)
    kept["thresholds"] = numbers.to_numpy(dtype=np.float32)
    return kept


def _evenly(candidates: torch.Tensor, count: int) -> torch.Tensor:
    """At most ``count`` of the candidates, evenly spaced.

    >>> _evenly(torch.arange(10), 3).tolist()
    [0, 4, 9]
    """
    if len(candidates) <= count:
        return candidates
    return candidates[torch.linspace(0, len(candidates) - 1, count).long()]
