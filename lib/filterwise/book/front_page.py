"""The first page's facts: what was claimed and what holds, a figure to play, and a card a chapter.

All of it is computed when the book is built: verdicts and numbers from the claims and the records, thumbnails
and reading times from the executed chapters.
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from filterwise.claims.ledger_grid import SCALES, SYMBOLS
from filterwise.claims.ledger_table import findings, table_of
from filterwise.claims.schema import VERDICTS
from filterwise.claims.verdict import Finding
from filterwise.figures.captions import marked_up
from filterwise.papers.chapter import Chapter, chapter_of, folders
from filterwise.papers.headline import worded
from filterwise.parameters import PROFILES

#: Words a minute of who reads and understands, and minutes for a look at a figure.
WORDS_A_MINUTE, MINUTES_A_FIGURE = 200, 0.25
_SHORT = {"not measured": "unmeasured"}


@functools.cache
def judged() -> tuple[Finding, ...]:
    """Every claim at every scale, judged once a build."""
    return tuple(findings())


@functools.cache
def judged_of(chapter: str) -> tuple[tuple[Finding, ...], pd.DataFrame]:
    """The findings of one chapter, and the ledger's table of them."""
    own = tuple(finding for finding in judged() if finding.claim.chapter == chapter)
    return own, table_of(own)


def at_largest_scale(found: Iterable[Finding]) -> list[Finding]:
    """One finding a claim, of the largest scale with enough seeds, or else of the largest measured.

    A claim that is measured at no scale has a finding of none.
    """
    chosen: dict[tuple[str, str], Finding] = {}
    for finding in found:
        name = (finding.claim.chapter, finding.claim.id)
        before = chosen.get(name)
        if before is None or _rank(finding) > _rank(before):
            chosen[name] = finding
    return list(chosen.values())


def _rank(finding: Finding) -> tuple[bool, int]:
    """Larger is shown: what enough seeds have measured, even if not all of it; then the larger scale."""
    measured = finding.verdict != "not measured"
    return finding.enough, PROFILES.index(finding.profile) if measured else -1


def counted_exactly(finding: Finding) -> bool:
    """Whether it is only counted or computed: all its conditions compare values without chance."""
    rule = finding.claim.criterion.rule
    needs = finding.claim.criterion.conditions_for(finding.profile)
    return bool(needs) and {(each.rule or rule).kind for each in needs} == {"estimate"}


def claimed(ledger_page: str) -> str:
    """In Markdown: how many claims there are, how many hold at their largest scale, and what that means.

    Parameters
    ----------
    ledger_page : address of the page that says why.
    """
    found = at_largest_scale(judged())
    counts = Counter(finding.verdict for finding in found)
    scales = Counter(finding.profile for finding in found if finding.verdict != "not measured")
    exact = sum(finding.verdict == "holds" and counted_exactly(finding) for finding in found)
    small = sum(count for profile, count in scales.items() if profile != "paper")
    measured = sum(scales.values())
    are = "is" if counts["undecided"] == 1 else "are"
    parts = [
        f"**{counts['holds']} hold**" + (f" ({exact} of them by counting alone)" if exact else ""),
        f"**{counts['fails']} fail**",
        f"**{counts['undecided']} {are} undecided**",
    ]
    rest = f" and {counts['reported']} are numbers without a pass mark" if counts["reported"] else ""
    missing = f" The other {len(found) - measured} are not measured yet." if measured < len(found) else ""
    return (
        f"Of {len(found)} claims of these papers {measured} are measured here, with seeds, spread and "
        f"controls: {', '.join(parts)}{rest}.{missing} A claim fails if one of its networks misses the "
        f"bound, and {small} of the {measured} are measured below the paper's scale: a failure here is no "
        f"refutation ([claim by claim]({ledger_page}))."
    )


def minutes_to_read(cells: Sequence[Mapping[str, Any]]) -> int:
    """Minutes that prose and figures of an executed notebook take, rounded up.

    >>> minutes_to_read([{"cell_type": "markdown", "source": "word " * 401}])
    3
    """
    texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    shown = "".join(_html(cells))
    words = sum(len(re.findall(r"\w[\w'’-]*", text)) for text in texts)
    figures = len(re.findall(r"<figure class=\"fw-figure\"", shown))
    return max(1, math.ceil(words / WORDS_A_MINUTE + figures * MINUTES_A_FIGURE))


