"""The ledger as pages: MyST markdown with HTML, for the book's ledger page and for each chapter.

A verdict is a word and a symbol, in the same cell and size whether it holds or fails. The first screen leads
to cards, one a claim and scale, which say why.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from html import escape
from pathlib import Path

import pandas as pd

from filterwise.claims.estimates import Estimate
from filterwise.claims.ledger_grid import SCALES, SYMBOLS, anchor, first_screen, grid
from filterwise.claims.ledger_table import findings, shown, table_of
from filterwise.claims.more_seeds import in_words
from filterwise.claims.registered import quantity_of
from filterwise.claims.schema import VERDICTS
from filterwise.claims.verdict import Finding, OnceMore
from filterwise.claims.words import number, rules_in_words
from filterwise.errors import check_choice
from filterwise.parameters import PROFILES

PROFILE_WORDS = {
    "quick": "toy (quick): embedded data, minutes on two CPU cores",
    "cifar": "small (cifar): photographs, small networks, CPU scale",
    "short": "short: the paper's networks, a tenth of the epochs, minutes to hours of a GPU a bundle",
    "paper": "full (paper): the paper's networks and epochs",
}
# A hyphen before a number; none stands so in a name or an attribute.
_MINUS = re.compile(r"(?<=[\s(\[>])-(?=\d)")
_HEADS = ("claim", "verdict", "statement", "the paper", "here", "control", "seeds", "scale", "data")
_MEANING = {
    "holds": "the pass rule is met on every arm; by the interval over seeds and, where they are kept, test "
    "images, if the claim says no other",
    "fails": "it is missed on at least one arm",
    "undecided": "the interval straddles the bound, or too few seeds were run",
    "reported": "measured; the claim has no pass rule",
    "not measured": "no record yet",
}


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


def chapter_grid(found: Iterable[Finding]) -> str:
    """A grid: a row a claim, a column a scale; ``found`` are one chapter's findings.

    >>> from filterwise.claims.ledger_table import findings
    >>> "fw-grid" in chapter_grid(findings("4-sfp", "quick"))
    True
    """
    told = (
        "The number is that of the comparison that decided, so at another scale it may be another quantity."
    )
    return f'<div class="fw-ledger">{grid(_sorted(found))}<p class="fw-small">{told}</p></div>'


def chapter_table(found: Iterable[Finding]) -> str:
    """Claims as cards in an HTML table, with the seeds' numbers folded in each; ``found`` as above.

    >>> from filterwise.claims import findings
    >>> chapter_table(findings("4-sfp", "quick")).splitlines()[0]
    '<table class="fw-claims">'
    """
    return _cards(_sorted(found))


def _sorted(found: Iterable[Finding]) -> list[Finding]:
    return sorted(found, key=lambda finding: _natural(finding.claim.id))


def _cards(found: list[Finding]) -> str:
    rows = []
    for finding, (_, row) in zip(found, table_of(found).iterrows(), strict=True):
        rows.append(
            f'<tr id="{escape(anchor(finding))}">'
            f"<th scope='row'>{escape(str(row['claim']))}</th>"
            f"<td>{badge(str(row['verdict']))}</td>"
            f"<td>{escape(str(row['statement']))}{_why(finding)}{_doubt(finding)}{_details(finding)}</td>"
            f"<td>{escape(str(row['paper']))}</td>"
            f"<td>{_here(finding)}</td>"
            f"<td>{escape(str(row['control'])) or '–'}</td>"
            f"<td>{row['n']}{_images(finding)}</td>"
            f"<td>{SCALES[str(row['profile'])]}</td>"
            f"<td>{escape(str(row['data'])) or '–'}</td></tr>"
        )
    header = "".join(f"<th scope='col'>{head}</th>" for head in _HEADS)
    body = _MINUS.sub("−", "\n".join(rows))
    return f'<table class="fw-claims">\n<thead><tr>{header}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>'


def _natural(claim: str) -> tuple[str, int]:
    digits = "".join(letter for letter in claim if letter.isdigit())
    return claim.rstrip("0123456789"), int(digits or 0)


def _why(finding: Finding) -> str:
    if finding.verdict == "not measured":
        reason = finding.claim.unmeasured if finding.profile == "cifar" else ""
        return f'<p class="fw-why"><b>Why not measured:</b> {escape(reason)}.</p>' if reason else ""
    more = in_words(finding.seeds_to_decide, finding.seeds_there, finding.hours_a_seed)
    return f'<p class="fw-why"><b>Why {finding.verdict}:</b> {escape(f"{finding.why} {more}".strip())}</p>'


def _doubt(finding: Finding) -> str:
    """Where the scale "small" contradicts the paper: likeliest reasons, cheapest test, and what it gave."""
    doubt = finding.claim.doubt
    if doubt is None or finding.verdict != "fails" or finding.profile != "cifar":
        return ""
    reasons = "; ".join(f"({place}) {reason}" for place, reason in enumerate(doubt.reasons, 1))
    took = f"{doubt.hours:g} h" if doubt.hours >= 1 else f"{60 * doubt.hours:.0f} min"
    parts = [
        f"<b>Likeliest reasons, in this order:</b> {escape(reasons)}.",
        f"<b>The cheapest test of them</b> ({took} of one core): {escape(doubt.test)}.",
        _outcome(finding),
    ]
    return f'<p class="fw-why">{" ".join(parts)}</p>'


def _outcome(finding: Finding) -> str:
    """What the test gave, in HTML: each number that it changed, after and before."""
    if finding.claim.doubt and (scale := finding.claim.doubt.profile):
        there = anchor(replace(finding, profile=scale))
        return f'What it gave stands on <a href="#{there}">the card of the scale {SCALES[scale]}</a>.'
    sentences = []
    for what in dict.fromkeys(each.varied for each in finding.once_more):
        own = [each for each in finding.once_more if each.varied == what]
        seeds, numbers = own[0].seeds, "; ".join(map(_pair, own))
        form = f" ({own[0].form})" if own[0].form else ""
        sentences.append(f"With {what}, in {seeds} seed{'s' * (seeds > 1)}{form}: {numbers}.")
    if not sentences:
        return "It was not run yet."
    done = {each.varied for each in finding.once_more}
    left = [what for what in finding.claim.doubt.varied if what not in done] if finding.claim.doubt else []
    missing = [f"Not run yet: {', '.join(left)}."] if left else []
    return escape(" ".join([*sentences, *missing]))


def _pair(found: OnceMore) -> str:
    digits = quantity_of(found.quantity).digits
    after, before, spread = (number(value, digits) for value in (found.after, found.before, found.spread))
    with_spread = after if math.isnan(found.spread) else f"{after} ± {spread}"
    return f"{found.quantity.replace('_', ' ')} {with_spread} in place of {before} ({found.arm})"


def _details(finding: Finding) -> str:
    """The pass rule as it was written down, and the numbers seed by seed, folded."""
    claim = finding.claim
    lines = [
        f"<p><b>Counts as reproduced:</b> {escape(claim.criterion.text)}</p>",
        f"<p><b>In the paper:</b> {escape(claim.where)} (read in: {escape(claim.paper.source)})</p>",
    ]
    if claim.note:
        lines.append(f"<p><b>How it was read:</b> {escape(claim.note)}</p>")
    if claim.controls:
        lines.append(f"<p><b>Controls:</b> {escape('; '.join(claim.controls))}</p>")
    parts = finding.estimates()
    if parts:
        lines.append(f"<p><b>Judged by:</b> {escape(rules_in_words(claim.criterion, finding.profile))}</p>")
    lines += [f"<p>{_seed_by_seed(part)}</p>" for part in parts]
    return f"<details><summary>how it was judged, seed by seed</summary>{''.join(lines)}</details>"


def _here(finding: Finding) -> str:
    """What was found on each arm, with its interval, and under it what it is a number of."""
    estimates = finding.headline or finding.parts
    if not estimates:
        return "–"
    several = len(estimates) > 1
    lines = [
        f"{escape(shown(each, several))}{_interval(each)}"
        for each in {(one.quantity, one.arm): one for one in estimates}.values()
    ]
    return f'{"<br>".join(lines)}<div class="fw-what">{escape(estimates[0].says)}.</div>'


def _interval(part: Estimate) -> str:
    if math.isnan(part.low):
        return ""
    digits = quantity_of(part.quantity).digits
    return f", interval {number(part.low, digits)} to {number(part.high, digits)}"


def _images(finding: Finding) -> str:
    """Whether test images were counted beside the seeds, and which of the two weighs more."""
    counted = [each for each in finding.estimates() if not math.isnan(each.by_images)]
    if not counted:
        return ""
    first = counted[0]
    more = "seeds weigh more" if first.by_seeds >= first.by_images else "test images weigh more"
    return f", and test images; {more}"


def _seed_by_seed(part: Estimate) -> str:
    about = quantity_of(part.quantity)
    name = f"<code>{escape(part.quantity)}</code>, {escape(part.arm)}: "
    if part.values:
        pairs = zip(part.seeds, part.values, strict=True)
        text = ", ".join(f"seed {seed}: {number(value, about.digits)}" for seed, value in pairs)
    else:
        text = f"{number(part.value, about.digits)}, from {part.n} seeds together"
    if not math.isnan(part.low):
        text += f"; interval [{number(part.low, about.digits)}, {number(part.high, about.digits)}]"
    if not math.isnan(part.by_images):
        alone = {"seeds": part.by_seeds, "test images": part.by_images}
        halves = [
            f"by {what} alone {number(half, about.digits)}"
            for what, half in alone.items()
            if not math.isnan(half)
        ]
        text += f"; half-width {', '.join(halves)}"
    return f"{name}{text}. {escape(part.says)}."


def ledger_page(
    claims_folder: Path | str | None = None,
    records_folder: Path | str | None = None,
    titles: Mapping[str, str] | None = None,
    judged: Iterable[Finding] | None = None,
) -> str:
    """The book's ledger page: MyST markdown; ``titles`` says how the chapters are called.

    ``judged`` are the findings of all claims, where they are known already.

    >>> ledger_page().splitlines()[0]
    '# Ledger of claims'
    """
    if judged is None:
        judged = findings(claims_folder=claims_folder, records_folder=records_folder)
    found = _sorted(judged)
    names = sorted({finding.claim.chapter for finding in found})
    found.sort(key=lambda finding: finding.claim.chapter)  # stable: claims stay in their order
    titles = titles or {}
    lines = [
        "# Ledger of claims",
        "",
        first_screen(found, titles),
        "",
        *(f"- {badge(verdict)}: {_MEANING[verdict]}" for verdict in VERDICTS),
        "",
        "The number beside a verdict above is the one that decided it, which may be of a control; a card's",
        "*here* is the claim's own quantity.",
        "",
        "The pass rules were written before the results were known, but for those that were changed later: a",
        "note (folded in the claim's card) says what was changed, after seeing what, and the old verdict.",
        "Of a paper stands what could be read of it; no number was made up.",
        "`filterwise claims --json` writes the same for programs.",
    ]
    for name in names:
        lines += ["", f"## {titles.get(name, name)}"]
        for profile in PROFILES:
            part = [each for each in found if each.claim.chapter == name and each.profile == profile]
            if part:
                lines += ["", *_section(profile, part)]
    return "\n".join(lines) + "\n"


def _section(profile: str, part: list[Finding]) -> list[str]:
    """The cards of one chapter and profile; folded where nothing is measured."""
    head = PROFILE_WORDS[profile]
    if all(finding.verdict == "not measured" for finding in part):
        folded = f"<details><summary>{head}: none of the claims is measured yet</summary>"
        return [f"{folded}\n{_cards(part)}\n</details>"]
    return [f"### {head}", "", counts(table_of(part)), "", _cards(part)]
