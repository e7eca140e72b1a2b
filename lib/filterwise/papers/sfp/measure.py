"""What chapter 4 measures of one trained network: a row of numbers and small arrays."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pandas as pd
import torch

from filterwise.errors import check_at_least
from filterwise.measure.clustering import assign_clusters, cluster_sizes
from filterwise.measure.fields import clip
from filterwise.measure.heads import HEAD_RECIPE, Head
from filterwise.measure.study_layers import SfpStudy, untrained
from filterwise.measure.study_layers import study as study_layers
from filterwise.measure.subsets import (
    accuracy_among,
    drawn_labels,
    error_against_labels,
    maximal_errors,
    with_steps_of,
)
from filterwise.models.counting import layer_names
from filterwise.runs.measuring import Measured, measurements
from filterwise.runs.networks import beginning
from filterwise.runs.store import Result
from filterwise.training.recipe import Recipe

#: Filters whose matrices a record keeps where K is too large to keep all.
SHOWN_FILTERS = 6
#: Entries of a layer's matrices up to which a record keeps all filters: 128 filters at K = 10.
ALL_FILTERS_ENTRIES = 20_000
#: Random label sets for each K of the error against K: equally many at every K, since the largest of several
#: draws grows with their number.
LABEL_DRAWS = 10
#: Random sets of few labels on which every layer is measured.
FEW_DRAWS = 4
_AT_K = ("N_c", "C_s", "n", "SNR_block")


def head_recipe(head_epochs: int, augmented: bool, head_fall: float = 0) -> Recipe:
    """The papers' recipe of probe heads for so many epochs; without augmentation the features are cached.

    Parameters
    ----------
    head_fall : how many times smaller the last epoch's learning rate is than the first's; 0 keeps the papers'
        factor of 0.975 an epoch, which over their 200 epochs makes it 150 times smaller, and over 10 leaves
        80 % of it

    Raises ParameterError: a rate that is to fall within less than two epochs, or that is to rise.

    >>> recipe = head_recipe(20, augmented=False, head_fall=100)
    >>> round(recipe.learning_rate(0, 500) / recipe.learning_rate(20 * 500 - 1, 500), 6)
    100.0
    """
    chosen = HEAD_RECIPE.replace(epochs=head_epochs)
    if head_fall:
        check_at_least("head_fall", head_fall, 1)
        check_at_least("head_epochs", head_epochs, 2)
        chosen = chosen.replace(decay=float(head_fall) ** (-1 / (head_epochs - 1)))
    return chosen if augmented else chosen.replace(flip=False, shift=0)


@measurements("sfp.study")
def study(
    result: Result,
    *,
    head_epochs: int,
    augmented: bool = False,
    threshold: float = 0.3,
    head_fall: float = 0,
    only: tuple[str, ...] = (),
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The layers of a trained network, all or ``only`` some: :func:`read_study` gives the study back.

    The row has ``<quantity>@<layer>`` for the columns of :class:`SfpStudy`'s table, ``layers`` (bottom to
    top), ``head_epochs``, ``head_rate_left`` (the heads' last learning rate over their first) and
    ``threshold``.
    """
    recipe = head_recipe(head_epochs, augmented, head_fall)
    found = study_layers(
        result.network(),
        result.train_set(),
        result.test_set(),
        only or None,
        recipe=recipe,
        seed=result.run.seed,
        threshold=threshold,
        device=result.device,
    )
    row = {
        "layers": " ".join(found.layers),
        "head_epochs": head_epochs,
        "head_rate_left": recipe.decay ** (head_epochs - 1),
        "threshold": threshold,
    }
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
    result: Result,
    *,
    head_epochs: int,
    counts: tuple[int, ...],
    draws: int = LABEL_DRAWS,
    head_fall: float = 0,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Errors of heads of the last layer on subsets of K labels, both readings of "maximal", and the filters'
    clusters among them.

    Every head gets as many steps as one on all labels: with equal epochs the small subsets, which have few
    images, would be trained too briefly and the error at small K would say so.

    The row has ``draws@K<k>``, the columns of :func:`maximal_errors` as ``mean_error@K<k>`` and so on, and
    means over the subsets of the layer's clusters, ``subset_N_c@K<k>`` and so on.
    """
    net = result.network()
    table = error_against_labels(
        net,
        layer_names(net)[-1],
        result.train_set(),
        result.test_set(),
        counts,
        draws,
        head_recipe(head_epochs, False, head_fall),
        result.run.seed,
        result.device,
    )
    clusters = table.groupby("labels")[list(_AT_K)].mean().add_prefix("subset_")
    row = {
        f"{name}@K{k}": float(value)
        for columns in (maximal_errors(table), clusters)
        for name, column in columns.items()
        for k, value in column.items()
    }
    return row, {}


@measurements("sfp.few")
def few_labels(
    result: Result, *, few: int, head_epochs: int, head_fall: float = 0, only: tuple[str, ...] = ()
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What ``sfp.layers`` measures of a network, for few of its labels at a time: means over
    :data:`FEW_DRAWS` random sets of ``few`` labels, the network itself staying as it is.

    The row has ``few_<quantity>@<layer>``, of untrained convolutions ``few_untrained_<quantity>@<layer>``,
    ``few_labels`` and ``few_accuracy``, of the whole network choosing among these labels alone.
    """
    train, test, recipe = result.train_set(), result.test_set(), head_recipe(head_epochs, False, head_fall)
    trained = result.network()
    control = untrained(beginning(result.run, train), train)
    row: dict[str, Any] = {"few_labels": few}
    accuracies, parts = [], []
    for draw in range(FEW_DRAWS):
        labels = drawn_labels(len(train.label_names), few, draw, result.run.seed)
        own_train, own_test = train.only_labels(labels), test.only_labels(labels)
        own = with_steps_of(recipe, len(train), len(own_train))
        accuracies.append(accuracy_among(trained, labels, own_test, result.device))
        found: dict[str, float] = {}
        for prefix, net in (("few_", trained), ("few_untrained_", control)):
            one = study_layers(
                net, own_train, own_test, only or None, thresholds=(), recipe=own, seed=result.run.seed,
                shuffles=0, device=result.device,
            )  # fmt: skip
            found |= _per_layer(one, prefix)
        parts.append({name: value for name, value in found.items() if "shuffled" not in name})
    means = pd.DataFrame(parts).mean()  # a layer's ratio that one draw has not is the mean of the others
    return {**row, "few_accuracy": float(np.mean(accuracies)), **{str(k): v for k, v in means.items()}}, {}


