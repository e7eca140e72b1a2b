"""Which test images a recorded run names rightly, and accuracies and their differences image by image.

Two networks are tested on the same images, so an accuracy has two sources of chance: the seed of the training
and the sample of test images. Records keep the right/wrong bit of each image; quantities give their values
image by image where they can, and intervals then count both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from filterwise.runs.records import arrays_of, arrays_path

COLUMN = "right"


class Right:
    """The answers of one recorded run; read when they are asked for."""

    def __init__(self, path: Path, images: int, accuracy: float, images_of: str) -> None:
        self._given = (path, images, accuracy)
        self._images_of = images_of

    def bits(self) -> np.ndarray | None:
        """Which images are named rightly, bool (test images,).

        None where the answers that gave the record's accuracy are not kept.
        """
        return _answers(*self._given)[0]

    def others(self, name: str) -> np.ndarray | None:
        """Another packed array of the record on the same images, such as a committee's members one by one,
        bool (..., test images,); None without it."""
        mine = self.bits()
        if mine is None:
            return None
        found = arrays_of(self._given[0], (name,)).get(name)
        if found is None or found.shape[-1] * 8 - len(mine) not in range(8):
            return None
        return np.unpackbits(found, axis=-1, count=len(mine)).astype(bool)

    @property
    def set(self) -> str:
        """A text that is equal for runs on the same images, and so in the same order."""
        return f"{self._images_of} {_answers(*self._given)[1]}"


@lru_cache(maxsize=2048)
def _answers(path: Path, images: int, accuracy: float) -> tuple[np.ndarray | None, str]:
    """The answers on the images that the accuracy is of, and which these are: those that a measurement took
    (``test_right``, or of a committee ``committee_right``), or those that the training was judged by."""
    kept = arrays_of(path, ("test_right", "committee_right", "right"))
    measured = next((name for name in ("test_right", "committee_right") if name in kept), "")
    if measured:
        packed, which = kept[measured], "measured"
        right = int(np.unpackbits(packed).sum())
        images = round(right / accuracy) if accuracy else 8 * packed.size
    elif "right" in kept and len(kept["right"]) == 1:
        packed, which = kept["right"][0], "trained"
    else:
        return None, ""
    found = np.unpackbits(packed)[:images].astype(bool)
    same = len(found) == images and abs(float(found.mean()) - accuracy) < 1e-6
    return (found, which) if same else (None, which)


def with_right(
    records: pd.DataFrame, chapter: str, profile: str, root: Path | str | None = None
) -> pd.DataFrame:
    """The records with a column :data:`COLUMN` of :class:`Right`, None where a row has no arrays."""
    handles: list[Right | None] = []
    columns = ("spec_key", "test_images", "accuracy", "data_digest")
    known = set(columns) <= set(records.columns)
    for key, images, accuracy, digest in records[list(columns)].itertuples(index=False) if known else ():
        path = arrays_path(chapter, profile, str(key), root)
        handles.append(Right(path, int(images), float(accuracy), str(digest)) if path.exists() else None)
    column = pd.Series(handles or [None] * len(records), records.index, dtype=object, name=COLUMN)
    # rows are taken thousands of times: a table from CSV has a block a column, its copy one a type, and
    # texts of pandas' own kind, names of columns among them, are slow to take and to list
    texts: dict[Any, Any] = dict.fromkeys(records.select_dtypes(["str", "string"]).columns, object)
    table = pd.concat([records.astype(texts), column], axis=1).copy()
    return table.set_axis(table.columns.astype(object), axis=1)


def accuracy_by_image(run: Any) -> np.ndarray | None:
    """1 where a run (a record's row or named tuple) is right, float32 (test images,); None if not known."""
    found = _bits(run)
    return None if found is None else found.astype(np.float32)


def difference_by_image(one: Any, other: Any) -> np.ndarray | None:
    """Right in one run minus right in another, float32 (test images,); None unless they share the images."""
    first, second = _bits(one), _bits(other)
    if first is None or second is None or _of(one).set != _of(other).set:
        return None
    return first.astype(np.float32) - second.astype(np.float32)


def least_by_image(records: pd.DataFrame, gaps: Iterable[float]) -> list[np.ndarray | None]:
    """Differences of accuracies of which only the values are known, run by run, image by image: the
    fewest that can differ, float32 (test images,), None where the images are not known.

    Two networks that are a gap g apart on n images answer g n of them differently or more, so that an
    interval from this counts the least that the sample of images can add.

    >>> least_by_image(pd.DataFrame({"seed": [0]}), [0.1])
    [None]
    """
    runs = records[COLUMN].tolist() if COLUMN in records else [None] * len(records)
    found: list[np.ndarray | None] = []
    for run, gap in zip(runs, gaps, strict=True):
        bits = run.bits() if isinstance(run, Right) else None
        if bits is None or not np.isfinite(gap):
            found.append(None)
        else:
            differing = np.arange(len(bits)) < round(abs(gap) * len(bits))
            found.append(np.copysign(differing, gap).astype(np.float32))
    return found


def mean_by_image(found: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """The mean of several values on the same images, (test images,); None where one is not known."""
    known = [each for each in found if each is not None]
    if not known or len(known) < len(found) or len({len(each) for each in known}) > 1:
        return None
    return np.asarray(np.mean(known, axis=0))


def crossed(records: pd.DataFrame, seeds: Iterable[int], images: int) -> bool:
    """Whether runs of all these seeds were tested on one and the same set of so many images.

    Sets that are drawn anew for each seed have other images; what they add is in the spread over seeds.
    """
    if not {"seed", COLUMN} <= set(records.columns):
        return False
    sets: dict[int, set[str]] = {seed: set() for seed in seeds}
    for seed, handle in zip(records["seed"], records[COLUMN], strict=True):
        if seed in sets and isinstance(handle, Right):
            found = handle.bits()
            if found is not None and len(found) == images:
                sets[seed].add(handle.set)
    return bool(sets) and bool(set.intersection(*sets.values()))


def _of(run: Any) -> Any:
    return run.get(COLUMN) if hasattr(run, "get") else getattr(run, COLUMN, None)


def _bits(run: Any) -> np.ndarray | None:
    handle = _of(run)
    return handle.bits() if isinstance(handle, Right) else None


def resampled_accuracies(records: pd.DataFrame, generator: np.random.Generator, resamples: int) -> Any:
    """Yield copies of the records whose accuracies are those on test images drawn with replacement.

    Runs on the same images get the same draw. Nothing is yielded if a row's answers are not known.
    """
    handles = records[COLUMN].tolist() if COLUMN in records else []
    known = [handle.bits() if isinstance(handle, Right) else None for handle in handles]
    if not known or any(each is None for each in known):
        return
    groups: dict[str, list[int]] = {}
    for row, handle in enumerate(handles):
        groups.setdefault(handle.set, []).append(row)
    # as numbers once, and not anew in each product
    numbers = {name: np.stack([known[row] for row in rows]) for name, rows in groups.items()}  # type: ignore[misc]
    answers = {name: each.astype(np.float32) for name, each in numbers.items()}
    records = records.assign(accuracy=0.0)  # a block of its own, which is replaced without copying others
    for _ in range(resamples):
        accuracies = np.empty(len(records))
        for name, rows in groups.items():
            images = answers[name].shape[1]
            times = np.bincount(generator.integers(0, images, images), minlength=images)
            accuracies[rows] = answers[name] @ times.astype(np.float32) / images
        yield records.assign(accuracy=accuracies)
