"""What chapter 3's page computes from tables: planted curves come back, held-out widths are not looked at."""

import numpy as np
import pandas as pd
import pytest

from filterwise import models
from filterwise.errors import ParameterError
from filterwise.papers.power_law import fits, plan, width_words


def planted(rho=0.3, A=0.6, widths=(6, 12, 24, 48, 96), seeds=3, noise=0.01, family="lenet", held=(96,)):
    generator = np.random.default_rng(0)
    rows = [
        {
            "family": family,
            "variant": "main",
            "variant_kind": "main",
            "network": "lenet5",
            "d1": d1,
            "seed": seed,
            "accuracy": 1 - A * d1**-rho * np.exp(noise * generator.standard_normal()),
            "train_accuracy": 0.9,
            "macs": 1_000 * d1**2,
            "parameters": 100 * d1**2,
            "held_out": int(d1 in held),
            "data": "planted",
        }
        for d1 in widths
        for seed in range(seeds)
    ]
    return fits.with_errors(pd.DataFrame(rows))


def test_a_planted_exponent_comes_back_with_an_interval_around_it():
    fit = fits.fit_all(planted())["LeNet"]
    low, high = fit.exponent_interval
    assert low < 0.3 < high
    assert high - low < 0.05
    assert fit.points == 4


def test_no_fit_sees_a_held_out_width():
    table = planted()
    spoiled = table.assign(error=np.where(table["held_out"] == 1, 0.9, table["error"]))
    assert fits.fit_all(table)["LeNet"].exponent == fits.fit_all(spoiled)["LeNet"].exponent


def test_held_out_widths_stand_beside_the_line():
    table = planted()
    (row,) = fits.held_out_table(table, fits.fit_all(table)).to_dict("records")
    assert row["d₁"] == 96
    assert row["seeds"] == 3
    assert row["measured"] == pytest.approx(table.loc[table["d1"] == 96, "error"].mean())
    assert row["line"] == pytest.approx(0.6 * 96**-0.3, rel=0.05)


def test_curves_with_fewer_than_three_widths_are_not_fitted():
    assert fits.fit_all(planted(widths=(6, 12, 96))) == {}


def test_operations_at_an_error_invert_the_planted_line():
    table = planted(noise=0.0)
    # error = 0.6 d1^-0.3 and MACs = 1000 d1^2, so MACs = 1000 (0.6 / error)^(2 / 0.3)
    found, operations = fits.fit_all(table), {"LeNet": lambda d1: 1_000 * d1**2}
    cells = fits.macs_at_error(table, found, 0.05, operations).loc["LeNet"]
    inside, *_, outside = cells.index
    error = float(inside.removeprefix("error "))
    # to a whole number of filters
    assert float(cells[inside]) == pytest.approx(1e-3 * round((0.6 / error) ** (1 / 0.3)) ** 2, rel=0.01)
    assert cells[outside].endswith("*")
    number = float(cells[outside].rstrip("* ").replace(",", ""))
    assert number == pytest.approx(1e-3 * (0.6 / 0.05) ** (2 / 0.3), rel=0.01)


def test_operations_at_an_error_are_those_of_the_width():
    table = planted(noise=0.0)
    cells = fits.macs_at_error(table, fits.fit_all(table), 0.05).loc["LeNet"]
    width = round((0.6 / 0.05) ** (1 / 0.3))
    net = models.build("lenet5", d1=width, ratio=16 / 6)
    assert float(cells["error 0.05"].rstrip("* ").replace(",", "")) == pytest.approx(
        models.macs(net) / 1e6, rel=0.005
    )


def test_errors_to_compare_at_are_reached_by_all_curves():
    both = pd.concat([planted(), planted(A=0.5, family="vgg16", widths=(4, 8, 16), held=())])
    for error in fits.middle_errors(both):
        for _, part in both.groupby("curve"):
            means = part.groupby("d1")["error"].mean()
            assert means.min() <= error <= means.max()


def test_the_fits_table_promises_a_width_and_refuses_what_is_no_error():
    found = fits.fit_all(planted(noise=0.0))
    table = fits.fit_table(found, 0.1)
    width = (0.6 / 0.1) ** (1 / 0.3)
    assert float(table.loc["d₁* for an error of 0.1", "LeNet"]) == pytest.approx(width, rel=0.05)
    for target in (0.0, 1.0, -0.1):
        with pytest.raises(ParameterError, match="target"):
            fits.fit_table(found, target)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"profile": "quik"}, "did you mean 'quick'"),
        ({"pool": "mean"}, "pool='mean'"),
        ({"widths": [0, 2, 4]}, "d1=0"),
        ({"widths": [2, 4]}, "at least 3 different"),
        ({"widths": [2, 2, 4]}, "at least 3 different"),
        ({"widths": [1, 2, 4], "ratio": 0.1}, "gives d2=0 at d1=1"),
        ({"ratio": 0.0}, "ratio=0.0"),
        ({"seed": -1}, "seed=-1"),
        ({"seeds": 0}, "seeds=0"),
    ],
)
def test_parameters_that_cannot_be_are_refused(given, message):
    with pytest.raises(ParameterError, match=message):
        plan.page_jobs(**{"profile": "quick", **given})


