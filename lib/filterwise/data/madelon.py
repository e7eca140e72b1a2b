"""The procedural set "madelon": two labels, a few features that say which, and hundreds that say nothing.

Guyon's generator of the set Madelon (NIPS 2003 challenge on feature selection), which scikit-learn adapted as
``make_classification``. The labels' clusters sit on corners of a hypercube in the space of the informative
features, the redundant ones are linear combinations of these, all others are noise. No single feature tells
the labels apart.

A feature is a channel of one pixel: images (features, 1, 1), the relevant features first. Bytes hold each
feature standardised by the training part's mean and deviation, from -4 to 4 deviations in 255 steps: what is
further out is cut, and the rounding error is at most 0.016 deviations.
"""

from __future__ import annotations

import numpy as np
import torch

from filterwise.data.imageset import ImageSet
from filterwise.errors import DataError, ParameterError, check_count, refused

COUNTS = {"train": 2_000, "test": 600}
LARGEST = 4.0  # deviations from -4 to 4 become 0 to 255
#: Share of the answers that are drawn anew, as in the published set.
FLIPPED = 0.01
_CLUSTERS = 16  # of each label


def draw_madelon(
    split: str,
    n: int | None = None,
    informative: int = 5,
    redundant: int = 15,
    noise_features: int = 480,
    seed: int = 0,
) -> ImageSet:
    """Draw the set.

    Parameters
    ----------
    n : the first so many of 2,000 to train and 600 to test
    informative : dimensions of the hypercube; at least 2. Each label has 16 clusters, with fewer than five
        dimensions as many as there are corners for
    redundant, noise_features : linear combinations of these, and features without any relation
    seed : of everything: hypercube, noise, and which samples are test samples

    Raises ParameterError: a number that is not allowed; DataError: scikit-learn is not installed.

    >>> draw_madelon("test", n=100, noise_features=10)
    ImageSet(madelon, test: 100 images (30, 1, 1), 2 labels, embedded (procedural), digest ...)
    """
    check_count("informative", informative, 2)
    check_count("redundant", redundant, 0)
    check_count("noise_features", noise_features, 0)
    most = COUNTS[split]
    if n is not None and check_count("n", n) > most:
        raise refused("n", n, f"madelon has {most} images in its split {split!r}")
    if seed >= 2**32:
        raise ParameterError(f"seed={seed!r} is too large; it must be below 2**32")
    features = informative + redundant + noise_features
    values, labels = _make(features, informative, redundant, seed)
    order = np.random.default_rng([seed, 1]).permutation(len(values))
    train, test = np.split(order, [COUNTS["train"]])
    mean, deviation = values[train].mean(0), values[train].std(0)
    chosen = (train if split == "train" else test)[:n]
    steps = ((values[chosen] - mean) / deviation / LARGEST + 1) / 2 * 255
    pixels = np.clip(np.rint(steps), 0, 255).astype(np.uint8)
    images = torch.from_numpy(pixels[:, :, None, None])
    answers = torch.from_numpy(labels[chosen].astype(np.int64))
    return ImageSet(images, answers, ("0", "1"), "madelon", split, "embedded (procedural)")


def _make(features: int, informative: int, redundant: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """All 2,600 samples, float64 (samples, features), and their labels; the relevant features come first."""
    try:
        from sklearn.datasets import make_classification
    except ImportError:
        raise DataError(
            "madelon needs the package scikit-learn, which is not installed: pip install scikit-learn"
        ) from None
    values, labels = make_classification(
        n_samples=sum(COUNTS.values()),
        n_features=features,
        n_informative=informative,
        n_redundant=redundant,
        n_classes=2,
        n_clusters_per_class=min(_CLUSTERS, 2 ** (informative - 1)),
        flip_y=FLIPPED,
        shuffle=False,
        random_state=seed,
    )
    return values, labels
