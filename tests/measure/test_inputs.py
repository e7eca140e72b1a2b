"""Single-filter answers against loops over inputs and filters."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from filterwise.data import ImageSet, scale
from filterwise.errors import ParameterError
from filterwise.measure import HEAD_RECIPE, input_fields, probe_heads

LABELS = 4


@pytest.fixture
def net() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(6 * 9, 7), nn.ReLU()
    )


@pytest.fixture
def ds() -> ImageSet:
    generator = torch.Generator().manual_seed(2)
    images = torch.randint(0, 256, (50, 1, 8, 8), generator=generator, dtype=torch.uint8)
    return ImageSet(images, torch.arange(50) % LABELS, tuple("abcd"), "random")


@pytest.fixture
def weights() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    return {
        "2": torch.randn(LABELS, 6, 9, generator=generator),
        "5": torch.randn(LABELS, 7, generator=generator),
    }


@pytest.mark.parametrize("chunk", [1, 10**9])
def test_equals_loops(
    net: nn.Sequential,
    ds: ImageSet,
    weights: dict[str, torch.Tensor],
    chunk: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("filterwise.measure.inputs.CHUNK_FIELDS", chunk)
    found = input_fields(net, weights, ds, batch=16)
    for layer, upto in (("2", 3), ("5", 6)):
        outputs = net[:upto](scale(ds.images)).detach()
        outputs = outputs.reshape(50, outputs.shape[1], -1)
        answers = found[layer]
        for f in range(outputs.shape[1]):
            W = weights[layer].reshape(LABELS, outputs.shape[1], -1)[:, f]
            chosen, silent, right = [0] * LABELS, 0, 0
            for n in range(50):
                z = [float(W[j] @ outputs[n, f]) for j in range(LABELS)]
                if len(set(z)) == 1:
                    silent += 1
                    continue
                answer = z.index(max(z))
                chosen[answer] += 1
                right += answer == int(ds.labels[n])
            assert answers.chosen[f].tolist() == chosen
            assert int(answers.silent[f]) == silent
            assert float(answers.accuracy[f]) == pytest.approx((right + silent / LABELS) / 50)
            assert float(answers.preferred_share[f]) == pytest.approx(max(chosen) / 50)
            if silent < 50:
                assert int(answers.preferred[f]) == chosen.index(max(chosen))
                assert float(answers.preferred_share_active[f]) == pytest.approx(max(chosen) / (50 - silent))
            assert float(answers.active_share[f]) == pytest.approx(1 - silent / 50)


def test_other_types_of_weights(net: nn.Sequential, ds: ImageSet, weights: dict[str, torch.Tensor]) -> None:
    expected = input_fields(net, {"2": weights["2"]}, ds)["2"]
    found = input_fields(net.double(), {"2": weights["2"].double()}, ds)["2"]
    assert torch.equal(found.chosen, expected.chosen)


def test_one_position_answers_every_active_input_alike(
    net: nn.Sequential, ds: ImageSet, weights: dict[str, torch.Tensor]
) -> None:
    answers = input_fields(net, {"5": weights["5"]}, ds)["5"]
    active = answers.active_share > 0
    assert active.any()
    assert (answers.preferred_share_active[active] == 1).all()
    assert torch.equal(answers.preferred[active], weights["5"].argmax(dim=0)[active])


def test_dead_filter_invents_no_answer(ds: ImageSet) -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 8), nn.ReLU())
    with torch.no_grad():
        net[0].weight.zero_()
        net[0].bias.copy_(torch.tensor([-1.0, 1.0]))
    answers = input_fields(net, {"1": torch.tensor([[1.0, 1.0], [0, 3], [0, 2], [0, 0]])}, ds)["1"]
    assert answers.active_share.tolist() == [0, 1]
    assert answers.preferred_share.tolist() == [0, 1]
    assert math.isnan(answers.preferred_share_active[0])
    assert float(answers.accuracy[0]) == 1 / LABELS
    assert int(answers.preferred[1]) == 1
    assert float(answers.accuracy[1]) == pytest.approx(float((ds.labels == 1).double().mean()))
    assert answers.table().shape == (2, 5)


def test_takes_heads_and_their_pool(ds: ImageSet) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU())
    recipe = HEAD_RECIPE.replace(epochs=1)
    heads = probe_heads(net, "1", ds, ds, recipe, pool=2)  # 6x6 maps to 2x2
    answers = input_fields(net, heads, ds)["1"]
    assert torch.equal(answers.chosen, input_fields(net, {"1": heads["1"].weight}, ds, pool=2)["1"].chosen)
    with pytest.raises(ParameterError, match="pool=1"):
        input_fields(net, heads, ds, pool=1)
    with pytest.raises(ParameterError, match="does not fit"):
        input_fields(net, {"1": heads["1"].weight}, ds)
