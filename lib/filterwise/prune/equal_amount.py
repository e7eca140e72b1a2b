"""AFCC's masks of several layers, and those of any other criterion at AFCC's amount, layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from filterwise.errors import ParameterError, check_choice
from filterwise.measure.clustering import assign_clusters
from filterwise.measure.fields import clip
from filterwise.prune.cluster_connections import afcc_mask, shared_cluster_mask
from filterwise.prune.criteria import (
    DiagonalTop,
    Random,
    SharedLabels,
    criteria,
    mask_of_amount,
)
from filterwise.prune.filter_labels import label_sets
from filterwise.prune.masks import masked_layer

#: Place of the network's outputs, where output j stands for label j alone.
OUTPUTS = "outputs"
SHARES = ("label", "cluster")
#: AFCC itself, and what else can choose as many connections.
CHOICES = ("afcc", "random", "magnitude", "kernel-l2", "kernel-l2-within", "filter-l1", "random-afcc",
           "diagonal-top")  # fmt: skip


@dataclass(frozen=True)
class Between:
    """The two places whose filters a masked layer joins.

    ``below`` is the module whose output the layer reads, ``above`` the one in which its filters are used,
    after norm, activation and pool; both are measured there. :data:`OUTPUTS` are the network's K outputs.
    """

    below: str
    above: str


def joined_by(net: nn.Module) -> dict[str, Between]:
    """Masked layer -> the places that it joins, for networks of blocks ``features.m`` and a ``classifier``.

    The first convolution reads the image and is not masked.

    Raises ParameterError: the network is none of blocks and a classifier.

    >>> from filterwise import models
    >>> list(joined_by(models.build("vgg11", labels=100)).items())[-2:]
    [('features.10', Between(below='features.9', above='features.10')), \
('classifier.1', Between(below='features.10', above='outputs'))]
    """
    blocks = [name for name in getattr(net, "layer_names", ()) if name.startswith("features.")]
    classifier = getattr(net, "classifier", None)
    if not blocks or not isinstance(classifier, nn.Sequential):
        raise ParameterError(f"{type(net).__name__} has no blocks features.m and a classifier")
    linear = [f"classifier.{name}" for name, one in classifier.named_children() if isinstance(one, nn.Linear)]
    places = [*blocks, *linear[:-1], OUTPUTS]
    layers = [*blocks[1:], *linear]
    return {
        layer: Between(below, above)
        for layer, below, above in zip(layers, places[:-1], places[1:], strict=True)
    }


class Connections:
    """Label fields of the places around some layers, and the masks that follow from them.

    Parameters
    ----------
    between
        Layer -> the places that it joins.
    fields
        Place -> label fields (F, K, K); none for :data:`OUTPUTS`.
    threshold
        theta of the clipping, which sets AFCC's amount.
    share
        ``"label"``: a connection stays if its filters share a label. ``"cluster"``: a cluster of one must lie
        within a cluster of the other.

    Raises ParameterError: a place without fields, or an unknown share.
    """

    def __init__(
        self,
        between: Mapping[str, Between],
        fields: Mapping[str, Tensor],
        threshold: float = 0.3,
        share: str = "label",
    ) -> None:
        check_choice("share", share, SHARES)
        self.between, self.fields, self.threshold, self.share = dict(between), fields, threshold, share
        needed = {place for one in between.values() for place in (one.below, one.above)} - {OUTPUTS}
        missing = sorted(needed - set(fields))
        if missing:
            raise ParameterError(f"no label fields are given for {', '.join(missing)}")
        labels = next(iter(fields.values())).shape[1]
        self.sets = {place: label_sets(fields[place], threshold) for place in sorted(needed)}
        self.sets[OUTPUTS] = torch.eye(labels, dtype=torch.bool)

    def afcc(self, layer: str) -> Tensor:
        """AFCC's mask of a layer, bool (out, in) = (filters or outputs above, filters below)."""
        one = self.between[layer]
        if self.share == "label" or one.above == OUTPUTS:
            return afcc_mask(self.sets[one.above], self.sets[one.below])
        clusters = (
            torch.from_numpy(assign_clusters(clip(self.fields[place], self.threshold)))
            for place in (one.above, one.below)
        )
        return shared_cluster_mask(*clusters)

    def filters(self, layer: str, weight: Tensor) -> Tensor:
        """A weight by the filters that it joins: (out, in, kernel), or (out, in, P) of a linear layer."""
        return weight.detach().cpu().reshape(weight.shape[0], len(self.sets[self.between[layer].below]), -1)

    def masks(
        self, net: nn.Module, criterion: str = "afcc", generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Masks of all layers by one criterion, each layer keeping as many connections as AFCC keeps there.

        Parameters
        ----------
        net
            Its present weights are scored.
        criterion
            One of :data:`CHOICES`, or the name of a registered criterion that needs the weight alone.
        generator
            Of what is drawn: "random", and the label sets of "random-afcc", which have the sizes of AFCC's.

        Returns masks by layer, bool, of the weights' shapes.

        Raises ParameterError: an unknown criterion, or one that does not fit the layer.
        """
        draws = generator if generator is not None else torch.Generator().manual_seed(0)
        found = {}
        for layer in self.between:
            weight = masked_layer(net, layer)[2]
            joined = self.filters(layer, weight)
            mask = self.afcc(layer)
            if criterion != "afcc":
                scores = self.criterion(criterion, layer, draws)(joined)
                mask = mask_of_amount(joined, scores, int(mask.sum()))
            whole = mask if mask.ndim == 3 else mask[:, :, None].expand(joined.shape)
            found[layer] = whole.reshape(weight.shape)
        return found

    def criterion(self, name: str, layer: str, draws: torch.Generator) -> Callable[[Tensor], Tensor]:
        """What scores a layer's weight (out, in, kernel); see :meth:`masks`."""
        one = self.between[layer]
        if name == "random":
            return Random(draws)
        if name == "random-afcc":
            above = self.sets[one.above] if one.above == OUTPUTS else redrawn(self.sets[one.above], draws)
            return SharedLabels(above, redrawn(self.sets[one.below], draws), draws)
        if name == "diagonal-top":
            if one.above != OUTPUTS:
                raise ParameterError(
                    f"criterion='diagonal-top' ranks filters and labels; {layer!r} is no output layer"
                )
            return DiagonalTop(self.fields[one.below])
        if name not in CHOICES:
            check_choice("criterion", name, tuple(dict.fromkeys([*CHOICES, *criteria.names()])))
        return criteria.get(name).function()


def redrawn(sets: Tensor, generator: torch.Generator) -> Tensor:
    """Sets of the same sizes, their labels drawn at random."""
    order = torch.rand(sets.shape, generator=generator).argsort(dim=1)
    rank = order.argsort(dim=1)
    return rank < sets.sum(dim=1, keepdim=True)
