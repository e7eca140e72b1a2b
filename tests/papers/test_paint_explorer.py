"""The painter: its page pools as torch does, and pointer and keys paint the map and move the pools."""

import re

import pytest
import torch
from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from filterwise.errors import ParameterError
from filterwise.measure.route_counting import routes
from filterwise.papers.pooling import paint_explorer
from filterwise.papers.pooling.paint_explorer import explore_map, order_of, said

KINDS = ("AP", "MP", "MP")


@pytest.fixture
def bright():
    values = torch.zeros(8, 8, dtype=torch.int64)
    values[:2, :2] = 9
    return values


@pytest.fixture
def page(chromium, set_control, bright):
    set_control(explore_map(bright, KINDS).html())
    return chromium


def part(page, name):
    return page.find_element(By.CSS_SELECTOR, f"[data-fw={name}]")


def chips(page):
    return part(page, "pools").find_elements(By.TAG_NAME, "button")


def test_the_page_asks_for_nothing_outside_itself(bright):
    html = explore_map(bright).html()
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|\bsrc=|\bfetch\(", html)


def test_a_bright_window_is_kept_by_the_average_that_comes_first(bright):
    assert said(bright, KINDS) == "AP2-MP2-MP2: output 9, 4 routes"
    assert said(bright, KINDS[::-1]) == "MP2-MP2-AP2: output 2.25, 4 routes"


def test_the_widgets_say_what_the_library_says(bright):
    typed, *steps, picture, words = explore_map(bright, KINDS).live().children
    assert words.value == f"{said(bright, KINDS)}; reversed, {said(bright, KINDS[::-1])}"
    before = picture.value
    steps[1].value = "AP"
    assert words.value.startswith(said(bright, ("AP", "AP", "MP")))
    assert picture.value != before
    typed.value = "123"
    assert words.value == "The map has 3 digits; it needs 64."


@pytest.mark.browser
def test_the_page_pools_as_torch_does_ties_included(page):
    generator = torch.Generator().manual_seed(0)
    for draw in range(40):
        top = (1, 3, 9)[draw % 3]  # few values, so that windows tie
        values = torch.randint(0, top + 1, (8, 8), generator=generator)
        kinds = [("MP", "AP")[int(each)] for each in torch.randint(0, 2, (3,), generator=generator)]
        found = page.execute_script(
            "return window.filterwisePaint.routes(arguments[0], arguments[1])",
            values.flatten().tolist(),
            kinds,
        )
        true = routes(values.double(), order_of(kinds))
        assert found["output"] == true.output.item()
        assert found["weights"] == true.weights.flatten().tolist()
        assert found["count"] == int(true.count)


@pytest.mark.browser
def test_pointer_and_keys_paint(page, bright):
    assert part(page, "one-says").text == said(bright, KINDS)
    assert part(page, "other-says").text == f"reversed, {said(bright, KINDS[::-1])}"
    board = part(page, "map")
    size = board.size["width"]
    at = (2.5 / 8 - 0.5) * size, (0.5 / 8 - 0.5) * size  # row 1, column 3
    ActionChains(page).move_to_element_with_offset(board, *at).click().perform()
    bright[0, 2] = 9
    assert part(page, "other-says").text == f"reversed, {said(bright, KINDS[::-1])}"
    board.send_keys(Keys.ARROW_DOWN, "5", Keys.ARROW_RIGHT, "7")
    bright[1, 2], bright[1, 3] = 5, 7
    assert part(page, "one-says").text == said(bright, KINDS)
    assert "row 2, column 4: 7" in board.get_attribute("aria-label")
    held = "return document.querySelectorAll('[data-fw=one] .fw-route').length"
    assert page.execute_script(held) == int(routes(bright.double(), order_of(KINDS)).count)


@pytest.mark.browser
def test_pools_change_their_kind_and_their_place(page, bright):
    chips(page)[0].send_keys(Keys.ENTER)
    assert part(page, "one-says").text == said(bright, ("MP", "MP", "MP"))
    page.switch_to.active_element.send_keys(Keys.ENTER)  # the focus stays
    assert part(page, "one-says").text == said(bright, KINDS)
    chips(page)[0].send_keys(Keys.ARROW_RIGHT)
    assert part(page, "one-says").text == said(bright, ("MP", "AP", "MP"))
    middle, last = chips(page)[1:]
    ActionChains(page).drag_and_drop(middle, last).perform()
    assert part(page, "one-says").text == said(bright, ("MP", "MP", "AP"))
    chips(page)[2].click()
    assert [chip.text for chip in chips(page)] == ["MP2", "MP2", "MP2"]
    assert "Both orders give the same output." in part(page, "summary").text


@pytest.mark.parametrize(
    ("values", "kinds", "message"),
    [
        (torch.zeros(4, 4), KINDS, "8 x 8 integers"),
        (torch.full((8, 8), 10), KINDS, "8 x 8 integers"),
        (torch.full((8, 8), 0.5), KINDS, "8 x 8 integers"),
        (torch.zeros(8, 8), ("MP", "AP"), "must name 3 pools"),
        (torch.zeros(8, 8), ("MP", "AP", "XP"), "'XP' is not known"),
    ],
)
def test_what_cannot_be_painted_is_refused(values, kinds, message):
    with pytest.raises(ParameterError, match=message):
        paint_explorer.explore_map(values, kinds)
