"""What to keep at a given amount: small classes with one call, weight -> scores, found by name.

The convention is that of ``importance_scores`` in ``torch.nn.utils.prune``: a score for every weight, of the
weight's shape, or for every kernel, (out, in), and the largest are kept. A criterion of one's own is a class
with such a call::

    @criteria("smallest")
    class Smallest:
        def __call__(self, weight): return -weight.abs()
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from filterwise.errors import ParameterError, check_count
from filterwise.prune.filter_labels import check_sets
from filterwise.registry import Registry

#: Criteria by name: classes with one call, weight -> scores. Those of one's own register with
#: ``@criteria("name")``; ``criteria.names()`` lists all. Import it from ``filterwise.prune.criteria``.
#:
#: >>> "magnitude" in criteria.names()
#: True
criteria = Registry("criterion", "filterwise.prune.*", "filterwise.papers.*.edits")


def keep_top(scores: Tensor, count: int) -> Tensor:
    """Mask of the ``count`` largest scores; of equal ones the first.

    Returns bool, of the shape of ``scores``.

    Raises ParameterError: a count outside 0 to the number of scores, or scores that are not numbers.

    >>> keep_top(torch.tensor([[1.0, 3.0], [3.0, 3.0]]), 2).tolist()
    [[False, True], [True, False]]
    """
    check_count("count", count, 0)
    if count > scores.numel():
        raise ParameterError(f"count={count} is more than the {scores.numel()} that there are")
    if bool(scores.isnan().any()):
        raise ParameterError(f"{int(scores.isnan().sum())} of {scores.numel()} scores are not a number")
    mask = torch.zeros(scores.numel(), dtype=torch.bool, device=scores.device)
    mask[scores.flatten().argsort(descending=True, stable=True)[:count]] = True
    return mask.view(scores.shape)


def mask_of_amount(weight: Tensor, scores: Tensor, connections: int) -> Tensor:
    """The mask that keeps so many of a layer's connections by their scores, or as many single weights.

    Parameters
    ----------
    weight
        (out, in), or with further dimensions: a kernel's, or a filter's positions in a linear layer that
        reads its map, (out, in, P).
    scores
        Of the weight's shape, or (out, in).
    connections
        Kept pairs (out, in). Scores of single weights keep so many times a connection's weights, so that
        both leave equally many weights.

    Returns bool, of the shape of ``scores``.

    Raises ParameterError: scores of another shape, or a count that does not fit.

    >>> weight = torch.arange(18.0).view(2, 1, 3, 3)
    >>> [int(mask_of_amount(weight, scores, 1).sum()) for scores in (weight.abs(), weight.sum((2, 3)))]
    [9, 1]
    """
    if scores.shape not in (weight.shape, weight.shape[:2]):
        raise ParameterError(
            f"scores have shape {tuple(scores.shape)}; {tuple(weight.shape)} or {tuple(weight.shape[:2])} is "
            "needed"
        )
    each = weight[0, 0].numel() if scores.ndim == weight.ndim else 1
    return keep_top(scores.detach(), check_count("connections", connections, 0) * each)


@criteria("random")
@dataclass(frozen=True)
class Random:
    """Connections drawn at random."""

    generator: torch.Generator

    def __call__(self, weight: Tensor) -> Tensor:
        """(out, in), in [0, 1)."""
        return torch.rand(weight.shape[:2], generator=self.generator)


@criteria("magnitude")
class Magnitude:
    """Single weights with the largest absolute value."""

    def __call__(self, weight: Tensor) -> Tensor:
        """Of the weight's shape."""
        return weight.detach().abs()


@criteria("kernel-l2")
class KernelL2:
    """Kernels with the largest Euclidean norm, among all kernels of the layer."""

    def __call__(self, weight: Tensor) -> Tensor:
        """(out, in)."""
        return weight.detach().flatten(2).norm(dim=2) if weight.ndim > 2 else weight.detach().abs()


@criteria("kernel-l2-within")
class KernelL2Within(KernelL2):
    """The same, each norm as a share of the largest in its output filter.

    Batch norm makes the scales of two output filters incomparable; here every filter keeps its best.
    """

    def __call__(self, weight: Tensor) -> Tensor:
        """(out, in), in [0, 1]."""
        norms = super().__call__(weight)
        return norms / norms.amax(dim=1, keepdim=True).clamp_min(torch.finfo(norms.dtype).tiny)


@criteria("filter-l1")
class FilterL1:
    """Whole input filters by the L1 norm of all that reads them; the last one that fits is kept in part."""

    def __call__(self, weight: Tensor) -> Tensor:
        """(out, in); one value a column."""
        size = weight.detach().abs()
        norms = size.flatten(2).sum(dim=(0, 2)) if size.ndim > 2 else size.sum(dim=0)
        return norms.expand(weight.shape[:2])


@criteria("shared-labels")
@dataclass(frozen=True)
class SharedLabels:
    """Connections between filters with most labels in common: AFCC's own order, or that of random sets.

    ``sets_out`` and ``sets_in``: bool (filters, K). Equal numbers of labels in common are ordered by a fair
    draw from ``generator``.
    """

    sets_out: Tensor
    sets_in: Tensor
    generator: torch.Generator

    def __call__(self, weight: Tensor) -> Tensor:
        """(out, in): labels in common, plus a draw in [0, 1)."""
        out, below = check_sets("sets_out", self.sets_out), check_sets("sets_in", self.sets_in)
        common = out.float() @ below.float().T
        return common + torch.rand(common.shape, generator=self.generator)


@criteria("diagonal-top")
@dataclass(frozen=True)
class DiagonalTop:
    """Of an output layer, the pairs of filter and label with the largest raw field M^f[j, j].

    AFCC clips every filter at a share of its own maximum; this ranks the same fields across filters. ``M``:
    label fields (F, K, K) of the filters that the layer reads.
    """

    M: Tensor

    def __call__(self, weight: Tensor) -> Tensor:
        """(K, F): label, filter."""
        return self.M.diagonal(dim1=1, dim2=2).T
