"""The ledger as pages: MyST markdown with HTML tables, for the book's ledger page and for each chapter.

A verdict is a word and a symbol, in the same cell and size whether it holds or fails.
"""

from __future__ import annotations

from html import escape
from pathlib import Path

import pandas as pd

from filterwise.claims.claim_files import chapters
from filterwise.claims.estimates import Estimate
from filterwise.claims.ledger_table import findings, table_of
from filterwise.claims.registered import quantity_of
from filterwise.claims.schema import VERDICTS, Rule
from filterwise.claims.verdict import Finding
from filterwise.claims.words import number
from filterwise.errors import check_choice
from filterwise.parameters import PROFILES

SYMBOLS = {"holds": "✔", "fails": "✘", "undecided": "?", "reported": "i", "not measured": "–"}
PROFILE_WORDS = {
    "quick": "quick: embedded data, minutes on two CPU cores",
    "cifar": "cifar: photographs, small networks, CPU scale",
    "short": "short: the paper's networks, a tenth of the epochs, half an hour of a GPU",
    "paper": "paper: the paper's networks and epochs",
}

_HEADS = (
    "claim", "verdict", "statement", "the paper", "here (mean ± sd)", "control", "seeds", "profile", "data",
)  # fmt: skip


def badge(verdict: str) -> str:
    """A verdict as word and symbol, in HTML; an unknown one is a ParameterError.

    >>> badge("fails")
    '<span class="fw-verdict fw-fails">✘ fails</span>'
    """
    check_choice("verdict", verdict, VERDICTS)
    name = verdict.replace(" ", "-")
    return f'<span class="fw-verdict fw-{name}">{SYMBOLS[verdict]} {verdict}</span>'


def counts(table: pd.DataFrame) -> str:
    """How many claims have each verdict, in one sentence.

    >>> counts(pd.DataFrame({"verdict": ["holds", "fails", "holds"]}))
    '2 hold, 1 fails, 0 undecided, 0 reported, 0 not measured.'
    """
    number_of = {verdict: int((table["verdict"] == verdict).sum()) for verdict in VERDICTS}
    words = {kind: kind if number_of[kind] == 1 else kind.removesuffix("s") for kind in ("holds", "fails")}
    return ", ".join(f"{n} {words.get(verdict, verdict)}" for verdict, n in number_of.items()) + "."


def chapter_table(
    chapter: str,
    profile: str | None = None,
    *,
    claims_folder: Path | str | None = None,
    records_folder: Path | str | None = None,
) -> str:
    """One chapter's claims as an HTML table, verdict first, with the seeds' numbers folded under each row.

    Parameters and errors are those of :func:`filterwise.claims.ledger`.
    """
    judged = findings(chapter, profile, claims_folder=claims_folder, records_folder=records_folder)
    found = sorted(judged, key=lambda finding: _natural(finding.claim.id))
    return _table(found)


def _table(found: list[Finding]) -> str:
    rows = []
    for finding, (_, row) in zip(found, table_of(found).iterrows(), strict=True):
        chapter = finding.claim.chapter
        rows.append(
            f'<tr id="claim-{escape(chapter)}-{escape(str(row["claim"]))}-{row["profile"]}">'
            f"<th scope='row'>{escape(str(row['claim']))}</th>"
            f"<td>{badge(str(row['verdict']))}</td>"
            f"<td>{escape(str(row['statement']))}{_details(finding)}</td>"
            f"<td>{escape(str(row['paper']))}</td>"
            f"<td>{_here(finding, str(row['ours']))}</td>"
            f"<td>{escape(str(row['control'])) or '–'}</td>"
            f"<td>{row['n']}</td>"
            f"<td>{escape(str(row['profile']))}</td>"
            f"<td>{escape(str(row['data'])) or '–'}</td></tr>"
        )
    header = "".join(f"<th scope='col'>{head}</th>" for head in _HEADS)
    body = "\n".join(rows)
    return f'<table class="fw-claims">\n<thead><tr>{header}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>'


