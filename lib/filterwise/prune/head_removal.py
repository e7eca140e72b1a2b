"""Attention heads that can go: their scores, the choice of the weakest, and a network without them.

Scores follow the single-head performance of Gross et al., Physica A 675, 130835 (2025), and two peers.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from filterwise.errors import ParameterError, check_choice, check_count, refused
from filterwise.measure.fields import check_matrices
from filterwise.measure.places_of_encoders import encoder_numbers
from filterwise.models.encoder import Attention, Encoder
from filterwise.prune.masks import masks_of

#: How heads are ranked: by their part of the read-out's margin, by the size of their weights, by a draw.
HEAD_CRITERIA = ("shp", "magnitude", "random")


def attentions(net: nn.Module) -> dict[str, Attention]:
    """Encoder -> its attention, bottom to top.

    Raises ParameterError: the network is no compact convolutional transformer.
    """
    names = [f"encoders.{m}" for m in encoder_numbers(net)]
    return {name: cast(Encoder, net.get_submodule(name)).attention for name in names}


def remove_heads(net: nn.Module, heads: Mapping[str, Sequence[int]]) -> nn.Module:
    """A copy of a transformer in which some heads are not computed any more.

    It answers as the network with these heads' nodes at ``attention.heads`` set to zero: their rows of the
    queries', keys' and values' layer are gone, and their columns of the projection. An encoder's heads are
    renumbered from 0.

    Parameters
    ----------
    net
        A CCT without masks; left as it was found.
    heads
        Encoder ("encoders.2") -> the heads that go, counted from 0.

    Raises ParameterError: no CCT, masks on it, unknown encoders or heads, a head named twice, or an encoder
    that would have none left.

    >>> from filterwise import models
    >>> small = remove_heads(models.build("cct", labels=10, depth=2, d=32, heads=4), {"encoders.2": [0, 3]})
    >>> small.encoders[1].attention.qkv.weight.shape, small.encoders[1].attention.heads.heads
    (torch.Size([48, 32]), 2)
    """
    known = attentions(net)
    if masks_of(net):
        raise ParameterError(
            f"{', '.join(masks_of(net))} have masks, which would not fit; remove heads first, then mask"
        )
    stay = {name: _staying(name, known, gone) for name, gone in heads.items()}
    small = copy.deepcopy(net)
    for name, attention in attentions(small).items():
        if name in stay:
            _keep(attention, stay[name])
    return small


def _staying(name: str, known: Mapping[str, Attention], gone: Sequence[int]) -> list[int]:
    """The heads that an encoder keeps."""
    check_choice("encoder", name, known)
    count = known[name].heads.heads
    for head in gone:
        if type(head) is not int:
            raise refused(f"heads[{name!r}]", head, f"it must be an integer from 0 to {count - 1}")
        check_choice(f"heads[{name!r}]", head, range(count))
    if len(set(gone)) < len(gone):
        raise ParameterError(f"heads[{name!r}]={list(gone)!r} names one of them twice")
    if len(gone) == count:
        raise ParameterError(
            f"heads[{name!r}]={list(gone)!r} are all {count} heads; at least one must stay, as an encoder "
            "without attention is another network"
        )
    return [head for head in range(count) if head not in gone]


@torch.no_grad()
def _keep(attention: Attention, stay: list[int]) -> None:
    """Leave an attention only these heads, in place."""
    count, inner = attention.heads.heads, attention.projection.in_features
    nodes = torch.arange(inner).view(count, inner // count)[stay].flatten()
    rows = torch.arange(3 * inner).view(3, inner)[:, nodes].flatten()  # queries, keys, values
    attention.qkv = _linear(attention.qkv, attention.qkv.weight[rows])
    attention.projection = _linear(attention.projection, attention.projection.weight[:, nodes])
    attention.heads.heads = len(stay)


def _linear(old: nn.Linear, weight: Tensor) -> nn.Linear:
    """A linear layer with another weight; everything else is the old one's."""
    outputs, inputs = weight.shape
    new = nn.utils.skip_init(
        nn.Linear, inputs, outputs, bias=old.bias is not None, device=weight.device, dtype=weight.dtype
    )
    new.weight.copy_(weight)
    new.weight.requires_grad_(old.weight.requires_grad)
    if old.bias is not None:
        new.bias = old.bias
    return new.train(old.training)


