"""`load`: find an image set by name, in a fixed order, and say which source was used."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from filterwise.data import digits, parquet, parts
from filterwise.data.cache import cache_folder, cached, source_key
from filterwise.data.catalog import SetInfo, check_options, describe
from filterwise.data.imageset import ImageSet
from filterwise.errors import DataError, check_choice

log = logging.getLogger(__name__)

ROOT_VARIABLE = "FILTERWISE_DATA"


def load(
    name: str,
    split: str = "train",
    root: str | os.PathLike[str] | None = None,
    download: bool = False,
    cache: str | os.PathLike[str] | None = None,
    **options: Any,
) -> ImageSet:
    info = describe(name)
    check_choice("split", split, info.splits)
    settings = check_options(info, options)
    place = _root(root)
    folder = cache_folder(cache)
    if info.kind == "embedded":
        found = _embedded(info, split, settings)
    else:
        found = _stored(info, split, settings, place, folder, download)
    log.info("%s, %s: %d images from %s", found.title, split, len(found), found.source)
    return found


def _root(root: str | os.PathLike[str] | None) -> Path | None:
    given = root if root is not None and str(root) else os.environ.get(ROOT_VARIABLE)
    if not given:
        return None
    path = Path(given).expanduser()
    if not path.is_dir():
        said = "root" if root is not None and str(root) else f"environment variable {ROOT_VARIABLE}"
        raise DataError(f"{said}: {path} is not a folder; the folder that holds the sets is expected")
    return path


def _embedded(info: SetInfo, split: str, settings: dict[str, Any]) -> ImageSet:
    if info.name == "parts":
        return parts.bag_of_parts(split, **settings)
    if info.name == "mnist5k":
        return _chosen(digits.mnist5k(split), settings)
    return digits.numbers(info.name, 2 if info.name == "digit-pairs" else 3, split, **settings)


def _chosen(found: ImageSet, settings: dict[str, Any]) -> ImageSet:
    if settings.get("labels") is not None:
        found = found.only_labels(settings["labels"])
    if settings.get("n") is not None:
        found = found.balanced(settings["n"], settings["seed"])
    return found


def _stored(
    info: SetInfo, split: str, settings: dict[str, Any], root: Path | None, cache: Path, download: bool
) -> ImageSet:
    size = settings.get("size")
    if root is not None:
        files = parquet.find_files(root, info.name, split)
        if files:
            key = source_key(files, cache, f"parquet {info.name} {split} {size}")
            folder = cache / "sets" / f"{info.name}-{split}-{key}"
            found = cached(folder, lambda target: parquet.fill(target, files, info, split, size))
            return _chosen(found, settings)
    raise DataError(f"{info.name}: not found")
