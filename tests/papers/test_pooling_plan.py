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
from filterwise.papers.pooling.arm_pairs import COMPUTE_TOLERANCE, order_pairs, runs_by_order, shared_seeds
from filterwise.papers.pooling.arms import HEADS
from filterwise.papers.pooling.held_out_choice import choices
from filterwise.runs.jobs import check_jobs
from filterwise.runs.records import load_records


@pytest.mark.parametrize("profile", ["quick", "cifar", "short", "paper"])
def test_lists_are_consistent(profile):
    jobs = plan.jobs(profile)
    check_jobs(jobs)
    arms = [arm for group in plan.arms(profile) for arm in group]
    trained = [job for job in jobs if job.measure == "pooling.arm"]
    assert [job.name for job in trained] == [arm.name for arm in arms]
    assert {job.measure for job in jobs} <= {"pooling.arm", "pooling.untrained"}
    exact = [job for job in trained if dict(job.options)["exact"]]
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
    late = [arm for arm in arms if arm.kind == "main" and arm.order]
    long = [arm for arm in arms if arm.kind == "equal compute" and arm.plan == "V"]
    assert long
    for arm in long:
        mine = study.macs(arm.base, "V", "") * arm.run.recipe.epochs
        equal = [
            other
            for other in late
            if other.base == arm.base
            and abs(mine - study.macs(arm.base, other.plan, other.order) * other.run.recipe.epochs)
            <= 0.5 * COMPUTE_TOLERANCE * mine
            and dataclasses.replace(arm.run.recipe, epochs=1)
            == dataclasses.replace(other.run.recipe, epochs=1)
        ]
        assert equal, arm.name


def test_what_was_chosen_is_trained_at_equal_epochs_and_at_equal_compute():
    found = {
        "vgg6": (("V", "", 0.05), ("L3", "MP2-AP2", 0.1)),
        "vgg8": (("V", "", 0.1), ("L2", "MP8", 0.02)),
        "vgg16": (("V", "", 0.02), None),
    }
    arms = plan.chosen_arms(plan.CIFAR, found)
    assert all(arm.run.seed in range(5) for arm in arms)
    compute: dict[tuple, set] = {}
    for arm in arms:
        assert (arm.kind == "chosen") == (arm.run.recipe.lr != plan.CIFAR.recipe.lr)
        assert "held_out" not in arm.run.data_kwargs  # all training images, and the test images
        macs = plan.CIFAR.macs(arm.base, arm.plan, arm.order)
        side = arm.base, arm.plan, arm.order, arm.run.recipe.lr
        compute.setdefault(side, set()).add((arm.run.recipe.epochs, arm.run.recipe.epochs * macs))
    epochs = plan.CIFAR.recipe.epochs
    assert all(epochs in dict(each) for each in compute.values())
    for one, other in (
        (("vgg6", "V", "", 0.05), ("vgg6", "L3", "MP2-AP2", 0.1)),
        (("vgg8", "V", "", 0.1), ("vgg8", "L2", "MP8", 0.02)),
        (("vgg8", "L2", "MP8", 0.02), ("vgg16", "V", "", 0.02)),
    ):
        target = dict(compute[other])[epochs]
        assert min(abs(cost - target) for _, cost in compute[one]) <= COMPUTE_TOLERANCE * target


def test_the_arms_written_down_are_those_that_the_looks_choose():
    found = {}
    for (base, _), sides in choices(load_records("1-pooling", "cifar")).items():
        found[base] = tuple(side and (side.plan, side.order, side.lr) for side in sides)
    assert found == plan.CHOSEN


@pytest.mark.parametrize("profile", ["quick", "cifar"])
def test_every_pair_of_orders_has_its_untrained_controls(profile):
    jobs = plan.jobs(profile)
    plain = [dict(job.about) | {"seed": job.run.seed} for job in jobs if job.measure == "pooling.untrained"]
    assert all(about["arm_kind"] == "untrained" for about in plain)
    found = {(about["base"], about["plan"], about["order"], about["seed"]) for about in plain}
    assert len(found) == len(plain)
    arms = [arm for group in plan.arms(profile) for arm in group if arm.kind == "main"]
    orders: dict[tuple, set] = {}
    for arm in arms:
        orders.setdefault((arm.base, arm.plan, arm.run.seed), set()).add(arm.order)
    expected = {
        (base, pools, order, seed)
        for (base, pools, seed), listed in orders.items()
        for pair in order_pairs(listed)
        for order in pair
    }
    assert found == expected


def test_all_six_head_orders_are_run_with_three_seeds():
    arms = [arm for group in plan.arms("cifar") for arm in group if arm.base == "vgg6" and arm.plan == "L2"]
    seeds = {order: {arm.run.seed for arm in arms if arm.order == order} for order in HEADS}
    assert all(found >= {0, 1, 2} for found in seeds.values())


