"""ANDC's masks of a transformer against their definition, their amounts against those of peers."""

import itertools

import pytest
import torch

import filterwise as fw
from filterwise.errors import ParameterError
from filterwise.prune.equal_amount import OUTPUTS
from filterwise.prune.masks import apply, masks_of
from filterwise.prune.transformer_masks import NodalConnections, joined_nodes, measured_places

LABELS, D, THETA = 6, 8, 0.3


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


def transformer(**options):
    options = {"depth": 3, "d": D, "heads": 2, "tokenizer_layers": 1, **options}
    return fw.models.build("cct", LABELS, channels=1, size=8, **options)


@pytest.fixture
def net():
    return transformer()


def nodes(net, places):
    """Class means and weights of both signs, (K, d) of as many nodes as each place has."""
    found = {}
    with fw.measure.Capture(net, list(places)) as capture, torch.no_grad():
        for place, outputs in capture(torch.zeros(1, 1, 8, 8)).items():
            shape = (LABELS, outputs.shape[1])
            draw = draws(len(found))
            mu = torch.randn(shape, generator=draw)
            W = mu + torch.randn(shape, generator=draw)
            mu[:, 1], W[:, 1] = mu[:, 1].abs(), -W[:, 1].abs()  # a node that stands for nothing
            found[place] = (mu, W)
    return found


def connections(net, share="label", threshold=THETA, **options):
    between = joined_nodes(net, **options)
    return NodalConnections(between, nodes(net, measured_places(between)), threshold, share)


def sets_by_hand(mu, W, threshold=THETA):
    """T_k from the d K products on the diagonal and the largest element of a matrix of rank one."""
    largest = torch.maximum(
        mu.clamp_min(0).amax(0) * W.clamp_min(0).amax(0),
        mu.clamp_max(0).abs().amax(0) * W.clamp_max(0).abs().amax(0),
    )
    return ((mu * W > threshold * largest) & (largest > 0)).T


def test_label_sets_are_those_of_the_two_groups_of_sign(net):
    between = joined_nodes(net, attention=True)
    given = nodes(net, measured_places(between))
    found = NodalConnections(between, given, THETA)
    for place, (mu, W) in given.items():
        assert torch.equal(found.fields[place][3], torch.outer(mu[:, 3], W[:, 3]))
        assert torch.equal(found.sets[place], sets_by_hand(mu, W))
    sizes = torch.cat([found.sets[place].sum(1) for place in given])
    assert len({int(size) for size in sizes}) > 2


def test_masks_by_brute_force(net):
    found = connections(net, attention=True)
    masks = found.masks(net)
    assert len(masks) == 7
    for layer, one in found.between.items():
        above, below = found.sets[one.above], found.sets[one.below]
        assert masks[layer].shape == net.get_submodule(layer).weight.shape == (len(above), len(below))
        for o, i in itertools.product(range(len(above)), range(len(below))):
            assert bool(masks[layer][o, i]) == any(bool(above[o, j] and below[i, j]) for j in range(LABELS))
    assert torch.equal(masks["fc"], found.sets["encoders.3"].T)
    assert found.kept("fc") == pytest.approx(float(masks["fc"].double().mean()))


def test_a_node_whose_signs_never_meet_is_cut_off(net):
    masks = connections(net).masks(net)
    assert not masks["encoders.3.ff.down"][1].any()
    assert not masks["encoders.3.ff.down"][:, 1].any()
    assert not masks["fc"][:, 1].any()
    assert masks["fc"][:, 0].any()


def test_top_1_leaves_a_node_its_largest_label_and_no_node_more(net):
    wide, narrow = connections(net), connections(net, "top1")
    for place in measured_places(wide.between):
        top, diagonal = narrow.sets[place], wide.fields[place].diagonal(dim1=1, dim2=2)
        assert torch.equal(top.any(1), wide.sets[place].any(1))
        assert int(top.sum(1).max()) == 1
        some = top.any(1)
        assert torch.equal(top[some].int().argmax(1), diagonal[some].argmax(1))
    assert torch.equal(narrow.sets[OUTPUTS], torch.eye(LABELS, dtype=torch.bool))
    kept = [sum(int(mask.sum()) for mask in one.masks(net).values()) for one in (narrow, wide)]
    assert kept[0] < kept[1]
    assert all(narrow.sizes()[place] < 1 < size for place, size in wide.sizes().items())


@pytest.mark.parametrize("criterion", ["random", "magnitude", "filter-l1", "random-afcc"])
@pytest.mark.parametrize("share", ["label", "cluster", "top1"])
def test_peers_keep_as_many_weights_of_every_matrix(net, criterion, share):
    found = connections(net, share)
    ours, theirs = found.masks(net), found.masks(net, criterion, draws())
    assert {layer: int(mask.sum()) for layer, mask in ours.items()} == {
        layer: int(mask.sum()) for layer, mask in theirs.items()
    }
    assert any(not torch.equal(ours[layer], theirs[layer]) for layer in ours)


def test_which_matrices_lie_between_which_places(net):
    between = joined_nodes(net, attention=True)
    assert list(between) == [
        f"encoders.{m}.{layer}" for m in (2, 3) for layer in ("attention.projection", "ff.up", "ff.down")
    ] + ["fc"]
    assert list(joined_nodes(net, encoders=(1,))) == ["encoders.1.ff.up", "encoders.1.ff.down", "fc"]
    assert next(iter(joined_nodes(transformer(replaced=2)))) == "encoders.3.ff.up"
    seen = {}

    def remember(name):
        return lambda _module, inputs, output: seen.update({name: (inputs[0], output)})

    hooks = [module.register_forward_hook(remember(name)) for name, module in net.named_modules()]
    net.eval()(torch.rand(2, 1, 8, 8, generator=draws()))
    for hook in hooks:
        hook.remove()
    for layer, one in between.items():
        if layer == "fc":
            pooled = net.pool(net.norm(seen[one.below][1]))
            assert torch.equal(seen[layer][0], pooled)
        else:
            assert torch.equal(seen[layer][0], seen[one.below][1])  # it reads the nodes of the place below
    gelu = torch.nn.functional.gelu
    assert torch.equal(gelu(seen["encoders.2.ff.up"][1]), seen["encoders.2.ff.gelu"][1])
    y, u = seen["encoders.2.norm2"][1], seen["encoders.2.ff.gelu"][1]
    torch.testing.assert_close(y + net.encoders[1].ff.down(u), seen["encoders.2"][1])


def test_masked_connections_carry_nothing(net):
    masks = connections(net).masks(net)
    apply(net, masks)
    assert set(masks_of(net)) == set(masks)
    images = torch.rand(2, 1, 8, 8, generator=draws())
    before = net.eval()(images)
    with torch.no_grad():
        for layer, mask in masks.items():
            net.get_submodule(layer).weight_orig[~mask] += 7
    assert torch.equal(net(images), before)


def test_bad_choices_are_named(net):
    with pytest.raises(ParameterError, match=r"encoders=9 is not known; choose from 1, 2, 3"):
        joined_nodes(net, encoders=(2, 9))
    with pytest.raises(ParameterError, match="twice"):
        joined_nodes(net, encoders=(2, 2))
    with pytest.raises(ParameterError, match="has no encoders"):
        joined_nodes(fw.models.build("vgg11", labels=10))
    with pytest.raises(ParameterError, match=r"share='top_1' is not known.*did you mean 'top1'"):
        connections(net, "top_1")
    between = joined_nodes(net)
    with pytest.raises(ParameterError, match=r"no label fields are given for encoders\.3"):
        NodalConnections(between, nodes(net, set(measured_places(between)) - {"encoders.3"}))
