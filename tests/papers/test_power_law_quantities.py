"""Quantities of chapter 3 on records whose answer is known by construction."""

import math

import numpy as np
import pandas as pd
import pytest

from filterwise import claims
from filterwise.measure import power_law
from filterwise.papers.power_law import error_curves, fits

WIDTHS = (2, 4, 8, 16, 32)


def width_runs(
    rho, prefactor=0.8, family="lenet", variant="main", kind="main", macs=100.0, noise=0.0, bend=0.0,
    widths=WIDTHS, seeds=3, images=1000, epochs=4, draw=5,
):  # fmt: skip
    rng = np.random.default_rng(draw)
    rows = []
    for seed in range(seeds):
        for d1 in widths:
            x = np.log(d1)
            error = prefactor * np.exp(-rho * x + bend * x**2 + noise * rng.normal())
            rows.append(
                {"family": family, "variant": variant, "variant_kind": kind, "d1": d1, "macs": macs * d1**2,
                 "seed": seed, "data": "planted", "device": "cpu", "accuracy": 1 - error, "ratio": 2.67,
                 "train_images": images, "epochs": epochs, "train_accuracy": 0.9, "held_out": 0}
            )  # fmt: skip
    return pd.DataFrame(rows)


def value(name, records, **options):
    (row,) = claims.measure(name, records, options).to_dict("records")
    return row["value"]


def verdict(claim_id, records, profile="cifar"):
    (claim,) = [claim for claim in claims.load("3-power-law") if claim.id == claim_id]
    return claims.find(claim, records, profile, np.random.default_rng(0)).verdict


def test_planted_exponent_is_recovered():
    records = width_runs(0.3, noise=0.01)
    assert value("width_exponent", records, family="lenet") == pytest.approx(0.3, abs=0.02)
    assert value("width_fit_r2", records) > 0.99
    assert value("width_quadratic_p", width_runs(0.3)) > 0.05
    assert value("width_quadratic_p", width_runs(0.3, noise=0.002, bend=0.03)) < 0.01
    assert value("widths_that_lower_the_error", width_runs(0.3)) == 1.0


def test_page_and_verdict_have_one_fit():
    records = width_runs(0.3, noise=0.05, bend=0.02)
    (curve,) = error_curves.curves(records)
    alone = power_law(records["d1"], 1 - records["accuracy"])
    on_page = fits.fit_all(fits.with_errors(records))["LeNet"]
    for fit in (alone, on_page, curve.law()):
        assert value("width_exponent", records) == pytest.approx(fit.exponent, rel=1e-9)
        assert value("width_fit_r2", records) == pytest.approx(fit.r2, rel=1e-9)
        p = fit.curvature_p["quadratic"]
        assert value("width_quadratic_p", records) == pytest.approx(p, rel=1e-6)
        assert error_curves.line(curve)[1] == pytest.approx(math.log(fit.prefactor), rel=1e-9)


def test_a_curve_is_made_of_the_seeds_that_have_every_width():
    records = width_runs(0.3, noise=0.05)
    short = records[(records["seed"] < 2) | (records["d1"] < 16)]
    (row,) = claims.measure("width_exponent", short).to_dict("records")
    assert row["n"] == 2
    assert row["value"] == value("width_exponent", records[records["seed"] < 2])
    drawn_twice = pd.concat([records[records["seed"] == 1]] * 2)
    assert value("width_exponent", drawn_twice) == pytest.approx(
        value("width_exponent", records[records["seed"] == 1])
    )


@pytest.mark.parametrize("differ", [{"images": 5000}, {"epochs": 8}])
def test_a_curve_never_mixes_trainings(differ):
    """Two straight lines far apart: mixed, they would be one with a large scatter."""
    one, other = width_runs(0.3, 0.8), width_runs(0.2, 0.4, **differ)
    both = pd.concat([one, other])
    found = error_curves.curves(both)
    exponents = sorted(error_curves.line(curve)[0] for curve in found)
    assert exponents == pytest.approx([0.2, 0.3])
    assert len({curve.arm for curve in found}) == 2
    on_page = fits.fit_all(fits.with_errors(both))
    assert sorted(fit.exponent for fit in on_page.values()) == pytest.approx([0.2, 0.3])
    assert all("images of planted" in name for name in on_page)
    # nor does a comparison of families, or of a variant with its main curve
    if "images" in differ:
        assert claims.measure("exponent_difference", pd.concat([one, other.assign(family="vgg16")])).empty
    variant = other.assign(variant="average pools", variant_kind="variant")
    assert claims.measure("variant_exponent_gap", pd.concat([one, variant])).empty