def test_both_orders_of_a_pair_are_run_with_the_same_seeds():
    """Otherwise the planned contrast would leave seeds or pairs out."""
    runs = [arm for group in plan.arms("cifar") for arm in group if arm.kind == "main" and "-" in arm.order]
    columns = ("data", "base", "plan", "order", "lr", "epochs", "seed", "accuracy")
    rows = [
        ("d", arm.base, arm.plan, arm.order, arm.run.recipe.lr, arm.run.recipe.epochs, arm.run.seed, 0.5)
        for arm in runs
        if arm.base in ("vgg6", "vgg8")
    ]
    pairs, seeds = shared_seeds(runs_by_order(pd.DataFrame(rows, columns=columns)))
    assert seeds == list(range(5))
    assert {(base, pools) for _, base, pools, *_ in pairs} == {
        (base, pools) for base in ("vgg6", "vgg8") for pools in ("L2", "L3")
    }
    assert len(pairs) == 6


def test_the_rates_are_tried_on_all_arms_and_belong_to_no_comparison():
    looks = [arm for group in plan.arms("cifar") for arm in group if arm.kind == "tuning"]
    assert all(arm.base is None and arm.run.data_kwargs["held_out"] == 0.2 for arm in looks)
    assert all(arm.job().bundle == "tuning" for arm in looks)
    grids: dict[tuple, set] = {}
    for arm in looks:
        grids.setdefault((arm.run.model, arm.plan, arm.order, arm.run.seed), set()).add(arm.run.recipe.lr)
    assert {(name, order) for name, _, order, _ in grids} >= {(n, o) for n in ("vgg6", "vgg8") for o in HEADS}
    shared = set.intersection(*grids.values())
    assert len(shared) >= 3
    assert plan.CIFAR.recipe.lr in shared


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
    plain = result.measured("pooling.untrained").row  # of the late arm, whose head keeps at most A^2 routes
    assert 0 < plain["untrained_routes"] <= 4
    assert 0 < plain["untrained_spread"] != rows["after 2"]["trained_spread"]


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
    columns = ["network", "base", "plan", "order", "arm_kind", "fc_activation", "lr", "accuracy"]
    rows = [
        ["vgg6", "vgg6", "V", np.nan, "main", "linear", 0.1, 0.5],
        ["vgg6 tuning", None, "V", np.nan, "tuning", "linear", 0.2, 0.6],
        ["vgg6", "vgg6", "V", np.nan, "control", "linear", 0.1, 0.7],
        ["vgg6", "vgg6", "V", np.nan, "chosen", "linear", 0.2, 0.7],
        ["avgg8", "vgg8", "L2", "AP2-MP4", "untrained", "linear", 0.1, 0.8],
        ["avgg8", "vgg8 ReLU", "L2", "AP2-MP4", "main", "relu", 0.1, 0.8],
    ]
    records = pd.DataFrame(rows, columns=columns).assign(seed=0, data="d", macs=1.0)
    assert arm_tables.compared(records)["arm"].tolist() == ["vgg6 V"]
    assert arm_tables.rates(records).loc["vgg6 V", "rate 0.2"] == 0.6
    assert arm_tables.compared(pd.DataFrame(columns=["seed"])).empty
    assert arm_tables.rates(pd.DataFrame(columns=["seed"])).empty


def test_several_differences_are_corrected_for_their_number():
    """Holm on three planted pairs: p1 three times, p2 twice, and never less than the one before."""
    rng, rows = np.random.default_rng(0), []
    for number, (one, two) in enumerate(
        (("MP2-AP4", "AP4-MP2"), ("MP4-AP2", "AP2-MP4"), ("MP2-AP2", "AP2-MP2"))
    ):
        for seed in range(5):
            noise = rng.normal(0, 0.01)
            for order, accuracy in ((one, 0.6 + 0.01 * number + noise), (two, 0.6)):
                rows.append(["b", "L2", order, "d", seed, 12, accuracy])
    columns = ["base", "plan", "order", "data", "seed", "epochs", "accuracy"]
    table = arm_tables.order_differences(pd.DataFrame(rows, columns=columns))
    first, second, third = table["p"]
    corrected = [3 * first, max(3 * first, 2 * second), max(3 * first, 2 * second, third)]
    assert table["p, Holm"].tolist() == pytest.approx([min(each, 1.0) for each in corrected])
    from scipy import stats

    runs = pd.DataFrame(rows, columns=columns).pivot(index="seed", columns="order", values="accuracy")
    expected = stats.ttest_rel(runs["MP2-AP2"], runs["AP2-MP2"]).pvalue
    assert table.loc["b L2 MP2→AP2 − AP2→MP2", "p"] == pytest.approx(expected)
