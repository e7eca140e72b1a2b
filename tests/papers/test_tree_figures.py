"""What chapter 2's figures and tables are drawn from."""

import numpy as np
import pandas as pd
import pytest

from filterwise import models
from filterwise.data.sources import load
from filterwise.figures.tables import NothingToShow
from filterwise.papers.tree import figures, gradient_words, step_explorer
from filterwise.runs.records import load_records


def rows():
    runs = []
    for name, macs, best in (("tree3 6/16", 4e5, 0.02), ("lenet5", 6e5, 0.01)):
        for seed in (0, 1):
            for rate in (0.01, 0.02):
                right = 0.6 if rate == best else 0.4
                about = {"network": name, "regime": "online", "rate": rate, "seed": seed, "macs": macs}
                about |= {"data": "d", "device": "cpu", "parameters": 100, "epochs": 1, "train_images": 50}
                about |= {"precision": "bfloat16" if seed else "float32"}
                runs.append({**about, "arm_kind": "tuning", "accuracy": right + 0.01 * seed})
                runs.append({**about, "arm_kind": "main", "accuracy": right - 0.01 * seed})
    return pd.DataFrame(runs)


def test_results_are_those_of_the_best_rates_sorted_by_operations():
    found = figures.results_table(rows().iloc[::-1], "online")
    assert found.index.tolist() == ["tree3 6/16", "lenet5"]
    assert found["rate"].tolist() == [0.02, 0.01]
    assert found["accuracy"].tolist() == pytest.approx([0.595, 0.595])
    assert found["± over seeds"].tolist() == pytest.approx([0.01 / 2**0.5] * 2)
    assert found["precision"].tolist() == ["bfloat16; float32"] * 2
    assert figures.results_table(rows(), "offline").empty
    assert figures.gains_in_words(rows(), "online") == "tree3 6/16 0.595, lenet5 0.595"


def test_rates_are_drawn_of_held_out_images_alone():
    assert "held-out" in figures.rates(rows()).alt
    with pytest.raises(NothingToShow, match="offline learning has no rows"):
        figures.rates(rows(), "offline")


def test_parts_of_the_images_need_a_record():
    with pytest.raises(NothingToShow, match="parts of the images"):
        figures.presented(rows())
    fewer = rows().assign(arm_kind="examples", train_images=10)
    assert figures.presented(pd.concat([rows(), fewer])).axes[0].get_xlabel() == "images seen, each once"


def test_curves_have_a_band_where_there_are_seeds():
    drawn = figures.success_by_epoch({"lenet5": np.array([[0.3, 0.5], [0.4, 0.6]]), "tree3": np.ones((1, 2))})
    assert len(drawn.axes[0].collections) == 1
    with pytest.raises(NothingToShow):
        figures.success_by_epoch({})


def test_zeros_before_and_after():
    table = pd.DataFrame(
        {
            "network": ["tree3 6/16"] * 2,
            "zero_share@conv": [0.9, 0.92],
            "zero_spread@conv": [0.01, 0.01],
            "zero_share_untrained@conv": [0.8, 0.8],
        }
    )
    found = figures.zero_table(table, ["tree3 6/16", "lenet5"])
    assert found.loc[("tree3 6/16", "convolution"), "after"] == pytest.approx(0.91)
    assert figures.zero_shares(table, "tree3 6/16").axes[0].patches[1].get_height() == pytest.approx(0.91)
    with pytest.raises(NothingToShow, match="of lenet5 have no rows"):
        figures.zero_shares(table, "lenet5")


def test_the_explorer_has_a_frame_for_each_label():
    net = models.build("tree3", channels=1, size=28, K=2, M=3)
    page = step_explorer.explore_steps(net, load("mnist5k", split="test"), count=3, filter=1, branch=2).html()
    assert page.count('"value": ') == 3


def test_curves_and_colours_are_found_by_the_key_of_their_record():
    records = load_records("2-tree", "short")
    curves = figures.histories_of(records, "2-tree", "short")
    assert {name: curve.shape[1] for name, curve in curves.items()}["lenet5"] == 20
    assert not figures.colour_table(records, "2-tree", "short", "tree3 15/80").empty


@pytest.mark.parametrize(("before", "after", "way"), [(0.8, 0.9, "rises"), (0.9, 0.8, "falls")])
def test_the_sentence_on_zeros_follows_their_sign(before, after, way):
    shares = {"zero_share@conv": [after], "zero_share_untrained@conv": [before]}
    table = pd.DataFrame({"network": ["tree3"], "epochs": [20.0], **shares})
    said = gradient_words.said_of_zeros(table, "tree3")
    assert f"tree3 after 20 epochs: the share of zero terms in the lowest layer {way}" in said
    assert f"from {before:.2f} to {after:.2f}" in said


def test_colours_are_compared_layer_by_layer():
    rows = {
        ("convolution", "red"): 0.9,
        ("convolution", "blue"): 0.8,
        ("tree", "red"): 0.5,
        ("tree", "blue"): 0.7,
    }
    table = pd.DataFrame({"share of zeros": rows}).rename_axis(["layer", "colour"])
    assert gradient_words.said_of_colours(table) == (
        "The colours differ in the convolution by 0.100 (most in red, fewest in blue), "
        "in the tree by 0.200 (most in blue, fewest in red)."
    )


def test_costs_of_trees_stand_over_those_of_the_other_network():
    about = {"first_layer_terms": 10.0, "first_layer_winners": 5.0, "parameters": 9, "macs": 1e6}
    rows = [{"network": name, "nonzero_terms@conv": terms, "nonzero_terms@fc": 1.0, **about}
            for name, terms in (("lenet5", 9.0), ("tree3 6/16", 4.0), ("tree3 15/16", 29.0))]  # fmt: skip
    said = gradient_words.said_of_costs(pd.DataFrame(rows))
    assert said == "Terms that are not 0, over those of lenet5: tree3 6/16 0.5, tree3 15/16 3.0."
    assert gradient_words.said_of_costs(pd.DataFrame(rows[1:])) == "Terms of the gradient for one image."
