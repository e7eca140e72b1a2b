"""Batches: the fast way against the written-out one, every image once, orders that differ."""

import pytest
import torch

from filterwise.data import augment
from filterwise.training import Feed, Recipe, epoch_seed
from filterwise.training import feed as feed_module

FORMATS = [torch.contiguous_format, torch.channels_last]
RECIPES = [
    Recipe(batch=7),
    Recipe(batch=7, flip=False, shift=2),
    Recipe(batch=7, shift=0),
    Recipe(batch=64, flip=False, shift=0),
    Recipe(batch=7, shift=11),
]


@pytest.mark.parametrize("memory_format", FORMATS, ids=["contiguous", "channels_last"])
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda r: f"batch{r.batch}-flip{r.flip:d}-shift{r.shift}")
@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 6, 10)], ids=str)
def test_batches_are_the_augmented_images(memory_format, recipe, shape, monkeypatch):
    monkeypatch.setattr(feed_module, "_TOGETHER", 20)  # so that an epoch has several parts
    images = torch.randint(
        0, 256, (45, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    labels = torch.arange(45)
    feed = Feed(images, labels, recipe, seed=3, memory_format=memory_format)
    batches = list(feed.epoch(4))
    assert len(batches) == feed.steps == -(-45 // recipe.batch)

    generator = torch.Generator().manual_seed(epoch_seed(3, 4))
    order = torch.randperm(45, generator=generator)
    want = augment(images[order], generator, recipe.flip, recipe.shift)
    assert torch.equal(torch.cat([batch for batch, _ in batches]), want)
    assert torch.equal(torch.cat([chosen for _, chosen in batches]), order)
    assert all(batch.is_contiguous(memory_format=memory_format) for batch, _ in batches)


def test_every_epoch_has_its_own_order_and_can_be_begun_anew():
    feed = Feed(torch.zeros(30, 1, 4, 4, dtype=torch.uint8), torch.arange(30), Recipe(batch=8), seed=0)
    orders = [torch.cat([labels for _, labels in feed.epoch(epoch)]).tolist() for epoch in (0, 1, 0)]
    assert orders[0] == orders[2] != orders[1]
    assert all(sorted(order) == list(range(30)) for order in orders)


def test_seeds_of_epochs_and_purposes_are_all_different():
    seeds = {epoch_seed(seed, epoch, what) for seed in range(10) for epoch in range(30) for what in range(3)}
    assert len(seeds) == 10 * 30 * 3
    assert all(0 <= seed < 2**63 for seed in seeds)


@pytest.mark.parametrize("memory_format", FORMATS, ids=["contiguous", "channels_last"])
def test_batches_in_the_same_memory_are_the_same_batches(memory_format):
    images = torch.randint(
        0, 256, (21, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    feeds = [
        Feed(images, torch.arange(21), Recipe(batch=8), 0, memory_format=memory_format, reuse=reuse)
        for reuse in (True, False)
    ]
    places = set()
    for (mine, _), (other, _) in zip(feeds[0].epoch(0), feeds[1].epoch(0), strict=True):
        assert torch.equal(mine, other)
        assert mine.stride() == other.stride()
        places.add(mine.data_ptr())
    assert len(places) == 1


def test_several_runs_together_see_what_each_sees_alone():
    images = torch.randint(
        0, 256, (21, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    together = Feed(images, torch.arange(21), Recipe(batch=8), seed=[4, 0, 7])
    alone = [Feed(images, torch.arange(21), Recipe(batch=8), seed=seed).epoch(2) for seed in (4, 0, 7)]
    for (all_images, all_labels), *solo in zip(together.epoch(2), *alone, strict=True):
        for run, (one, labels) in enumerate(solo):
            assert torch.equal(all_images.unflatten(0, (-1, 3))[:, run], one)
            assert torch.equal(all_labels.unflatten(0, (-1, 3))[:, run], labels)
