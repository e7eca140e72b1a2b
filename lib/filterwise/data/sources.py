"""`load`: find an image set by name, in a fixed order, and say which source was used."""

from __future__ import annotations

import hashlib
import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, overload

from filterwise.data import digits, madelon, originals, parquet, parts
from filterwise.data.averaged import average_pairs
from filterwise.data.cache import DECODER_VERSION, Meta, cached, read_meta, sound, source_key
from filterwise.data.catalog import CATALOG, SetInfo, check_options, describe
from filterwise.data.folder import FolderSet, load_folder
from filterwise.data.imageset import ImageSet
from filterwise.errors import DataError, ParameterError, check_choice
from filterwise.files import cache_folder

log = logging.getLogger(__name__)

ROOT_VARIABLE = "FILTERWISE_DATA"
Place = str | os.PathLike[str] | None


@overload
def load(name: Literal["imagenet"], *places: Any, **options: Any) -> FolderSet: ...
@overload
def load(name: str, *places: Any, **options: Any) -> ImageSet: ...
def load(
    name: str,
    split: str = "train",
    root: Place = None,
    download: bool = False,
    cache: Place = None,
    mirror: str | None = None,
    **options: Any,
) -> ImageSet | FolderSet:
    """The image set ``name``, from the first of these that has it; ``.source`` and the log say which.

    1. Parquet files ``<root>/<name>/<split>.parquet``, decoded once, into the cache.
    2. The cache: a complete set that an earlier call decoded; original pixels before a JPEG copy.
    3. The published archive with its checksum, only with ``download=True``.

    Embedded sets (``mnist5k``, ``digit-pairs``, ``digit-triples``, ``parts``, ``madelon``) need none of
    these; those whose names end in ``-averaged`` need what their base needs.
    ``imagenet`` is a folder of label folders, ``<root>/imagenet/<split>``, and comes as a `FolderSet`; where
    it has no folder ``test``, the split "test" is the folder ``val``, whose labels are public.

    Parameters
    ----------
    name, split : one of `names()`, and of `describe(name).splits`
    root : folder that holds the sets; else, or if "", the environment variable FILTERWISE_DATA
    cache : cache folder; else the environment variable FILTERWISE_CACHE, else ~/.cache/filterwise
    mirror : address to download from instead; else the environment variable FILTERWISE_MIRROR
    **options : those of `describe(name).options`. ``n``, ``seed``: so many images, equally many of each
        label; ``labels``: only these labels, relabelled (for ``parts``: how many); ``size`` of photographs

    Raises ParameterError: an unknown name, split or option (with the near miss), or an impossible value;
    DataError: the set is nowhere to be found (with where it was looked for), or its source is broken.

    >>> load("parts", split="test", n=20, labels=5)
    ImageSet(parts, test: 20 images (1, 16, 16), 5 labels, embedded (procedural), digest d29ee7cdb632)
    >>> load("cifar01")
    Traceback (most recent call last):
    filterwise.errors.ParameterError: name='cifar01' is not known; choose from ...; did you mean 'cifar10'?
    """
    info = describe(name)
    check_choice("split", split, info.splits)
    settings = check_options(info, options)
    place, how = _root(root)
    found: ImageSet | FolderSet
    if info.kind == "embedded":
        found = _embedded(info, split, settings)
    elif info.kind == "averaged":
        whole = load(info.base, split, root, download, cache, mirror)
        assert isinstance(whole, ImageSet)  # no folder is averaged
        found = average_pairs(whole, info.name, **settings)
    elif info.kind == "folder":
        found = _folder(info, split, settings, place, how)
    else:
        found = _stored(info, split, settings.get("size"), place, how, cache_folder(cache), download, mirror)
    if "labels" in settings and info.name != "parts":
        if settings["labels"] is not None:
            found = found.only_labels(settings["labels"])
        if settings["n"] is not None:
            found = found.balanced(settings["n"], settings["seed"])
    log.info("%s, %s: %d images from %s", found.title, split, len(found), found.source)
    return found


def fetch(name: str, cache: Place = None, mirror: str | None = None) -> list[ImageSet]:
    """Download a set and decode all its splits into the cache; what is already there is kept.

    Raises ParameterError: the set is unknown or cannot be downloaded; DataError: the download fails or is not
    what was expected.

    >>> fetch("mnist5k")
    Traceback (most recent call last):
    filterwise.errors.ParameterError: name='mnist5k' is not known; choose from 'cifar10', ...
    """
    info = describe(name)
    check_choice("name", name, [known.name for known in CATALOG.values() if known.downloadable])
    size = info.options.get("size")
    return [_downloaded(info, split, size, cache_folder(cache), mirror) for split in info.splits]


