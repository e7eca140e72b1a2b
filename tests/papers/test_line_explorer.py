"""The line explorer: its page says and draws what the library's fit gives, by pointer and by key."""

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from filterwise.errors import ParameterError
from filterwise.measure import power_law
from filterwise.papers.power_law import line_explorer
from filterwise.papers.power_law.fits import LARGEST_WIDTH, rounded

ERRORS = [float(f"{error:.2g}") for error in np.geomspace(0.4, 0.01, 38)]


def cost(d1):
    return 1000 * d1**2


@pytest.fixture(scope="module")
def table():
    noise = np.random.default_rng(0).standard_normal((2, 4, 3))
    return pd.DataFrame([
        {"curve": curve, "d1": d1, "error": A * d1**-0.4 * np.exp(0.02 * noise[at, place, seed]),
         "held_out": float(d1 == 96), "macs": cost(d1), "seconds": 2e-6 * cost(d1) * (1 + (d1 < 24))}
        for at, (curve, A) in enumerate((("LeNet", 0.9), ("VGG-16", 0.5)))
        for place, d1 in enumerate((6, 12, 24, 48)) for seed in range(3)
    ])  # fmt: skip


@pytest.fixture(scope="module")
def lines(table):
    found = {str(name): power_law(part["d1"], part["error"]) for name, part in table.groupby("curve")}
    return line_explorer.lines_of(table, found, {"LeNet": cost, "VGG-16": cost}, "parts")


def content(html):
    return json.loads(re.search(r'\.start\("[0-9a-f]+", (.*)\);\n</script>', html)[1])


def test_a_line_is_what_was_measured_and_the_widest_sets_the_pace(table, lines):
    assert list(lines) == ["LeNet, parts", "VGG-16, parts"]
    line = lines["LeNet, parts"]
    assert line.widths == (6, 12, 24, 48)
    assert line.errors == pytest.approx(table[table["curve"] == "LeNet"].groupby("d1")["error"].mean())
    assert line.seconds(100) == pytest.approx(2e-6 * cost(100))  # not the slower pace of the narrow ones
    held_out = table.assign(held_out=(table["d1"] == 48).astype(float))
    (other, _) = line_explorer.lines_of(held_out, {"LeNet": line.fit, "VGG-16": line.fit},
                                        {"LeNet": cost, "VGG-16": cost}).values()  # fmt: skip
    assert other.widths == (6, 12, 24)
    assert other.held_out == ((48, pytest.approx(line.errors[-1])),)
    assert other.widest == 48
    assert content(line_explorer.explore_lines({"a": other}, [0.1]).html())["lines"][0]["heldOut"][0][0] == 48
    assert line_explorer.lines_of(table, {"LeNet": line.fit}, {}) == {}
    assert line_explorer.lines_of(pd.DataFrame(), {}, {"LeNet": cost}) == {}


def test_the_summary_is_the_line_solved(lines):
    line = lines["LeNet, parts"]
    inside, outside = line_explorer.summary("LeNet", line, 0.3), line_explorer.summary("LeNet", line, 0.1)
    assert "within what was measured" in inside
    width, low, high = line.fit.solve(0.1)
    assert f"d₁ = {rounded(width)} (95 %: {rounded(low)} to {rounded(high)})" in outside
    assert f"{width / 48:.2g} times the widest network measured" in outside
    assert line_explorer.duration(line.seconds(width)) in outside
    assert "further from any measurement" in line_explorer.summary("LeNet", line, 1e-6)


def test_a_line_that_bends_says_so_wherever_it_leaves_what_was_fitted(lines):
    line = lines["LeNet, parts"]
    bent = replace(line, fit=replace(line.fit, curved=True))
    assert not line.fit.curved
    assert line_explorer.BENT not in line_explorer.summary("LeNet", line, 0.1)
    for error in (0.1, 1e-6, 0.6):  # beyond the widest, too far for a number, narrower than the narrowest
        assert line_explorer.summary("LeNet", bent, error).endswith(line_explorer.BENT)
    assert line_explorer.BENT not in line_explorer.summary("LeNet", bent, 0.3)