def test_points_follow_the_parameters():
    jobs = plan.page_jobs("quick", 3, 2, [2, 3, 5], 1.5, "average")
    widths = [(dict(job.about)["d1"], job.run.seed) for job in jobs]
    assert widths == [(d1, seed) for seed in (3, 4) for d1 in (2, 3, 5)]
    assert [job.run.model_kwargs["d2"] for job in jobs[:3]] == [3, 5, 8]
    assert {job.run.model_kwargs["pool"] for job in jobs} == {"average"}


def test_empty_records_stay_empty():
    empty = fits.with_errors(pd.DataFrame(columns=["family"]))
    assert empty.empty
    assert fits.fit_all(empty) == {}
    assert fits.held_out_table(empty, {}).empty
    assert fits.longer_curves(empty.assign(seed=0, epochs=1), "3-power-law", "cifar").empty


def test_words_of_a_scan_say_what_is_judged_and_how_budgets_are_missed():
    scan = pd.DataFrame(
        [{"variant_kind": "budget", "ratio": r, "budget": b, "macs": 0.9 * b, "seed": seed, "data": "planted",
          "accuracy": 1 - e}
         for b, errors in ((1e6, (0.6, 0.4, 0.5)), (4e6, (0.34, 0.30, 0.32)))
         for r, e in zip((0.7, 2.8, 5.6), errors, strict=True) for seed in range(2)]
    )  # fmt: skip
    words = width_words.scan_in_words(scan)
    assert "at 4 million MACs" in words
    assert "by 0.040 at ratios far below and by 0.020 at ratios far above" in words
    assert width_words.scan_costs_in_words(scan) == "between 10 % less and 10 % less than its budget"


def test_what_was_measured_is_listed_width_by_width():
    table = pd.concat([planted(held=()), planted(widths=(6,), seeds=1, held=()).assign(curve="other")])
    rows = fits.curves_measured(table.assign(train_images=9, epochs=2)).to_dict("records")
    assert rows[0] == {"curve": "LeNet", "d₁": "6, 12, 24, 48, 96", "seeds": "3", "images": 9, "epochs": 2}
    assert (rows[1]["d₁"], rows[1]["seeds"]) == ("6", "1")


def test_costs_are_compared_on_the_images_that_vgg_was_trained_on():
    some, every = (planted(held=()).assign(train_images=n, variant=v) for n, v in ((100, "a"), (500, "b")))
    deep = planted(family="vgg16", held=()).assign(train_images=100)
    kept = fits.comparable(pd.concat([some, every, deep]))
    assert set(kept["variant"]) == {"a", "main"}
    assert len(fits.comparable(pd.concat([some, every]))) == len(some) + len(every)


def test_longer_trainings_stand_beside_the_plain_ones_of_their_images():
    def runs(variant, images, epochs, kind="main"):
        about = {"variant": variant, "variant_kind": kind, "train_images": images, "epochs": epochs}
        return planted(widths=(6, 12, 48), noise=0.0, held=(), A=0.6 - epochs / 1000).assign(**about)

    some = [runs("main", 100, 16), runs("twice the epochs", 100, 32, "control")]
    every = [runs("all images", 500, 32), runs("all images, twice the epochs", 500, 64, "control")]
    assert set(fits.longer(pd.concat(some))["train_images"]) == {100}
    found = fits.longer(pd.concat([*some, every[0], every[1][every[1]["d1"] != 12]]))
    assert set(found["train_images"]) == {500}
    assert found[["d1", "epochs"]].values.tolist() == [[6, 32], [6, 64], [48, 32], [48, 64]]
    words = width_words.longer_in_words(found)
    assert words.startswith(f"d1 = 6 gains {0.032 * 6**-0.3:.3f} and d1 = 48 gains")


def test_words_follow_the_fits():
    table = planted()
    found = fits.fit_all(table)
    assert width_words.fits_in_words(found).startswith("LeNet falls with exponent 0.30 (0.")
