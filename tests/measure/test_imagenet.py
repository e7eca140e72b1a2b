"""torchvision's ImageNet networks, measured: random weights and a folder of small pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from filterwise import _torchvision, data, models
from filterwise.errors import DataError, ParameterError
from filterwise.measure import (
    HEAD_RECIPE,
    class_means,
    imagenet_network,
    label_fields,
    layer_summary,
    probe_heads,
)

RECIPE = HEAD_RECIPE.replace(epochs=1, batch=4, flip=False, shift=0)


@pytest.fixture
def torchvision() -> object:
    try:
        return _torchvision.load()
    except _torchvision.TorchvisionMissing as error:
        pytest.skip(str(error))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for label in ("n01", "n02", "n03"):
            (tmp_path / split / label).mkdir(parents=True)
            for number in range(2):
                pixels = rng.integers(0, 256, (70, 80, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / split / label / f"{number}.png")
    return tmp_path


def efficientnet(weights: str = "random") -> nn.Module:
    return imagenet_network("efficientnet_b0", weights, labels=3, size=64)


def measure(net: nn.Module, layers: list[str], folder: Path, pool: int | None) -> None:
    train, test = (data.load_folder(folder, size=64, split=split) for split in ("train", "val"))
    heads = probe_heads(net, layers, train, test, RECIPE, pool=pool)
    means = class_means(net, layers, test, pool=pool)
    for layer in layers:
        M = label_fields(means[layer], heads[layer].weight)
        assert M.shape == (means[layer].shape[1], 3, 3)
        assert np.isfinite(layer_summary(M)["share_without_cluster"])


@pytest.mark.usefixtures("torchvision")
def test_efficientnet_from_folder_to_summary(folder: Path) -> None:
    net = efficientnet()
    layers = models.layer_names(net)
    assert layers == [f"features.{stage}" for stage in range(2, 9)]
    measure(net, [layers[0], layers[-1]], folder, pool=None)
    test = data.load_folder(folder, size=64, split="val")
    mean = class_means(net, layers[0], test, pool=3)  # 16x16 maps to 3x3
    assert mean.shape == (3, 24, 9)


@pytest.mark.slow
@pytest.mark.usefixtures("torchvision")
def test_vgg16_bn_from_folder_to_summary(folder: Path) -> None:
    net = imagenet_network("vgg16_bn", "random", labels=3, size=64)
    layers = models.layer_names(net)
    assert len(layers) == 13
    measure(net, [layers[0], layers[9], layers[12]], folder, pool=7)


@pytest.mark.usefixtures("torchvision")
def test_images_reach_the_network_as_torchvision_normalises_them(torchvision: object) -> None:
    net = efficientnet()
    seen: list[Tensor] = []
    net.features[0].register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    pixels = torch.randint(
        0, 256, (2, 3, 64, 64), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
    )
    with torch.no_grad():
        net(data.scale(pixels))
    normalise = torchvision.transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])  # type: ignore[attr-defined]
    torch.testing.assert_close(seen[0], normalise(pixels.float() / 255), rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("torchvision")
def test_weights_come_from_a_file_as_torchvision_saves_it(tmp_path: Path) -> None:
    source = models.build("efficientnet_b0", labels=3, size=64, seed=5)
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    net = efficientnet(str(tmp_path / "weights.pth"))
    own = net.state_dict()
    assert all(torch.equal(own[name], value) for name, value in source.state_dict().items())
    assert not net.training
    torch.save({"other": torch.zeros(1)}, tmp_path / "wrong.pth")
    with pytest.raises(DataError, match="do not fit"):
        efficientnet(str(tmp_path / "wrong.pth"))
    with pytest.raises(ParameterError, match="does not exist"):
        efficientnet(str(tmp_path / "missing.pth"))
