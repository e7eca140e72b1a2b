"""What held and what did not, in five minutes: a sentence a chapter, claims by verdict, numbers folded."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from filterwise.book.front_page import at_largest_scale, claimed, counted_exactly, judged_of, raw
from filterwise.claims.ledger_grid import SCALES, anchor
from filterwise.claims.verdict import Finding
from filterwise.claims.words import uncapitalised
from filterwise.figures.captions import marked_up
from filterwise.figures.tables import counted
from filterwise.papers.chapter import chapter_of, folders
from filterwise.papers.headline import worded

_TITLES = {
    "holds": "Held",
    "fails": "Did not hold",
    "undecided": "Undecided",
    "reported": "Reported, without a rule",
    "not measured": "Not measured",
}


def held(ledger_page: str, up: str) -> str:
    """All chapters, in Markdown: the question, one sentence of what was found, and the claims by verdict.

    Parameters
    ----------
    ledger_page : the page that says why, without its ending.
    up : the way from this page to the folder above ``chapters``.
    """
    parts = [claimed(f"{ledger_page}.md")]
    for name in folders():
        about = chapter_of(name)
        own, table = judged_of(name)
        said = worded(about.card, table, name) if about.card else ""
        papers = " and ".join(about.papers.values())
        parts += [
            f"## {about.title}",
            f"*{about.question}* ({papers}; [chapter {name.split('-')[0]}]({up}chapters/{name}.ipynb))",
            raw(f"<p>{marked_up(said)}</p>\n{_by_verdict(at_largest_scale(own), f'{ledger_page}.html')}"),
        ]
    return "\n\n".join(parts)


def _by_verdict(found: Iterable[Finding], ledger_page: str) -> str:
    """Claims by verdict, each with the way to its card; folded, what decided, in numbers."""
    listed = list(found)
    parts, decided = [], []
    for verdict, title in _TITLES.items():
        own = [finding for finding in listed if finding.verdict == verdict]
        if own:
            names = "; ".join(_named(finding, ledger_page) for finding in own)
            parts.append(f"<p><strong>{title}:</strong> {names}.</p>")
        if verdict in ("holds", "fails", "undecided"):
            decided += [f"<li>{_numbers(finding)}</li>" for finding in own]
    if decided:
        items = "\n".join(decided)
        parts.append(f"<details><summary>What decided, in numbers</summary>\n<ul>\n{items}\n</ul></details>")
    return "\n".join(parts)


def _named(finding: Finding, ledger_page: str) -> str:
    words = escape(finding.claim.plain)
    counted_only = " (counted)" if finding.verdict == "holds" and counted_exactly(finding) else ""
    if finding.verdict == "not measured":
        return words
    return f'<a href="{ledger_page}#{escape(anchor(finding))}">{words}</a>{counted_only}'


def _numbers(finding: Finding) -> str:
    """One claim: its words, verdict, scale and seeds, and what gave it, with arms, interval and bound."""
    more = any(part.n > finding.fewest for part in finding.parts)
    seeds = counted(finding.fewest, "seed") + (" or more" if more else "")
    why = uncapitalised(finding.why).replace(" -", " −")
    about = f"{finding.verdict} at the scale “{SCALES[finding.profile]}”, {seeds}"
    return f"<strong>{escape(finding.claim.plain)}</strong> ({about}): {escape(why)}"
