"""Quantities of chapter 3 on records whose answer is known by construction."""

import math

import numpy as np
import pandas as pd
import pytest

from filterwise import claims

WIDTHS = (2, 4, 8, 16, 32)


def width_runs(
    rho, prefactor=0.8, family="lenet", variant="main", kind="main", macs=100.0, noise=0.0, bend=0.0
):
    rng = np.random.default_rng(5)
    rows = []
    for seed in range(3):
        for d1 in WIDTHS:
            x = np.log(d1)
            error = prefactor * np.exp(-rho * x + bend * x**2 + noise * rng.normal())
            rows.append(
                {"family": family, "variant": variant, "variant_kind": kind, "d1": d1, "macs": macs * d1**2,
                 "seed": seed, "data": "planted", "device": "cpu", "accuracy": 1 - error, "ratio": 2.67}
            )  # fmt: skip
    return pd.DataFrame(rows)


def value(name, records, **options):
    (row,) = claims.measure(name, records, options).to_dict("records")
    return row["value"]


def test_planted_exponent_is_recovered():
    records = width_runs(0.3, noise=0.01)
    assert value("width_exponent", records, family="lenet") == pytest.approx(0.3, abs=0.02)
    assert value("width_fit_r2", records) > 0.99
    assert value("width_quadratic_p", width_runs(0.3)) > 0.05
    assert value("width_quadratic_p", width_runs(0.3, noise=0.002, bend=0.03)) < 0.01
    assert value("widths_measured", records) == len(WIDTHS)
    assert value("widths_that_lower_the_error", width_runs(0.3)) == 1.0


def test_extrapolated_width_and_held_out_point():
    records = width_runs(0.5, prefactor=0.8)
    expected = math.log10((0.8 / 0.1) ** (1 / 0.5))
    assert value("width_for_error", records, error=0.1) == pytest.approx(expected, rel=1e-6)
    held = records[records["d1"] == 32].assign(d1=128, held_out=1, accuracy=1 - 1.1 * 0.8 * 128**-0.5)
    joined = pd.concat([records, held])
    assert value("held_out_error_ratio", joined) == pytest.approx(1.1, rel=1e-6)
    assert value("width_exponent", joined, family="lenet") == pytest.approx(0.5)  # no fit may see it


def test_operations_at_equal_error_by_the_closed_form():
    """Equal rho: the ratio is (macs ratio) * (prefactor ratio)^(2 / rho)."""
    both = pd.concat([width_runs(0.4, 0.8), width_runs(0.4, 0.7, family="vgg16", macs=1140.0)])
    expected = 11.4 * (0.7 / 0.8) ** (2 / 0.4)
    assert value("macs_ratio_at_equal_error", both) == pytest.approx(expected, rel=1e-3)
    assert value("exponent_difference", both) == pytest.approx(0.0, abs=1e-9)
    assert value("exponents_agree", both) == 1.0
    apart = pd.concat([width_runs(0.4), width_runs(0.1, family="vgg16")])
    assert value("exponents_agree", apart) == 0.0
    # beyond the measured widths: macs = 100 d1^2 (1140 d1^2) at d1* = (A / 0.065)^(1 / 0.4)
    (row,) = claims.measure("macs_ratio_at_equal_error", both).to_dict("records")
    assert row["control"] == pytest.approx(expected, rel=1e-3)


def test_two_widths_are_no_curve_to_compare():
    both = pd.concat([width_runs(0.4), width_runs(0.1, family="vgg16").query("d1 <= 4")])
    for name in ("exponents_agree", "exponent_difference", "macs_ratio_at_equal_error"):
        assert claims.measure(name, both).empty


def test_variants_are_counted_and_compared_with_their_family():
    records = pd.concat(
        [
            width_runs(0.30),
            width_runs(0.32, variant="ratio 2.0", kind="ratio"),
            width_runs(0.37, variant="ratio 4.0", kind="ratio", noise=0.002, bend=0.05),
            width_runs(0.28, variant="average pool", kind="variant"),
        ]
    )
    assert value("straight_variants", records, kind="ratio") == 1
    assert value("straight_variants", records, kind="variant") == 1
    straight = records[records["variant"] != "ratio 4.0"]
    assert value("variant_exponent_gap", straight) == pytest.approx(0.02, abs=1e-6)


def test_ratio_at_the_largest_budget():
    rows = [
        {"variant_kind": "budget", "ratio": ratio, "budget": budget, "seed": seed, "data": "planted",
         "accuracy": 1 - error - 0.01 * (seed - 1)}
        for budget, errors in ((1e6, (0.4, 0.5, 0.6)), (4e6, (0.45, 0.32, 0.30)))
        for ratio, error in zip((0.7, 2.75, 5.6), errors, strict=True)
        for seed in range(3)
    ]  # fmt: skip
    records = pd.DataFrame(rows)
    assert value("conserved_ratio_excess", records) == pytest.approx(2.0)  # 0.02 above the best, sd 0.01
    assert value("low_ratio_penalty", records) == pytest.approx(0.13)


def test_pooled_quantities_get_an_interval_from_resampled_seeds():
    (claim,) = [c for c in claims.load("3-power-law") if c.id == "L1"]
    records = width_runs(0.3, noise=0.02)
    finding = claims.find(claim, records, "quick", np.random.default_rng(0))
    (estimate,) = finding.headline
    assert estimate.low < estimate.value < estimate.high
    assert estimate.value == pytest.approx(0.3, abs=0.03)
    assert estimate.n == 3
    assert finding.verdict == "holds"
    assert claims.find(claim, width_runs(-0.1), "quick", np.random.default_rng(0)).verdict == "fails"