def test_the_curve_on_more_images_is_judged_once_it_has_five_widths_and_two_seeds():
    few = width_runs(0.3)
    for widths, seeds, chosen in (((2, 32), 3, 0.3), (WIDTHS, 1, 0.3), (WIDTHS, 2, 0.1)):
        many = width_runs(0.1, images=5000, widths=widths, seeds=seeds)
        assert value("width_exponent", pd.concat([few, many])) == pytest.approx(chosen)
    every = claims.measure("width_exponent", pd.concat([few, many]), {"every": True})
    assert sorted(every["value"]) == pytest.approx([0.1, 0.3])


@pytest.mark.parametrize(
    ("planted", "noise", "widths", "expected"),
    [
        (0.32, 0.002, WIDTHS, "holds"),  # 0.02 apart, known well
        (0.50, 0.002, WIDTHS, "fails"),  # 0.2 apart, known well
        (0.32, 0.30, WIDTHS, "undecided"),  # inside the bounds, but by luck as well as not
        (0.32, 0.002, WIDTHS[:3], "undecided"),  # three widths
        (0.50, 0.002, WIDTHS[:3], "undecided"),
    ],
)
def test_similar_exponents_are_an_equivalence(planted, noise, widths, expected):
    deep = width_runs(planted, family="vgg16", noise=noise, widths=widths, draw=1)
    records = pd.concat([width_runs(0.30, noise=noise), deep])
    assert verdict("L3", records) == expected


def test_one_seed_is_no_equivalence():
    deep = width_runs(0.31, family="vgg16", noise=0.002, seeds=1)
    assert verdict("L3", pd.concat([width_runs(0.30, noise=0.002), deep])) == "undecided"


def test_the_control_of_an_exponent_difference_is_the_normed_lenet():
    runs = [width_runs(0.5, family="vgg16"), width_runs(0.3), width_runs(0.45, family="lenet bn")]
    (row,) = claims.measure("exponent_difference", pd.concat(runs)).to_dict("records")
    assert (row["value"], row["control"]) == pytest.approx((0.2, 0.05))


def test_extrapolated_width_and_held_out_point():
    records = width_runs(0.5, prefactor=0.8, noise=1e-4)
    expected = math.log10((0.8 / 0.1) ** (1 / 0.5))
    assert value("width_for_error", records, error=0.1) == pytest.approx(expected, rel=1e-3)
    held = records[records["d1"] == 32].assign(d1=128, held_out=1, accuracy=1 - 1.1 * 0.8 * 128**-0.5)
    joined = pd.concat([records, held])
    assert value("held_out_error_ratio", joined) == pytest.approx(1.1, rel=1e-3)
    assert value("width_exponent", joined, family="lenet") == value("width_exponent", records)
    assert verdict("L2", records) == "undecided"  # no wider point
    assert verdict("L2", joined) == "fails"
    assert verdict("L2", pd.concat([records, held.assign(accuracy=1 - 0.8 * 128**-0.5)])) == "holds"
    # a wider point that was trained on more images is no test of this line
    assert claims.measure("held_out_error_ratio", pd.concat([records, held.assign(train_images=5000)])).empty


def test_operations_at_equal_error_by_the_closed_form():
    """Equal rho: the ratio is (macs ratio) * (prefactor ratio)^(2 / rho), at every error."""
    both = pd.concat([width_runs(0.4, 0.8), width_runs(0.4, 0.7, family="vgg16", macs=1140.0)])
    expected = 11.4 * (0.7 / 0.8) ** (2 / 0.4)
    found = claims.measure("macs_ratio_at_equal_error", both)
    assert len(found) == 2
    assert found["value"].tolist() == pytest.approx([expected, expected], rel=1e-6)
    assert found["control"].between(1 - both["accuracy"].max(), 1 - both["accuracy"].min()).all()
    assert value("macs_ratio_unless_mixed", both) == pytest.approx(expected, rel=1e-6)
    assert value("exponent_difference", both) == pytest.approx(0.0, abs=1e-9)


def crossing(noise=0.001, **options):
    """VGG-16 is dearer at large errors and cheaper at small ones."""
    deep = width_runs(0.6, 1.0, family="vgg16", macs=300.0, noise=noise, draw=1, **options)
    return pd.concat([width_runs(0.3, 0.8, noise=noise), deep])


def test_dearer_at_some_errors_and_cheaper_at_others_is_undecided():
    found = claims.measure("macs_ratio_at_equal_error", crossing())
    assert found["value"].max() > 1.2
    assert found["value"].min() < 0.8
    assert claims.measure("macs_ratio_unless_mixed", crossing()).empty
    assert verdict("L4", crossing()) == "undecided"


