"""Magnitude masks against sorted lists, and as an edit of a run."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from filterwise.data import ImageSet
from filterwise.errors import ParameterError
from filterwise.prune import largest, masks_of
from filterwise.training.edits import Given, edits

GIVEN = Given(ImageSet(torch.zeros(1, 2, 4, 4, dtype=torch.uint8), torch.tensor([0]), ("a",)), seed=0)


@pytest.mark.parametrize("keep", [0.01, 0.3, 0.75, 1.0])
def test_the_largest_stay_and_exactly_so_many(keep: float) -> None:
    weight = torch.randn(7, 5, 3, 3, generator=torch.Generator().manual_seed(0))
    mask = largest(weight, keep)
    assert int(mask.sum()) == max(1, round(keep * 315))
    assert keep == 1 or weight[mask].abs().min() > weight[~mask].abs().max()
    kernels = largest(weight, keep, kernels=True)
    norms = weight.square().sum(dim=(2, 3)).sqrt()
    assert kernels.shape == (7, 5)
    assert int(kernels.sum()) == max(1, round(keep * 35))
    assert keep == 1 or norms[kernels].min() > norms[~kernels].max()


def test_equal_weights_are_kept_from_the_first_on() -> None:
    assert largest(torch.ones(2, 4), 0.5).tolist() == [[True] * 4, [False] * 4]
    assert torch.equal(largest(torch.ones(2, 4), 0.25, kernels=True), largest(torch.ones(2, 4), 0.25))


def test_the_edit_masks_each_layer_by_itself() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU()), nn.Flatten(), nn.Linear(16, 3))
    with torch.no_grad():
        net[2].weight.mul_(1000)  # a threshold over both layers would take the first one only
    edit = edits.get("magnitude").function
    assert edit(net, GIVEN, layers=["0", "2"], keep=0.25) is None
    masks = masks_of(net)
    assert {layer: int(mask.sum()) for layer, mask in masks.items()} == {"0.0": 18, "2": 12}
    assert torch.equal(masks["2"], largest(net[2].weight_orig, 0.25))
    edit(net, GIVEN, layers="0", keep=0.125)
    assert int(masks_of(net)["0.0"].sum()) == 9
    assert (masks_of(net)["0.0"] <= masks["0.0"]).all()


def test_whole_kernels() -> None:
    net = nn.Sequential(nn.Conv2d(2, 4, 3))
    edits.get("magnitude").function(net, GIVEN, layers="0", keep=0.5, kernels=True)
    mask = masks_of(net)["0"].flatten(2)
    assert (mask.all(dim=2) == mask.any(dim=2)).all()
    assert int(mask.any(dim=2).sum()) == 4


@pytest.mark.parametrize("keep", [0.0, 1.5, float("nan")])
def test_shares_are_checked(keep: float) -> None:
    with pytest.raises(ParameterError, match="keep="):
        largest(torch.ones(2, 2), keep)
