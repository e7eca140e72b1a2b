"""Masks are exactly what they say, stay through training, and come back with a stored state."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import filterwise as fw
from filterwise.errors import ParameterError
from filterwise.prune.masks import apply, masks_of, rebuild


def tiny() -> nn.Sequential:
    torch.manual_seed(0)
    block = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
    return nn.Sequential(block, nn.Flatten(), nn.Linear(4 * 16, 3))


def random_mask(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < 0.5


def test_weights_are_masked_and_nothing_else() -> None:
    net, dense = tiny(), tiny()
    kernels, single = random_mask(4, 2), random_mask(3, 64, seed=1)
    assert fw.prune.apply(net, {"0": kernels, "2": single}) is net
    assert torch.equal(net[0][0].weight, dense[0][0].weight * kernels[:, :, None, None])
    assert torch.equal(net[2].weight, dense[2].weight * single)
    assert torch.equal(net[0][0].bias, dense[0][0].bias)
    found = masks_of(net)
    assert list(found) == ["0.0", "2"]
    assert torch.equal(found["0.0"], kernels[:, :, None, None].expand(4, 2, 3, 3))
    assert torch.equal(found["2"], single)


def test_mask_of_single_weights_of_a_convolution() -> None:
    net, mask = tiny(), random_mask(4, 2, 3, 3)
    apply(net, {"0.0": mask})
    assert torch.equal(net[0][0].weight != 0, mask)


def test_masks_act_in_the_forward_pass_as_zeros_would() -> None:
    net, by_hand = tiny().eval(), tiny().eval()
    mask = random_mask(4, 2)
    with torch.no_grad():
        by_hand[0][0].weight[~mask] = 0
        images = torch.randn(5, 2, 4, 4)
        assert torch.equal(apply(net, {"0": mask})(images), by_hand(images))


def test_a_second_mask_intersects() -> None:
    net, first, second = tiny(), random_mask(3, 64), random_mask(3, 64, seed=1)
    apply(apply(net, {"2": first}), {"2": second})
    assert torch.equal(masks_of(net)["2"], first & second)
    apply(net, {"2": torch.ones(3, 64, dtype=torch.bool)})
    assert torch.equal(net[2].weight != 0, first & second)


def test_masked_weights_stay_zero_under_momentum_and_weight_decay() -> None:
    net, mask = tiny(), random_mask(3, 64)
    images, labels = torch.randn(6, 2, 4, 4), torch.arange(6) % 3
    apply(net, {"2": mask})
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1, nesterov=True)
    before = net[2].weight.detach().clone()
    for _ in range(3):
        optimiser.zero_grad()
        nn.functional.cross_entropy(net(images), labels).backward()
        optimiser.step()
    net(images)
    assert (net[2].weight[~mask] == 0).all()
    assert (net[2].weight[mask] != before[mask]).all()


def test_stored_state_comes_back_with_its_masks() -> None:
    net = apply(tiny(), {"0": random_mask(4, 2), "2": random_mask(3, 64)})
    state = {name: value.clone() for name, value in net.state_dict().items()}
    again = rebuild(tiny(), state)
    assert set(masks_of(again)) == {"0.0", "2"}
    assert all(mask.all() for mask in masks_of(again).values())  # nothing is removed before the state is in
    with torch.no_grad():
        for value in again.parameters():
            value.zero_()
    again.load_state_dict(state)
    images = torch.randn(5, 2, 4, 4)
    assert torch.equal(again.eval()(images), net.eval()(images))
    assert all(torch.equal(masks_of(again)[layer], mask) for layer, mask in masks_of(net).items())
    assert rebuild(again, state) is again  # masks that are there stay as they are
    assert torch.equal(masks_of(again)["2"], masks_of(net)["2"])
    assert not masks_of(rebuild(tiny(), tiny().state_dict()))


def test_a_network_that_is_one_layer() -> None:
    mask = random_mask(2, 3)
    net = apply(nn.Linear(3, 2), {"": mask})
    assert torch.equal(masks_of(rebuild(nn.Linear(3, 2), net.state_dict()))[""], torch.ones_like(mask))
    assert torch.equal(masks_of(net)[""], mask)


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        ({"0": random_mask(2, 4)}, r"layer '0' has shape \(2, 4\); \(4, 2, 3, 3\) or \(4, 2\) is needed"),
        ({"2": random_mask(64)}, r"layer '2' has shape \(64,\); \(3, 64\) is needed"),
        ({"2": torch.ones(3, 64)}, "dtype torch.float32"),
        ({"1": random_mask(3, 64)}, "no layer with weights"),
        ({"0.1": random_mask(4, 1)}, "no layer with weights"),
        ({"": random_mask(4, 2)}, r"2 layers with weights: 0\.0, 2"),
        ({"0.00": random_mask(4, 2)}, r"did you mean '0\.0'"),
    ],
)
def test_what_does_not_fit_is_named_and_leaves_no_mask(masks: dict[str, Tensor], message: str) -> None:
    net = tiny()
    with pytest.raises(ParameterError, match=message):
        apply(net, {"0.0": random_mask(4, 2), **masks})
    assert not masks_of(net)


def test_state_of_another_network_is_refused() -> None:
    with pytest.raises(ParameterError, match="layer '5' is not in this network"):
        rebuild(tiny(), ["5.weight_mask"])
    with pytest.raises(ParameterError, match="'0', which has no weights"):
        rebuild(tiny(), ["0.weight_mask"])
