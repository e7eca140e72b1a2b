"""Which labels a filter stands for, T_f, and label sets that are imposed instead of measured.

Tzach et al., Phys. Rev. E 111, 065307 (2025).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from math import comb

import torch
from torch import Tensor

from filterwise.errors import ParameterError, check_at_least, check_count
from filterwise.measure.fields import clip


def label_sets(M: Tensor, threshold: float = 0.3) -> Tensor:
    """T_f, the union of each filter's clusters: labels j with B^f[j, j] = 1.

    The union does not depend on the order in which clusters are found.

    Parameters
    ----------
    M
        Label fields (F, K, K), row = input label; see ``filterwise.measure.label_fields``.
    threshold
        theta in [0, 1), a share of each filter's own maximum.

    Returns bool (F, K): filter, label. A filter without clusters has an empty row.

    Raises ParameterError: fields that are no (F, K, K), or a threshold outside of [0, 1).

    >>> label_sets(torch.tensor([[[10.0, 0.0], [0.0, 3.1]], [[-1.0, 0.0], [0.0, -2.0]]])).tolist()
    [[True, True], [False, False]]
    """
    if not isinstance(M, Tensor) or M.ndim != 3:
        shape = tuple(getattr(M, "shape", ())) or type(M).__name__
        raise ParameterError(f"M has shape {shape}; (F, K, K) is needed")
    return clip(M, threshold).diagonal(dim1=1, dim2=2).clone()


def check_sets(name: str, sets: object) -> Tensor:
    """Label sets as a bool tensor (F, K).

    Raises ParameterError: another type, or another number of dimensions.
    """
    if not isinstance(sets, Tensor) or sets.dtype != torch.bool or sets.ndim != 2:
        given = f"{sets.dtype} {tuple(sets.shape)}" if isinstance(sets, Tensor) else type(sets).__name__
        raise ParameterError(f"{name} is {given}; torch.bool (filters, labels) is needed")
    return sets


def lost_labels(sets: Tensor) -> list[int]:
    """Labels that no filter keeps: an output layer masked by these sets can never name them again.

    >>> lost_labels(torch.tensor([[True, False, True], [True, False, False]]))
    [1]
    """
    return torch.nonzero(~check_sets("sets", sets).any(dim=0)).flatten().tolist()


def warn_of_lost(sets: Tensor, label_names: Sequence[str], layer: str) -> list[int]:
    """Warn, by name, of the labels that no filter of a layer keeps; returns their numbers."""
    lost = lost_labels(sets)
    if lost:
        shown = ", ".join(f"{label} ({label_names[label]!r})" for label in lost[:8])
        more = ", ..." if len(lost) > 8 else ""
        warnings.warn(
            f"no filter of {layer!r} keeps {len(lost)} of {sets.shape[1]} labels: {shown}{more}; the pruned "
            "network cannot name them any more; lower the threshold",
            stacklevel=3,
        )
    return lost


def random_label_sets(filters: int, labels: int, size: int, generator: torch.Generator) -> Tensor:
    """``size`` labels for each filter, drawn so that every label is used equally often, or once more.

    Each filter takes the labels that were used least so far, ties by a fair draw.

    Returns bool (filters, labels).

    Raises ParameterError: a size above the number of labels, or numbers below 1.

    >>> random_label_sets(6, 4, 2, torch.Generator().manual_seed(0)).sum(dim=0).tolist()
    [3, 3, 3, 3]
    """
    _check_sizes(filters, labels, size)
    sets = torch.zeros(filters, labels, dtype=torch.bool)
    used = torch.zeros(labels)
    for row in sets:
        chosen = (used + torch.rand(labels, generator=generator)).argsort()[:size]
        row[chosen] = True
        used[chosen] += 1
    return sets


def cyclic_label_sets(filters: int, labels: int, size: int) -> Tensor:
    """``size`` neighbouring labels for each filter, one filter's after the other's, around the circle.

    Returns bool (filters, labels).

    Raises ParameterError: a size above the number of labels, or numbers below 1.

    >>> cyclic_label_sets(3, 4, 3).int().tolist()
    [[1, 1, 1, 0], [1, 1, 0, 1], [1, 0, 1, 1]]
    """
    _check_sizes(filters, labels, size)
    sets = torch.zeros(filters, labels, dtype=torch.bool)
    members = (torch.arange(filters * size) % labels).view(filters, size)
    return sets.scatter_(1, members, True)


def _check_sizes(filters: int, labels: int, size: int) -> None:
    for name, value in (("filters", filters), ("labels", labels), ("size", size)):
        check_count(name, value)
    if size > labels:
        raise ParameterError(f"size={size!r} is more than the labels={labels!r}")


def chance_of_no_common_label(labels: int, size_in: int, size_out: int) -> float:
    """C(K - t, t') / C(K, t'): two filters with t and t' random labels out of K share none.

    The dilution that AFCC would have if label sets were independent of each other.

    >>> round(chance_of_no_common_label(100, 5, 5), 2)
    0.77
    """
    check_count("labels", labels)
    for name, size in (("size_in", size_in), ("size_out", size_out)):
        check_at_least(name, size, 0)
        if size > labels:
            raise ParameterError(f"{name}={size!r} is more than the labels={labels!r}")
    return comb(labels - size_in, size_out) / comb(labels, size_out)
