"""The multi-layer perceptron: its layers, its inputs, its refusals."""

import pytest
import torch

from filterwise.errors import ParameterError
from filterwise.models import build, parameter_count
from filterwise.models.counting import layer_names


def test_layers_and_weights():
    net = build("mlp", labels=4, channels=1, size=5, hidden=(6, 3), width=2.0)
    assert layer_names(net) == ["hidden.1", "hidden.2"]
    shapes = [(12, 25), (6, 12), (4, 6)]
    linear = [net.hidden[0].linear, net.hidden[1].linear, net.classifier]
    assert [tuple(layer.weight.shape) for layer in linear] == shapes
    assert parameter_count(net) == sum(out * (inputs + 1) for out, inputs in shapes)
    # buffers of the inputs are no weights, and leave the pixels as they are
    x = torch.randn(3, 1, 5, 5)
    assert torch.equal(net.inputs(x.flatten(1)), x.flatten(1))


def test_it_computes_what_it_says():
    net = build("mlp", labels=2, channels=4, size=1, hidden=(5,)).eval()
    x = torch.randn(7, 4, 1, 1)
    below = x.flatten(1) @ net.hidden[0].linear.weight.T + net.hidden[0].linear.bias
    below = torch.where(below > 0, below, 0.1 * below)
    expected = below @ net.classifier.weight.T + net.classifier.bias
    torch.testing.assert_close(net(x), expected)
    assert torch.equal(net.from_inputs(net.inputs(x.flatten(1))), net(x))


def test_dropout_is_off_when_it_is_evaluated():
    net, x = build("mlp", labels=2, channels=50, size=1), torch.randn(2, 50, 1, 1)
    assert not torch.equal(net(x), net(x))
    net.eval()
    assert torch.equal(net(x), net(x))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden": ()}, r"hidden=\(\) is not allowed; give the nodes"),
        ({"hidden": (5, 0)}, "hidden=0 is not allowed"),
        ({"hidden": 200}, "hidden=200 is not allowed"),
        ({"activation": "leeky"}, "activation='leeky' is not known; .* did you mean 'leaky'"),
        ({"dropout": 1.0}, "dropout=1.0 is not allowed"),
        ({"hiden": (5,)}, "hiden=.* is no option of 'mlp'; .* did you mean 'hidden'"),
    ],
)
def test_refusals(options, message):
    with pytest.raises(ParameterError, match=message):
        build("mlp", labels=2, **options)
