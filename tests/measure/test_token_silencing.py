"""Matrices of nodes and heads behind token heads, against the two slow ways that the benchmark times."""

from __future__ import annotations

import pytest
import torch
import vit

from filterwise import models
from filterwise.data import ImageSet
from filterwise.measure.token_heads import read_tokens


@pytest.fixture(scope="module")
def case():
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (10, 2, 16, 16), generator=generator, dtype=torch.uint8)
    ds = ImageSet(pixels, torch.tensor([0, 1, 2, 0, 0, 1, 2, 0, 1, 0]), ("a", "b", "c"))
    net = models.build(
        "cct", 3, channels=2, size=16, depth=3, d=8, heads=2, inner=12, replaced=1, linear_std=0.3
    )
    places = [place for places in vit.places_by_kind(net).values() for place in places]
    assert len(places) == 11
    return net, ds, vit.random_heads(net, places, ds, 0)


def test_every_node_by_silencing_and_by_direct_attribution(case):
    net, ds, heads = case
    ours, direct = vit.one_pass(net, heads, ds), vit.direct_attribution(net, heads, ds)
    for place, head in heads.items():
        nodes = torch.arange(len(head.score))[:, None]
        slow = vit.slow_ways(net, head, list(nodes), ds, lambda: 0.0).matrices
        assert vit.apart(ours[place], slow) < 1e-5
        assert vit.apart(direct[place], slow) < 1e-5
        assert vit.apart(ours[place], slow.roll(1, 0)) > 0.1  # another node's are others
    assert ours["encoders.2.attention.heads"].shape == (12, 3, 3)


@pytest.mark.parametrize("heads_of", [2, 4])
def test_every_head_by_silencing_the_others(case, heads_of):
    net, ds, heads = case
    for place, reading in read_tokens(net, heads, ds, "cpu").items():
        groups = list(torch.arange(len(reading.head.score)).view(heads_of, -1))
        slow = vit.slow_ways(net, reading.head, groups, ds, lambda: 0.0).matrices
        assert vit.apart(reading.head_fields(heads_of), slow) < 1e-5
        whole = slow.sum(0)  # all heads together are the intact head's mean fields
        fields = reading.z @ reading.weight.T
        means = torch.stack([fields[ds.labels == label].mean(0) for label in range(3)])
        torch.testing.assert_close(whole, means, rtol=0, atol=1e-5)
        assert place in heads
