"""Augmentation through torchvision: what it does to batches, and that it is not there when nobody asks."""

import subprocess
import sys

import pytest
import torch

from filterwise import _torchvision
from filterwise.errors import ParameterError
from filterwise.training import Feed, Recipe, fit
from filterwise.training.device import own_randomness
from filterwise.training.mixing import mixer, rand_augment

PLAIN = Recipe(batch=16, flip=False, shift=0)


@pytest.fixture(autouse=True)
def _needs_torchvision():
    pytest.importorskip("PIL")
    try:
        _torchvision.load()
    except _torchvision.TorchvisionMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture
def batch():
    images = torch.rand(16, 3, 12, 12, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return images, torch.arange(16) % 5


def test_mixup_blends_neighbours_and_their_labels_alike(batch):
    images, labels = batch
    torch.manual_seed(0)
    mixed, shares = mixer(PLAIN.replace(mixup=1.0), 5)(images, labels)
    hot = torch.nn.functional.one_hot(labels, 5).float()
    share = shares[1, labels[1]]  # whose neighbour has another label
    assert 0 < share < 1
    assert torch.allclose(mixed, share * images + (1 - share) * images.roll(1, 0), atol=1e-6)
    assert torch.allclose(shares, share * hot + (1 - share) * hot.roll(1, 0))


def test_cutmix_counts_the_pixels_of_each(batch):
    images, labels = batch
    torch.manual_seed(1)
    mixed, shares = mixer(PLAIN.replace(cutmix=1.0), 5)(images, labels)
    kept = (mixed == images).all(1)[1]
    other = (mixed == images.roll(1, 0)).all(1)[1]
    assert (kept ^ other).all()
    assert 0 < float(kept.float().mean()) < 1
    assert shares[1, labels[1]] == pytest.approx(float(kept.float().mean()), abs=1e-6)
    assert torch.allclose(shares.sum(1), torch.ones(16))


def test_with_both_each_batch_takes_one(batch):
    images, labels = batch
    mix, kinds = mixer(PLAIN.replace(mixup=1.0, cutmix=1.0), 5), []
    torch.manual_seed(0)
    for _ in range(60):
        mixed, _shares = mix(images, labels)
        kinds.append(bool(((mixed == images) | (mixed == images.roll(1, 0))).all()))
    assert 15 < sum(kinds) < 45


def test_erasing_takes_some_images_and_one_rectangle_each(batch):
    images, labels = batch
    torch.manual_seed(0)
    erased, same = mixer(PLAIN.replace(random_erasing=0.5), 5)(images.clone(), labels)
    assert same is labels
    changed = (erased != images).any(1)  # (16, 12, 12)
    hit = changed.flatten(1).any(1)
    assert 2 < int(hit.sum()) < 14
    places = set()
    for one in changed[hit]:
        rows, columns = one.any(1), one.any(0)
        assert torch.equal(one, rows[:, None] & columns)
        places.add((tuple(rows.tolist()), tuple(columns.tolist())))
    assert len(places) > 1


def test_rand_augment_draws_for_each_group(batch):
    image = torch.randint(
        0, 256, (1, 3, 12, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    torch.manual_seed(0)
    many = rand_augment(image.expand(80, -1, -1, -1), 9)
    assert (many.dtype, many.shape) == (torch.uint8, (80, 3, 12, 12))
    groups = many.view(10, 8, -1)
    assert (groups == groups[:, :1]).all()
    assert len({tuple(group[0].tolist()) for group in groups}) > 5
    with pytest.raises(ParameterError, match="rand_augment=9 needs 1 or 3 channels, not 2"):
        rand_augment(image[:, :2], 9)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_batches_of_the_feed(memory_format):
    images = torch.randint(
        0, 256, (21, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    recipe = Recipe(batch=8, shift=2, mixup=0.8, cutmix=1.0, random_erasing=0.5)
    for one in (recipe, recipe.replace(rand_augment=9)):
        feed = Feed(images, torch.arange(21) % 4, one, 3, memory_format=memory_format, reuse=True, outputs=4)
        runs = []
        for _ in range(2):
            with own_randomness(7, torch.device("cpu")):
                runs.append([(batch.clone(), labels) for batch, labels in feed.epoch(2)])
        for (batch, labels), (again, same) in zip(*runs, strict=True):
            assert torch.equal(batch, again)
            assert torch.equal(labels, same)
            assert batch.is_contiguous(memory_format=memory_format)
            assert torch.allclose(labels.sum(1), torch.ones(len(batch)))
        assert [len(batch) for batch, _ in runs[0]] == [8, 8, 5]


def test_rand_augment_that_does_nothing_leaves_flip_and_shift(monkeypatch):
    images = torch.randint(
        0, 256, (21, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    recipe = Recipe(batch=8, shift=2)
    plain = list(Feed(images, torch.arange(21), recipe, 3).epoch(2))
    monkeypatch.setattr("filterwise.training.feed.rand_augment", lambda pixels, magnitude: pixels)
    other = list(Feed(images, torch.arange(21), recipe.replace(rand_augment=9), 3).epoch(2))
    for (mine, labels), (his, others) in zip(plain, other, strict=True):
        assert torch.equal(mine, his)
        assert torch.equal(labels, others)


def test_it_learns_with_everything_on(make_net, make_set):
    recipe = Recipe(
        epochs=30, batch=16, lr=0.01, optimiser="adamw", shift=1, mixup=0.2, cutmix=0.5, random_erasing=0.1
    )
    net = make_net()
    history = fit(net, make_set(), make_set(31, seed=1), recipe, device="cpu", progress=False)
    assert history.final["test_accuracy"] > 0.9


def test_plain_recipes_do_not_import_it_and_a_missing_one_is_named(make_net, make_set, monkeypatch):
    script = (
        "import sys, torch; from filterwise.data.imageset import ImageSet;"
        "from filterwise.training.loop import Recipe, fit;"
        "ds = ImageSet(torch.zeros(4, 1, 4, 4, dtype=torch.uint8), torch.arange(4) % 2, ('a', 'b'));"
        "net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2));"
        "fit(net, ds, None, Recipe(epochs=1), device='cpu', progress=False);"
        "sys.exit('torchvision' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=120).returncode == 0

    def missing():
        raise _torchvision._missing("torchvision is not installed or cannot be imported")

    monkeypatch.setattr(_torchvision, "load", missing)
    with pytest.raises(_torchvision.TorchvisionMissing, match=r"pip install 'filterwise\[torchvision\]'"):
        fit(make_net(), make_set(), recipe=Recipe(mixup=0.2), device="cpu", progress=False)
