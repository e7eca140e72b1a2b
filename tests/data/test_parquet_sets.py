"""Sets from parquet files: what is read, and one clear error for whatever is wrong with a file."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from picture_files import NAMES, encode, random_pixels, random_pngs
from PIL import Image

from filterwise.data import load
from filterwise.data.decoding import decode
from filterwise.errors import DataError, ParameterError

Write = Callable[..., Path]


def left_in(cache: Path) -> list[str]:
    """Everything in the cache but lock files, which are empty and kept."""
    return [str(path) for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock"]


def test_pixels_labels_and_names_are_those_of_the_file(tmp_path: Path, write_parquet: Write) -> None:
    pixels = random_pixels(13)
    labels = [index % 10 for index in range(13)]
    write_parquet(tmp_path / "cifar10" / "train.parquet", [encode(image) for image in pixels], labels)
    ds = load("cifar10", root=tmp_path)
    assert np.array_equal(ds.images.numpy(), pixels)
    assert ds.labels.tolist() == labels
    assert ds.labels.dtype == torch.int64
    assert ds.label_names == NAMES
    assert (ds.name, ds.split, ds.title) == ("cifar10", "train", "cifar10")
    assert ds.source == "parquet cifar10/train.parquet"


def test_a_jpeg_copy_of_cifar10_says_so_and_original_jpegs_do_not(
    tmp_path: Path, write_parquet: Write
) -> None:
    pictures = [encode(image, "JPEG") for image in random_pixels(4)]
    for name in ("cifar10", "tiny-imagenet-100"):
        write_parquet(tmp_path / name / "test.parquet", pictures, [0, 1, 2, 3])
    ds = load("cifar10", split="test", root=tmp_path)
    assert (ds.name, ds.title) == ("cifar10", "cifar10 (jpeg)")
    expected = np.asarray(Image.open(io.BytesIO(pictures[2]))).transpose(2, 0, 1)
    assert np.array_equal(ds.images[2].numpy(), expected)
    assert load("tiny-imagenet-100", split="test", root=tmp_path).title == "tiny-imagenet-100"
    # a single such image among others is enough
    mixed = [*random_pngs(3), pictures[0]]
    write_parquet(tmp_path / "cifar10" / "train.parquet", mixed, [0, 1, 2, 3])
    assert load("cifar10", root=tmp_path).title == "cifar10 (jpeg)"


def test_other_layouts_of_the_same_kind(tmp_path: Path, write_parquet: Write) -> None:
    pngs = random_pngs(6)
    coarse = {"coarse_label": pa.array([9] * 3)}
    fine = {"label_column": "fine_label", "image_column": "image", "extra": coarse}
    for part in (0, 1):
        file = tmp_path / "cifar100" / "cifar100" / f"train-0000{part}-of-00002.parquet"
        write_parquet(file, pngs[3 * part : 3 * part + 3], [part, 2, 3], **fine)
    ds = load("cifar100", root=tmp_path / "cifar100")
    assert ds.labels.tolist() == [0, 2, 3, 1, 2, 3]
    assert ds.source == "parquet cifar100/train-00000-of-00002.parquet and 1 more"
    # no names in the metadata: numbers, as many as the set has
    write_parquet(tmp_path / "cifar10" / "train.parquet", pngs, [0, 1, 2, 3, 4, 9], names=None)
    assert load("cifar10", root=tmp_path).label_names == tuple("0123456789")
    # grey pictures in a coloured set
    grey = [encode(image) for image in random_pixels(2, channels=1)]
    write_parquet(tmp_path / "cifar10" / "test.parquet", grey, [0, 1])
    assert load("cifar10", split="test", root=tmp_path).shape == (3, 32, 32)


def test_photographs_are_resized_and_cropped(tmp_path: Path, write_parquet: Write) -> None:
    wide = np.zeros((3, 40, 80), dtype=np.uint8)
    wide[:, :, 40:] = 255
    write_parquet(
        tmp_path / "flowers102" / "val.parquet", [encode(wide), encode(random_pixels(1, 50)[0])], [0, 1]
    )
    ds = load("flowers102", split="val", root=tmp_path, size=32)
    assert ds.shape == (3, 32, 32)
    assert (ds.images[0, :, :, :14] == 0).all()
    assert (ds.images[0, :, :, 18:] == 255).all()
    assert load("flowers102", split="val", root=tmp_path, size=16).shape == (3, 16, 16)


def bomb_png(width: int, height: int) -> bytes:
    """A PNG file that claims to be so large, in a hundred bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"0")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


