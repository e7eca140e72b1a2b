"""Greedy clusters against their definition and against the batched version; noise; permutation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from filterwise.errors import ParameterError
from filterwise.measure import (
    assign_clusters,
    cluster_sizes,
    clusters,
    noise,
    permutation,
)

SHAPES = [(40, 1), (60, 2), (60, 5), (40, 12), (10, 40)]


def random_clipped(filters: int, labels: int, seed: int) -> NDArray[np.bool_]:
    """Clipped matrices of all kinds: sparse, dense, block-like, empty, full."""
    rng = np.random.default_rng(seed)
    density = rng.uniform(0, 1, size=(filters, 1, 1))
    B = rng.uniform(size=(filters, labels, labels)) < density
    group = rng.integers(0, max(1, labels // 3), size=(filters, labels))
    B[::2] |= (group[:, :, None] == group[:, None, :])[::2]
    B[0], B[-1] = False, True
    return B


def plain_clusters(B: NDArray[np.bool_], order: list[int]) -> list[tuple[int, ...]]:
    """The definition word by word, with loops."""
    unassigned = [j for j in order if B[j][j]]
    found = []
    while unassigned:
        cluster = [unassigned.pop(0)]
        for j in list(unassigned):
            if all(B[a][b] for a in [*cluster, j] for b in [*cluster, j]):
                cluster.append(j)
                unassigned.remove(j)
        found.append(tuple(sorted(cluster)))
    return found


@pytest.mark.parametrize(("filters", "labels"), SHAPES)
@pytest.mark.parametrize("shuffled", [False, True])
def test_clusters_and_batched_clusters_follow_the_definition(
    filters: int, labels: int, shuffled: bool
) -> None:
    B = random_clipped(filters, labels, seed=labels)
    order = list(np.random.default_rng(1).permutation(labels)) if shuffled else list(range(labels))
    assigned = assign_clusters(B, order if shuffled else None)
    for f in range(filters):
        expected = plain_clusters(B[f], order)
        assert clusters(B[f], order) == expected
        batched = [tuple(np.flatnonzero(assigned[f] == c)) for c in range(assigned[f].max() + 1)]
        assert batched == expected


def test_batched_clusters_in_small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    B = random_clipped(23, 9, seed=3)
    whole = assign_clusters(B)
    monkeypatch.setattr("filterwise.measure.clustering.CHUNK_BYTES", 1)
    assert np.array_equal(assign_clusters(B), whole)


@pytest.mark.parametrize(("filters", "labels"), SHAPES)
def test_properties_of_every_clustering(filters: int, labels: int) -> None:
    B = random_clipped(filters, labels, seed=100 + labels)
    for f in range(filters):
        found = clusters(torch.from_numpy(B[f]))
        flat = [label for members in found for label in members]
        assert sorted(flat) == np.flatnonzero(np.diag(B[f])).tolist()  # disjoint, and they cover D
        assert all(B[f][np.ix_(members, members)].all() for members in found)
        s, n, n_in, n_out = noise(B[f], found)
        assert s == sum(len(members) ** 2 for members in found)
        assert s + n == B[f].sum()
        assert n == n_in + n_out
        outside = ~np.isin(np.arange(labels), flat)
        assert n_out == B[f][:, outside].sum()
        order = permutation(found, labels)
        assert sorted(order) == list(range(labels))
        picture, start = B[f][np.ix_(order, order)], 0
        for members in found:
            stop = start + len(members)
            assert picture[start:stop, start:stop].all()
            start = stop


def test_rows_and_columns_of_the_noise_are_not_swapped() -> None:
    B = np.zeros((3, 3), dtype=bool)
    B[1, 1] = B[0, 1] = True  # input 0 wrongly raises output 1, which belongs to a cluster
    assert noise(B) == (1, 1, 1, 0)
    assert noise(B.T) == (1, 1, 0, 1)


def test_order_changes_the_split_but_not_the_diagonal() -> None:
    B = np.eye(3, dtype=bool)
    B[0, 1] = B[1, 0] = B[1, 2] = B[2, 1] = True  # a path: 1 goes with 0 or with 2
    assert clusters(B) == [(0, 1), (2,)]
    assert clusters(B, order=[2, 1, 0]) == [(1, 2), (0,)]


def test_sizes_count_members() -> None:
    B = random_clipped(30, 12, seed=9)
    sizes = cluster_sizes(assign_clusters(B))
    for f in range(30):
        assert [size for size in sizes[f] if size] == [len(members) for members in clusters(B[f])]
    assert cluster_sizes(np.full((2, 3), -1, dtype=np.int32)).shape == (2, 0)


def test_what_is_no_clipped_matrix_is_refused() -> None:
    with pytest.raises(ParameterError, match="use clip"):
        clusters(torch.eye(3))
    with pytest.raises(ParameterError, match="use clip"):
        clusters(np.full((2, 2), 2))
    assert clusters(np.eye(2, dtype=int)) == [(0,), (1,)]
    with pytest.raises(ParameterError, match=r"\(K, K\) is needed"):
        clusters(torch.ones(2, 3, 3, dtype=torch.bool))
    with pytest.raises(ParameterError, match="each of the 3 labels once"):
        clusters(np.eye(3, dtype=bool), order=[0, 1, 1])
    with pytest.raises(ParameterError, match="disjoint"):
        permutation([(0, 1), (1,)], 3)
    with pytest.raises(ParameterError, match="disjoint"):
        noise(np.eye(3, dtype=bool), [(7,)])
