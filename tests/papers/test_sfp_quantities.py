"""Quantities of chapter 4 on records whose answer is known by construction."""

import numpy as np
import pandas as pd
import pytest

from filterwise import claims
from filterwise.papers.sfp.error_growth import growth_exponent
from filterwise.papers.sfp.quantities import ONE_POSITION

ARM = "net, planted, 10 labels"
#: What is judged apart for layers with one position.
APART = ("labels_covered", "noise_ratio", "snr_ratio")
COUNTS = (3, 5, 10, 20, 40, 60, 80)


def run(seed, **values):
    row = {"network": "net", "data": "planted", "labels": 10, "seed": seed, "layers": "f.1 f.2 f.3"}
    return row | {"accuracy": 0.9} | values


def layers(name, *values):
    return {f"{name}@f.{number}": value for number, value in enumerate(values, start=1)}


def values(name, *rows, **options):
    found = claims.measure(name, pd.DataFrame(list(rows)), options).to_dict("records")
    return {row["arm"]: row["value"] for row in found}


def errors(name, of, draws=10):
    return {f"{name}@K{k}": of(k) for k in COUNTS} | {f"draws@K{k}": draws for k in COUNTS}


def value(name, *rows):
    (row,) = claims.measure(name, pd.DataFrame(list(rows))).to_dict("records")
    return row["value"]


@pytest.mark.parametrize("accuracies", [(0.3, 0.6, 0.9), (0.6, 0.3, 0.9), (0.5, 0.5, 0.9), (0.9, 0.5, 0.5)])
def test_rank_correlation_is_spearmans(accuracies):
    from scipy import stats

    expected = stats.spearmanr([1, 2, 3], accuracies).statistic
    found = value("probe_rank_correlation", run(0, **layers("probe_accuracy", *accuracies)))
    assert found == pytest.approx(expected)


def test_ratios_are_of_the_last_layer_over_the_first_in_the_order_of_the_layers():
    row = run(0, **layers("n", 8.0, 5.0, 2.0), **layers("untrained_n", 8.0, 8.0, 4.0))
    turned = row | {"layers": "f.3 f.2 f.1"}
    assert value("noise_ratio", row) == pytest.approx(0.25)
    assert value("noise_ratio", turned) == pytest.approx(4.0)
    assert claims.measure("noise_ratio", pd.DataFrame([row]))["control"].tolist() == pytest.approx([0.5])
    missing = row | {"n@f.3": np.nan}  # a layer that was not measured
    assert value("noise_ratio", missing) == pytest.approx(5 / 8)


def test_layers_of_one_position_are_left_out_of_what_a_filter_prefers():
    row = run(0, **layers("preferred_share", 0.8, 0.9, 0.1), **layers("positions", 16, 4, 1))
    assert value("preferred_share", row) == pytest.approx(0.8)
    row = run(0, **layers("single_filter_accuracy", 0.1, 0.2, 0.9), **layers("positions", 16, 4, 1))
    assert value("single_filter_accuracy_in_chances", row) == pytest.approx(2.0)


def test_labels_covered_is_the_largest_product():
    row = run(0, **layers("N_c", 1.0, 2.0, 1.5), **layers("C_s", 5.0, 2.0, 3.0))
    assert value("labels_covered", row) == pytest.approx(0.5)


def test_the_layer_of_one_position_is_an_arm_of_its_own():
    row = run(0, **layers("n", 8.0, 6.0, 2.0), **layers("positions", 16, 4, 1))
    row |= layers("untrained_n", 8.0, 8.0, 4.0)
    assert values("noise_ratio", row) == pytest.approx({ARM: 6 / 8, ARM + ONE_POSITION: 2 / 8})
    gained = values("noise_ratio_by_training", row)
    assert gained == pytest.approx({ARM: 6 / 8 - 1, ARM + ONE_POSITION: 2 / 8 - 4 / 8})
    row |= layers("N_c", 1.0, 3.0, 4.0) | layers("C_s", 1.0, 1.0, 2.0)
    assert values("labels_covered", row) == pytest.approx({ARM: 0.3, ARM + ONE_POSITION: 0.8})


