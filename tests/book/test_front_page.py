"""The first page: the ledger's numbers, a figure that plays by mouse and key, cards that lead somewhere."""

import json
import re
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from filterwise.book import front_page
from filterwise.book.assembly import Built
from filterwise.book.sharing import LONGEST, description, tags
from filterwise.claims import table_of
from filterwise.measure import clip, clusters, noise
from filterwise.papers.sfp.one_filter import (
    LABELS,
    _where_it_ends,
    one_filter_played,
    played_layer,
    typical,
)
from filterwise.parameters import PROFILES

SEEN = "return document.querySelector('.fw-played [data-fw=\"' + arguments[0] + '\"]').textContent"


def content() -> dict[str, Any]:
    found = re.search(r'filterwisePlayed\.start\("\w+", (.*)\);\n</script>', one_filter_played())
    assert found is not None
    made: dict[str, Any] = json.loads(found[1])
    return made


def test_the_sentence_counts_each_claim_once_at_its_largest_scale() -> None:
    best: dict[tuple[str, str], tuple[str, str]] = {}
    table = table_of(front_page.judged())
    for enough in (False, True):  # a later one overwrites, unless it is not measured
        for profile in PROFILES:
            for _, row in table[(table["profile"] == profile) & (table["enough"] == enough)].iterrows():
                name = (row["chapter"], row["claim"])
                if row["verdict"] != "not measured" or name not in best:
                    best[name] = (row["verdict"], profile)
    verdicts = [verdict for verdict, _ in best.values()]
    measured = [profile for verdict, profile in best.values() if verdict != "not measured"]
    said = front_page.claimed("ledger.md")
    assert f"Of {len(best)} claims of these papers {len(measured)} are measured" in said
    for verdict, words in (("holds", "hold"), ("fails", "fail"), ("undecided", "are undecided")):
        if (count := verdicts.count(verdict)) > 1:
            assert f"**{count} {words}**" in said
    below = sum(profile != "paper" for profile in measured)
    assert f"{below} of the {len(measured)} are measured below the paper's scale" in said


def test_counting_alone_is_told_from_measuring() -> None:
    by_name = {(one.claim.chapter, one.claim.id): one for one in front_page.judged()}
    assert front_page.counted_exactly(by_name["2-tree", "T3"])  # routes of an architecture
    assert not front_page.counted_exactly(by_name["2-tree", "T2"])  # accuracies over seeds
    assert not front_page.counted_exactly(by_name["1-pooling", "P7"])  # one part of each kind


def test_the_filter_that_is_shown_is_the_median_one_and_counted_as_the_library_counts() -> None:
    generator = torch.Generator().manual_seed(0)
    M = torch.randn(11, 6, 6, generator=generator).numpy()
    noises = [noise(clip(torch.from_numpy(one), 0.3).numpy()).n for one in M]
    shown = played_layer("features.3", M, 0.3)
    assert noises[shown["number"]] == int(np.median(noises)) == shown["noise"]
    assert noises[: shown["number"]].count(shown["noise"]) == 0
    B = clip(torch.from_numpy(M[shown["number"]]), 0.3).numpy()
    assert shown["clusters"] == [list(members) for members in clusters(B)]
    assert shown["signal"] + shown["noise"] == int(B.sum())
    assert [kind > 0 for kind in shown["kinds"]] == B.ravel().tolist()
    assert shown["mean"] == round(float(np.mean(noises)), 1)
    import pandas as pd

    assert typical(pd.DataFrame({"n": [4, 1, 3, 2]})) == 3


def test_a_reading_time_counts_words_and_figures_and_a_thumbnail_is_the_figure_that_is_named() -> None:
    address = "data:image/svg+xml;base64,QUJD"
    html = [
        f'<figure class="fw-figure" id="fig-{name}"><img src="{address}{name}"></figure>' for name in "ab"
    ]
    cells = [{"cell_type": "code", "source": "", "outputs": [{"data": {"text/html": one}}]} for one in html]
    words = {"cell_type": "markdown", "source": "word " * 800}
    assert front_page.minutes_to_read([words]) == 4
    assert front_page.minutes_to_read([words, *cells]) == 5
    assert front_page.thumbnail(cells, "fig-b") == f"{address}b"
    assert front_page.thumbnail(cells, "fig-gone") == f"{address}a"
    assert front_page.thumbnail([words], "fig-a") == ""


def test_descriptions_are_short_and_escaped_and_name_no_host() -> None:
    said = description("<p>" + "Fields &lt; noise. " * 40 + "</p>")
    assert len(said) <= LONGEST
    assert said.endswith("…")
    head = tags('<em>One</em> "filter"', "<p>What does a filter of a network know?</p>", "The book", "")
    assert '<meta name="description" content="What does a filter of a network know?" />' in head
    assert "One &quot;filter&quot;" in head
    assert "og:image" not in head
    assert "http" not in head