def _root(root: Place) -> tuple[Path | None, str]:
    """The folder that holds the sets, if any, and how it was given."""
    given = root or os.environ.get(ROOT_VARIABLE)
    how = "root" if root else f"environment variable {ROOT_VARIABLE}"
    if not given:
        return None, f"no root was given and {ROOT_VARIABLE} is not set"
    path = Path(given).expanduser()
    if not path.is_dir():
        raise DataError(f"{how}: {path} is not a folder; the folder that holds the sets is expected")
    return path, f"{how} {path}"


def _embedded(info: SetInfo, split: str, settings: dict[str, Any]) -> ImageSet:
    if info.name == "parts":
        return parts.bag_of_parts(split, **settings)
    if info.name == "madelon":
        return madelon.draw_madelon(split, **settings)
    places = {"digit-pairs": 2, "digit-triples": 3}.get(info.name)
    return digits.mnist5k(split) if places is None else digits.numbers(info.name, places, split, **settings)


def _folder(info: SetInfo, split: str, settings: dict[str, Any], root: Path | None, how: str) -> FolderSet:
    if root is None:
        raise DataError(f"{info.name}: {how}; the folder that holds {info.name}/{split} is expected")
    above = root / info.name
    if not above.is_dir() and root.name == info.name:
        above = root
    used = "val" if split == "test" and not (above / "test").is_dir() else split
    found = load_folder(above, settings["size"], used, settings["shorter_side"], info.name)
    return replace(found, split=split)


def _stored(
    info: SetInfo, split: str, size: int | None, root: Path | None, how: str,
    cache: Path, download: bool, mirror: str | None,
) -> ImageSet:  # fmt: skip
    files = parquet.find_files(root, info.name, split) if root is not None else []
    if files:
        key = source_key(files, cache, f"parquet {info.name} {split} {size}")
        folder = cache / "sets" / f"{info.name}-{split}-{key}"
        return cached(folder, lambda target: parquet.fill(target, files, info, split, size))
    known = _from_cache(info, split, size, cache)
    if known is not None:
        return known
    if download:
        return _downloaded(info, split, size, cache, mirror)
    looked = how if root is None else f"{how} has no {info.name}/{split}.parquet"
    way_out = f"; download=True or 'filterwise data fetch {info.name}' gets it" if info.downloadable else ""
    raise DataError(f"{info.name}, {split}: not found: {looked}; the cache {cache} does not have it{way_out}")


def _from_cache(info: SetInfo, split: str, size: int | None, cache: Path) -> ImageSet | None:
    """A complete set in the cache: original pixels before a copy, then the one made last."""
    candidates = []
    for folder in (cache / "sets").glob(f"{info.name}-{split}-{'[0-9a-f]' * 16}"):
        try:
            meta = read_meta(folder)
        except DataError as error:
            log.warning("not used: %s", error)
            continue
        if meta is not None and meta.complete and (meta.name, meta.split) == (info.name, split):
            candidates.append((meta.title == info.name, (folder / "meta.json").stat().st_mtime_ns, folder))
    for _, _, folder in sorted(candidates, reverse=True):
        try:
            found = sound(folder)
        except OSError as error:  # broken, in a folder that cannot be written to
            log.warning("not used: %s: %s", folder, error)
            continue
        if found is not None and (size is None or found.shape[-1] == size):
            return replace(found, source=f"cache ({found.source})")
    return None


def _downloaded(info: SetInfo, split: str, size: int | None, cache: Path, mirror: str | None) -> ImageSet:
    if not info.downloadable:
        raise ParameterError(f"download=True: {info.name} cannot be downloaded; give root=")
    archives = originals.ARCHIVES[info.name]
    how = f"download {DECODER_VERSION} {split} {size} {[archive.md5 for archive in archives]}"
    key = hashlib.sha256(how.encode()).hexdigest()[:16]

    def fill(target: Path) -> Meta:
        paths = [originals.fetch_archive(archive, cache / "downloads", mirror) for archive in archives]
        return originals.fill(target, paths, info, split, size)

    return cached(cache / "sets" / f"{info.name}-{split}-{key}", fill)