@pytest.mark.parametrize(("factor", "expected"), [(11.4, "holds"), (0.2, "fails")])
def test_dearer_everywhere_holds_and_cheaper_everywhere_fails(factor, expected):
    deep = width_runs(0.4, 0.8, family="vgg16", macs=100.0 * factor, noise=0.002, draw=1)
    assert verdict("L4", pd.concat([width_runs(0.4, 0.8, noise=0.002), deep])) == expected


def test_a_normed_lenet_that_is_dearer_still_leaves_the_cost_undecided():
    cheap = width_runs(0.4, 0.8, family="vgg16", macs=50.0, noise=0.002, draw=1)
    plain = pd.concat([width_runs(0.4, 0.8, noise=0.002), cheap])
    assert verdict("L4", plain) == "fails"
    normed = width_runs(0.4, 0.4, family="lenet bn", noise=0.002, draw=2)
    assert verdict("L4", pd.concat([plain, normed])) == "undecided"


def test_costs_are_not_compared_between_far_widths_nor_beyond_a_curve():
    far = width_runs(0.4, 0.8, widths=(2, 8, 32))  # two octaves from one to the next
    deep = width_runs(0.4, 0.8, family="vgg16", macs=1140.0, widths=(4, 16, 64))
    assert claims.measure("macs_ratio_at_equal_error", pd.concat([far, deep])).empty
    away = width_runs(0.4, 0.05, family="vgg16")  # errors that no LeNet reaches
    assert claims.measure("macs_ratio_at_equal_error", pd.concat([width_runs(0.4), away])).empty


def test_the_band_of_all_ratios_holds_the_truth_as_often_as_it_says():
    from filterwise.papers.power_law.equal_error import band, compare

    inside = []
    for draw in range(300):
        one = width_runs(0.4, 0.8, family="vgg16", macs=200.0, noise=0.02, draw=2 * draw)
        two = width_runs(0.4, 0.8, noise=0.02, draw=2 * draw + 1)
        both = [error_curves.curves(each)[0] for each in (one, two)]
        found = compare(*both)
        ends = band(found)
        inside.append(all(low < np.log(2) < high for low, high in ends))
    assert np.mean(inside) > 0.95 - 3 * np.sqrt(0.05 * 0.95 / 300)


def test_two_widths_are_no_curve_to_compare():
    both = pd.concat([width_runs(0.4), width_runs(0.1, family="vgg16").query("d1 <= 4")])
    for name in ("exponent_difference", "macs_ratio_at_equal_error"):
        assert claims.measure(name, both).empty


def variants(gaps, noise=0.002, **options):
    kinds = ("ratio", "ratio", "variant", "variant")
    return pd.concat(
        [
            width_runs(0.30, noise=noise),
            *(
                width_runs(0.30 + gap, variant=f"{kind} {n}", kind=kind, noise=noise, draw=n, **options)
                for n, (gap, kind) in enumerate(zip(gaps, kinds, strict=False))
            ),
        ]
    )


def test_variants_are_counted_and_compared_with_their_family():
    records = variants((0.02, 0.05, -0.02, 0.0), noise=0.0)
    bent = width_runs(0.37, variant="ratio 4.0", kind="ratio", noise=0.002, bend=0.05)
    joined = pd.concat([records, bent])
    assert value("straight_variants", joined, kind="ratio") == 2
    assert claims.measure("straight_variants", joined, {"kind": "ratio"})["control"].item() == 3
    gaps = claims.measure("variant_exponent_gap", records)
    assert gaps["value"].tolist() == pytest.approx([0.02, 0.05, -0.02, 0.0], abs=1e-6)


def test_a_variant_is_compared_at_the_widths_that_it_has():
    """A bent main curve has another exponent over other widths; a variant that equals it has no gap."""
    main = width_runs(0.5, bend=0.05)
    same = main[main["d1"] >= 8].assign(variant="ratio 2", variant_kind="ratio")
    assert value("variant_exponent_gap", pd.concat([main, same])) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(
    ("gaps", "options", "expected"),
    [
        ((0.02, -0.03, 0.01, 0.04), {}, "holds"),
        ((0.02, -0.03, 0.01, 0.30), {}, "fails"),
        ((0.02, -0.03, 0.01), {}, "undecided"),  # one variant only
        ((0.02, -0.03, 0.01, 0.04), {"seeds": 1}, "undecided"),
        ((0.02, -0.03, 0.01, 0.04), {"widths": WIDTHS[:3]}, "undecided"),
    ],
)
def test_every_variant_has_to_pass_by_itself(gaps, options, expected):
    assert verdict("L5", variants(gaps, **options)) == expected


