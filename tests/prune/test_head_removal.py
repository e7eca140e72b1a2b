"""Networks without some attention heads against the same networks with these heads silenced."""

import pytest
import torch

import filterwise as fw
from filterwise.errors import ParameterError
from filterwise.prune.head_removal import (
    attentions,
    head_scores,
    lowest_heads,
    margin_shares,
    remove_heads,
    weight_shares,
)
from filterwise.prune.masks import apply

SHAPE = (3, 16, 16)


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


def transformer(**options):
    """d_h is 3, so that no wrong order of (3, H, d_h) fits by chance."""
    options = {"depth": 2, "d": 10, "heads": 4, "inner": 12, "tokenizer_layers": 2, **options}
    return fw.models.build("cct", 5, channels=3, size=16, linear_std=0.5, **options).eval()


@pytest.fixture
def net():
    return transformer()


def silenced(net, gone, images):
    """Answers with the nodes of these heads, at the heads' output, set to zero."""

    def hook(heads):
        def zeroed(_module, _inputs, output):
            parts = output.unflatten(2, (net.get_submodule("encoders.1").attention.heads.heads, -1)).clone()
            parts[:, :, heads] = 0
            return parts.flatten(2)

        return zeroed

    handles = [
        net.get_submodule(f"{name}.attention.heads").register_forward_hook(hook(heads))
        for name, heads in gone.items()
    ]
    with torch.no_grad():
        answers = net(images)
    for handle in handles:
        handle.remove()
    return answers


@pytest.mark.parametrize(
    "gone",
    [{"encoders.2": [0, 3]}, {"encoders.1": [2], "encoders.2": [1, 0, 2]}, {"encoders.1": []}],
    ids=["two", "both", "none"],
)
def test_without_heads_is_as_with_silent_heads(net, gone):
    images = torch.randn(6, *SHAPE, generator=draws())
    small = remove_heads(net, gone)
    with torch.no_grad():
        torch.testing.assert_close(small(images), silenced(net, gone, images), atol=1e-5, rtol=1e-5)
        moved = float((small(images) - net(images)).abs().max())
    assert (moved > 1e-3) == any(gone.values())
    for name, attention in attentions(small).items():
        stay = 4 - len(gone.get(name, ()))
        assert attention.heads.heads == stay
        assert attention.qkv.weight.shape == (3 * 3 * stay, 10)
        assert attention.projection.weight.shape == (10, 3 * stay)
        assert attention.qkv.bias is None
    assert attentions(net)["encoders.2"].heads.heads == 4


def test_fewer_heads_are_fewer_weights_and_operations(net):
    small = remove_heads(net, {"encoders.2": [0, 1, 3]})
    assert fw.models.parameter_count(net) - fw.models.parameter_count(small) == 3 * 4 * 3 * 10
    tokens = 16
    attention = 3 * 2 * tokens * tokens * 3  # heads, two products, d_h
    assert fw.models.macs(net, SHAPE) - fw.models.macs(small, SHAPE) == tokens * 3 * 4 * 3 * 10 + attention


def test_a_smaller_network_learns_and_loses_more_heads_by_their_new_numbers(net):
    small = remove_heads(net, {"encoders.1": [0]})
    images = torch.randn(4, *SHAPE, generator=draws())
    again = remove_heads(small, {"encoders.1": [0, 2]})
    at_once = remove_heads(net, {"encoders.1": [0, 1, 3]})
    assert torch.equal(again(images), at_once(images))
    again.train()(images).square().sum().backward()
    assert all(weight.grad is not None for name, weight in again.named_parameters() if "encoders" in name)
    assert net.encoders[0].attention.projection.bias.grad is None  # nothing is shared with the copy


def test_margins_add_up_and_a_silenced_head_takes_its_own_away():
    mu, W = (torch.randn(5, 12, generator=draws(seed)) for seed in (0, 1))
    W = W + mu  # a read-out that tells labels apart
    M = fw.measure.head_fields(mu, W, heads=4)

    def margin(fields):
        off = ~torch.eye(5, dtype=torch.bool)
        return float(fields.diagonal().mean() - fields[off].mean())

    shares = margin_shares(M)
    assert float(shares.abs().sum()) == pytest.approx(1)
    scale = sum(abs(margin(one)) for one in M)
    for h in range(4):
        lost = margin(M.sum(0)) - margin(M.sum(0) - M[h])
        assert float(shares[h]) * scale == pytest.approx(lost, abs=1e-5)
    shifted = 3 * M + torch.randn(4, 5, 1, generator=draws(2))  # by rows: no decision changes
    torch.testing.assert_close(margin_shares(shifted), shares)
    assert not torch.allclose(margin_shares(M / M.amax((1, 2), keepdim=True)), shares)


