"""Clusters of labels in a clipped matrix, and the ones outside them: noise."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from filterwise.errors import ParameterError

#: Bytes of work space of :func:`assign_clusters` a chunk of filters.
CHUNK_BYTES = 2**26


class Noise(NamedTuple):
    """Ones of one clipped matrix: inside the clusters' blocks (s) and outside (n = n_in + n_out).

    >>> noise(np.array([[1, 1], [0, 0]])).n_out
    1
    """

    s: int
    n: int
    n_in: int
    n_out: int


def as_bool(name: str, B: object, ndim: tuple[int, ...]) -> NDArray[np.bool_]:
    """A clipped matrix or stack of them as a numpy array of bool.

    Raises ParameterError: not boolean (integers are taken if all are 0 or 1), not square, or of another
    number of dimensions than those in ``ndim``.
    """
    array = B.detach().cpu().numpy() if isinstance(B, torch.Tensor) else np.asarray(B)
    if array.ndim not in ndim or array.shape[-1] != array.shape[-2] or array.shape[-1] == 0:
        wanted = " or ".join({2: "(K, K)", 3: "(F, K, K)"}[one] for one in ndim)
        raise ParameterError(f"{name} has shape {array.shape}; {wanted} is needed")
    if array.dtype != np.bool_:
        if not (np.issubdtype(array.dtype, np.integer) and np.isin(array, (0, 1)).all()):
            raise ParameterError(
                f"{name} has dtype {array.dtype}; a clipped matrix is boolean: use clip(M) first"
            )
        array = array.astype(np.bool_)
    return array


def _check_order(order: Sequence[int] | NDArray[np.int64] | None, labels: int) -> NDArray[np.int64]:
    if order is None:
        return np.arange(labels)
    try:
        array = np.asarray(order)
    except ValueError:
        raise ParameterError(f"order must hold each of the {labels} labels once") from None
    if array.dtype.kind not in "iu" or array.ndim != 1 or sorted(array.tolist()) != list(range(labels)):
        raise ParameterError(f"order must hold each of the {labels} labels once")
    return array.astype(np.int64)


def clusters(B: object, order: Sequence[int] | NDArray[np.int64] | None = None) -> list[tuple[int, ...]]:
    """Clusters of labels that one filter raises together, greedily in ascending order.

    A cluster is a set c of labels with B[i, j] = 1 for all i, j in c. Take the first label with a 1 on the
    diagonal that is in no cluster, add each later one that keeps the whole sub-matrix at 1; repeat. The
    clusters are disjoint and cover D = {j: B[j, j] = 1}; a lone label is a cluster of size 1. ``B``: bool
    (K, K); ``order``: a permutation of the labels to visit instead of 0, 1, ... (D and the total number of
    ones do not depend on it, the split into blocks and noise does).
    Returns the clusters in the order found, members in ascending order.
    Raises ParameterError: B is no boolean square matrix, or order no permutation.

    >>> B = torch.eye(4, dtype=torch.bool)
    >>> B[0, 2] = B[2, 0] = B[1, 3] = True
    >>> clusters(B)
    [(0, 2), (1,), (3,)]
    """
    array = as_bool("B", B, ndim=(2,))
    both = array & array.T
    left = [int(label) for label in _check_order(order, len(array)) if array[label, label]]
    found = []
    while left:
        members = left[:1]
        for label in left[1:]:
            if both[label, members].all():
                members.append(label)
        left = [label for label in left if label not in members]
        found.append(tuple(sorted(members)))
    return found


def assign_clusters(B: object, order: Sequence[int] | NDArray[np.int64] | None = None) -> NDArray[np.int32]:
    """The clusters of thousands of matrices, bool (F, K, K), at once.

    Equals :func:`clusters` filter by filter. Visiting the labels once and putting each into the first
    cluster that takes it gives the same clusters as finishing them one after the other, and this one loop
    over at most ``max |D|`` labels runs over all filters together. Returns int32 (F, K): the number of each
    label's cluster in the order found, -1 for none.

    >>> assign_clusters(np.array([[[1, 0, 1], [0, 1, 0], [1, 0, 1]]], dtype=bool)).tolist()
    [[0, 1, 0]]
    """
    array = as_bool("B", B, ndim=(3,))
    filters, labels, _ = array.shape
    visit = _check_order(order, labels)
    assigned = np.full((filters, labels), -1, dtype=np.int32)
    diagonal = array[:, np.arange(labels), np.arange(labels)][:, visit]  # (F, K), in visiting order
    most = int(diagonal.sum(axis=1).max(initial=0))
    step = max(1, CHUNK_BYTES // max(1, 3 * most * most))
    for start in range(0, filters, step) if most else ():
        part = slice(start, start + step)
        # Labels of D first, in visiting order, so that the loop runs over them only.
        first = np.argsort(~diagonal[part], axis=1, kind="stable")[:, :most]
        chosen = visit[first]  # (f, most)
        valid = np.take_along_axis(diagonal[part], first, axis=1)
        rows = np.arange(len(chosen))
        block = array[part][rows[:, None, None], chosen[:, :, None], chosen[:, None, :]]
        both = block & block.transpose(0, 2, 1)
        takes = np.ones((len(chosen), most, most), dtype=np.bool_)  # [f, c, t]: cluster c may take label t
        where = np.full((len(chosen), most), -1, dtype=np.int32)
        for t in range(most):
            cluster = takes[:, :, t].argmax(axis=1)  # an empty cluster takes anything, so there is always one
            takes[rows, cluster] &= both[:, t]
            where[:, t] = np.where(valid[:, t], cluster, -1)
        filled = np.full((len(chosen), labels), -1, dtype=np.int32)
        np.put_along_axis(filled, chosen, where, axis=1)
        assigned[part] = filled
    return assigned


def cluster_sizes(assigned: NDArray[np.int32]) -> NDArray[np.int64]:
    """Labels in each cluster, (F, most clusters of a filter), 0 where a filter has fewer.

    >>> cluster_sizes(np.array([[0, 1, 0], [-1, -1, 0]])).tolist()
    [[2, 1], [1, 0]]
    """
    most = int(assigned.max(initial=-1)) + 1
    sizes = np.zeros((len(assigned), most), dtype=np.int64)
    filters, labels = np.nonzero(assigned >= 0)
    np.add.at(sizes, (filters, assigned[filters, labels]), 1)
    return sizes


def _check_clusters(found: Iterable[Sequence[int]], labels: int) -> list[tuple[int, ...]]:
    listed = [tuple(int(label) for label in members) for members in found]
    flat = [label for members in listed for label in members]
    if len(set(flat)) < len(flat) or any(not 0 <= label < labels for label in flat):
        raise ParameterError(f"clusters={listed!r} must be disjoint sets of labels from 0 to {labels - 1}")
    return listed


def permutation(found: Iterable[Sequence[int]], labels: int) -> list[int]:
    """Order of the labels for the picture: cluster after cluster, those in no cluster last.

    >>> permutation([(0, 3), (2,)], labels=5)
    [0, 3, 2, 1, 4]
    """
    inside = [label for members in _check_clusters(found, labels) for label in members]
    return inside + [label for label in range(labels) if label not in set(inside)]


def noise(B: object, found: Iterable[Sequence[int]] | None = None) -> Noise:
    """Ones of one clipped matrix inside and outside the clusters' blocks.

    s = sum of ``|c|^2``; n = all other ones; n_in = those in columns (output labels) that belong to some
    cluster, so a 1 between two clusters counts here; n_out = n - n_in, in columns of no cluster.

    >>> noise(np.array([[1, 0, 1], [0, 1, 0], [1, 0, 0]]))
    Noise(s=2, n=2, n_in=1, n_out=1)
    """
    array = as_bool("B", B, ndim=(2,))
    listed = clusters(array) if found is None else _check_clusters(found, len(array))
    inside = sorted(label for members in listed for label in members)
    s = sum(len(members) ** 2 for members in listed)
    n = int(array.sum()) - s
    n_in = int(array[:, inside].sum()) - s
    return Noise(s, n, n_in, n - n_in)
