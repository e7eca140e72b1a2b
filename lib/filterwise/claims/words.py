"""Numbers, conditions and reasons of the ledger in words."""

from __future__ import annotations

import math

from filterwise.claims.schema import Condition, Criterion, Rule

_ASKED = {">": "more than", ">=": "at least", "<": "less than", "<=": "at most"}


def number(value: float, digits: int) -> str:
    """A number at fixed digits; large ones at three significant digits, or whole where nothing but whole
    numbers is shown.

    >>> number(0.12345, 3), number(123456.0, 2), number(123456.0, 0), number(float("inf"), 2)
    ('0.123', '1.23e+05', '123,456', 'inf')
    """
    if digits == 0 and abs(value) < 1e9:
        return f"{value:,.0f}"
    if not math.isfinite(value) or abs(value) < 1e4:
        return f"{value:.{digits}f}" if math.isfinite(value) else str(value)
    return f"{value:.3g}"


def uncapitalised(text: str) -> str:
    """A sentence's beginning as it stands within another: names and symbols keep their capital.

    >>> uncapitalised("Noise of a node"), uncapitalised("Spearman's rank"), uncapitalised("R^2 of")
    ('noise of a node', "Spearman's rank", 'R^2 of')
    """
    first = text.split(maxsplit=1)[0] if text else ""
    named = first.endswith("'s") or not first.isalpha() or first[1:].lower() != first[1:]
    return text if named else text[:1].lower() + text[1:]


def asked(condition: Condition, n: int = 0) -> str:
    """What a condition asks for, of ``n`` seeds.

    >>> asked(Condition("x", ">=", bound=0.9)), asked(Condition("x", "within", low=-0.1, high=0.1))
    ('at least 0.9', 'between -0.1 and 0.1')
    """
    if condition.op == "within":
        low, high = condition.limits(n)
        return f"exactly {low:,.10g}" if low == high else f"between {low:,.10g} and {high:,.10g}"
    return f"{_ASKED[condition.op]} {condition.bound:,.10g}"


def rules_in_words(criterion: Criterion, profile: str) -> str:
    """How seeds became the verdict at a profile; a condition may have a rule of its own.

    >>> rules_in_words(Criterion("as told"), "quick")
    "the 95 % interval over seeds (Student's t)"
    """
    judged: dict[Rule, dict[str, None]] = {}
    for each in criterion.conditions_for(profile):
        judged.setdefault(each.rule or criterion.rule, {})[each.quantity] = None
    if len(judged) < 2:
        return _rule(next(iter(judged), criterion.rule))
    return "; ".join(f"{', '.join(names)}: {_rule(rule)}" for rule, names in judged.items())


def _rule(rule: Rule) -> str:
    if rule.kind == "count":
        return f"all conditions together in {rule.seeds} of {rule.of} seeds"
    if rule.kind == "estimate":
        return "the value itself"
    how = "Student's t" if rule.method == "t" else "bootstrap"
    return f"the {100 * rule.level:g} % interval over seeds ({how})"
