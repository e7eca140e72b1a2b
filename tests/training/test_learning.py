"""Layers that learn and those that do not; weights that masks took stay zero."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from filterwise.errors import ParameterError
from filterwise.training import Recipe, fit, fit_many

RECIPE = Recipe(epochs=3, batch=16, lr=0.05, shift=1)
SGD = Recipe(epochs=75, batch=16, lr=0.02, momentum=0.9, weight_decay=1e-2, shift=1)  # 300 steps
ADAMW = Recipe(epochs=75, batch=16, lr=0.01, optimiser="adamw", weight_decay=0.1, shift=1)


def train(net, ds, recipe=RECIPE, **options):
    return fit(net, ds, None, recipe, device="cpu", progress=False, **options)


@pytest.mark.parametrize("recipe", [RECIPE, RECIPE.replace(optimiser="adamw", lr=0.01)], ids=["sgd", "adamw"])
@pytest.mark.parametrize(
    ("learn", "names"),
    [(("6",), {"6."}), (("0", "6"), {"0.", "6."}), (("1",), {"1."})],
    ids=["head", "ends", "batch norm"],
)
def test_only_chosen_layers_learn(make_net, make_set, recipe, learn, names):
    net = make_net()
    start = copy.deepcopy(net.state_dict())
    train(net, make_set(), recipe, learn=learn)
    for name, value in net.state_dict().items():
        assert torch.equal(value, start[name]) == (name[:2] not in names), name
    assert all(weight.requires_grad for weight in net.parameters())


def test_modules_without_a_learning_part_are_in_evaluation_mode(make_net, make_set, same_state):
    seen = []
    net = nn.ModuleDict({"body": make_net(dropout=0.9)[:6], "head": nn.Linear(64, 3)})

    class Whole(nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = net

        def forward(self, images):
            seen.append([module.training for module in (self, net["body"], net["body"][1], net["head"])])
            return self.parts["head"](self.parts["body"](images))

    whole = Whole()
    train(whole, make_set(), learn=("parts.head",))
    assert [True, False, False, True] in seen
    seen.clear()
    train(whole, make_set(), learn=("parts.body.0",))
    assert [True, True, False, False] in seen

    # dropout is off: a network without it learns the same to the bit
    nets = [make_net(dropout=rate) for rate in (0.9, 0.0)]
    for one in nets:
        train(one, make_set(), learn=("6",))
    assert same_state(*nets)


def test_unknown_layers_are_refused_and_nothing_is_frozen(make_net, make_set):
    net = nn.Sequential()
    net.add_module("features", make_net()[:6])
    net.add_module("classifier", nn.Linear(64, 3))
    for learn, message in [
        (("clasifier",), "learn='clasifier' is not known; .* did you mean 'classifier'"),
        ("classifier", "is one name; give a tuple"),
        (("features.2",), "leaves no parameter that learns"),
    ]:
        with pytest.raises(ParameterError, match=message):
            train(net, make_set(), learn=learn)
    assert all(weight.requires_grad for weight in net.parameters())
    net.features[0].weight.requires_grad_(False)  # what the caller froze stays frozen
    train(net, make_set(), learn=("features",))
    assert not net.features[0].weight.requires_grad
    assert net.features[0].bias.requires_grad


def pruned(net, seed=0, zeros=True):
    """Half of the weights masked; ``zeros``: the masked ones are 0 below the mask as well."""
    generator = torch.Generator().manual_seed(seed)
    for module in (net[0], net[-1]):
        mask = (torch.rand(module.weight.shape, generator=generator) < 0.5).float()
        if zeros:
            module.weight.data.mul_(mask)
        prune.custom_from_mask(module, "weight", mask)
    return net


@pytest.mark.parametrize("zeros", [True, False])
@pytest.mark.parametrize(
    "recipe", [SGD, SGD.replace(nesterov=False), ADAMW], ids=["nesterov", "momentum", "adamw"]
)
def test_masked_weights_stay_zero(make_net, make_set, recipe, zeros):
    net = pruned(make_net(), zeros=zeros)
    start = copy.deepcopy(net.state_dict())
    train(net, make_set(), recipe)
    for module, name in ((net[0], "0"), (net[-1], "6")):
        gone = module.weight_mask == 0
        assert torch.equal(module.weight_mask, start[f"{name}.weight_mask"])
        assert torch.equal(module.weight, module.weight_orig * module.weight_mask)  # of the last step
        assert (module.weight[gone] == 0).all()
        assert (module.weight_orig[gone] == 0).all()
        assert not torch.equal(module.weight_orig, start[f"{name}.weight_orig"])
    copy.deepcopy(net)  # the masked weight hangs on no graph


def test_masked_weights_stay_zero_where_members_are_stacked(make_net, make_set):
    nets = [pruned(make_net(seed), seed) for seed in range(3)]
    masks = [net[0].weight_mask.clone() for net in nets]
    recipe = SGD.replace(epochs=40, precision="float32", memory_format="contiguous")
    fit_many(nets, make_set(), None, recipe, device="cpu", progress=False)
    for net, mask in zip(nets, masks, strict=True):
        assert torch.equal(net[0].weight_mask, mask)
        assert (net[0].weight_orig[mask == 0] == 0).all()
        assert (net[0].weight[mask == 0] == 0).all()
        assert torch.equal(net[0].weight, net[0].weight_orig * mask)
    few = recipe.replace(epochs=3)
    nets = [pruned(make_net(seed), seed) for seed in range(3)]
    fit_many(nets, make_set(), None, few, device="cpu", progress=False)
    for seed, net in enumerate(nets):
        solo = pruned(make_net(seed), seed)
        train(solo, make_set(), few, seed=seed)
        assert torch.allclose(net[0].weight, solo[0].weight, atol=5e-5)
