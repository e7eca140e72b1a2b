"""Every page of the built book in a browser, from the disk: nothing asked for, no error, everything shown."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from filterwise.book.assembly import Built
from filterwise.book.staging import pages

pytestmark = pytest.mark.browser

ROOT = Path(__file__).resolve().parents[2]
# The pages of the reference are of one make: its index, and the longest and shortest, stand for all.
_ALIKE = {
    f"book/api/{name}.md" for name in ("data", "models", "training", "prune", "runs", "claims", "figures")
}
NAMES = [name for name in pages(ROOT) if name not in _ALIKE]
INSIDE = ("file:", "data:", "blob:", "about:", "chrome:")  # the last: the browser's own first page
PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}

MATH_DONE = """
const done = arguments[0];
if (!document.querySelector('.math')) { done(true); }
else {
  const ready = () => window.MathJax && MathJax.Hub;
  const wait = () => ready() ? MathJax.Hub.Queue(() => done(true)) : setTimeout(wait, 50);
  wait();
}
"""


def visit(browser: Any, book: Built, name: str) -> list[dict[str, Any]]:
    """Open a page, wait until it has settled, and answer with the network's events."""
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    browser.get((book.index.parent / Path(name).with_suffix(".html")).as_uri())
    browser.execute_async_script(MATH_DONE)
    # What is below the window may be loaded later only.
    browser.execute_script("window.scrollTo(0, document.body.scrollHeight)")
    time.sleep(0.3)
    return [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]


@pytest.mark.parametrize("name", ["search", *NAMES])
def test_no_request_leaves_the_page_or_fails_and_the_console_is_silent(
    chromium: Any, book: Built, name: str
) -> None:
    events = visit(chromium, book, name)
    asked = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    failed = [event["params"] for event in events if event["method"] == "Network.loadingFailed"]
    assert asked
    assert [address for address in asked if not address.startswith(INSIDE)] == []
    assert failed == []
    said = [
        entry["message"] for entry in chromium.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")
    ]
    assert said == []


@pytest.mark.parametrize("name", NAMES)
def test_pictures_are_seen_and_formulas_are_set(chromium: Any, book: Built, name: str) -> None:
    visit(chromium, book, name)
    pictures = chromium.execute_script(
        "const seen = (i) => !i.matches('html[data-theme=light] .only-dark, .fw-part');"  # parts: of phones
        "return [...document.images].filter(seen).map((i) =>"
        " [i.src, i.complete, i.naturalWidth, i.getBoundingClientRect().width])"
    )
    assert [
        source for source, complete, natural, shown in pictures if not (complete and natural and shown)
    ] == []
    unset = chromium.execute_script(
        "return [...document.querySelectorAll('.bd-article :is(span, div).math.notranslate')].filter((e) => {"
        " const m = e.querySelector('.MathJax, .MathJax_Display');"
        " return !m || m.getBoundingClientRect().width === 0 || /Processing Error/.test(e.textContent)})"
        ".map((e) => e.textContent)"
    )
    assert unset == []


@pytest.mark.parametrize("name", NAMES)
def test_a_phone_never_scrolls_the_page_sideways(chromium: Any, book: Built, name: str) -> None:
    chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    try:
        visit(chromium, book, name)
        width, seen = chromium.execute_script(
            "return [document.documentElement.scrollWidth, window.innerWidth]"
        )
        assert width <= seen
    finally:
        chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize("name", NAMES)
def test_dark_pages_lay_no_white_card_behind_figures(chromium: Any, book: Built, name: str) -> None:
    visit(chromium, book, name)
    grounds = chromium.execute_script(
        "document.documentElement.dataset.theme = 'dark';"
        "const cards = '.cell_output img, img.fw-figure, .cell_output .text_html';"
        "const seen = [...document.querySelectorAll(cards)]"
        " .filter((e) => !e.querySelector('table.dataframe'));"
        "const found = seen.map((e) => getComputedStyle(e).backgroundColor);"
        "document.documentElement.dataset.theme = 'light'; return found"
    )
    assert {ground for ground in grounds if ground != "rgba(0, 0, 0, 0)"} == set()


# All that an explorer draws: pixels of its canvases, its vector pictures, and which images stand in it.
DRAWN = """
const drawn = (e) => e.matches('canvas') ? e.toDataURL() : e.matches('img') ? e.src : e.innerHTML;
return [...arguments[0].querySelectorAll('canvas, svg, img')].map(drawn).join()
"""


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("chapters")])
def test_every_slider_is_moved_by_mouse_and_by_key_and_moves_its_picture(
    chromium: Any, book: Built, name: str
) -> None:
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    visit(chromium, book, name)
    explorers = [one for one in chromium.find_elements(By.CSS_SELECTOR, ".fw-twin") if one.is_displayed()]
    assert explorers
    for explorer in explorers:
        for slider in explorer.find_elements(By.CSS_SELECTOR, "input[type=range]"):
            seen, values = set(), []
            for part in (-0.45, 0.45):
                chromium.execute_script(
                    "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", slider
                )
                away = int(part * slider.size["width"])
                ActionChains(chromium).move_to_element_with_offset(slider, away, 0).click().perform()
                seen.add(chromium.execute_script(DRAWN, explorer))
                values.append(float(slider.get_attribute("value")))
            slider.send_keys(Keys.ARROW_LEFT)
            values.append(float(slider.get_attribute("value")))
            assert values[0] < values[1] > values[2]
            assert len(seen) == 2 or slider.get_attribute("data-fw") == "brush"  # which paints only later


def test_the_search_finds_a_word_without_a_network(chromium: Any, book: Built) -> None:
    chromium.get((book.index.parent / "search.html").as_uri() + "?q=threshold")
    for _ in range(100):
        found = chromium.execute_script("return document.querySelectorAll('#search-results li').length")
        if found:
            break
        time.sleep(0.1)
    assert found
