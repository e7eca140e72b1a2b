"""The explorer's twin: the same matrices, clusters and noise in the page as in the library."""

import base64
import json
import re
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from filterwise.data.imageset import ImageSet
from filterwise.errors import ParameterError
from filterwise.figures import explore, explorer
from filterwise.figures.explorer import FIRES_ON_NONE, levels
from filterwise.figures.twin import Twin, kernel_answers
from filterwise.measure import StrongestImages, clip, clusters, noise, permutation

NAMES = ["plane", "car", "bird", "</script>", "deer", "dog"]


def matrices(filters: int = 30, labels: int = 6, seed: int = 0) -> torch.Tensor:
    """Fields with clusters in them, one filter that raises nothing, and entries exactly at a threshold."""
    generator = torch.Generator().manual_seed(seed)
    M = torch.randn(filters, labels, labels, generator=generator)
    M[:, :3, :3] += 1.5
    M[0] = -1.0
    M[1] = torch.linspace(0, 1, labels * labels).round(decimals=2).reshape(labels, labels)
    return M


def content(html: str) -> dict[str, Any]:
    found = re.search(r'start\("\w+", (.*)\);\n</script>', html)
    assert found is not None
    return json.loads(found[1].replace("<\\/", "</"))


def unpacked(text: str) -> bytes:
    return zlib.decompress(base64.b64decode(text), wbits=-15)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_byte_an_entry_clips_exactly_as_the_library(dtype: torch.dtype) -> None:
    M = matrices().to(dtype)
    found = levels(M)
    for step in range(100):
        np.testing.assert_array_equal(found > step, clip(M, step / 100).numpy())


def test_the_page_holds_every_matrix_when_there_is_room_and_spaced_ones_when_not() -> None:
    M = matrices(30)
    whole = content(explore({"features.1": M, "features.4": M}, NAMES).html())
    assert [layer["filters"] for layer in whole["layers"]] == [list(range(30))] * 2
    data = np.frombuffer(unpacked(whole["layers"][1]["data"]), dtype=np.uint8).reshape(30, 6, 6)
    np.testing.assert_array_equal(data, levels(M))
    few = content(explore({"features.1": M}, NAMES, most_bytes=36 * 4).html())["layers"][0]
    assert (few["filters"], few["of"]) == ([0, 10, 19, 29], 30)
    np.testing.assert_array_equal(
        np.frombuffer(unpacked(few["data"]), dtype=np.uint8).reshape(4, 6, 6),
        levels(M[[0, 10, 19, 29]]),
    )


def strongest(filters: int = 30, count: int = 3) -> StrongestImages:
    """Pictures of noise; filter f fires on f, f + 1, ..., the last filter on none."""
    generator = torch.Generator().manual_seed(9)
    images = torch.randint(0, 256, (40, 3, 6, 4), generator=generator, dtype=torch.uint8)
    ds = ImageSet(images, torch.arange(40) % 6, tuple(NAMES))
    places = torch.arange(filters)[:, None] + torch.arange(count)
    means = torch.ones(filters, count)
    means[-1] = 0
    layers = ("features.1", "features.3")
    return StrongestImages(ds, dict.fromkeys(layers, places), dict.fromkeys(layers, means))


def test_the_page_starts_where_it_is_told_and_keeps_that_filter() -> None:
    fields = {"features.1": matrices(30), "features.3": matrices(30, seed=1)}
    told = content(explore(fields, NAMES, most_bytes=2 * 36 * 4, start=("features.3", 7)).html())
    assert [layer["filters"] for layer in told["layers"]] == [[0, 10, 19, 29], [0, 7, 10, 19, 29]]
    assert told["start"] == {"layer": 1, "filter": 1}
    assert content(explore(fields, NAMES).html())["start"] == {"layer": 0, "filter": 0}
    with pytest.raises(ParameterError, match=r"features\.3"):
        explore(fields, NAMES, start=("features.2", 0))
    with pytest.raises(ParameterError, match=r"filter 30 of 'features\.3' is not among its 30"):
        explore(fields, NAMES, start=("features.3", 30))


