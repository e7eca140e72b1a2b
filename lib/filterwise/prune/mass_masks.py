"""Which filters of a layer fire together for an image: masks by the mass of their activations.

Elkerdawy et al., "Fire Together Wire Together" (2022). With O the maps of a layer after ReLU,

    s_c = max over positions of |O_c|,   p_c = s_c / sum over c of s_c
    g_c = 1 for the leading filters with p_(1) + ... + p_(c) <= r, else 0
"""

from __future__ import annotations

import math
from numbers import Real

import torch
from torch import Tensor

from filterwise.errors import ParameterError, refused

#: On the cumulative mass, and below it a filter's share, or score, counts as nothing.
TOLERANCE = 1e-5


def filter_scores(maps: Tensor) -> Tensor:
    """s_c, the largest modulus of each map: (n, F, h, w) -> (n, F)."""
    return maps.detach().abs().amax(dim=(2, 3))


def mass_mask(scores: Tensor, r: float) -> Tensor:
    """g: the leading filters whose cumulative share of the mass stays at most r, image by image.

    How many these are hangs on the image. At r = 1 every filter with p_c > 1e-5 is kept, so that only filters
    that fire nowhere go. A first filter with more than r of the mass leaves none; so does a layer without
    any. Of equal filters the first lead.

    ``scores``: s_c >= 0, (n, F). Returns bool (n, F).

    Raises ParameterError: r is not in (0, 1], or the scores are no such table.

    >>> mass_mask(torch.tensor([[5.0, 1.0, 3.0, 1.0], [0.0, 2.0, 0.0, 0.0]]), r=0.8).int().tolist()
    [[1, 0, 1, 0], [0, 0, 0, 0]]
    """
    check_share("r", r)
    _check_scores(scores)
    total = scores.sum(1, keepdim=True)
    shares = scores / torch.where(total > 0, total, torch.ones_like(total))
    if r == 1:
        return shares > TOLERANCE
    ordered, order = shares.sort(dim=1, descending=True, stable=True)
    leading = (ordered.cumsum(1) <= r + TOLERANCE) & (total > 0)
    return torch.zeros_like(leading).scatter_(1, order, leading)


def uniform_mask(scores: Tensor, ratio: float) -> Tensor:
    """g of the uniform variant: all but the share ``ratio`` of the filters with the smallest scores.

    round(ratio * F) filters go in every image, and with them all whose score is at most 1e-5. Of equal
    filters the first stay.

    ``scores``: s_c >= 0, (n, F). Returns bool (n, F).

    Raises ParameterError: the ratio is not in [0, 1), or the scores are no such table.

    >>> uniform_mask(torch.tensor([[5.0, 1.0, 3.0, 2.0], [0.0, 2.0, 0.0, 0.0]]), 0.5).int().tolist()
    [[1, 0, 1, 0], [0, 1, 0, 0]]
    """
    check_ratio("uniform", ratio)
    _check_scores(scores)
    kept = scores.shape[1] - round(ratio * scores.shape[1])
    order = scores.argsort(dim=1, descending=True, stable=True)
    mask = torch.zeros_like(scores, dtype=torch.bool).scatter_(1, order[:, :kept], True)
    return mask & (scores > TOLERANCE)


def filters_on(logits: Tensor, floor: float = 0.0) -> Tensor:
    """M: filters whose logit is above 0, and always the ceil(floor * F) with the largest logits.

    Independent answers are all "off" where no filter is on in half of the images; the floor keeps such a
    layer alive. (n, F) -> bool (n, F).

    >>> filters_on(torch.tensor([[-1.0, -3.0, -2.0, -4.0], [1.0, -1.0, 2.0, 3.0]]), floor=0.25).int().tolist()
    [[1, 0, 0, 0], [1, 0, 1, 1]]
    """
    mask = logits > 0
    least = math.ceil(floor * logits.shape[1])
    if least:
        mask = mask.scatter(1, logits.topk(least, dim=1).indices, True)
    return mask


def check_share(parameter: str, value: object) -> None:
    """Raise a ParameterError unless ``value`` is in (0, 1]."""
    if not is_number(value) or not 0 < value <= 1:  # type: ignore[operator]
        raise refused(parameter, value, "it must be a share of the mass, above 0 and at most 1")


def check_ratio(parameter: str, value: object) -> None:
    """Raise a ParameterError unless ``value`` is in [0, 1)."""
    if not is_number(value) or not 0 <= value < 1:  # type: ignore[operator]
        raise refused(parameter, value, "it must be a share of the filters, at least 0 and below 1")


def is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _check_scores(scores: Tensor) -> None:
    if scores.ndim != 2 or not scores.is_floating_point():
        raise ParameterError(f"scores are {scores.dtype} {tuple(scores.shape)}; floats (images, filters) are "
                             "needed")  # fmt: skip
