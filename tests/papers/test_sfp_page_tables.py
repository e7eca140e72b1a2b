"""Tables behind chapter 4's figures, and captions that take their words from the numbers."""

from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from filterwise.figures.layers import UNTRAINED
from filterwise.papers.page import Page
from filterwise.papers.sfp import figures as draw

LAYERS = {
    f"{prefix}{name}@features.{layer}": [value + 0.01 * layer, value + 0.03 * layer]
    for prefix, value in (("", 0.5), ("untrained_", 0.2))
    for name in draw.COMPARED
    for layer in (1, 2)
}
RECORDS = pd.DataFrame(
    {
        "network": "vgg6",
        "data": "digits",
        "labels": [10, 100],
        "seed": 0,
        "train_images": 3000,
        "epochs": 4,
        "accuracy": [0.75, 0.5],
        "seconds": 8.4,
        **LAYERS,
    }
)


def test_layers_of_one_number_of_labels_know_their_networks_accuracy():
    found = draw.per_layer(RECORDS, ["n"], labels=100)
    assert found["network_accuracy"].tolist() == [0.5, 0.5]
    assert found["n"].tolist() == pytest.approx([0.53, 0.56])


def test_a_control_is_the_same_table_of_untrained_columns():
    found = draw.with_control(RECORDS, labels=10).set_index(["network", "number"])
    assert found.loc[("vgg6", 2), "n"] == pytest.approx(0.52)
    assert found.loc[("vgg6" + UNTRAINED, 2), "n"] == pytest.approx(0.22)
    assert draw.with_control(RECORDS[:0], labels=10).empty


def test_runs_are_counted_by_network_and_data():
    found = draw.about(RECORDS, pd.concat([RECORDS, RECORDS.assign(seed=1, accuracy=0.25)]))
    assert found["seeds"].tolist() == [2, 2]
    assert found["accuracy"].iloc[0] == f"{1.75 / 3:.3f} ± {pd.Series([0.75, 0.75, 0.25]).std():.3f}"
    assert draw.about(RECORDS[:0]).empty


def test_errors_of_the_hardest_set_stand_beside_the_mean():
    counts = (3, 5, 10, 20, 40)
    row = {f"hardest_error@K{k}": 0.01 * k for k in counts} | {f"mean_error@K{k}": k**0.5 for k in counts}
    row |= {f"draws@K{k}": 10 for k in counts} | {"draws@K100": 1, "hardest_error@K100": 0.2}
    found = draw.errors(pd.DataFrame([row]))
    assert found["labels"].tolist() == [*counts, *counts]
    assert "1.00 (hardest set) and 0.50 (mean of the sets)" in draw.said_of_errors(found)


def test_a_lone_filter_is_counted_in_guesses():
    table = {"positions": [4, 1], "rank_one_share": [0.9, 1.0], "preferred_share": [0.5, 1.0]}
    table |= {"single_filter_accuracy": [0.02, 0.03], "probe_accuracy": [0.2, 0.8]}
    layers = ["features.1", "features.2"]
    study = SimpleNamespace(table=pd.DataFrame(table, index=layers), layers=layers)
    assert draw.alone(study, 100)["right, in guesses"].tolist() == pytest.approx([2, 3])
    said = draw.said_of_alone(study, 100)
    assert "from layer 1 to layer 2 a head on all filters is right 4.0 times as often, a lone filter" in said
    assert "1.5 times (2.0, then 3.0 times as often as a guess, mean over filters)" in said
    assert said.endswith("is in the combination of filters, less in the average one.")
    for last, words in (
        (0.02, "of filters, not in the average one."),
        (0.09, "in the average filter already."),
    ):
        study.table["single_filter_accuracy"] = [0.02, last]
        assert words in draw.said_of_alone(study, 100)


def test_sizes_of_clusters_are_told_with_their_tail():
    said = draw.said_of_sizes({"layer 1": [1, 2, 9], "layer 2": []})
    assert said == "*A cluster has on average* 4.0 labels in layer 1 (67% have one or two)."
    assert draw.said_of_sizes({"layer 1": []}).endswith("no label: there is none.")


@pytest.mark.parametrize(
    ("accuracy", "words"),
    [
        (range(9), "1.00, as expected"),
        (range(9, 0, -1), "−1.00, against the"),
        ([1, 0] * 4 + [1], "not told"),
    ],
)
def test_filters_of_a_label_and_its_accuracy(accuracy, words):
    assert words in draw.said_of_labels(range(9), list(accuracy))


@pytest.mark.parametrize(
    ("values", "said"),
    [([9, 4], "falls from 9.0 to 4.0"), ([4, 9], "rises from 4.0"), ([4, 4], "stays at 4")],
)
def test_a_caption_says_what_the_numbers_do(values, said):
    table = pd.DataFrame({"network": "a", "number": [1, 2], "n": values, "SNR_block": [0.1, 0.2]})
    assert f"noise {said}" in draw.said_of_noise(table)
    assert "ratio rises from 0.10 to 0.20" in draw.said_of_noise(table)


def test_several_networks_are_told_apart():
    found = draw.said_of_control(draw.with_control(RECORDS, labels=10))
    assert "vgg6: the ratio rises from 0.51 to 0.52." in found
    assert f"vgg6{UNTRAINED}: the ratio rises from 0.21 to 0.22." in found
    assert found.endswith("In the mean it grows by a larger factor with training in 0 of 1 networks.")
    alone = draw.with_control(RECORDS, labels=10)
    assert "larger factor" not in draw.said_of_control(alone[alone["network"] == "vgg6"])


def test_ones_are_counted_after_clipping():
    fields = {"first": torch.ones(4, 4), "last": torch.eye(4)}
    assert "of 16 entries, 16 and 4 are ones" in draw.said_of_matrices(fields)


def test_a_page_gives_its_caption_what_it_draws():
    def first(table):
        return f"{len(table)} rows."

    shown = Page("4-sfp").show(lambda table: table.head(1), RECORDS, caption=first, name="fig-a")
    assert shown.text.endswith("Figure 4.1. 2 rows.")