def test_a_network_that_is_its_own_control_gains_nothing_by_training():
    random = np.random.default_rng(0)
    names = ("probe_accuracy", "preferred_share", "N_c", "C_s", "n", "SNR_block")
    measured = {name: random.uniform(0.1, 0.9, 3) for name in names}
    row = run(0, **layers("positions", 16, 4, 1))
    for name, three in measured.items():
        row |= layers(name, *three) | layers(f"untrained_{name}", *three)
    gains = [name for name in claims.quantities.names() if name.endswith("_by_training")]
    mine = {"probe_gain", "preferred_share", "labels_covered", "noise_ratio", "snr_ratio"}
    assert {f"{name}_by_training" for name in mine} <= set(gains)
    for name in mine:
        assert list(values(f"{name}_by_training", row).values()) == pytest.approx(
            [0, 0][: 1 + (name in APART)]
        )


def test_training_is_what_is_left_of_the_share_of_the_favourite():
    row = run(0, **layers("positions", 16, 4, 1), **layers("preferred_share", 0.8, 0.9, 1.0))
    row |= layers("untrained_preferred_share", 0.5, 0.7, 0.0)
    assert value("preferred_share_by_training", row) == pytest.approx(0.85 - 0.6)


@pytest.mark.parametrize("gamma", [-0.5, 0.0, 0.5, 1.0, 1.5])
def test_an_exponent_is_found_again_whatever_offset_and_slope(gamma):
    power = [np.log(k) if gamma == 0 else k**gamma for k in COUNTS]
    for offset, slope in ((0.0, 0.01), (0.3, 0.002), (-2.0, 5.0)):
        planted = [offset + slope * np.sign(gamma or 1) * each for each in power]
        assert growth_exponent(COUNTS, planted) == pytest.approx(gamma, abs=0.011)


def test_a_line_and_a_root_are_told_apart_under_noise():
    """The correlation with a line is above 0.95 for both; the exponents' intervals do not meet."""
    random = np.random.default_rng(0)
    found = {}
    for name, shape in (("line", lambda k: 0.006 * k), ("root", lambda k: 0.06 * np.sqrt(k))):
        noisy = [[0.05 + shape(k) + 0.03 * random.normal() / np.sqrt(k) for k in COUNTS] for _ in range(80)]
        assert np.median([np.corrcoef(COUNTS, one)[0, 1] for one in noisy]) > 0.95
        found[name] = np.quantile([growth_exponent(COUNTS, one) for one in noisy], [0.025, 0.975])
    assert found["root"][1] < 0.75 < found["line"][0] < 1 < found["line"][1] < 1.25


def test_the_fit_is_weighted_least_squares():
    """Against scipy, which fits offset, slope and exponent at once."""
    from scipy import optimize

    errors_ = [0.05, 0.12, 0.14, 0.21, 0.33, 0.36, 0.44]

    def model(k, a, b, gamma):
        return a + b * np.asarray(k) ** gamma

    sigma = 1 / np.sqrt(COUNTS)
    expected, _ = optimize.curve_fit(model, COUNTS, errors_, (0.0, 0.05, 0.5), sigma=sigma)
    assert growth_exponent(COUNTS, errors_) == pytest.approx(expected[2], abs=0.011)


def test_only_equal_numbers_of_draws_are_compared():
    row = run(0, **errors("hardest_error", lambda k: 0.01 * k) | errors("mean_error", np.sqrt))
    row |= {"hardest_error@K100": 0.0, "draws@K100": 1}  # all labels: one set
    (found,) = claims.measure("error_growth_exponent", pd.DataFrame([row])).to_dict("records")
    assert (found["value"], found["control"]) == pytest.approx((1.0, 0.5))
    unequal = row | {f"draws@K{k}": k for k in COUNTS}
    assert values("error_growth_exponent", unequal) == {}
    assert value("error_line_slope", row) == pytest.approx(0.01)


