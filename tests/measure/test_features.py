"""Stored features: equal to the layer's outputs, bounded, and usable for any subset of labels."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from filterwise.data import ImageSet, scale
from filterwise.errors import ParameterError
from filterwise.measure import class_means, frozen_features


@pytest.fixture
def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(45, 7))


@pytest.fixture
def ds() -> ImageSet:
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (41, 3, 8, 8), generator=generator, dtype=torch.uint8)
    return ImageSet(images, torch.arange(41) % 6, tuple("abcdef"), "random")


def test_float32_features_are_the_outputs(net: nn.Sequential, ds: ImageSet) -> None:
    stored = frozen_features(net, ["2", "4"], ds, batch=7, dtype="float32")
    images = scale(ds.images)
    torch.testing.assert_close(stored.values["2"], net[:3](images).detach().flatten(2))
    torch.testing.assert_close(stored.values["4"], net(images).detach().unsqueeze(2))
    halved = frozen_features(net, "2", ds).values["2"]
    assert halved.dtype == torch.float16
    torch.testing.assert_close(halved.float(), stored.values["2"], rtol=5e-4, atol=1e-6)


def test_class_means_from_features_equal_those_of_the_network(net: nn.Sequential, ds: ImageSet) -> None:
    stored = frozen_features(net, ["2", "4"], ds, dtype="float32").class_means()
    for layer, mean in class_means(net, ["2", "4"], ds).items():
        torch.testing.assert_close(stored[layer], mean)


def test_subset_of_labels_equals_the_subset_of_images(net: nn.Sequential, ds: ImageSet) -> None:
    chosen = [4, 0, 5]
    part = frozen_features(net, "2", ds).only_labels(chosen)
    direct = frozen_features(net, "2", ds.only_labels(chosen))
    assert part.label_names == direct.label_names == ("e", "a", "f")
    assert torch.equal(part.labels, direct.labels)
    torch.testing.assert_close(part.values["2"], direct.values["2"])


def test_batches_cover_every_image_once(net: nn.Sequential, ds: ImageSet) -> None:
    stored = frozen_features(net, "2", ds, dtype="float32")
    order = torch.randperm(41, generator=torch.Generator().manual_seed(0))
    parts = list(stored.batches(10, order))
    assert [len(labels) for _, labels in parts] == [10, 10, 10, 10, 1]
    assert torch.equal(torch.cat([values["2"] for values, _ in parts]), stored.values["2"][order])
    assert torch.equal(torch.cat([labels for _, labels in parts]), ds.labels[order])


def test_refusals(net: nn.Sequential, ds: ImageSet) -> None:
    with pytest.raises(ParameterError, match=r"features of 1 layer\(s\) need .*'2' with shape \(41, 5, 9\)"):
        frozen_features(net, "2", ds, memory=1000)
    with torch.no_grad():
        net[0].weight.mul_(1e7)
    with pytest.raises(ParameterError, match="not finite in dtype='float16'; use dtype='float32'"):
        frozen_features(net, "2", ds)
    assert torch.isfinite(frozen_features(net, "2", ds, dtype="float32").values["2"]).all()
