"""Chapter 1's trainings: equal weights by construction, equal compute by arithmetic, exact routes."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from route_reference import TABLE

import filterwise as fw
from filterwise.errors import ParameterError
from filterwise.papers.pooling import arm_tables, measure, plan
from filterwise.papers.pooling.arms import HEADS
from filterwise.papers.pooling.quantities import COMPUTE_TOLERANCE
from filterwise.runs.jobs import check_jobs


@pytest.mark.parametrize("profile", ["quick", "cifar", "short", "paper"])
def test_lists_are_consistent(profile):
    jobs = plan.jobs(profile)
    check_jobs(jobs)
    arms = [arm for group in plan.arms(profile) for arm in group]
    assert [job.name for job in jobs] == [arm.name for arm in arms]
    exact = [job for job in jobs if dict(job.options)["exact"]]
    assert len({job.run.seed for job in exact}) == len(exact) >= 3  # the exact part once a seed


@pytest.mark.parametrize("profile", ["quick", "cifar"])
def test_arms_of_one_base_and_seed_start_from_the_same_weights(profile):
    arms = [arm for group in plan.arms(profile) for arm in group if arm.base and arm.run.seed == 0]
    shape = fw.data.describe(plan.QUICK.data if profile == "quick" else plan.CIFAR.data).shape
    first: dict[str, dict[str, torch.Tensor]] = {}
    for arm in arms:
        net = fw.models.build(arm.run.model, channels=shape[0], size=shape[1], seed=0, **arm.run.model_kwargs)
        weights = net.state_dict()
        expected = first.setdefault(arm.base, weights)
        assert list(weights) == list(expected)
        assert all(torch.equal(weights[name], expected[name]) for name in weights)
    assert len(arms) > len(first)


@pytest.mark.parametrize("profile", ["quick", "cifar", "short", "paper"])
def test_equal_compute_is_equal_and_equal_recipes_are_equal(profile):
    study = {"quick": plan.QUICK, "cifar": plan.CIFAR, "short": plan.SHORT, "paper": plan.PAPER}[profile]
    arms = [arm for group in plan.arms(profile) for arm in group]
    plain = [arm for arm in arms if arm.kind == "main"]
    late = {arm.base: arm for arm in plain if arm.plan in ("L2", "after 2") and arm.order == "AP2-MP4"}
    long = [arm for arm in arms if arm.kind == "equal compute" and arm.plan == "V"]
    assert long
    for arm in long:
        other = late[arm.base]
        mine = study.macs(arm.base, "V", "") * arm.run.recipe.epochs
        theirs = study.macs(arm.base, other.plan, other.order) * other.run.recipe.epochs
        assert abs(mine - theirs) <= 0.5 * COMPUTE_TOLERANCE * theirs
        assert dataclasses.replace(arm.run.recipe, epochs=1) == dataclasses.replace(
            other.run.recipe, epochs=1
        )


def test_all_six_head_orders_are_run_with_three_seeds():
    arms = [arm for group in plan.arms("cifar") for arm in group if arm.base == "vgg6" and arm.plan == "L2"]
    seeds = {order: {arm.run.seed for arm in arms if arm.order == order} for order in HEADS}
    assert all(found == {0, 1, 2} for found in seeds.values())


def test_the_rates_are_tried_on_both_arms_and_belong_to_no_comparison():
    rates = [arm for group in plan.arms("cifar") for arm in group if arm.kind == "tuning"]
    assert all(arm.base is None and arm.run.data_kwargs["held_out"] == 0.2 for arm in rates)
    grids = [{arm.run.recipe.lr for arm in rates if arm.plan == plan} for plan in ("V", "L2")]
    assert grids[0] == grids[1]
    assert plan.CIFAR.recipe.lr in grids[0]


@pytest.mark.parametrize("seed", [0, 1])
def test_the_route_table_is_the_counted_one(seed):
    row = measure.exact_routes(seed)
    for order, (output, routes, spread) in TABLE.items():
        assert row[f"mean_output@{order}"] == pytest.approx(output, abs=0.01)
        assert row[f"routes@{order}"] == routes
        assert row[f"route_spread@{order}"] == pytest.approx(spread, abs=0.04)


def test_the_mean_of_maxima_is_not_always_the_larger():
    x = torch.zeros(2, 8, 8, dtype=torch.float64)
    x[0, :2, :2] = 1  # one bright window: average first wins at sizes 2 and 4
    x[1, ::4, ::4] = 1  # one bright pixel a block of 4: max first wins
    assert measure.inequality_share(x[:1]) == 0
    assert measure.inequality_share(x[1:]) == 1
    assert measure.exact_routes(0)["order_inequality_share"] < 1


def test_it_always_is_where_both_take_the_same_groups():
    x = torch.rand(
        500, 4, 16, generator=torch.Generator().manual_seed(0)
    )  # (maps, blocks, places in a block)
    assert (x.amax(1).mean(1) >= x.mean(2).amax(1)).all()


def test_a_record_says_where_routes_run(tmp_path):
    torch.set_num_threads(1)
    rows = {}
    for arm in plan.arms("quick")[0][:2]:
        run = arm.run.replace(**{"recipe.epochs": 1, "data_options.n": 100, "data_options.n_test": 60})
        result = fw.runs.result(run, tmp_path, device="cpu")
        found = result.measured("pooling.arm", exact=False)
        job, arrays = dataclasses.replace(arm, run=run).job(), found.arrays
        rows[arm.plan] = fw.runs.row(job, [result], found)
        assert arrays["contribution"].shape[0] == len(arrays["winners"]) == 8
    assert rows["V"]["parameters"] == rows["after 2"]["parameters"]
    assert rows["V"]["macs"] < rows["after 2"]["macs"]
    # A 2x2 max pool hands gradient to one unit in four; AP2 then MP4 to one 2x2 window of an 8x8 map.
    assert rows["V"]["gradient_share@features.1"] == pytest.approx(0.25, abs=0.01)
    assert rows["after 2"]["gradient_share@features.4"] == pytest.approx(4 / 64, abs=1e-3)
    assert rows["after 2"]["trained_routes"] <= 4
    assert not any(name.startswith("routes@") for name in rows["V"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"profile": "cifar10"}, "did you mean 'cifar'"),
        ({"plan": "L4"}, "plan='L4'.*did you mean"),
        ({"plan": "V"}, "plan='V' pools after every stage"),
        ({"plan": "after"}, "plan='after'"),
        ({"plan": "after two"}, "list the stages"),
        ({"plan": "after 9"}, "between 1 and 4"),
        ({"plan": "L3", "order": "MP8"}, "divides the map by 8, but this plan leaves 2"),
        ({"order": "AP2-MX4"}, "order='AP2-MX4' is not known"),
        ({"order": "AP3-MP3"}, "divides the map by 9"),
        ({"seeds": 0}, "seeds=0"),
    ],
)
def test_parameters_that_cannot_be_are_refused(given, message):
    with pytest.raises(ParameterError, match=message):
        plan.page_jobs(**{"profile": "quick", **given})


@pytest.mark.parametrize(
    ("plan_name", "order", "orders"),
    [("", "", 6), ("L1", "", 6), ("L2", "", 4), ("after 1 2", "MP2-AP2", 4), ("L0", "", 8), ("L3", "", 2)],
)
def test_any_plan_is_compared_with_all_its_orders(plan_name, order, orders):
    jobs = plan.page_jobs("quick", 5, 2, plan_name, order)
    about = [dict(job.about) for job in jobs]
    assert len({each["order"] for each in about if each["plan"] != "V"}) == orders
    assert {job.run.seed for job in jobs} == {5, 6}
    check_jobs(jobs)


def test_the_looks_at_rates_are_left_out_of_the_page():
    columns = ["base", "plan", "order", "arm_kind", "fc_activation", "lr", "accuracy"]
    rows = [
        ["vgg6", "V", np.nan, "main", "linear", 0.1, 0.5],
        [None, "V", np.nan, "tuning", "linear", 0.2, 0.6],
        ["vgg6", "V", np.nan, "control", "linear", 0.1, 0.7],
        ["vgg8 ReLU", "L2", "AP2-MP4", "main", "relu", 0.1, 0.8],
    ]
    records = pd.DataFrame(rows, columns=columns)
    assert arm_tables.compared(records)["arm"].tolist() == ["vgg6 V"]
    assert arm_tables.rates(records).loc["0.2", "V"] == 0.6
    assert arm_tables.compared(pd.DataFrame(columns=["seed"])).empty