class Cards(HTMLParser):
    """Links, and the text of each card."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.pictures: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        if tag == "a":
            self.links.append(str(given["href"]))
        if tag == "img":
            self.pictures.append(str(given["src"]))


def test_each_chapter_has_a_card_with_picture_number_verdicts_and_minutes(book: Built) -> None:
    page = book.index.parent / "book" / "intro.html"
    each = re.findall(r'<li class="fw-card">.*?</li>', page.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(each) == len(book.chapters)
    table = table_of(front_page.judged())
    for card in each:
        found = Cards(card)
        assert len(found.links) == len(found.pictures) == 1
        for address in (*found.links, *found.pictures):
            assert (page.parent / address).is_file()
        chapter = Path(found.links[0]).stem
        words = re.search(r'class="fw-finding">(.*?)</p>', card)
        assert words is not None
        assert re.search(r"\d", words[1])
        counts = re.search(r'class="fw-verdicts">(.*?)</p>', card)
        assert counts is not None
        total = sum(int(count) for count in re.findall(r">\S (\d+) ", counts[1]))
        assert total == table[table["chapter"] == chapter]["claim"].nunique()
        assert re.search(r"\d+ minutes to read", card)


def test_the_caption_says_where_the_claim_ends_if_the_last_layer_has_one_position() -> None:
    layers = [{"layer": m, "mean": 20.0 - m, "positions": p} for m, p in ((1, 64), (2, 4), (3, 1))]
    said = _where_it_ends(layers)
    assert "In layer 3 every filter has one position left" in said
    assert said.endswith("the claim is judged up to layer 2, whose mean is 18.0. ")
    assert _where_it_ends(layers[:2]) == ""


@pytest.fixture
def front(chromium: Any, book: Built) -> Any:
    """The first page as a reader sees it who has asked for less motion."""
    still = {"features": [{"name": "prefers-reduced-motion", "value": "reduce"}]}
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", still)
    chromium.get((book.index.parent / "book" / "intro.html").as_uri())
    yield chromium
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


@pytest.mark.browser
def test_the_figure_steps_by_key_and_shows_what_the_library_counted(front: Any) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    layers = content()["layers"]
    slider = front.find_element(By.CSS_SELECTOR, ".fw-played input")
    for layer in layers:
        assert front.execute_script(SEEN, "noise") == str(layer["noise"])
        assert front.execute_script(SEEN, "signal") == str(layer["signal"])
        kinds = front.execute_script(
            "return [...document.querySelectorAll('.fw-played .fw-square')].map((one) => +one.dataset.kind)"
        )
        assert kinds == layer["kinds"]
        assert f"{layer['noise']} squares of noise" in slider.get_attribute("aria-valuetext")
        slider.send_keys(Keys.ARROW_RIGHT)
    names = front.execute_script(
        "return [...document.querySelectorAll('.fw-played .fw-name')].map((one) => one.textContent)"
    )
    assert names == list(LABELS)
    matrix = front.find_element(By.CSS_SELECTOR, ".fw-played .fw-matrix")
    matrix.send_keys(Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ARROW_RIGHT, Keys.ARROW_UP, Keys.ARROW_UP)
    value = layers[-1]["levels"][1] / 100  # the first key enters, the map ends at its edge
    told = f"Pictures of “{LABELS[0]}” raise “{LABELS[1]}” to {value:.2f} of the filter's largest"
    assert front.execute_script(SEEN, "cell").startswith(told)
    slider.send_keys(Keys.ARROW_LEFT)  # what is read stays that of the layer shown
    value = layers[-2]["levels"][1] / 100
    assert f"to {value:.2f} of" in front.execute_script(SEEN, "cell")


@pytest.mark.browser
def test_it_plays_and_pauses_by_mouse_and_waits_for_who_asked_for_less_motion(front: Any) -> None:
    from selenium.webdriver.common.by import By

    time.sleep(2.5)
    assert front.execute_script(SEEN, "layer") == "1"  # it has not started by itself
    button = front.find_element(By.CSS_SELECTOR, ".fw-played button")
    button.click()
    assert button.text == "Pause"
    for _ in range(100):
        if front.execute_script(SEEN, "layer") != "1":
            break
        time.sleep(0.1)
    button.click()
    at = front.execute_script(SEEN, "layer")
    assert at != "1"
    time.sleep(2.5)
    assert front.execute_script(SEEN, "layer") == at


@pytest.mark.browser
def test_it_plays_once_by_itself_and_reads_out_what_is_pointed_at(chromium: Any, book: Built) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By

    layers = content()["layers"]
    chromium.get((book.index.parent / "book" / "intro.html").as_uri())
    chromium.execute_script("document.querySelector('.fw-matrix').scrollIntoView({block: 'center'})")
    for _ in range(300):
        if chromium.execute_script(SEEN, "layer") == str(layers[-1]["layer"]):
            break
        time.sleep(0.1)
    assert chromium.execute_script(SEEN, "play") == "Play again"
    square = chromium.find_elements(By.CSS_SELECTOR, ".fw-played .fw-square")[12]
    ActionChains(chromium).move_to_element(square).perform()
    said = chromium.execute_script(SEEN, "cell")
    assert LABELS[1] in said
    assert LABELS[2] in said
    assert f"{layers[-1]['levels'][12] / 100:.2f}" in said
