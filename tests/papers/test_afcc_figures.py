"""Figures of chapter 5, and the mask explorer: the library's masks in picture, widget and page."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import torch

import filterwise as fw
from filterwise.errors import ParameterError
from filterwise.figures.tables import NothingToShow
from filterwise.papers.afcc import cost_tables, figures, mask_explorer, pruning_words
from filterwise.prune.equal_amount import OUTPUTS, Between

BETWEEN = {"features.2": Between("features.1", "features.2"), "classifier.1": Between("features.2", OUTPUTS)}
NAMES = ("cat", "dog", "ship", "<b>")


@pytest.fixture(scope="module")
def shares():
    draws = np.random.default_rng(0)
    found = {
        name: draws.uniform(-0.5, 1, (count, 4)) for name, count in (("features.1", 9), ("features.2", 7))
    }
    found["features.2"][0] = -1  # a filter without labels
    return {name: each.round(3).astype(np.float16) for name, each in found.items()}


@pytest.fixture(scope="module")
def view(shares):
    return mask_explorer.MaskView(BETWEEN, shares, NAMES)


def test_masks_are_the_librarys_at_any_threshold(view, shares):
    for threshold in (0.0, 0.29, 0.3, 0.77, 0.99):
        below, above = (
            torch.as_tensor(shares[name].astype(np.float32) > threshold)
            for name in ("features.1", "features.2")
        )
        assert torch.equal(view.mask("features.2", threshold), fw.prune.afcc_mask(above, below))
        assert torch.equal(view.mask("classifier.1", threshold), fw.prune.output_mask(above))
    assert not view.sets("features.2", 0.0)[0].any()


def test_levels_say_the_same_sets_as_the_shares(view):
    for place in ("features.1", "features.2"):
        levels = mask_explorer.levels(view.shares[place])
        for step in range(mask_explorer.STEPS):
            expected = view.sets(place, step / mask_explorer.STEPS)
            assert np.array_equal((levels > step), expected.numpy())


def test_what_is_kept_of_a_record_gives_the_view_of_its_layers(shares):
    kept = {f"diagonal@{name}": each for name, each in shares.items()} | {"history": np.zeros(3)}
    wide = BETWEEN | {"features.1": Between("features.0", "features.1")}
    view = mask_explorer.view_of(kept, wide)
    assert list(view.between) == list(BETWEEN)
    assert view.names == ["0", "1", "2", "3"]


def test_pictures_say_dilution_and_lost_labels(view):
    drawn = mask_explorer.mask_pictures(view, list(BETWEEN), 0.9)
    mask = view.mask("classifier.1", 0.9)
    assert f"{100 * (1 - float(mask.double().mean())):.1f} % of 28 connections removed" in drawn.alt
    lost = fw.prune.lost_labels(view.sets("features.2", 0.9))
    assert f"{len(lost)} labels are in no set" in drawn.alt
    sets = view.sets("features.2", 0.5)
    found = mask_explorer.labels_and_filters(view, "features.2", 0.5)
    left, right = found.axes
    assert sum(patch.get_height() for patch in left.patches) == 7
    assert sum(patch.get_height() for patch in right.patches) == int(sets.sum())


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda s: mask_explorer.MaskView({}, s, NAMES), "names no layer"),
        (lambda s: mask_explorer.MaskView(BETWEEN, {"features.1": s["features.1"]}, NAMES), "features.2"),
        (lambda s: mask_explorer.MaskView(BETWEEN, s, NAMES).mask("features.3", 0.1), "did you mean"),
        (
            lambda s: mask_explorer.explore_masks(mask_explorer.MaskView(BETWEEN, s, NAMES), 1.0),
            "threshold=1.0",
        ),
    ],
)
def test_bad_input_is_named(shares, broken, message):
    with pytest.raises(ParameterError, match=re.escape(message)):
        broken(shares)


def test_the_widgets_follow_threshold_and_layer(view):
    at, layer, picture, caption = mask_explorer.explore_masks(view, 0.3).live().children
    seen = [(picture.value, caption.value)]
    at.value = 0.6
    seen.append((picture.value, caption.value))
    layer.value = "features.2"
    seen.append((picture.value, caption.value))
    assert len({picture for picture, _ in seen}) == 3
    assert "features.2 at threshold 0.60" in seen[2][1]
    at.value = 0.99
    assert "<b>" not in caption.value


def test_the_page_asks_for_nothing(view):
    html = mask_explorer.explore_masks(view).html()
    assert not re.search(r"https?://|//cdn|@import|\bsrc=|\bfetch\(", html)
    content = json.loads(re.search(r'start\("\w+", (.*)\);\n</script>', html)[1].replace("<\\/", "</"))
    assert content["layers"][1] == {"name": "classifier.1", "below": "features.2", "above": ""}


@pytest.mark.browser
def test_threshold_and_layer_change_the_page_as_the_library_says(chromium, set_control, view):
    control = set_control(mask_explorer.explore_masks(view).html())

    def choose(name, value):
        control(name, value)
        return chromium.execute_script(
            "const c = document.querySelector('canvas[data-fw=mask]'), g = c.getContext('2d');"
            "const d = g.getImageData(0, 0, c.width, c.height).data; let n = 0;"
            "for (let i = 3; i < d.length; i += 4) n += d[i] > 0;"
            "return [c.width, c.height, n, document.querySelector('[data-fw=summary]').textContent]"
        )

    for at, layer in ((1, "classifier.1"), (0, "features.2")):
        choose("layer", at)
        for step in (0, 30, 61, 99):
            width, height, kept, says = choose("threshold", step)
            mask = view.mask(layer, step / 100)
            assert (height, width) == tuple(mask.shape)
            assert kept == int(mask.sum())
            assert says == view.says(layer, step / 100)
    unnamed = "return [...document.querySelectorAll('input, select')].filter((e) => !e.labels.length).length"
    assert chromium.execute_script(unnamed) == 0


def table():
    rows = []
    for seed in (0, 1):
        masks = {"measure": "afcc.masks", "seed": seed, "layers": "features.5 classifier.1", "threshold": 0.3}
        masks |= {"unretrained@dense": 0.9, "removed_without@features.5": 0.8, "removed_with@features.5": 0.6}
        masks |= {"removed_alike@features.5": 0.7, "dilution@features.5": 0.2, "dilution@classifier.1": 0.9}
        for theta in (0.3, 0.5):
            masks |= {f"dilution@features.5/{theta}": theta, f"dilution@classifier.1/{theta}": 0.9}
            masks |= {f"unretrained@{name}/{theta}": 0.5 for name in ("afcc", "random")}
        rows.append(masks)
        for name, theta in (("dense", 0.0), ("afcc", 0.3), ("random", 0.3), ("afcc", 0.5)):
            row = {"measure": "afcc.retrained", "criterion": name, "theta": theta, "seed": seed}
            row |= {"variant": "", "accuracy": 0.8 - theta / 10 + seed / 100, "network_dilution": 0.4}
            row |= {"macs_left": 0.5, "accuracy_as_is": 0.2, "accuracy_before": 0.3, "parameters_left": 0.6}
            rows.append(row)
        rows.append(rows[-1] | {"accuracy": 0.0, "variant": "one by one"})
    return pd.DataFrame(rows)


def test_the_main_figure_has_every_criterion_at_afccs_removed_share():
    drawn = figures.accuracy_against_dilution(table())
    left, right = drawn.axes
    lines = [list(line.get_xdata()) for line in left.lines if len(line.get_xdata()) == 2]
    assert [0.3, 0.5] in lines
    assert figures.removed_share(table()) == {0.3: pytest.approx(0.3), 0.5: pytest.approx(0.5)}
    assert "2 seeds" in right.get_title("left")


def test_tables_are_means_over_seeds_without_variants():
    found = figures.retrained_table(table())
    assert found.loc["AFCC", "0.5"] == "0.755 ± 0.007 (2)"
    assert found.loc["not pruned", "no threshold"].startswith("0.805")
    assert found.loc["AFCC, one by one", "0.5"].startswith("0.000")
    assert cost_tables.saved_table(table()).loc[0.5, "accuracy"] == pytest.approx(0.755)
    assert figures.compared_table(table()).index.tolist() == ["AFCC", "random", "not pruned"]
    layers = figures.layer_table(table())
    assert layers.loc["features.5", "removed"] == pytest.approx(0.2)


def test_bars_of_the_two_sorts_are_losses():
    (ax,) = figures.two_sorts(table()).axes
    assert sorted(round(patch.get_height(), 3) for patch in ax.patches) == [0.1, 0.2, 0.3]


@pytest.mark.parametrize(
    "make",
    [
        figures.accuracy_against_dilution,
        figures.two_sorts,
        figures.retrained_table,
        lambda t: figures.retraining_curves({}),
    ],
)
def test_what_is_not_recorded_is_said(make):
    empty = table().iloc[:0]
    with pytest.raises(NothingToShow):
        make(empty)
    assert cost_tables.output_table(empty).empty


def sorts(*runs):
    rows = [{"measure": "afcc.masks", "unretrained@dense": 0.9}
            | {f"removed_{kind}@{layer}": 0.9 - lost for kind, lost in run.items() for layer in ("a", "b")}
            for run in runs]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        (
            {"without": 0.01, "alike": 0.02, "with": 0.03},
            "without a common label 0.0100, with one and equal norms",
        ),
        ({"without": 0.01, "alike": 0.02, "with": 0.03}, "those without cost least."),
        ({"without": 0.03, "alike": 0.02, "with": 0.01}, "cost most, the opposite of the rule."),
        ({"without": 0.02, "alike": 0.03, "with": 0.01}, "neither the cheapest nor the dearest."),
        ({"without": -0.02}, "without a common label −0.0200."),
    ],
)
def test_the_sort_that_costs_least_is_named(lost, words):
    assert words in pruning_words.said_of_sorts(sorts(lost))


def test_a_lone_seed_has_no_spread():
    lost = {"without": 0.01, "with": 0.03}
    assert "1 seed, which has no spread" in pruning_words.said_of_sorts(sorts(lost))
    assert "2 seeds: without a common label 0.0200" in pruning_words.said_of_sorts(
        sorts(lost, {"without": 0.03, "with": 0})
    )
    with pytest.raises(NothingToShow):
        pruning_words.said_of_sorts(sorts({}))


def test_best_and_worst_choice_at_both_ends_of_a_retraining():
    curves = {
        "afcc": np.array([[0.1, 0.5]]),
        "random": np.array([[0.3, 0.4]]),
        "dense": np.array([[0.9, 0.9]]),
    }
    assert pruning_words.said_of_curves(curves) == (
        "Best and worst choice are 0.200 apart after the first epoch (random above, AFCC below) and "
        "0.100 apart after the last (AFCC above, random below)."
    )
    assert pruning_words.said_of_curves({"afcc": curves["afcc"]}).startswith("Held-out accuracy")
