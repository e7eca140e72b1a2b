"""Quantities of chapter 1 on records whose answer is known by construction."""

import numpy as np
import pandas as pd
import pytest

from filterwise import claims
from filterwise.claims import registered, test_images
from filterwise.papers.pooling import held_out_choice


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


def order_runs(gaps, base="vgg6", plan="L2", orders=("MP2-AP4", "AP4-MP2"), **about):
    """Seed by seed two runs whose accuracies differ by a gap, max first minus average first."""
    rows = []
    for seed, gap in enumerate(gaps):
        level = 0.6 + 0.05 * seed  # the seeds differ by more than the orders do
        for order, accuracy in zip(orders, (level + gap, level), strict=True):
            rows.append({**pooling_run(f"a{base}", base, plan, order, seed, 12, 4e6, accuracy), **about})
    return pd.DataFrame(rows)


def test_order_contrast_is_the_mean_over_pairs_seed_by_seed():
    first = order_runs([0.03, 0.01, 0.02])
    second = order_runs([0.01, -0.01, 0.02], plan="L3", orders=("MP2-AP2", "AP2-MP2"))
    table = claims.measure("order_contrast", pd.concat([first, second]))
    assert table["value"].tolist() == pytest.approx([0.02, 0.0, 0.02])
    assert set(table["control"]) == {2}
    assert table["arm"].str.startswith("max first").all()
    single = order_runs([0.9], plan="L1", orders=("MP8-AP2", "AP2-MP8"))  # one seed where others have three
    assert claims.measure("order_contrast", pd.concat([first, second, single])).equals(table)


def test_order_contrast_is_turned_as_a_whole_and_never_seed_by_seed():
    """Seeds that disagree keep their signs; the absolute values would make an effect out of noise."""
    table = claims.measure("order_contrast", order_runs([-0.03, 0.01, -0.01]))
    assert table["value"].tolist() == pytest.approx([0.03, -0.01, 0.01])
    assert table["arm"].str.startswith("average first").all()
    turned = claims.measure("order_contrast", order_runs([0.03, -0.01, 0.01]))
    assert turned["value"].tolist() == pytest.approx(table["value"].tolist())


def test_a_pair_is_two_orders_at_one_rate_and_number_of_epochs():
    records = order_runs([0.02] * 3, lr=0.1)
    records.loc[records["order"] == "AP4-MP2", "lr"] = 0.05
    assert claims.measure("order_contrast", records).empty


@pytest.mark.parametrize(
    ("gaps", "verdict"),
    [
        ([0.030, 0.031, 0.029], "holds"),
        ([-0.030, -0.031, -0.029], "holds"),
        ([0.0003, -0.0002, 0.0001], "fails"),
        ([0.03, -0.02, 0.01], "undecided"),
        ([0.03, 0.03], "undecided"),
    ],
)
def test_p7_is_two_sided_and_can_fail(gaps, verdict):
    (claim,) = (claim for claim in claims.load("1-pooling") if claim.id == "P7")
    exact = {"route_spread@AP2-MP4": 0.7, "route_spread@MP4-AP2": 2.8}
    records = order_runs(gaps).assign(**exact, spec_key="x")
    assert claims.find(claim, records, "quick", np.random.default_rng(0)).verdict == verdict


def held_out(base, plan, order, rate, accuracies, macs=1e6):
    name = f"{'' if plan == 'V' else 'a'}{base} tuning"
    return [
        pooling_run(name, None, plan, order, seed, 12, macs, accuracy) | {"lr": rate, "arm_kind": "tuning"}
        for seed, accuracy in enumerate(accuracies)
    ]


@pytest.fixture
def looks():
    """V is best at 0.05, the late side with MP8 at 0.1."""
    return pd.DataFrame(
        [
            *held_out("vgg6", "V", np.nan, 0.05, (0.70, 0.72)),
            *held_out("vgg6", "V", np.nan, 0.1, (0.71, 0.69)),
            *held_out("vgg6", "L2", "MP8", 0.05, (0.60, 0.60), 4e6),
            *held_out("vgg6", "L2", "MP8", 0.1, (0.65, 0.75), 4e6),
            *held_out("vgg6", "L2", "AP8", 0.05, (0.74, 0.64), 4e6),
            *held_out("vgg6", "L2", "AP8", 0.1, (0.66, 0.66), 4e6),
        ]
    )


def best(records):
    ((early, late),) = held_out_choice.choices(records).values()
    return (early.lr, early.accuracy), (late.order, late.lr, late.accuracy, late.seeds, late.among)


def test_the_planted_best_is_chosen_on_both_sides(looks):
    assert best(looks) == ((0.05, 0.71), ("MP8", 0.1, 0.70, 2, 4))
    shuffled = looks.sample(frac=1, random_state=0)
    assert best(shuffled) == best(looks)


def test_a_tie_goes_to_fewer_operations_then_to_the_lower_rate(looks):
    cheap = [
        row for rate in (0.05, 0.1) for row in held_out("vgg6", "L3", "AP2-MP2", rate, (0.69, 0.71), 2e6)
    ]
    assert best(pd.concat([looks, pd.DataFrame(cheap)]))[1][:2] == ("AP2-MP2", 0.05)


def test_rates_and_seeds_that_some_candidates_lack_do_not_count(looks):
    more = pd.DataFrame(held_out("vgg6", "V", np.nan, 0.2, (0.9, 0.9)))
    assert best(pd.concat([looks, more])) == best(looks)
    third = pd.DataFrame(held_out("vgg6", "L2", "AP8", 0.05, (0.74, 0.64, 0.99), 4e6))
    assert best(pd.concat([looks, third]).drop_duplicates(["plan", "order", "lr", "seed"])) == best(looks)
    assert held_out_choice.choices(looks[looks["plan"] != "V"]) == {}
    assert held_out_choice.choices(pd.DataFrame({"seed": [0]})) == {}


