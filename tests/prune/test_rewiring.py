"""One update of a sparse layer, against the rule written out in loops; and how a layer begins."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from filterwise.data import ImageSet, load
from filterwise.errors import ParameterError
from filterwise.models import build
from filterwise.prune.masks import masks_of
from filterwise.prune.rewiring import ALGORITHMS, rewire, sparse, sparse_mask
from filterwise.training import Given


def drawn(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def layer(seed: int = 0, out: int = 9, inputs: int = 14) -> tuple[Tensor, Tensor, Tensor]:
    generator = drawn(seed)
    mask = torch.rand(out, inputs, generator=generator) < 0.4
    weight = torch.randn(out, inputs, generator=generator) * mask
    return weight, mask, torch.rand(out, inputs, generator=generator)


def core_by_hand(score: Tensor, zeta: float) -> set[tuple[int, int]]:
    """Of each sign all but the int(zeta n) values closest to zero."""
    kept = set()
    for sign in (1, -1):
        own = [
            (abs(float(score[j, i])), j, i)
            for j in range(score.shape[0])
            for i in range(score.shape[1])
            if sign * float(score[j, i]) > 0
        ]
        kept |= {(j, i) for _, j, i in sorted(own)[int(zeta * len(own)) :]}
    return kept


def places(mask: Tensor) -> set[tuple[int, int]]:
    return {(int(j), int(i)) for j, i in mask.nonzero()}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("zeta", [0.1, 0.3, 1.0])
def test_an_update_is_what_the_rule_says(algorithm: str, zeta: float) -> None:
    weight, mask, S = layer()
    found = rewire(weight, mask, S, algorithm, zeta, drawn(1))
    core = core_by_hand(weight * S if "R" in algorithm.removesuffix("SET") else weight, zeta)
    assert places(found.core) == core
    assert core <= places(found.mask)
    assert int(found.mask.sum()) == int(mask.sum())
    if "DA" in algorithm:
        empty = sorted((-float(S[j, i]), j, i) for j, i in places(torch.ones_like(mask)) - core)
        wanted = {(j, i) for _, j, i in empty[: int(mask.sum()) - len(core)]}
        assert places(found.mask) - core == wanted


def test_what_was_lost_can_come_back_and_begins_at_zero() -> None:
    weight = torch.tensor([[1.0, 2.0, 3.0, 0.0]])
    S = torch.tensor([[0.9, 0.1, 0.1, 0.2]])
    found = rewire(weight, weight != 0, S, "CoDASET", 0.4, drawn(0))
    assert found.core.tolist() == [[False, True, True, False]]
    assert found.mask.tolist() == [[True, True, True, False]]
    assert (weight * found.core).tolist() == [[0.0, 2.0, 3.0, 0.0]]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_connections_keep_their_number_through_many_updates(algorithm: str) -> None:
    weight, mask, S = layer(3)
    before, generator, seen = int(mask.sum()), drawn(4), torch.zeros_like(mask)
    for _ in range(100):
        found = rewire(weight, mask, S, algorithm, 0.3, generator)
        weight, mask = weight * found.core, found.mask
        assert int(mask.sum()) == before
        assert not (found.core & ~mask).any()
        assert (weight[~mask] == 0).all()
        seen |= mask
        weight = weight + torch.randn(weight.shape, generator=generator) * mask
        S = torch.rand(S.shape, generator=generator)
    assert seen.sum() > before


def test_weights_and_similarities_of_zero_are_lost() -> None:
    weight, mask, S = layer(5)
    at = mask.nonzero()[0]
    weight[at[0], at[1]] = 0
    assert not rewire(weight, mask, None, "SET", 0.01, drawn(0)).core[at[0], at[1]]
    S[:, 2] = 0  # an input that is silent
    found = rewire(weight, mask, S, "CoDACoRSET", 0.01, drawn(0))
    assert mask[:, 2].any()
    assert not found.core[:, 2].any()
    assert not found.mask[:, 2].any()


def test_a_layer_without_any_similarity_still_keeps_its_number() -> None:
    weight, mask, S = layer(6)
    for algorithm in ALGORITHMS:
        found = rewire(weight, mask, torch.zeros_like(S), algorithm, 0.3, drawn(0))
        assert found.mask.sum() == mask.sum()


def counts_of_new(algorithm: str, S: Tensor, draws: int = 4000) -> np.ndarray:
    """How often each empty position is taken when exactly one is."""
    weight = torch.zeros(S.shape)
    weight[0, :4] = torch.tensor([1.0, 2.0, 3.0, 4.0])
    generator, found = drawn(7), np.zeros(S.shape)
    for _ in range(draws):
        update = rewire(weight, weight != 0, S, algorithm, 0.25, generator)
        assert int((update.mask & ~update.core).sum()) == 1
        found += (update.mask & ~update.core).numpy()
    return found / draws


def test_new_connections_are_drawn_as_the_algorithm_says() -> None:
    _, _, S = layer(8, 2, 5)
    empty = np.ones((2, 5), dtype=bool)
    empty[0, 1:4] = False  # the core
    even = np.where(empty, 1 / empty.sum(), 0)
    likely = np.where(empty, S.numpy(), 0) / S.numpy()[empty].sum()
    for algorithm, expected in (("SET", even), ("CoPASET", likely)):
        found = counts_of_new(algorithm, S)
        error = np.sqrt(expected * (1 - expected) / 4000)
        assert (np.abs(found - expected) <= 5 * error).all(), algorithm


def test_positions_without_similarity_are_taken_last_and_then_by_chance() -> None:
    S = torch.zeros(1, 12)
    S[0, 4:7] = 0.5
    weight = torch.zeros(1, 12)
    weight[0, :4] = torch.tensor([1.0, 2.0, 3.0, 4.0])
    taken = torch.zeros(12)
    for seed in range(200):
        new = rewire(weight, weight != 0, S, "CoPASET", 1.0, drawn(seed)).mask[0]
        assert new[4:7].all()
        taken += new
    assert (taken[[0, 1, 2, 3, 7, 8, 9, 10, 11]] > 0).all()  # one of nine, 200 times


def test_chance_comes_from_the_generator_alone() -> None:
    weight, mask, S = layer()
    state = torch.get_rng_state()
    one, two, other = (rewire(weight, mask, S, "CoPASET", 0.5, drawn(seed)).mask for seed in (1, 1, 2))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"algorithm": "CoDASE"}, "algorithm='CoDASE' is not known; .* did you mean 'CoDASET'"),
        ({"zeta": 0.0}, "zeta=0.0 is not allowed; it must be a finite number above 0"),
        ({"zeta": 1.5}, "zeta=1.5 is not allowed; it must be above 0 and at most 1"),
        ({"mask": torch.ones(9, 14)}, "mask is torch.float32 .*torch.bool"),
        ({"mask": torch.ones(9, 13, dtype=torch.bool)}, r"\(9, 13\); torch.bool \(9, 14\) is needed"),
        ({"similarity": None}, "algorithm='CoDASET' needs a similarity"),
        ({"similarity": torch.ones(14, 9)}, r"similarity has shape \(14, 9\); \(9, 14\)"),
        ({"similarity": -torch.ones(9, 14)}, "no value below 0"),
        ({"weight": torch.zeros(9, 14, 1)}, "weight has shape"),
    ],
)
def test_refusals(changes: dict, message: str) -> None:
    weight, mask, S = layer()
    given = {"weight": weight, "mask": mask, "similarity": S, "algorithm": "CoDASET", "zeta": 0.3, **changes}
    with pytest.raises(ParameterError, match=message):
        rewire(**given, generator=drawn(0))


def test_sparse_masks_have_the_number_that_was_asked_for() -> None:
    n_in, n_out, epsilon = 300, 200, 10
    p = epsilon * (n_in + n_out) / (n_in * n_out)
    total = sum(int(sparse_mask(n_in, n_out, drawn(seed), epsilon=epsilon).sum()) for seed in range(20))
    tries = 20 * n_in * n_out
    assert abs(total - p * tries) < 5 * (tries * p * (1 - p)) ** 0.5
    assert sparse_mask(4, 3, drawn(0), epsilon=50).all()
    assert int(sparse_mask(30, 20, drawn(0), density=0.21).sum()) == 126
    assert int(sparse_mask(30, 20, drawn(0), count=7).sum()) == 7


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "nothing given; one of epsilon, density and count"),
        ({"epsilon": 1.0, "count": 3}, "epsilon, count given; one of"),
        ({"density": 1.2}, "density=1.2 is not allowed"),
        ({"density": 0}, "density=0 is not allowed"),
        ({"count": 13}, "count=13 is not allowed; a layer of 4 inputs and 3 outputs has 12"),
        ({"epsilon": -1}, "epsilon=-1"),
    ],
)
def test_refusals_of_a_beginning(given: dict, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        sparse_mask(4, 3, drawn(0), **given)


def images(count: int = 40) -> ImageSet:
    return load("madelon", n=count, noise_features=10)


def network() -> nn.Module:
    return build("mlp", labels=2, channels=30, size=1, hidden=(12, 8))


def test_the_edit_masks_all_linear_layers_but_the_last() -> None:
    net, dense, given = network(), network(), Given(images(), seed=3)
    sparse(net, given, density=0.25)
    masks = masks_of(net)
    assert {name: int(mask.sum()) for name, mask in masks.items()} == {
        "hidden.1.linear": 90,
        "hidden.2.linear": 24,
    }
    assert torch.equal(net.hidden[0].linear.weight, dense.hidden[0].linear.weight * masks["hidden.1.linear"])
    again, other = network(), network()
    sparse(again, given, density=0.25)
    sparse(other, Given(images(), seed=4), density=0.25)
    assert all(torch.equal(mask, masks_of(again)[name]) for name, mask in masks.items())
    assert any(not torch.equal(mask, masks_of(other)[name]) for name, mask in masks.items())


def test_which_connections_there_are_hangs_on_no_weight() -> None:
    """Weights and masks of one seed come from streams of their own."""
    net = build("mlp", labels=2, channels=500, size=1)
    weight = net.hidden[0].linear.weight.detach().clone()
    sparse(net, Given(images(), seed=0), density=0.3)
    mask = masks_of(net)["hidden.1.linear"]
    error = (weight.var() / mask.sum()) ** 0.5
    assert abs(float(weight[mask].mean() - weight.mean())) < 5 * float(error)


def test_layers_and_counts_of_the_edit() -> None:
    net = network()
    sparse(net, Given(images(), seed=0), layers=["hidden.2", "classifier"], counts=[5, 3])
    assert {name: int(mask.sum()) for name, mask in masks_of(net).items()} == {
        "hidden.2.linear": 5,
        "classifier": 3,
    }
    whole = network()
    sparse(whole, Given(images(), seed=0), density=1.0)
    assert masks_of(whole) == {}


def test_standardised_inputs() -> None:
    net, ds = network(), images()
    ds.images[:, 7] = 200  # a feature that never changes
    sparse(net, Given(ds, seed=0), density=1.0, standardise=True)
    z = net.inputs((ds.images.float() / 127.5 - 1).flatten(1)).double()
    expected = ds.images.flatten(1).numpy().astype(np.float64)
    deviation = expected.std(0)
    deviation[7] = 1
    expected = (expected - expected.mean(0)) / deviation
    assert np.abs(z.numpy() - expected).max() < 1e-4
    assert (z[:, 7] == 0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": "hidden.3", "density": 0.5}, "layer 'hidden.3' is not in this network; did you mean"),
        ({"counts": [3]}, "counts has 1 numbers for 2 layers: hidden.1.linear, hidden.2.linear"),
        ({}, "nothing given; one of epsilon, density and count"),
        ({"density": 0.5, "standardise": 1}, "standardise=1 is not allowed"),
    ],
)
def test_refusals_of_the_edit(options: dict, message: str) -> None:
    net = network()
    with pytest.raises(ParameterError, match=message):
        sparse(net, Given(images(), seed=0), **options)
    assert masks_of(net) == {}


def test_networks_that_cannot_be_made_sparse() -> None:
    ds = images()
    with pytest.raises(ParameterError, match="finds 1 linear layers and leaves the last one dense"):
        sparse(nn.Sequential(nn.Flatten(), nn.Linear(30, 2)), Given(ds, seed=0), density=0.5)
    two = nn.Sequential(nn.Linear(30, 4), nn.Linear(4, 2))
    with pytest.raises(ParameterError, match="standardise=True needs a network with inputs"):
        sparse(two, Given(ds, seed=0), density=0.5, standardise=True)
