"""Operations against a count from the layers' shapes, and the layers of a network."""

import time

import pytest
import torch
from torch import nn

from filterwise.errors import ParameterError
from filterwise.models import build, layer_names, macs, parameter_count


def from_shapes(net, shape):
    """Every value of a layer's output (a transposed one's input) times the weights that it reads."""
    found = []

    def count(layer, inputs, output):
        values = inputs[0] if isinstance(layer, nn.ConvTranspose2d) else output
        found.append(values.numel() * layer.weight[0].numel())

    for module in net.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            module.register_forward_hook(count)
    net.eval()(torch.zeros(1, *shape))
    return sum(found)


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
def test_macs_are_those_of_the_layers_shapes(net, shape):
    assert macs(net, shape) == from_shapes(net, shape) > 0


class Attention(nn.Module):
    """Self-attention over (1, tokens, d) in ``heads`` heads, with PyTorch's fused product."""

    def __init__(self, d, heads):
        super().__init__()
        self.heads, self.qkv, self.out = heads, nn.Linear(d, 3 * d), nn.Linear(d, d, bias=False)

    def forward(self, x):
        x = x.flatten(2).transpose(1, 2)  # (1, tokens, d)
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        y = nn.functional.scaled_dot_product_attention(q, k, v)  # (1, heads, tokens, d / heads)
        return self.out(y.transpose(1, 2).flatten(2))


@pytest.mark.parametrize("heads", [1, 4])
def test_attention_is_counted(heads):
    tokens, d = 6 * 5, 8
    projections, products = 4 * tokens * d * d, 2 * tokens * tokens * d  # q k^T and the weighted sum of v
    assert macs(Attention(d, heads), (d, 6, 5)) == projections + products
    layer = nn.TransformerEncoderLayer(d, heads, dim_feedforward=16, batch_first=True)
    encoder = nn.Sequential(nn.Flatten(2), layer)  # (1, d, d) read as d tokens
    assert macs(encoder, (d, 2, d // 2)) == 4 * d**3 + 2 * d**3 + 2 * d * d * 16


def test_counting_computes_nothing():
    net = build("vgg16", plan="L0", fc_width=64)  # 15 G multiply-accumulates, a second and more on one core
    macs(build("lenet5"))
    start = time.perf_counter()
    assert macs(net) > 14e9
    assert time.perf_counter() - start < 1


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
