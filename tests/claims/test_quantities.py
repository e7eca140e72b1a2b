"""Quantities of chapters 1 and 3 on records whose answer is known by construction."""

import math

import numpy as np
import pandas as pd
import pytest

from filterwise import claims


def pooling_run(network, base, plan, order, seed, epochs, macs, accuracy, fc_activation="linear"):
    return {
        "network": network, "base": base, "plan": plan, "order": order, "seed": seed, "data": "planted",
        "device": "cpu", "epochs": epochs, "macs": macs, "accuracy": accuracy, "fc_activation": fc_activation,
    }  # fmt: skip


@pytest.fixture
def pooling_records():
    """Late pooling gains 0.02 at equal epochs and loses 0.01 at equal compute (4 times the operations)."""
    rows = []
    for seed in range(3):
        early = 0.80 + 0.01 * seed
        rows += [
            pooling_run("vgg6", "vgg6", "V", np.nan, seed, 10, 1e6, early),
            pooling_run("vgg6", "vgg6", "V", np.nan, seed, 40, 1e6, early + 0.03),
            pooling_run("avgg6", "vgg6", "L2", "AP2-MP4", seed, 10, 4e6, early + 0.02),
            pooling_run("avgg6", "vgg6", "L2", "MP4-AP2", seed, 10, 4e6, early + 0.01 + 0.001 * seed),
        ]
    return pd.DataFrame(rows)


def test_equal_epochs_and_equal_compute_are_kept_apart(pooling_records):
    table = claims.measure("late_pooling_gain", pooling_records)
    assert table["value"].tolist() == pytest.approx([0.02] * 3)
    assert table["control"].tolist() == pytest.approx([-0.01] * 3)
    longer = pooling_records[pooling_records["epochs"] != 40]
    assert claims.measure("late_pooling_gain", longer)["control"].isna().all()


def test_difference_of_named_networks(pooling_records):
    late = pooling_records[pooling_records["order"] != "MP4-AP2"]
    table = claims.measure("accuracy_difference", late, {"network": "avgg6", "baseline": "vgg6"})
    assert table["value"].tolist() == pytest.approx([0.02] * 3)
    missing = claims.measure("accuracy_difference", late, {"network": ["avgg6", "avgg8"], "baseline": "vgg6"})
    assert missing.empty  # the smallest of several differences needs them all
    other = late[late["network"] == "avgg6"].assign(
        network="avgg8", base="vgg8", accuracy=lambda t: t["accuracy"] - 0.015
    )
    both = claims.measure(
        "accuracy_difference", pd.concat([late, other]), {"network": ["avgg6", "avgg8"], "baseline": "vgg6"}
    )
    assert both["value"].tolist() == pytest.approx([0.005] * 3)


def test_controls_and_relu_arms_are_no_part_of_the_gain(pooling_records):
    main = pooling_records.assign(arm_kind="main")
    late = main[main["order"] == "AP2-MP4"]
    bare = late.assign(arm_kind="control", accuracy=0.1)
    relu = late.assign(fc_activation="relu", accuracy=0.2)
    table = claims.measure("late_pooling_gain", pd.concat([bare, relu, main, bare]))
    assert table["value"].tolist() == pytest.approx([0.02] * 3)
    named = {"network": "avgg6", "baseline": "vgg6"}
    chosen = pd.concat([bare, relu, main[main["order"] != "MP4-AP2"]])
    assert claims.measure("accuracy_difference", chosen, named)["value"].tolist() == pytest.approx([0.02] * 3)


def test_order_contrast_is_the_paired_t(pooling_records):
    from scipy import stats

    late = pooling_records[pooling_records["plan"] == "L2"]
    one, two = (late.loc[late["order"] == order, "accuracy"].to_numpy() for order in ("AP2-MP4", "MP4-AP2"))
    (row,) = claims.measure("order_contrast", pooling_records).to_dict("records")
    assert row["value"] == pytest.approx(abs(stats.ttest_rel(one, two).statistic))
    assert row["control"] == 1


def test_routes():
    exact = pd.DataFrame(
        [{"seed": 0, "data": "maps", "routes@AP2-MP4": 4.0, "routes@MP8": 1.0, "routes@AP8": 64.0,
          "route_spread@AP2-MP4": 0.7, "route_spread@MP4-AP2": 2.8, "order_inequality_share": 1.0}]
    )  # fmt: skip
    assert claims.measure("route_count_error", exact)["value"].tolist() == [0.0]
    assert claims.measure("route_spread_ratio", exact)["value"].tolist() == pytest.approx([4.0])
    wrong = exact.assign(**{"routes@MP8": 2.0})
    assert claims.measure("route_count_error", wrong)["value"].tolist() == [1.0]


def test_trained_routes_are_compared_by_seed_and_the_smallest_pair_counts(pooling_records):
    spreads = {"MP2-AP4": 3.0, "AP4-MP2": 1.5, "MP4-AP2": 2.0, "AP2-MP4": 0.5}
    late = pooling_records[pooling_records["plan"] == "L2"].drop_duplicates(["seed"])
    records = pd.concat(
        [late.assign(order=order, trained_spread=spread) for order, spread in spreads.items()]
    )
    table = claims.measure("trained_spread_ratio", records)
    assert sorted(table["seed"]) == sorted(late["seed"])
    assert set(table["value"]) == {2.0}  # 3.0 / 1.5, not 2.0 / 0.5
    one_order = records[records["order"] == "MP2-AP4"]
    assert claims.measure("trained_spread_ratio", one_order).empty


