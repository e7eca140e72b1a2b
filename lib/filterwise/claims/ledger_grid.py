"""The ledger's first screen: one sentence, and a grid of verdicts with a row a claim and a column a scale.

HTML that needs neither kernel nor script: filters are radio buttons that style sheets listen to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from filterwise.claims.registered import quantity_of
from filterwise.claims.schema import VERDICTS
from filterwise.claims.verdict import Finding
from filterwise.claims.words import number
from filterwise.parameters import PROFILES

SYMBOLS = {"holds": "✔", "fails": "✘", "undecided": "?", "reported": "i", "not measured": "–"}
SCALES = {"quick": "toy", "cifar": "small", "short": "short", "paper": "full"}
_JUDGED = ("holds", "fails", "undecided")
_AT = {
    "paper": "at the papers' own size",
    "short": "at full width and a tenth of the epochs",
    "cifar": "at small scale",
    "quick": "in the toy",
}


def anchor(finding: Finding) -> str:
    """Where a finding's card is: ``claim-4-sfp-S1-cifar``."""
    return f"claim-{finding.claim.chapter}-{finding.claim.id}-{finding.profile}"


def sentence(found: Iterable[Finding]) -> str:
    """How many claims hold, fail and are undecided at each scale, the largest first."""
    each = list(found)
    parts = []
    for profile in reversed(PROFILES):
        here = [finding for finding in each if finding.profile == profile]
        if not here:
            continue
        verdicts = [finding.verdict for finding in here]
        counts = [(kind, verdicts.count(kind)) for kind in _JUDGED]
        if not any(count for _, count in counts):
            if profile == "paper":
                parts.append("nothing is measured at the papers' own size yet")
            continue
        words = [_counted(kind, count) for kind, count in counts]
        noun = f"claim{'s' if counts[0][1] != 1 else ''} "
        judged = {finding.claim.chapter for finding in here if finding.verdict in _JUDGED}
        alone = f" (chapter {judged.pop()} alone)" if len(judged) == 1 else ""
        parts.append(
            f"{_AT[profile]}{alone} {words[0].replace(' ', f' {noun}', 1)}, {words[1]} and {words[2]}"
        )
    said = "; ".join(parts) or "nothing is measured yet"
    return f"{said[0].upper()}{said[1:]}."


def _counted(kind: str, count: int) -> str:
    verb = {"holds": "hold", "fails": "fail"}.get(kind, "are undecided")
    one = {"holds": "holds", "fails": "fails"}.get(kind, "is undecided")
    return f"{count} {one if count == 1 else verb}"


def grid(found: Sequence[Finding], caption: str = "") -> str:
    """One chapter's claims, a row each, and its profiles; claims that no profile has measured are folded."""
    profiles = [name for name in PROFILES if name in {finding.profile for finding in found}]
    rows: dict[str, dict[str, Finding]] = {}
    for finding in found:
        rows.setdefault(finding.claim.id, {})[finding.profile] = finding
    seen = {
        name: cells
        for name, cells in rows.items()
        if any(cell.verdict != "not measured" for cell in cells.values())
    }
    unseen = {name: cells for name, cells in rows.items() if name not in seen}
    parts = [_table(seen, profiles, caption)] if seen else []
    if unseen:
        many = f"{len(unseen)} claim{'s' if len(unseen) > 1 else ''} not measured at any scale"
        what = many if seen else f"{caption}: {many}".removeprefix(": ")
        parts.append(f"<details><summary>{what}</summary>{_table(unseen, profiles, '')}</details>")
    return "\n".join(parts)


def _table(rows: Mapping[str, Mapping[str, Finding]], profiles: Sequence[str], caption: str) -> str:
    heads = "".join(f'<th scope="col">{SCALES[profile]}</th>' for profile in profiles)
    body = []
    for cells in rows.values():
        claim = next(iter(cells.values())).claim
        words = escape(claim.plain or claim.statement)
        inside = "".join(_cell(cells.get(profile)) for profile in profiles)
        body.append(f'<tr class="fw-row"><th scope="row"><b>{escape(claim.id)}</b> {words}</th>{inside}</tr>')
    title = f"<caption>{caption}</caption>" if caption else ""
    joined = "\n".join(body)
    head = f'<thead><tr><th scope="col">claim</th>{heads}</tr></thead>'
    return f'<table class="fw-grid">{title}{head}\n<tbody>\n{joined}\n</tbody></table>'


def _cell(finding: Finding | None) -> str:
    if finding is None:
        return '<td class="fw-none"></td>'
    name = finding.verdict.replace(" ", "-")
    if finding.verdict == "not measured":
        return f'<td class="fw-cell fw-{name}" title="not measured">{SYMBOLS[finding.verdict]}</td>'
    told = finding.decided_by or next(iter(finding.headline or finding.parts), None)
    value, what = "", ""
    if told is not None:
        about = quantity_of(told.quantity)
        value, what = number(told.value, about.digits), f": {told.says} ({told.arm})"
    text = f"{SYMBOLS[finding.verdict]} {value}".strip().replace("-", "−")
    said = f"{finding.claim.id} {finding.verdict} at the scale {SCALES[finding.profile]}{what}"
    link = f'<a href="#{escape(anchor(finding))}" title="{escape(said)}">{text}</a>'
    return f'<td class="fw-cell fw-{name}"><span class="fw-said">{finding.verdict} </span>{link}</td>'


def filters(chapters: Sequence[str]) -> str:
    """Chips that show the rows of one verdict, and the grids of one paper."""
    rules = "\n".join(
        f".fw-ledger:has(#fw-paper-{name}:checked) .fw-paper:not(#grid-{name}) {{ display: none; }}"
        for name in chapters
    )
    verdicts = [("all", "all")] + [(name.replace(" ", "-"), name) for name in VERDICTS]
    kinds = _chips("verdict", verdicts, "Rows with the verdict")
    papers = _chips("paper", [("all", "all"), *((name, name) for name in chapters)], "Chapter")
    return f"<style>\n{rules}\n</style>\n{kinds}\n{papers}"


def _chips(kind: str, choices: Sequence[tuple[str, str]], legend: str) -> str:
    inputs = "".join(
        f'<label><input type="radio" name="fw-{kind}" id="fw-{kind}-{escape(name)}"'
        f"{' checked' if name == 'all' else ''}> {escape(words)}</label>"
        for name, words in choices
    )
    return f'<fieldset class="fw-chips"><legend>{legend}</legend>{inputs}</fieldset>'


def first_screen(found: Sequence[Finding], titles: Mapping[str, str]) -> str:
    """The sentence, the chips, and the grid of every chapter; ``titles``: chapter -> how it is called."""
    chapters = list(dict.fromkeys(finding.claim.chapter for finding in found))
    parts = [f'<p class="fw-found"><strong>{escape(sentence(found))}</strong></p>', filters(chapters)]
    for name in chapters:
        own = [finding for finding in found if finding.claim.chapter == name]
        title = escape(titles.get(name, name))
        parts.append(f'<div class="fw-paper" id="grid-{escape(name)}">\n{grid(own, title)}\n</div>')
    inside = "\n".join(parts)
    return f'<div class="fw-ledger">\n{inside}\n</div>'
