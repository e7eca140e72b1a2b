"""Two images of different labels in one picture, their mean: what carries several labels.

Both come from one split, so that no test picture has a half that was trained on.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import torch

from filterwise.data.imageset import ImageSet
from filterwise.errors import ParameterError, check_at_least, check_choice

DEFAULT_COUNTS = {"train": 12_000, "test": 3_000}
#: ``shares``: float rows with 1/2 at both labels; ``pair``: one label for each unordered pair of labels.
TARGETS = ("shares", "pair")


def average_pairs(
    base: ImageSet, name: str, n: int | None = None, seed: int = 0, target: str = "shares"
) -> ImageSet:
    """Pictures of two images of ``base`` with different labels, each pixel their mean, a half upwards.

    The unordered pairs of labels take turns; with the same seed a smaller set is a prefix of a larger one.

    Parameters
    ----------
    base : one split, labels int64 (N,) with at least two different ones.
    name : of the new set.
    n : number of pictures, by default 12,000 to train and 3,000 to test.
    seed : draws which image of a label is taken, with repetition.
    target : one of :data:`TARGETS`.

    Raises ParameterError: an unknown target, ``n`` below 1, rows of labels, or fewer than two labels.

    >>> from filterwise.data import load
    >>> test = load("mnist5k", "test")
    >>> average_pairs(test, "two", n=90).labels[1].tolist()[:4]
    [0.5, 0.0, 0.5, 0.0]
    >>> average_pairs(test, "two", n=90, target="pair").label_names[1]
    '0 + 2'
    """
    check_choice("target", target, TARGETS)
    count = DEFAULT_COUNTS[base.split] if n is None else n
    check_at_least("n", count, 1)
    if base.labels.ndim != 1:
        raise ParameterError(f"{base.name!r} has rows of labels; pictures of one label each are averaged")
    labels = base.labels.cpu().numpy()
    members = [np.flatnonzero(labels == label) for label in range(base.labels_count)]
    pairs = np.array(
        [pair for pair in combinations(range(len(members)), 2) if all(map(len, (members[p] for p in pair)))]
    )
    if len(pairs) == 0:
        raise ParameterError(f"{base.name!r} has images of fewer than two labels")
    turn = np.arange(count) % len(pairs)
    # a stream of its own for each split
    drawn = np.random.default_rng([seed, int(base.split == "test")]).random((count, 2))
    sizes = np.array([len(each) for each in members])
    places = (drawn * sizes[pairs[turn]]).astype(np.int64)
    table = np.zeros((len(members), sizes.max()), dtype=np.int64)
    for label, each in enumerate(members):
        table[label, : len(each)] = each
    one, two = (torch.from_numpy(table[pairs[turn, side], places[:, side]]) for side in (0, 1))
    total = base.images[one].to(torch.int16) + base.images[two]
    images = ((total + 1) // 2).to(torch.uint8)
    names = base.label_names
    if target == "pair":
        names = tuple(f"{names[a]} + {names[b]}" for a, b in pairs)
        answers = torch.from_numpy(turn)
    else:
        answers = torch.zeros(count, len(names))
        answers[np.arange(count)[:, None], pairs[turn]] = 0.5
    title = base.title.replace(base.name, name, 1)
    return ImageSet(
        images, answers, names, name, base.split, f"{base.source}, averaged in pairs", title=title
    )
