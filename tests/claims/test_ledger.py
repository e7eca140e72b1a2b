"""The ledger and its page, from planted record files."""

import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from filterwise import claims
from filterwise.claims import ledger_table
from filterwise.claims.verdict import find
from filterwise.errors import ParameterError
from filterwise.runs import records

LAYERS = ("features.1", "features.2", "features.3")


def plant(root, noise, profile="quick", seeds=3, control=None):
    """Write sfp records in which noise per filter goes as given; probe accuracy rises."""
    for seed in range(seeds):
        row = {column: "x" for column in records.COLUMNS}
        row |= {
            "name": f"net seed {seed}",
            "network": "net",
            "seed": seed,
            "data": "planted <set>",
            "labels": 10,
        }
        row |= {"epochs": 1, "accuracy": 0.9, "seconds": 1.0, "measure_seconds": 1.0, "device": "cpu"}
        row |= {"spec_key": f"{seed:032x}", "key": f"{seed:032x}", "layers": " ".join(LAYERS)}
        for number, layer in enumerate(LAYERS):
            row |= {f"n@{layer}": noise[number], f"SNR_block@{layer}": 1.0 / noise[number]}
            row |= {f"probe_accuracy@{layer}": 0.5 + 0.2 * number}
            row |= {f"untrained_n@{layer}": (control or noise[:1] * 3)[number]}
            row |= {f"untrained_SNR_block@{layer}": 1.0 / noise[0], f"untrained_probe_accuracy@{layer}": 0.5}
        records.write_record("4-sfp", profile, row, {}, root)
    return root


class Table(HTMLParser):
    """Counts of tags, and that each is closed."""

    def __init__(self):
        super().__init__()
        self.open, self.counts = [], {}

    def handle_starttag(self, tag, attrs):
        if tag not in ("input", "br"):  # the elements without an end
            self.open.append(tag)
        self.counts[tag] = self.counts.get(tag, 0) + 1

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def by_claim(table):
    return table.set_index("claim")["verdict"].to_dict()


def test_ledger_of_planted_records(tmp_path):
    good = claims.ledger("4-sfp", "quick", records_folder=plant(tmp_path / "good", (20, 9, 2)))
    bad = claims.ledger("4-sfp", "quick", records_folder=plant(tmp_path / "bad", (20, 19, 18)))
    assert by_claim(good)["S4"] == "holds"
    assert by_claim(bad)["S4"] == "fails"
    assert by_claim(good)["S1"] == "holds"
    assert by_claim(good)["S5"] == "not measured"
    assert "S8" not in by_claim(good)  # not testable with one embedded network
    row = good.set_index("claim").loc["S4"]
    assert row["value"] == pytest.approx(0.1)
    assert (row["n"], row["data"], row["device"]) == (3, "planted <set>", "cpu")
    assert row["ours"].startswith("0.100 ± 0.000")
    assert row["control"].startswith("1.000: ")
    assert math.isnan(row["paper_value"])


def test_control_is_shown_beside_the_value(tmp_path):
    plant(tmp_path, (20, 9, 2), control=(20, 20, 19))
    row = claims.ledger("4-sfp", "quick", records_folder=tmp_path).set_index("claim").loc["S4"]
    assert row["control"].startswith("0.950: ")


def test_one_row_per_claim_and_profile(tmp_path):
    table = claims.ledger(records_folder=tmp_path)
    assert not table.duplicated(["chapter", "claim", "profile"]).any()
    assert set(table["verdict"]) == {"not measured"}
    wanted = sum(len(claim.profiles) for claim in claims.load())
    assert len(table) == wanted


def test_a_missing_paper_number_is_said_to_be_missing(tmp_path):
    table = claims.ledger(records_folder=tmp_path)
    unreadable = table[table["paper_value"].isna()]
    assert len(unreadable) > 0
    assert unreadable["paper"].str.contains(r"\(no number\)$|\d").all()


def test_verdicts_do_not_depend_on_what_else_is_judged(tmp_path):
    plant(tmp_path, (20, 9, 2))
    alone = claims.ledger("4-sfp", "quick", records_folder=tmp_path)
    together = claims.ledger(records_folder=tmp_path)
    chosen = together[(together["chapter"] == "4-sfp") & (together["profile"] == "quick")]
    pd.testing.assert_frame_equal(alone, chosen.reset_index(drop=True))


def test_a_claim_is_judged_again_only_after_its_records_changed(tmp_path, monkeypatch):
    def ledger(**given):
        return claims.ledger("4-sfp", "quick", records_folder=tmp_path, **given)

    asked = []

    def counting(claim, *given):
        asked.append(claim.id)
        return find(claim, *given)

    monkeypatch.setattr(ledger_table, "find", counting)
    plant(tmp_path, (20, 9, 2))
    first = ledger()
    once = len(asked)
    assert once == len(first)
    pd.testing.assert_frame_equal(ledger(), first)
    assert len(asked) == once
    ledger(generator=np.random.default_rng(1))  # of another seed: never from memory
    assert len(asked) == 2 * once
    plant(tmp_path, (20, 19, 18))
    again = ledger()
    assert len(asked) == 3 * once
    assert by_claim(again) != by_claim(first)
    next(iter(claims.findings("4-sfp", "quick", records_folder=plant(tmp_path, (20, 9, 3)))))
    assert len(asked) == 3 * once + 1
    assert len(ledger()) == once  # a half-read answer is not taken for the whole


