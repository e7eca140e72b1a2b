"""Quantities of chapter 4 on records whose answer is known by construction."""

import numpy as np
import pandas as pd
import pytest

from filterwise import claims


def run(seed, **values):
    row = {"network": "net", "data": "planted", "labels": 10, "seed": seed, "layers": "f.1 f.2 f.3"}
    return row | {"accuracy": 0.9} | values


def layers(name, *values):
    return {f"{name}@f.{number}": value for number, value in enumerate(values, start=1)}


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


def test_line_of_errors_against_labels_agrees_with_scipy():
    from scipy import stats

    counts, errors = [3, 5, 10, 20, 40], [0.1, 0.2, 0.25, 0.5, 0.6]
    row = run(0, **{f"largest_error@K{k}": e for k, e in zip(counts[::-1], errors[::-1], strict=True)})
    line = stats.linregress(counts, errors)
    assert value("error_line_correlation", row) == pytest.approx(line.rvalue)
    assert value("error_line_slope", row) == pytest.approx(line.slope)


def test_order_of_networks_is_kendalls_tau():
    from scipy import stats

    accuracies, ratios = [0.5, 0.6, 0.7, 0.7], [1.0, 3.0, 2.0, 4.0]
    rows = [
        run(0, **layers("SNR_block", 1.0, 1.0, ratio)) | {"network": f"net {i}", "accuracy": accuracy}
        for i, (accuracy, ratio) in enumerate(zip(accuracies, ratios, strict=True))
    ]
    expected = stats.kendalltau(accuracies, ratios).statistic
    assert value("snr_follows_accuracy", *rows) == pytest.approx(expected)


def test_clusters_on_label_subsets_are_an_arm_of_their_own():
    base = pd.DataFrame([run(seed) for seed in range(3)])
    columns = {
        f"subset_{name}@K{k}": value * k for name, value in (("C_s", 0.1), ("N_c", 0.05)) for k in (5, 10, 30)
    }
    (row,) = claims.measure("cluster_growth_with_labels", base.assign(**columns)).to_dict("records")
    assert row["value"] == pytest.approx(6.0)
    assert row["control"] == pytest.approx(6.0)
    assert row["arm"] == "net, label subsets of planted"
