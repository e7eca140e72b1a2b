"""Tree-3: shapes, counts of weights and operations, and what each unit of the tree sees."""

import pytest
import torch

from filterwise import models
from filterwise.errors import ParameterError
from filterwise.models.trees import Tree3, TreeLayer


@pytest.mark.parametrize(
    ("K", "M", "weights", "operations"),
    [(6, 16, 60_622, 412_608), (15, 16, 145_996, 1_026_480), (15, 80, 725_260, 1_604_400)],
)
def test_counts_are_those_of_the_papers_networks(K, M, weights, operations):
    net = models.build("tree3", K=K, M=M)
    assert models.parameter_count(net) == weights
    assert models.macs(net) == operations
    assert net(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_ten_trees_have_a_tree_for_each_label():
    net = models.build("tree3", K=2, M=3, labels=4, per_label=True)
    one = models.build("tree3", K=2, M=3, labels=2)
    images = torch.randn(2, 3, 32, 32)
    before = net(images)
    with torch.no_grad():
        net.trees[1].tree.weight.add_(1)
    after = net(images)
    assert torch.equal(before[:, [0, 2, 3]], after[:, [0, 2, 3]])
    assert not torch.equal(before[:, 1], after[:, 1])
    shared = models.parameter_count(one.filters) + models.parameter_count(one.tree)
    assert models.parameter_count(net) == 4 * (shared + 21 * 3 + 1)


def test_mnist_has_three_strips_of_four_rows():
    net = models.build("tree3", channels=1, size=28, K=6, M=16)
    assert net.tree.weight.shape == (1, 3, 16, 6, 4, 12)
    assert net.classifier.in_features == 48


def by_five_loops(layer: TreeLayer, maps: torch.Tensor) -> torch.Tensor:
    """t_mgs as it is written, one sum at a time; before the activation."""
    colours, strips, branches, filters, rows, side = layer.weight.shape
    maps = maps.view(len(maps), colours, filters, side, side)
    found = torch.zeros(len(maps), colours, strips, branches, dtype=maps.dtype)
    for g in range(colours):
        for s in range(strips):
            for m in range(branches):
                total = layer.bias[g, s, m].expand(len(maps)).clone()
                for k in range(filters):
                    for i in range(rows):
                        total += maps[:, g, k, rows * s + i] @ layer.weight[g, s, m, k, i]
                found[:, g, s, m] = total
    return found.flatten(1)


@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
@pytest.mark.parametrize("rows", [2, 4])
def test_the_batched_product_is_the_sum_as_written(activation, rows):
    net = models.build("tree3", size=20, K=2, M=3, rows=rows, activation=activation).double()
    maps = torch.randn(5, 6, 8, 8, dtype=torch.float64)
    expected = by_five_loops(net.tree, maps)
    expected = expected.relu() if activation == "relu" else expected.sigmoid()
    torch.testing.assert_close(net.tree(maps), expected, rtol=1e-12, atol=1e-12)


def test_a_strip_of_one_colour_reaches_its_own_units_only():
    net = models.build("tree3", size=20, K=2, M=3, activation="sigmoid").double()
    maps = torch.randn(1, 6, 8, 8, dtype=torch.float64)
    moved = maps.clone()
    moved[:, 2:4, 4:6] += 1  # colour 1, strip 2
    changed = (net.tree(moved) != net.tree(maps)).view(3, 4, 3)  # colour, strip, branch
    expected = torch.zeros(3, 4, 3, dtype=torch.bool)
    expected[1, 2] = True
    assert torch.equal(changed, expected)


def test_colours_do_not_mix_before_the_last_layer():
    net = models.build("tree3", size=20, K=2, M=3)
    images = torch.randn(1, 3, 20, 20)
    moved = images.clone()
    moved[:, 2] += 1
    changed = (net.filters(moved) != net.filters(images)).flatten(2).any(2)[0]
    assert changed.tolist() == [False] * 4 + [True] * 2


def test_many_images_are_answered_as_a_few_are():
    net = models.build("tree3", size=20, K=2, M=3)
    images = torch.randn(205, 3, 20, 20)
    with torch.no_grad():
        at_once = net(images)
    torch.testing.assert_close(at_once, net(images).detach(), rtol=1e-5, atol=1e-6)


def test_the_switch_of_the_initial_weights():
    def spread(**options):
        net = models.build("tree3", K=15, M=16, **options)
        return {
            "conv": float(net.filters.conv.weight.detach().std()),
            "tree": float(net.tree.weight.detach().std()),
            "fc": float(net.classifier.weight.detach().std()),
            "bias": float(net.tree.bias.detach().abs().max()),
        }

    he = spread(init="he")
    assert he == pytest.approx({"conv": 0.283, "tree": 0.069, "fc": 0.077, "bias": 0.0}, rel=0.06)
    assert spread(init="he", start="tensor inputs")["tree"] == pytest.approx(0.0038, rel=0.02)
    ones = spread(init="he", start="normal")
    assert ones == pytest.approx({"conv": 1.0, "tree": 1.0, "fc": 1.0, "bias": 0.0}, rel=0.06)
    plain = spread()
    assert plain["tree"] == pytest.approx((1 / 420 / 3) ** 0.5, rel=0.02)  # of U(+-1/sqrt(28 K))


def test_width_scales_the_filters():
    assert models.build("tree3", width=2.5).tree.weight.shape[3] == 15
    assert isinstance(models.build("tree3", width=0.5), Tree3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"K": 0}, "K=0 is not allowed"),
        ({"M": 0}, "M=0 is not allowed"),
        ({"K": 3, "width": 2.0}, "K=3 and width=2.0 both set"),
        ({"size": 31}, r"size=31 is not allowed; .* 28, 32, 36"),
        ({"size": 30}, r"size=30 .* strips of rows=2"),
        ({"size": 5}, "size=5 is not allowed"),
        ({"rows": 3}, r"size=32 .* rows=3"),
        ({"activation": "relo"}, "did you mean 'relu'"),
        ({"start": "normla"}, "did you mean 'normal'"),
        ({"per_label": 1}, "choose from True, False"),
    ],
)
def test_what_cannot_be_built_is_refused(options, words):
    with pytest.raises(ParameterError, match=words):
        models.build("tree3", **options)
