"""Quantities and tables of chapter 6 on records whose answer is known by construction."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import special

from filterwise import claims
from filterwise.claims.verdict import find
from filterwise.papers.rodib import timed_tables as tables
from filterwise.papers.rodib.quantities import expected_outputs

BASE = {"single delay": 0.5, "generic": 0.7, "wide": 0.72}


def run(arm, n, seed, accuracy, labels=10, delays=4, matches="", **other):
    return {
        "arm": arm, "M": 1 if arm == "single delay" else delays, "N": n, "matches": matches, "task": "one",
        "delayed": "both", "purpose": "main", "label_map": "spread", "labels": labels, "data": "planted",
        "seed": seed, "accuracy": accuracy, "device": "cpu", "front": "vgg6", "hidden": n,
        "parameters": 1000 + 100 * n, "outputs_used": labels, "outputs_available": 16, **other,
    }  # fmt: skip


def records(gaps, seeds=3, noise=0.0, **other):
    """Runs at N -> gap of four generic delays over one; the wide network is 0.02 above the delays."""
    rows = []
    for n, gap in gaps.items():
        for seed in range(seeds):
            base, wobble = 0.5 + 0.05 * seed, noise * (seed - 1)  # seeds differ by more than arms
            rows += [
                run("single delay", n, seed, base, **other),
                run("generic", n, seed, base + gap + wobble, **other),
                run("wide", n, seed, base + gap + wobble + 0.02, matches="generic", **other),
            ]
    return pd.DataFrame(rows)


def test_gaps_are_paired_by_seed_and_split_at_the_number_of_labels():
    table = records({4: 0.2, 10: 0.01, 16: 0.0})
    for regime, expected in (("below", [0.2] * 3), ("enough", [0.01] * 3 + [0.0] * 3), ("above", [0.0] * 3)):
        found = claims.measure("same_n_gap", table, {"regime": regime})
        assert sorted(found["value"]) == pytest.approx(sorted(expected))
        assert found["control"].tolist() == pytest.approx([-0.02] * len(expected))
    mean = claims.measure("mean_gap", table, {"regime": "enough"})
    assert mean["value"].tolist() == pytest.approx([0.005] * 3)
    closing = claims.measure("gap_closing", table)
    assert closing["value"].tolist() == pytest.approx([0.2] * 3)


def test_other_purposes_maps_and_heads_are_no_part_of_the_gap():
    table = records({4: 0.2})
    others = [
        table.assign(purpose="explorer", accuracy=0.9),
        table.assign(label_map="fill", accuracy=0.9),
        table.assign(delayed="convolution", accuracy=0.9),
        table.assign(task="pair", accuracy=0.9),
    ]
    found = claims.measure("same_n_gap", pd.concat([*others, table]))
    assert found["value"].tolist() == pytest.approx([0.2] * 3)
    lone = table[table["arm"] != "single delay"]
    assert claims.measure("same_n_gap", lone).empty


def test_without_a_trunk_the_single_delay_of_as_many_weights_is_the_control():
    """795 parameters a node: the counterpart with 8 of them has the weights of four delays and N = 2."""
    flat = {"front": "flat", "delays": 4}
    rows = [
        run("single delay", 2, 0, 0.3, **flat, parameters=1600),
        run("generic", 2, 0, 0.8, **flat, parameters=6312),
        run("single delay", 8, 0, 0.85, **flat, parameters=6370),
    ]
    found = claims.measure("same_n_gap", pd.DataFrame(rows))
    assert found["value"].tolist() == pytest.approx([0.5])
    assert found["control"].tolist() == pytest.approx([-0.05])
    far = pd.DataFrame([*rows[:2], {**rows[2], "parameters": 9000}])
    assert claims.measure("same_n_gap", far)["control"].isna().all()
    trunk = pd.DataFrame(rows).assign(front="vgg6")  # nearly all weights are the trunk's: no such control
    assert claims.measure("same_n_gap", trunk)["control"].isna().all()


@pytest.mark.parametrize(
    ("gaps", "noise", "seeds", "verdict"),
    [
        ({4: 0.2, 10: 0.0, 16: 0.0}, 0.004, 3, "holds"),
        ({4: 0.2, 10: 0.0, 16: 0.05}, 0.004, 3, "fails"),  # a gain with enough neurons, too
        ({4: -0.2, 10: 0.0, 16: 0.0}, 0.004, 3, "fails"),
        ({4: 0.2, 10: 0.0, 16: 0.0}, 0.2, 3, "undecided"),  # less than 3 standard errors, or not equal
        ({4: 0.2, 10: 0.0, 16: 0.0}, 0.004, 2, "undecided"),
        ({4: 0.2}, 0.004, 3, "undecided"),  # nothing is known above the number of labels
    ],
)
def test_claim_r4(gaps, noise, seeds, verdict):
    claim = next(each for each in claims.load("6-rodib") if each.id == "R4")
    found = find(claim, records(gaps, seeds, noise), "cifar", np.random.default_rng(0))
    assert found.verdict == verdict, found.why


def test_three_standard_errors_are_the_interval_of_three_seeds():
    claim = next(each for each in claims.load("6-rodib") if each.id == "R4")
    for noise, below in ((0.2 * math.sqrt(3) / 3.01, "holds"), (0.2 * math.sqrt(3) / 2.99, "undecided")):
        # deviations -noise, 0, noise: their standard deviation is noise, of the mean noise / sqrt(3)
        table = pd.concat([records({4: 0.2}, noise=noise), records({16: 0.0}, noise=0.001)])
        found = find(claim, table, "quick", np.random.default_rng(0))
        assert found.verdict == below, found.why


def test_every_scale_of_r4_asks_for_three_standard_errors_of_its_own_number_of_seeds():
    claim = next(each for each in claims.load("6-rodib") if each.id == "R4")
    for profile, seeds in (("quick", 3), ("cifar", 11), ("short", 3), ("paper", 5)):
        first = claim.criterion.conditions_for(profile)[0]
        assert first.options == {"regime": "below"}
        assert first.rule.level == pytest.approx(1 - 2 * special.stdtr(seeds - 1, -3), abs=1e-4)


@pytest.mark.parametrize(
    ("gap", "noise", "verdict"),
    [(0.0, 0.002, "holds"), (0.05, 0.002, "fails"), (-0.05, 0.002, "fails"), (0.0, 0.1, "undecided")],
)
def test_claim_r2_is_an_equivalence(gap, noise, verdict):
    claim = next(each for each in claims.load("6-rodib") if each.id == "R2")
    table = records({10: gap, 16: gap}, noise=noise).assign(lemma_error=1e-15, lemma_gradient_error=1e-15)
    found = find(claim, table, "cifar", np.random.default_rng(0))
    assert found.verdict == verdict, found.why
    broken = find(claim, table.assign(lemma_error=1e-3), "cifar", np.random.default_rng(0))
    assert broken.verdict == "fails"


def fixed(gaps, growth=0):
    parts = [
        records({8: gap}, labels=labels, delays=10, purpose="more labels").assign(
            parameters=lambda table, k=labels: np.where(
                table["arm"] == "generic", 500 + growth * k, 400 + 9 * k
            )
        )
        for labels, gap in gaps.items()
    ]
    return pd.concat(parts)


def test_a_fixed_network_is_followed_over_numbers_of_labels():
    table = fixed({10: 0.1, 30: 0.2, 100: 0.3})
    gaps = claims.measure("fixed_network_gap", table)
    assert gaps.groupby("arm", sort=False)["value"].mean().tolist() == pytest.approx([0.1, 0.2, 0.3])
    chances = claims.measure("fixed_network_chances", table)
    assert chances["value"].tolist()[-3:] == pytest.approx([80.0, 85.0, 90.0])
    growth = claims.measure("fixed_network_growth", table)
    assert growth[["value", "control"]].values.tolist() == [[0.0, 810.0]]
    assert claims.measure("fixed_network_growth", fixed({10: 0.1, 100: 0.1}, 1))["value"].tolist() == [90.0]
    assert claims.measure("fixed_network_gap", fixed({100: 0.3})).empty  # one number of labels is no growth


def test_fewer_labels_are_no_part_of_the_comparison_at_all_labels():
    found = claims.measure("same_n_gap", fixed({10: 0.1, 100: 0.3}))
    assert found["value"].tolist() == pytest.approx([0.3] * 3)


def test_exact_matches_are_read_by_task():
    both = records({4: 0.2}).assign(task="both")
    table = pd.concat([both.assign(exact_match=both["accuracy"] - 0.1), records({4: 0.3})])
    found = claims.measure("exact_match_gap", table, {"task": "both"})
    assert found["value"].tolist() == pytest.approx([0.2] * 3)
    assert claims.measure("exact_match_gap", table, {"task": "pair"}).empty


def test_counts_are_compared_with_the_closed_forms():
    row = {"outputs@generic-2-10": 100, "outputs@shared-2-10": 55, "outputs@equal-3-10": 28}
    table = pd.DataFrame([{"seed": 0, "data": "d", "device": "cpu", **row}])
    found = claims.measure("output_count_error", table)
    assert found[["value", "control"]].values.tolist() == [[0.0, 3.0]]
    wrong = claims.measure("output_count_error", table.assign(**{"outputs@equal-3-10": 27}))
    assert wrong["value"].tolist() == [1.0]
    assert [expected_outputs(kind, 2, 5) for kind in ("generic", "shared", "equal")] == [25, 15, 9]


def test_used_over_available():
    found = claims.measure("used_share", records({4: 0.1}))
    assert found["arm"].unique().tolist() == ["generic M=4, 10 labels"]
    assert found["value"].tolist() == pytest.approx([10 / 16] * 3)


def test_records_of_another_kind_give_no_rows():
    other = pd.DataFrame({"seed": [0], "accuracy": [0.5]})
    for name in (
        "same_n_gap",
        "mean_gap",
        "fixed_network_gap",
        "fixed_network_growth",
        "used_share",
        "lemma_error",
    ):
        assert claims.measure(name, other).empty


def test_the_table_of_gaps_and_its_words():
    table = records({4: 0.2, 16: 0.01}, noise=0.01)
    found = tables.gap_table(table)
    assert found["minus one delay, same N"].tolist() == pytest.approx([0.2, 0.01])
    assert found["error (same N)"].tolist() == pytest.approx([0.01 / math.sqrt(3)] * 2)
    assert found["minus one delay, same weights"].tolist() == pytest.approx([-0.02] * 2)
    words = "delays gain 0.200 at the same N below the number of labels, 0.010 at the same N from there on, "
    assert tables.gaps_in_words(table) == words + "−0.020 at the same number of weights"
    assert tables.gap_table(table.iloc[:0]).empty


def test_lines_are_named_as_in_legends():
    table = pd.concat(
        [records({4: 0.2}, seeds=1), pd.DataFrame([run("generic", 4, 0, 0.5, label_map="fill")])]
    )
    assert tables.with_lines(table)["line"].tolist() == [
        "one delay", "generic M=4", "one delay, weights of generic M=4", "generic M=4, fill",
    ]  # fmt: skip
    compared = tables.compared(table)
    assert "generic M=4, fill" not in set(compared["line"])
    # a column of a CSV file is empty where a run matches nothing
    assert tables.with_lines(table.assign(matches=np.nan))["line"].iloc[0] == "one delay"


def test_spread_and_fill_stand_beside_one_delay():
    ten = {"delays": 10, "purpose": "label map"}
    rows = [run("generic", 4, s, 0.8, **ten) for s in range(2)]
    rows += [run("generic", 4, s, 0.6, label_map="fill", **ten) for s in range(2)]
    found = tables.map_table(pd.concat([records({4: 0.1, 8: 0.1}, seeds=2), pd.DataFrame(rows)]))
    assert found["accuracy"].tolist() == pytest.approx([0.8, 0.6, 0.525])


def test_jitter_begins_with_the_trained_network():
    table = pd.DataFrame(
        [run("generic", 16, 0, 0.9, **{"jitter_accuracy@0.1": 0.7, "jitter_accuracy@0.5": 0.2})]
    )
    found = tables.jitter_table(table)
    assert found[["share", "accuracy"]].values.tolist() == [[0.0, 0.9], [0.1, 0.7], [0.5, 0.2]]


def test_the_references_are_one_delay_and_single_lines_at_n():
    lone = run("asynchronous", 16, 0, 0.3, purpose="control")
    table = pd.concat([records({16: 0.1, 4: 0.2}), pd.DataFrame([lone])])
    found = tables.references(table, 16)
    assert found == {"one delay": pytest.approx(0.55), "one line a connection, random delays": 0.3}
    assert tables.references(table.iloc[:0], 16) == {}
