"""From a run to its train and test sets: loaded once a process, restricted to labels and numbers of
images."""

from __future__ import annotations

import functools
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from filterwise.data import catalog, sources
from filterwise.errors import ParameterError, check_at_least, near_miss
from filterwise.runs.plain_values import Options, digest

if TYPE_CHECKING:
    from filterwise.data.imageset import ImageSet
    from filterwise.runs.specification import Run

#: Data options that are understood here; all others go to ``filterwise.data.load``.
HERE = ("n", "n_test", "labels_seed", "held_out")
_KEPT = 4
_lock = threading.Lock()


def check_options(name: str, labels: int | None, options: dict[str, Any]) -> None:
    """Refuse data options that no set, or not this one, has; nothing is loaded.

    Raises ParameterError: names the option, what is wrong, and the near miss.
    """
    theirs = catalog.describe(name).options
    known = list(dict.fromkeys([*HERE, *theirs]))
    for option, value in options.items():
        if option not in known:
            raise ParameterError(
                f"data_options[{option!r}]={value!r}: {name!r} has no such option; it has {', '.join(known)}"
                f"{near_miss(option, known)}"
            )
        if option in ("n", "n_test", "labels_seed", "seed"):
            if type(value) is not int:
                raise ParameterError(f"data_options[{option!r}]={value!r} must be an int")
            check_at_least(f"data_options[{option!r}]", value, 1 if option.startswith("n") else 0)
    held_out = options.get("held_out")
    if held_out is not None:
        if not isinstance(held_out, float) or not 0 < held_out < 1:
            raise ParameterError(f"data_options['held_out']={held_out!r} must be a fraction between 0 and 1")
        if "n_test" in options:
            raise ParameterError("data_options has held_out and n_test; the held-out images are the test set")
    if labels is not None and "labels" in options:
        raise ParameterError("labels are given twice: Run(labels=...) and data_options['labels']")
    if "labels_seed" in options and labels is None:
        raise ParameterError("data_options['labels_seed'] needs Run(labels=K), the number of labels to draw")


def train_and_test(run: Run, data_root: str | Path | None = None) -> tuple[ImageSet, ImageSet]:
    """The images a run is trained on and those it is tested on.

    - ``run.labels`` = K: a set that is made for any number of labels (``parts``) is made for K; of another
      one the first K labels are used, or K drawn with ``data_options["labels_seed"]``, in ascending order.
    - ``data_options["n"]``, ``["n_test"]``: so many training and test images, equally many of each label.
    - ``data_options["held_out"]``: this fraction of the training images is the test set instead (validation).
    - All other options go to ``filterwise.data.load``; its ``seed`` (default 0) draws whatever is drawn here.

    Raises ParameterError for an option that does not fit the set; DataError if the images are missing or
    broken.
    """
    root, environment = str(data_root) if data_root else None, os.environ.get("FILTERWISE_DATA")
    with _lock:  # threads of one process share the sets instead of decoding them twice
        return _open(run.data, run.labels, run.data_options, root, environment)


def digest_of(run: Run, data_root: str | Path | None = None) -> str:
    """Digest (32 hex digits) of the content of both sets."""
    train, test = train_and_test(run, data_root)
    return digest(train.digest, test.digest)


@functools.lru_cache(maxsize=_KEPT)
def _open(
    name: str, labels: int | None, options: Options, root: str | None, _environment: str | None
) -> tuple[ImageSet, ImageSet]:
    given: dict[str, Any] = dict(options)
    counts = {"train": given.pop("n", None), "test": given.pop("n_test", None)}
    labels_seed, held_out = given.pop("labels_seed", None), given.pop("held_out", None)
    seed = given.get("seed", 0)
    any_number = isinstance(catalog.describe(name).options.get("labels"), int)
    if labels is not None and any_number:
        given["labels"] = labels
    restrict = labels if not any_number else None

    def opened(split: str) -> ImageSet:
        n = counts[split]
        if restrict is None:
            return sources.load(name, split=split, root=root, **given, **({} if n is None else {"n": n}))
        images = sources.load(name, split=split, root=root, **given)
        images = images.only_labels(_chosen(restrict, len(images.label_names), labels_seed, name))
        return images if n is None else images.balanced(n, seed)

    train = opened("train")
    return train.split_off(held_out, seed) if held_out is not None else (train, opened("test"))


def _chosen(labels: int, known: int, seed: int | None, name: str) -> list[int]:
    if labels > known:
        raise ParameterError(f"labels={labels} is more than the {known} labels of {name!r}")
    if seed is None:
        return list(range(labels))
    return sorted(int(label) for label in np.random.default_rng(seed).permutation(known)[:labels])
