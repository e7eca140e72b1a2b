"""Quantities of chapter 7 on records whose answer is known by construction."""

import pandas as pd
import pytest

from filterwise import claims
from filterwise.papers.page import Page
from filterwise.papers.vit_shp import arm_figures, figures, head_tables, place_columns

PARTS = "ff/0 qkv/1 ff/1 qkv/2 ff/2 qkv/3 ff/3"


def along(name, place, values, first=1):
    return {f"{name}@{place}/{m}": value for m, value in enumerate(values, start=first)}


def net(seed, network="cct H16", **more):
    row = {
        "measure": "vit.places",
        "kind": "transformer",
        "network": network,
        "data": "planted",
        "labels": 10,
    }
    row |= {"seed": seed, "parts": PARTS, "accuracy": 0.9, "device": "cpu"}
    return row | along("heads", "qkv", [16, 16, 16]) | more


def values(name, rows, /, **options):
    table = claims.measure(name, pd.DataFrame(rows), options)
    return {(row["arm"], row["seed"]): (row["value"], row["control"]) for row in table.to_dict("records")}


def only(name, rows, /, **options):
    ((_, found),) = values(name, rows, **options).items()
    return found


def test_rank_correlation_follows_the_places_and_not_the_columns():
    trained, plain = [0.2, 0.5, 0.4, 0.8], [0.2, 0.2, 0.1, 0.1]
    row = net(
        0, **along("probe_accuracy", "ff", trained, 0), **along("untrained_probe_accuracy", "ff", plain, 0)
    )
    row |= along("probe_accuracy", "qkv", [0.9, 0.5, 0.1])
    shuffled = dict(sorted(row.items(), key=lambda item: item[0][::-1]))
    assert only("token_rank_correlation", [shuffled])[0] == pytest.approx(0.8)
    assert only("token_rank_correlation", [shuffled], place="qkv")[0] == pytest.approx(-1)
    value, control = only("token_gain_over_untrained", [shuffled])
    assert (value, control) == (pytest.approx(0.7), pytest.approx(-0.1))
    assert only("last_encoder_gap", [shuffled]) == (pytest.approx(0.1), pytest.approx(0.9))


def test_quantities_of_one_data_set_or_kind_leave_the_others_out():
    rows = [
        net(0, **along("n", "qkv", [8, 4, 2])),
        net(0, data="flowers102 (x)", **along("n", "qkv", [8, 4, 4])),
    ]
    rows += [net(0, "cnn-a", kind="cnn", parts="layer/1 layer/2", **along("n", "layer", [10, 1]))]
    assert only("node_noise_ratio", rows, data="flowers102")[0] == pytest.approx(0.5)
    assert only("node_noise_ratio", rows, kind="cnn", place="layer")[0] == pytest.approx(0.1)
    assert {arm.split(", ")[1] for arm, _ in values("node_noise_ratio", rows)} == {
        "planted",
        "flowers102 (x)",
    }


def test_labels_of_a_node_are_the_highest_of_all_places_and_a_share_of_all_labels():
    row = net(
        0, **along("D", "qkv", [1, 3, 2]), **along("D", "ff", [9, 1, 1, 2], 0)
    )  # the tokens do not count
    row |= along("untrained_D", "qkv", [5, 5, 5]) | along("no_cluster", "qkv", [0, 0.1, 0])
    assert only("labels_of_a_node", [row]) == (pytest.approx(0.3), pytest.approx(0.5))
    assert only("labels_of_a_node", [row], less_untrained=True)[0] == pytest.approx(-0.2)
    assert only("nodes_without_cluster", [row])[0] == pytest.approx(0.1)
    assert values("labels_of_a_node", [row], labels=100) == {}


def test_experts_need_the_last_encoder_their_share_of_labels_and_more_than_random_groups():
    row = net(0, **along("z_gap", "qkv", [9, 9, 4]), **along("gap", "qkv", [0.1, 0.2, 0.3]))
    row |= along("least_owned", "qkv", [5, 5, 1]) | along("z_gap_votes", "qkv", [1, 1, 2])
    row |= along("own_accuracy", "qkv", [0, 0, 0.8]) | along("best_node", "qkv", [0, 0, 0.5])
    row |= along("null_own_accuracy", "qkv", [0, 0, 0.7]) | along("null_best_node", "qkv", [0, 0, 0.6])
    assert only("specialisation_z", [row]) == (4, pytest.approx(0.3))
    assert only("specialisation_z", [row], tail="_votes")[0] == 2
    assert not values("labels_owned", [row])  # of sixteen heads and ten labels some own none
    assert only("labels_owned", [row | {"labels": 20}]) == (pytest.approx(4 * 16 / 20), 16)
    assert only("cooperation", [row]) == (pytest.approx(0.3), pytest.approx(0.1))
    assert only("cooperation", [row], less_random=True)[0] == pytest.approx(0.2)
    assert only("specialisation_rank_correlation", [row])[0] == pytest.approx(-0.866, abs=1e-3)


