"""Tables behind chapter 4's figures, and captions that take their words from the numbers."""

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


def test_errors_have_two_readings():
    row = {"largest_error@K3": 0.1, "largest_error@K10": 0.2, "largest_label_error@K3": 0.3}
    found = draw.errors(pd.DataFrame([row]))
    assert found["labels"].tolist() == [3, 10, 3]
    assert found["reading"].nunique() == 2


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


def test_ones_are_counted_after_clipping():
    fields = {"first": torch.ones(4, 4), "last": torch.eye(4)}
    assert "of 16 entries, 16 and 4 are ones" in draw.said_of_matrices(fields)


def test_a_page_gives_its_caption_what_it_draws():
    def first(table):
        return f"{len(table)} rows."

    shown = Page("4-sfp").show(lambda table: table.head(1), RECORDS, caption=first, name="fig-a")
    assert shown.text.endswith("Figure 4.1. 2 rows.")
