"""Figures of chapter 3: what is drawn is what was given; what cannot be drawn is refused."""

import numpy as np
import pandas as pd
import pytest

from filterwise.errors import ParameterError
from filterwise.figures import curves, frames
from filterwise.measure import power_law as fit_power_law
from filterwise.papers.power_law import figures as power_law
from filterwise.papers.power_law import width_figures as widths


@pytest.fixture
def table():
    generator = np.random.default_rng(0)
    rows = [
        {
            "curve": curve,
            "network": network,
            "d1": d1,
            "error": A * d1**-0.3 * np.exp(0.01 * generator.standard_normal()),
            "train_error": 0.8 * A * d1**-0.3,
            "macs": 1000 * d1**2,
            "parameters": 100 * d1**2,
            "held_out": d1 == 96,
        }
        for curve, network, A in (("LeNet", "lenet5", 0.6), ("VGG-16", "vgg16", 0.5))
        for d1 in (6, 12, 24, 48, 96)
        for _ in range(3)
    ]
    return pd.DataFrame(rows)


@pytest.fixture
def fits(table):
    seen = table[~table["held_out"]]
    return {str(name): fit_power_law(part["d1"], part["error"]) for name, part in seen.groupby("curve")}


def lines_of(axes, style):
    return [line for line in axes.lines if line.get_linestyle() == style]


def test_the_dashed_line_goes_on_from_where_the_solid_one_stops(table, fits):
    figure = power_law.error_against_width(table, fits, {"deep": 0.065})
    (axes,) = figure.axes
    solid = [line for line in lines_of(axes, "-") if len(line.get_xdata()) == 60]
    dashed = [line for line in lines_of(axes, "--") if len(line.get_xdata()) == 60]
    assert len(solid) == len(dashed) == 2
    for inside, outside in zip(solid, dashed, strict=True):
        assert inside.get_xdata()[[0, -1]] == pytest.approx([6, 48])
        assert outside.get_xdata()[0] == pytest.approx(48)
        assert inside.get_ydata()[-1] == pytest.approx(outside.get_ydata()[0])
    fit = fits["LeNet"]
    assert solid[0].get_ydata()[0] == pytest.approx(fit.prefactor * 6**-fit.exponent)


def test_points_are_means_and_held_out_ones_are_hollow(table, fits):
    (axes,) = power_law.error_against_width(table, fits).axes
    drawn = {tuple(c[0].get_xdata()): c[0] for c in axes.containers}
    hollow = drawn[(96,)]
    assert hollow.get_markerfacecolor() == "none"
    means = table[table["curve"] == "VGG-16"].groupby("d1")["error"].mean()
    assert axes.containers[-1][0].get_ydata() == pytest.approx([means[96]])


def test_residuals_and_local_exponents_are_those_of_the_means(table, fits):
    left, right = power_law.straightness(table, fits).axes
    fit = fits["LeNet"]
    means = np.log(
        table[table["curve"] == "LeNet"]
        .assign(error=lambda t: np.log(t["error"]))
        .groupby("d1")["error"]
        .mean()
        .pipe(np.exp)
    )
    expected = [100 * (means[d1] - np.log(fit.prefactor * d1**-fit.exponent)) for d1 in (6, 12, 24, 48)]
    assert left.containers[0][0].get_ydata() == pytest.approx(expected)
    local = [(means[low] - means[2 * low]) / np.log(2) for low in (6, 12, 24)]
    assert right.containers[0][0].get_ydata() == pytest.approx(local)


def test_costs_are_drawn_in_millions_and_thousands(table):
    macs, weights = widths.error_against_cost(table).axes
    assert macs.containers[0][0].get_xdata() == pytest.approx([1e-3 * d1**2 for d1 in (6, 12, 24, 48, 96)])
    assert weights.containers[0][0].get_xdata() == pytest.approx([0.1 * d1**2 for d1 in (6, 12, 24, 48, 96)])


