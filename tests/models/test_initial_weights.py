"""Initial weights: PyTorch's own numbers from a generator of our own, and no trace in the global state."""

import hashlib
import math

import pytest
import torch
from torch import nn

from filterwise.errors import ParameterError
from filterwise.models import build
from filterwise.models.initial import initialise, on_meta

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
        first, second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 8, 3)
        last = nn.Linear(8, 3, bias=False)
    plain = nn.Sequential(first, nn.BatchNorm2d(4), second, nn.BatchNorm2d(8), last)
    net = build("vgg", labels=3, size=4, stages=((4, 1), (8, 1)), seed=11)
    ours, theirs = list(net.state_dict().values()), list(plain.state_dict().values())
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_features_do_not_depend_on_the_number_of_labels():
    a, b = build("lenet5", labels=10).features, build("lenet5", labels=100).features
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


def test_all_weights_are_ready_to_train():
    net = build("vgg6", d1=1)
    assert all(p.device.type == "cpu" and p.is_leaf and p.requires_grad for p in net.parameters())
    net(torch.ones(2, 3, 32, 32)).sum().backward()
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.parametrize(("name", "options"), ALL)
def test_he_weights_come_in_the_order_of_the_layers_from_one_generator(name, options):
    generator = torch.Generator().manual_seed(3)
    for module in build(name, seed=3, init="he", **options).modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            spread = math.sqrt(2 / module.weight[0].numel())
            drawn = torch.empty_like(module.weight).normal_(0, spread, generator=generator)
            assert torch.equal(module.weight, drawn)
            assert module.bias is None or not module.bias.any()
        if isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all()
            assert (module.running_var == 1).all()
            assert not any(value.any() for value in (module.bias, module.running_mean))


# Of all weights' names and bytes, as stored runs were drawn.
DIGESTS = {
    ("lenet5", 0): "fd6a3a915e668740",
    ("lenet5", 3): "923799c2686bfd21",
    ("vgg6", 0): "2f6e68c20089af06",
    ("vgg6", 3): "18ab2decc48b2217",
    ("vgg16", 0): "a8f913e66d97e6a4",
    ("vgg16", 3): "a0f8d7101c678a36",
}


@pytest.mark.parametrize(("name", "seed"), DIGESTS)
def test_weights_stay_those_of_stored_runs(name, seed):
    net = build(name, seed=seed, **{"vgg6": {"width": 0.125}, "vgg16": {"d1": 4}}.get(name, {}))
    sha = hashlib.sha256()
    for key, value in net.state_dict().items():
        sha.update(key.encode() + value.numpy().tobytes())
    assert sha.hexdigest()[:16] == DIGESTS[name, seed]


class Tokens(nn.Module):
    """Patches, a free parameter, an embedding, norms and attention: what a transformer is made of."""

    def __init__(self):
        super().__init__()
        self.place = nn.Parameter(torch.empty(5, 8))
        self.register_buffer("angle", torch.empty(3))
        self.embed = nn.Embedding(400, 8, padding_idx=0)
        self.norm = nn.LayerNorm(8)
        self.mix = nn.Conv1d(8, 8, 3)
        self.scale = nn.BatchNorm1d(8)

    def draw(self, generator, init):
        self.place.normal_(0, 0.02 if init == "he" else 1.0, generator=generator)
        self.angle.copy_(torch.arange(3))


@pytest.mark.parametrize("init", ["torch", "he"])
def test_a_layer_says_itself_how_its_own_weights_are_drawn(init):
    net = on_meta(Tokens)
    initialise(net, seed=5, init=init)
    generator = torch.Generator().manual_seed(5)
    place = torch.empty(5, 8).normal_(0, 0.02 if init == "he" else 1.0, generator=generator)
    assert torch.equal(net.place, place)  # the first to be drawn, before the modules inside
    assert net.angle.tolist() == [0, 1, 2]
    assert (net.norm.weight == 1).all()
    assert not net.norm.bias.any()
    assert (net.scale.running_var == 1).all()
    assert not net.embed.weight[0].any()
    rows = net.embed.weight[1:]
    # a normal distribution cut at two standard deviations has 0.8796 of its spread
    spread = 0.02 * 0.8796 if init == "he" else 1.0
    assert rows.std().item() == pytest.approx(spread, rel=5 / math.sqrt(2 * rows.numel()))
    assert init == "torch" or rows.abs().max() <= 0.04
    assert all(p.is_leaf and p.requires_grad for p in net.parameters())


def test_torchs_numbers_for_conv1d_linear_and_embedding():
    def make():
        return nn.Sequential(nn.Embedding(7, 4), nn.Conv1d(4, 6, 3), nn.LayerNorm(6), nn.Linear(6, 2))

    with torch.random.fork_rng():
        torch.manual_seed(2)
        theirs = make()
    ours = on_meta(make)
    initialise(ours, seed=2)
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


@pytest.mark.parametrize("layer", [nn.PReLU(), nn.BatchNorm3d(2), nn.MultiheadAttention(4, 2)])
def test_a_layer_without_a_rule_is_refused(layer):
    with pytest.raises(ParameterError, match=rf"'0' of type {type(layer).__name__}.*draw\(generator, init\)"):
        initialise(nn.Sequential(layer), seed=0)