def test_the_gain_is_that_of_the_chosen_arms_and_no_other(looks, pooling_records):
    main = pooling_records.assign(arm_kind="main", lr=0.1)
    assert claims.measure("late_pooling_gain", pd.concat([looks, main])).empty  # not trained as chosen yet
    chosen = [
        pooling_run("avgg6", "vgg6", "L2", "MP8", seed, 10, 4e6, 0.5 + 0.1 * seed) | {"lr": 0.1}
        for seed in range(3)
    ] + [
        pooling_run("vgg6", "vgg6", "V", np.nan, seed, epochs, 1e6, accuracy + 0.1 * seed) | {"lr": 0.05}
        for seed in range(3)
        for epochs, accuracy in ((10, 0.46), (40, 0.53))
    ]
    records = pd.concat([looks, main, pd.DataFrame(chosen).assign(arm_kind="chosen")])
    table = claims.measure("late_pooling_gain", records)
    assert table["value"].tolist() == pytest.approx([0.04] * 3)
    assert table["control"].tolist() == pytest.approx([-0.03] * 3)
    # runs at a chosen rate are no part of comparisons at one rate
    named = {"network": "avgg6", "baseline": "vgg6"}
    late = records[records["order"] != "MP4-AP2"]
    assert claims.measure("accuracy_difference", late, named)["value"].tolist() == pytest.approx([0.02] * 3)


def test_two_networks_are_compared_as_chosen_or_as_fixed(looks, pooling_records):
    fixed = pooling_records[pooling_records["order"] != "MP4-AP2"].replace({"network": {"vgg6": "vgg16"}})
    options = {"base": "vgg6", "baseline": "vgg16"}
    table = claims.measure("chosen_difference", fixed, options)
    assert table["value"].tolist() == pytest.approx([0.02] * 3)
    assert claims.measure("chosen_difference", pd.concat([looks, fixed]), options).empty


def test_differences_are_given_image_by_image(pooling_records, tmp_path):
    """The value is the mean over the images, whatever is compared."""
    rng, rows = np.random.default_rng(0), []
    for number, row in enumerate(pooling_records.to_dict("records")):
        bits = rng.random(40) < row["accuracy"]
        path = tmp_path / f"{number}.npz"
        np.savez(path, right=np.packbits(bits)[None])
        rows.append(
            row | {"accuracy": bits.mean(), "right": test_images.Right(path, 40, bits.mean(), "same")}
        )
    records = pd.DataFrame(rows)
    late = records[records["order"] != "MP4-AP2"]
    named = {"network": "avgg6", "baseline": "vgg6"}
    for name, some, options in (
        ("late_pooling_gain", records, {}),
        ("accuracy_difference", late, named),
        ("network_accuracy", late, {"network": "avgg6"}),
        ("order_contrast", records, {}),
    ):
        found = registered.rows_found(name, some, options)
        assert len(found) == 3, name
        for row in found:
            assert row["images"].shape == (40,)
            assert row["images"].mean() == pytest.approx(row["value"], abs=1e-6), name


def test_routes():
    exact = pd.DataFrame(
        [{"seed": 0, "data": "maps", "routes@AP2-MP4": 4.0, "routes@MP8": 1.0, "routes@AP8": 64.0,
          "route_spread@AP2-MP4": 0.7, "route_spread@MP4-AP2": 2.8, "order_inequality_share": 1.0}]
    )  # fmt: skip
    assert claims.measure("route_count_error", exact)["value"].tolist() == [0.0]
    assert claims.measure("route_spread_ratio", exact)["value"].tolist() == pytest.approx([4.0])
    wrong = exact.assign(**{"routes@MP8": 2.0})
    assert claims.measure("route_count_error", wrong)["value"].tolist() == [1.0]


def test_trained_routes_count_beyond_those_of_the_untrained_network():
    """Ratio 2 against 1.5 in one pair, 4 against 4.5 in the other: on the mean nothing is added."""
    rows = []
    for orders, trained, untrained in (
        (("MP2-AP4", "AP4-MP2"), (3.0, 1.5), (3.0, 2.0)),
        (("MP4-AP2", "AP2-MP4"), (2.0, 0.5), (4.5, 1.0)),
    ):
        for kind, column, spreads in (("main", "trained", trained), ("untrained", "untrained", untrained)):
            runs = order_runs([0.0] * 3, orders=orders, arm_kind=kind)
            spread = runs["order"].map(dict(zip(orders, spreads, strict=True)))
            rows.append(runs.assign(**{f"{column}_spread": spread}))
    table = claims.measure("trained_spread_gain", pd.concat(rows))
    assert table["value"].tolist() == pytest.approx([0.0] * 3)
    assert table["control"].tolist() == pytest.approx([3.0] * 3)
    one_pair = claims.measure("trained_spread_gain", pd.concat(rows[:2]))
    assert one_pair["value"].tolist() == pytest.approx([0.5] * 3)
    assert claims.measure("trained_spread_gain", pd.concat([rows[0], rows[2]])).empty  # nothing untrained


def test_fc_activation_gap(pooling_records):
    relu = pooling_records.assign(fc_activation="relu", accuracy=lambda t: t["accuracy"] + 0.001)
    table = claims.measure("fc_activation_gap", pd.concat([pooling_records, relu]))
    assert len(table) == len(pooling_records)
    assert table["value"].tolist() == pytest.approx([-0.001] * len(table))
