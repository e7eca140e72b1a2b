"""The cache of decoded sets: found by content, complete or absent; and the order of sources."""

from __future__ import annotations

import json
import logging
import os
import stat
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from picture_files import encode, random_pixels, random_pngs

from filterwise.data import cache as cache_module
from filterwise.data import catalog, load, parquet
from filterwise.data.cache import source_key
from filterwise.errors import DataError

Write = Callable[..., Path]
LABELS = list(range(8))


@pytest.fixture
def fills(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Grows by one whenever a parquet file is decoded."""
    seen: list[Path] = []
    original = parquet.fill

    def counted(folder: Path, *arguments: object) -> cache_module.Meta:
        seen.append(folder)
        return original(folder, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(parquet, "fill", counted)
    return seen


def set_folders(cache: Path) -> list[Path]:
    return sorted(path for path in (cache / "sets").iterdir() if path.is_dir())


def test_decoded_once_and_again_when_the_content_changes(
    tmp_path: Path, write_parquet: Write, fills: list[Path]
) -> None:
    file = write_parquet(tmp_path / "cifar10" / "train.parquet", random_pngs(8), LABELS)
    first = load("cifar10", root=tmp_path)
    again = load("cifar10", root=tmp_path)
    assert len(fills) == 1
    assert again.digest == first.digest
    assert again.images.equal(first.images)
    moved = tmp_path / "elsewhere"
    write_parquet(moved / "cifar10" / "train.parquet", random_pngs(8), LABELS)
    os.utime(moved / "cifar10" / "train.parquet", (1, 1))
    assert load("cifar10", root=moved).digest == first.digest
    assert len(fills) == 1  # the same bytes in another place at another time
    times = file.stat().st_mtime_ns
    write_parquet(file, random_pngs(8, seed=1), LABELS)
    os.utime(file, ns=(times, times))
    assert load("cifar10", root=tmp_path).digest != first.digest
    assert len(fills) == 2


def test_large_files_are_hashed_once_but_never_confused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "ALWAYS_HASHED", 10)
    hashed = []
    original = cache_module._sha256
    monkeypatch.setattr(cache_module, "_sha256", lambda file: hashed.append(file) or original(file))
    file, cache = tmp_path / "large", tmp_path / "cache"
    file.write_bytes(b"a" * 100)
    os.utime(file, (1_000_000, 1_000_000))
    key = source_key([file], cache, "how")
    assert source_key([file], cache, "how") == key
    assert len(hashed) == 1
    assert source_key([file], cache, "other") != key
    file.write_bytes(
        b"b" * 100
    )  # just changed: not noted, since a second change could hide in the same instant
    changed = source_key([file], cache, "how")
    assert changed != key
    file.write_bytes(b"c" * 100)
    assert source_key([file], cache, "how") not in (key, changed)
    assert len(hashed) == 3
    notes = list((cache / "sources").iterdir())
    assert [note.suffix for note in notes] == [".json"]
    notes[0].write_text("not json")
    assert source_key([file], cache, "how")


def test_writing_to_the_images_changes_no_file(tmp_path: Path, write_parquet: Write) -> None:
    write_parquet(tmp_path / "cifar10" / "train.parquet", random_pngs(8), LABELS)
    first = load("cifar10", root=tmp_path)
    whole = first.images.clone()
    first.images.zero_()
    assert load("cifar10", root=tmp_path).images.equal(whole)


@pytest.mark.parametrize("harm", ["short images", "no labels", "bad meta", "other version", "foreign array"])
def test_a_broken_folder_is_set_aside_with_a_warning_and_made_again(
    harm: str, tmp_path: Path, write_parquet: Write, own_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_parquet(tmp_path / "cifar10" / "train.parquet", random_pngs(8), LABELS)
    digest = load("cifar10", root=tmp_path).digest
    (folder,) = set_folders(own_cache)
    meta = folder / "meta.json"
    if harm == "short images":
        os.truncate(folder / "images.npy", 1_000)
    elif harm == "no labels":
        (folder / "labels.npy").unlink()
    elif harm == "bad meta":
        meta.write_text(meta.read_text()[:50])
    elif harm == "other version":
        meta.write_text(json.dumps({**json.loads(meta.read_text()), "version": -1}))
    else:
        np.save(folder / "images.npy", np.zeros((3, 3), dtype=np.float32))
    with caplog.at_level(logging.WARNING, logger="filterwise"):
        assert load("cifar10", root=tmp_path).digest == digest
    assert "is broken; set aside as" in caplog.text
    assert len(set_folders(own_cache)) == 2
    caplog.clear()
    assert load("cifar10", root=tmp_path).digest == digest
    assert not caplog.records


def test_a_killed_decoding_leaves_nothing_that_is_taken_for_a_set(
    tmp_path: Path, write_parquet: Write, own_cache: Path, fills: list[Path]
) -> None:
    write_parquet(tmp_path / "cifar10" / "train.parquet", random_pngs(8), LABELS)
    ds = load("cifar10", root=tmp_path)
    (folder,) = set_folders(own_cache)
    left = folder.with_name(f".{folder.name}.12345")
    folder.rename(left)
    (left / "meta.json").unlink()
    assert load("cifar10", root=tmp_path).digest == ds.digest
    assert len(fills) == 2
    assert set_folders(own_cache) == [folder]


def test_loaded_at_once_it_is_decoded_once(tmp_path: Path, write_parquet: Write, fills: list[Path]) -> None:
    write_parquet(tmp_path / "cifar10" / "train.parquet", random_pngs(8), LABELS)
    digests: list[str] = []
    threads = [
        threading.Thread(target=lambda: digests.append(load("cifar10", root=tmp_path).digest))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(digests) == 4
    assert len(set(digests)) == 1
    assert len(fills) == 1


def test_the_cache_folder_is_named_when_it_cannot_be_written(tmp_path: Path, write_parquet: Write) -> None:
    write_parquet(tmp_path / "cifar10" / "train.parquet", random_pngs(8), LABELS)
    blocked = tmp_path / "blocked"
    blocked.write_text("a file, not a folder")
    with pytest.raises(DataError, match=r"blocked.*cannot be written .*set FILTERWISE_CACHE"):
        load("cifar10", root=tmp_path, cache=blocked)


def test_a_full_disk_is_one_clear_error(
    tmp_path: Path, write_parquet: Write, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    write_parquet(tmp_path / "cifar10" / "train.parquet", random_pngs(8), LABELS)
    with pytest.raises(DataError, match=r"no room for 24576 bytes .*No space left on device"):
        load("cifar10", root=tmp_path)
    assert set_folders(own_cache) == []


def test_folders_can_be_shared(tmp_path: Path, write_parquet: Write, own_cache: Path) -> None:
    """Like any new folder of the user's: whoever may read those may read this."""
    write_parquet(tmp_path / "cifar10" / "train.parquet", random_pngs(8), LABELS)
    load("cifar10", root=tmp_path)
    (folder,) = set_folders(own_cache)
    (tmp_path / "usual").mkdir()
    assert stat.S_IMODE(folder.stat().st_mode) == stat.S_IMODE((tmp_path / "usual").stat().st_mode)


def test_order_of_sources(
    tmp_path: Path,
    write_parquet: Write,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    counts = {"train": 8, "test": 2}
    monkeypatch.setitem(catalog.CATALOG, "cifar10", replace(catalog.CATALOG["cifar10"], counts=counts))
    jpegs, pngs, less = tmp_path / "jpegs", tmp_path / "pngs", tmp_path / "less"
    pictures = [encode(image, "JPEG") for image in random_pixels(8)]
    write_parquet(jpegs / "cifar10" / "train.parquet", pictures, LABELS)
    write_parquet(pngs / "cifar10" / "train.parquet", random_pngs(8), LABELS)
    write_parquet(less / "cifar10" / "train.parquet", random_pngs(5), LABELS[:5])

    with pytest.raises(DataError) as caught:
        load("cifar10")
    for part in (
        "cifar10, train: not found",
        "FILTERWISE_DATA is not set",
        "download=True",
        "data fetch cifar10",
    ):
        assert part in str(caught.value)
    # a set that is not complete is used where it was asked for, but never found by its name
    assert len(load("cifar10", root=less)) == 5
    with pytest.raises(DataError, match="not found"):
        load("cifar10")

    monkeypatch.setenv("FILTERWISE_DATA", str(jpegs))
    with caplog.at_level(logging.INFO, logger="filterwise"):
        assert load("cifar10").title == "cifar10 (jpeg)"
    assert "cifar10 (jpeg), train: 8 images from parquet cifar10/train.parquet" in caplog.text
    assert load("cifar10", root=less).source.startswith("parquet")  # root goes before the environment
    assert len(load("cifar10", root=less)) == 5
    monkeypatch.delenv("FILTERWISE_DATA")

    from_cache = load("cifar10")
    assert from_cache.source == "cache (parquet cifar10/train.parquet)"
    assert from_cache.title == "cifar10 (jpeg)"
    load("cifar10", root=pngs)
    time.sleep(0.01)
    write_parquet(jpegs / "cifar10" / "train.parquet", pictures[::-1], LABELS)
    load("cifar10", root=jpegs)
    assert load("cifar10").title == "cifar10"  # original pixels before a copy, though the copy is newer
    with pytest.raises(DataError, match=r"root .*less has no cifar10/test\.parquet"):
        load("cifar10", split="test", root=less)


def test_a_root_that_does_not_exist_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cifar10", "parts", "imagenet"):
        with pytest.raises(DataError, match=r"root: .*nowhere is not a folder"):
            load(name, root=tmp_path / "nowhere")
    monkeypatch.setenv("FILTERWISE_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"environment variable FILTERWISE_DATA: .*nowhere is not a folder"):
        load("cifar10")


@pytest.fixture
def cached_set(tmp_path: Path, write_parquet: Write, own_cache: Path) -> tuple[Path, str]:
    """A folder of the cache with eight images, and their digest."""
    write_parquet(tmp_path / "cifar10" / "train.parquet", random_pngs(8), LABELS)
    digest = load("cifar10", root=tmp_path).digest
    (folder,) = set_folders(own_cache)
    return folder, digest


def keeping_times(file: Path, content: bytes) -> None:
    times = file.stat()
    file.write_bytes(content)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.mark.parametrize("name", ["images.npy", "labels.npy", "meta.json"])
def test_a_flipped_bit_anywhere_is_found_though_the_file_looks_untouched(
    name: str, tmp_path: Path, cached_set: tuple[Path, str], caplog: pytest.LogCaptureFixture
) -> None:
    folder, digest = cached_set
    whole, chance = (folder / name).read_bytes(), np.random.default_rng(0)
    for place in chance.integers(len(whole), size=8):
        broken = bytearray(whole)
        broken[place] ^= 1 << int(chance.integers(8))
        keeping_times(folder / name, bytes(broken))
        caplog.clear()
        assert load("cifar10", root=tmp_path).digest == digest
        assert f"cache folder {folder} is broken; set aside as" in caplog.text
        assert (folder / name).read_bytes() == whole


def test_pages_of_zeros_are_found(
    tmp_path: Path, cached_set: tuple[Path, str], caplog: pytest.LogCaptureFixture
) -> None:
    folder, digest = cached_set
    whole = (folder / "images.npy").read_bytes()
    keeping_times(folder / "images.npy", whole[:4096] + bytes(4096) + whole[8192:])
    assert load("cifar10", root=tmp_path).digest == digest
    assert "images.npy is not what was written" in caplog.text


def test_each_changed_value_of_the_metadata_is_found(
    tmp_path: Path, cached_set: tuple[Path, str], caplog: pytest.LogCaptureFixture
) -> None:
    folder, digest = cached_set
    meta = json.loads((folder / "meta.json").read_text())
    changed = {"complete": not meta["complete"], "label_names": meta["label_names"][::-1], "images": 7}
    for name in meta:
        other = changed.get(name, 99 if isinstance(meta[name], int) else "other")
        (folder / "meta.json").write_text(json.dumps({**meta, name: other}))
        caplog.clear()
        found = load("cifar10", root=tmp_path)
        assert found.digest == digest, name
        assert found.source == meta["source"], name
        assert "is broken; set aside as" in caplog.text, name


@pytest.mark.parametrize("label", [-1, 10, 300])
def test_a_label_out_of_range_names_file_and_row_and_sets_the_cache_aside(
    label: int, tmp_path: Path, cached_set: tuple[Path, str], caplog: pytest.LogCaptureFixture
) -> None:
    folder, digest = cached_set
    labels = np.load(folder / "labels.npy")
    labels[5] = label
    np.save(folder / "labels.npy", labels)
    assert load("cifar10", root=tmp_path).digest == digest
    assert f"{folder}/labels.npy, row 5: label {label} is out of range; 0 to 9 is expected" in caplog.text
    assert len(list(folder.parent.glob("*.broken-*"))) == 1


@pytest.mark.parametrize("name", ["images.npy", "meta.json"])
def test_a_broken_set_without_its_source_is_not_used_and_said_to_be_broken(
    name: str, tmp_path: Path, write_parquet: Write, own_cache: Path, caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setitem(
        catalog.CATALOG, "cifar10", replace(catalog.CATALOG["cifar10"], counts={"train": 8, "test": 2})
    )
    write_parquet(tmp_path / "cifar10" / "train.parquet", random_pngs(8), LABELS)
    load("cifar10", root=tmp_path)
    assert load("cifar10").source.startswith("cache")
    file = set_folders(own_cache)[0] / name
    whole = file.read_bytes()
    file.write_bytes(whole[:-20] + bytes([whole[-20] ^ 1]) + whole[-19:])
    with pytest.raises(DataError, match="cifar10, train: not found"):
        load("cifar10")
    assert f"{name} is not what was written" in caplog.text or f"{name}: " in caplog.text