def test_ratios_of_cost_are_drawn_with_their_band_and_a_line_at_equal_operations():
    table = pd.DataFrame(
        {"against": ["LeNet", "LeNet", "other"], "error": [0.4, 0.2, 0.3], "ratio": [2.0, 0.5, 1.5],
         "low": [1.8, 0.4, np.nan], "high": [2.3, 0.7, np.nan]}
    )  # fmt: skip
    (axes,) = widths.cost_ratio(table).axes
    first, second = axes.containers
    assert first[0].get_ydata() == pytest.approx([0.5, 2.0])
    ends = [segment[:, 1].tolist() for segment in first[2][0].get_segments()]
    assert ends == [pytest.approx([0.4, 0.7]), pytest.approx([1.8, 2.3])]
    assert second[0].get_ydata() == pytest.approx([1.5])  # no interval: a point without bars
    assert any(set(line.get_ydata()) == {1} for line in lines_of(axes, ":"))


def test_legends_say_what_dashed_lines_and_hollow_points_are(table, fits):
    def legend(figure):
        return {text.get_text() for text in figure.legends[0].get_texts()}

    said = legend(power_law.error_against_width(table, fits))
    assert {"fitted line", "extrapolated line", "kept out of the fit"} <= said
    assert "kept out of the fit" not in legend(power_law.error_against_width(table[~table["held_out"]], fits))
    assert "exponent of the whole line" in legend(power_law.straightness(table, fits))


def test_curves_of_one_network_have_colours_of_their_own(table):
    again = table[table["curve"] == "LeNet"].assign(curve="LeNet, all images")
    looks = power_law.looks_of(pd.concat([table, again]))
    assert len({look.color for look in looks.values()}) == 3


def test_every_exponent_has_a_row_and_its_interval(fits):
    (axes,) = power_law.exponents(fits).axes
    for row, (fit, drawn) in enumerate(zip(fits.values(), axes.containers, strict=True)):
        assert drawn[0].get_xdata() == pytest.approx([fit.exponent])
        (segment,) = drawn[2][0].get_segments()
        assert segment[:, 0] == pytest.approx(fit.exponent_interval)
        assert segment[:, 1] == pytest.approx([row, row])


def test_the_scan_has_a_line_for_each_budget_and_one_at_the_conserved_ratio():
    scan = pd.DataFrame(
        [(r, b, 0.3 + b / 1e8 + s / 1000) for r in (0.7, 2.8, 5.6) for b in (1e6, 4e6) for s in (0, 2)],
        columns=["ratio", "budget", "error"],
    )
    (axes,) = widths.ratio_scan(scan).axes
    assert [c[0].get_ydata()[0] for c in axes.containers] == pytest.approx([0.311, 0.341])
    assert any(line.get_xdata()[0] == 2.8 for line in lines_of(axes, ":"))


def test_trainings_of_different_length_share_an_axis():
    arrays = {n: {"epoch": np.arange(1, n + 1), "train_accuracy": np.linspace(0, 0.8, n),
                  "test_accuracy": np.linspace(0, 0.7, n)} for n in (4, 8)}  # fmt: skip
    found = curves.curves_table({"plain": arrays[4], "doubled": arrays[8]})
    (axes,) = curves.learning_curves(found).axes
    ends = [line for line in axes.lines if len(line.get_xdata()) == 1]
    assert [line.get_xdata()[0] for line in ends] == [1.0, 1.0]
    assert [line.get_ydata()[0] for line in ends] == pytest.approx([0.3, 0.3])


def test_boxes_have_the_sides_of_the_maps():
    (axes,) = widths.side_and_depth({"1": (28, 6), "2": (10, 16)}).axes
    assert [patch.get_height() for patch in axes.patches] == pytest.approx([1.0, 10 / 28])
    assert "168" in axes.texts[0].get_text()
    assert "160" in axes.texts[1].get_text()


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda t, f: power_law.error_against_width(t.drop(columns="d1"), f), "'d1'"),
        (lambda t, f: power_law.error_against_width(t, {"LeNett": f["LeNet"]}), "'LeNett'"),
        (lambda t, f: widths.error_against_cost(t[:0]), "no rows"),
        (lambda t, f: power_law.exponents({}), "fits is empty"),
        (lambda t, f: widths.ratio_scan(t), "'ratio'"),
        (lambda t, f: widths.side_and_depth({"1": (0, 6)}), "at least 1"),
        (lambda t, f: curves.curves_table({}), "histories is empty"),
        (lambda t, f: frames.explore_frames("n", [], str), "no position"),
    ],
)
def test_what_cannot_be_drawn_is_refused(table, fits, draw, message):
    with pytest.raises(ParameterError, match=message):
        draw(table, fits)