def _natural(claim: str) -> tuple[str, int]:
    digits = "".join(letter for letter in claim if letter.isdigit())
    return claim.rstrip("0123456789"), int(digits or 0)


def _details(finding: Finding) -> str:
    """What decided, the pass rule as it was written down, and the numbers seed by seed, folded."""
    claim = finding.claim
    lines = [
        f"<p><b>Counts as reproduced:</b> {escape(claim.criterion.text)}</p>",
        f"<p><b>Decided by:</b> {escape(finding.why)}</p>",
        f"<p><b>In the paper:</b> {escape(claim.where)} (read in: {escape(claim.paper.source)})</p>",
    ]
    if claim.note:
        lines.append(f"<p><b>How it was read:</b> {escape(claim.note)}</p>")
    if claim.controls:
        lines.append(f"<p><b>Controls:</b> {escape('; '.join(claim.controls))}</p>")
    parts = finding.estimates()
    if parts:
        lines.append(f"<p><b>Judged by:</b> {_rule_words(claim.criterion.rule)}</p>")
    lines += [f"<p>{_seed_by_seed(part)}</p>" for part in parts]
    return f"<details><summary>how it was judged, seed by seed</summary>{''.join(lines)}</details>"


def _here(finding: Finding, ours: str) -> str:
    """What was found, and under it what it is a number of."""
    if not ours:
        return "–"
    what = quantity_of(finding.claim.quantity).says
    return f'{escape(ours)}<div class="fw-what">{escape(what)}</div>'


def _rule_words(rule: Rule) -> str:
    """How seeds became the verdict."""
    if rule.kind == "count":
        return f"all conditions together in {rule.seeds} of {rule.of} seeds"
    if rule.kind == "estimate":
        return "the value itself"
    how = (
        "Student's t"
        if rule.method == "t"
        else "bootstrap; over three seeds from the smallest to the largest"
    )
    return f"the {rule.level:.0%} interval over seeds ({how})".replace("%", " %")


def _seed_by_seed(part: Estimate) -> str:
    about = quantity_of(part.quantity)
    name = f"<code>{escape(part.quantity)}</code>, {escape(part.arm)}: "
    if part.values:
        pairs = zip(part.seeds, part.values, strict=True)
        text = ", ".join(f"seed {seed}: {number(value, about.digits)}" for seed, value in pairs)
    else:
        text = f"{number(part.value, about.digits)}, fitted to {part.n} seeds"
    if part.low == part.low:  # not NaN
        text += f"; interval [{number(part.low, about.digits)}, {number(part.high, about.digits)}]"
    return f"{name}{text}. {escape(about.says)}"


def ledger_page(claims_folder: Path | str | None = None, records_folder: Path | str | None = None) -> str:
    """The book's ledger page: MyST markdown, one section per chapter and profile."""
    found = list(findings(claims_folder=claims_folder, records_folder=records_folder))
    table = table_of(found)
    lines = [
        "# Ledger of claims",
        "",
        "Every claim of the papers, what would count as reproducing it, and what was measured here.",
        "The pass rules were written before the results were known; where one was changed later, the claim's",
        "own note (folded under its statement) says what was changed, and after seeing what.",
        "Of a paper stands what could be read of it; no number was made up.",
        "",
        f"All profiles together: {counts(table)}",
        "",
        _key(),
    ]
    for chapter in chapters(claims_folder):
        lines += ["", f"## {chapter}"]
        for profile in PROFILES:
            part = [f for f in found if f.claim.chapter == chapter and f.profile == profile]
            if part:
                lines += ["", f"### {PROFILE_WORDS[profile]}", "", counts(table_of(part)), "", _table(part)]
    return "\n".join(lines) + "\n"


def _key() -> str:
    meaning = {
        "holds": "the pass rule is met on every arm; by the interval over seeds, if the claim says no other",
        "fails": "it misses it on at least one arm",
        "undecided": "the interval straddles the bound, there are too few seeds, or no pass rule was set",
        "not measured": "no record yet",
    }
    return "\n".join(f"- {badge(verdict)}: {words}" for verdict, words in meaning.items())
