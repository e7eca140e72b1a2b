"""What a claim is: the entries of ``data/claims/<chapter>.yml``, checked when they are made.

A claim is written down before it is measured. It names the quantity that is computed from records, the
conditions that this quantity must meet, and the rule by which seeds turn into a verdict.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ClassVar

from filterwise.errors import ParameterError, check_at_least, check_choice
from filterwise.parameters import PROFILES

#: ``reported`` is a claim without a pass rule that was measured.
VERDICTS: tuple[str, ...] = ("holds", "fails", "undecided", "reported", "not measured")

PLAIN_WORDS = 10

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
# A rank correlation of 0.9 is stored as 0.8999999999999999; bounds are met up to this much.
_TOLERANCE = 1e-9


class _Entry:
    """A mapping of a claim file: no other keys, no other types, no required text that is blank."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "strict": True}

    def __post_init__(self) -> None:
        for each in fields(self):  # type: ignore[arg-type]
            required = each.default is MISSING and each.default_factory is MISSING
            value = getattr(self, each.name)
            if required and isinstance(value, str) and not value.strip():
                raise ParameterError(f"{each.name} is empty")


def _check_profiles(profiles: Iterable[str]) -> None:
    for profile in profiles:
        check_choice("profile", profile, PROFILES)


@dataclass(frozen=True)
class PaperNumber(_Entry):
    """The paper's own number."""

    value: float | None  # None where no number could be read or the paper gives none
    text: str  # what the paper says, in words
    source: str  # where that was read

    def shown(self) -> str:
        """The number and the words; where neither has a number, that is said.

        >>> PaperNumber(None, "monotone trend", "abstract").shown()
        'monotone trend (no number)'
        """
        if self.value is None:
            return self.text if any(map(str.isdigit, self.text)) else f"{self.text} (no number)"
        return f"{self.value:g} ({self.text})"


@dataclass(frozen=True)
class Rule(_Entry):
    """How seeds become a verdict, by ``kind``.

    ``interval``: the interval of the mean over seeds must lie on the right side of the bound; one that
    lies wholly on the wrong side fails, one that straddles is undecided.
    ``count``: all conditions are met together in at least ``seeds`` of ``of`` seeds (the same share when
    there are more).
    ``estimate``: the value itself is compared; for exact identities and values that are tests already.
    """

    kind: str = "interval"
    method: str = "t"  # or "bootstrap", for ten seeds or more: of three it is their range
    level: float = 0.95  # two-sided; 0.90 is the one-sided test at 5 %, and an equivalence by two of them
    seeds: int = 0
    of: int = 0

    _OWN: ClassVar[dict[str, tuple[str, ...]]] = {
        "interval": ("method", "level"),
        "count": ("seeds", "of"),
        "estimate": (),
    }

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, self._OWN)
        for each in fields(self)[1:]:
            if each.name not in self._OWN[self.kind] and getattr(self, each.name) != each.default:
                raise ParameterError(f"{each.name!r} does not belong to kind {self.kind!r}")
        check_choice("method", self.method, ("t", "bootstrap"))
        if not 0.5 <= self.level < 1:
            raise ParameterError(f"level={self.level} is not in [0.5, 1)")
        if self.kind == "count" and not 1 <= self.seeds <= self.of:
            raise ParameterError(f"seeds={self.seeds} of={self.of} must satisfy 1 <= seeds <= of")


@dataclass(frozen=True)
class Condition(_Entry):
    """One comparison: ``quantity op bound``, or ``low <= quantity <= high`` for ``within``."""

    quantity: str
    op: str
    bound: float | None = None
    low: float | None = None
    high: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)  # keyword arguments of the quantity
    profiles: tuple[str, ...] = ()  # empty means every profile of the claim
    rule: Rule | None = None  # takes the place of the criterion's
    fewer_than: int = 0  # below this number of seeds low and high are replaced by these two
    low_fewer: float | None = None
    high_fewer: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("op", self.op, [*_OPERATORS, "within"])
        given = {name for name in ("bound", "low", "high") if getattr(self, name) is not None}
        needed = {"low", "high"} if self.op == "within" else {"bound"}
        fewer = {name for name in ("fewer_than", "low_fewer", "high_fewer") if getattr(self, name)}
        if given != needed or (fewer and self.op != "within"):
            raise ParameterError(f"op {self.op!r} needs {sorted(needed)} and got {sorted(given | fewer)}")
        if len(fewer) not in (0, 3):
            raise ParameterError(f"fewer_than, low_fewer and high_fewer belong together, got {sorted(fewer)}")
        if self.rule and self.rule.kind == "count":
            raise ParameterError("a count rule belongs to the criterion, not to one condition")
        _check_profiles(self.profiles)

    def limits(self, n: int) -> tuple[float, float]:
        """The bounds of ``within`` for ``n`` seeds."""
        pair = (self.low_fewer, self.high_fewer) if n < self.fewer_than else (self.low, self.high)
        low, high = (float("nan") if bound is None else bound for bound in pair)
        return low, high

    def met(self, value: float, n: int = 0) -> bool:
        """Whether one value meets the condition.

        >>> Condition("x", ">=", bound=0.9).met(0.9 - 1e-12)
        True
        """
        if self.bound is None:
            low, high = self.limits(n)
            return low - _TOLERANCE <= value <= high + _TOLERANCE
        slack = {">=": _TOLERANCE, "<=": -_TOLERANCE}.get(self.op, 0.0)
        return _OPERATORS[self.op](value + slack, self.bound)

    def words(self, n: int = 0) -> str:
        """The condition as it is read aloud: ``'snr_ratio > 1.5'``."""
        if self.op == "within":
            low, high = self.limits(n)
            return f"{low:g} <= {self.quantity} <= {high:g}"
        return f"{self.quantity} {self.op} {self.bound:g}"


