"""Heads and random groups of nodes: brute force, planted experts, and what cannot be told apart."""

import itertools

import numpy as np
import pytest
import torch

from filterwise.errors import FilterwiseError
from filterwise.measure import head_groups
from filterwise.measure.clustering import clusters
from filterwise.measure.fields import clip, head_fields, label_fields
from filterwise.measure.token_heads import Reading, TokenHead
from filterwise.prune.filter_labels import label_sets

LABELS, NODES, HEADS = 6, 8, 4


def reading(z, weight, labels=None, count=LABELS):
    """A reading with these pooled nodes (N, d) and weights (K, d)."""
    labels = torch.arange(len(z)) % count if labels is None else labels
    mu = torch.stack([z[labels == label].mean(0) for label in range(count)])
    nothing = torch.zeros(z.shape[1])
    right = (z @ weight.T).argmax(1) == labels
    per_label = torch.stack([right[labels == label].float().mean() for label in range(count)])
    head = TokenHead("encoders.1", nothing + 1, nothing, nothing, weight)
    return Reading(head, z, labels, mu, float(right.float().mean()), per_label)


@pytest.fixture
def any_reading():
    draw = torch.Generator().manual_seed(3)
    return reading(torch.randn(120, NODES, generator=draw), torch.randn(LABELS, NODES, generator=draw))


@pytest.fixture
def planted():
    """Head h alone knows the labels h and h + 4 of eight: its two nodes are on for one of them each."""
    labels = torch.arange(400) % 8
    draw = torch.Generator().manual_seed(0)
    z = 0.05 * torch.randn(400, 8, generator=draw)
    node = 2 * (labels % HEADS) + labels // HEADS
    z[torch.arange(400), node] += 1
    weight = torch.zeros(8, 8)
    for label in range(8):
        weight[label, 2 * (label % HEADS) + label // HEADS] = 1.0
    return reading(z, weight, labels, 8)


def test_own_groups_are_the_neighbouring_nodes_of_a_head():
    assert head_groups.own_groups(6, 3).tolist() == [[0, 1], [2, 3], [4, 5]]


def test_random_groups_deal_every_node_once():
    draw = torch.Generator().manual_seed(1)
    dealt = head_groups.random_groups(12, 3, draw)
    assert dealt.shape == (3, 4)
    assert sorted(dealt.flatten().tolist()) == list(range(12))
    assert dealt.tolist() != head_groups.random_groups(12, 3, draw).tolist()


@pytest.mark.parametrize(
    "function", [head_groups.own_groups, lambda d, h: head_groups.random_groups(d, h, None)]
)
def test_heads_that_do_not_divide_the_nodes_are_refused(function):
    with pytest.raises(FilterwiseError, match=r"heads=5 does not divide d=8; near it are"):
        function(8, 5)


def test_matrices_of_own_groups_are_those_of_heads(any_reading):
    found = head_groups.group_fields(any_reading, head_groups.own_groups(NODES, HEADS))
    wanted = head_fields(any_reading.mu, any_reading.weight, HEADS)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(any_reading.head_fields(HEADS), wanted)


def test_matrices_of_any_groups_are_sums_over_their_nodes_and_add_up_to_the_whole(any_reading):
    groups = head_groups.random_groups(NODES, HEADS, torch.Generator().manual_seed(5))
    found, nodes = head_groups.group_fields(any_reading, groups), any_reading.node_fields()
    for members, M in zip(groups, found, strict=True):
        torch.testing.assert_close(M, nodes[members].sum(0))
    torch.testing.assert_close(found.sum(0), any_reading.mu @ any_reading.weight.T)


def test_accuracies_of_groups_equal_silencing_the_other_nodes(any_reading, monkeypatch):
    monkeypatch.setattr(head_groups, "CHUNK", 7 * HEADS * LABELS)  # more than one chunk
    groups = head_groups.random_groups(NODES, HEADS, torch.Generator().manual_seed(2))
    found = head_groups.group_accuracies(any_reading, groups)
    for (h, members), label in itertools.product(enumerate(groups), range(LABELS)):
        silenced = torch.zeros_like(any_reading.z)
        silenced[:, members] = any_reading.z[:, members]
        own = any_reading.labels == label
        answers = (silenced @ any_reading.weight.T).argmax(1)
        assert found[h, label] == pytest.approx(float((answers[own] == label).float().mean()))


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7])
def test_label_sets_of_nodes_equal_those_of_their_matrices(any_reading, threshold):
    found = head_groups.node_sets(any_reading, threshold)
    assert torch.equal(found, label_sets(any_reading.node_fields(), threshold))


def test_a_node_without_a_positive_field_stands_for_no_label():
    z = torch.tensor([[1.0], [2.0]])
    one = reading(z, torch.tensor([[-1.0], [-0.5]]), count=2)
    assert not head_groups.node_sets(one).any()
    assert torch.equal(head_groups.node_sets(one), label_sets(one.node_fields()))


