"""The page's own parts: numbers of figures, lines for what is not recorded, headline and scale."""

import pandas as pd
import pytest
import torch

from filterwise import figures
from filterwise.data.imageset import ImageSet
from filterwise.errors import ParameterError
from filterwise.figures.captions import NotYet
from filterwise.papers.chapter import Chapter, Sentence
from filterwise.papers.headline import worded
from filterwise.papers.page import Page

QUESTION = "What does one filter know?"
TABLE = pd.DataFrame({"network": "vgg6", "number": [1, 2], "probe_accuracy": [0.5, 0.75]})
LEDGER = pd.DataFrame(
    [
        ("S1", "quick", "fails", "0.1 ± 0.0", 3),
        ("S1", "cifar", "holds", "0.9 ± 0.1", 1),
        ("S2", "quick", "undecided", "0.5", 3),
        ("S2", "cifar", "not measured", "", 0),
        ("S3", "quick", "not measured", "", 0),
        ("S3", "cifar", "not measured", "", 0),
    ],
    columns=["claim", "profile", "verdict", "ours", "n"],
).assign(control="", paper="no number", why="", enough=lambda table: table["n"] > 0)
RECORDS = pd.DataFrame(
    {"network": ["vgg6", "vgg6"], "data": "cifar10", "train_images": 50000, "epochs": [12, 24],
     "seed": [0, 1], "device": "cpu", "seconds": [60.0, 120.0]}
)  # fmt: skip


def page(*found: Sentence, **facts) -> Page:
    made = Page(Chapter("4-sfp", "Filters", QUESTION, {}, found=found, **facts))
    made.ledger = lambda: LEDGER
    return made


def test_figures_are_numbered_in_order_and_keep_their_number_when_a_cell_runs_again() -> None:
    one = page()
    names = ["fig-a", "fig-b", "fig-a"]
    drawn = [one.figure(figures.cluster_sizes({"x": [1]}), "A.", name).text for name in names]
    assert drawn == ["Figure 4.1. A.", "Figure 4.2. A.", "Figure 4.1. A."]


def test_show_draws_with_a_caption_that_may_take_numbers_from_the_table() -> None:
    def caption() -> str:
        return f"Up to {TABLE['probe_accuracy'].max():.2f}."

    found = page().show(figures.probe_accuracy, TABLE, caption=caption, name="fig-probe", chance=0.1)
    assert found.text == "Figure 4.1. Up to 0.75."
    assert "0.750" in page().show(TABLE.set_index("number")).html
    assert "<td>0.6</td>" in page().show(lambda table: table.groupby("network").mean(), TABLE, digits=1).html


@pytest.mark.parametrize(
    "table", [TABLE[:0], TABLE.drop(columns="probe_accuracy")], ids=["no rows", "a column is missing"]
)
def test_show_says_what_to_record_and_takes_no_number_for_it(table) -> None:
    one = page()
    table.attrs["profile"] = "cifar"
    found = one.show(figures.probe_accuracy, table, caption=lambda: 1 / 0, name="fig-a")
    assert isinstance(found, NotYet)
    assert repr(found) == "Not recorded yet. Run `filterwise record 4-sfp --profile cifar`."
    assert "Figure 4.1" in one.show(figures.probe_accuracy, TABLE, caption="b", name="fig-b").text


def test_any_other_error_is_raised() -> None:
    with pytest.raises(ParameterError, match="quantities is empty"):
        page().show(figures.layer_quantities, TABLE, quantities=())


def test_the_headline_takes_verdict_and_numbers_from_the_best_scale_that_is_measured() -> None:
    found = page(
        Sentence("S1", {"holds": "Noise falls {scale} ({S1.ours}, {S1.seeds}).", "fails": "It does not."}),
        Sentence("S2", "That filters differ {S2.verdict} {scale} ({S2.ours}, {S2.seeds})."),
        Sentence("S3", "Never said."),
        Sentence("S1", {"fails": "Not {scale}."}, profiles=("quick",)),
    ).found()
    assert found.text == (
        "Noise falls at the scale “small” (0.9 ± 0.1, 1 seed). "
        "That filters differ is undecided at the scale “toy” (0.5, 3 seeds). "
        "Not at the scale “toy”. Not measured yet: S3 (Each filter singles out a small set of labels)."
    )