@dataclass(frozen=True)
class Criterion(_Entry):
    """What would count as reproducing a claim.

    >>> Criterion("Reported.", (Condition("tree_gain", ">", bound=0),)).conditions_for("cifar")[0].bound
    0
    """

    text: str  # the pass rule in words
    conditions: tuple[Condition, ...] = ()  # empty for a report only
    rule: Rule = field(default_factory=Rule)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rule.kind == "count" and any(c.rule for c in self.conditions):
            raise ParameterError("under a count rule the conditions are judged together and have no own rule")

    def conditions_for(self, profile: str) -> tuple[Condition, ...]:
        """The conditions that apply at one profile; ``short`` has those of ``paper`` unless one names it."""
        if profile == "short" and not any("short" in c.profiles for c in self.conditions):
            profile = "paper"
        return tuple(c for c in self.conditions if not c.profiles or profile in c.profiles)


@dataclass(frozen=True)
class Doubt(_Entry):
    """Why a claim that fails at the scale "small" may be true of the paper; shown where it fails there."""

    reasons: tuple[str, ...]  # the likeliest first, each with its kind: "recipe: 12 epochs are few"
    test: str  # the cheapest experiment that would tell them apart
    hours: float  # of one core
    varied: tuple[str, ...] = ()  # the records that are this experiment, by their column of that name
    profile: str = ""  # where another scale is this experiment

    KINDS: ClassVar[tuple[str, ...]] = ("recipe", "scale", "reading", "data")

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.reasons) < 2:
            raise ParameterError(f"reasons={self.reasons!r} must be two or more, the likeliest first")
        for reason in self.reasons:
            check_choice("reasons", reason.partition(":")[0], self.KINDS)
        check_at_least("hours", self.hours, 0)
        if self.profile:
            check_choice("profile", self.profile, PROFILES)


@dataclass(frozen=True)
class Claim(_Entry):
    """One claim of a paper, with what would count as reproducing it.

    >>> from filterwise.claims.claim_files import load
    >>> claim = load("4-sfp")[0]
    >>> claim.id, claim.chapter, claim.seeds > 0
    ('S1', '4-sfp', True)
    """

    id: str  # unique in the book
    statement: str
    paper: PaperNumber
    where: str  # in the paper
    quantity: str  # the headline quantity, shown as "ours"
    criterion: Criterion
    seeds: int  # fewer leave the claim undecided
    controls: tuple[str, ...]  # what the quantity's control column is
    profiles: tuple[str, ...]  # where the claim can be tested
    options: Mapping[str, Any] = field(default_factory=dict)  # keyword arguments of the headline quantity
    plain: str = ""  # the statement in at most ten plain words, for the ledger's first screen
    note: str = ""  # how a loose wording was read
    doubt: Doubt | None = None
    a_seed: str = ""  # a pattern of names: the records at the scale "small" that one more seed would add
    unmeasured: str = ""  # why it is not measured at the scale "small"
    chapter: str = ""  # from the file

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least("seeds", self.seeds, 1)
        if not self.profiles:
            raise ParameterError("profiles is empty")
        _check_profiles(self.profiles)
        if len(self.plain.split()) > PLAIN_WORDS:
            raise ParameterError(f"plain={self.plain!r} has more than {PLAIN_WORDS} words")


@dataclass(frozen=True)
class ClaimFile(_Entry):
    """One chapter's claims; ``papers`` are full references by author and year."""

    chapter: str
    papers: Mapping[str, str]
    claims: tuple[Claim, ...]
