"""The procedural set "bag of parts": a label is a set of wavelets, and their places say nothing about it.

16x16 grey images. Each shows its label's parts, 5x5 oriented wavelets, on random cells of a 3x3 grid,
shifted by 0 or 1 pixel, of random strength, in Gaussian noise. Position is useless, so depth pays; labels
share parts, so a filter can serve a cluster of labels.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch

from filterwise.data.imageset import ImageSet
from filterwise.errors import ParameterError, check_at_least, refused

SIDE = 16
CELLS = 9
PER_LABEL = {"train": 200, "test": 50}
LARGEST = 2.0  # pixel values from -2 to 2 become 0 to 255
_LABEL_SHUFFLE_SEED = 20_240_917  # one fixed shuffle for all, so that the label sets of K < K' are nested


def wavelets(atoms: int = 8) -> np.ndarray:
    """The parts, float64 (atoms, 5, 5), largest modulus 1.

    Part i at angle a = pi i / atoms is sin(1.5 (x cos a + y sin a) + (pi/2) (i mod 2)) exp(-(x^2 + y^2) / 8).
    """
    index = np.arange(atoms)[:, None, None]
    y, x = np.mgrid[-2:3, -2:3]
    angle = np.pi * index / atoms
    wave = np.sin(1.5 * (x * np.cos(angle) + y * np.sin(angle)) + np.pi / 2 * (index % 2))
    part = wave * np.exp(-(x**2 + y**2) / 8)
    return part / np.abs(part).max(axis=(1, 2), keepdims=True)


def label_parts(labels: int, atoms: int = 8, parts: int = 3) -> np.ndarray:
    """Which parts make up each label, int64 (labels, parts): the first of one fixed shuffle of all sets.

    Raises ParameterError: more labels than sets of ``parts`` out of ``atoms``, or more parts than cells.
    """
    check_at_least("labels", labels, 2)
    check_at_least("parts", parts, 1)
    check_at_least("atoms", atoms, parts)
    if parts > CELLS or atoms > 64:
        most = f"at most {CELLS} parts fit, and at most 64 atoms differ"
        raise ParameterError(f"parts={parts}, atoms={atoms}: {most}")
    possible = math.comb(atoms, parts)
    if labels > possible:
        most = f"{parts} of {atoms} parts make {possible} labels; raise atoms="
        raise ParameterError(f"labels={labels} is too many: {most}")
    sets = np.array(list(itertools.combinations(range(atoms), parts)), dtype=np.int64)
    return sets[np.random.default_rng(_LABEL_SHUFFLE_SEED).permutation(possible)[:labels]]


def bag_of_parts(
    split: str,
    n: int | None = None,
    labels: int = 10,
    atoms: int = 8,
    parts: int = 3,
    noise: float = 0.25,
    seed: int = 0,
) -> ImageSet:
    """Draw the set; the labels take turns.

    Parameters
    ----------
    n : number of images; by default 200 a label to train and 50 to test
    labels : at most as many as there are sets of ``parts`` out of ``atoms`` (56)
    atoms, parts : number of different parts, and of parts in an image
    noise : standard deviation of the noise, in units of a part's strength
    seed : of the images; the labels' parts are the same for every seed

    >>> bag_of_parts("test", n=20, labels=4).label_names
    ('1-6-7', '2-3-4', '2-3-5', '2-5-6')
    """
    sets = label_parts(labels, atoms, parts)
    count = PER_LABEL[split] * labels if n is None else n
    check_at_least("n", count, 1)
    if not 0 <= noise < math.inf:
        raise refused("noise", noise, "it must be a finite number of at least 0")
    generator = np.random.default_rng([seed, int(split == "test")])
    label = np.arange(count) % labels
    cells = generator.random((count, CELLS)).argsort(axis=1, kind="stable")[:, :parts]
    offsets = generator.integers(0, 2, size=(count, parts, 2))
    strengths = generator.uniform(0.7, 1.2, size=(count, parts))
    values = generator.normal(0.0, 1.0, size=(count, SIDE, SIDE)) * noise
    shapes = wavelets(atoms)
    picture = np.arange(count)[:, None, None]
    for part in range(parts):
        top = 5 * (cells[:, part] // 3) + offsets[:, part, 0]
        left = 5 * (cells[:, part] % 3) + offsets[:, part, 1]
        down = top[:, None, None] + np.arange(5)[None, :, None]
        across = left[:, None, None] + np.arange(5)[None, None, :]
        values[picture, down, across] += shapes[sets[label, part]] * strengths[:, part, None, None]
    pixels = np.clip(np.rint((values / LARGEST + 1) / 2 * 255), 0, 255).astype(np.uint8)
    names = tuple("-".join(str(part) for part in chosen) for chosen in sets)
    images = torch.from_numpy(pixels[:, None])
    return ImageSet(images, torch.from_numpy(label), names, "parts", split, "embedded (procedural)")
