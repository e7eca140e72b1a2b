"""The page of five minutes names every claim once, under its verdict, and leads to the card that says why."""

import re
from html import unescape

import pytest

from filterwise.book import filled_pages, five_minutes, front_page
from filterwise.book.front_page import WORDS_A_MINUTE, at_largest_scale, judged
from filterwise.claims import Finding, ledger_page, ledger_pages, load
from filterwise.claims.words import uncapitalised
from filterwise.papers.chapter import chapter_of, folders


@pytest.fixture(scope="module")
def page() -> str:
    return five_minutes.held("ledger", "../")


def test_the_ledger_is_judged_once_for_all_pages(monkeypatch):
    """The ledger itself, the first page's counts and cards, and the five minutes."""
    asked = []

    def unmeasured(**folders):
        asked.append(folders)
        claims = [(claim, profile) for claim in load() for profile in claim.profiles]
        return [Finding(*each, "not measured", "No record yet.") for each in claims]

    for module in (front_page, ledger_pages):
        monkeypatch.setattr(module, "findings", unmeasured)
    for kept in (front_page.judged, front_page.judged_of):
        kept.cache_clear()
    try:
        pages = filled_pages.ledger() + front_page.claimed("ledger.md") + five_minutes.held("ledger", "../")
        assert all(chapter_of(name).title in pages for name in folders())
        assert len(asked) == 1
    finally:
        for kept in (front_page.judged, front_page.judged_of):
            kept.cache_clear()


def test_every_claim_stands_under_its_verdict_of_the_largest_scale(page):
    for name in folders():
        begin = page.index(f"## {chapter_of(name).title}")
        part = unescape(page[begin:].split("\n## ")[0])
        places = {
            title: part.find(f"<strong>{title}:")
            for title in ("Held", "Did not hold", "Undecided", "Reported, without a rule")
        }
        for finding in at_largest_scale(each for each in judged() if each.claim.chapter == name):
            at = part.index(finding.claim.plain)
            if finding.verdict == "holds":
                assert places["Held"] < at
                assert at < places["Did not hold"] or places["Did not hold"] < 0
            elif finding.verdict == "fails":
                assert -1 < places["Did not hold"] < at
            elif finding.verdict == "undecided":
                assert -1 < places["Undecided"] < at


def test_every_measured_claim_leads_to_its_card_and_says_folded_what_decided(page):
    links = re.findall(r'href="ledger\.html#([^"]+)"', page)
    measured = [each for each in at_largest_scale(judged()) if each.verdict != "not measured"]
    assert len(links) == len(set(links)) == len(measured)
    cards = ledger_page()
    for link in links:
        assert f'id="{link}"' in cards
    folded = unescape(" ".join(re.findall(r"<details>.*?</details>", page, flags=re.DOTALL)))
    for finding in measured:
        if finding.verdict != "reported":
            assert uncapitalised(finding.why).replace(" -", " −") in folded


def test_it_is_read_in_five_minutes(page):
    seen = re.sub(r"<details>.*?</details>|<[^>]+>", "", page, flags=re.DOTALL)
    assert len(seen.split()) / WORDS_A_MINUTE < 6


def test_no_sentence_speaks_of_the_page_that_it_was_written_for(page):
    assert "this page" not in page
    assert "nan" not in re.findall(r"\w+", page)
