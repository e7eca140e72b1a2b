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
from filterwise.measure.subsets import accuracy_among, with_steps_of

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
    rows = {
        "labels": [3, 3, 5, 5],
        "error": [0.1, 0.2, 0.3, 0.5],
        "largest_label_error": [0.2, 0.6, 0.4, 0.8],
    }
    halves = {"error_even": [0.2, 0.1, 0.2, 0.6], "error_odd": [0.0, 0.3, 0.4, 0.4]}
    errors = maximal_errors(pd.DataFrame(rows | halves))
    columns = ["draws", "mean_error", "largest_error", "hardest_error", "largest_label_error"]
    # the set that is worst on one half counts with its error on the other: 0.0 and 0.1, then 0.4 and 0.2
    assert errors.loc[3, columns].tolist() == pytest.approx([2, 0.15, 0.2, 0.05, 0.4])
    assert errors.loc[5, columns].tolist() == pytest.approx([2, 0.4, 0.5, 0.3, 0.6])


def test_halves_of_the_test_images_have_every_label_alike(net: nn.Sequential) -> None:
    train, test = pixel_set(4, 10, seed=1), pixel_set(4, 6, seed=2)
    table = error_against_labels(net, "2", train, test, (3,), 5, RECIPE)
    assert table["error"].tolist() == pytest.approx(((table["error_even"] + table["error_odd"]) / 2).tolist())


def test_of_equally_hard_sets_the_hardest_is_not_the_luckiest() -> None:
    """The largest of many noisy errors is too large; with the two halves it is right in the mean."""
    random = np.random.default_rng(0)
    truth, images = 0.2, 100
    halves = random.binomial(images, truth, size=(400, 10, 2)) / images
    tables = [
        maximal_errors(
            pd.DataFrame(
                {"labels": 3, "error": each.mean(axis=1), "error_even": each[:, 0], "error_odd": each[:, 1]}
            ).assign(largest_label_error=0.0)
        ).loc[3]
        for each in halves
    ]
    hardest = np.mean([table["hardest_error"] for table in tables])
    largest = np.mean([table["largest_error"] for table in tables])
    spread = np.sqrt(truth * (1 - truth) / images / 2 / 400)
    assert hardest == pytest.approx(truth, abs=5 * spread)
    assert largest > truth + 20 * spread


def test_fewer_images_have_as_many_steps_and_the_rate_falls_as_far() -> None:
    recipe = HEAD_RECIPE.replace(epochs=20, decay=100 ** (-1 / 19))
    own = with_steps_of(recipe, 50_000, 1_500)
    assert own.epochs == round(20 * 500 / 15)
    assert own.learning_rate(0, 15) / own.learning_rate(own.epochs * 15 - 1, 15) == pytest.approx(100)


def test_a_network_is_asked_among_few_of_its_labels() -> None:
    test = pixel_set(3, 4, seed=2)
    net = nn.Sequential(nn.Flatten(), nn.Linear(test.images[0].numel(), 5))
    own = torch.stack([test.images[test.labels == label].float().mean(0).flatten() for label in range(3)])
    with torch.no_grad():
        net[1].weight.zero_()
        net[1].bias.copy_(torch.tensor([0.0, 9.0, 0.0, 5.0, 0.0]))
        net[1].weight[[0, 2, 4]] = own
    logits = net(test.images / 127.5 - 1)[:, [0, 2, 4]]
    right = (logits.argmax(1) == test.labels).float().mean().item()
    assert accuracy_among(net, [0, 2, 4], test, "cpu") == pytest.approx(right)
    assert accuracy_among(net, [1, 0, 2], test, "cpu") == pytest.approx(1 / 3)  # output 1 is always largest


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
