"""The slider over frames: each position shows the frame that was drawn for it, by mouse and by key."""

import re
from pathlib import Path
from typing import Any

import pytest

from filterwise.errors import ParameterError
from filterwise.figures.frames import explore_frames

NAMES = ["cat", "</script>", "ship", "dog"]


def frame(place: int) -> str:
    return f'<svg viewBox="0 0 9 9"><rect width="{place + 1}" height="2"/></svg><p>{place}</p>'


def test_the_twin_asks_for_nothing_outside_itself_and_a_wrong_start_is_refused() -> None:
    html = explore_frames("picture", NAMES, frame).html()
    assert not re.search(r"https?://|//cdn|@import|\bsrc=|\bfetch\(|XMLHttpRequest", html)
    assert html.count("</script>") == 1
    with pytest.raises(ParameterError, match="start=4 is no position of a slider with 4 values"):
        explore_frames("picture", NAMES, frame, start=4)


def test_the_live_slider_draws_the_frame_anew() -> None:
    at, picture = explore_frames("picture", NAMES, frame, start=1).live().children
    assert picture.value == frame(1)
    at.value = 3
    assert picture.value == frame(3)


@pytest.mark.browser
def test_pointer_and_keys_go_from_frame_to_frame(chromium: Any, tmp_path: Path) -> None:
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    path = tmp_path / "page.html"
    html = explore_frames("picture", NAMES, frame, start=1).html()
    path.write_text(f"<!doctype html><meta charset='utf-8'><body>{html}</body>", encoding="utf-8")
    chromium.get(path.as_uri())
    slider = chromium.find_element(By.CSS_SELECTOR, "input[type=range]")

    def shown() -> list[Any]:
        return chromium.execute_script(
            "const part = (name) => document.querySelector('[data-fw=' + name + ']');"
            "return [part('value').textContent, part('frame').innerHTML,"
            "part('at').getAttribute('aria-valuetext')]"
        )

    def expected(place: int) -> list[str]:
        drawn = frame(place).replace("/></svg>", "></rect></svg>")
        return [NAMES[place], drawn, NAMES[place]]

    assert shown() == expected(1)
    slider.send_keys(Keys.ARROW_RIGHT)
    assert shown() == expected(2)
    ActionChains(chromium).move_to_element_with_offset(
        slider, slider.size["width"] // 2 - 2, 0
    ).click().perform()
    assert shown() == expected(3)
    slider.send_keys(Keys.ARROW_LEFT, Keys.ARROW_LEFT, Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    assert shown() == expected(0)
