"""Where label sets are measured: residual sums, shared activations, depthwise channels, gates."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from filterwise import _torchvision, models
from filterwise.errors import ParameterError
from filterwise.measure.hooks import measuring
from filterwise.measure.probing import Place, caught
from filterwise.prune.places import maskable_layers, places_of


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    return _torchvision.load().models.resnet18(num_classes=10).eval()


@pytest.fixture(scope="module")
def efficientnet() -> nn.Module:
    return models.build("efficientnet_b0", labels=10).eval()


def at(module: str, filters: int | None = None) -> Place:
    return Place(module, "input", filters)


def test_a_network_of_this_library() -> None:
    net = models.build("vgg11", labels=10, width=0.25)
    found = places_of(net, ["features.9", "features.10", "classifier"])
    assert found["features.9"].layer == "features.9.conv"
    assert found["features.9"].above == found["features.10"].below == at("features.10.conv")
    # maps flattened filter by filter are taken apart again
    assert found["features.10"].above == found["classifier"].below == at("classifier.1", 128)
    assert found["classifier"].above is None
    assert places_of(models.build("vgg16", labels=10, width=0.25), ["classifier.1"])[
        "classifier.1"
    ].above == at("classifier.2")


def test_residual_sums_and_down_sampling(resnet: nn.Module) -> None:
    found = places_of(resnet, maskable_layers(resnet))
    assert len(found) == 20
    assert "conv1" not in found  # reads the images
    for layer in ("layer4.0.conv2", "layer4.0.downsample.0"):
        assert found[layer].above == at("layer4.1.conv1")
    assert found["layer4.0.conv1"].below == found["layer4.0.downsample.0"].below == at("layer4.0.conv1")
    assert found["layer4.1.conv2"].above == found["fc"].below == at("fc", 512)


def test_what_is_caught_is_the_sum_after_the_shared_relu(resnet: nn.Module) -> None:
    inputs = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    place = places_of(resnet, ["layer4.0.conv2"])["layer4.0.conv2"].above
    assert place is not None
    with measuring(resnet), caught(resnet, [place]) as seen:
        resnet(inputs)
        block, x = resnet.layer4[0], resnet.relu(resnet.bn1(resnet.conv1(inputs)))
        for stage in (resnet.maxpool, resnet.layer1, resnet.layer2, resnet.layer3):
            x = stage(x)
        inner = block.bn2(block.conv2(torch.relu(block.bn1(block.conv1(x)))))
        expected = torch.relu(inner + block.downsample(x))
    torch.testing.assert_close(seen[place][0], expected)


def test_depthwise_channels_inherit_and_gates_are_passed_by(efficientnet: nn.Module) -> None:
    layers = maskable_layers(efficientnet)
    convolutions = [
        name
        for name, module in efficientnet.named_modules()
        if isinstance(module, nn.Conv2d) and name in layers
    ]
    # 16 projections, 15 expansions, and the last convolution
    assert len(convolutions) == 32
    assert all(efficientnet.get_submodule(name).kernel_size == (1, 1) for name in convolutions)
    assert not any("fc1" in name or "fc2" in name for name in layers)
    found = places_of(efficientnet, layers)
    expansion, projection = found["features.3.1.block.0.0"], found["features.3.1.block.3.0"]
    assert expansion.above == projection.below == at("features.3.1.block.1.0")
    # the block's output: the sum, which the next expansion reads
    assert projection.above == at("features.4.0.block.0.0") == found["features.4.0.block.0.0"].below
    assert found["features.1.0.block.2.0"].below == at("features.1.0.block.0.0")


class Branching(nn.Module):
    """A network that no trace can follow."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 1), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        x = self.second(x) if x.sum() > 0 else self.second(-x)
        return self.last(x.mean(dim=(2, 3)))


def test_places_by_hand() -> None:
    net = Branching()
    with pytest.raises(ParameterError, match=r"torch.fx cannot trace.*places="):
        places_of(net, ["second"])
    found = places_of(net, ["second"], {"second": ("first", Place("last", "input"))})["second"]
    assert (found.below, found.above) == (Place("first"), Place("last", "input"))
    with pytest.raises(ParameterError, match=r"layer 'frst'.*did you mean 'first'"):
        places_of(net, ["second"], {"second": ("frst", None)})
    with pytest.raises(ParameterError, match=r"places names 'secnd'.*did you mean 'second'"):
        places_of(net, ["second"], {"secnd": ("first", None)})


def test_refusals(resnet: nn.Module, efficientnet: nn.Module) -> None:
    with pytest.raises(ParameterError, match=r"layer 'layer4.0.conv3'.*did you mean 'layer4"):
        places_of(resnet, ["layer4.0.conv3"])
    with pytest.raises(ParameterError, match="layer 'conv1' reads the images"):
        places_of(resnet, ["conv1"])
    with pytest.raises(ParameterError, match="in 96 groups"):
        places_of(efficientnet, ["features.2.0.block.1.0"])

    class Joined(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.three = nn.Conv2d(1, 2, 1), nn.Conv2d(2, 2, 1), nn.Conv2d(4, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = self.one(x)
            return self.three(torch.cat([x, self.two(x)], dim=1))

    with pytest.raises(ParameterError, match=r"'cat'.*stands in the way of the channels of layer 'two'"):
        places_of(Joined(), ["two"])
    shared = nn.Conv2d(2, 2, 1)
    with pytest.raises(ParameterError, match="layer '1' runs 2 times"):
        places_of(nn.Sequential(nn.Conv2d(1, 2, 1), shared, shared), ["1"])
