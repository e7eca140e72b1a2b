"""The VGG family against the published tables, and equal weights over all pool plans."""

import pickle

import pytest
import torch
from torch import nn

from filterwise.errors import ParameterError
from filterwise.models import build, layer_names, macs, parameter_count, vgg

# Millions of multiply-accumulates by plan V, L3, L2, L1, L0 with h = 4096, and of weights: worked out by hand
# from the layout of the networks in Meir et al., Sci. Rep. 13, 13385 (2023).
COSTS = {
    6: ((68, 96, 266, 1002, 4003), 3.9),
    8: ((87, 115, 285, 1021, 4022), 22.8),
    13: ((247, 304, 700, 2455, 9647), 28.3),
    14: ((313, 398, 1021, 3796, 15064), 14.7),
    16: ((332, 417, 1040, 3814, 15082), 33.6),
}
PLANS = ("V", "L3", "L2", "L1", "L0")


def on_paper(m, labels=10, **options):
    """A VGG without numbers in it, of any size for nothing."""
    with torch.device("meta"):
        return vgg.named(labels, 1.0, 3, 32, m=m, advanced=False, **options)


def convolution_weights(net):
    return sum(module.weight.numel() for module in net.modules() if isinstance(module, nn.Conv2d))


@pytest.mark.parametrize("m", COSTS)
def test_operations_and_weights_of_the_table(m):
    costs, weights = COSTS[m]
    for plan, expected in zip(PLANS, costs, strict=True):
        net = on_paper(m, plan=plan)
        assert macs(net) / 1e6 == pytest.approx(expected, abs=0.51)
        linear = sum(p.numel() for p in net.classifier.parameters())
        assert (convolution_weights(net) + linear) / 1e6 == pytest.approx(weights, abs=0.051)


def test_vgg16_weights_as_in_the_single_filter_papers():
    net = on_paper(16, labels=100)
    assert convolution_weights(net) / 1e6 == pytest.approx(14.71, abs=0.005)
    matrices = sum(module.weight.numel() for module in net.classifier)
    assert matrices / 1e6 == pytest.approx(19.28, abs=0.005)
    shapes = [tuple(module.weight.shape) for module in net.classifier]
    assert shapes == [(4096, 512), (4096, 4096), (100, 4096)]
    assert [module.bias is not None for module in net.classifier] == [True, True, False]


def test_vgg16_layers_of_the_table():
    net = build("vgg16", labels=100, fc_width=8).eval()
    found, x = [], torch.zeros(1, 3, 32, 32)
    for block in net.features:
        x = block(x)
        found.append((x.shape[1], x.shape[2]))
    assert found == [
        *[(64, 32), (64, 16), (128, 16), (128, 8), (256, 8), (256, 8), (256, 4)],
        *[(512, 4), (512, 4), (512, 2), (512, 2), (512, 2), (512, 1)],
    ]


def test_vgg11_is_the_groups_not_torchvisions():
    net = on_paper(11, labels=100)
    weights = [block.conv.weight.numel() for block in net.features]
    assert weights == [1728, 36864, 73728, 147456, 294912, 589824, 589824, 1179648, 2359296, 2359296]
    assert sum(weights) == 7_632_576
    assert net.classifier[0].weight.numel() == 204_800
    assert net.classifier[0].bias is None


@pytest.mark.parametrize("d", [4, 8, 16, 32, 64, 128])
def test_operations_of_the_generalized_vgg16(d):
    net = on_paper(16, d1=d, fc_width=1)
    fully_connected = 8 * d + 1 + 10
    assert macs(net) - fully_connected == 76_032 * d**2 + 27_648 * d  # summed over the layers by hand


def test_hidden_width_follows_d1_unless_given():
    assert build("vgg16", d1=4).classifier[1].weight.shape == (256, 256)
    assert build("vgg16", width=1 / 16).classifier[1].weight.shape == (256, 256)
    assert build("vgg8", d1=4, fc_width=512).classifier[1].weight.shape == (512, 512)


def test_width_and_d1_give_the_same_network():
    a, b = build("avgg8", width=0.125, seed=3), build("avgg8", d1=8, seed=3)
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


