"""Quantities of chapter 1 on records whose answer is known by construction."""

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
