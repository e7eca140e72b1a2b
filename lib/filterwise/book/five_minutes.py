"""What held and what did not, in five minutes: every number with its scale and its seeds, from the ledger."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from filterwise.book.front_page import at_largest_scale, claimed, judged, raw
from filterwise.claims.ledger_grid import SCALES, anchor
from filterwise.claims.ledger_table import shown, table_of
from filterwise.claims.registered import quantity_of
from filterwise.claims.verdict import Finding
from filterwise.figures.captions import marked_up
from filterwise.figures.tables import counted
from filterwise.papers.chapter import chapter_of, folders
from filterwise.papers.headline import worded

_LISTED = {"holds": "Held", "fails": "Did not hold"}
_NAMED = {"undecided": "Undecided", "reported": "Reported, without a rule", "not measured": "Not measured"}


def held(ledger_page: str, up: str) -> str:
    """All chapters, in Markdown: the question, what was found, and the claims by verdict.

    Parameters
    ----------
    ledger_page : the page that says why, without its ending.
    up : the way from this page to the folder above ``chapters``.
    """
    parts = [claimed(f"{ledger_page}.md")]
    for name in folders():
        about = chapter_of(name)
        own = [finding for finding in judged() if finding.claim.chapter == name]
        table = table_of(own)
        said = " ".join(filter(None, (worded(each, table, name) for each in about.found)))
        said = said.replace("this page", "the chapter's page")
        papers = " and ".join(about.papers.values())
        parts += [
            f"## {about.title}",
            f"*{about.question}* ({papers}; [chapter {name.split('-')[0]}]({up}chapters/{name}.ipynb))",
            raw(f"<p>{marked_up(said)}</p>\n{_by_verdict(at_largest_scale(own), f'{ledger_page}.html')}"),
        ]
    return "\n\n".join(parts)


def _by_verdict(found: Iterable[Finding], ledger_page: str) -> str:
    """Claims that held and that did not as lists, with numbers; the others by name."""
    by_verdict: dict[str, list[Finding]] = {}
    for finding in found:
        by_verdict.setdefault(finding.verdict, []).append(finding)
    parts = []
    for verdict, title in _LISTED.items():
        if verdict in by_verdict:
            items = "\n".join(f"<li>{_line(each, ledger_page)}</li>" for each in by_verdict[verdict])
            parts.append(f"<p><strong>{title}</strong></p>\n<ul>\n{items}\n</ul>")
    for verdict, title in _NAMED.items():
        if verdict in by_verdict:
            names = "; ".join(escape(each.claim.plain) for each in by_verdict[verdict])
            parts.append(f"<p><strong>{title}:</strong> {names}.</p>")
    return "\n".join(parts)


def _line(finding: Finding, ledger_page: str) -> str:
    """One claim: its words, its number, scale and seeds, and the way to the card that says why."""
    numbers = "; ".join(shown(each, len(finding.headline) > 1) for each in finding.headline[:2])
    seeds = counted(min((each.n for each in finding.headline or finding.parts), default=0), "seed")
    says = quantity_of(finding.claim.quantity).says.rstrip(".")
    what = f"{says[:1].lower()}{says[1:]}: {numbers}".replace(" -", " −") if numbers else "by several rules"
    return (
        f"<strong>{escape(finding.claim.plain)}</strong>: {escape(what)} "
        f"(“{SCALES[finding.profile]}”, {seeds}; "
        f'<a href="{ledger_page}#{escape(anchor(finding))}">why</a>)'
    )
