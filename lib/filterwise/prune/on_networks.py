"""AFCC on a network of one's own, in one call: measure label sets, mask, and report what was removed."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from filterwise.data.imageset import ImageSet
from filterwise.errors import ParameterError, check_choice, refused
from filterwise.measure.fields import clip, field_chunks
from filterwise.measure.head_training import generator_for
from filterwise.measure.own_data import Data, own_batches
from filterwise.measure.probing import PROBE_RECIPE, Place, Probe, probe_places
from filterwise.prune.cluster_connections import afcc_mask
from filterwise.prune.criteria import criteria, mask_of_amount
from filterwise.prune.equal_amount import redrawn
from filterwise.prune.filter_labels import warn_of_lost
from filterwise.prune.masks import apply, masked_layer
from filterwise.prune.places import Given, LayerPlaces, places_of
from filterwise.prune.saved import savings
from filterwise.training.recipe import Recipe


@dataclass(frozen=True, eq=False)
class Pruned:
    """What :func:`afcc` measured and removed.

    Attributes
    ----------
    table : one row a layer: ``dilution`` (removed share of its connections), ``weights``, ``weights_kept``,
        ``macs``, ``macs_kept`` for one image, ``without_labels`` (filters that it reads and that stand for no
        label), ``lost_labels`` (labels that none of these filters stands for), ``accuracy_below`` and
        ``accuracy_above`` (of the heads that the label sets were measured with; the latter is missing for
        the layer of the labels' outputs)
    masks : by layer, bool, of the weight's shape
    sets : label sets T by place, bool (filters, K)
    places : where they were measured, by layer
    probes : the heads, by place
    threshold, criterion, amount : as asked for
    train_inputs, held_out_inputs : how many the heads learned from, and how many were averaged

    >>> from filterwise import models
    >>> net = models.build("vgg", labels=2, channels=1, size=8, stages=((4, 1), (6, 1)))
    >>> inputs = torch.rand(60, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> found = afcc(net, ["features.2"], (inputs, torch.arange(60) % 2), amount=0.5)
    >>> found.table["dilution"].tolist(), found.train_inputs, found.held_out_inputs
    ([0.5], 42, 18)
    """

    table: pd.DataFrame
    masks: dict[str, Tensor]
    sets: dict[Place, Tensor]
    places: dict[str, LayerPlaces]
    probes: dict[Place, Probe] = field(repr=False)
    threshold: float
    criterion: str
    amount: float | None
    train_inputs: int
    held_out_inputs: int

    def __repr__(self) -> str:
        table = self.table
        kept = zip(table["weights_kept"], table["weights"], strict=True)
        shown = pd.DataFrame({
            "removed": table["dilution"].map("{:.3f}".format),
            "weights": [f"{left:,} of {own:,}" for left, own in kept],
            "macs": (table["macs_kept"] / table["macs"]).map("{:.3f}".format),
            "no labels": table["without_labels"],
            "lost": table["lost_labels"].map(len),
            "heads": table["accuracy_below"].map("{:.2f}".format)
            + table["accuracy_above"].map(lambda one: "" if pd.isna(one) else f", {one:.2f}"),
        })  # fmt: skip
        amount = "AFCC's amount" if self.amount is None else f"amount {self.amount:g}"
        heads = (
            f"heads learned from {self.train_inputs} inputs, label sets are of {self.held_out_inputs} others"
        )
        return f"{self.criterion}, {amount}, threshold {self.threshold:g}; {heads}\n{shown.to_string()}"


def afcc(
    net: nn.Module,
    layers: str | Sequence[str],
    data: ImageSet | Data,
    threshold: float = 0.3,
    criterion: str = "afcc",
    amount: float | None = None,
    places: Mapping[str, Given] | None = None,
    held_out: float = 0.3,
    pool: int = 4,
    recipe: Recipe = PROBE_RECIPE,
    seed: int = 0,
    device: str | torch.device = "auto",
    batch: int = 500,
    memory: int = 2**32,
) -> Pruned:
    """Mask connections between filters that stand for no common label; the network is changed in place.

    Linear heads are trained at the layers' inputs and where their outputs are used (see ``places_of``), on a
    part of the data; the label sets T_f come from the label fields of the rest. Convolution: the kernel
    Q[o, i] stays if T_o and T_i have a label in common (Tzach et al. 2025). A hidden node of fully connected
    layers is a filter with one position (single-nodal performance). An output j stands for label j, so that
    it keeps the filters with j among their labels. Biases and batch norms are not masked. Retrain shortly
    afterwards: the masks hold.

    Parameters
    ----------
    net
        Any module that ``torch.fx`` can trace, or any with ``places``; measured in evaluation mode.
    layers
        Convolutions or linear layers by name, or modules that hold only one; see ``maskable_layers``.
    data
        An ``ImageSet``, a ``DataLoader`` or (inputs, labels), not used otherwise: labels 0, ..., K - 1.
        Floating-point inputs are taken as they are, uint8 inputs are scaled to [-1, 1].
    threshold
        theta in [0, 1).
    criterion
        "afcc", or the name of a criterion (``filterwise.prune.criteria``, such as "magnitude", "kernel-l2",
        "random"), which then chooses what stays in AFCC's place, equally many weights in every layer;
        "random-afcc" shares the labels of random sets of the same sizes.
    amount
        Share of each layer's connections to remove, in [0, 1), instead of the amount that AFCC comes to. With
        "afcc", connections with most labels in common stay.
    places, held_out, pool, recipe, seed, device, batch, memory
        As in ``places_of`` and ``probe_places``. The seed also draws where a criterion draws.

    Returns what was removed and what it was decided by; printed, a small table. Warns, by name, of labels
    that no filter of a layer stands for.

    Raises ParameterError: an unknown layer or criterion (the near miss is named), a threshold or an amount
    outside [0, 1), other outputs than labels; DataError: labels with fewer than two inputs.

    >>> from filterwise import models
    >>> net = models.build("vgg", labels=2, channels=1, size=8, stages=((4, 1), (6, 1)))
    >>> inputs = torch.rand(60, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> found = afcc(net, ["features.2"], (inputs, torch.arange(60) % 2), amount=0.5)
    >>> int(found.masks["features.2"].sum()), int((net.features[1].conv.weight != 0).sum())
    (108, 108)
    """
    names = [layers] if isinstance(layers, str) else list(layers)
    if not names or len(set(names)) < len(names):
        raise ParameterError(f"layers={names!r} must name at least one layer, and none twice")
    clip(torch.ones(1, 1), threshold)  # refuses a threshold before anything is measured
    if amount is not None and (not isinstance(amount, (int, float)) or not 0 <= amount < 1):
        raise refused("amount", amount, "it must be in [0, 1), a share of each layer's connections")
    choice = criterion if amount is None or criterion != "afcc" else "shared-labels"
    named = "shared-labels" if choice == "random-afcc" else choice
    if choice not in ("afcc", "random-afcc"):
        check_choice("criterion", choice, ("afcc", "random-afcc", *criteria.names()))
    chosen = None if choice == "afcc" else criteria.get(named).function
    where = places_of(net, names, places)
    wanted = [place for each in where.values() for place in (each.below, each.above) if place is not None]
    wanted = list(dict.fromkeys(wanted))
    probes = probe_places(net, wanted, data, held_out, pool, recipe, seed, device, batch, memory)
    sets = {place: _label_sets(probe, threshold) for place, probe in probes.items()}
    masks = {}
    for layer, each in where.items():
        weight = masked_layer(net, layer)[2].detach().cpu()
        below, above = sets[each.below], _outputs(layer, each, weight, sets)
        joined = _by_filter(layer, each, weight, below)
        mask = afcc_mask(above, below)
        if chosen is not None:
            kept = int(mask.sum()) if amount is None else round((1 - amount) * mask.numel())
            draws = generator_for(seed, f"{choice} {layer}")
            if choice == "random-afcc":
                below = redrawn(below, draws)
                above = above if each.above is None else redrawn(above, draws)
            facts = {"generator": draws, "sets_in": below, "sets_out": above, "positions": 1}
            if choice == "diagonal-top":
                facts["M"] = probes[each.below].fields()
            mask = mask_of_amount(joined, _made(chosen, choice, facts)(joined), kept)
        masks[layer] = (mask if mask.ndim == 3 else mask[:, :, None].expand(joined.shape)).reshape(
            weight.shape
        )
    lost = _warn(where, sets, data)
    apply(net, masks)
    first, _ = next(own_batches(data, 1, torch.device("cpu")))
    shape: Any = tuple(first.shape[1:])
    table = savings(net, shape).loc[[each.layer for each in where.values()]]
    accuracies = [(probes[one.below].accuracy, probes[one.above].accuracy if one.above else None)
                  for one in where.values()]  # fmt: skip
    table = table.set_axis(list(where), axis=0).rename_axis("layer").assign(
        without_labels=[int((~sets[each.below].any(dim=1)).sum()) for each in where.values()],
        lost_labels=pd.Series([lost[each.below] for each in where.values()], dtype=object).to_numpy(),
        accuracy_below=[below for below, _ in accuracies],
        accuracy_above=pd.Series([above for _, above in accuracies], dtype=float).to_numpy(),
    )  # fmt: skip
    one = next(iter(probes.values()))
    counts = (one.train_inputs, one.held_out_inputs)
    return Pruned(table, masks, sets, where, probes, threshold, criterion, amount, *counts)


def _label_sets(probe: Probe, threshold: float) -> Tensor:
    """T of every filter, bool (F, K), without ever holding all label fields."""
    parts = [clip(M, threshold).diagonal(dim1=1, dim2=2) for _, M in field_chunks(probe.mean, probe.weight)]
    return torch.cat(parts).clone()


def _by_filter(layer: str, each: LayerPlaces, weight: Tensor, below: Tensor) -> Tensor:
    """The weight by the filters that it joins: (out, in, kernel), or (out, in, P) of a linear layer.

    Raises ParameterError: the layer reads another number of filters than was measured.
    """
    if weight.shape[1] % len(below) or (weight.ndim > 2 and weight.shape[1] != len(below)):
        raise ParameterError(
            f"layer {layer!r} reads {weight.shape[1]} channels, but the {each.below} has {len(below)} filters"
        )
    return weight.reshape(len(weight), len(below), -1)


def _outputs(layer: str, each: LayerPlaces, weight: Tensor, sets: Mapping[Place, Tensor]) -> Tensor:
    """Label sets of the layer's outputs; those of the labels' outputs are their own labels.

    Raises ParameterError: their number does not fit the weight.
    """
    if each.above is None:
        labels = sets[each.below].shape[1]
        if len(weight) != labels:
            raise ParameterError(
                f"layer {layer!r} gives the network's {len(weight)} outputs, but data has {labels} labels; "
                "outputs that are labels are needed"
            )
        return torch.eye(labels, dtype=torch.bool)
    above = sets[each.above]
    if len(above) != len(weight):
        raise ParameterError(
            f"layer {layer!r} has {len(weight)} outputs, but the {each.above} has {len(above)} filters"
        )
    return above


def _made(kind: Any, name: str, facts: Mapping[str, Any]) -> Any:
    """A criterion with those of the facts that it asks for."""
    asked = [one.name for one in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else []
    unknown = [one for one in asked if one not in facts]
    if unknown:
        raise ParameterError(f"criterion={name!r} asks for {unknown[0]!r}; known are {', '.join(facts)}")
    return kind(**{one: facts[one] for one in asked})


def _warn(
    where: Mapping[str, LayerPlaces], sets: Mapping[Place, Tensor], data: ImageSet | Data
) -> dict[Place, list[int]]:
    """Warn of labels that no filter stands for, once a place; returns their numbers by place."""
    outputs = {each.below: layer for layer, each in where.items() if each.above is None}
    lost = {}
    for place, own in sets.items():
        names = list(getattr(data, "label_names", map(str, range(own.shape[1]))))
        if place in outputs:
            lost[place] = warn_of_lost(own, names, f"{place}")
            continue
        lost[place] = torch.nonzero(~own.any(dim=0)).flatten().tolist()
        if lost[place]:
            shown = ", ".join(f"{label} ({names[label]!r})" for label in lost[place][:8])
            more = ", ..." if len(lost[place]) > 8 else ""
            warnings.warn(
                f"no filter at the {place} stands for {len(lost[place])} of {own.shape[1]} labels: "
                f"{shown}{more}; no connection there is kept for them; lower the threshold",
                stacklevel=3,
            )
    return lost