def margin_shares(M: Tensor) -> Tensor:
    """Each head's part of the margin by which the read-out of its place tells labels apart, (H,).

    The margin of a matrix of fields is the mean of its diagonal minus the mean of all else: how far the right
    output is above the others, on the mean over labels. Fields are sums over heads, so that the heads'
    margins add up to that of all class-mean outputs, and a head's margin is what silencing it takes away. A
    matrix normalised by its own maximum could not say so: it shows a weak head as large as a strong one.
    Numbers common to a row, which no decision depends on, cancel.

    The margins are divided by the sum of their absolute values, because the outputs of two places' probe
    heads differ in scale. If no head's margin is negative the parts add up to 1.

    ``M``: (H, K, K), see ``filterwise.measure.head_fields``.

    Raises ParameterError: no such matrices, or a single label.

    >>> margin_shares(torch.tensor([[[3.0, 0.0], [0.0, 3.0]], [[1.0, 0.0], [5.0, 6.0]]]))
    tensor([0.7500, 0.2500])
    """
    fields = check_matrices("M", M)
    if fields.ndim != 3 or fields.shape[1] < 2:
        raise ParameterError(f"M has shape {tuple(fields.shape)}; (H, K, K) with K of at least 2 is needed")
    labels = fields.shape[1]
    on = fields.diagonal(dim1=1, dim2=2).sum(dim=1)
    margin = on / labels - (fields.sum(dim=(1, 2)) - on) / (labels * (labels - 1))
    return margin / margin.abs().sum().clamp_min(torch.finfo(margin.dtype).tiny)


@torch.no_grad()
def weight_shares(attention: Attention) -> Tensor:
    """Each head's part of the Euclidean norms of W_V and W_O, (H,); they add up to 1.

    Both together are one head's group of weights, as group magnitude prunes it, with the scale of a layer
    divided out.
    """
    count, inner = attention.heads.heads, attention.projection.in_features
    values = attention.qkv.weight[2 * inner :].reshape(count, -1)
    projected = attention.projection.weight.T.reshape(count, -1)
    norms = torch.cat([values, projected], dim=1).norm(dim=1)
    return norms / norms.sum().clamp_min(torch.finfo(norms.dtype).tiny)


def head_scores(
    net: nn.Module,
    criterion: str,
    fields: Mapping[str, Tensor] | None = None,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """Scores (H,) of all heads by encoder; the lowest go first, whichever encoder they are in.

    Parameters
    ----------
    net
        A CCT.
    criterion
        "shp" (:func:`margin_shares`), "magnitude" (:func:`weight_shares`) or "random".
    fields
        For "shp": encoder -> matrices (H, K, K) of its heads, read at ``attention.heads``.
    generator
        For "random".

    Raises ParameterError: an unknown criterion, or one without what it needs.

    >>> from filterwise import models
    >>> net = models.build("cct", labels=10, depth=2, d=32, heads=4)
    >>> {encoder: scores.shape for encoder, scores in head_scores(net, "magnitude").items()}
    {'encoders.1': torch.Size([4]), 'encoders.2': torch.Size([4])}
    """
    check_choice("criterion", criterion, HEAD_CRITERIA)
    known = attentions(net)
    if criterion == "random":
        if generator is None:
            raise ParameterError("criterion='random' needs a generator")
        return {name: torch.rand(one.heads.heads, generator=generator) for name, one in known.items()}
    if criterion == "magnitude":
        return {name: weight_shares(one).cpu() for name, one in known.items()}
    missing = [name for name in known if name not in (fields or {})]
    if fields is None or missing:
        raise ParameterError(f"criterion='shp' needs the fields of {', '.join(missing)}")
    for name, one in known.items():
        if len(fields[name]) != one.heads.heads:
            raise ParameterError(
                f"fields[{name!r}] are of {len(fields[name])} heads; the encoder has {one.heads.heads}"
            )
    return {name: margin_shares(fields[name]) for name in known}


def lowest_heads(scores: Mapping[str, Tensor], count: int) -> dict[str, list[int]]:
    """The ``count`` heads of the whole network with the lowest scores; one of each encoder always stays.

    Of equal scores the first goes. An encoder's last head, its best, is passed over.

    Returns encoder -> its heads that go, ascending, as :func:`remove_heads` takes them.

    Raises ParameterError: a count below 0, or more than can go; scores that are not numbers.

    >>> lowest_heads({"encoders.1": torch.tensor([0.1, 0.2]), "encoders.2": torch.tensor([0.9, 0.3])}, 2)
    {'encoders.1': [0], 'encoders.2': [1]}
    """
    most = sum(len(one) - 1 for one in scores.values())
    if check_count("count", count, 0) > most:
        total = most + len(scores)
        raise refused("count", count, f"of {total} heads in {len(scores)} encoders at most {most} can go")
    wrong = [name for name, one in scores.items() if not bool(one.isfinite().all())]
    if wrong:
        raise ParameterError(f"scores of {', '.join(wrong)} are not finite")
    ranked = sorted(
        (float(score), place, head)
        for place, one in enumerate(scores.values())
        for head, score in enumerate(one)
    )
    names = list(scores)
    gone: dict[str, list[int]] = {name: [] for name in names}
    for _, place, head in ranked:
        name = names[place]
        if sum(map(len, gone.values())) < count and len(gone[name]) < len(scores[name]) - 1:
            gone[name].append(head)
    return {name: sorted(heads) for name, heads in gone.items() if heads}