def test_unknown_names_have_near_misses(tmp_path):
    with pytest.raises(ParameterError, match="did you mean 'quick'"):
        claims.ledger("4-sfp", "quik")


def test_chapter_table_is_closed_html_and_shows_failing_plainly(tmp_path):
    plant(tmp_path, (20, 19, 18))
    html = claims.chapter_table(claims.findings("4-sfp", "quick", records_folder=tmp_path))
    parsed = Table()
    parsed.feed(html)
    assert parsed.open == []
    applicable = [claim for claim in claims.load("4-sfp") if "quick" in claim.profiles]
    assert parsed.counts["tr"] == len(applicable) + 1
    assert "✘ fails" in html
    assert "planted &lt;set&gt;" in html
    assert "<set>" not in html
    assert "seed 2: 0.900" in html
    assert "\n\n" not in html  # a blank line would end the HTML block in markdown


def test_a_negative_number_on_a_card_has_a_minus(tmp_path):
    found = claims.findings("4-sfp", "quick", records_folder=plant(tmp_path, (20, 9, -2)))
    page = claims.chapter_table(found)
    assert "seed 2: −0.100" in page
    assert not re.search(r"[\s(>\[]-\d", page)
    assert 'id="claim-4-sfp-' in page


def test_ledger_page_lists_every_chapter_and_counts(tmp_path):
    plant(tmp_path, (20, 9, 2))
    page = claims.ledger_page(records_folder=tmp_path)
    for chapter in claims.chapters():
        assert f"\n## {chapter}" in page
    quick = claims.ledger("4-sfp", "quick", records_folder=tmp_path)
    holds = (quick["verdict"] == "holds").sum()
    assert f"{holds} hold, 0 fail, " in page
    parsed = Table()
    parsed.feed(page)
    assert parsed.open == []


def test_the_first_screen_leads_to_a_card_of_every_measured_claim(tmp_path):
    plant(tmp_path, (20, 9, 2))
    page = claims.ledger_page(records_folder=tmp_path)
    first, cards = page.split("\n## ", maxsplit=1)
    measured = claims.ledger("4-sfp", "quick", records_folder=tmp_path)
    measured = measured[measured["verdict"] != "not measured"]
    assert len(measured)
    for claim in measured["claim"]:
        assert first.count(f'href="#claim-4-sfp-{claim}-quick"') == 1
        assert cards.count(f'id="claim-4-sfp-{claim}-quick"') == 1
    assert "; in the toy (chapter 4-sfp alone) " in first
    assert "nothing is measured at the papers' own size yet" in first.lower().replace("&#x27;", "'")
    assert '<span class="fw-said">holds </span>' in first


def test_chips_name_every_verdict_and_chapter(tmp_path):
    page = claims.ledger_page(records_folder=tmp_path)
    for name in ("all", *(verdict.replace(" ", "-") for verdict in claims.VERDICTS)):
        assert f'id="fw-verdict-{name}"' in page
    for chapter in claims.chapters():
        assert f'id="fw-paper-{chapter}"' in page
        assert f"#fw-paper-{chapter}:checked) .fw-paper:not(#grid-{chapter})" in page


def test_json_holds_verdict_interval_scope_and_provenance(tmp_path):
    plant(tmp_path, (20, 9, 2))
    found = list(claims.findings("4-sfp", "quick", records_folder=tmp_path))
    text = json.dumps(claims.entries(found), allow_nan=False)
    entry = next(each for each in json.loads(text) if each["claim"] == "S1")
    assert (entry["verdict"], entry["scope"]["profile"], entry["scope"]["n"]) == ("holds", "quick", 3)
    assert entry["provenance"]["records"] == "data/records/4-sfp/quick.csv"
    (rank,) = (each for each in entry["measured"] if each["quantity"] == "probe_rank_correlation")
    assert rank["interval"] == [pytest.approx(1.0), pytest.approx(1.0)]
    assert rank["seeds"] == {str(seed): pytest.approx(1.0) for seed in range(3)}
    unmeasured = next(each for each in json.loads(text) if each["claim"] == "S5")
    assert (unmeasured["verdict"], unmeasured["measured"]) == ("not measured", [])


def test_committed_claims_have_a_line_of_plain_words():
    for claim in claims.load():
        assert claim.plain, claim.id


def test_badges_are_word_and_symbol():
    shown = [claims.badge(verdict) for verdict in claims.VERDICTS]
    assert len(set(shown)) == len(claims.VERDICTS)
    for verdict, text in zip(claims.VERDICTS, shown, strict=True):
        assert verdict in text
    with pytest.raises(ParameterError, match="did you mean 'holds'"):
        claims.badge("hold")
