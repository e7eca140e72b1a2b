"""Who works by key keeps the place: folds, buttons of the theme and sliders hold the focus when used."""

from collections.abc import Iterator
from typing import Any

import pytest
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait
from test_in_chromium import NAMES, visit

from filterwise.book.assembly import Built

pytestmark = pytest.mark.browser

DESK = {"width": 1400, "height": 900, "deviceScaleFactor": 1, "mobile": False}
HELD = "return document.activeElement === arguments[0]"
# Of each kind of fold the first on a page: cells and exercises, long tables, lists of pages, the side bars.
FOLDS = {
    "cells": ".bd-article details.hide > summary",
    "drop-downs": ".bd-article details.sd-dropdown > summary",
    "details": ".bd-article details:not([class]) > summary",
    "toggles": ".bd-article button.toggle-button",
    "pages": ".bd-sidebar-primary details > summary",
    "left bar": "button.primary-toggle",
    "right bar": "button.secondary-toggle",
}
# Each explorer's first control that takes a key, and the picture beside it.
PICTURES = (
    "return [...arguments[0].closest('.fw-twin, figure, .fw-explorer').querySelectorAll('canvas, svg')].map("
    " (e) => e.matches('canvas') ? e.toDataURL() : getComputedStyle(e).color).join()"
)

STATE = (
    "const e = arguments[0], fold = e.closest('details'); if (fold) return fold.open;"
    "const bars = [...document.querySelectorAll('.bd-sidebar-primary, .bd-sidebar-secondary')];"
    "return bars.map((bar) => bar.className).join() + e.parentElement.className"
)
TWO_FRAMES = "requestAnimationFrame(() => requestAnimationFrame(arguments[0]))"


@pytest.fixture(autouse=True)
def desk(chromium: Any) -> Iterator[None]:
    """A window in which bars stand beside the page; in a narrow one they are dialogs, which take the focus.
    The theme is the system's, which is light."""
    chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", DESK)
    dark(chromium, False)
    yield
    chromium.execute_script("localStorage.clear()")
    dark(chromium, False)
    chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def seen(browser: Any, what: str) -> list[Any]:
    """The elements that are shown, in the order of the page."""
    return [one for one in browser.find_elements("css selector", what) if one.is_displayed()]


def focus(browser: Any, what: Any) -> None:
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'}); arguments[0].focus()", what)
    assert browser.execute_script(HELD, what)


def dark(browser: Any, wanted: bool) -> None:
    """The reader's system becomes dark or light."""
    feature = {"name": "prefers-color-scheme", "value": "dark" if wanted else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})


# The head is the same on all pages of a kind.
@pytest.mark.parametrize("name", ["search", "book/intro.md", "chapters/4-sfp.ipynb"])
def test_the_themes_button_is_reached_by_tab_and_keeps_the_focus(
    chromium: Any, book: Built, name: str
) -> None:
    visit(chromium, book, name)
    chromium.execute_script("window.scrollTo(0, 0)")
    button = seen(chromium, ".theme-switch-button")[0]
    for _ in range(100):
        chromium.switch_to.active_element.send_keys(Keys.TAB)
        if chromium.execute_script(HELD, button):
            break
    assert chromium.execute_script(HELD, button)
    modes = []
    for _ in range(3):
        button.send_keys(Keys.ENTER)
        assert chromium.execute_script(HELD, button)
        modes.append(chromium.execute_script("return document.documentElement.dataset.mode"))
    assert sorted(modes) == ["auto", "dark", "light"]


@pytest.mark.parametrize("name", NAMES)
def test_folds_open_and_close_by_key_and_keep_the_focus(chromium: Any, book: Built, name: str) -> None:
    visit(chromium, book, name)
    found = {kind: seen(chromium, what)[:1] for kind, what in FOLDS.items()}
    for kind, elements in found.items():
        for element in elements:
            focus(chromium, element)
            for key in (Keys.ENTER, Keys.SPACE):
                before = chromium.execute_script(STATE, element)
                element.send_keys(key)
                assert chromium.execute_script(HELD, element), f"{kind} lost the focus"
                moved = WebDriverWait(chromium, 10, 0.05)  # bars slide
                moved.until(lambda it, e=element, old=before: it.execute_script(STATE, e) != old, kind)


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith(".ipynb") or "intro" in name])
def test_explorers_are_drawn_anew_for_another_theme_and_keep_the_focus(
    chromium: Any, book: Built, name: str
) -> None:
    visit(chromium, book, name)
    assert chromium.execute_script("return document.documentElement.dataset.mode") == "auto"
    controls = seen(chromium, ".fw-twin :is(input, select, button, [tabindex='0'])")
    assert controls, "no explorer on this page"
    for control in controls:
        focus(chromium, control)
        before = chromium.execute_script(PICTURES, control)
        for theme in ("dark", "light"):
            dark(chromium, theme == "dark")
            chromium.execute_async_script(TWO_FRAMES)
            assert chromium.execute_script("return document.documentElement.dataset.theme") == theme
            assert chromium.execute_script(HELD, control)
            same = chromium.execute_script(PICTURES, control) == before
            assert same == (theme == "light" or not before)  # files of pictures are coloured by the page