def test_the_page_holds_each_picture_once_and_room_is_made_for_it() -> None:
    fields, found = {"features.1": matrices(), "features.3": matrices(seed=1)}, strongest()
    told = content(explore(fields, NAMES, strongest=found).html())
    pictures = told["pictures"]
    data = np.frombuffer(unpacked(pictures["data"]), dtype=np.uint8).reshape(-1, *pictures["shape"])
    assert len(data) == len(pictures["labels"]) == 31
    for layer in told["layers"]:
        assert layer["fires"][-1] == []
        for number, fires in zip(layer["filters"][:-1], layer["fires"][:-1], strict=True):
            np.testing.assert_array_equal(data[fires], found.ds.images[number : number + 3])
            assert [pictures["labels"][one] for one in fires] == [NAMES[(number + at) % 6] for at in range(3)]
    few = content(explore(fields, NAMES, most_bytes=2 * 4 * (36 + 3 * 72), strongest=found).html())
    assert [layer["filters"] for layer in few["layers"]] == [[0, 10, 19, 29]] * 2
    with pytest.raises(ParameterError, match=r"no pictures for the 30 filters of 'features\.2'"):
        explore({"features.2": matrices()}, NAMES, strongest=found)


def test_the_twin_asks_for_nothing_outside_itself() -> None:
    html = explore({"features.1": matrices()}, NAMES, strongest=strongest()).html()
    assert not re.search(r"https?://|//cdn|@import|\bsrc=|\bfetch\(|XMLHttpRequest", html)
    assert html.count("</script>") == 1  # a label's name does not end the script


