"""Masks for each image: by brute force, by gathering what they leave, and what reaches the predictors."""

from __future__ import annotations

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from filterwise.data import ImageSet
from filterwise.data.augmentation import scale
from filterwise.errors import ParameterError
from filterwise.models import build
from filterwise.prune import dynamic
from filterwise.prune.dynamic import PredictedBlock, StaticBlock, masks_from, predicted_blocks, watching
from filterwise.prune.dynamic_macs import foreseen, image_macs, layer_costs, observe
from filterwise.prune.mass_masks import filter_scores, filters_on, mass_mask, uniform_mask
from filterwise.prune.static_filters import largest_filters
from filterwise.training.edits import Given, edits

put = edits.get("mask_predictors").function
STAGES = ((6, 1), (8, 2))


def images(count: int = 12, channels: int = 2, seed: int = 0) -> ImageSet:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (count, channels, 8, 8), dtype=torch.uint8, generator=generator)
    return ImageSet(pixels, torch.arange(count) % 3, ("a", "b", "c"))


def network(seed: int = 0, **options: object) -> nn.Module:
    """A small net with predictors whose answers differ from image to image."""
    net = build("vgg", labels=3, channels=2, size=8, seed=seed, stages=STAGES)
    put(net, Given(images(), 0), **{"r": 0.8, **options})
    generator = torch.Generator().manual_seed(seed + 100)
    with torch.no_grad():
        for block in predicted_blocks(net):
            block.predictor.weight.normal_(0, 20, generator=generator)
            block.predictor.bias.normal_(0, 1, generator=generator)
    return net.eval()


def by_hand(scores: list[float], r: float) -> list[bool]:
    """g of one image as the paper writes it: filters one by one, from the strongest down."""
    total = sum(scores)
    kept = [False] * len(scores)
    if total == 0:
        return kept
    if r == 1:
        return [score / total > 1e-5 for score in scores]
    mass = 0.0
    for place in sorted(range(len(scores)), key=lambda place: (-scores[place], place)):
        mass += scores[place] / total
        if mass > r + 1e-5:
            break
        kept[place] = True
    return kept


@pytest.mark.parametrize("r", [0.3, 0.7, 0.95, 1.0])
def test_mass_masks_are_those_taken_filter_by_filter(r: float) -> None:
    scores = torch.rand(40, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64).pow(3)
    scores[3] = 0  # a layer that fires nowhere
    scores[4, 2:] = 0  # most filters fire nowhere
    scores[5] = 1  # ties
    found = mass_mask(scores, r)
    assert found.tolist() == [by_hand(row, r) for row in scores.tolist()]
    if r < 1:
        shares = scores / scores.sum(1, keepdim=True).clamp_min(1e-12)
        assert ((shares * found).sum(1) <= r + 1e-5).all()
    assert len(set(found.sum(1).tolist())) > 1  # the number hangs on the image


def test_the_tolerance_keeps_a_mass_that_is_r_but_for_rounding() -> None:
    assert mass_mask(torch.full((1, 10), 0.1), 0.8).sum() == 8
    alone = torch.tensor([[0.95, 0.05]])
    assert mass_mask(alone, 0.9).tolist() == [[False, False]]
    assert mass_mask(torch.tensor([[1.0, 2e-5, 1e-6]]), 1.0).tolist() == [[True, True, False]]


@pytest.mark.parametrize("ratio", [0.0, 0.25, 0.5, 0.9])
def test_uniform_masks_drop_the_smallest_and_what_is_nothing(ratio: float) -> None:
    scores = torch.rand(20, 8, generator=torch.Generator().manual_seed(2)) + 0.1
    scores[7, :6] = 1e-6
    found = uniform_mask(scores, ratio)
    for row, mask in zip(scores, found, strict=True):
        largest = row.sort(descending=True).values[: 8 - round(8 * ratio)]
        assert set(row[mask].tolist()) == {value for value in largest.tolist() if value > 1e-5}


def test_scores_are_the_largest_modulus() -> None:
    maps = torch.tensor([[[[1.0, -3.0], [0.0, 2.0]]]])
    assert filter_scores(maps).tolist() == [[3.0]]


def test_the_floor_keeps_the_largest_logits_of_a_layer_that_is_all_off() -> None:
    logits = torch.randn(30, 10, generator=torch.Generator().manual_seed(3)) - 10
    mask = filters_on(logits, 0.25)
    assert (mask.sum(1) == math.ceil(0.25 * 10)).all()
    for row, kept in zip(logits, mask, strict=True):
        assert row[kept].min() > row[~kept].max()
    assert not filters_on(logits, 0.0).any()
    assert torch.equal(filters_on(-logits, 0.25), torch.ones_like(mask))  # adds nothing where enough are on


