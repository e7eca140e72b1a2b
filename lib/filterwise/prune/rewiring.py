"""Networks that are sparse from the start and rewire: SET, and its five relatives by cosine similarity.

Mocanu et al., Nat. Commun. 9, 2383 (2018), SET; Pieterse, Mocanu, arXiv:1903.07138 (2019), the five others.
After every epoch each layer loses the share zeta of its connections and gets as many new ones elsewhere:

| algorithm   | loses the smallest, of each sign | gets                                     |
| ----------- | -------------------------------- | ---------------------------------------- |
| SET         | W                                | random ones                              |
| CoDASET     | W                                | those of the largest S                   |
| CoPASET     | W                                | random ones, with probability S / sum(S) |
| CoRSET      | W S                              | random ones                              |
| CoDACoRSET  | W S                              | those of the largest S                   |
| CoPACoRSET  | W S                              | random ones, with probability S / sum(S) |

S is the similarity of the two neurons, see `filterwise.prune.similarity`. Nothing here knows a network, but
for the edit at the end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from filterwise.data.augmentation import scale
from filterwise.errors import ParameterError, check_choice, check_count, refused
from filterwise.models.sizes import check_flag, check_positive
from filterwise.prune.masks import apply, masked_layer
from filterwise.training.edits import Given, edits
from filterwise.training.feed import epoch_seed


class Choices(NamedTuple):
    """By what an algorithm loses connections, ``"W"`` or ``"WS"``, and how it gets new ones."""

    lose: str
    get: str


ALGORITHMS = {
    "SET": Choices("W", "random"),
    "CoDASET": Choices("W", "largest"),
    "CoPASET": Choices("W", "likely"),
    "CoRSET": Choices("WS", "random"),
    "CoDACoRSET": Choices("WS", "largest"),
    "CoPACoRSET": Choices("WS", "likely"),
}

#: The stream of random numbers that masks are drawn from; the others of `epoch_seed` are taken.
_MASKS = 3


class Rewired(NamedTuple):
    """A layer's connections after an update, bool (out, in).

    ``core`` are those that stayed, ``mask`` all that there are now. The new weights are ``weight * core``:
    what is new begins at 0, also where a connection that was just lost came back.
    """

    mask: Tensor
    core: Tensor


def needs_similarity(algorithm: str) -> bool:
    """Whether an algorithm looks at S; all but SET do.

    Raises ParameterError: unknown, with the near miss.
    """
    check_choice("algorithm", algorithm, ALGORITHMS)
    return ALGORITHMS[algorithm] != Choices("W", "random")


def sparse_mask(
    n_in: int,
    n_out: int,
    generator: torch.Generator,
    *,
    epsilon: float | None = None,
    density: float | None = None,
    count: int | None = None,
) -> Tensor:
    """Random connections of a layer, bool (n_out, n_in); exactly one of the three says how many.

    Parameters
    ----------
    epsilon
        Each connection exists with probability epsilon (n_in + n_out) / (n_in n_out), at most 1, whatever the
        others do: a number that grows with the nodes and not with their product.
    density
        The share that exists, in (0, 1]; exactly round(density n_in n_out), at least one.
    count
        Exactly so many.

    Raises ParameterError: none or several are given, or one is out of its range.

    >>> int(sparse_mask(4, 3, torch.Generator().manual_seed(0), count=5).sum())
    5
    """
    check_count("n_in", n_in)
    check_count("n_out", n_out)
    given = {"epsilon": epsilon, "density": density, "count": count}
    chosen = [name for name, value in given.items() if value is not None]
    if len(chosen) != 1:
        raise ParameterError(
            f"{', '.join(chosen) or 'nothing'} given; one of epsilon, density and count is needed"
        )
    size = n_in * n_out
    if epsilon is not None:
        share = min(1.0, check_positive("epsilon", epsilon) * (n_in + n_out) / size)
        return torch.rand(n_out, n_in, generator=generator) < share
    if density is not None:
        count = max(1, round(check_positive("density", density) * size))
        if density > 1:
            raise refused("density", density, "it must be above 0 and at most 1")
    assert count is not None
    if check_count("count", count) > size:
        raise refused("count", count, f"a layer of {n_in} inputs and {n_out} outputs has {size} connections")
    mask = torch.zeros(size, dtype=torch.bool)
    mask[torch.randperm(size, generator=generator)[:count]] = True
    return mask.view(n_out, n_in)


def rewire(
    weight: Tensor,
    mask: Tensor,
    similarity: Tensor | None,
    algorithm: str,
    zeta: float,
    generator: torch.Generator,
) -> Rewired:
    """One update of a layer's connections; their number stays.

    The score is W, or W S. Of the connections with a positive score the floor(zeta n) smallest go, n being
    their number; of those with a negative score likewise; and all with a score of exactly 0, which are no
    connections to the authors' program. What remains is the core. New ones are taken among all positions
    outside of the core, those just lost among them.

    Parameters
    ----------
    weight
        W (out, in).
    mask
        The connections that there are, bool (out, in).
    similarity
        S (out, in); SET takes None.
    algorithm
        One of :data:`ALGORITHMS`.
    zeta
        In (0, 1].
    generator
        On the CPU; the only source of chance.

    Raises ParameterError: unknown algorithm (the near miss is named), zeta out of its range, shapes that
    differ, a mask that is not boolean, or no similarity where one is needed.

    >>> W = torch.tensor([[3.0, 1.0, 0.0], [-2.0, -1.0, 0.0]])
    >>> S = torch.tensor([[0.1, 0.1, 0.9], [0.1, 0.1, 0.8]])
    >>> rewire(W, W != 0, S, "CoDASET", 0.5, torch.Generator()).mask
    tensor([[ True, False,  True],
            [ True, False,  True]])
    """
    _check(weight, mask, similarity, algorithm, zeta)
    choices = ALGORITHMS[algorithm]
    score = weight.detach() * mask
    if choices.lose == "WS" and similarity is not None:
        score = score * similarity
    core = _without_smallest(score, zeta) | _without_smallest(-score, zeta)
    empty = (~core).flatten().nonzero()[:, 0]
    wanted = int(mask.sum()) - int(core.sum())
    if choices.get == "largest" and similarity is not None:
        order = similarity.flatten()[empty].argsort(descending=True, stable=True)
    elif choices.get == "likely" and similarity is not None:
        # the first arrivals of processes of rate S are draws without replacement; rate 0 comes last of all
        chance = torch.rand(len(empty), generator=generator, dtype=torch.float64).to(weight.device)
        rate = similarity.flatten()[empty].double().clamp_min(1e-30)
        order = (-torch.log1p(-chance) / rate).argsort(stable=True)
    else:
        order = torch.randperm(len(empty), generator=generator).to(weight.device)
    grown = core.flatten().clone()
    grown[empty[order[:wanted]]] = True
    return Rewired(grown.view_as(mask), core)


def _without_smallest(score: Tensor, zeta: float) -> Tensor:
    """The positive entries but for the floor(zeta n) smallest of the n; of equal ones the first go."""
    places = (score > 0).flatten().nonzero()[:, 0]
    order = score.flatten()[places].argsort(stable=True)
    kept = torch.zeros(score.numel(), dtype=torch.bool, device=score.device)
    kept[places[order[math.floor(zeta * len(places)) :]]] = True
    return kept.view_as(score)


def _check(weight: Tensor, mask: Tensor, similarity: Tensor | None, algorithm: str, zeta: float) -> None:
    needed = needs_similarity(algorithm)
    if not 0 < check_positive("zeta", zeta) <= 1:
        raise refused("zeta", zeta, "it must be above 0 and at most 1")
    if weight.ndim != 2:
        raise ParameterError(f"weight has shape {tuple(weight.shape)}; (out, in) is needed")
    if mask.shape != weight.shape or mask.dtype != torch.bool:
        raise ParameterError(
            f"mask is {mask.dtype} {tuple(mask.shape)}; torch.bool {tuple(weight.shape)} is needed"
        )
    if needed and similarity is None:
        raise ParameterError(f"algorithm={algorithm!r} needs a similarity; only 'SET' does without")
    if similarity is not None and (similarity.shape != weight.shape or bool((similarity < 0).any())):
        raise ParameterError(
            f"similarity has shape {tuple(similarity.shape)}; {tuple(weight.shape)} and no value below 0 are "
            "needed"
        )


@edits("sparse")
@torch.no_grad()
def sparse(
    net: nn.Module,
    given: Given,
    *,
    layers: str | Sequence[str] = (),
    epsilon: float | None = None,
    density: float | None = None,
    counts: Sequence[int] | None = None,
    standardise: bool = False,
) -> None:
    """Random masks on linear layers, through ``torch.nn.utils.prune``; drawn from the run's seed.

    The weights that stay are those of the dense network. ``density=1`` leaves the layers without masks.

    Parameters
    ----------
    layers
        By default all linear layers but the last, which stays dense.
    epsilon, density
        As for :func:`sparse_mask`, the same for all layers.
    counts
        Connections of each layer.
    standardise
        Give the network's ``inputs`` (see the model ``mlp``) mean and standard deviation of each input over
        the training images.

    Raises ParameterError: unknown layers, no linear layer to mask, numbers that do not fit, or a network
    without such inputs.
    """
    linear = [name for name, module in net.named_modules() if isinstance(module, nn.Linear)]
    named = [layers] if isinstance(layers, str) else list(layers) or linear[:-1]
    if not named:
        raise ParameterError(f"edit='sparse' finds {len(linear)} linear layers and leaves the last one dense")
    if counts is not None and len(counts) != len(named):
        raise ParameterError(f"counts has {len(counts)} numbers for {len(named)} layers: {', '.join(named)}")
    if check_flag("standardise", standardise):
        set_to = getattr(getattr(net, "inputs", None), "set_to", None)
        if set_to is None:
            raise ParameterError(
                f"standardise=True needs a network with inputs to standardise, such as 'mlp'; this is a "
                f"{type(net).__name__}"
            )
        set_to(scale(given.train.images).flatten(1))
    masks = {}
    for place, layer in enumerate(named):
        name, _, weight = masked_layer(net, layer)
        if weight.ndim != 2:
            raise ParameterError(
                f"layer {layer!r} has weights {tuple(weight.shape)}; a linear layer is needed"
            )
        generator = torch.Generator().manual_seed(epoch_seed(given.seed, place, _MASKS))
        count = None if counts is None else counts[place]
        masks[name] = sparse_mask(
            weight.shape[1], weight.shape[0], generator, epsilon=epsilon, density=density, count=count
        )
    if density != 1:
        apply(net, masks)
