"""Chapter 3's trainings: costs against the tables and counted networks, lists without overlaps."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch

import filterwise as fw
from filterwise.errors import ParameterError
from filterwise.papers.chapter import jobs as jobs_of
from filterwise.papers.power_law import plan
from filterwise.papers.power_law.cost_of_widths import (
    SCANNED_RATIOS,
    at_budget,
    lenet_macs,
    second_layer,
    vgg16_macs,
)
from filterwise.runs import rows
from filterwise.runs.jobs import check_jobs

# LeNet: d1, d2, million multiply-accumulates as printed, weights.
LENET = [
    (6, 16, "0.652", 62_006),
    (12, 32, "1.77", 117_678),
    (24, 64, "5.45", 243_422),
    (48, 128, "18.6", 552_510),
    (96, 256, "67.9", 1_401_086),
    (192, 512, "259", 4_019_838),
    (384, 1024, "1009", 12_943_742),
]
VGG = [(4, 1.33), (8, 5.09), (16, 19.9), (32, 78.7), (64, 313.2), (128, 1249)]


@pytest.mark.parametrize(("d1", "d2", "million", "weights"), LENET)
def test_lenet_costs_what_the_table_says(d1, d2, million, weights):
    assert second_layer(d1) == d2
    exact = 58_800 * d1 + 2_500 * d1 * d2 + 3_000 * d2 + 10_920
    assert lenet_macs(d1, d2) == exact
    assert float(f"{exact / 1e6:.3g}" if exact < 1e9 else round(exact / 1e6)) == float(million)
    assert 75 * d1 + d1 + 25 * d1 * d2 + d2 + 3_000 * d2 + 120 + 120 * 84 + 84 + 850 == weights


@pytest.mark.parametrize(("d1", "d2"), [(1, 1), (2, 5), (7, 3), (48, 128)])
@pytest.mark.parametrize(("channels", "size"), [(3, 32), (1, 28), (1, 32), (3, 36)])
def test_lenet_formula_equals_the_counted_network(d1, d2, channels, size):
    net = fw.models.build("lenet5", channels=channels, size=size, d1=d1, d2=d2)
    assert lenet_macs(d1, d2, channels, size) == fw.models.macs(net, (channels, size, size))


@pytest.mark.parametrize(("d1", "million"), VGG)
def test_vggs_convolutions_cost_what_the_table_says(d1, million):
    fully_connected = 8 * d1 * 64 * d1 + (64 * d1) ** 2 + 64 * d1 * 10
    assert math.isclose((vgg16_macs(d1) - fully_connected) / 1e6, million, rel_tol=5e-3)


@pytest.mark.parametrize("d1", [1, 4, 8])
def test_vgg_formula_equals_the_counted_network(d1):
    net = fw.models.build("vgg16", d1=d1)
    assert fw.models.macs(net) == vgg16_macs(d1)


@pytest.mark.parametrize("ratio", [*SCANNED_RATIOS, 0.35, 1 / 3])
@pytest.mark.parametrize("narrowest", [4, 8, 16, 64])
def test_a_budget_buys_the_nearest_width_of_all(ratio, narrowest):
    budget = lenet_macs(narrowest, second_layer(narrowest, 2.8))
    costs = {d1: lenet_macs(d1, second_layer(d1, ratio)) for d1 in range(math.ceil(0.5 / ratio), 400)}
    nearest = min(costs, key=lambda d1: abs(costs[d1] - budget))
    assert at_budget(budget, ratio) == (nearest, second_layer(nearest, ratio))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: second_layer(0), "d1=0"),
        (lambda: second_layer(6.0), "d1=6.0"),
        (lambda: second_layer(3, 0.1), "gives d2=0 at d1=3"),
        (lambda: second_layer(3, -1.0), "ratio=-1.0"),
        (lambda: second_layer(3, math.nan), "ratio=nan"),
        (lambda: at_budget(1_000, 2.8), "budget=1000 is too small"),
        (lambda: at_budget(math.inf, 2.8), "budget=inf"),
        (lambda: lenet_macs(6, 0), "d2=0"),
        (lambda: lenet_macs(6, 16, size=8), "size=8"),
        (lambda: plan.points("cifer"), "did you mean 'cifar'"),
        (lambda: jobs_of("3-power-law", "big"), "profile='big'"),
    ],
)
def test_what_cannot_be_is_refused_by_name(call, message):
    with pytest.raises(ParameterError, match=message):
        call()


@pytest.mark.parametrize("profile", ["quick", "cifar", "short", "paper"])
def test_lists_are_consistent(profile):
    jobs = plan.jobs(profile)
    check_jobs(jobs)
    points = [point for group in plan.points(profile) for point in group]
    assert [job.name for job in jobs] == [point.name for point in points]
    assert [job.priority for job in jobs] == sorted(job.priority for job in jobs)
    for point in points:
        options = point.run.model_kwargs
        if point.family != "vgg16":
            assert options["d1"] == point.d1
            assert point.kind == "budget" or options["d2"] == second_layer(point.d1, point.ratio)
        else:
            assert options.get("d1", 64) == point.d1


@pytest.mark.parametrize("profile", ["quick", "cifar", "short", "paper"])
def test_the_main_curve_has_one_recipe_and_no_held_out_width_in_its_fit(profile):
    points = [point for group in plan.points(profile) for point in group if point.family != "vgg16"]
    main = [point for point in points if point.kind == "main" and not point.held_out]
    held = {point.d1 for point in points if point.held_out}
    for curve in {(point.family, point.variant) for point in main}:
        on_it = [point for point in main if (point.family, point.variant) == curve]
        assert len({(point.run.recipe, point.run.data_options, point.run.model) for point in on_it}) == 1
        widths = sorted({point.d1 for point in on_it})
        assert len(widths) >= 4
        assert all(high == 2 * low for low, high in itertools.pairwise(widths))
        assert not held & set(widths)
        assert all(width > widths[-1] for width in held)


def test_lenets_with_batch_norm_differ_from_the_others_in_that_alone():
    plain, normed = plan.CIFAR.lenet_point(12, 0), plan.CIFAR.lenet_point(12, 0, family="lenet bn")
    assert normed.run == plain.run.replace(model="lenet5bn")
    assert normed.kind == plain.kind == "main"


def test_every_comparison_at_cifar_has_four_widths_in_each_family():
    points = [point for group in plan.points("cifar") for point in group if point.kind == "main"]
    same = plan.CIFAR.lenet_point(6, 0).run
    for family in ("lenet", "lenet bn", "vgg16"):
        widths = {
            point.d1 for point in points
            if point.family == family and not point.held_out
            and (point.run.data_options, point.run.recipe) == (same.data_options, same.recipe)
        }  # fmt: skip
        assert len(widths) >= 4


@pytest.mark.parametrize("profile", ["cifar", "short", "paper"])
def test_a_scan_costs_about_its_budget_everywhere(profile):
    scan = [point for group in plan.points(profile) for point in group if point.kind == "budget"]
    assert {point.ratio for point in scan} == set(SCANNED_RATIOS)
    for point in scan:
        cost = lenet_macs(point.d1, point.run.model_kwargs["d2"])
        # An integer d1 cannot do better than half a step, which is largest at the narrowest layer.
        assert abs(cost / point.budget - 1) < 0.6 / point.d1 + 0.02


def test_variants_differ_from_the_main_curve_in_one_thing():
    study = plan.CIFAR
    plain = study.lenet_point(12, 0)
    for name, (options, changes) in plan.VARIANTS.items():
        (point,) = study.variant_curve(name, (12,), 0)
        assert point.run.model_kwargs == {**plain.run.model_kwargs, **options}
        assert point.run.recipe == dataclasses.replace(plain.run.recipe, **changes)


def test_a_record_says_what_was_measured(tmp_path):
    torch.set_num_threads(1)
    point = plan.QUICK.lenet_point(2, 0)
    run = point.run.replace(**{"recipe.epochs": 1, "data_options.n": 200, "data_options.n_test": 100})
    result = fw.runs.result(run, tmp_path, device="cpu")
    found = result.measured("power_law.point")
    row = fw.runs.row(dataclasses.replace(point, run=run).job(), [result], found)
    net = result.network()
    assert row["macs"] == lenet_macs(2, 5, 1, 28)
    assert row["parameters"] == sum(p.numel() for p in net.parameters())
    images = fw.data.scale(result.train_set().images)
    with torch.no_grad():
        right = (net(images).argmax(1) == result.train_set().labels).double().mean().item()
    assert row["train_accuracy"] == pytest.approx(right, abs=1e-9)
    assert (row["family"], row["variant_kind"], row["d1"], row["d2"]) == ("lenet", "main", 2, 5)
    assert (row["train_images"], row["test_images"]) == (200, 100)
    kept = rows.arrays([result], found)
    assert kept["history"][-1, rows.HISTORY.index("test_accuracy")] == pytest.approx(row["accuracy"])
    assert np.unpackbits(kept["right"][0], count=100).mean() == pytest.approx(row["accuracy"])