def test_fc_activation_gap(pooling_records):
    relu = pooling_records.assign(fc_activation="relu", accuracy=lambda t: t["accuracy"] + 0.001)
    table = claims.measure("fc_activation_gap", pd.concat([pooling_records, relu]))
    assert len(table) == len(pooling_records)
    assert table["value"].tolist() == pytest.approx([-0.001] * len(table))


WIDTHS = (2, 4, 8, 16, 32)


def width_runs(
    rho, prefactor=0.8, family="lenet", variant="main", kind="main", macs=100.0, noise=0.0, bend=0.0
):
    rng = np.random.default_rng(5)
    rows = []
    for seed in range(3):
        for d1 in WIDTHS:
            x = np.log(d1)
            error = prefactor * np.exp(-rho * x + bend * x**2 + noise * rng.normal())
            rows.append(
                {"family": family, "variant": variant, "variant_kind": kind, "d1": d1, "macs": macs * d1**2,
                 "seed": seed, "data": "planted", "device": "cpu", "accuracy": 1 - error, "ratio": 2.67}
            )  # fmt: skip
    return pd.DataFrame(rows)


def value(name, records, **options):
    (row,) = claims.measure(name, records, options).to_dict("records")
    return row["value"]


def test_planted_exponent_is_recovered():
    records = width_runs(0.3, noise=0.01)
    assert value("width_exponent", records, family="lenet") == pytest.approx(0.3, abs=0.02)
    assert value("width_fit_r2", records) > 0.99
    assert value("width_quadratic_p", width_runs(0.3)) > 0.05
    assert value("width_quadratic_p", width_runs(0.3, noise=0.002, bend=0.03)) < 0.01
    assert value("widths_measured", records) == len(WIDTHS)
    assert value("widths_that_lower_the_error", width_runs(0.3)) == 1.0


def test_extrapolated_width_and_held_out_point():
    records = width_runs(0.5, prefactor=0.8)
    expected = math.log10((0.8 / 0.1) ** (1 / 0.5))
    assert value("width_for_error", records, error=0.1) == pytest.approx(expected, rel=1e-6)
    held = records[records["d1"] == 32].assign(d1=128, held_out=1, accuracy=1 - 1.1 * 0.8 * 128**-0.5)
    joined = pd.concat([records, held])
    assert value("held_out_error_ratio", joined) == pytest.approx(1.1, rel=1e-6)
    assert value("width_exponent", joined, family="lenet") == pytest.approx(0.5)  # no fit may see it


def test_operations_at_equal_error_by_the_closed_form():
    """Equal rho: the ratio is (macs ratio) * (prefactor ratio)^(2 / rho)."""
    both = pd.concat([width_runs(0.4, 0.8), width_runs(0.4, 0.7, family="vgg16", macs=1140.0)])
    expected = 11.4 * (0.7 / 0.8) ** (2 / 0.4)
    assert value("macs_ratio_at_equal_error", both) == pytest.approx(expected, rel=1e-3)
    assert value("exponent_difference", both) == pytest.approx(0.0, abs=1e-9)
    assert value("exponents_agree", both) == 1.0
    apart = pd.concat([width_runs(0.4), width_runs(0.1, family="vgg16")])
    assert value("exponents_agree", apart) == 0.0
    # beyond the measured widths: macs = 100 d1^2 (1140 d1^2) at d1* = (A / 0.065)^(1 / 0.4)
    (row,) = claims.measure("macs_ratio_at_equal_error", both).to_dict("records")
    assert row["control"] == pytest.approx(expected, rel=1e-3)


def test_two_widths_are_no_curve_to_compare():
    both = pd.concat([width_runs(0.4), width_runs(0.1, family="vgg16").query("d1 <= 4")])
    for name in ("exponents_agree", "exponent_difference", "macs_ratio_at_equal_error"):
        assert claims.measure(name, both).empty


def test_variants_are_counted_and_compared_with_their_family():
    records = pd.concat(
        [
            width_runs(0.30),
            width_runs(0.32, variant="ratio 2.0", kind="ratio"),
            width_runs(0.37, variant="ratio 4.0", kind="ratio", noise=0.002, bend=0.05),
            width_runs(0.28, variant="average pool", kind="variant"),
        ]
    )
    assert value("straight_variants", records, kind="ratio") == 1
    assert value("straight_variants", records, kind="variant") == 1
    straight = records[records["variant"] != "ratio 4.0"]
    assert value("variant_exponent_gap", straight) == pytest.approx(0.02, abs=1e-6)


def test_ratio_at_the_largest_budget():
    rows = [
        {"variant_kind": "budget", "ratio": ratio, "budget": budget, "seed": seed, "data": "planted",
         "accuracy": 1 - error - 0.01 * (seed - 1)}
        for budget, errors in ((1e6, (0.4, 0.5, 0.6)), (4e6, (0.45, 0.32, 0.30)))
        for ratio, error in zip((0.7, 2.75, 5.6), errors, strict=True)
        for seed in range(3)
    ]  # fmt: skip
    records = pd.DataFrame(rows)
    assert value("conserved_ratio_excess", records) == pytest.approx(2.0)  # 0.02 above the best, sd 0.01
    assert value("low_ratio_penalty", records) == pytest.approx(0.13)


def test_pooled_quantities_get_an_interval_from_resampled_seeds():
    (claim,) = [c for c in claims.load("3-power-law") if c.id == "L1"]
    records = width_runs(0.3, noise=0.02)
    finding = claims.find(claim, records, "quick", np.random.default_rng(0))
    (estimate,) = finding.headline
    assert estimate.low < estimate.value < estimate.high
    assert estimate.value == pytest.approx(0.3, abs=0.03)
    assert estimate.n == 3
    assert finding.verdict == "holds"
    assert claims.find(claim, width_runs(-0.1), "quick", np.random.default_rng(0)).verdict == "fails"
