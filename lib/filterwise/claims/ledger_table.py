"""The ledger: every claim of the papers beside what was measured here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from filterwise.claims.claim_files import load
from filterwise.claims.doubts import once_more
from filterwise.claims.estimates import Estimate
from filterwise.claims.intervals import IMAGE_RESAMPLES
from filterwise.claims.more_seeds import hours_a_seed
from filterwise.claims.record_rows import joined
from filterwise.claims.registered import quantity_of
from filterwise.claims.schema import Claim
from filterwise.claims.test_images import with_right
from filterwise.claims.verdict import Finding, find
from filterwise.claims.words import number
from filterwise.errors import check_choice
from filterwise.parameters import PROFILES
from filterwise.runs.records import load_records, table_path, without_varied
from filterwise.runs.time_left import TimeLeft

COLUMNS = (
    "claim", "chapter", "statement", "paper", "quantity", "ours", "control", "n", "verdict", "why", "enough",
    "profile", "data", "device", "value", "spread", "paper_value",
)  # fmt: skip
BOOTSTRAP_SEED = 0
_SEED_DRAWS = 126  # that differ, of five seeds
#: Table of records -> what it was judged from, and what was found: pages of one build ask many times.
_KNOWN: dict[Path, tuple[object, tuple[Finding, ...]]] = {}


def findings(
    chapter: str | None = None,
    profile: str | None = None,
    *,
    claims_folder: Path | str | None = None,
    records_folder: Path | str | None = None,
    generator: np.random.Generator | None = None,
) -> Iterator[Finding]:
    """Judge every claim at every profile that it applies to; a terminal is told how far that is.

    Parameters
    ----------
    chapter, profile : such as ``"4-sfp"`` and ``"quick"``; default all
    claims_folder, records_folder : default: the repository's ``data/claims`` and ``data/records``
    generator : for the bootstrap; by default seeded alike for each claim, so that its verdict does not depend
        on which other claims are judged, and remembered while claims and records stay as they are

    Raises ParameterError: unknown chapter or profile, or a broken claim file.

    >>> [finding.claim.id for finding in findings("4-sfp", "quick")][:3]
    ['S1', 'S2', 'S3']
    """
    if profile is not None:
        check_choice("profile", profile, PROFILES)
    chosen = load(chapter, claims_folder)
    tables: dict[tuple[str, str], list[Claim]] = {}
    for name in dict.fromkeys(claim.chapter for claim in chosen):
        for each in PROFILES if profile is None else (profile,):
            applicable = [claim for claim in chosen if claim.chapter == name and each in claim.profiles]
            tables |= {(name, each): applicable} if applicable else {}
    made_from = {table: _made_from(*table, own, records_folder) for table, own in tables.items()}
    work = {table: _evaluations(*table, own, records_folder) for table, own in tables.items()}
    count, number_of_claims = 0, sum(map(len, tables.values()))
    total = sum(map(sum, work.values()))
    with TimeLeft(None, "judging", total, bar_format="{desc}{left}") as line:
        for (name, each), own in tables.items():
            everything = load_records(name, each, root=records_folder, varied=True)
            place = table_path(name, each, records_folder).absolute()
            known = _KNOWN.get(place) if generator is None else None
            if known is not None and known[0] == made_from[name, each]:
                count += len(own)
                line.update(sum(work[name, each]))
                yield from known[1]
                continue
            records = with_right(without_varied(everything), name, each, records_folder)
            judged = []
            for claim, evaluations in zip(own, work[name, each], strict=True):
                count += 1
                line.set_description_str(f"judging claim {count} of {number_of_claims}", refresh=False)
                found = find(claim, records, each, generator or np.random.default_rng(BOOTSTRAP_SEED))
                hours = hours_a_seed(records, claim.a_seed) if each == "cifar" else math.nan
                judged.append(
                    replace(found, hours_a_seed=hours, once_more=tuple(once_more(found, everything)))
                )
                yield judged[-1]
                line.update(evaluations)
            if generator is None:
                _KNOWN[place] = (made_from[name, each], tuple(judged))


def _made_from(chapter: str, profile: str, own: list[Claim], root: Path | str | None) -> object:
    """What the findings of a chapter at a profile follow from: equal if and only if they would be the same.

    Claims, the functions of their quantities, and the files of records by place, size and time.
    """
    conditions = (each for claim in own for each in claim.criterion.conditions)
    names = {claim.quantity for claim in own} | {each.quantity for each in conditions}
    functions = {name: quantity_of(name).function for name in names}
    table = table_path(chapter, profile, root)
    files = [table, *table.parent.glob(f"{profile}-*.npz")]
    stats = {path.name: path.stat() for path in files if path.exists()}
    return (
        own,
        functions,
        {name: (stat.st_ino, stat.st_size, stat.st_mtime_ns) for name, stat in stats.items()},
    )


def _evaluations(chapter: str, profile: str, own: list[Claim], root: Path | str | None) -> list[int]:
    """About how often a quantity is computed for each claim: pooled ones on resampled seeds and images."""
    if not table_path(chapter, profile, root).exists():
        return [1] * len(own)
    found = []
    for claim in own:
        uses = {(claim.quantity, str(dict(claim.options)))}
        uses |= {(each.quantity, str(dict(each.options))) for each in claim.criterion.conditions_for(profile)}
        about = [quantity_of(name) for name, _ in uses]
        found.append(sum(1 + each.pooled * _SEED_DRAWS + each.images * IMAGE_RESAMPLES for each in about))
    return found


def ledger(
    chapter: str | None = None,
    profile: str | None = None,
    *,
    claims_folder: Path | str | None = None,
    records_folder: Path | str | None = None,
    generator: np.random.Generator | None = None,
) -> pd.DataFrame:
    """What the papers claim and what was measured here, one row per claim and profile.

    Parameters and errors are those of :func:`findings`.

    Returns columns ``claim``, ``chapter``, ``statement``; ``paper``, the paper's number in words;
    ``quantity``, ``ours`` (mean ± standard deviation over seeds, per arm; of a pooled quantity, which has one
    value of all seeds, the value and [its interval]) and ``control``; ``n`` seeds (of the comparison
    that has the fewest); ``verdict`` and ``why``; ``enough``, whether a comparison has the seeds that the
    claim asks for; ``profile``, ``data``, ``device``; the numbers of the first arm as ``value`` and
    ``spread``, and ``paper_value``.

    >>> ledger("4-sfp", "quick")["claim"].tolist()[:3]
    ['S1', 'S2', 'S3']
    """
    folders = {"claims_folder": claims_folder, "records_folder": records_folder}
    return table_of(findings(chapter, profile, **folders, generator=generator))


def table_of(found: Iterable[Finding]) -> pd.DataFrame:
    """Findings as the ledger's table.

    >>> table_of(findings("4-sfp", "quick"))["chapter"].unique().tolist()
    ['4-sfp']
    """
    return pd.DataFrame([_row(finding) for finding in found], columns=list(COLUMNS))


def _row(finding: Finding) -> dict[str, object]:
    claim, headline = finding.claim, finding.headline
    first = headline[0] if headline else None
    return {
        "claim": claim.id,
        "chapter": claim.chapter,
        "statement": claim.statement,
        "paper": claim.paper.shown(),
        "quantity": f"{quantity_of(claim.quantity).said(claim.options)}.",
        "ours": "; ".join(shown(each, len(headline) > 1, interval=True) for each in headline),
        "control": shown_controls(claim.quantity, headline),
        "n": finding.fewest,
        "verdict": finding.verdict,
        "why": finding.why,
        "enough": finding.enough,
        "profile": finding.profile,
        "data": joined(each.data for each in headline),
        "device": joined(each.device for each in headline),
        "value": first.value if first else math.nan,
        "spread": first.spread if first else math.nan,
        "paper_value": math.nan if claim.paper.value is None else claim.paper.value,
    }


def shown(found: Estimate, with_arm: bool = True, interval: bool = False) -> str:
    """An estimate as text: ``0.98 ± 0.01 (vgg6, ...)``; the spread is the standard deviation over seeds.

    One without a spread is given its ``interval`` where that is asked for: ``0.43 [0.23 to 0.64]``.
    """
    about = quantity_of(found.quantity)
    text = number(found.value, about.digits)
    if not math.isnan(found.spread):
        text += f" ± {number(found.spread, about.digits)}"
    elif interval and not math.isnan(found.low):
        text += f" [{number(found.low, about.digits)} to {number(found.high, about.digits)}]"
    if about.unit:
        text += f" {about.unit}"
    return f"{text} ({found.arm})" if with_arm else text


def shown_controls(quantity: str, headline: tuple[Estimate, ...]) -> str:
    """The control values with what they are; a control that was not run is said to be missing."""
    about = quantity_of(quantity)
    if not about.control or not headline:
        return ""
    values = [
        "not measured" if math.isnan(each.control) else number(each.control, about.digits)
        for each in headline
    ]
    return f"{'; '.join(values)}: {about.control}"
