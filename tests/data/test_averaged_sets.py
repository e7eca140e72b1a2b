"""Two images of different labels in one picture: means by hand, balance, splits apart, both targets."""

import dataclasses
from itertools import combinations

import pytest
import torch

from filterwise.data import ImageSet, describe, load
from filterwise.data.averaged import average_pairs
from filterwise.errors import ParameterError

PAIRS = list(combinations(range(10), 2))


@pytest.fixture(scope="module")
def base():
    """Images that say who they are: image i of a label l has the pixels (l, i)."""
    labels = torch.arange(60) % 4
    pixels = torch.zeros(60, 1, 1, 2, dtype=torch.uint8)
    pixels[:, 0, 0, 0] = (2 * labels).to(torch.uint8)
    pixels[:, 0, 0, 1] = torch.arange(60, dtype=torch.uint8)
    return ImageSet(pixels, labels, ("a", "b", "c", "d"), "base", "test")


def test_every_pair_of_labels_takes_its_turn(base):
    made = average_pairs(base, "two", 24, target="pair")
    assert made.labels.tolist() == list(range(6)) * 4
    assert made.label_names == ("a + b", "a + c", "a + d", "b + c", "b + d", "c + d")
    # the mean of 2 l and 2 k names the pair's labels
    expected = [one + two for one, two in combinations(range(4), 2)] * 4
    assert made.images[:, 0, 0, 0].tolist() == expected


def test_shares_are_a_half_at_both_labels(base):
    made, pairs = (average_pairs(base, "two", 24, target=target) for target in ("shares", "pair"))
    assert torch.equal(made.images, pairs.images)
    assert made.labels.dtype == torch.float32
    assert (made.labels.sum(1) == 1).all()
    for row, pair in zip(made.labels, pairs.labels.tolist(), strict=True):
        assert row.nonzero()[:, 0].tolist() == list(list(combinations(range(4), 2))[pair])
    assert made.label_names == base.label_names


def test_pixels_are_the_mean_rounded_upwards():
    pixels = torch.tensor([0, 255, 1, 254], dtype=torch.uint8).view(4, 1, 1, 1)
    two = ImageSet(pixels[:2], torch.tensor([0, 1]), ("a", "b"))
    assert average_pairs(two, "two", 1).images.item() == 128
    assert (
        average_pairs(ImageSet(pixels[2:], torch.tensor([0, 1]), ("a", "b")), "two", 1).images.item() == 128
    )


def test_a_smaller_set_is_a_prefix_and_seeds_differ(base):
    few, many, other = (average_pairs(base, "two", n, seed) for n, seed in ((7, 0), (30, 0), (30, 1)))
    assert torch.equal(many.images[:7], few.images)
    assert not torch.equal(many.images, other.images)
    assert average_pairs(base, "two", 30).digest == many.digest != other.digest


def test_each_split_is_made_of_its_own_images():
    """Each test picture is the mean of two test digits, found by trying all of them."""
    whole = load("mnist5k", "test")
    made = load("mnist5k-averaged", "test", n=3, target="pair")
    for image, pair in zip(made.images, made.labels.tolist(), strict=True):
        one, two = (whole.images[whole.labels == label].to(torch.int16) for label in PAIRS[pair])
        means = (one[:, None] + two[None] + 1).div(2, rounding_mode="floor")
        assert (means == image).flatten(2).all(2).any()
    for split in ("train", "test"):
        by_hand = average_pairs(load("mnist5k", split), "mnist5k-averaged", 50)
        assert load("mnist5k-averaged", split, n=50).digest == by_hand.digest


@pytest.mark.parametrize("target", ["shares", "pair"])
def test_the_embedded_set(target):
    made = load("mnist5k-averaged", "test", n=90, target=target)
    assert made.shape == (1, 28, 28) == describe("mnist5k-averaged").shape
    assert made.labels_count == (10 if target == "shares" else 45)
    assert made.title == made.name == "mnist5k-averaged"
    assert "averaged" in made.source
    counts = made.labels.sum(0) * 2 if target == "shares" else torch.bincount(made.labels)
    assert counts.unique().tolist() == [18.0 if target == "shares" else 2]


def test_the_title_keeps_what_its_base_says_of_the_pixels(base):
    jpeg = dataclasses.replace(base, name="cifar10", title="cifar10 (jpeg)")
    assert average_pairs(jpeg, "cifar10-averaged", 6).title == "cifar10-averaged (jpeg)"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "pairs"}, "target='pairs' is not known.*did you mean 'pair'"),
        ({"target": 2}, "target=2 has the wrong type; mnist5k-averaged takes a text"),
        ({"n": 0}, "n=0 is too small"),
        ({"labels": [1, 2]}, "has no option 'labels'"),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(ParameterError, match=message):
        load("mnist5k-averaged", **options)


def test_sets_that_cannot_be_averaged(base):
    rows = average_pairs(base, "two", 6)
    with pytest.raises(ParameterError, match="has rows of labels"):
        average_pairs(rows, "four", 6)
    with pytest.raises(ParameterError, match="fewer than two labels"):
        average_pairs(base.only_labels([0]), "two", 6)