def test_without_a_kernel_the_twin_is_shown_and_never_the_widget(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    assert not kernel_answers()
    Twin(lambda: pytest.fail("a widget was made"), lambda: "<p>twin</p>")._ipython_display_()
    assert shown[0].data == "<p>twin</p>"


def test_the_building_of_the_book_shows_the_twin_in_a_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    class Shell:
        kernel = object()

    monkeypatch.setattr("IPython.core.getipython.get_ipython", Shell)
    monkeypatch.delenv("FILTERWISE_STATIC", raising=False)
    assert kernel_answers()
    monkeypatch.setenv("FILTERWISE_STATIC", "1")
    assert not kernel_answers()


def test_live_widgets_draw_the_filter_that_the_sliders_name() -> None:
    layer, chosen, theta, picture = (
        explore({"features.1": matrices(5), "features.2": matrices(9)}, NAMES).live().children
    )
    first = picture.value
    assert "<svg" in first
    chosen.value = 4
    assert picture.value != first
    second = picture.value
    theta.value = 0.8
    assert picture.value != second
    layer.value = "layer 2"
    assert chosen.max == 8


def test_live_widgets_show_the_pictures_of_the_filter_and_say_where_there_is_none() -> None:
    twin = explore({"features.1": matrices()}, NAMES, start=("features.1", 27), strongest=strongest())
    _, chosen, _, _, fires = twin.live().children
    assert chosen.value == 27
    first = fires.value
    chosen.value = 28
    assert "<svg" in first
    assert fires.value not in (first, FIRES_ON_NONE)
    chosen.value = 29
    assert fires.value == FIRES_ON_NONE


@pytest.fixture(scope="module")
def page(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    path: Path = tmp_path_factory.mktemp("explorer") / "page.html"
    fields = {"features.1": matrices(), "features.3": matrices(seed=1)}
    html = explore(fields, NAMES, strongest=strongest()).html()
    path.write_text(
        f"<!doctype html><html><meta charset='utf-8'><body>{html}</body></html>", encoding="utf-8"
    )
    chromium.get(path.as_uri())
    return chromium


ANALYSE = """
const found = window.filterwiseExplorer.analyse(Uint8Array.from(arguments[0]), arguments[1], arguments[2]);
return [found.found, found.order, Array.from(found.count), Array.from(found.kinds)];
"""


@pytest.mark.browser
@pytest.mark.parametrize("labels", [1, 2, 6, 13])
def test_clusters_order_and_noise_in_the_page_are_the_librarys(page: Any, labels: int) -> None:
    from filterwise.figures import classify

    generator = torch.Generator().manual_seed(labels)
    M = torch.randn(25, labels, labels, generator=generator)
    M = M + (torch.rand(25, labels, 1, generator=generator) > 0.5) * 1.0
    compared = 0
    for matrix, bytes_ in zip(M, levels(M), strict=True):
        for step in (0, 15, 30, 60, 99):
            B = clip(matrix, step / 100).numpy()
            here = clusters(B)
            there, order, count, kinds = page.execute_script(ANALYSE, bytes_.ravel().tolist(), labels, step)
            assert [tuple(members) for members in there] == here
            assert order == permutation(here, labels)
            s, _, n_in, n_out = noise(B, here)
            assert count[1:] == [s, n_in, n_out]
            assert kinds == classify(B, here).ravel().tolist()
            compared += len(here)
    assert compared > 0


def value_of(page: Any, name: str, value: int) -> tuple[str, str]:
    """Move a slider as a reader does; the picture and the sentence after it."""
    page.execute_script(
        "const e = document.querySelector('input[data-fw=\"' + arguments[0] + '\"]'); e.value = arguments[1];"
        "e.dispatchEvent(new Event('input', {bubbles: true}));",
        name, value,
    )  # fmt: skip
    return (
        page.execute_script("return document.querySelector('canvas').toDataURL()"),
        page.execute_script("return document.querySelector('[data-fw=summary]').textContent"),
    )


@pytest.mark.browser
def test_every_control_changes_the_picture(page: Any) -> None:
    orders = [permutation(clusters(B), 6) for B in clip(matrices(), 0.3)]
    moved = next(f for f in range(2, 30) if orders[f] != list(range(6)))  # 0 and 1 are the same in all layers
    pictures = [
        value_of(page, "threshold", 30)[0],
        value_of(page, "filter", moved)[0],
        value_of(page, "threshold", 75)[0],
        value_of(page, "layer", 1)[0],
    ]
    assert len(set(pictures)) == 4
    value_of(page, "layer", 0)
    reordered, _ = value_of(page, "threshold", 30)
    page.execute_script("document.querySelector('[data-fw=reorder]').click()")
    assert page.execute_script("return document.querySelector('canvas').toDataURL()") != reordered


@pytest.mark.browser
def test_the_sentence_beside_the_picture_is_the_librarys_count(page: Any) -> None:
    B = clip(matrices()[5], 0.3).numpy()
    value_of(page, "layer", 0)
    value_of(page, "filter", 5)
    _, said = value_of(page, "threshold", 30)
    many = len(clusters(B))
    assert said == f"{many} cluster{'s' if many > 1 else ''}, noise {noise(B).n}."
    assert value_of(page, "filter", 0)[1] == "no cluster, noise 0."


@pytest.mark.browser
def test_arrow_keys_move_a_slider_and_every_control_has_a_name(page: Any) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    slider = page.find_element(By.CSS_SELECTOR, "input[data-fw=threshold]")
    value_of(page, "threshold", 40)
    slider.send_keys(Keys.ARROW_RIGHT)
    assert slider.get_attribute("value") == "41"
    assert slider.get_attribute("aria-valuetext") == "0.41"
    unnamed = "return [...document.querySelectorAll('input')].filter((e) => !e.labels.length).length"
    assert page.execute_script(unnamed) == 0


READ = "return document.querySelector('[data-fw=cell]').textContent"


@pytest.mark.browser
def test_an_entry_is_read_by_pointer_and_by_keys_alike(page: Any) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    value_of(page, "layer", 0)
    value_of(page, "filter", 5)
    value_of(page, "threshold", 30)
    M = matrices()[5]
    if not page.execute_script("return document.querySelector('[data-fw=reorder]').checked"):
        page.execute_script("document.querySelector('[data-fw=reorder]').click()")
    shown = permutation(clusters(clip(M, 0.3)), 6)
    canvas = page.find_element(By.CSS_SELECTOR, "canvas[data-fw=canvas]")
    canvas.send_keys(Keys.ARROW_UP, Keys.ARROW_DOWN, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    row, column = shown[1], shown[2]
    value = levels(M[None])[0][row, column] / 100
    said = page.execute_script(READ)
    assert said.startswith(
        f"input {NAMES[row]}, output {NAMES[column]}: {f'{value:.2f}' if value else 'none'} of"
    )
    outlined = page.execute_script("return document.querySelector('canvas').toDataURL()")
    canvas.send_keys(Keys.ARROW_UP)
    assert page.execute_script("return document.querySelector('canvas').toDataURL()") != outlined
    size = canvas.size["width"]
    away = ActionChains(page).move_to_element_with_offset(canvas, size // 2 - 6, size // 2 - 6)
    away.perform()
    last = page.execute_script(READ)
    assert last.startswith(f"input {NAMES[shown[5]]}, output {NAMES[shown[5]]}: ")
    canvas.send_keys(Keys.ARROW_LEFT)
    assert page.execute_script(READ).startswith(f"input {NAMES[shown[5]]}, output {NAMES[shown[4]]}: ")


@pytest.mark.browser
def test_the_page_paints_the_pictures_that_the_filter_fires_on(page: Any) -> None:
    value_of(page, "layer", 1)
    value_of(page, "filter", 4)
    shown = page.execute_script(
        "return [...document.querySelectorAll('[data-fw=pictures] figure')].map((one) => {"
        "const canvas = one.querySelector('canvas');"
        "const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;"
        "return [one.textContent, canvas.width, canvas.height, [...pixels]]; })"
    )
    ds = strongest().ds
    for at, (name, width, height, pixels) in zip((4, 5, 6), shown, strict=True):
        assert (name, width, height) == (NAMES[at % 6], 4, 6)
        painted = np.array(pixels, dtype=np.uint8).reshape(6, 4, 4)[..., :3]
        np.testing.assert_array_equal(painted, ds.images[at].permute(1, 2, 0))
    value_of(page, "filter", 29)
    told = page.execute_script("return document.querySelector('[data-fw=fires]').textContent.trim()")
    assert told == FIRES_ON_NONE


@pytest.mark.browser
def test_a_change_to_the_dark_page_redraws_in_its_colours(page: Any) -> None:
    before, _ = value_of(page, "filter", 3)
    page.execute_script("document.documentElement.dataset.theme = 'dark'")
    for _ in range(50):
        after = page.execute_script("return document.querySelector('canvas').toDataURL()")
        if after != before:
            break
        time.sleep(0.05)
    page.execute_script("delete document.documentElement.dataset.theme")
    assert after != before


@pytest.mark.browser
@pytest.mark.parametrize("level", [0, 1, 9])
@pytest.mark.parametrize("size", [0, 1, 70_000])
def test_the_page_unpacks_what_was_packed(chromium: Any, level: int, size: int) -> None:
    generator = np.random.default_rng(size)
    content = (generator.integers(0, 101, size) * generator.integers(0, 2, size)).astype(np.uint8).tobytes()
    squeeze = zlib.compressobj(level=level, wbits=-15)
    data = base64.b64encode(squeeze.compress(content) + squeeze.flush()).decode()
    script = (Path(explorer.__file__).parent / "static" / "inflate.js").read_text(encoding="utf-8")
    chromium.get("about:blank")
    found = chromium.execute_script(
        script + "\nconst bytes = Uint8Array.from(atob(arguments[0]), (sign) => sign.charCodeAt(0));"
        "const found = [...window.filterwiseInflate.inflate(bytes)];"
        "return btoa(found.map((one) => String.fromCharCode(one)).join(''))",
        data,
    )
    assert base64.b64decode(found) == content