def test_the_headline_prefers_the_scale_with_enough_seeds_and_names_arms_and_reasons() -> None:
    arms = "0.1 ± 0.2 (vgg6 L2, cifar10 (jpeg)); -0.3 ± 0.1 (vgg8 V, cifar10 (jpeg))"
    why = "R^2 of the line: -0.3, interval -0.4 to 0.2 (vgg8). Asked for is at most 0.5. More of it: 1."
    ledger = LEDGER.assign(ours=arms, why=why, enough=LEDGER["profile"] == "quick")
    text = "{S1.by[vgg8]} in {S1.arms}, not {S1.by[vgg9]}: {S1.why} {scale}"
    assert worded(Sentence("S1", text), ledger, "4-sfp") == (
        "−0.3 ± 0.1 in vgg6 and vgg8, not not measured: R^2 of the line: −0.3, interval −0.4 to 0.2; "
        "asked for is at most 0.5 at the scale “toy”"
    )
    fewer = worded(Sentence("S1", "{scale}"), ledger.assign(enough=False), "4-sfp")
    assert fewer == "at the scale “small”"


def test_a_headline_about_a_claim_that_is_not_there_is_refused() -> None:
    with pytest.raises(ParameterError, match="no claim 'S9'; it has S1, S2, S3"):
        page(Sentence("S9", "x")).found()
    with pytest.raises(ParameterError, match="speaks of 'S7'"):
        page(Sentence("S1", "{S7.ours}")).found()


def test_at_a_glance_the_papers_scale_stands_beside_ours(monkeypatch) -> None:
    one = page(paper_scale={"epochs": "300"}, unread="The tables.")
    monkeypatch.setattr(one, "records", lambda profile: RECORDS if profile == "cifar" else RECORDS[:0])
    html = one.glance().html
    assert QUESTION in html
    rows = {row.split("</th>")[0].split(">")[-1]: row for row in html.split("<tr>")}
    assert "300</td>" in rows["epochs"]
    assert "12 to 24</td>" in rows["epochs"]
    assert "50,000 of cifar10" in rows["images"]
    assert "could not be read" in rows["seeds"]
    assert "seeds 0 to 1" not in rows["seeds"]
    assert "seeds 0 and 1" in rows["seeds"]
    assert "3 min of training and measuring, for 2 records" in rows["time"]
    assert rows["claims"].count("fw-verdict") == 5
    assert "at most at the scale “small”" in html
    assert "The tables." in html
    assert "nan" not in html.lower()


def test_pictures_show_each_label_in_turn_and_say_what_the_set_is() -> None:
    labels = torch.tensor([1, 1, 1, 0, 0, 2])
    ds = ImageSet(torch.zeros(6, 1, 4, 4, dtype=torch.uint8), labels, ("a", "b", "c"), name="toy set")
    found = page().pictures(ds, count=5)
    assert found.text == "Figure 4.1. toy set: 6 pictures of 4 × 4 pixels, grey, 3 labels."
    assert 'id="fig-toy-set-train"' in found.html
    drawn = figures.picture_strip
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("filterwise.papers.page.picture_strip", lambda i, n: seen.append(n) or drawn(i, n))
        page().pictures(ds, count=5)
    assert seen == [["a", "b", "c", "a", "b"]]


def test_a_chapter_of_which_nothing_is_recorded_says_so_everywhere(tmp_path) -> None:
    one = Page("4-sfp", records_folder=tmp_path)
    assert len(one.records("cifar")) == 0
    assert set(one.ledger()["verdict"]) == {"not measured"}
    glance = one.glance()
    assert "nothing is recorded yet" in glance.text
    assert "nan" not in glance.html.lower()
    assert one.claims().html.count("fw-verdict fw-not-measured") == len(one.ledger())
