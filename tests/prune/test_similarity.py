"""The similarity of neurons, against its definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from filterwise.errors import ParameterError
from filterwise.models import build
from filterwise.prune.similarity import CosineSums, cosine_similarity, layer_similarities


def by_definition(below: np.ndarray, above: np.ndarray) -> np.ndarray:
    found = np.zeros((above.shape[1], below.shape[1]))
    for j in range(above.shape[1]):
        for i in range(below.shape[1]):
            norms = np.linalg.norm(above[:, j]) * np.linalg.norm(below[:, i])
            found[j, i] = abs(above[:, j] @ below[:, i]) / norms if norms else 0
    return found


def activations(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    below = torch.randn(50, 7, generator=generator) + 0.5
    above = torch.randn(50, 4, generator=generator).relu()
    below[:, 2], above[:, 1] = 0, 0  # dead neurons
    return below, above


def test_similarity_is_its_definition() -> None:
    below, above = activations()
    found = cosine_similarity(below, above)
    expected = by_definition(below.double().numpy(), above.double().numpy())
    assert np.abs(found.numpy() - expected).max() < 1e-6
    assert (found[1] == 0).all()
    assert (found[:, 2] == 0).all()


def test_parts_add_up_to_the_whole() -> None:
    below, above = (each.double() for each in activations())
    sums = CosineSums()
    for one, two in zip(below.split(13), above.split(13), strict=True):
        sums.add(one, two)
    torch.testing.assert_close(sums.similarity(), cosine_similarity(below, above), rtol=1e-12, atol=1e-14)


def test_similarity_is_not_centred_and_at_most_one() -> None:
    constant = torch.full((6, 1), 0.3)
    assert cosine_similarity(constant, -constant).tolist() == [[1.0]]


def test_refusals() -> None:
    with pytest.raises(ParameterError, match="no images"):
        CosineSums().similarity()
    with pytest.raises(ParameterError, match=r"inputs \(3, 2\) and outputs \(4, 2\)"):
        cosine_similarity(torch.zeros(3, 2), torch.zeros(4, 2))
    sums = CosineSums()
    sums.add(torch.zeros(3, 2), torch.zeros(3, 4))
    with pytest.raises(ParameterError, match="a batch of 5 inputs and 4 outputs after batches of 2 and 4"):
        sums.add(torch.zeros(3, 5), torch.zeros(3, 4))


def test_layers_are_compared_before_their_activations_and_without_dropout() -> None:
    net = build("mlp", labels=3, channels=10, size=1, hidden=(8, 6), dropout=0.5)
    net.hidden[1].eval()
    images = torch.randn(600, 10, 1, 1, generator=torch.Generator().manual_seed(0))
    found = layer_similarities(net, ["hidden.1.linear", "hidden.2.linear", "classifier"], images)
    assert net.training
    assert not net.hidden[1].training
    with torch.no_grad():
        x = images.flatten(1)
        one = net.hidden[0].linear(x)
        two = net.hidden[1].linear(net.hidden[0].activation(one))
        top = net.classifier(net.hidden[1].activation(two))
    expected = (cosine_similarity(x, one), cosine_similarity(one, two), cosine_similarity(two, top))
    for mine, wanted in zip(found.values(), expected, strict=True):
        torch.testing.assert_close(mine, wanted, rtol=1e-4, atol=1e-5)


def test_an_activation_in_place_changes_nothing() -> None:
    def net(inplace: bool) -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(6, 5), nn.ReLU(inplace=inplace), nn.Linear(5, 4))

    images = torch.randn(20, 6, 1, 1)
    plain, in_place = (layer_similarities(net(inplace), ["1", "3"], images) for inplace in (False, True))
    assert all(torch.equal(plain[name], in_place[name]) for name in plain)


def test_where_the_layer_before_has_other_nodes_the_inputs_count() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(6, 8), nn.GLU(), nn.Linear(4, 3))
    images = torch.randn(20, 6, 1, 1)
    found = layer_similarities(net, ["3"], images)["3"]
    with torch.no_grad():
        given = net[:3](images)
        torch.testing.assert_close(found, cosine_similarity(given, net[3](given)))


def test_layers_that_cannot_be_compared() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(6, 3))
    with pytest.raises(ParameterError, match=r"layer='2' is not known; choose from '1'"):
        layer_similarities(net, ["2"], torch.zeros(4, 6, 1, 1))
    with pytest.raises(ParameterError, match="no images"):
        layer_similarities(net, ["1"], torch.zeros(0, 6, 1, 1))