def test_few_and_all_labels_are_two_arms_once_two_architectures_are_measured():
    row = run(0, **layers("probe_accuracy", 0.1, 0.2, 0.3))
    row |= {"few_labels": 3, "few_accuracy": 0.7}
    row |= {f"few_{name}": one for name, one in layers("probe_accuracy", 0.9, 0.8, 0.6).items()}
    assert values("probe_rank_correlation", row, ends=True) == {}
    other = row | {"network": "other"}
    found = values("probe_rank_correlation", row, other, ends=True)
    arms = [f"{name}, planted, {labels} labels" for labels in (10, 3) for name in ("net", "other")]
    assert found == pytest.approx(dict(zip(arms, (1, 1, -1, -1), strict=True)))
    gaps = values("last_head_gap", row, other, ends=True)
    assert gaps == pytest.approx(dict(zip(arms, (0.6, 0.6, 0.1, 0.1), strict=True)))
    elsewhere = run(0) | {"network": "third"}  # never measured on few labels
    assert values("probe_rank_correlation", row, other, elsewhere, ends=True).keys() == set(arms)


def test_order_of_networks_is_kendalls_tau():
    from scipy import stats

    accuracies, ratios = [0.5, 0.6, 0.7, 0.7], [1.0, 3.0, 2.0, 4.0]
    rows = [
        run(0, **layers("SNR_block", 1.0, 1.0, ratio)) | {"network": f"net {i}", "accuracy": accuracy}
        for i, (accuracy, ratio) in enumerate(zip(accuracies, ratios, strict=True))
    ]
    expected = stats.kendalltau(accuracies, ratios).statistic
    assert value("snr_follows_accuracy", *rows) == pytest.approx(expected)
    assert values("snr_follows_accuracy", *rows[:2]) == {}  # two agree with any order every other time


def test_an_order_that_is_there_without_training_gains_nothing():
    rows = [
        run(0, **layers("SNR_block", 1.0, 1.0, i + 1.0), **layers("untrained_SNR_block", 1.0, 1.0, 2.0 * i))
        | {"network": f"net {i}", "accuracy": 0.1 * i}
        for i in range(4)
    ]
    table = pd.DataFrame(rows)
    assert claims.measure("snr_follows_accuracy", table)[["value", "control"]].iloc[0].tolist() == [1, 1]
    assert claims.measure("snr_gain_follows_accuracy", table)["value"].tolist() == [-1]


def test_networks_are_compared_on_the_seeds_that_all_of_them_have():
    rows = [
        run(seed, **layers("SNR_block", 1.0, 1.0, ratio)) | {"network": name, "accuracy": accuracy}
        for name, accuracy, ratio, seeds in (("a", 0.1, 1.0, 3), ("b", 0.2, 2.0, 3), ("c", 0.3, 3.0, 2))
        for seed in range(seeds)
    ]
    odd = rows[2] | {"accuracy": 9.0}  # a seed of the first network alone
    (found,) = claims.measure("snr_follows_accuracy", pd.DataFrame([*rows[:2], odd, *rows[3:]])).to_dict(
        "records"
    )
    assert (found["value"], found["n"]) == (1, 2)


def test_clusters_grow_from_the_smallest_subsets_to_all_labels():
    row = run(0, **layers("N_c", 9, 9, 2.0), **layers("C_s", 9, 9, 3.0)) | {"labels": 100}
    row |= {
        f"subset_{name}@K{k}": one * k for name, one in (("C_s", 0.1), ("N_c", 0.05)) for k in (5, 10, 30)
    }
    (found,) = claims.measure("cluster_growth_with_labels", pd.DataFrame([row])).to_dict("records")
    assert found["value"] == pytest.approx(max(3.0 / 0.5, 2.0 / 0.25))
    assert found["control"] == pytest.approx(100 / 5)
