"""The set madelon: bytes that hold the generator's features, the relevant ones first."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import make_classification

from filterwise.data import load
from filterwise.data.madelon import COUNTS, FLIPPED, LARGEST
from filterwise.errors import ParameterError


def values(images: object) -> np.ndarray:
    """Bytes as deviations."""
    return (images.numpy()[:, :, 0, 0] / 255 * 2 - 1) * LARGEST  # type: ignore[attr-defined]


def test_bytes_are_the_standardised_features() -> None:
    raw, labels = make_classification(
        sum(COUNTS.values()), 500, n_informative=5, n_redundant=15, n_clusters_per_class=16, flip_y=FLIPPED,
        shuffle=False, random_state=3,
    )  # fmt: skip
    train, test = load("madelon", seed=3), load("madelon", split="test", seed=3)
    assert (len(train), len(test), train.shape) == (2_000, 600, (500, 1, 1))
    order = np.random.default_rng([3, 1]).permutation(2_600)
    assert np.array_equal(np.concatenate([train.labels, test.labels]), labels[order])
    own = raw[order[:2_000]]
    standard = (raw[order] - own.mean(0)) / own.std(0)
    stored = np.concatenate([values(train.images), values(test.images)])
    assert np.abs(stored - standard.clip(-LARGEST, LARGEST)).max() <= LARGEST / 255 + 1e-12


def test_the_first_features_span_one_space_and_the_others_are_their_own() -> None:
    """Fifteen redundant features are sums of five; noise is related to nothing."""
    found = values(load("madelon", seed=1).images)
    relevant = found[:, :20]
    fit, *_ = np.linalg.lstsq(relevant[:, :5], relevant[:, 5:], rcond=None)
    rest = relevant[:, 5:] - relevant[:, :5] @ fit
    assert rest.std(0).max() < 0.06  # rounding, and what is cut off
    across = np.corrcoef(found[:, :20].T, found[:, 20:].T)[:20, 20:]
    assert np.abs(across).max() < 5.5 / np.sqrt(2_000)


def test_options_and_seeds() -> None:
    ds = load("madelon", n=50, informative=3, redundant=2, noise_features=4)
    assert ds.shape == (9, 1, 1)
    assert len(ds) == 50
    assert (load("madelon", informative=3, redundant=2, noise_features=4).images[:50] == ds.images).all()
    assert load("madelon").digest == load("madelon", seed=0).digest != load("madelon", seed=1).digest
    train, test = load("madelon"), load("madelon", split="test")
    rows = {image.numpy().tobytes() for image in train.images}
    assert not rows & {image.numpy().tobytes() for image in test.images}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 2_001}, "n=2001 is not allowed; madelon has 2000 images in its split 'train'"),
        ({"informative": 1}, "informative=1 is not allowed"),
        ({"noise_feature": 3}, "madelon has no option 'noise_feature'; .* did you mean 'noise_features'"),
        ({"redundant": -1}, "redundant=-1"),
        ({"seed": 2**32}, "seed=4294967296 is too large"),
    ],
)
def test_refusals(options: dict, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        load("madelon", **options)