BROKEN_ROWS: dict[str, tuple[Any, Any, str]] = {
    "label too large": (None, 10, r"label 10 is out of range; 0 to 9 is expected"),
    "label negative": (None, -1, r"label -1 is out of range"),
    "label missing": (None, "none", r"label None is out of range"),
    "no bytes": (b"", 5, r"no bytes; an encoded picture \(PNG, JPEG\) is expected"),
    "null bytes": ("none", 5, r"no bytes; an encoded picture"),
    "not a picture": (b"abcdefgh" * 9, 5, r"cannot be decoded: not one of JPEG, PNG"),
    "cut short": ("cut", 5, r"cannot be decoded: "),
    "another size": ("small", 5, r"16x16 pixels; 32x32 is expected, as in the first row"),
    "10,000 pixels wide": (bomb_png(10_000, 8), 5, r"10000x8 pixels; at most 1024 a side are expected"),
    "bomb": (bomb_png(10_000, 10_000), 5, r"cannot be decoded: .*decompression bomb"),
    "larger bomb": (bomb_png(60_000, 60_000), 5, r"cannot be decoded: .*decompression bomb"),
}


@pytest.mark.parametrize("kind", BROKEN_ROWS)
def test_a_broken_row_is_named_and_nothing_is_left(
    kind: str, tmp_path: Path, write_parquet: Write, own_cache: Path
) -> None:
    picture, label, message = BROKEN_ROWS[kind]
    pictures: list[Any] = random_pngs(9)
    labels: list[Any] = list(range(9))
    if picture == "cut":
        picture = pictures[5][: len(pictures[5]) // 2]
    elif picture == "small":
        picture = encode(random_pixels(1, 16)[0])
    if picture is not None:
        pictures[5] = None if picture == "none" else picture
    labels[5] = None if label == "none" else label
    file = write_parquet(tmp_path / "cifar10" / "train.parquet", pictures, labels)
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # a bomb must be an error without pytest's help too
        with pytest.raises(DataError, match=message) as caught:
            load("cifar10", root=tmp_path)
    assert str(caught.value).startswith(f"{file}, row 5: ")
    assert caught.value.__cause__ is None
    assert left_in(own_cache) == []
    # and once the file is mended, it loads
    labels[5] = 5
    pictures[5] = pictures[4]
    write_parquet(file, pictures, labels)
    assert len(load("cifar10", root=tmp_path)) == 9


def test_photographs_may_be_large_but_not_ten_thousand_pixels(tmp_path: Path, write_parquet: Write) -> None:
    file = tmp_path / "flowers102" / "train.parquet"
    write_parquet(file, [encode(random_pixels(1, 40)[0]), bomb_png(10_000, 100)], [0, 1])
    with pytest.raises(DataError, match=r"row 1: the image is 10000x100 pixels; at most 9999 a side"):
        load("flowers102", root=tmp_path)


def broken_files(file: Path, write: Write) -> dict[str, tuple[Callable[[], Any], str]]:
    pngs, labels = random_pngs(12), [*range(10), 0, 1]

    def cut(keep: float) -> None:
        write(file, pngs, labels)
        content = file.read_bytes()
        file.write_bytes(content[: int(len(content) * keep)])

    def damage() -> None:
        write(file, pngs, labels)
        content = bytearray(file.read_bytes())
        content[len(content) // 3 : len(content) // 2] = bytes(len(content) // 2 - len(content) // 3)
        file.write_bytes(content)

    def plain(**columns: Any) -> None:
        pq.write_table(pa.table(columns), file)

    return {
        "truncated": (lambda: cut(0.6), "not a readable parquet file, perhaps cut short"),
        "only a few bytes": (lambda: cut(0.001), "not a readable parquet file, perhaps cut short"),
        "overwritten in the middle": (damage, "row"),
        "empty": (
            lambda: file.write_bytes(b""),
            r"the file is empty \(0 bytes\); a parquet file is expected",
        ),
        "no rows": (lambda: write(file, [], pa.array([], pa.int64())), "the file has no rows"),
        "text": (lambda: file.write_text("not parquet " * 50), "not a readable parquet file"),
        "no image column": (
            lambda: write(file, pngs, labels, image_column="picture"),
            "no image column; 'img' or 'image' is expected, the file has: picture, label",
        ),
        "no label column": (
            lambda: write(file, pngs, labels, label_column="class"),
            "no label column; 'fine_label' or 'label' is expected, the file has: img, class",
        ),
        "image column of text": (
            lambda: plain(img=["a"], label=[0]),
            "column 'img' is string; a struct with a field 'bytes' is expected",
        ),
        "labels of text": (
            lambda: plain(img=[{"bytes": b"", "path": ""}], label=["cat"]),
            "column 'label' is string; integers are expected",
        ),
        "names that are not text": (
            lambda: write(file, pngs, labels, names=[1, 2, 3]),  # type: ignore[list-item]
            "names of 'label' are no list of strings",
        ),
    }


@pytest.mark.parametrize("kind", broken_files(Path(), lambda: Path()))
def test_a_broken_file_is_named_and_nothing_is_left(
    kind: str, tmp_path: Path, write_parquet: Write, own_cache: Path
) -> None:
    file = tmp_path / "cifar10" / "train.parquet"
    file.parent.mkdir()
    make, message = broken_files(file, write_parquet)[kind]
    make()
    with pytest.raises(DataError, match=message) as caught:
        load("cifar10", root=tmp_path)
    assert str(caught.value).startswith(str(file))
    assert left_in(own_cache) == []


def test_images_damaged_at_random_decode_or_are_refused() -> None:
    """Any other exception than a DataError would end this test."""
    random = np.random.default_rng(0)
    refused = 0
    warnings.simplefilter("ignore")  # pytest puts the filters back
    for encoding in ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM"):
        whole = np.frombuffer(encode(random_pixels(1, 16)[0], encoding), dtype=np.uint8)
        for _ in range(60):
            damaged = whole.copy()
            damaged[random.integers(0, min(len(whole), 200), 6)] = random.integers(0, 256, 6)
            keep = len(damaged) if random.random() < 0.5 else random.integers(0, len(damaged))
            try:
                pixels, _ = decode(damaged[:keep].tobytes(), "file, row 0")
            except DataError:
                refused += 1
            else:
                assert pixels.dtype == np.uint8
                assert len(pixels) == 3
    assert refused > 100


def test_wrong_names_and_splits_are_refused_with_the_near_miss(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"name='cifar-10' is not known; .*did you mean 'cifar10'\?"):
        load("cifar-10")
    with pytest.raises(ParameterError, match=r"split='tets' is not known; .*did you mean 'test'\?"):
        load("cifar10", split="tets")
    with pytest.raises(
        ParameterError, match=r"no option 'sed'; it has n, labels, seed; did you mean 'seed'\?"
    ):
        load("cifar10", sed=3)
    for options in ({"n": "10"}, {"seed": 1.5}, {"labels": 3}, {"n": True}):
        with pytest.raises(ParameterError, match="has the wrong type; cifar10 takes"):
            load("cifar10", **options)


def test_options_choose_images_and_labels(tmp_path: Path, write_parquet: Write) -> None:
    labels = [index % 10 for index in range(40)]
    write_parquet(tmp_path / "cifar10" / "train.parquet", random_pngs(40), labels)
    whole = load("cifar10", root=tmp_path)
    chosen = load("cifar10", root=tmp_path, n=6, labels=[2, 5, 7], seed=1)
    assert chosen.label_names == ("cat", "fox", "hen")
    assert chosen.labels.bincount().tolist() == [2, 2, 2]
    assert chosen.digest == whole.only_labels([2, 5, 7]).balanced(6, seed=1).digest
