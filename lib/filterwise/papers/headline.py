"""Sentences whose words and numbers follow the ledger."""

from __future__ import annotations

import re
from collections.abc import Mapping
from string import Formatter
from types import SimpleNamespace
from typing import Any

import pandas as pd

from filterwise.claims.ledger_grid import SCALES
from filterwise.claims.words import uncapitalised
from filterwise.errors import ParameterError
from filterwise.figures.tables import counted
from filterwise.papers.chapter import Sentence

_NAMED = re.compile(r" \((?:[^()]|\([^()]*\))*\)")  # the arm behind a number of the ledger
_UNIT = re.compile(r"(?<=[\d\]]) [^\W\d]+$")  # behind a number or its interval
_VERBS = {"undecided": "is undecided", "not measured": "is not measured"}


def worded(sentence: Sentence, table: pd.DataFrame, chapter: str) -> str:
    """A sentence at the first of its profiles that measured its claim with enough seeds, or else with fewer.

    Empty where none has measured it.

    Parameters
    ----------
    sentence : one of the chapter's.
    table : the chapter's ledger.
    chapter : its name, for messages.

    Raises ParameterError: it speaks of a claim that the chapter does not have, or not at that profile.
    """
    if sentence.claim not in set(table["claim"]):
        known = ", ".join(dict.fromkeys(table["claim"]))
        raise ParameterError(f"found: {chapter} has no claim {sentence.claim!r}; it has {known}")
    measured = table[(table["claim"] == sentence.claim) & (table["verdict"] != "not measured")]
    enough = measured[measured["enough"]]
    there = set((enough if set(enough["profile"]) & set(sentence.profiles) else measured)["profile"])
    profile = next((name for name in sentence.profiles if name in there), None)
    if profile is None:
        return ""
    rows = {row["claim"]: row for _, row in table[table["profile"] == profile].iterrows()}
    text = sentence.text
    if not isinstance(text, str):
        text = text[str(rows[sentence.claim]["verdict"])]
    return _filled(text, rows, profile)


def span(values: str) -> str:
    """The least and the greatest mean of several arms with their unit, or the one number of one arm.

    >>> span("0.30 ± 0.01; -0.05 ± 0.02; 0.10"), span("0.02 ± 0.01"), span("not measured; not measured")
    ('−0.05 to 0.30', '0.02 ± 0.01', 'not measured; not measured')
    >>> span("1.2 ± 0.1 sd; 0.3 sd")
    '0.3 to 1.2 sd'
    """
    plain = [part.strip().replace("−", "-") for part in values.split(";")]
    means = [part.split()[0] for part in plain if part and part[0] in "-0123456789"]  # not "not measured"
    if len(means) < 2:
        return values.replace("-", "−")
    low, *_, high = sorted(means, key=lambda text: float(text.replace(",", "")))
    unit = _UNIT.search(plain[0])
    return f"{low} to {high}{unit[0] if unit else ''}".replace("-", "−")


class ByArm(dict[str, str]):
    """The ledger's numbers by the first word of their arm; ``not measured`` of an arm that is not there."""

    def __missing__(self, arm: str) -> str:
        return "not measured"

    @classmethod
    def of(cls, ours: str) -> ByArm:
        """Of the ledger's ``ours``; of arms with the same first word the first.

        >>> ByArm.of("0.1 ± 0.2 (vgg6 L2, cifar10 (jpeg)); -0.3 (vgg8 V, cifar10 (jpeg))")["vgg8"]
        '−0.3'
        """
        found = cls()
        for part in ours.split("; "):
            number, _, arm = part.partition(" (")
            if arm:
                found.setdefault(re.split(r"[ ,]", arm)[0], number.replace("-", "−"))
        return found


def _reason(why: str) -> str:
    """The first comparison that decided, within a sentence: no arms, one stop less."""
    first = re.match(r".*?Asked for is .*?\.(?= |$)|.*", _NAMED.sub("", why))
    said = uncapitalised(first[0] if first else "").removesuffix(".").replace(". Asked", "; asked")
    return said.replace(" -", " −")


def _met(why: str) -> str:
    """The arms in which all that is asked for is met, as the reason names them; ``none``."""
    return why.partition(" is met in ")[2].removesuffix(".") or "none"


def _filled(text: str, rows: Mapping[str, pd.Series], profile: str) -> str:
    """A sentence with the ledger's words for ``{S1.verdict}`` and its like."""
    given: dict[str, Any] = {"scale": f"at the scale “{SCALES[profile]}”"}
    for _, field, _, _ in Formatter().parse(text):
        claim = (field or "").split(".")[0]
        if claim and claim != "scale":
            if claim not in rows:
                raise ParameterError(f"found: {text!r} speaks of {claim!r}, which has no row at {profile}")
            row = rows[claim]
            verdict = str(row["verdict"])
            given[claim] = SimpleNamespace(
                verdict=_VERBS.get(verdict, verdict),
                ours=row["ours"] or "no number",
                by=ByArm.of(str(row["ours"])),
                arms=" and ".join(ByArm.of(str(row["ours"]))) or "no network",
                why=_reason(str(row["why"])),
                met=_met(str(row["why"])),
                values=_NAMED.sub("", str(row["ours"])).replace("-", "−") or "no number",
                span=span(_NAMED.sub("", str(row["ours"]))) or "no number",
                control=row["control"] or "no control",
                control_value=str(row["control"]).split(":")[0].replace("-", "−") or "no control",
                control_span=span(str(row["control"]).split(":")[0]) or "no control",
                paper=row["paper"],
                seeds=counted(int(row["n"]), "seed"),
            )
    return text.format(**given)
