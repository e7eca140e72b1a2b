"""Quantities of chapter 5 on records whose answer is known by construction."""

import pandas as pd
import pytest

from filterwise import claims

LAYERS = "features.8 features.9 classifier.1"


def retrained(seed, criterion, theta, accuracy, dilution=0.0, **more):
    row = {"measure": "afcc.retrained", "network": "vgg11", "data": "planted", "labels": 10, "seed": seed}
    row |= {"criterion": criterion, "theta": theta, "variant": "", "accuracy": accuracy}
    row |= {
        "dilution@features.8": dilution,
        "dilution@features.9": dilution / 2,
        "dilution@classifier.1": 0.95,
    }
    return row | more


def masks(seed, **more):
    row = {"measure": "afcc.masks", "network": "vgg11", "data": "planted", "labels": 10, "seed": seed}
    row |= {"layers": LAYERS, "all_layers": LAYERS, "unretrained@dense": 0.9, "criterion": None}
    return row | more


def values(name, rows, **options):
    table = claims.measure(name, pd.DataFrame(rows), options)
    return {(row["arm"], row["seed"]): (row["value"], row["control"]) for row in table.to_dict("records")}


def test_loss_is_taken_at_the_first_threshold_that_dilutes_a_convolution_enough():
    rows = [retrained(0, "dense", 0.0, 0.8)]
    rows += [retrained(0, "afcc", theta, 0.8 - theta / 10, theta + 0.25) for theta in (0.3, 0.5, 0.7)]
    rows += [retrained(0, "random", theta, 0.6, theta + 0.25) for theta in (0.3, 0.5, 0.7)]
    # 0.55, 0.75 and 0.95 of the kernels: only the last is high, whatever the output layer loses
    ((arm, seed), (value, control)) = next(iter(values("pruned_loss", rows).items()))
    assert (arm, seed) == ("vgg11, planted, threshold 0.7", 0)
    assert value == pytest.approx(0.07)
    assert control == pytest.approx(0.2)
    assert values("pruned_loss", rows, dilution=0.5)["vgg11, planted, threshold 0.3", 0][0] == pytest.approx(
        0.03
    )
    assert values("pruned_loss", rows, dilution=0.99) == {}
    assert values("pruned_loss", rows[1:]) == {}  # without the dense network nothing is compared


def test_loss_of_fully_connected_layers_looks_at_the_one_between_hidden_layers():
    rows = [retrained(0, "dense", 0.0, 0.8, network="vgg16")]
    more = {"network": "vgg16", "dilution@classifier.2": 0.85, "dilution@classifier.3": 0.5}
    rows += [retrained(0, "afcc", 0.3, 0.7, 0.0, **more)]
    options = {"network": "vgg16", "fully_connected": True}
    assert values("pruned_loss", rows, **options)["vgg16, planted, threshold 0.3", 0][0] == pytest.approx(0.1)
    assert values("pruned_loss", rows, network="vgg16") == {}


def test_variants_stay_out_of_the_main_comparison():
    rows = [
        retrained(0, "dense", 0.0, 0.8),
        retrained(0, "afcc", 0.5, 0.7, 0.9),
        retrained(0, "afcc", 0.5, 0.1, 0.9, variant="one by one"),
        retrained(0, "magnitude", 0.5, 0.6, 0.9),
        retrained(0, "magnitude", 0.3, 0.9, 0.9),
    ]
    assert values("afcc_minus_peer", rows) == {("magnitude, planted", 0): (pytest.approx(0.1), 0.6)}
    assert values("pruned_loss", rows)["vgg11, planted, threshold 0.5", 0][0] == pytest.approx(0.1)


def test_two_sorts_of_kernels_are_compared_layer_by_layer():
    kinds = {"without": (0.8, 0.8), "with": (0.7, 0.8), "alike": (0.79, 0.81)}
    removed = {
        f"removed_{kind}@features.{layer}": value
        for kind, both in kinds.items()
        for layer, value in zip((8, 9), both, strict=True)
    }
    rows = [masks(3, **removed)]
    found = values("spared_by_no_label", rows)
    assert found == {("vgg11, planted", 3): (pytest.approx(0.05), pytest.approx(0.1))}
    assert values("spared_at_equal_norm", rows)["vgg11, planted", 3][0] == pytest.approx(0.0)


def test_rise_of_the_dilution_leaves_out_the_output_layer_and_subtracts_the_untrained_one():
    given = {"dilution@features.8": 0.2, "dilution@features.9": 0.5, "dilution@features.10": 0.4}
    plain = {f"untrained_{name}": value for name, value in zip(given, (0.1, 0.1, 0.2), strict=True)}
    layers = "features.8 features.9 features.10 classifier.1"
    rows = [masks(0, **given, **plain, **{"dilution@classifier.1": 0.99}, all_layers=layers)]
    assert values("dilution_rise", rows)["vgg11, planted", 0] == (pytest.approx(0.2), pytest.approx(0.1))
    less = values("dilution_rise", rows, less_untrained=True)["vgg11, planted", 0][0]
    assert less == pytest.approx(0.1)
    found = values("dilution_rank_correlation", rows)["vgg11, planted", 0]
    assert found == (pytest.approx(0.5), pytest.approx(0.8660254))


def test_imposed_sets_are_compared_with_the_dense_network_of_their_seed():
    rows = [masks(0), masks(1, **{"unretrained@dense": 0.5})]
    rows += [retrained(1, "random sets", 0.0, 0.6)]
    assert values("imposed_minus_dense", rows) == {("random sets", 1): (pytest.approx(0.1), 0.5)}


@pytest.mark.parametrize(
    "name",
    ["pruned_loss", "afcc_minus_peer", "spared_by_no_label", "dilution_rise",
     "dilution_rank_correlation", "imposed_minus_dense"],
)  # fmt: skip
def test_what_is_not_recorded_is_not_measured(name):
    assert values(name, [{"network": "vgg11", "seed": 0, "data": "planted"}]) == {}