def test_the_caption_has_the_narrowest_promise_and_the_points_kept_out(lines):
    line = lines["LeNet, parts"]
    width, low, high = line.fit.solve(0.1)
    said = line_explorer.said_of_lines({"LeNet": line}, 0.1)
    assert f"a width {width / 48:.2g} times the widest measured" in said
    assert f"95 % interval {low / width:.2f} to {high / width:.2f} of it" in said
    assert line_explorer.said_of_lines({"LeNet": line}, 0.3) == "Try to halve the error."
    for factor, where in ((1.2, "20 % above"), (0.9, "10 % below")):
        point = (96.0, factor * float(line.fit.predict(96).value))
        told = line_explorer.said_of_lines({"LeNet": replace(line, held_out=(point,))}, 0.3)
        assert f"the point kept out of “LeNet” lies {where} its line" in told
    rising = power_law([6, 12, 24, 48], [0.30, 0.29, 0.30, 0.285])
    unsure = line_explorer.Line(rising, line.widths, line.errors, cost)
    reached = float(rising.predict(100).value)
    assert rising.solve(reached).high == np.inf
    assert " to no end" in line_explorer.said_of_lines({"LeNet": unsure}, reached)


def test_the_page_holds_the_numbers_of_the_fit_and_asks_for_nothing(lines):
    html = line_explorer.explore_lines(lines, ERRORS, 3).html()
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|\bsrc=|\bfetch\(", html)
    told = content(html)
    assert told["start"] == 3
    assert told["errors"] == ERRORS
    for each, (name, line) in zip(told["lines"], lines.items(), strict=True):
        assert each["name"] == name
        assert each["widths"] == pytest.approx(line.fit.solve(ERRORS).value, rel=1e-3)
        grid = np.array(each["band"])
        assert grid[[0, -1], 0] == pytest.approx([6, LARGEST_WIDTH], rel=1e-3)
        assert grid[:, 1] == pytest.approx(line.fit.predict(grid[:, 0]).value, rel=2e-3)
        assert (grid[:, 2] <= grid[:, 1]).all()
        assert (grid[:, 1] <= grid[:, 3]).all()
        assert each["says"] == [line_explorer.summary(name, line, error) for error in ERRORS]


def test_the_widgets_say_the_same(lines):
    curve, at, picture, words = line_explorer.explore_lines(lines, ERRORS, 5).live().children
    first = picture.value
    assert words.value == line_explorer.summary("LeNet, parts", lines["LeNet, parts"], ERRORS[5])
    at.value = 20
    curve.value = "VGG-16, parts"
    assert words.value == line_explorer.summary("VGG-16, parts", lines["VGG-16, parts"], ERRORS[20])
    assert picture.value.startswith("<?xml")
    assert picture.value != first


def test_the_picture_shades_what_was_not_measured(lines):
    line = lines["LeNet, parts"]
    (axes,) = line_explorer.line_and_target(line, 0.1).axes
    beyond = axes.patches[0]
    assert (beyond.get_x(), beyond.get_x() + beyond.get_width()) == pytest.approx((48, LARGEST_WIDTH))
    target = [each.get_ydata()[0] for each in axes.lines if each.get_linestyle() == ":"]
    assert 0.1 in target


@pytest.mark.browser
def test_pointer_and_keys_move_the_target(chromium, set_control, lines):
    choose = set_control(line_explorer.explore_lines(lines, ERRORS, 5).html())

    def part(name):
        return chromium.find_element(By.CSS_SELECTOR, f"[data-fw={name}]")

    def said():
        place = int(part("error").get_attribute("value"))
        name = list(lines)[int(part("curve").get_attribute("value"))]
        assert part("summary").text == line_explorer.summary(name, lines[name], ERRORS[place])
        assert part("plot").get_attribute("aria-label") == part("summary").text
        return place, part("handle").location["y"]

    place, height = said()
    assert place == 5
    part("error").send_keys(Keys.ARROW_RIGHT * 4)
    assert said() == (9, pytest.approx(height, abs=200))
    lower = said()[1]
    assert lower > height  # a smaller error lies further down
    ActionChains(chromium).drag_and_drop_by_offset(part("handle"), 0, 60).perform()
    dragged, down = said()
    assert dragged > 9
    assert down == pytest.approx(lower + 60, abs=15)
    choose("curve", 1)
    other = said()
    assert other[0] == dragged
    unnamed = (
        "return [...document.querySelectorAll('.fw-lines input, .fw-lines select')]"
        ".filter((e) => !e.labels.length).length"
    )
    assert chromium.execute_script(unnamed) == 0


@pytest.mark.parametrize(
    ("errors", "start", "message"),
    [([], 0, "at least one"), ([0.1, 1.5], 0, "between 0 and 1"), ([0.1], 1, "start=1 is no position")],
)
def test_what_cannot_be_explored_is_refused(lines, errors, start, message):
    with pytest.raises(ParameterError, match=message):
        line_explorer.explore_lines(lines, errors, start)
    with pytest.raises(ParameterError, match="lines is empty"):
        line_explorer.explore_lines({}, [0.1])
