"""Pool orders and plans: what is read, what is refused, and that pools carry no weights."""

import pytest
import torch

from filterwise.errors import ParameterError
from filterwise.models import build, orders, parse_order, pool_series
from filterwise.models.pools import head_steps, inner_stages, shrink


@pytest.mark.parametrize("order", ["MP2-AP4", "MP2→AP4", "MP2->AP4", "MP2 → AP4"])
def test_all_spellings_of_an_order_are_one(order):
    assert parse_order(order) == (("MP", 2), ("AP", 4))


@pytest.mark.parametrize(
    "order", ["", "MP", "MP1", "AP0", "mp2", "MP2-", "MP2--AP4", "MP2,AP4", "MP-2", "MP2.0", 8]
)
def test_what_is_no_order_is_refused(order):
    with pytest.raises(ParameterError, match="MP or AP and a size of at least 2"):
        parse_order(order)


def test_near_miss_of_an_order():
    with pytest.raises(ParameterError, match="did you mean 'MP4'"):
        parse_order("AP2-mp4")


def test_orders_of_total_8_are_the_papers_six():
    assert set(orders(8)) == {"MP8", "AP8", "MP2-AP4", "AP4-MP2", "MP4-AP2", "AP2-MP4"}


@pytest.mark.parametrize("total", [2, 4, 8, 16, 32])
def test_every_listed_order_has_the_total(total):
    assert all(shrink(parse_order(name)) == total for name in orders(total))


def test_series_applies_the_first_step_first():
    x = torch.tensor([[[[1.0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 3, 3], [0, 0, 3, 3]]]])
    assert pool_series("MP2-AP2")(x).item() == pytest.approx((1 + 0 + 0 + 3) / 4)
    assert pool_series("AP2-MP2")(x).item() == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("plan", "kept"), [("V", (1, 2, 3, 4, 5)), ("L3", (1, 2, 3)), ("L2", (1, 2)), ("L1", (1,)), ("L0", ())]
)
def test_plans_keep_their_lower_stages(plan, kept):
    assert inner_stages(5, plan, None) == kept


def test_plan_needs_a_stage_for_the_head():
    with pytest.raises(ParameterError, match="'V', 'L2', 'L1', 'L0'"):
        inner_stages(3, "L3", None)


@pytest.mark.parametrize("inner", [(2, 1), (1, 1), (0,), (6,), 2, (1.0,), "12"])
def test_impossible_inner_stages_are_refused(inner):
    with pytest.raises(ParameterError, match="inner="):
        inner_stages(5, None, inner)


def test_default_head_averages_two_by_two_first():
    assert [head_steps(total, None) for total in (2, 4, 8)] == [
        (("AP", 2),),
        (("AP", 2), ("MP", 2)),
        (("AP", 2), ("MP", 4)),
    ]


def _pool_sizes(net):
    return {
        name: [step.kernel_size for step in block.pool.modules() if hasattr(step, "kernel_size")]
        for name, block in net.features.named_children()
    }


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("vgg16", {}, {2: [2], 4: [2], 7: [2], 10: [2], 13: [2]}),
        ("vgg11", {}, {2: [2], 4: [2], 7: [2], 10: [2]}),
        ("vgg13", {}, {2: [2], 4: [2], 6: [2], 8: [2], 10: [2]}),
        ("avgg16", {}, {2: [2], 4: [2], 13: [2, 4]}),
        ("vgg16", {"plan": "L3", "order": "MP4"}, {2: [2], 4: [2], 7: [2], 13: [4]}),
        ("vgg8", {"plan": "L0", "order": "MP8-AP4"}, {5: [8, 4]}),
        ("vgg6", {"inner": (2, 5), "order": "AP8"}, {2: [2], 5: [2, 8]}),
        ("vgg6", {"inner": (2,), "order": "MP2-AP4-MP2"}, {2: [2], 5: [2, 4, 2]}),
    ],
)
def test_pools_sit_where_the_plan_says(name, options, expected):
    sizes = _pool_sizes(build(name, width=1 / 64, **options))
    assert {int(m): size for m, size in sizes.items() if size} == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"plan": "L4"}, "plan='L4' is not known.*did you mean"),
        ({"plan": "L2", "order": "MP4"}, "leaves 8 for the head.*'MP2-AP4'"),
        ({"plan": "V", "order": "MP2"}, "nothing for the head"),
        ({"order": "AP2-MP4"}, "nothing for the head"),
        ({"plan": "L2", "order": "MPX"}, "step 'MPX'"),
        ({"plan": "L2", "inner": (1, 2)}, "both place the pools"),
        ({"plan": "V", "size": 16}, "multiple of 32"),
        ({"plan": "L2", "size": 16}, "multiple of 32"),
        ({"plan": "L2", "size": 48}, "multiple of 32"),
    ],
)
def test_plans_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ParameterError, match=message):
        build("vgg6", width=1 / 64, **options)