@pytest.mark.parametrize("pool", ["max", "average"])
def test_predictors_are_a_softmax_and_a_linear_map(pool: str) -> None:
    net = network(pool=pool)
    x = scale(images().images)
    with torch.no_grad(), watching(net) as seen:
        net(x)
    for one, block in zip(seen, predicted_blocks(net), strict=True):
        conv = nn.Conv2d(block.conv.in_channels, block.conv.out_channels, 1)
        conv.weight.data = block.predictor.weight.data[:, :, None, None]
        conv.bias.data = block.predictor.bias.data
        whole = x.flatten(2)
        if one.layer == "features.1":
            e = whole.amax(2) if pool == "max" else whole.mean(2)
            torch.testing.assert_close(one.pooled, e)
        want = conv(one.pooled.softmax(1)[:, :, None, None])[:, :, 0, 0]
        torch.testing.assert_close(one.logits, want)
        assert torch.equal(one.mask, filters_on(one.logits, 0.25))


def gathered(net: nn.Module, x: torch.Tensor, masks: dict[str, torch.Tensor]) -> tuple[torch.Tensor, int]:
    """Logits of one image, computing filters that are on from channels that are on alone; counted MACs."""
    on, macs = torch.ones(x.shape[1], dtype=torch.bool), 0
    for name, block in net.features.named_children():
        conv, mask = block.conv, masks.get(f"features.{name}", torch.ones(block.conv.out_channels)).bool()
        counter = FlopCounterMode(display=False)
        with counter:
            maps = F.conv2d(x[:, on], conv.weight[mask][:, on], conv.bias[mask], padding=1)
        macs += counter.get_total_flops() // 2
        bn = block.bn
        maps = F.batch_norm(maps, bn.running_mean[mask], bn.running_var[mask], bn.weight[mask], bn.bias[mask])
        x = torch.zeros(1, len(mask), *maps.shape[2:])
        x[:, mask] = maps.relu()
        x, on = block.pool(x), mask
    return net.classifier(x.flatten(1)), macs


@torch.no_grad()
def test_masks_cost_and_answer_what_a_gathered_computation_does() -> None:
    net, ds = network(layers=["features.1", "features.3"]), images()
    seen = observe(net, ds, device="cpu")
    assert [cost.predictor for cost in seen.costs] == [2 * 6, 0, 8 * 8]
    assert seen.masks["features.3"].float().std() > 0
    logits = net(scale(ds.images))
    for at in range(len(ds)):
        masks = {layer: mask[at] for layer, mask in seen.masks.items()}
        answer, macs = gathered(net, scale(ds.images[at : at + 1]), masks)
        torch.testing.assert_close(answer[0], logits[at], rtol=1e-4, atol=1e-5)
        assert macs == int(seen.macs[at].sum())
    whole = build("vgg", labels=3, channels=2, size=8, stages=STAGES)
    assert int(seen.full.sum()) == gathered(whole.eval(), scale(ds.images[:1]), {})[1]
    assert seen.share == pytest.approx(float(seen.macs.sum(1).double().mean() / seen.full.sum()))
    assert seen.predictor_share == pytest.approx((12 + 64) / int(seen.full.sum()))


@torch.no_grad()
def test_a_mask_sets_channels_to_zero_before_or_after_the_pool() -> None:
    net = network()
    block = predicted_blocks(net)[0]
    x = scale(images().images)
    with watching(net) as seen:
        out = block(x)
    mask = seen[0].mask
    assert (out.flatten(2).amax(2)[~mask] == 0).all()
    after = block.pool(block.relu(block.bn(block.conv(x)))) * mask[:, :, None, None]
    assert torch.equal(out, after)
    with masks_from(net, "all"):
        plain = build("vgg", labels=3, channels=2, size=8, stages=STAGES).eval()
        state = {name: value for name, value in net.state_dict().items() if "predictor" not in name}
        plain.load_state_dict(state)
        assert torch.equal(net(x), plain(x))


@torch.no_grad()
def test_ground_truth_in_place_of_the_predictors() -> None:
    net, ds = network(), images()
    before = copy.deepcopy(net.state_dict())
    seen = foreseen(net, ds, "cpu")
    assert all(torch.equal(seen.masks[layer], target) for layer, target in seen.targets.items())
    # the second layer's scores are those of inputs that are masked already
    first, second = predicted_blocks(net)[:2]
    x = first.relu(first.bn(first.conv(scale(ds.images))))
    x = first.pool(x * mass_mask(filter_scores(x), 0.8)[:, :, None, None])
    want = mass_mask(filter_scores(second.relu(second.bn(second.conv(x)))), 0.8)
    assert torch.equal(seen.targets["features.2"], want)
    assert all(block.source == "predicted" and block.seen is None for block in predicted_blocks(net))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_the_task_never_reaches_a_predictor_and_targets_have_no_gradient() -> None:
    net = network().train()
    with watching(net) as seen:
        net(scale(images().images)).square().sum().backward()
    assert all(
        weight.grad is None for block in predicted_blocks(net) for weight in block.predictor.parameters()
    )
    assert predicted_blocks(net)[0].conv.weight.grad is not None
    for one in seen:
        assert one.target.dtype == one.mask.dtype == torch.bool
        assert not one.logits.requires_grad


