"""The sentences of chapter 3 follow the tables whichever way these come out."""

import numpy as np
import pandas as pd
import pytest

from filterwise.measure import power_law
from filterwise.papers.power_law import width_words

WIDTHS = (3, 6, 12, 24, 48)


def runs(curve, errors, seeds=2, **about):
    pairs = list(zip(WIDTHS, errors, strict=True))
    rows = [(curve, d1, s, error * (1 + 1e-4 * (2 * s - 1))) for d1, error in pairs for s in range(seeds)]
    return pd.DataFrame(rows, columns=["curve", "d1", "seed", "error"]).assign(held_out=0, **about)


def shape(name):
    u = np.log(np.array(WIDTHS) / WIDTHS[0])
    shapes = {
        "law": 0.5 * np.exp(-0.3 * u),
        "plateau": 0.2 + 0.3 * np.exp(-u),
        "cliff": 0.5 - 0.03 * u**2,
        "logarithm": 0.5 - 0.1 * u,
        "wave": 0.5 * np.exp(-0.3 * u + 0.02 * (-1.0) ** np.arange(5)),
    }
    return shapes[name]


def fitted(*tables):
    return {table["curve"].iloc[0]: power_law(table["d1"], table["error"]) for table in tables}


def test_shapes_are_ranked_by_the_sign_of_the_difference():
    found = fitted(runs("A", shape("law")), runs("B", shape("logarithm")), runs("C", shape("plateau")))
    said = width_words.shapes_in_words(found)
    logarithm, plateau = said.removeprefix("By AIC ").split("; ")
    aic = {name: fit.aic["logarithm"] - fit.aic["power"] for name, fit in found.items()}
    assert f"worse than the power law for A (by {aic['A']:.1f})" in logarithm
    assert f"better than the power law for B (by {-aic['B']:.1f})" in logarithm
    assert f"C (by {found['C'].aic['power'] - found['C'].aic['plateau']:.1f})" in plateau
    noisy = power_law([2, 4, 8], [0.50, 0.41, 0.33], sigma=0.05)
    assert abs(noisy.aic["logarithm"] - noisy.aic["power"]) < width_words.HARDLY
    assert "as good as the power law for N" in width_words.shapes_in_words({"N": noisy})
    assert width_words.shapes_in_words({}) == "No other shape can be told from the power law by AIC."


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("plateau", "shrinks from step to step for A ({} to {}): a smile"),
        ("cliff", "grows from step to step for A ({} to {}): a frown"),
        ("wave", "goes up and down for A ({} to {})."),
    ],
)
def test_local_exponents_say_which_way_a_line_bends(name, way):
    table, errors = runs("A", shape(name)), shape(name)
    ends = [f"{np.log(errors[at] / errors[at + 1]) / np.log(2):.2f}" for at in (0, -2)]
    assert way.format(*ends) in width_words.straightness_in_words(table, fitted(table))


def test_the_test_of_straightness_is_told_curve_by_curve():
    law, bent, other = runs("A", shape("wave")), runs("B", shape("plateau")), runs("C", shape("plateau"))
    straight = fitted(runs("A", shape("law")))
    assert "No bend is significant" in width_words.straightness_in_words(law, straight)
    for tables, words in (
        ((bent,), "B does not pass the test"),
        ((bent, other), "No curve passes the test"),
        ((bent, other, law), "B and C do not pass the test"),
    ):
        found = {**fitted(*tables), **(straight if len(tables) == 3 else {})}
        assert words in width_words.straightness_in_words(pd.concat(tables), found)
    wider = pd.concat([bent, bent[bent["d1"] == 48].assign(d1=96, error=9.0, held_out=1)])
    same = (width_words.straightness_in_words(table, fitted(bent)) for table in (bent, wider))
    assert len(set(same)) == 1


@pytest.mark.parametrize(
    ("gain", "seeds", "words"),
    [
        ((0.9, 0.9), 2, "nothing says that the wide one was stopped too early"),
        ((0.95, 0.80), 2, "the exponent above is a lower bound"),
        ((0.80, 0.95), 2, "the narrow one that gains more"),
        ((0.95, 0.80), 1, "the noise is unknown"),
    ],
)
def test_a_longer_training_says_something_only_beyond_the_noise(gain, seeds, words):
    about = {"family": "lenet", "variant_kind": "main", "train_images": 100}
    plain = runs("LeNet", shape("law"), seeds, variant="main", epochs=16, **about)
    ends = plain[plain["d1"].isin((3, 48)) & (plain["seed"] == 0)]
    factor = np.where(ends["d1"] == 3, *gain)
    longer = ends.assign(variant="twice the epochs", epochs=32, error=ends["error"] * factor)
    said = width_words.training_in_words(pd.concat([plain, longer]))
    assert said.startswith("Trained twice as long, d1 = 3 gains")
    assert said.endswith(words) or words in said


def test_what_arrives_at_the_test_images_is_said_curve_by_curve():
    def curve(name, train, test):
        ends = {"d1": [3, 48], "train_error": [0.5, 0.5 - train], "error": [0.5, 0.5 - test]}
        return pd.DataFrame(ends).assign(curve=name)

    wide, alike, worse = curve("A", 0.3, 0.2), curve("B", 0.1, 0.1), curve("C", 0.1, -0.05)
    said = width_words.parting_in_words(pd.concat([wide, worse]))
    assert "falls by 0.200 where the training error falls by 0.300 (A)" in said
    assert "rises by 0.050 where the training error falls by 0.100 (C)" in said
    assert said.endswith("grows on every curve")
    assert width_words.parting_in_words(pd.concat([wide, alike])).endswith("grows on some curves")
    assert width_words.parting_in_words(alike).endswith("does not grow")


@pytest.mark.parametrize(
    ("errors", "words"),
    [
        ((0.34, 0.30, 0.32), "by the means, both sides lie higher, a valley"),
        ((0.34, 0.30, 0.29), "ratios that are too small cost accuracy and large ones do not, no valley"),
        ((0.29, 0.30, 0.32), "ratios that are too large cost accuracy and small ones do not, no valley"),
        ((0.29, 0.30, 0.29), "both sides are at least as good, no valley"),
    ],
)
def test_a_valley_needs_both_sides(errors, words):
    scan = pd.DataFrame(
        [{"variant_kind": "budget", "ratio": r, "budget": 4e6, "macs": 4e6, "seed": seed, "data": "planted",
          "accuracy": 1 - e}
         for r, e in zip((0.7, 2.8, 5.6), errors, strict=True) for seed in range(2)]
    )  # fmt: skip
    assert words in width_words.valley_in_words(scan).lower()
    assert width_words.valley_in_words(scan[scan["ratio"] > 1]) == "No scan has ratios on both sides"
