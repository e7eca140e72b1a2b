"""Label fields: every filter's matrix of average output fields, and its clipped picture."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Real

import torch
from torch import Tensor, nn

from filterwise.errors import ParameterError, refused

#: Matrix entries that :func:`field_chunks` hands out at a time: 2**24 is 128 MiB in float64.
CHUNK_ENTRIES = 2**24


def split_head(mean: Tensor, head_weight: Tensor | nn.Module | object) -> tuple[Tensor, Tensor]:
    """Class means and head weights, both (K, F, P), checked to fit, of one dtype and device.

    ``head_weight`` may be (K, F*P) as in ``nn.Linear``, (K, F, P), a bias-free linear module or a ``Head``.
    Raises ParameterError: a shape that does not fit, or a module with a bias: that would add the same column
    offset to every filter's matrix, so it has to be dropped knowingly by passing ``head.weight``.
    """
    weight = getattr(head_weight, "weight", head_weight)
    if getattr(head_weight, "bias", None) is not None:
        raise ParameterError(
            "the head has a bias, which belongs to no filter; pass head.weight to leave it out"
        )
    if not isinstance(mean, Tensor) or mean.ndim != 3:
        shape = tuple(getattr(mean, "shape", ())) or type(mean).__name__
        raise ParameterError(f"mean has shape {shape}; (K, F, P) = (labels, filters, positions) is needed")
    labels, filters, positions = mean.shape
    if not isinstance(weight, Tensor) or weight.ndim not in (2, 3):
        shape = tuple(getattr(weight, "shape", ())) or type(weight).__name__
        raise ParameterError(f"head_weight has shape {shape}; (K, F*P) or (K, F, P) is needed")
    if tuple(weight.shape) not in ((labels, filters * positions), (labels, filters, positions)):
        raise ParameterError(
            f"head_weight of shape {tuple(weight.shape)} does not fit class means of {tuple(mean.shape)}; "
            f"{(labels, filters * positions)} or {(labels, filters, positions)} is needed"
        )
    dtype = torch.promote_types(mean.dtype, weight.dtype)
    weight = weight.detach().to(device=mean.device, dtype=dtype)
    return mean.detach().to(dtype), weight.reshape(labels, filters, positions)


def label_fields(mean: Tensor, head_weight: Tensor | nn.Module | object) -> Tensor:
    """SFP matrix of every filter: the mean output fields that the filter alone gives each label's images.

    M^f[i, j] = sum_p W[j, f, p] * abar[i, f, p]

    This equals the procedure of Tzach et al. 2023, silencing all other filters' head weights and averaging
    the outputs (raw logits) over the images of label i, because the head is linear and has no bias.
    ``mean``: class means (K, F, P); ``head_weight``: (K, F*P), (K, F, P), a ``Head`` or linear layer.
    Returns (F, K, K): row = label of the input, column = output label; in parts: :func:`field_chunks`.
    Raises ParameterError: shapes that do not fit.

    >>> mean = torch.tensor([[[1.0, 0.0]], [[0.0, 2.0]]])       # 2 labels, 1 filter, 2 positions
    >>> label_fields(mean, torch.tensor([[3.0, 0.0], [0.0, 5.0]])).tolist()
    [[[3.0, 0.0], [0.0, 10.0]]]
    """
    abar, weight = split_head(mean, head_weight)
    # The batched matrix product of einsum("ifp,jfp->fij").
    return torch.bmm(abar.permute(1, 0, 2), weight.permute(1, 2, 0))


def head_fields(mu: Tensor, W: Tensor, heads: int = 4) -> Tensor:
    """Matrix of every attention head: the mean output fields that its nodes alone give each label's images.

    M_h[i, j] = sum over the nodes n of head h of mu[i, n] * W[j, n], the single-head performance of Gross et
    al. 2025; head h owns the nodes h d/H to (h + 1) d/H - 1. Summed over heads it is mu W^T, its rank at most
    d/H. ``mu``: class means (K, d) of the d nodes that the classifier reads, all heads' in a row;
    ``W``: weights (K, d) of the bias-free classifier; ``heads``: H, a divisor of d.
    Returns (H, K, K): row = label of the input, column = output label.
    Raises ParameterError: shapes that do not fit, or d nodes that cannot be shared among the heads.

    >>> head_fields(torch.eye(2), torch.tensor([[3.0, 0.0], [0.0, 5.0]]), heads=2).tolist()
    [[[3.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 5.0]]]
    """
    if not isinstance(mu, Tensor) or not isinstance(W, Tensor) or mu.ndim != 2 or mu.shape != W.shape:
        shapes = [tuple(getattr(each, "shape", ())) or type(each).__name__ for each in (mu, W)]
        raise ParameterError(f"mu has shape {shapes[0]} and W {shapes[1]}; (K, d) of both is needed")
    if type(heads) is not int or heads < 1 or mu.shape[1] % heads:
        raise ParameterError(f"heads={heads!r} must be a whole number that divides the {mu.shape[1]} nodes")
    return label_fields(mu.reshape(len(mu), heads, -1), W)


def field_chunks(
    mean: Tensor, head_weight: Tensor | nn.Module | object, entries: int = CHUNK_ENTRIES
) -> Iterator[tuple[slice, Tensor]]:
    """The same matrices in chunks of filters: (slice of filters, their matrices (f, K, K)).

    A chunk has at most ``entries`` matrix entries (but at least one filter): bounded at any K.

    >>> [len(part) for _, part in field_chunks(torch.ones(4, 10, 1), torch.ones(4, 10), entries=48)]
    [3, 3, 3, 1]
    """
    abar, weight = split_head(mean, head_weight)
    labels, filters, _ = abar.shape
    step = max(1, entries // (labels * labels))
    for start in range(0, filters, step):
        part = slice(start, min(start + step, filters))
        yield part, torch.bmm(abar[:, part].permute(1, 0, 2), weight[:, part].permute(1, 2, 0))


def check_matrices(name: str, matrices: object) -> Tensor:
    """``matrices`` as a tensor (..., K, K); raises a ParameterError if it is not square or not finite."""
    try:
        tensor = torch.as_tensor(matrices)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ParameterError(f"{name} is no tensor of numbers: {error}") from None
    if tensor.ndim < 2 or tensor.shape[-1] != tensor.shape[-2] or tensor.shape[-1] == 0:
        raise ParameterError(f"{name} has shape {tuple(tensor.shape)}; (F, K, K) or (K, K) is needed")
    # the extremes are finite only if all entries are, and they are found many times faster than by isfinite
    extremes = (tensor.amin(), tensor.amax()) if tensor.is_floating_point() and tensor.numel() else ()
    if not all(bool(torch.isfinite(extreme)) for extreme in extremes):
        raise ParameterError(f"{name} holds values that are not finite (NaN or infinity)")
    return tensor


def clip(M: Tensor, threshold: float = 0.3) -> Tensor:
    """Clipped matrix B^f: 1 where an entry exceeds ``threshold`` (theta in [0, 1)) times the maximum.

    A filter whose maximum is <= 0 raises no output: it has no ones. (Dividing by a negative maximum would
    flip every sign and turn all entries into ones.) ``M``: (F, K, K) or (K, K); returns bool of that shape.
    Raises ParameterError: a threshold outside [0, 1), a matrix that is not square or not finite.

    >>> clip(torch.tensor([[[10.0, 3.0], [3.1, -5.0]], [[-1.0, -2.0], [-3.0, 0.0]]])).int().tolist()
    [[[1, 0], [1, 0]], [[0, 0], [0, 0]]]
    """
    if not isinstance(threshold, Real):
        raise refused("threshold", threshold, "it must be a number in [0, 1)")
    if not 0 <= threshold < 1:
        raise ParameterError(f"threshold={threshold!r} is outside [0, 1)")
    fields = check_matrices("M", M)
    if fields.dtype == torch.bool:
        raise ParameterError("M is boolean, so it is clipped already")
    if not fields.is_floating_point():
        fields = fields.double()
    largest = fields.amax(dim=(-2, -1), keepdim=True)
    positive = largest > 0
    return (fields / torch.where(positive, largest, torch.ones_like(largest)) > threshold) & positive


def rank_one_share(M: Tensor, chunk: int = 64) -> Tensor:
    """Share of each matrix's squared norm in its first singular value, (F,); NaN for a matrix of zeros.

    1 means that M^f[i, j] = g_i * w_j, an identity at P = 1: such a filter orders the outputs in the same
    way whatever the input.

    >>> rank_one_share(torch.stack([torch.ones(3, 3), torch.eye(3)]))
    tensor([1.0000, 0.3333])
    """
    fields = check_matrices("M", M)
    if not fields.is_floating_point():
        fields = fields.double()
    parts = []
    for part in fields.reshape(-1, *fields.shape[-2:]).split(chunk):
        squares = torch.linalg.svdvals(part).square()
        parts.append(squares[:, 0] / squares.sum(dim=1))
    return torch.cat(parts)