def test_owner_maps_agree_up_to_the_names_of_the_heads():
    """Seeds 0 and 1 are one map with other numbers; seed 2 has nothing to do with it."""
    maps = ["0 0 1 1 2 2", "2 2 0 0 1 1", "0 1 2 0 1 2"]
    rows = [net(seed, **{"owners@qkv/3": owners}, **along("z_gap", "qkv", [0, 0, 5]))
            for seed, owners in enumerate(maps)]  # fmt: skip
    found = values("owner_agreement", rows)
    by_seed = {seed: value for (_, seed), (value, _) in found.items()}
    assert by_seed[2] < 0 < by_seed[0] == by_seed[1]
    assert by_seed[0] == pytest.approx((1 + by_seed[2]) / 2)
    assert {control for _, control in found.values()} == {5}
    assert values("owner_agreement", rows[:1]) == {}


def test_matrices_of_heads_are_those_of_networks_with_many():
    few = net(0, "cct H4", **along("head_n", "qkv", [8, 4, 2])) | along("heads", "qkv", [4, 4, 4])
    many = net(0, **along("head_n", "qkv", [10, 5, 4]), **along("untrained_head_n", "qkv", [10, 9, 9]))
    rows = [few, many]
    assert only("of_a_head", rows, name="n") == (4, 9)
    assert only("of_a_head", rows, name="n", how="ratio") == (pytest.approx(0.4), pytest.approx(0.9))
    assert only("of_a_head", rows, name="n", share="matrix")[0] == pytest.approx(0.04)
    assert only("of_a_head", rows, name="n", share="heads")[0] == pytest.approx(0.25)
    assert only("of_a_head", rows, name="n", less_untrained=True)[0] == -5
    beyond = net(0, **along("z_head_n", "qkv", [1, 2, -3]), **along("null_head_n", "qkv", [1, 2, 6]))
    assert only("beyond_random_groups", [beyond], name="n") == (-3, 6)


def pruned(seed, criterion, theta, accuracy, removed=0.0, kind="andc"):
    row = {"measure": "vit.pruned", "kind": kind, "network": "cct H4", "data": "planted", "labels": 10}
    row |= {"seed": seed, "criterion": criterion, "theta": theta, "accuracy": accuracy, "accuracy_as_is": 0.1}
    return row | {"removed_share": removed, "heads": 4, "parameters_left": 9, "ms@pruned": 1, "ms@dense": 2}


def test_andc_is_judged_where_it_first_removes_half_and_beside_as_many_random_weights():
    rows = [pruned(0, "dense", 0.0, 0.8)]
    for theta, removed, lost in ((0.3, 0.4, 0.0), (0.5, 0.6, 0.02), (0.7, 0.9, 0.1)):
        rows += [pruned(0, "andc", theta, 0.8 - lost, removed), pruned(0, "random", theta, 0.7, removed)]
    assert values("andc_loss", rows) == {
        ("cct H4, planted, threshold 0.5", 0): (pytest.approx(0.02), pytest.approx(0.1))
    }
    assert only("andc_minus_peer", rows) == (pytest.approx(0.08), pytest.approx(0.7))
    assert values("andc_minus_peer", rows, peer="magnitude") == {}
    assert values("andc_loss", rows[1:]) == {}  # nothing to compare with


def test_pruned_heads_stand_below_the_network_that_was_not_pruned():
    reached = {"dense": 0.8, "shp": 0.7, "random": 0.6, "magnitude": 0.75}
    rows = [pruned(0, name, 0.0, value, kind="heads") for name, value in reached.items()]
    assert arm_figures.pruned_heads_table(pd.DataFrame(rows)).index[0] == "not pruned"


def committee(seed, kind, gain, best=0.0, data="planted", member=0.6):
    row = {"measure": "vit.committee", "kind": kind, "network": "committee", "data": data, "seed": seed}
    row |= {"gain@softmax": gain, "gain_over_best@softmax": best, "independent_gain@softmax": 0.2}
    return row | {"mean_member": member, "labels": 10, "accuracy": member + gain}


def test_difference_counts_only_beside_the_other_committees():
    rows = [committee(seed, "different transformers", 0.05 + seed / 100, 0.03) for seed in range(3)]
    rows += [committee(0, "equal transformers", gain) for gain in (0.03, 0.05)]
    rows += [committee(seed, "different cnns", 0.06, member=0.62) for seed in range(3)]
    rows += [committee(0, "equal transformers", 9.0, data="others")]
    found = values("gain_of_difference", rows)
    arm = "against equal transformers, planted"
    assert found == {
        (arm, seed): (pytest.approx(0.01 + seed / 100), pytest.approx(0.04)) for seed in range(3)
    }
    assert only("gain_of_difference", rows[:1] + rows[5:6], other="different cnns")[0] == pytest.approx(-0.01)
    assert values("gain_of_difference", rows, other="equal cnns") == {}
    assert only("committee_gain", rows[:1]) == (pytest.approx(0.03), pytest.approx(0.2))
    assert only("equal_accuracy_of_cnns", [rows[0], rows[5]])[0] == pytest.approx(0.02)


