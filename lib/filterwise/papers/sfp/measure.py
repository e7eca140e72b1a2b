"""What chapter 4 measures of one trained network: a row of numbers and small arrays."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pandas as pd
import torch

from filterwise.measure.clustering import assign_clusters, cluster_sizes
from filterwise.measure.fields import clip
from filterwise.measure.heads import HEAD_RECIPE, Head
from filterwise.measure.study_layers import SfpStudy, untrained
from filterwise.measure.study_layers import study as study_layers
from filterwise.measure.subsets import error_against_labels, maximal_errors
from filterwise.models.counting import layer_names
from filterwise.runs.measuring import Measured, measurements
from filterwise.runs.networks import beginning
from filterwise.runs.store import Result
from filterwise.training.recipe import Recipe

#: Filters whose matrices a record keeps where K is too large to keep all.
SHOWN_FILTERS = 6
#: Entries of a layer's matrices up to which a record keeps all filters: 128 filters at K = 10.
ALL_FILTERS_ENTRIES = 20_000
#: Random label sets for each K of the error against K.
LABEL_DRAWS = 4
_AT_K = ("N_c", "C_s", "n", "SNR_block")


def head_recipe(head_epochs: int, augmented: bool) -> Recipe:
    """The papers' recipe of probe heads for so many epochs; without augmentation the features are cached."""
    chosen = HEAD_RECIPE.replace(epochs=head_epochs)
    return chosen if augmented else chosen.replace(flip=False, shift=0)


@measurements("sfp.study")
def study(
    result: Result, *, head_epochs: int, augmented: bool = False, threshold: float = 0.3
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Every layer of a trained network, whole: :func:`read_study` gives the study back.

    The row has ``<quantity>@<layer>`` for the columns of :class:`SfpStudy`'s table, ``layers`` (bottom to
    top), ``head_epochs`` and ``threshold``.
    """
    found = study_layers(
        result.network(),
        result.train_set(),
        result.test_set(),
        recipe=head_recipe(head_epochs, augmented),
        seed=result.run.seed,
        threshold=threshold,
        device=result.device,
    )
    row = {"layers": " ".join(found.layers), "head_epochs": head_epochs, "threshold": threshold}
    arrays = {
        "table": np.array(found.table.reset_index().to_json(orient="split", double_precision=15)),
        "sweep": np.array(found.thresholds.to_json(orient="split", double_precision=15)),
    }
    for layer in found.layers:
        arrays[f"M@{layer}"] = found.matrices[layer].numpy()
        arrays[f"S@{layer}"] = found.coverage[layer].numpy()
        arrays[f"per_label@{layer}"] = found.per_label[layer].numpy()
        arrays[f"preferred@{layer}"] = found.preferred[layer].numpy()
        arrays[f"W@{layer}"] = found.heads[layer].weight.numpy()
    return {**row, **_per_layer(found, "")}, arrays


def read_study(measured: Measured) -> SfpStudy:
    """The study that the measurement ``sfp.study`` took."""

    def table(name: str) -> pd.DataFrame:
        return pd.read_json(io.StringIO(str(measured.arrays[name])), orient="split", precise_float=True)

    def per_layer(name: str) -> dict[str, torch.Tensor]:
        return {layer: torch.from_numpy(measured.arrays[f"{name}@{layer}"]) for layer in names}

    names = str(measured.row["layers"]).split()
    weights, per_label = per_layer("W"), per_layer("per_label")
    accuracies = {layer: float(measured.row[f"probe_accuracy@{layer}"]) for layer in names}
    heads = {
        layer: Head(layer, weights[layer], accuracies[layer], per_label[layer], pd.DataFrame())
        for layer in names
    }
    return SfpStudy(
        table("table").set_index("layer"),
        table("sweep"),
        per_layer("M"),
        per_layer("S"),
        per_label,
        per_layer("preferred"),
        heads,
        float(measured.row["threshold"]),
    )


@measurements("sfp.errors")
def errors(
    result: Result, *, head_epochs: int, counts: tuple[int, ...], draws: int = LABEL_DRAWS
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Errors of heads of the last layer on subsets of K labels, both readings of "maximal", and the filters'
    clusters among them.

    Every head gets as many steps as one on all labels: with equal epochs the small subsets, which have few
    images, would be trained too briefly and the error at small K would say so.

    The row has ``mean_error@K<k>``, ``largest_error@K<k>``, ``largest_label_error@K<k>``, and means over the
    subsets of the layer's clusters, ``subset_N_c@K<k>`` and so on.
    """
    net = result.network()
    table = error_against_labels(
        net,
        layer_names(net)[-1],
        result.train_set(),
        result.test_set(),
        counts,
        draws,
        head_recipe(head_epochs, augmented=False),
        result.run.seed,
        result.device,
    )
    largest = maximal_errors(table).drop(columns="draws")
    clusters = table.groupby("labels")[list(_AT_K)].mean().add_prefix("subset_")
    row = {
        f"{name}@K{k}": float(value)
        for columns in (largest, clusters)
        for name, column in columns.items()
        for k, value in column.items()
    }
    return row, {}


@measurements("sfp.layers")
def layers(
    result: Result, *, head_epochs: int, augmented: bool = False, counts: tuple[int, ...] = ()
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What a record of chapter 4 keeps of one trained network.

    The row is that of ``sfp.study``, its untrained control as ``untrained_<quantity>@<layer>``, and with
    ``counts``, numbers of labels K, that of ``sfp.errors``. The arrays are those of :func:`kept_arrays`.
    """
    whole = result.measured("sfp.study", head_epochs=head_epochs, augmented=augmented)
    found, train = read_study(whole), result.train_set()
    control = study_layers(
        untrained(beginning(result.run, train), train),
        train,
        result.test_set(),
        found.layers,
        recipe=head_recipe(head_epochs, augmented),
        seed=result.run.seed,
        device=result.device,
        thresholds=(),
    )
    plain = _per_layer(control, "untrained_")
    row = {**whole.row, **{name: value for name, value in plain.items() if "shuffled" not in name}}
    if counts:
        row |= result.measured("sfp.errors", head_epochs=head_epochs, counts=counts).row
    return row, kept_arrays(found)


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
        assigned = assign_clusters(clip(fields, found.threshold))
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
        sizes = cluster_sizes(assigned)
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
