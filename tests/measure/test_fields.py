"""Label fields against a network whose other filters really are silenced; clipping; rank."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from filterwise.errors import ParameterError
from filterwise.measure import clip, field_chunks, label_fields, rank_one_share


def random_mean(labels: int, filters: int, positions: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    mean = torch.rand(labels, filters, positions, generator=generator)
    weight = torch.randn(labels, filters, positions, generator=generator)
    return mean, weight


@pytest.mark.parametrize(("labels", "filters", "positions"), [(4, 3, 5), (10, 7, 1), (2, 1, 9), (1, 2, 2)])
def test_equals_plain_sums(labels: int, filters: int, positions: int) -> None:
    mean, weight = random_mean(labels, filters, positions, seed=labels)
    expected = np.zeros((filters, labels, labels))
    for f in range(filters):
        for i in range(labels):
            for j in range(labels):
                expected[f, i, j] = sum(
                    float(weight[j, f, p]) * float(mean[i, f, p]) for p in range(positions)
                )
    np.testing.assert_allclose(label_fields(mean, weight).numpy(), expected, rtol=1e-5, atol=1e-6)


def test_all_forms_of_the_head_agree() -> None:
    mean, weight = random_mean(4, 3, 5, seed=0)
    linear = nn.Linear(15, 4, bias=False)
    with torch.no_grad():
        linear.weight.copy_(weight.flatten(1))
    expected = label_fields(mean, weight)
    for form in (weight.flatten(1), linear.weight, linear):
        found = label_fields(mean, form)
        assert torch.equal(found, expected)
        assert not found.requires_grad


def test_float32_equals_float64_to_its_last_digits() -> None:
    mean, weight = random_mean(20, 30, 16, seed=5)
    exact = label_fields(mean.double(), weight.double())
    assert exact.dtype == torch.float64
    assert label_fields(mean.double(), weight).dtype == torch.float64
    error = (label_fields(mean, weight) - exact).abs().amax(dim=(1, 2)) / exact.abs().amax(dim=(1, 2))
    assert float(error.max()) < 1e-6


@pytest.mark.parametrize("entries", [1, 100, 10**6])
def test_chunks_equal_the_whole(entries: int) -> None:
    mean, weight = random_mean(6, 11, 4, seed=6)
    parts = list(field_chunks(mean, weight, entries))
    assert [index for part, _ in parts for index in range(part.start, part.stop)] == list(range(11))
    assert all(fields.numel() <= max(entries, 36) for _, fields in parts)
    torch.testing.assert_close(torch.cat([fields for _, fields in parts]), label_fields(mean, weight))


@pytest.mark.parametrize(
    ("mean", "weight", "message"),
    [
        (torch.ones(4, 3, 5), torch.ones(4, 14), r"\(4, 14\) does not fit .*\(4, 15\) or \(4, 3, 5\)"),
        (torch.ones(4, 3, 5), torch.ones(5, 15), "does not fit"),
        (torch.ones(4, 3, 5), torch.ones(4, 5, 3), "does not fit"),
        (torch.ones(4, 15), torch.ones(4, 15), "mean has shape"),
        (torch.ones(4, 3, 5), torch.ones(60), "head_weight has shape"),
        (torch.ones(4, 3, 5), nn.Linear(15, 4), "bias"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(mean: Tensor, weight: object, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        label_fields(mean, weight)


def test_clip_is_strict_and_relative_to_each_filter() -> None:
    M = torch.tensor([[[10.0, 3.0], [3.5, -10.0]], [[0.1, 0.05], [0.02, 0.0]]], dtype=torch.float64)
    assert clip(M, threshold=0.3).tolist() == [[[True, False], [True, False]], [[True, True], [False, False]]]
    assert torch.equal(clip(M[1]), clip(M)[1])
    assert torch.equal(clip(M * 1e-20), clip(M))


@pytest.mark.parametrize("largest", [0.0, -1.0])
def test_filter_without_a_positive_field_has_no_ones(largest: float) -> None:
    M = torch.full((1, 3, 3), largest - 2)
    M[0, 1, 1] = largest
    assert not clip(M).any()


def test_clip_refuses_what_it_cannot_clip() -> None:
    for threshold in (1.0, -0.1, float("nan")):
        with pytest.raises(ParameterError, match="threshold"):
            clip(torch.eye(3), threshold)
    with pytest.raises(ParameterError, match="not finite"):
        clip(torch.full((1, 2, 2), float("nan")))
    with pytest.raises(ParameterError, match="clipped already"):
        clip(torch.eye(3, dtype=torch.bool))
    with pytest.raises(ParameterError, match="shape"):
        clip(torch.ones(2, 3))


def test_one_position_means_rank_one_and_one_preferred_output() -> None:
    """At P = 1, M[i, j] = abar[i] W[j]: each row is a multiple of the head's weights."""
    mean, weight = random_mean(8, 5, 1, seed=7)
    M = label_fields(mean.double(), weight.double())
    torch.testing.assert_close(rank_one_share(M), torch.ones(5, dtype=torch.float64))
    assert torch.equal(M.argmax(dim=2), weight[:, :, 0].argmax(dim=0)[:, None].expand(5, 8))


def test_rank_one_share_against_the_definition() -> None:
    mean, weight = random_mean(6, 70, 3, seed=8)  # more filters than one chunk
    M = label_fields(mean, weight)
    found = rank_one_share(M)
    for f in (0, 69):
        singular = np.linalg.svd(M[f].numpy(), compute_uv=False)
        assert float(found[f]) == pytest.approx(singular[0] ** 2 / (singular**2).sum(), rel=1e-4)
    assert bool((found < 1 - 1e-3).all())
    assert torch.isnan(rank_one_share(torch.zeros(1, 3, 3))).all()
