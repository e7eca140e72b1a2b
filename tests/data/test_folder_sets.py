"""Folders of label folders: order of labels and images, pixels against torchvision's, lazy decoding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from picture_files import encode, random_pixels
from PIL import Image

from filterwise.data import load, load_folder
from filterwise.data.decoding import resize_and_crop
from filterwise.errors import DataError, ParameterError

FILES = ("n02/b.png", "n02/a.PNG", "n02/deep/c.jpg", "n01/z.jpeg", "n01/y.bmp", "n10/x.png", "n10/notes.txt")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """``imagenet/val`` with three labels, files of several kinds and sizes, and one that is no image."""
    folder = tmp_path / "imagenet" / "val"
    for seed, name in enumerate(FILES):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("txt"):
            file.write_text("not an image")
            continue
        pixels = np.random.default_rng(seed).integers(
            0, 256, (3, 40 + 7 * seed, 60 - 5 * seed), dtype=np.uint8
        )
        encoding = {"jpg": "JPEG", "jpeg": "JPEG", "bmp": "BMP"}.get(name.rpartition(".")[2], "PNG")
        file.write_bytes(encode(pixels, encoding))
    return tmp_path


def test_order_is_sorted_folders_then_sorted_files(tree: Path) -> None:
    ds = load_folder(tree / "imagenet" / "val", size=16)
    assert ds.label_names == ("n01", "n02", "n10")
    assert ds.files == ("n01/y.bmp", "n01/z.jpeg", "n02/a.PNG", "n02/b.png", "n02/deep/c.jpg", "n10/x.png")
    assert ds.labels.tolist() == [0, 0, 1, 1, 1, 2]
    assert (ds.shape, ds.labels_count, len(ds), ds.name) == ((3, 16, 16), 3, 6, "val")


def test_order_and_pixels_are_torchvisions(tree: Path) -> None:
    torchvision = pytest.importorskip("filterwise._torchvision", reason="the torchvision shim is missing")
    try:
        vision = torchvision.load()
    except Exception as error:
        pytest.skip(f"torchvision cannot be imported: {error}")
    transforms = vision.transforms
    steps = transforms.Compose([transforms.Resize(18), transforms.CenterCrop(16), transforms.PILToTensor()])
    theirs = vision.datasets.ImageFolder(str(tree / "imagenet" / "val"), transform=steps)
    ours = load_folder(tree / "imagenet", size=16, split="val")
    assert ours.label_names == tuple(theirs.classes)
    assert [str(ours.folder / file) for file in ours.files] == [path for path, _ in theirs.samples]
    assert ours.labels.tolist() == theirs.targets
    images = torch.cat([images for images, _ in ours.batches(4)])
    for index in range(len(ours)):
        assert torch.equal(images[index], theirs[index][0])


@pytest.mark.parametrize("shape", [(40, 60), (60, 40), (37, 37), (300, 41), (18, 18), (10, 12)])
def test_resize_and_crop_takes_the_centre(shape: tuple[int, int]) -> None:
    """The crop of a horizontal ramp is centred and spans the share of the width that it should."""
    height, width = shape
    ramp = np.broadcast_to(np.linspace(0, 255, width)[None], (height, width)).astype(np.uint8)
    cropped = np.asarray(resize_and_crop(Image.fromarray(ramp), 18, 16)).astype(float)
    assert cropped.shape == (16, 16)
    resized = 18 if width <= height else int(18 * width / height)
    assert abs(cropped.mean() - 127.5) < 0.6 * 255 / resized + 1
    inner = cropped[8, 2:-2]
    assert abs((inner[-1] - inner[0]) / (len(inner) - 1) - 255 / resized) < 0.12 * 255 / resized + 0.5


def test_batches_are_lazy_in_order_and_complete(tree: Path) -> None:
    ds = load("imagenet", root=tree, split="val", size=16)
    seen = list(ds.batches(4))
    assert [tuple(images.shape) for images, _ in seen] == [(4, 3, 16, 16), (2, 3, 16, 16)]
    assert all(images.dtype == torch.uint8 for images, _ in seen)
    assert torch.cat([labels for _, labels in seen]).equal(ds.labels)
    single = torch.cat([images for images, _ in ds.batches(1, workers=1)])
    assert torch.cat([images for images, _ in seen]).equal(single)
    memory = ds.in_memory()
    assert memory.images.equal(single)
    assert memory.label_names == ds.label_names
    # stopping early decodes no more than the next batch
    (ds.folder / ds.files[-1]).write_bytes(b"broken")
    assert len(next(iter(ds.batches(2)))[1]) == 2
    with pytest.raises(DataError, match=r"x\.png: the image cannot be decoded"):
        list(ds.batches(2))


def test_selections_and_digests(tree: Path) -> None:
    ds = load("imagenet", root=tree, split="val", size=16)
    chosen = ds.only_labels(["n02", "n01"]).balanced(4, seed=0)
    assert chosen.labels.tolist() == [0, 1, 0, 1]
    assert all(
        file.startswith("n02" if label == 0 else "n01")
        for file, label in zip(chosen.files, chosen.labels.tolist(), strict=True)
    )
    assert next(iter(chosen.batches(4)))[0].shape == (4, 3, 16, 16)
    digests = {ds.digest, chosen.digest, ds.subset([0, 1]).digest}
    digests.add(load("imagenet", root=tree, split="val", size=8).digest)
    digests.add(load("imagenet", root=tree, split="val", size=16, shorter_side=32).digest)
    (ds.folder / "n10" / "w.png").write_bytes(encode(random_pixels(1, 8)[0]))
    digests.add(load("imagenet", root=tree, split="val", size=16).digest)
    assert len(digests) == 6


def test_the_split_test_is_val_where_there_is_no_other(tree: Path) -> None:
    ds = load("imagenet", root=tree, split="test", size=16)
    assert (ds.split, ds.source, ds.title) == ("test", "folder imagenet/val", "imagenet")
    assert load("imagenet", root=tree / "imagenet", split="val", size=16).digest == ds.digest


def test_what_is_no_such_folder_is_refused(tree: Path) -> None:
    with pytest.raises(DataError, match="no root was given"):
        load("imagenet")
    with pytest.raises(
        DataError, match=r"imagenet/train: not a folder; a folder with one folder for each label"
    ):
        load("imagenet", root=tree)
    with pytest.raises(DataError, match="has no folders; one for each label is expected"):
        load_folder(tree / "imagenet" / "val" / "n01")
    (tree / "imagenet" / "val" / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: has no image \(\.jpg"):
        load("imagenet", root=tree, split="val")
    with pytest.raises(ParameterError, match="size=0"):
        load_folder(tree / "imagenet" / "val", size=0)
    with pytest.raises(ParameterError, match="shorter_side=100 is too small; it must be at least size=224"):
        load_folder(tree / "imagenet" / "val", shorter_side=100)