@measurements("sfp.layers")
def layers(
    result: Result,
    *,
    head_epochs: int,
    augmented: bool = False,
    counts: tuple[int, ...] = (),
    head_fall: float = 0,
    only: tuple[str, ...] = (),
    few: int = 0,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What a record of chapter 4 keeps of one trained network.

    The row is that of ``sfp.study``, its untrained control as ``untrained_<quantity>@<layer>``, with
    ``counts``, numbers of labels K, that of ``sfp.errors``, and with ``few``, one number of labels, that of
    ``sfp.few``. The arrays are those of :func:`kept_arrays`.
    """
    heads = {"head_epochs": head_epochs, "head_fall": head_fall}
    whole = result.measured("sfp.study", **heads, augmented=augmented, only=only)
    found, train = read_study(whole), result.train_set()
    control = study_layers(
        untrained(beginning(result.run, train), train),
        train,
        result.test_set(),
        found.layers,
        recipe=head_recipe(head_epochs, augmented, head_fall),
        seed=result.run.seed,
        device=result.device,
        thresholds=(),
    )
    plain = _per_layer(control, "untrained_")
    row = {**whole.row, **{name: value for name, value in plain.items() if "shuffled" not in name}}
    if counts:
        row |= result.measured("sfp.errors", **heads, counts=counts).row
    if few:
        row |= result.measured("sfp.few", **heads, few=few, only=only).row
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
