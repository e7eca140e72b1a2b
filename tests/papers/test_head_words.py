"""The sentences of chapter 7 follow the tables whichever way these come out."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from filterwise.figures.tables import NothingToShow
from filterwise.papers.vit_shp import arm_figures, head_words

PARTS = "ff/0 ff/1 ff/2"


def net(kind="transformer", data="cifar10", **along):
    place = "layer" if kind == "cnn" else "ff"
    row = {"measure": "vit.places", "kind": kind, "network": f"one {kind}", "data": data, "labels": 10}
    row |= {"seed": 0, "parts": PARTS.replace("ff", place), "accuracy": 0.9}
    return row | {
        f"{name}@{place}/{m}": value for name, three in along.items() for m, value in enumerate(three)
    }


@pytest.mark.parametrize(
    ("dealt", "words"),
    [(0.30, "brighter are heads"), (0.50, "brighter are random groups"), (0.401, "neither is brighter")],
)
def test_the_brighter_panel_is_named(dealt, words):
    own = np.array([[0.5, 0.1], [0.2, 0.3]])
    assert words in head_words.said_of_owners(own, np.full((2, 2), dealt))


def test_the_head_that_leans_most_is_found_in_all_encoders():
    labels = torch.arange(100)
    left, right = torch.eye(10)[labels // 10], torch.eye(10)[labels % 10]
    z = torch.cat([left, right], 1)  # nodes 0 to 9 read the left digit, the others the right one
    reads = torch.cat([torch.eye(10)[labels // 10], torch.eye(10)[labels % 10]], 1)  # (outputs, nodes)
    knows = SimpleNamespace(head=SimpleNamespace(score=torch.zeros(20)), z=z, weight=reads, labels=labels)
    dumb = SimpleNamespace(head=knows.head, z=z, weight=torch.ones(100, 20), labels=labels)
    said = head_words.said_of_digits({"ff/1": dumb, "qkv/1": dumb, "qkv/2": knows}, 2)
    assert said.startswith(
        "The head that leans most, in encoder 2, has 1.00 of the left and 0.10 of the right"
    )
    assert "; the random group that leans most, in encoder" in said
    with pytest.raises(NothingToShow):
        head_words.said_of_digits({"ff/1": dumb}, 2)


@pytest.mark.parametrize(
    ("trained", "untrained", "words"),
    [
        ([[0.3, 0.4, 0.5], [0.3, 0.4, 0.6]], None, "Trained encoders add 0.20 to 0.30 to what tokens tell."),
        ([[0.5, 0.4, 0.3]], None, "Trained encoders take 0.20 from what tokens tell."),
        (
            [[0.5, 0.4, 0.3], [0.3, 0.4, 0.4]],
            None,
            "Trained encoders change what tokens tell by −0.20 to +0.10.",
        ),
        (
            [[0.3, 0.4, 0.5]],
            [0.3, 0.2, 0.2],
            "add 0.20 to what tokens tell; untrained encoders take 0.10 from",
        ),
        ([], None, ""),
    ],
)
def test_what_encoders_add_follows_the_sign(trained, untrained, words):
    rows = [net(probe_accuracy=each) | {"network": f"net {at}"} for at, each in enumerate(trained)]
    if untrained:
        rows[0] |= {f"untrained_probe_accuracy@ff/{m}": value for m, value in enumerate(untrained)}
    assert words in head_words.said_of_reading(pd.DataFrame(rows), "cifar10")


def test_noise_and_its_ratio_are_told_by_kind_of_network():
    falls = net(n=[12.0, 9.0, 8.0], SNR_label=[1.0, 2.0, 2.5])
    rises = net("cnn", n=[3.0, 2.0, 4.0], SNR_label=[1.5, 1.2, 1.5])
    said = head_words.said_of_nodes(pd.DataFrame([falls, rises]), "cifar10")
    assert "in transformers noise falls from 12.0 to 8.0 and SNR_label rises from 1.00 to 2.50" in said
    assert "in CNNs noise rises from 3.0 to 4.0 and SNR_label stays at 1.50" in said
    assert "CNN" not in head_words.said_of_nodes(pd.DataFrame([falls]), "cifar10")
    assert head_words.said_of_nodes(pd.DataFrame([falls]), "other") == "Noise of a node and its ratio."


def test_matrices_of_heads_are_counted_beside_those_of_random_groups():
    def run(data, noise, unit, dealt):
        row = net(data=data) | {"parts": "qkv/1 qkv/2"}
        values = {
            "head_n": noise,
            "head_unit_share": unit,
            "null_head_n": dealt,
            "null_head_unit_share": dealt,
        }
        return row | {f"{name}@qkv/{m}": both[m - 1] for name, both in values.items() for m in (1, 2)}

    rows = [run("cifar10", (9, 5), (0.5, 0.7), (9, 8)), run("other", (9, 5), (0.5, 0.4), (8, 9))]
    assert head_words.said_of_matrices(pd.DataFrame(rows)) == (
        "First to last encoder: noise falls in 2 of 2 (random groups: 1), "
        "the share of clusters of one label rises in 1 of 2 (random groups: 1)."
    )


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        (
            [("-5.3 (-7 to -2)", "3.8 (2 to 5)")],
            "All networks have a negative left and a positive right column",
        ),
        ([("-5.3 (-7 to -2)", "3.8 (2 to 5)"), ("0.1 (0 to 1)", "1.0 (0 to 2)")], "1 of 2 networks"),
        ([("0.1 (0 to 1)", "1.0 (0 to 2)")], "No network has"),
    ],
)
@pytest.mark.parametrize("verdict", ["undecided", "holds", "not measured"])
def test_a_division_of_labour_is_suggested_beside_its_verdict(cells, words, verdict):
    row = {"claim": "V11", "profile": "quick", "verdict": verdict, "ours": "3", "control": "", "paper": ""}
    ledger = pd.DataFrame([row | {"n": 3, "enough": True, "why": ""}])
    said = head_words.said_of_dividing(pd.DataFrame(cells, columns=["labels", "one digit"]), ledger)
    assert said.startswith(words)
    ends = {"undecided": "; claim V11 is undecided.", "holds": "; claim V11 holds.", "not measured": "."}
    assert said.endswith(ends[verdict])
    assert ("claim V11" in said) == (verdict != "not measured")


def test_committees_of_one_data_set_have_a_column_a_kind():
    rules = [f"committee@{rule}" for rule in ("softmax", "logits", "vote")]
    names = ["mean_member", "disagreement", "calibration_error@1", "committee_calibration_error", *rules]
    columns = dict.fromkeys([*names, "independent_gain@softmax"], 0.5)
    cases = [
        ("cifar10 (jpeg)", kind, gain) for kind, gain in (("equal", 0.1), ("equal", 0.2), ("different", 0.3))
    ]
    rows = [
        {"measure": "vit.committee", "data": data, "kind": kind, "gain@softmax": gain, **columns}
        for data, kind, gain in [*cases, ("other", "equal", 0.9)]
    ]
    table = arm_figures.committee_table(pd.DataFrame(rows), "cifar10")
    assert list(table) == ["equal", "different"]
    assert table.loc["gain", "equal"].startswith("0.150 ± 0.071 (2)")
    assert table.loc["committees", "different"] == 1


def pruned(kind, **numbers):
    rows = [{"measure": "vit.pruned", "kind": kind, "criterion": name, "theta": 0.5, "accuracy": accuracy,
             "accuracy_as_is": 0.1, "removed_share": 0.9, "heads": 8.0, "encoders": 4, "parameters_left": 5,
             "ms@pruned": ms, "ms@dense": 10.0}
            for name, (accuracy, ms) in numbers.items()]  # fmt: skip
    return pd.DataFrame(rows)


def test_prunings_are_named_from_the_best_to_the_worst():
    numbers = {"andc": (0.2, 1.0), "random": (0.3, 1.0), "magnitude": (0.1, 1.0)}
    said = head_words.said_of_andc(pruned("andc", **numbers, dense=(0.4, 1.0)))
    expected = (
        "without 90 % of the masked weights: random 0.300, ANDC 0.200, magnitude 0.100; not pruned 0.400."
    )
    assert said.endswith(expected)
    assert "not pruned" not in head_words.said_of_andc(pruned("andc", **numbers))
    assert head_words.said_of_andc(pruned("andc", **numbers), theta=0.7).startswith("Accuracy against")


@pytest.mark.parametrize(
    ("times", "words"),
    [
        ((7.0, 8.0), "take 0.70 to 0.80 of the time of all"),
        ((12.0, 11.0), "save no time"),
        ((7.0, 12.0), "for some choices only"),
    ],
)
def test_time_is_saved_only_if_the_ratio_says_so(times, words):
    rows = pruned("heads", shp=(0.6, times[0]), random=(0.7, times[1]), dense=(0.8, 10.0))
    said = head_words.said_of_pruned_heads(rows)
    assert words in said
    assert said.endswith(
        "best and last choice after retraining: random 0.700 and single-head performance 0.600."
    )
    assert head_words.said_of_pruned_heads(rows[rows["criterion"] == "dense"]).startswith("No network")
    table = arm_figures.pruned_heads_table(rows)
    assert table.loc["random", "time / all heads"].startswith(f"{times[1] / 10:.2f} (")
    assert table.loc["random", "heads left"] == "8 = 4 × 2"
    assert arm_figures.pruned_heads_table(rows.assign(heads=9.0)).loc["random", "heads left"] == "9"


@pytest.mark.parametrize(
    ("with_convolutions", "words"),
    [
        (
            [0.5, 0.72],
            "0.100 ahead after the first epoch and 0.020 ahead after the last, so the lead is an early one.",
        ),
        (
            [0.5, 0.82],
            "0.100 ahead after the first epoch and 0.120 ahead after the last, so the lead is no early one",
        ),
        ([0.3, 0.60], "0.100 behind after the first epoch and 0.100 behind after the last."),
        ([0.5, 0.60], "0.100 ahead after the first epoch and 0.100 behind after the last."),
    ],
)
def test_a_lead_is_early_if_the_end_has_less_of_it(with_convolutions, words):
    curves = {"H4": np.array([[0.4, 0.7]]), "H4 conv": np.array([with_convolutions])}
    assert head_words.said_of_course(curves).endswith(words) or words in head_words.said_of_course(curves)
    assert head_words.said_of_course({"H4": curves["H4"]}) == "Held-out accuracy by epoch."
