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
INSIDE = ("file:", "data:", "blob:", "about:")
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
        "const seen = (i) => !i.matches('html[data-theme=light] .only-dark');"
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


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith(".ipynb")])
def test_sliders_move_their_pictures(chromium: Any, book: Built, name: str) -> None:
    visit(chromium, book, name)
    explorers = chromium.execute_script("return document.querySelectorAll('.fw-explorer').length")
    if not explorers:
        pytest.skip("this chapter has no figure with sliders")
    for place in range(explorers):
        seen = set()
        for threshold in (5, 30, 90):
            seen.add(
                chromium.execute_script(
                    "const root = document.querySelectorAll('.fw-explorer')[arguments[0]];"
                    "const slider = root.querySelector('input[data-fw=threshold]');"
                    "slider.value = arguments[1]; slider.dispatchEvent(new Event('input', {bubbles: true}));"
                    "return root.querySelector('canvas').toDataURL()",
                    place,
                    threshold,
                )
            )
        assert len(seen) == 3


def test_the_search_finds_a_word_without_a_network(chromium: Any, book: Built) -> None:
    chromium.get((book.index.parent / "search.html").as_uri() + "?q=threshold")
    for _ in range(100):
        found = chromium.execute_script("return document.querySelectorAll('#search-results li').length")
        if found:
            break
        time.sleep(0.1)
    assert found
