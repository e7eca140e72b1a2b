"""What a claim is: the dataclasses behind ``data/claims/<chapter>.yml``.

A claim is written down before it is measured.  It names the quantity that is computed from records, the
conditions that quantity must meet, and the rule by which seeds turn into a verdict.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from filterwise.errors import ParameterError

PROFILES: tuple[str, ...] = ("quick", "cifar", "paper")
VERDICTS: tuple[str, ...] = ("holds", "fails", "undecided", "not measured")
NO_NUMBER = "no number"

OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}

# A rank correlation of 0.9 is stored as 0.8999999999999999; bounds are met up to this much.
TOLERANCE = 1e-9


@dataclass(frozen=True)
class PaperNumber:
    """The paper's own number.

    Attributes
    ----------
    value : float or None
        ``None`` where no number could be read or the paper gives none.
    text : str
        What the paper says, in words.
    source : str
        Where that was read.
    """

    value: float | None
    text: str
    source: str

    def shown(self) -> str:
        """The number and the words; where neither has a number, that is said.

        >>> PaperNumber(None, "monotone trend", "abstract").shown()
        'monotone trend (no number)'
        >>> PaperNumber(None, "0.94 above VGG16, whose value could not be read", "abstract").shown()
        '0.94 above VGG16, whose value could not be read'
        >>> PaperNumber(0.94, "A-VGG8", "abstract").shown()
        '0.94 (A-VGG8)'
        """
        if self.value is None:
            return self.text if any(map(str.isdigit, self.text)) else f"{self.text} ({NO_NUMBER})"
        return f"{self.value:g} ({self.text})"


@dataclass(frozen=True)
class Rule:
    """How seeds become a verdict.

    Attributes
    ----------
    kind : str
        ``interval``: the interval of the mean over seeds must lie on the right side of the bound; one that
        lies wholly on the wrong side fails, one that straddles is undecided.
        ``count``: all conditions are met together in at least ``seeds`` of ``of`` seeds (the same share when
        there are more).
        ``estimate``: the value itself is compared; for exact identities and values that are tests already.
    method : str
        ``t`` (means of accuracies) or ``bootstrap`` (bounded or skewed values).  Over three seeds the
        bootstrap interval reaches from the smallest to the largest seed.
    level : float
        Two-sided.  0.90 is the one-sided test at 5 % and the two one-sided tests of an equivalence.
    seeds, of : int
        For ``count``.
    """

    kind: str = "interval"
    method: str = "bootstrap"
    level: float = 0.95
    seeds: int = 0
    of: int = 0


@dataclass(frozen=True)
class Condition:
    """One comparison: ``quantity op bound``, or ``low <= quantity <= high`` for ``within``.

    Attributes
    ----------
    quantity : str
        A name registered in :mod:`filterwise.claims.quantities`.
    op : str
        ``>``, ``>=``, ``<``, ``<=`` or ``within``.
    bound, low, high : float or None
    options : mapping
        Keyword arguments of the quantity.
    profiles : tuple of str
        Empty means every profile of the claim.
    rule : Rule or None
        Takes the place of the claim's rule.
    fewer_than : int
        Below this number of seeds ``low`` and ``high`` are replaced by ``low_fewer`` and ``high_fewer``.
    """

    quantity: str
    op: str
    bound: float | None = None
    low: float | None = None
    high: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    profiles: tuple[str, ...] = ()
    rule: Rule | None = None
    fewer_than: int = 0
    low_fewer: float | None = None
    high_fewer: float | None = None

    def limits(self, n: int) -> tuple[float, float]:
        """The bounds of ``within`` for ``n`` seeds."""
        if n < self.fewer_than:
            low, high = self.low_fewer, self.high_fewer
        else:
            low, high = self.low, self.high
        if low is None or high is None:  # the loader refuses such a file
            raise ParameterError(f"{self.quantity}: within needs low and high")
        return low, high

    def met(self, value: float, n: int = 0) -> bool:
        """Whether one value meets the condition.

        >>> Condition("x", ">=", bound=0.9).met(0.9 - 1e-12)
        True
        >>> Condition("x", "within", low=-0.1, high=0.1).met(0.2)
        False
        """
        if self.op == "within":
            low, high = self.limits(n)
            return low - TOLERANCE <= value <= high + TOLERANCE
        if self.bound is None:
            raise ParameterError(f"{self.quantity}: {self.op} needs a bound")
        slack = TOLERANCE if self.op == ">=" else -TOLERANCE if self.op == "<=" else 0.0
        return OPERATORS[self.op](value + slack, self.bound)

    def words(self, n: int = 0) -> str:
        """The condition as it is read aloud: ``'snr_ratio > 1.5'``."""
        if self.op == "within":
            low, high = self.limits(n)
            return f"{low:g} <= {self.quantity} <= {high:g}"
        return f"{self.quantity} {self.op} {self.bound:g}"


@dataclass(frozen=True)
class Claim:
    """One claim of a paper, with what would count as reproducing it.

    Attributes
    ----------
    id, chapter, statement : str
    paper : PaperNumber
    where : str
        Where in the paper.
    quantity : str
        The headline quantity, shown as "ours".
    options : mapping
        Keyword arguments of the headline quantity.
    criterion : str
        The pass rule in words.
    conditions : tuple of Condition
        Empty when the spec asks for a report only, or when ``claims`` is given.
    rule : Rule
    claims : tuple of str
        This claim holds when these claims hold on the arms that ``at`` picks.
    at : str
        ``label extremes``: the arms with the fewest and the most labels.
    runs : str
        ``all labels``: only networks trained on all labels of their data set are looked at; label subsets are
        then the business of a claim with ``at``.  Empty: every run.
    seeds : int
        Fewer seeds than this leave the claim undecided.
    controls : tuple of str
        What the quantity's control column is.
    profiles : tuple of str
        Where the claim can be tested.
    note : str
        How a loose wording was read; empty if it needed no reading.
    """

    id: str
    chapter: str
    statement: str
    paper: PaperNumber
    where: str
    quantity: str
    criterion: str
    options: Mapping[str, Any] = field(default_factory=dict)
    conditions: tuple[Condition, ...] = ()
    rule: Rule = field(default_factory=Rule)
    claims: tuple[str, ...] = ()
    at: str = ""
    runs: str = ""
    seeds: int = 3
    controls: tuple[str, ...] = ()
    profiles: tuple[str, ...] = PROFILES
    note: str = ""

    def conditions_for(self, profile: str) -> tuple[Condition, ...]:
        """The conditions that apply at one profile."""
        return tuple(c for c in self.conditions if not c.profiles or profile in c.profiles)
