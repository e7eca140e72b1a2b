"""The generalized LeNet against the table of its weights and operations."""

import pytest
import torch
from torch import nn

from filterwise.errors import ParameterError
from filterwise.models import build, layer_names, macs, parameter_count

TABLE = [  # d1, d2, MAC in millions, weights
    (6, 16, 0.652, 62_006),
    (12, 32, 1.77, 117_678),
    (24, 64, 5.45, 243_422),
    (48, 128, 18.6, 552_510),
    (96, 256, 67.9, 1_401_086),
    (192, 512, 259, 4_019_838),
    (384, 1024, 1009, 12_943_742),
]


@pytest.mark.parametrize(("d1", "d2", "millions", "weights"), TABLE)
def test_table_of_widths(d1, d2, millions, weights):
    net = build("lenet5", d1=d1).to("meta")
    assert net.features[1].conv.out_channels == d2
    assert parameter_count(net) == weights
    assert macs(net) == 58_800 * d1 + 2_500 * d1 * d2 + 3_000 * d2 + 10_920
    assert macs(net) / 1e6 == pytest.approx(millions, rel=0.005)


@pytest.mark.parametrize(("d1", "d2"), [(2, 5), (3, 8), (4, 11), (8, 21), (16, 43)])
def test_second_layer_is_16_sixths_rounded(d1, d2):
    assert build("lenet5", d1=d1).features[1].conv.out_channels == d2


def test_ratio_d2_and_width():
    assert build("lenet5", d1=10, ratio=2.8).features[1].conv.out_channels == 28
    assert build("lenet5", d1=10, d2=3).features[1].conv.out_channels == 3
    wide = build("lenet5", width=2)
    assert [block.conv.out_channels for block in wide.features] == [12, 32]
    assert parameter_count(wide) == 117_678


def test_scaled_fc_part():
    scaled = [m for m in build("lenet5", d1=12, fc="scaled").classifier if isinstance(m, nn.Linear)]
    assert [m.out_features for m in scaled] == [240, 168, 10]
    assert build("lenet5", d1=6, fc="scaled").classifier[0].out_features == 120
    assert build("lenet5", fc=(30, 20)).classifier[2].in_features == 30


@pytest.mark.parametrize(("kernel", "sides"), [(5, [14, 5]), (3, [16, 8])])
def test_maps(kernel, sides):
    net, x, found = build("lenet5", kernel=kernel), torch.zeros(1, 3, 32, 32), []
    for block in net.features:
        x = block(x)
        found.append(x.shape[-1])
    assert found == sides
    assert net(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


@pytest.mark.parametrize(("pool", "operator"), [("max", nn.MaxPool2d), ("average", nn.AvgPool2d)])
def test_pool(pool, operator):
    assert all(isinstance(block.pool, operator) for block in build("lenet5", pool=pool).features)


def test_same_as_the_plain_sequence_of_layers():
    net = build("lenet5", seed=4).eval()
    (w1, b1), (w2, b2) = [(block.conv.weight, block.conv.bias) for block in net.features]
    f, x = nn.functional, torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    y = f.max_pool2d(f.relu(f.conv2d(x, w1, b1)), 2)
    y = f.max_pool2d(f.relu(f.conv2d(y, w2, b2)), 2).flatten(1)
    first, second, third = [module for module in net.classifier if isinstance(module, nn.Linear)]
    torch.testing.assert_close(net(x), third(f.relu(second(f.relu(first(y))))))


def test_layers_and_bias():
    net = build("lenet5")
    assert layer_names(net) == ["features.1", "features.2"]
    assert all(
        module.bias is not None for module in net.modules() if isinstance(module, (nn.Conv2d, nn.Linear))
    )


def test_grey_images_of_28_pixels():
    assert build("lenet5", channels=1, size=28)(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"d1": 0}, "d1=0"),
        ({"d1": -3}, "d1=-3"),
        ({"d1": True}, "d1=True"),
        ({"d1": 3, "ratio": 0.1}, "ratio=0.1 gives d2=0 at d1=3"),
        ({"ratio": 0}, "ratio=0"),
        ({"d2": 0}, "d2=0"),
        ({"d2": 4, "ratio": 2.0}, "give one of them"),
        ({"d1": 6, "width": 2.0}, "give one of them"),
        ({"width": 0.01}, "leaves 0 of 6 filters"),
        ({"kernel": 4}, "choose from 5, 3"),
        ({"pool": "avg"}, "choose from 'max', 'average'"),
        ({"fc": (120,)}, "two numbers"),
        ({"fc": (120, 0)}, "fc=0"),
        ({"fc": "wide"}, "'scaled'"),
        ({"size": 30}, "side 9"),
        ({"size": 8}, "does not divide"),
        ({"size": 4}, "side 0"),
        ({"padding": -1}, "padding=-1"),
    ],
)
def test_impossible_networks_are_refused(options, message):
    with pytest.raises(ParameterError, match=message):
        build("lenet5", **options)


@pytest.mark.parametrize("options", [{}, {"pool": "average"}, {"kernel": 3}, {"d1": 12, "ratio": 2.8}])
def test_batch_norm_is_all_that_the_control_adds(options):
    plain, normed = build("lenet5", **options), build("lenet5bn", **options)
    assert macs(plain) == macs(normed)
    filters = [block.conv.out_channels for block in plain.features]
    assert parameter_count(normed) - parameter_count(plain) == 2 * sum(filters)
    for one, other in zip(plain.features, normed.features, strict=True):
        assert torch.equal(one.conv.weight, other.conv.weight)
        assert isinstance(one.bn, nn.Identity)
    images = torch.randn(64, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    block = normed.features[0]
    maps = block.bn(block.conv(images))  # before the ReLU, over images and positions
    assert maps.mean((0, 2, 3)).abs().max() < 1e-5
    assert maps.var((0, 2, 3)).sub(1).abs().max() < 0.01