def test_the_edit_is_deterministic_and_names_weights_as_before() -> None:
    nets = []
    for _ in range(2):
        net = build("vgg", labels=3, channels=2, size=8, stages=STAGES)
        names, before = list(net.state_dict()), torch.get_rng_state()
        assert put(net, Given(images(), 0), uniform=0.5, bias=2.0, layers=["features.2"]) is None
        assert torch.equal(torch.get_rng_state(), before)
        assert [name for name in net.state_dict() if "predictor" not in name] == names
        nets.append(net)
    one, other = (net.state_dict() for net in nets)
    assert all(torch.equal(one[name], other[name]) for name in one)
    (block,) = predicted_blocks(nets[0])
    assert isinstance(block, PredictedBlock)
    assert block.layer == "features.2"
    with torch.no_grad(), watching(nets[0]) as seen:
        nets[0](scale(images().images))
    assert seen[0].mask.all()  # a bias above 0 leaves all filters on at first


def test_filters_with_the_largest_l1_norm_stay_and_others_are_silent() -> None:
    block = build("vgg", labels=3, channels=2, size=8, stages=STAGES).features[0]
    kept = largest_filters(block.conv.weight, 2)
    norms = block.conv.weight.detach().abs().sum((1, 2, 3))
    assert kept.sum() == 2
    assert norms[kept].min() > norms[~kept].max()
    out = StaticBlock(block.eval(), kept).eval()(torch.randn(3, 2, 8, 8))
    assert (out[:, ~kept] == 0).all()
    assert (out[:, kept] != 0).any()


def test_counts_are_quadratic_in_what_is_on() -> None:
    costs = layer_costs(build("vgg", labels=3, channels=2, size=8, stages=STAGES), (2, 8, 8))
    half = {cost.layer: torch.tensor([cost.filters // 2]) for cost in costs}
    full, found = image_macs(costs, {}, 1)[0], image_macs(costs, half, 1)[0]
    assert (full / found).tolist() == [2.0, 4.0, 4.0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "r=None and uniform=None: give one"),
        ({"r": 0.8, "uniform": 0.5}, "r=0.8 and uniform=0.5: give one"),
        ({"r": 0.0}, "r=0.0 is not allowed; it must be a share of the mass, above 0"),
        ({"r": 1.5}, "r=1.5 is not allowed"),
        ({"r": float("nan")}, "r=nan is not allowed"),
        ({"uniform": 1.0}, "uniform=1.0 is not allowed; it must be a share of the filters"),
        ({"r": 0.8, "pool": "maximum"}, "pool='maximum' is not known; choose from 'max', 'average'"),
        ({"r": 0.8, "floor": 1.5}, "floor=1.5 is not allowed"),
        ({"r": 0.8, "bias": float("inf")}, "bias=inf is not allowed"),
        ({"r": 0.8, "layers": ["feature.1"]}, r"did you mean 'features\.1'"),
        ({"r": 0.8, "layers": "features.1"}, r"give a list of names, such as \['features.1'\]"),
    ],
)
def test_wrong_options_are_refused_by_name(options: dict[str, object], message: str) -> None:
    net = build("vgg", labels=3, channels=2, size=8, stages=STAGES)
    with pytest.raises(ParameterError, match=message):
        put(net, Given(images(), 0), **options)
    assert not predicted_blocks(net)


def test_networks_that_have_no_blocks_are_refused() -> None:
    with pytest.raises(ParameterError, match="this is a Sequential"):
        put(nn.Sequential(nn.Conv2d(2, 3, 3)), Given(images(), 0), r=0.8)
    with pytest.raises(ParameterError, match="a FilterNet is needed"):
        layer_costs(nn.Sequential(nn.Conv2d(2, 3, 3)), (2, 8, 8))
    plain = build("vgg", labels=3, channels=2, size=8, stages=STAGES)
    with pytest.raises(ParameterError, match="no block has a predictor"):
        foreseen(plain, images())
    with pytest.raises(ParameterError, match="source='targets' is not known"), masks_from(plain, "targets"):
        pass
    twice = network()
    with pytest.raises(ParameterError, match="plain blocks"):
        put(twice, Given(images(), 0), r=0.8)
    for scores in (torch.zeros(3), torch.zeros(2, 3, dtype=torch.int64)):
        with pytest.raises(ParameterError, match="scores are"):
            mass_mask(scores, 0.5)
    assert dynamic.POOLINGS == ("max", "average")