@pytest.mark.parametrize("m", [6, 8, 13, 14, 16])
def test_equal_seed_gives_bit_equal_weights_in_every_plan(m):
    plain = build(f"vgg{m}", d1=2, seed=5).state_dict()
    others = [build(f"avgg{m}", d1=2, seed=5, order=order) for order in (None, "MP8", "AP4→MP2")]
    others += [build(f"vgg{m}", d1=2, seed=5, plan=plan) for plan in PLANS[1:]]
    for net in others:
        state = net.state_dict()
        assert list(state) == list(plain)
        assert all(torch.equal(state[key], plain[key]) for key in plain)
        assert net.classifier[0].in_features == 16


def test_activation_between_fc_layers_keeps_the_names_of_weights():
    linear, relu = build("vgg8", d1=1), build("vgg8", d1=1, fc_activation="relu")
    assert list(linear.state_dict()) == list(relu.state_dict())
    assert not any(isinstance(module, nn.ReLU) for module in linear.classifier)
    kinds = [type(module).__name__ for module in relu.classifier]
    assert kinds == ["Linear", "ReLU", "Linear", "ReLU", "Linear"]


def test_block_is_convolution_norm_relu_pool_in_this_order():
    net = build("vgg", stages=((2, 1),), size=4).eval()
    block, x = net.features[0], torch.randn(3, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        block.bn.running_mean += 0.2
        expected = nn.functional.max_pool2d(torch.relu(block.bn(block.conv(x))), 2)
        torch.testing.assert_close(block(x), expected)


def test_layer_m_is_called_features_m():
    net = build("avgg16", d1=1)
    assert layer_names(net) == [f"features.{m}" for m in range(1, 14)]
    assert net.get_submodule("features.8") is net.features[7]


def test_without_batch_norm():
    net = build("vgg6", d1=2, batch_norm=False)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in net.modules())
    assert (
        parameter_count(net) == sum(c.conv.weight.numel() + c.conv.bias.numel() for c in net.features) + 160
    )


def test_free_layout_of_the_pooling_miniature():
    stages = ((16, 1), (32, 1), (64, 1), (64, 1))
    late = build("vgg", size=16, stages=stages, inner=(2,), order="AP2-MP4")
    plain = build("vgg", size=16, stages=stages)
    assert parameter_count(late) == parameter_count(plain)
    assert 60_000 < parameter_count(late) < 62_000  # about 61 k
    assert late.features[1].pool.kernel_size == 2
    assert isinstance(late.features[0].pool, nn.Identity)


@pytest.mark.parametrize("d", [4, 8])
def test_free_layout_of_the_power_law_miniature(d):
    net = build("vgg", size=16, stages=((d, 1), (2 * d, 1), (4 * d, 1), (4 * d, 1)))
    assert macs(net, (3, 16, 16)) == 2880 * d**2 + 6952 * d


def test_network_survives_pickling():
    net = build("avgg8", d1=1).eval()
    copy = pickle.loads(pickle.dumps(net))
    x = torch.zeros(1, 3, 32, 32)
    assert torch.equal(copy(x), net(x))
    assert layer_names(copy) == layer_names(net)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("vgg16", {"d1": 0}, "d1=0.*at least 1"),
        ("vgg16", {"d1": 2.5}, "d1=2.5"),
        ("vgg16", {"d1": 4, "width": 0.5}, "give one of them"),
        ("vgg16", {"width": 0.001}, "leaves 0 of 64 filters.*at least 0.0078125"),
        ("vgg6", {"fc_width": 64}, "no hidden nodes"),
        ("vgg8", {"fc_width": 0}, "fc_width=0"),
        ("vgg8", {"fc_activation": "tanh"}, "choose from 'linear', 'relu'"),
        ("vgg8", {"batch_norm": 1}, "choose from True, False"),
        ("vgg", {}, "stages=None"),
        ("vgg", {"stages": ()}, "stages="),
        ("vgg", {"stages": ((16,),)}, "no \\(filters, convolutions\\)"),
        ("vgg", {"stages": ((16, 0),)}, "stages=0"),
        ("vgg", {"stages": ((16, 1),), "width": 0.01}, "leaves 0 of 16"),
        ("vgg", {"stages": ((16, 1),), "fc": 64}, "in a tuple"),
    ],
)
def test_impossible_networks_are_refused(name, options, message):
    with pytest.raises(ParameterError, match=message):
        build(name, **options)
