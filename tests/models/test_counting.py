"""Operations against torch's own counter, and the layers of a network."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from filterwise.errors import ParameterError
from filterwise.models import build, layer_names, macs, parameter_count


def flops(net, shape):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.zeros(1, *shape))
    return counter.get_total_flops()


@pytest.mark.parametrize(
    ("net", "shape"),
    [
        (build("lenet5"), (3, 32, 32)),
        (build("avgg8", d1=2), (3, 32, 32)),
        (
            nn.Sequential(nn.Conv2d(4, 8, 3, stride=2, groups=4), nn.Conv2d(8, 6, (1, 3), dilation=2)),
            (4, 19, 17),
        ),
        (nn.Sequential(nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2), nn.Linear(17, 5)), (4, 8, 8)),
    ],
)
def test_macs_are_half_of_torchs_flops(net, shape):
    assert macs(net.eval(), shape) * 2 == flops(net, shape)


def test_a_layer_used_twice_counts_twice():
    layer = nn.Conv2d(3, 3, 3, padding=1)
    assert macs(nn.Sequential(layer, layer), (3, 8, 8)) == 2 * macs(layer, (3, 8, 8))


def test_counting_leaves_the_network_as_it_was():
    net = build("vgg6", d1=1).train()
    net.features[2].eval()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    state = torch.get_rng_state()
    macs(net)
    assert net.training
    assert not net.features[2].training
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())
    assert not any(module._forward_hooks for module in net.modules())
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("shape", [(3, 32), (1, 32, 32), (3, 0, 32), (3, 16, 16)])
def test_images_that_do_not_fit_are_refused(shape):
    net = build("vgg6", d1=1)
    with pytest.raises(ParameterError, match="shape="):
        macs(net, shape)
    assert not any(module._forward_hooks for module in net.modules())


def test_parameters_of_known_layers():
    assert (
        parameter_count(nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.Linear(7, 2, bias=False)))
        == 164
    )


def test_a_foreign_network_says_its_layers():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    with pytest.raises(ParameterError, match=r"set net\.layer_names.*'0', '1'"):
        layer_names(net)
    net.layer_names = ("1",)
    assert layer_names(net) == ["1"]
    net.layer_names = ("features.1",)
    with pytest.raises(ParameterError, match=r"'features\.1', which is no module of Sequential"):
        layer_names(net)
