"""The tree's backward pass by hand, against automatic differentiation and finite differences."""

import pytest
import torch
import torch.nn.functional as F

from filterwise import models
from filterwise.data import ImageSet
from filterwise.errors import ParameterError
from filterwise.papers.tree.backward import TOGETHER, tree_step
from filterwise.training import Recipe, fit

CPU = torch.device("cpu")
NETS = {
    "paper": {"K": 6, "M": 16},
    "small": {"K": 3, "M": 2, "size": 20, "rows": 4},
    "grey": {"K": 2, "M": 3, "channels": 1, "size": 28},
    "sigmoid": {"K": 3, "M": 4, "size": 20, "activation": "sigmoid", "start": "normal"},
    "a tree for each label": {"K": 2, "M": 3, "size": 20, "labels": 4, "per_label": True},
}


def net_and_batch(name, count, dtype=torch.float64):
    options = NETS[name]
    net = models.build("tree3", init="he", seed=3, **options).to(dtype)
    generator = torch.Generator().manual_seed(1)
    shape = options.get("channels", 3), options.get("size", 32), options.get("size", 32)
    # values on a grid, as pixels are: equal sums do occur
    images = torch.randint(0, 5, (count, *shape), generator=generator).to(dtype) / 2 - 1
    labels = torch.randint(0, options.get("labels", 10), (count,), generator=generator)
    return net, images, labels


def gradients(net):
    found = [weight.grad for weight in net.parameters()]
    for weight in net.parameters():
        weight.grad = None
    return found


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("count", [7, TOGETHER + 3])
def test_equal_to_automatic_differentiation(name, count):
    net, images, labels = net_and_batch(name, count)
    loss, logits = tree_step(Recipe(), CPU, torch.float32)(net, images, labels)
    by_hand = gradients(net)
    answers = net(images)
    expected = F.cross_entropy(answers, labels)
    expected.backward()
    torch.testing.assert_close(loss, expected.detach(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(logits, answers.detach(), rtol=1e-12, atol=1e-12)
    for ours, theirs in zip(by_hand, gradients(net), strict=True):
        scale = float(theirs.abs().max())
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10 * scale)


def test_single_precision_agrees_to_one_in_a_million():
    net, images, labels = net_and_batch("paper", 60, torch.float32)
    tree_step(Recipe(), CPU, torch.float32)(net, images, labels)
    by_hand = gradients(net)
    F.cross_entropy(net(images), labels).backward()
    for ours, theirs in zip(by_hand, gradients(net), strict=True):
        assert float((ours - theirs).norm() / theirs.norm()) < 1e-6


@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
def test_equal_to_finite_differences(activation):
    net = models.build("tree3", size=12, K=2, M=2, activation=activation, init="he").double()
    images = torch.rand(3, 3, 12, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([1, 4, 9])
    tree_step(Recipe(), CPU, torch.float32)(net, images, labels)
    generator = torch.Generator().manual_seed(2)
    for weight, gradient in zip(net.parameters(), gradients(net), strict=True):
        for at in torch.randint(0, weight.numel(), (5,), generator=generator).tolist():
            sides = []
            for step in (1e-6, -1e-6):
                with torch.no_grad():
                    weight.view(-1)[at] += step
                    sides.append(F.cross_entropy(net(images), labels))
                    weight.view(-1)[at] -= step
            slope = float(sides[0] - sides[1]) / 2e-6
            assert float(gradient.reshape(-1)[at]) == pytest.approx(slope, rel=1e-6, abs=1e-9)


def test_smoothing_and_shares_of_labels():
    net, images, _ = net_and_batch("small", 6)
    shares = torch.rand(6, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    loss, _ = tree_step(Recipe(label_smoothing=0.1), CPU, torch.float32)(net, images, shares)
    by_hand = gradients(net)
    target = shares / shares.sum(1, keepdim=True)
    expected = F.cross_entropy(net(images), target, label_smoothing=0.1)
    expected.backward()
    assert float(loss) == pytest.approx(float(expected.detach()), rel=1e-12)
    for ours, theirs in zip(by_hand, gradients(net), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_it_trains_a_network_as_backpropagation_does():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (40, 3, 20, 20), dtype=torch.uint8, generator=generator)
    labels = torch.arange(40) % 4
    ds = ImageSet(images, labels, ("a", "b", "c", "d"))
    recipe = Recipe(epochs=3, batch=10, lr=0.01, precision="float32", memory_format="contiguous")
    trained = []
    for step in (None, "tree"):
        net = models.build("tree3", size=20, K=2, M=2, labels=4, init="he")
        fit(net, ds, ds, recipe, device="cpu", step=step, progress=False)
        trained.append(torch.cat([weight.detach().flatten() for weight in net.parameters()]))
    torch.testing.assert_close(*trained, rtol=1e-3, atol=1e-5)


def test_another_network_is_refused():
    net = models.build("lenet5")
    with pytest.raises(ParameterError, match="this network is a FilterNet"):
        tree_step(Recipe(), CPU, torch.float32)(net, torch.zeros(1, 3, 32, 32), torch.zeros(1).long())
