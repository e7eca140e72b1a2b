"""Routes through pools: exact counts, exact places, the reference table."""

import math

import pytest
import torch
from route_reference import TABLE

from filterwise.errors import ParameterError
from filterwise.measure.route_counting import (
    order_gap,
    route_table,
    routes,
    spread,
)
from filterwise.models import pool_series

MIXED = [(a, m) for a, m in ((2, 2), (2, 4), (4, 2), (4, 4), (2, 8))]


def uniform(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(scope="module")
def table():
    return route_table().set_index("order")


@pytest.mark.parametrize("order", TABLE)
def test_reference_table(table, order):
    mean, count, distance = TABLE[order]
    row = table.loc[order]
    assert row["routes"] == count
    # Both tables are means of 2000 draws, so their difference has sqrt(2) standard errors; four of them, and
    # the rounding of the printed number.
    assert abs(row["mean_output"] - mean) <= 4 * math.sqrt(2) * row["mean_output_se"] + 0.0005
    assert abs(row["spread"] - distance) <= 4 * math.sqrt(2) * row["spread_se"] + 0.005


@pytest.mark.parametrize(
    ("order", "expected"), [("MP8", 64 / 65), ("AP8", 1 / 2), ("MP2-AP4", 4 / 5), ("MP4-AP2", 16 / 17)]
)
def test_mean_outputs_that_are_known_exactly(table, order, expected):
    # The largest of n uniform numbers is n / (n + 1) in the mean, and averaging changes no mean.
    assert abs(table.loc[order, "mean_output"] - expected) < 4 * table.loc[order, "mean_output_se"]


def test_spreads_that_are_known_exactly(table):
    # A whole block of n x n has a mean square distance of 2 (n^2 - 1) / 12 from its centre.
    for order, side in (("AP8", 8), ("AP4-MP2", 4), ("AP2-MP4", 2), ("MP8", 1)):
        assert table.loc[order, "spread"] == pytest.approx(math.sqrt((side**2 - 1) / 6))


def test_table_is_the_same_for_the_same_seed_and_reads_arrows():
    first, again = route_table(["MP2→AP4"], draws=20, seed=4), route_table(["MP2-AP4"], draws=20, seed=4)
    assert first.equals(again)
    assert not first.equals(route_table(["MP2-AP4"], draws=20, seed=5))


@pytest.mark.parametrize(("average", "maximum"), MIXED)
def test_count_and_weight_do_not_depend_on_the_order(average, maximum):
    x = uniform(20, average * maximum, average * maximum)
    for order in (f"AP{average}-MP{maximum}", f"MP{maximum}-AP{average}"):
        found = routes(x, order)
        assert (found.count == average**2).all()
        torch.testing.assert_close(
            found.weights[found.mask], torch.full_like(found.weights[found.mask], average**-2.0)
        )
        torch.testing.assert_close((found.weights * x).sum((-1, -2)), found.output)  # piecewise linear


@pytest.mark.parametrize(("average", "maximum"), MIXED)
def test_where_the_routes_are(average, maximum):
    side = average * maximum
    x = uniform(20, side, side, seed=1)
    spread_out = routes(x, f"MP{maximum}-AP{average}").mask
    winners = spread_out.reshape(20, average, maximum, average, maximum).sum((2, 4))
    assert (winners == 1).all()  # one in each small block
    block = routes(x, f"AP{average}-MP{maximum}").mask.reshape(20, maximum, average, maximum, average)
    full = block.sum((2, 4))
    assert ((full == 0) | (full == average**2)).all()
    assert ((full > 0).sum((1, 2)) == 1).all()  # one whole block


@pytest.mark.parametrize(("average", "maximum"), MIXED)
def test_maxima_first_give_more_in_the_mean(average, maximum):
    gap = order_gap(uniform(500, average * maximum, average * maximum, seed=2), average, maximum)
    assert gap.mean() > 5 * gap.std() / 500**0.5


def test_maxima_first_do_not_give_more_on_every_map():
    bright = torch.zeros(8, 8)
    bright[:4, :4] = 1
    assert order_gap(bright, 4, 2).item() == pytest.approx(4 / 16 - 1)
    bright = torch.zeros(8, 8)
    bright[6:, :2] = 1
    assert order_gap(bright, 2, 4).item() == pytest.approx(1 / 4 - 1)


@pytest.mark.parametrize(
    ("whole", "series"), [("MP8", "MP2-MP2-MP2"), ("MP8", "MP4-MP2"), ("AP8", "AP2-AP2-AP2")]
)
def test_series_of_one_kind_is_one_pool(whole, series):
    x = uniform(10, 8, 8, seed=3)
    a, b = routes(x, whole), routes(x, series)
    torch.testing.assert_close(a.output, b.output)
    assert torch.equal(a.mask, b.mask)
    torch.testing.assert_close(a.weights, b.weights)


def test_shapes_of_many_maps_are_kept():
    x = uniform(2, 3, 4, 4)
    found = routes(x, "AP2-MP2")
    assert found.mask.shape == found.weights.shape == (2, 3, 4, 4)
    assert found.output.shape == found.count.shape == found.spread.shape == (2, 3)
    torch.testing.assert_close(found.output, pool_series("AP2-MP2")(x)[..., 0, 0])
    assert torch.equal(found.mask[1, 2], routes(x[1, 2], "AP2-MP2").mask)


def test_spread_is_the_root_mean_square_distance():
    mask = uniform(6, 5, 7) > 0.6
    for one, found in zip(mask, spread(mask), strict=True):
        places = one.nonzero().to(torch.float64)
        expected = ((places - places.mean(0)) ** 2).sum(1).mean().sqrt()
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("x", "order", "message"),
    [
        (torch.zeros(4, 4), "MP2-AP4", "maps of 8x8"),
        (torch.zeros(8, 4), "MP8", "maps of 8x8"),
        (torch.zeros(8, 8, dtype=torch.int64), "MP8", "floating-point"),
        (torch.zeros(8, 8), "MP2-XP4", "step 'XP4'"),
    ],
)
def test_routes_refusals(x, order, message):
    with pytest.raises(ParameterError, match=message):
        routes(x, order)


def test_table_refusals():
    with pytest.raises(ParameterError, match="draws=1"):
        route_table(draws=1)
    with pytest.raises(ParameterError, match="maps of 8x8"):
        route_table(size=16)
