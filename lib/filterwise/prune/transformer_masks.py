"""Which connections of a transformer are nodal diagonal ones (ANDC), and which label sets its nodes have.

Koresh et al., Physica A 666 (2025). Only the abstract's name of the method could be read; that a connection
stays if the nodes at both ends share a label of their diagonals is inferred from the group's pruning of
convolutional networks (AFCC), whose masks and peers at equal amount serve here as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from filterwise.errors import ParameterError, check_choice
from filterwise.measure.fields import label_fields
from filterwise.measure.places_of_encoders import encoder_numbers, encoder_place
from filterwise.prune.equal_amount import OUTPUTS, SHARES, Between, Connections

#: ``equal_amount.SHARES``, and only the label of the largest diagonal element of each node.
NODE_SHARES = (*SHARES, "top1")


def joined_nodes(
    net: nn.Module, encoders: Sequence[int] | None = None, attention: bool = False
) -> dict[str, Between]:
    """Masked layer -> the places whose nodes it joins, in a compact convolutional transformer.

    Of encoder m: W_1 (``ff.up``, from y to u), W_2 (``ff.down``, from u to x') and, with ``attention``, W_O
    (``attention.projection``, from o to a). Last the ``fc`` layer, whose inputs are the pooled nodes of the
    last encoder's x' and whose outputs stand for one label each.

    Parameters
    ----------
    net
        A CCT.
    encoders
        Numbers m. None: all but the first, whose nodes are the least specific.
    attention
        Whether the projections are masked as well.

    Raises ParameterError: no CCT, an encoder that it does not have (with the choices), or one named twice.

    >>> from filterwise import models
    >>> list(joined_nodes(models.build("cct", labels=10, depth=2, d=32)))
    ['encoders.2.ff.up', 'encoders.2.ff.down', 'fc']
    """
    known = encoder_numbers(net)
    chosen = tuple(m for m in known if m > 1) if encoders is None else tuple(encoders)
    for m in chosen:
        check_choice("encoders", m, known)
    if len(set(chosen)) < len(chosen):
        raise ParameterError(f"encoders={chosen!r} names one of them twice")
    between = {}
    for m in sorted(chosen):
        o, a, y, u, x = (encoder_place(net, kind, m) for kind in ("qkv", "mha", "mid", "hid", "ff"))
        if attention:
            between[a] = Between(o, a)
        between[f"{x}.ff.up"] = Between(y, u)
        between[f"{x}.ff.down"] = Between(u, x)
    return {**between, "fc": Between(encoder_place(net, "ff", known[-1]), OUTPUTS)}


def measured_places(between: Mapping[str, Between]) -> tuple[str, ...]:
    """Every place around some layers once, in their order; the outputs are not measured.

    >>> from filterwise import models
    >>> measured_places(joined_nodes(models.build("cct", labels=10, depth=2, d=32)))
    ('encoders.2.norm2', 'encoders.2.ff.gelu', 'encoders.2')
    """
    both = (place for one in between.values() for place in (one.below, one.above))
    return tuple(dict.fromkeys(place for place in both if place != OUTPUTS))


def top_labels(M: Tensor) -> Tensor:
    """The label of each node's largest diagonal element, of equal ones the first. (F, K, K) -> bool (F, K)

    >>> top_labels(torch.tensor([[[1.0, 5.0], [0.0, 2.0]]])).tolist()
    [[False, True]]
    """
    diagonal = M.diagonal(dim1=1, dim2=2)
    return torch.zeros_like(diagonal, dtype=torch.bool).scatter_(1, diagonal.argmax(1, keepdim=True), True)


class NodalConnections(Connections):
    """Label sets T_k of the nodes around some layers of a transformer, and the masks that follow from them.

    With the class means mu of a place's pooled nodes and the weights W of the linear layer that reads them,
    node k alone has the fields M_k = outer(mu[:, k], W[:, k]), of rank one; label j is in T_k if M_k[j, j] is
    above the threshold times the largest element of M_k. A connection (k -> k') stays if T_k and T_k' have a
    label in common, and one to output j if j is in T_k. :meth:`masks` has the peers of equal amount.

    Parameters
    ----------
    between
        Layer -> the places that it joins, see :func:`joined_nodes`.
    nodes
        Place -> (mu, W), both (K, d): label, node.
    threshold
        theta of the clipping, in [0, 1).
    share
        One of :data:`NODE_SHARES`; "top1" leaves each node the largest of its labels, so that nodes without
        labels stay without.

    Raises ParameterError: a place without nodes, shapes that do not fit, an unknown share.

    >>> mu, W = torch.tensor([[2.0, 1.0], [1.0, -1.0]]), torch.tensor([[1.0, 1.0], [1.0, -1.0]])
    >>> NodalConnections({"fc": Between("encoders.1", OUTPUTS)}, {"encoders.1": (mu, W)}).afcc("fc").int()
    tensor([[1, 1],
            [1, 1]], dtype=torch.int32)
    """

    def __init__(
        self,
        between: Mapping[str, Between],
        nodes: Mapping[str, tuple[Tensor, Tensor]],
        threshold: float = 0.3,
        share: str = "label",
    ) -> None:
        check_choice("share", share, NODE_SHARES)
        fields = {place: label_fields(mu[:, :, None], W) for place, (mu, W) in nodes.items()}
        super().__init__(between, fields, threshold, "label" if share == "top1" else share)
        if share == "top1":
            for place in measured_places(between):
                self.sets[place] = self.sets[place] & top_labels(fields[place])

    def sizes(self) -> dict[str, float]:
        """Mean number of labels ``|T_k|`` of each place's nodes."""
        return {
            place: float(sets.sum(dim=1).double().mean())
            for place, sets in self.sets.items()
            if place != OUTPUTS
        }

    def kept(self, layer: str) -> float:
        """Share of a layer's connections that stay, the same for every criterion."""
        return float(self.afcc(layer).double().mean())
