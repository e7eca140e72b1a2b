"""Initial weights: PyTorch's own numbers from a generator of our own, and no trace in the global state."""

import math

import pytest
import torch
from torch import nn

from filterwise.errors import ParameterError
from filterwise.models import build
from filterwise.models.weights import initialise

ALL = [("vgg6", {"d1": 2}), ("avgg8", {"d1": 1}), ("lenet5", {}), ("vgg", {"stages": ((4, 2), (8, 1))})]


@pytest.mark.parametrize(("name", "options"), ALL)
@pytest.mark.parametrize("init", ["torch", "he"])
def test_global_random_state_is_neither_read_nor_moved(name, options, init):
    nets = []
    with torch.random.fork_rng():
        for state in (1, 2):
            torch.manual_seed(state)
            before = torch.get_rng_state()
            nets.append(build(name, seed=7, init=init, **options))
            assert torch.equal(before, torch.get_rng_state())
    first, second = nets
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_same_numbers_as_plain_layers_after_manual_seed():
    with torch.random.fork_rng():
        torch.manual_seed(11)
        plain = nn.Sequential(
            *[
                nn.Conv2d(3, 4, 3),
                nn.BatchNorm2d(4),
                nn.Conv2d(4, 8, 3),
                nn.BatchNorm2d(8),
                nn.Linear(8, 3, bias=False),
            ]
        )
    net = build("vgg", labels=3, size=4, stages=((4, 1), (8, 1)), seed=11)
    ours, theirs = list(net.state_dict().values()), list(plain.state_dict().values())
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_lenet_has_the_same_numbers_as_plain_layers():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        plain = [
            nn.Conv2d(3, 6, 5),
            nn.Conv2d(6, 16, 5),
            nn.Linear(400, 120),
            nn.Linear(120, 84),
            nn.Linear(84, 10),
        ]
    theirs = [p for layer in plain for p in layer.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(build("lenet5").parameters(), theirs, strict=True))


def test_he_normal_weights():
    net = build("vgg8", d1=16, seed=3, init="he")
    for module in net.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            n, fan_in = module.weight.numel(), module.weight[0].numel()
            expected = math.sqrt(2 / fan_in)
            # Standard errors of the mean and of the standard deviation of n normal numbers, five of them.
            assert abs(module.weight.mean().item()) < 5 * expected / math.sqrt(n)
            assert abs(module.weight.std().item() / expected - 1) < 5 / math.sqrt(2 * n)
            assert module.bias is None or not module.bias.any()
        if isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all()
            assert not module.bias.any()
            assert (module.running_var == 1).all()
            assert not module.running_mean.any()
            assert module.num_batches_tracked.item() == 0


def test_seeds_differ():
    assert not torch.equal(
        build("lenet5", seed=0).features[0].conv.weight, build("lenet5", seed=1).features[0].conv.weight
    )


def test_features_do_not_depend_on_the_number_of_labels():
    a, b = build("lenet5", labels=10).features, build("lenet5", labels=100).features
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


def test_all_weights_are_ready_to_train():
    net = build("vgg6", d1=1)
    assert all(p.device.type == "cpu" and p.is_leaf and p.requires_grad for p in net.parameters())
    net(torch.ones(2, 3, 32, 32)).sum().backward()
    assert all(p.grad is not None for p in net.parameters())


def test_a_layer_without_a_rule_is_refused():
    with pytest.raises(ParameterError, match="'0' of type PReLU"):
        initialise(nn.Sequential(nn.PReLU()), seed=0)
