"""A layer's numbers against loops over filters; counts with and without the filters that have no cluster."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from filterwise.errors import ParameterError
from filterwise.measure import (
    clip,
    clusters,
    field_chunks,
    filter_table,
    label_fields,
    layer_summary,
    layer_summary_of,
    noise,
    order_sweep,
)


def random_fields(filters: int, labels: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    M = torch.randn(filters, labels, labels, generator=generator) + 1.5 * torch.eye(labels)
    M[0] = -M[0].abs() - 1  # raises nothing
    M[1] = torch.randn(labels, labels, generator=generator) - 9 * torch.eye(labels)  # ones, but no cluster
    return M


@pytest.mark.parametrize(("filters", "labels", "threshold"), [(12, 3, 0.3), (9, 10, 0.5), (20, 7, 0.2)])
def test_equals_plain_loops(filters: int, labels: int, threshold: float) -> None:
    M = random_fields(filters, labels, seed=labels)
    B = clip(M, threshold)
    found = [clusters(matrix) for matrix in B]
    counts = [noise(matrix, own) for matrix, own in zip(B, found, strict=True)]
    with_cluster = [f for f in range(filters) if found[f]]
    sizes = [len(members) for own in found for members in own]
    row = layer_summary(M, threshold)

    def mean(values: list[int], over: list[int]) -> float:
        return sum(values[f] for f in over) / len(over)

    everything = list(range(filters))
    for name, values in {
        "N_c": [len(own) for own in found],
        "D": [int(matrix.diagonal().sum()) for matrix in B],
        "n": [one.n for one in counts],
        "n_in": [one.n_in for one in counts],
        "n_out": [one.n_out for one in counts],
    }.items():
        assert row[name] == pytest.approx(mean(values, with_cluster))
        assert row[f"{name}_all"] == pytest.approx(mean(values, everything))
    assert row["C_s"] == pytest.approx(sum(sizes) / len(sizes))
    assert row["SNR_block"] == pytest.approx(sum(one.s for one in counts) / sum(one.n for one in counts))
    S = B.sum(dim=0).double()
    off = S[~torch.eye(labels, dtype=torch.bool)]
    assert row["SNR_label"] == pytest.approx(float(S.diagonal().mean() / off.mean()))
    assert row["SNR_mf"] == pytest.approx(row["N_c"] * row["C_s"] * (labels - 1) / row["n"])
    assert row["share_without_cluster"] == pytest.approx(1 - len(with_cluster) / filters)
    assert row["share_without_cluster"] >= 2 / filters
    assert (row["filters"], row["labels"]) == (filters, labels)


def test_table_of_filters_equals_plain_counts() -> None:
    M = random_fields(15, 6, seed=0)
    table = filter_table(M)
    for f, matrix in enumerate(clip(M)):
        own = clusters(matrix)
        s, n, n_in, n_out = noise(matrix, own)
        expected = [len(own), int(matrix.diagonal().sum()), s, n, n_in, n_out, max(map(len, own), default=0)]
        assert table.loc[f].tolist() == expected


def test_mean_field_ratio_is_that_of_labels_when_there_are_only_single_labels() -> None:
    """With clusters of size 1 only, s = N_c C_s, so SNR_mf over all filters = SNR_label."""
    B = torch.zeros(6, 4, 4, dtype=torch.bool)
    for f in range(6):
        B[f, f % 4, f % 4] = True
        B[f, (f + 1) % 4, f % 4] = True
    row = layer_summary(B)
    assert row["SNR_mf_all"] == pytest.approx(row["SNR_label"])


def test_clipped_matrices_are_taken_as_they_are() -> None:
    M = random_fields(10, 5, seed=4)
    assert layer_summary(clip(M, 0.4)).equals(layer_summary(M, 0.4))


def test_order_of_filters_and_of_labels() -> None:
    M = random_fields(10, 6, seed=5)
    mixed = M[torch.randperm(10, generator=torch.Generator().manual_seed(0))]
    np.testing.assert_allclose(layer_summary(mixed).to_numpy(), layer_summary(M).to_numpy(), rtol=1e-12)
    labels = torch.randperm(6, generator=torch.Generator().manual_seed(1))
    renamed = M[:, labels][:, :, labels]
    # visiting the renamed labels in the old order undoes the renaming
    old_order = torch.argsort(labels).tolist()
    np.testing.assert_allclose(layer_summary(renamed, order=old_order), layer_summary(M), rtol=1e-12)


def test_no_noise_and_no_cluster_at_all() -> None:
    clean = layer_summary(torch.eye(3).repeat(2, 1, 1))
    assert clean["SNR_block"] == clean["SNR_label"] == clean["SNR_mf"] == math.inf
    empty = layer_summary(-torch.ones(2, 3, 3))
    assert empty["share_without_cluster"] == 1
    assert empty["N_c_all"] == 0
    assert all(math.isnan(empty[name]) for name in ("N_c", "C_s", "n", "SNR_block", "SNR_label", "SNR_mf"))


def test_in_parts_equals_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(8)
    mean, weight = torch.rand(6, 20, 3, generator=generator), torch.randn(6, 60, generator=generator)
    M = label_fields(mean, weight)
    monkeypatch.setattr(
        "filterwise.measure.summary.field_chunks", lambda mean, head: field_chunks(mean, head, entries=3 * 36)
    )
    row, table, S = layer_summary_of(mean, weight)
    np.testing.assert_allclose(row, layer_summary(M))
    assert table.equals(filter_table(M))
    assert np.array_equal(S, clip(M).sum(0))


def test_order_of_the_labels_changes_the_split_only() -> None:
    generator = torch.Generator().manual_seed(0)
    M = torch.rand(40, 12, 12, generator=generator) ** 2 + torch.eye(12) / 2
    table = order_sweep(M, shuffles=6, seed=1)
    assert len(table) == 7
    assert table.loc[0].to_dict() == layer_summary(M).to_dict()
    for fixed in ("D", "D_all", "SNR_label", "share_without_cluster"):
        assert table[fixed].nunique() == 1
    assert table["C_s"].nunique() > 1
    noise_ones = table["n_all"] * 40
    np.testing.assert_allclose(table["SNR_block"], (float(clip(M).sum()) - noise_ones) / noise_ones)
    assert table.equals(order_sweep(clip(M), shuffles=6, seed=1))
    assert not table.equals(order_sweep(M, shuffles=6, seed=2))


def test_refusals() -> None:
    with pytest.raises(ParameterError, match="shuffles=-1"):
        order_sweep(torch.eye(3)[None], shuffles=-1)
    with pytest.raises(ParameterError, match=r"\(F, K, K\) with at least one filter is needed"):
        layer_summary(torch.eye(3))
    with pytest.raises(ParameterError, match="threshold"):
        layer_summary(torch.eye(3)[None], threshold=1.5)
    with pytest.raises(ParameterError, match="not finite"):
        layer_summary(torch.full((1, 3, 3), math.inf))
    with pytest.raises(ParameterError, match="at least one"):
        layer_summary(torch.zeros(0, 3, 3))