def test_many_heads_are_compared_with_few_of_the_same_seed_and_data():
    rows = [net(0, "cct H4", accuracy=0.8), net(1, "cct H4", accuracy=0.7), net(1, accuracy=0.71), net(2)]
    assert values("accuracy_beside_few_heads", rows) == {
        ("cct H16, planted", 1): (pytest.approx(0.01), pytest.approx(0.7))
    }


LATENCY = {
    "measure": "vit.latency", "network": "latencies", "data": "planted", "seed": 0, "labels": 10,
    "ms_128_float32@H4": 10.0, "ms_128_float32@H4 conv": 7.0, "ms_128_float32@H16": 20.0,
    "test_accuracy@H4": 0.7, "test_accuracy@H4 conv": 0.72, "early_accuracy@H4": 0.3,
    "early_accuracy@H4 conv": 0.4,
}  # fmt: skip


def test_convolutions_are_compared_with_the_same_heads_without():
    assert values("time_saved", [LATENCY]) == {("H4 conv, planted", 0): (pytest.approx(0.3), 10)}
    assert only("accuracy_of_convolutions", [LATENCY])[0] == pytest.approx(0.02)
    assert only("accuracy_of_convolutions", [LATENCY], when="early")[0] == pytest.approx(0.1)
    table = arm_figures.latency_table(pd.DataFrame([LATENCY]))
    assert table.loc["H4 conv", "ms, batch 128"] == 7


def test_what_is_read_after_convolutions_stands_beside_the_encoders_that_they_replaced():
    base = net(0, "cct H4", **along("probe_accuracy", "ff", [0.2, 0.5, 0.6, 0.7], 0))
    conv = net(0, "cct H4 conv", kind="convolved", parts="ff/0 qkv/3 ff/3", **{"probe_accuracy@ff/0": 0.65})
    assert only("read_after_convolutions", [base, conv]) == (pytest.approx(0.05), pytest.approx(0.6))
    assert values("read_after_convolutions", [conv]) == {}


def test_every_quantity_is_silent_without_its_columns():
    others = pd.DataFrame([{"network": "x", "data": "y", "seed": 0, "labels": 3, "accuracy": 0.1}])
    own = [claim for claim in claims.load("7-vit-shp")]
    names = {(claim.quantity, tuple(claim.options.items())) for claim in own}
    names |= {(c.quantity, tuple(c.options.items())) for claim in own for c in claim.criterion.conditions}
    assert len(names) > 20
    for name, options in names:
        assert claims.measure(name, others, dict(options)).empty


def test_tables_and_figures_of_records_come_from_their_columns():
    names = ("gap", "null_gap", "sd_gap", "z_gap", "z_gap_votes", "z_gap_field", "own_accuracy",
             "null_own_accuracy", "best_node", "probe_accuracy", "untrained_probe_accuracy")  # fmt: skip
    heads = ("N_c", "unit_share", "n", "coverage", "SNR_label", "least_coverage")
    rows = []
    for seed in range(2):
        row = net(seed)
        for name in (*names, *(f"{null}head_{one}" for one in heads for null in ("", "null_"))):
            row |= along(name, "qkv", [0.1, 0.2, 0.3 + seed])
        row |= along("probe_accuracy", "ff", [0.1, 0.2, 0.3, 0.4], 0)
        rows.append(row)
    records = pd.DataFrame(rows)
    long = figures.long_table(records, ("gap", "z_gap"), "qkv")
    assert long[long["seed"] == 1]["gap"].tolist() == [0.1, 0.2, 1.3]
    assert head_tables.owners_table(records).loc[("cct H16", "planted"), "z, votes"] == pytest.approx(0.8)
    table = head_tables.recorded_heads_table(records)
    assert table.loc[("cct H16", "planted", "encoder 3"), "noise"] == "0.80 | 0.80"
    for draw in (figures.read_along_encoders, figures.heads_beside_random):
        assert "encoder" in draw(records).alt
    assert place_columns.by_place(records, "gap", "ff") == [{}, {}]


@pytest.mark.parametrize("rows", [[], [{"network": "x", "data": "y", "seed": 0, "labels": 3, "accuracy": 1}]])
def test_the_page_says_what_is_not_recorded_yet(rows):
    page, records = Page("7-vit-shp"), pd.DataFrame(rows)
    tables = [
        head_tables.owners_table,
        head_tables.labels_or_digits,
        head_tables.recorded_heads_table,
        head_tables.threshold_table,
    ]
    tables += [arm_figures.pruned_table, arm_figures.pruned_heads_table]
    tables += [lambda records: arm_figures.committee_table(records, "")]
    tables += [arm_figures.latency_table]
    drawn = [figures.read_along_encoders, figures.nodes_along_depth, figures.heads_beside_random]
    drawn += [arm_figures.accuracy_against_removed, arm_figures.accuracy_against_latency]
    for make in [*tables, *drawn]:
        if len(records) or make in drawn:
            assert "filterwise record 7-vit-shp" in page.show(make, records, profile="cifar").text
        assert make not in tables or make(records).empty
    assert arm_figures.histories(records, "cifar") == {}