def test_a_head_that_says_nothing_goes_before_one_that_speaks(net):
    fields = {
        name: torch.eye(5).expand(4, 5, 5) * torch.tensor([1.0, 2, 3, 4])[:, None, None]
        for name in attentions(net)
    }
    fields["encoders.2"] = fields["encoders.2"].clone()
    fields["encoders.2"][2] = 1.0  # large, and the same for every label
    scores = head_scores(net, "shp", fields)
    assert lowest_heads(scores, 1) == {"encoders.2": [2]}


def test_magnitude_is_that_of_a_heads_own_weights(net):
    attention = net.encoders[1].attention
    before = weight_shares(attention)
    with torch.no_grad():
        attention.qkv.weight[:24] *= 5  # queries and keys only
        assert torch.equal(weight_shares(attention), before)
        attention.qkv.weight[24 + 3 : 24 + 6] = 0
        attention.projection.weight[:, 3:6] = 0
    after = weight_shares(attention)
    assert float(after[1]) == 0
    torch.testing.assert_close(after[[0, 2, 3]] / after.sum(), before[[0, 2, 3]] / before[[0, 2, 3]].sum())


def test_the_lowest_heads_of_the_whole_network_go_and_one_of_each_encoder_stays():
    scores = {
        "encoders.1": torch.tensor([0.1, 0.2, 0.3]),
        "encoders.2": torch.tensor([0.15, 0.9]),
        "encoders.3": torch.tensor([0.05]),
    }
    assert lowest_heads(scores, 0) == {}
    assert lowest_heads(scores, 2) == {"encoders.1": [0], "encoders.2": [0]}
    assert lowest_heads(scores, 3) == {"encoders.1": [0, 1], "encoders.2": [0]}
    equal = {"encoders.1": torch.zeros(3), "encoders.2": torch.zeros(2)}
    assert lowest_heads(equal, 2) == {"encoders.1": [0, 1]}
    with pytest.raises(ParameterError, match="count=4 is not allowed; of 6 heads in 3 encoders at most 3"):
        lowest_heads(scores, 4)
    with pytest.raises(ParameterError, match="not finite"):
        lowest_heads({"encoders.1": torch.tensor([float("nan"), 1])}, 1)


def test_random_heads_depend_on_the_generator_alone(net):
    ours, again, others = (lowest_heads(head_scores(net, "random", None, draws(s)), 3) for s in (0, 0, 1))
    assert ours == again
    assert ours != others


def test_bad_choices_are_named(net):
    with pytest.raises(ParameterError, match=r"encoder='encoders\.3' is not known"):
        remove_heads(net, {"encoders.3": [0]})
    with pytest.raises(
        ParameterError, match=r"heads\['encoders\.2'\]=4 is not known; choose from 0, 1, 2, 3"
    ):
        remove_heads(net, {"encoders.2": [4]})
    for wrong in (-1, True, "0"):
        with pytest.raises(ParameterError, match=r"heads\['encoders\.2'\]"):
            remove_heads(net, {"encoders.2": [wrong]})
    with pytest.raises(ParameterError, match="are all 4 heads; at least one must stay"):
        remove_heads(net, {"encoders.2": [0, 1, 2, 3]})
    with pytest.raises(ParameterError, match="twice"):
        remove_heads(net, {"encoders.2": [1, 1]})
    with pytest.raises(ParameterError, match="has no encoders"):
        remove_heads(fw.models.build("vgg11", labels=10), {})
    with pytest.raises(ParameterError, match=r"criterion='shp' needs the fields of encoders\.2"):
        head_scores(net, "shp", {"encoders.1": torch.ones(4, 5, 5)})
    with pytest.raises(ParameterError, match="are of 3 heads; the encoder has 4"):
        head_scores(net, "shp", {name: torch.ones(3, 5, 5) for name in attentions(net)})
    mask = torch.ones(5, 10, dtype=torch.bool)
    with pytest.raises(ParameterError, match="fc have masks"):
        remove_heads(apply(net, {"fc": mask}), {"encoders.2": [0]})