RATIOS = (0.7, 1.4, 2.0, 2.8, 4.0, 5.6, 11.2)


def scan_runs(errors, budget=4e6, seeds=3, noise=0.001, ratios=RATIOS, missed=()):
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        [
            {"variant_kind": "budget", "ratio": ratio, "budget": budget, "seed": seed, "data": "planted",
             "macs": budget * dict(missed).get(ratio, 1.0),
             "accuracy": 1 - error * np.exp(noise * rng.normal())}
            for ratio, error in zip(ratios, errors, strict=True)
            for seed in range(seeds)
        ]
    )  # fmt: skip


def valley(centre, depth=0.05):
    return 0.3 * np.exp(depth * np.log(np.array(RATIOS) / centre) ** 2)


def test_a_scan_is_pooled_over_its_ratios_at_the_largest_budget():
    records = pd.concat([scan_runs(valley(1.0), budget=1e6), scan_runs(valley(2.8), noise=0.0)])
    found = claims.measure("far_ratio_penalty", records)
    errors = valley(2.8)
    near = errors[2:5].mean()
    assert found["value"].tolist() == pytest.approx([errors[:2].mean() - near, errors[5:].mean() - near])
    (row,) = claims.measure("conserved_ratio_excess", records).to_dict("records")
    assert (row["value"], row["control"]) == pytest.approx((0.0, 2.8), abs=1e-6)
    aside = claims.measure("conserved_ratio_excess", scan_runs(valley(5.6), noise=0.0)).to_dict("records")
    assert (aside[0]["value"], aside[0]["control"]) == pytest.approx(
        (math.expm1(0.05 * math.log(2) ** 2), 5.6), rel=1e-6
    )


@pytest.mark.parametrize(
    ("errors", "noise", "expected"),
    [
        (valley(2.8), 0.001, "holds"),
        (np.linspace(0.4, 0.3, 7), 0.001, "fails"),  # only "not below"
        (valley(2.8), 0.3, "undecided"),
        (valley(0.7, depth=0.1), 0.001, "fails"),
    ],
)
def test_a_conserved_ratio_needs_a_valley(errors, noise, expected):
    assert verdict("L6", scan_runs(errors, noise=noise)) == expected


def test_a_dearer_scan_decides_once_it_has_three_seeds():
    cheap = scan_runs(valley(2.8), budget=1e6)
    for seeds, chosen in ((1, "1 million"), (2, "1 million"), (3, "4 million")):
        both = pd.concat([cheap, scan_runs(valley(5.6), seeds=seeds)])
        assert claims.measure("conserved_ratio_excess", both)["arm"].str.startswith(chosen).all()


def test_one_scan_of_each_ratio_is_undecided():
    assert verdict("L6", scan_runs(valley(2.8), seeds=1)) == "undecided"


def test_a_missed_budget_is_made_up_for_by_the_main_curve():
    """Errors that fall as macs^-0.15 alone, in a scan whose last ratio costs less: no penalty is left."""
    missed = {11.2: 0.8}
    errors = [0.3 * missed.get(ratio, 1.0) ** -0.15 for ratio in RATIOS]
    scan = scan_runs(errors, noise=0.0, missed=missed).assign(train_images=1000, epochs=4)
    main = width_runs(0.3)  # macs = 100 d1^2
    alone = claims.measure("far_ratio_penalty", scan)["value"].max()
    assert alone > 0.003
    both = claims.measure("far_ratio_penalty", pd.concat([main, scan]))["value"]
    assert both.abs().max() < 1e-9


def test_pooled_quantities_get_an_interval_from_resampled_seeds():
    (claim,) = [c for c in claims.load("3-power-law") if c.id == "L1"]
    records = width_runs(0.3, noise=0.02)
    finding = claims.find(claim, records, "quick", np.random.default_rng(0))
    (estimate,) = finding.headline
    assert estimate.low < estimate.value < estimate.high
    assert estimate.value == pytest.approx(0.3, abs=0.03)
    assert estimate.n == 3
    assert finding.verdict == "holds"
    assert verdict("L1", width_runs(-0.1), "quick") == "fails"


def test_four_widths_leave_the_law_undecided_at_cifar():
    assert verdict("L1", width_runs(0.3, noise=0.005)) == "holds"
    assert verdict("L1", width_runs(0.3, noise=0.005, widths=WIDTHS[:4])) == "undecided"
    assert verdict("L1", width_runs(0.3, noise=0.005, bend=0.05)) == "fails"
