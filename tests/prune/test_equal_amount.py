"""AFCC's masks against their definition, peers at its amount, and what is saved."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

import filterwise as fw
from filterwise.errors import ParameterError
from filterwise.measure.clustering import assign_clusters, clusters
from filterwise.prune.criteria import criteria, keep_top, mask_of_amount
from filterwise.prune.equal_amount import CHOICES, OUTPUTS, Between, Connections, joined_by, redrawn
from filterwise.prune.filter_labels import cyclic_label_sets, lost_labels, random_label_sets, warn_of_lost


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def fields(filters: int, labels: int = 6, seed: int = 0) -> torch.Tensor:
    return torch.randn(filters, labels, labels, generator=draws(seed))


def test_label_sets_are_the_union_of_the_clusters_in_any_order() -> None:
    M = fields(40)
    B = fw.measure.clip(M, 0.3)
    for order in (None, [5, 2, 4, 0, 1, 3]):
        union = torch.tensor(
            [[any(j in c for c in clusters(B[f], order)) for j in range(6)] for f in range(40)]
        )
        assert torch.equal(fw.prune.label_sets(M, 0.3), union)


def test_a_filter_whose_fields_are_all_negative_stands_for_nothing_and_is_cut_off() -> None:
    M = fields(3)
    M[1] = -M[1].abs()
    sets = fw.prune.label_sets(M)
    assert not sets[1].any()
    mask = fw.prune.afcc_mask(sets, sets)
    assert not mask[1].any()
    assert not mask[:, 1].any()


def test_mask_by_brute_force() -> None:
    """Label sets filter by filter, of filters with no, one and several clusters: no flat list of clusters."""
    below, above = fw.prune.label_sets(fields(12), 0.5), fw.prune.label_sets(fields(9, seed=1), 0.5)
    assert len({int(count) for count in below.sum(1)}) > 2
    mask = fw.prune.afcc_mask(above, below)
    for o, i in itertools.product(range(9), range(12)):
        shared = {*torch.nonzero(above[o]).flatten().tolist()} & {*torch.nonzero(below[i]).flatten().tolist()}
        assert bool(mask[o, i]) == bool(shared)


def test_shared_clusters_by_brute_force_and_stricter_than_shared_labels() -> None:
    one, two = (fw.measure.clip(fields(count, seed=count).abs(), 0.4) for count in (15, 11))
    mask = fw.prune.shared_cluster_mask(*(torch.from_numpy(assign_clusters(B)) for B in (one, two)))
    for o, i in itertools.product(range(15), range(11)):
        pairs = itertools.product(map(set, clusters(one[o])), map(set, clusters(two[i])))
        assert bool(mask[o, i]) == any(a <= b or b <= a for a, b in pairs)
    sets = (torch.stack([B.diagonal(dim1=1, dim2=2)])[0] for B in (one, two))
    loose = fw.prune.afcc_mask(*sets)
    assert bool((mask <= loose).all())
    assert bool((mask < loose).any())


def test_output_mask_has_every_position_of_a_filter() -> None:
    sets = fw.prune.label_sets(fields(5))
    mask = fw.prune.output_mask(sets, positions=4).view(6, 5, 4)
    for j, f, p in itertools.product(range(6), range(5), range(4)):
        assert mask[j, f, p] == sets[f, j]


@pytest.mark.parametrize(("filters", "labels", "size"), [(512, 100, 5), (7, 10, 3), (3, 4, 4), (1, 9, 2)])
@pytest.mark.parametrize("kind", ["random", "cyclic"])
def test_imposed_sets_have_their_size_and_use_labels_equally(filters, labels, size, kind) -> None:
    sets = (
        random_label_sets(filters, labels, size, draws())
        if kind == "random"
        else cyclic_label_sets(filters, labels, size)
    )
    assert sets.shape == (filters, labels)
    assert (sets.sum(1) == size).all()
    used = sets.sum(0)
    assert int(used.max() - used.min()) <= 1
    assert float(used.double().mean()) == pytest.approx(filters * size / labels)


def test_chance_of_no_common_label_is_that_of_random_sets() -> None:
    for t, other in ((5, 5), (2, 2), (10, 10)):
        expected = math.comb(100 - t, other) / math.comb(100, other)
        assert fw.prune.chance_of_no_common_label(100, t, other) == pytest.approx(expected)
    sets = redrawn(torch.ones(300, 20, dtype=torch.bool) & (torch.arange(20) < 4), draws())
    assert (sets.sum(1) == 4).all()
    free = 1 - fw.prune.afcc_mask(sets[:150], sets[150:]).double().mean()
    assert float(free) == pytest.approx(fw.prune.chance_of_no_common_label(20, 4, 4), abs=0.02)


def test_lost_labels_are_named() -> None:
    sets = torch.tensor([[True, False, False], [True, False, True]])
    assert lost_labels(sets) == [1]
    with pytest.warns(UserWarning, match=r"no filter of 'features\.6' keeps 1 of 3 labels: 1 \('dog'\)"):
        assert warn_of_lost(sets, ("cat", "dog", "ship"), "features.6") == [1]


def test_keep_top_keeps_the_number_and_of_equals_the_first() -> None:
    scores = torch.tensor([[2.0, 1.0, 2.0], [2.0, 0.0, 3.0]])
    for count in range(7):
        mask = keep_top(scores, count)
        assert int(mask.sum()) == count
        if 0 < count < 6:
            assert scores[mask].min() >= scores[~mask].max()
    assert keep_top(scores, 2).tolist() == [[True, False, False], [False, False, True]]


def test_each_criterion_is_its_definition() -> None:
    weight = torch.randn(4, 3, 3, 3, generator=draws(5))
    size = weight.numpy()
    made = {name: criteria.get(name).function() for name in ("magnitude", "kernel-l2", "filter-l1")}
    assert np.array_equal(made["magnitude"](weight).numpy(), np.abs(size))
    norms = np.sqrt((size**2).sum((2, 3)))
    assert np.allclose(made["kernel-l2"](weight).numpy(), norms)
    columns = np.abs(size).sum((0, 2, 3))
    assert np.allclose(made["filter-l1"](weight).numpy(), np.broadcast_to(columns, (4, 3)))
    within = criteria.get("kernel-l2-within").function()(weight).numpy()
    assert np.allclose(within, norms / norms.max(1, keepdims=True))
    M = fields(3, 4)
    top = criteria.get("diagonal-top").function(M)(torch.zeros(4, 3, 2))
    for j, f in itertools.product(range(4), range(3)):
        assert top[j, f] == M[f, j, j]


def test_kernel_norms_within_filters_and_across_them_are_two_baselines() -> None:
    weight = torch.rand(4, 8, 3, 3, generator=draws()) + 0.1
    weight[0] *= 100
    across, within = (
        mask_of_amount(weight, criteria.get(name).function()(weight), 16)
        for name in ("kernel-l2", "kernel-l2-within")
    )
    assert across[0].all()
    assert not within[0].all()
    assert int(across.sum()) == int(within.sum()) == 16


def net() -> nn.Module:
    return fw.models.build("vgg", labels=6, channels=1, size=8, stages=((5, 1), (7, 1)), fc=(9,))


def joined(threshold: float = 0.5, share: str = "label") -> Connections:
    one = net()
    between = {layer: place for layer, place in joined_by(one).items()}
    places = {"features.1": 5, "features.2": 7, "classifier.1": 9}
    return Connections(between, {p: fields(n, seed=n) for p, n in places.items()}, threshold, share)


def test_layers_join_the_places_whose_filters_they_connect() -> None:
    assert joined_by(net()) == {
        "features.2": Between("features.1", "features.2"),
        "classifier.1": Between("features.2", "classifier.1"),
        "classifier.2": Between("classifier.1", OUTPUTS),
    }


@pytest.mark.parametrize("criterion", [name for name in CHOICES if name != "diagonal-top"])
def test_every_peer_keeps_as_many_weights_as_afcc_in_every_layer(criterion) -> None:
    one, found = net(), joined()
    ours, theirs = found.masks(one, "afcc"), found.masks(one, criterion, draws())
    assert {name: mask.shape for name, mask in ours.items()} == {name: m.shape for name, m in theirs.items()}
    assert {name: int(m.sum()) for name, m in ours.items()} == {
        name: int(m.sum()) for name, m in theirs.items()
    }
    assert any(0 < int(mask.sum()) < mask.numel() for mask in ours.values())


def test_a_mask_of_a_layer_that_reads_maps_has_whole_filters() -> None:
    """classifier.1 reads 7 filters of 2 x 2 positions, and masks hidden nodes by single-nodal performance."""
    found = joined()
    mask = found.masks(net(), "afcc")["classifier.1"].view(9, 7, 4)
    assert torch.equal(mask, mask[:, :, :1].expand(9, 7, 4))
    assert torch.equal(
        mask[:, :, 0], fw.prune.afcc_mask(found.sets["classifier.1"], found.sets["features.2"])
    )
    output = found.masks(net(), "afcc")["classifier.2"]
    assert torch.equal(output, fw.prune.output_mask(found.sets["classifier.1"]))


def test_diagonal_top_is_for_the_output_layer() -> None:
    one = net()
    between = {"classifier.2": joined_by(one)["classifier.2"]}
    M = fields(9, seed=3)
    found = Connections(between, {"classifier.1": M}, 0.5)
    mask = found.masks(one, "diagonal-top")["classifier.2"]
    assert torch.equal(mask, keep_top(M.diagonal(dim1=1, dim2=2).T, int(found.afcc("classifier.2").sum())))
    with pytest.raises(ParameterError, match=r"'features\.2' is no output layer"):
        joined().masks(one, "diagonal-top")


def test_savings_count_what_an_explicit_computation_needs() -> None:
    one = net()
    masks = joined().masks(one, "magnitude", draws())
    fw.prune.apply(one, masks)
    table = fw.prune.savings(one, (1, 8, 8))
    positions = {"features.1.conv": 64, "features.2.conv": 16, "classifier.1": 1, "classifier.2": 1}
    assert list(table.index) == list(positions)
    for layer, places in positions.items():
        weight = one.get_submodule(layer).weight.detach()
        kept = int((weight != 0).sum())
        assert table["weights_kept"][layer] == kept
        assert table["macs_kept"][layer] == kept * places
        assert table["weight_dilution"][layer] == pytest.approx(1 - kept / weight.numel())
    kernels = (one.get_submodule("features.2.conv").weight != 0).flatten(2).any(2)
    assert table["dilution"]["features.2.conv"] == pytest.approx(1 - float(kernels.double().mean()))
    # dilution by kernel is not dilution by weight where single weights were removed
    assert table["dilution"]["features.2.conv"] < table["weight_dilution"]["features.2.conv"]
    assert int(table["macs"].sum()) == fw.models.macs(net(), (1, 8, 8))
    left = fw.prune.totals(one, (1, 8, 8))
    removed = sum(int((~mask).sum()) for mask in masks.values())
    assert left["parameters_left"] == pytest.approx(1 - removed / fw.models.parameter_count(net()))
    assert left["network_dilution"] == pytest.approx(removed / table["weights"].sum())


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda: fw.prune.label_sets(torch.zeros(3, 3)), r"M has shape \(3, 3\); \(F, K, K\) is needed"),
        (lambda: fw.prune.label_sets(fields(2), 1.0), r"threshold=1.0 is outside \[0, 1\)"),
        (lambda: fw.prune.afcc_mask(torch.zeros(2, 3), torch.zeros(2, 3)), "label_sets_out is torch.float32"),
        (
            lambda: fw.prune.afcc_mask(torch.zeros(2, 3).bool(), torch.zeros(2, 4).bool()),
            "label_sets_out has 3 labels and label_sets_in 4",
        ),
        (lambda: random_label_sets(3, 4, 5, draws()), "size=5 is more than the labels=4"),
        (lambda: keep_top(torch.zeros(3), 4), "count=4 is more than the 3"),
        (lambda: keep_top(torch.tensor([math.nan]), 1), "1 of 1 scores are not a number"),
        (lambda: mask_of_amount(torch.zeros(2, 3), torch.zeros(3, 2), 1), r"scores have shape \(3, 2\)"),
        (lambda: joined(share="labl"), "did you mean 'label'"),
        (lambda: joined().masks(net(), "magnitud"), "did you mean 'magnitude'"),
        (lambda: Connections(joined_by(net()), {}), "no label fields are given for classifier.1, features.1"),
        (lambda: joined_by(nn.Linear(2, 2)), "Linear has no blocks features.m and a classifier"),
        (lambda: fw.prune.chance_of_no_common_label(5, 6, 1), "size_in=6 is more than the labels=5"),
    ],
)
def test_bad_input_is_named(broken, message) -> None:
    with pytest.raises(ParameterError, match=message):
        broken()