def thumbnail(cells: Sequence[Mapping[str, Any]], figure: str) -> str:
    """Address of the picture of the figure with that anchor, or of the first figure; empty without one."""
    shown = [html for html in _html(cells) if "data:image/svg" in html]
    named = [html for html in shown if f'id="{figure}"' in html]
    for html in named or shown:
        found = re.search(r'<img src="(data:image/svg\+xml;base64,[^"]+)"', html)
        if found:
            return found[1]
    return ""


def _html(cells: Sequence[Mapping[str, Any]]) -> list[str]:
    outputs = [output.get("data", {}) for cell in cells for output in cell.get("outputs", ())]
    return ["".join(data["text/html"]) for data in outputs if "text/html" in data]


def verdict_bar(found: Iterable[Finding]) -> str:
    """The verdicts of one chapter's claims as a bar, and as words for all who read them.

    A word and a symbol stand beside each colour; nothing is told by colour alone.
    """
    counts = Counter(finding.verdict for finding in found)
    parts, words = [], []
    for verdict in VERDICTS:
        if counts[verdict]:
            name = f"fw-{verdict.replace(' ', '-')}"
            parts.append(f'<span class="{name}" style="flex:{counts[verdict]}"></span>')
            short = _SHORT.get(verdict, verdict)
            said = f"{counts[verdict]} {short.removesuffix('s') if counts[verdict] > 1 else short}"
            words.append(f'<span class="{name}">{SYMBOLS[verdict]} {said}</span>')
    return (
        f'<div class="fw-bar" aria-hidden="true">{"".join(parts)}</div>'
        f'<p class="fw-verdicts">{" ".join(words)}</p>'
    )


def card(about: Chapter, notebook: Path, address: str) -> str:
    """One chapter: thumbnail, title, question, finding, verdicts, and minutes to read, as HTML.

    Parameters
    ----------
    about : what the chapter says of itself.
    notebook : the executed chapter.
    address : of its page.
    """
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    own, table = judged_of(about.name)
    picture = thumbnail(cells, about.main_figure)
    said = f"The main figure of the chapter, small: {about.title}."
    image = f'<img src="{picture}" alt="{escape(said)}">'
    shown = f'<div class="fw-thumb">{image}</div>' if picture else ""
    finding = worded(about.card, table, about.name) if about.card else ""
    number = about.name.split("-")[0]
    return (
        f'<li class="fw-card">{shown}<h3><span>{escape(number)}</span> '
        f'<a href="{escape(address)}">{escape(about.title)}</a></h3>'
        f'<p class="fw-question">{escape(about.question)}</p>'
        f'<p class="fw-finding">{marked_up(finding or "Nothing is measured yet.")}</p>'
        f"{verdict_bar(at_largest_scale(own))}"
        f'<p class="fw-minutes">{minutes_to_read(cells)} minutes to read</p></li>'
    )


def cards(chapters: Mapping[str, tuple[Path, str]]) -> str:
    """A card a chapter, as HTML; ``chapters``: name -> the executed notebook, and its page's address."""
    known = folders()
    each = [card(chapter_of(name), *where) for name, where in chapters.items() if name in known]
    scales = ", ".join(f"“{SCALES[profile]}”" for profile in reversed(PROFILES))
    rule = "Verdicts are those of the largest scale at which a comparison has the seeds asked for"
    words = f"{rule} ({scales})."
    note = f'<p class="fw-small">{words}</p>'
    return f'<ul class="fw-cards">\n{chr(10).join(each)}\n</ul>\n{note}' if each else ""


def played() -> str:
    """The figure that some chapter offers for the first page, as HTML; empty without one."""
    for name in folders():
        make = chapter_of(name).played
        if make is not None:
            return make()
    return ""


def raw(html: str) -> str:
    """HTML as a block of MyST Markdown."""
    return f"``````{{raw}} html\n{html}\n``````" if html else ""
