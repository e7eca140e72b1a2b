"""Routes and gradient terms: against a walk edge by edge, and against automatic differentiation."""

import pytest
import torch
import torch.nn.functional as F

from filterwise import models
from filterwise.errors import ParameterError
from filterwise.papers.tree.gradient_terms import first_layer_terms, lenet_terms, terms, tree_terms
from filterwise.papers.tree.routes import RULES, count_routes
from filterwise.papers.tree.step_explorer import branch_step


def test_the_papers_counts_of_routes():
    net = models.build("lenet5")
    counted = {rule: float(count_routes(net, rule=rule)[3]) for rule in RULES}
    assert counted == {"winner": 1_008_000, "touched": 1_451_520, "all": 4_032_000}
    tree = models.build("tree3", K=6, M=16)
    for filter, row, column in ((0, 0, 0), (7, 5, 13), (17, 13, 2)):
        assert torch.equal(count_routes(tree, filter, row, column), torch.ones(16, 10, dtype=torch.float64))


def walked_edge_by_edge(net, row, column):
    """Routes of a LeNet by depth-first search from unit to unit, pools handing on every one of four."""
    second, linear = net.features[1], [net.classifier[0], net.classifier[2], net.classifier[4]]
    k, filters = second.conv.kernel_size[0], second.conv.out_channels
    side = round((linear[0].in_features / filters) ** 0.5)

    def above(layer, unit):
        if layer == 0:  # into the second convolution and through its pool
            reached = []
            for r in range(max(0, unit[0] - k + 1), min(unit[0], 2 * side - 1) + 1):
                for c in range(max(0, unit[1] - k + 1), min(unit[1], 2 * side - 1) + 1):
                    reached += [f * side * side + (r // 2) * side + c // 2 for f in range(filters)]
            return reached
        return range(linear[layer - 1].out_features)

    def count(layer, unit):
        if layer == 3:
            return 1  # one edge to the one output that is asked about
        return sum(count(layer + 1, next_unit) for next_unit in above(layer, unit))

    return count(0, (row, column))


@pytest.mark.parametrize("at", [(0, 0), (2, 3), (4, 4), (7, 1)])
def test_routes_are_those_of_a_walk_edge_by_edge(at):
    net = models.build("lenet5", d1=2, d2=2, fc=(3, 2), size=20)
    assert float(count_routes(net, 0, *at, rule="all")[0]) == walked_edge_by_edge(net, *at)


def test_a_unit_outside_of_the_map_is_refused():
    with pytest.raises(ParameterError, match="row=14 is outside"):
        count_routes(models.build("tree3"), row=14)
    with pytest.raises(ParameterError, match="did you mean 'winner'"):
        count_routes(models.build("lenet5"), rule="winer")
    with pytest.raises(ParameterError, match="routes are counted of"):
        count_routes(torch.nn.Linear(2, 2))


def test_the_papers_bounds_of_the_first_layer():
    assert first_layer_terms(models.build("tree3", K=6, M=16))[0] == 5_644_800
    assert first_layer_terms(models.build("lenet5")) == (352_800, 88_200)
    assert first_layer_terms(models.build("tree3", K=15, M=80)) == (70_560_000, 17_640_000)
    with pytest.raises(ParameterError, match="terms are counted of"):
        first_layer_terms(torch.nn.Linear(2, 2))


def with_branches_apart(net, image, label):
    """The first layer's products, a copy for each branch, and the loss through a Tree-3 that reads them."""
    product = net.filters.conv(image).detach()
    copies = [product.clone().requires_grad_() for _ in range(net.tree.weight.shape[2])]
    units = []
    for m, copy in enumerate(copies):
        inputs = net.tree.strips(F.max_pool2d(copy, 2).relu())[:, 0]  # (C strips, K rows P)
        weight = net.tree.weight[:, :, m].flatten(2).flatten(0, 1)
        units.append(((inputs * weight).sum(1) + net.tree.bias[:, :, m].flatten()).relu())
    t = torch.stack(units, 1).flatten()  # colour by colour, strip by strip, branch by branch
    logits = F.linear(t, net.classifier.weight, net.classifier.bias)
    return copies, F.cross_entropy(logits[None], torch.tensor([label]))


def term_by_term(net, image, label):
    """Terms that are not 0, layer by layer, from gradients of a Tree-3 in which every branch has filters and
    every unit weights of its own."""
    copies, loss = with_branches_apart(net, image, label)
    slopes = torch.autograd.grad(loss, copies, retain_graph=True)
    by_weight = torch.autograd.grad(loss, [net.tree.weight, net.classifier.weight])
    window = net.filters.conv.weight[0].numel()
    return {
        "conv": sum(int((slope != 0).sum()) for slope in slopes) * window,
        "tree": int((by_weight[0] != 0).sum()),
        "fc": int((by_weight[1] != 0).sum()),
    }


@pytest.mark.parametrize("size", [12, 20])
def test_terms_of_a_tree_are_those_of_its_gradients(size):
    net = models.build("tree3", size=size, K=2, M=3, init="he", seed=5).double()
    images = torch.randn(6, 3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found, whole = tree_terms(net, images)
    positions = (size - 4) ** 2
    assert whole["conv"] * 3 == positions * 6 * 3 * 25
    assert whole["tree"] * 3 == net.tree.weight.numel()
    assert whole["fc"] == net.classifier.weight.numel()
    for one, image in enumerate(images):
        expected = term_by_term(net, image[None], one)
        assert {name: int(value[:, one].sum()) for name, value in found.items()} == expected


def test_a_sigmoid_has_no_zero_but_the_pools_losers():
    net = models.build("tree3", size=20, K=2, M=3, activation="sigmoid", init="he")
    found, whole = tree_terms(net, torch.randn(3, 3, 20, 20))
    shares = {name: float((value / whole[name]).mean()) for name, value in found.items()}
    assert shares == {"conv": 0.25, "tree": 1.0, "fc": 1.0}


def conv_terms(net, conv, image, label):
    """Terms of a convolution that are not 0, with a copy of the kernel at every position."""
    kept = {}
    handle = conv.register_forward_hook(lambda module, given, out: kept.update(x=given[0].detach()))
    net(image)
    handle.remove()
    patches = F.unfold(kept["x"], conv.kernel_size)  # (1, C k k, positions)
    copies = conv.weight.detach().flatten(1)[None].repeat(patches.shape[2], 1, 1).requires_grad_()
    side = round(patches.shape[2] ** 0.5)

    def by_copies(module, given, out):
        product = torch.einsum("pfc,cp->fp", copies, patches[0]) + conv.bias.detach()[:, None]
        return product.view(1, -1, side, side)

    handle = conv.register_forward_hook(by_copies)
    loss = F.cross_entropy(net(image), label)
    handle.remove()
    return int((torch.autograd.grad(loss, copies)[0] != 0).sum())


def test_terms_of_a_lenet_are_those_of_its_gradients():
    net = models.build("lenet5", d1=2, d2=3, fc=(6, 5), size=20, init="he").double()
    images = torch.randn(4, 3, 20, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    labels = torch.tensor([0, 3, 5, 9])
    found, whole = lenet_terms(net, images, labels)
    assert whole == {"conv1": 75 * 2 * 256, "conv2": 50 * 3 * 16, "fc1": 72, "fc2": 30, "fc3": 50}
    for one in range(4):
        loss = F.cross_entropy(net(images[one][None]), labels[one][None])
        linear = [net.classifier[0], net.classifier[2], net.classifier[4]]
        gradients = torch.autograd.grad(loss, [layer.weight for layer in linear])
        counted = [int((gradient != 0).sum()) for gradient in gradients]
        assert [int(found[f"fc{n}"][0, one]) for n in (1, 2, 3)] == counted
    for n, block in enumerate(net.features, 1):
        assert [int(found[f"conv{n}"][0, one]) for one in range(4)] == [
            conv_terms(net, block.conv, images[one][None], labels[one][None]) for one in range(4)
        ]
    # a first-layer unit has a gradient only if it won its pool and is positive
    assert float(found["conv1"].max()) <= whole["conv1"] / 4


def test_parts_and_whole_are_the_same():
    net = models.build("lenet5", d1=2, d2=3, fc=(6, 5), size=20, init="he")
    images, labels = torch.randn(601, 3, 20, 20), torch.arange(601) % 10
    found, _ = terms(net, images, labels)
    assert found["conv1"].shape == (1, 601)
    direct, _ = lenet_terms(net, images[500:], labels[500:])
    assert torch.equal(found["fc1"][:, 500:], direct["fc1"])
    with pytest.raises(ParameterError, match="terms are counted of"):
        terms(torch.nn.Linear(2, 2), images, labels)


def test_a_branch_step_is_what_automatic_differentiation_gives():
    net = models.build("tree3", size=20, K=2, M=3, init="he", seed=5)
    generator = torch.Generator().manual_seed(1)
    image = torch.randint(0, 256, (3, 20, 20), dtype=torch.uint8, generator=generator)
    for filter, branch in ((0, 0), (3, 2), (5, 1)):
        step = branch_step(net, image, 4, filter, branch)
        positions, weights = by_autograd(net, image, 4, filter, branch)
        assert torch.equal(step.positions, positions)
        assert torch.equal(step.weights, weights)
    assert bool(step.positions.any())
    with pytest.raises(ParameterError, match="branch=3 is none of the network's 3"):
        branch_step(net, image, 4, 0, 3)


def by_autograd(net, image, label, filter, branch):
    filters, _, side = net.tree.weight.shape[3:]
    copies, loss = with_branches_apart(net, image[None] / 127.5 - 1, label)
    slopes = torch.autograd.grad(loss, [copies[branch], net.tree.weight])
    colour, own = divmod(filter, filters)
    return slopes[0][0, filter] != 0, (slopes[1][colour, :, branch, own] != 0).reshape(side, side)