def test_votes_count_nodes_and_fields_are_diagonals(any_reading):
    groups = head_groups.own_groups(NODES, HEADS)
    sets = head_groups.node_sets(any_reading)
    votes = head_groups.belonging(any_reading, groups, "votes")
    assert votes[1].tolist() == (sets[2].int() + sets[3].int()).tolist()
    fields = head_groups.belonging(any_reading, groups, "field")
    torch.testing.assert_close(fields[2], any_reading.head_fields(HEADS)[2].diagonal())


def test_an_unknown_quantity_names_the_near_miss(any_reading):
    with pytest.raises(FilterwiseError, match=r"by='vote' is not known; .*did you mean 'votes'"):
        head_groups.belonging(any_reading, head_groups.own_groups(NODES, HEADS), "vote")


def test_experts_by_single_nodes_are_no_more_than_random_groups(planted):
    """One node a label: any two nodes know two labels, so heads have owners, and nothing beyond chance."""

    def gap(groups):
        return head_groups.specialisation(head_groups.group_accuracies(planted, groups))

    found = head_groups.against_random(gap, planted, HEADS, draws=60)
    assert found["value"] == pytest.approx(found["null"], abs=0.05)
    assert found["value"] > 0.5
    owner = head_groups.owners(head_groups.group_accuracies(planted, head_groups.own_groups(8, HEADS)))
    assert owner.tolist() == [0, 1, 2, 3, 0, 1, 2, 3]


def test_experts_by_cooperation_are_found_and_random_groups_of_the_same_nodes_are_none():
    """Two nodes of a head together tell its two labels; each node of another head is of no use to it."""
    labels = torch.arange(800) % 8
    draw = torch.Generator().manual_seed(0)
    z = torch.zeros(800, 8)
    weight = torch.zeros(8, 8)
    for h in range(4):
        common = torch.randn(800, generator=draw)  # noise that only these two nodes cancel
        signal = (labels == h).float() - (labels == h + 4).float()
        z[:, 2 * h], z[:, 2 * h + 1] = 3 * common + signal, -3 * common + signal
        weight[h, 2 * h : 2 * h + 2], weight[h + 4, 2 * h : 2 * h + 2] = 1.0, -1.0
    one = reading(z, weight, labels, 8)

    def gap(groups):
        return head_groups.specialisation(head_groups.group_accuracies(one, groups))

    found = head_groups.against_random(gap, one, 4, draws=60, seed=1)
    assert found["z"] > 3
    again = head_groups.against_random(gap, one, 4, draws=60, seed=1)
    assert found == again


def test_one_draw_gives_no_spread(any_reading):
    with pytest.raises(FilterwiseError, match="draws=1 give no spread; at least 2"):
        head_groups.against_random(lambda g: 0.0, any_reading, HEADS, draws=1)


def test_a_null_without_spread_or_with_infinities_has_no_z():
    assert np.isnan(head_groups.beside(1.0, np.array([0.5, 0.5, 0.5]))["z"])
    assert np.isnan(head_groups.beside(1.0, np.array([0.5, np.inf, 0.5]))["z"])
    assert head_groups.beside(3.0, np.array([0.0, 2.0]))["z"] == pytest.approx(2 / np.sqrt(2))


def test_summary_by_brute_force(any_reading):
    M = any_reading.head_fields(HEADS)
    found = head_groups.head_summary(M, 0.3)
    B = clip(M, 0.3)
    each = [clusters(one.numpy()) for one in B]
    sizes = [len(members) for some in each for members in some]
    assert found["unit_share"] == pytest.approx(np.mean([size == 1 for size in sizes]))
    coverage = [sum(bool(one[label, label]) for one in B) for label in range(LABELS)]
    assert (found["coverage"], found["least_coverage"]) == (np.mean(coverage), min(coverage))
    assert found["N_c"] == pytest.approx(np.mean([len(some) for some in each if some]))
    squares = [torch.linalg.svdvals(one.double()).square() for one in M]
    assert found["rank_one"] == pytest.approx(np.mean([float(s[0] / s.sum()) for s in squares]))


def test_heads_of_one_node_have_rank_one():
    mu, weight = torch.rand(LABELS, NODES), torch.rand(LABELS, NODES)
    assert head_groups.head_summary(label_fields(mu[:, :, None], weight))["rank_one"] == pytest.approx(1)


def test_summary_against_random_has_the_heads_values_and_the_groups_spread(any_reading):
    table = head_groups.summary_against_random(any_reading, HEADS, 0.3, draws=5, seed=2)
    own = head_groups.head_summary(any_reading.head_fields(HEADS), 0.3)
    assert table["value"].to_dict() == pytest.approx(own)
    assert list(table.columns) == ["value", "null", "null_sd", "z"]
    assert table.loc["coverage", "null_sd"] > 0
