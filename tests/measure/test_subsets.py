"""Error against K: the right heads on the right labels, both readings of "maximal", up to 1,000 labels."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from filterwise.data import ImageSet
from filterwise.errors import ParameterError
from filterwise.measure import (
    HEAD_RECIPE,
    class_means,
    error_against_labels,
    layer_summary_of,
    maximal_errors,
    probe_heads,
)

RECIPE = HEAD_RECIPE.replace(epochs=3, batch=10, flip=False, shift=0)


def pixel_set(labels: int, each: int, seed: int, side: int = 6) -> ImageSet:
    """Label = position of a bright pixel on a noisy ground."""
    generator = torch.Generator().manual_seed(seed)
    own = torch.arange(labels * each) % labels
    images = torch.randint(0, 200, (len(own), 1, side, side), generator=generator, dtype=torch.uint8)
    images.view(len(own), -1)[torch.arange(len(own)), own % side**2] = 255
    return ImageSet(images, own, tuple(str(label) for label in range(labels)), "pixels")


@pytest.fixture
def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 5, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))


def test_all_labels_give_the_ordinary_head(net: nn.Sequential) -> None:
    train, test = pixel_set(6, 10, seed=1), pixel_set(6, 5, seed=2)
    recipe = RECIPE.replace(batch=60, epochs=8)  # whole batches: the order of images does not matter
    row = error_against_labels(net, "2", train, test, (6,), 4, recipe, dtype="float32").iloc[0]
    head = probe_heads(net, "2", train, test, recipe)["2"]
    assert row["error"] == pytest.approx(1 - head.accuracy)
    assert row["largest_label_error"] == pytest.approx(1 - float(head.per_label.min()))
    summary, _, _ = layer_summary_of(class_means(net, "2", test), head.weight)
    for name in ("N_c", "C_s", "n", "SNR_block", "SNR_label", "SNR_mf", "share_without_cluster"):
        assert row[name] == pytest.approx(summary[name])
    assert row["n_per_K2"] == pytest.approx(row["n"] / 36)


def test_rows_seeds_and_steps(net: nn.Sequential) -> None:
    train, test = pixel_set(8, 10, seed=1), pixel_set(8, 5, seed=2)
    table = error_against_labels(net, "2", train, test, (2, 4, 8), 3, RECIPE)
    assert table["labels"].tolist() == [2] * 3 + [4] * 3 + [8]
    assert table["steps"].tolist() == [24] * 7
    assert table["epochs"].tolist() == [12] * 3 + [6] * 3 + [3]
    assert (table["largest_label_error"] >= table["error"] - 1e-12).all()
    assert table.equals(error_against_labels(net, "2", train, test, (2, 4, 8), 3, RECIPE))
    alone = error_against_labels(net, "2", train, test, (4,), 3, RECIPE)
    assert alone.reset_index(drop=True).equals(table.iloc[3:6].reset_index(drop=True))


def test_thousand_labels(net: nn.Sequential) -> None:
    train, test = pixel_set(1000, 1, seed=1), pixel_set(1000, 1, seed=2)
    table = error_against_labels(
        net, "2", train, test, (3, 1000), 1, RECIPE.replace(epochs=1, batch=500), threshold=0.3
    )
    assert table["labels"].tolist() == [3, 1000]
    assert np.isfinite(table["n_per_K2"]).all()
    assert ((table["n_per_K2"] >= 0) & (table["n_per_K2"] <= 1)).all()


def test_both_readings_of_maximal() -> None:
    rows = {"labels": [3, 3, 5, 5], "error": [0.1, 0.2, 0.3, 0.5]}
    errors = maximal_errors(pd.DataFrame(rows | {"largest_label_error": [0.2, 0.6, 0.4, 0.8]}))
    assert errors.loc[3].tolist() == pytest.approx([2, 0.15, 0.2, 0.4])
    assert errors.loc[5].tolist() == pytest.approx([2, 0.4, 0.5, 0.6])


def test_refusals(net: nn.Sequential) -> None:
    train, test = pixel_set(4, 4, seed=1), pixel_set(4, 4, seed=2)
    with pytest.raises(ParameterError, match="from 2 to the 4 labels"):
        error_against_labels(net, "2", train, test, (2, 5), 1, RECIPE)
    with pytest.raises(ParameterError, match="from 2 to the 4 labels"):
        error_against_labels(net, "2", train, test, (), 1, RECIPE)
    with pytest.raises(ParameterError, match="flip=False"):
        error_against_labels(net, "2", train, test, (2,), 1, HEAD_RECIPE)
    with pytest.raises(ParameterError, match="or other names"):
        error_against_labels(net, "2", train, pixel_set(5, 4, seed=2), (2,), 1, RECIPE)
