"""How many seeds would decide what is undecided, if value and spread stay as they are."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pandas as pd
from scipy import special

from filterwise.claims.schema import Condition, Rule

if TYPE_CHECKING:
    from filterwise.claims.estimates import Estimate

#: Above it a number is not worth naming.
MANY_SEEDS = 100


def seeds_to_decide(condition: Condition, found: Estimate, rule: Rule, least: int = 0) -> float:
    """Seeds after which the interval would lie on one side of each bound, at least ``least``.

    Of the interval's half-widths the seeds' shrinks with the root of their number n, and with the quantile of
    Student's t where the rule uses it; that of the test images, h_t, stays. Asked for is the smallest n' with
    h_s(n')^2 + h_t^2 < d^2, where d is the distance of the value to the nearest bound.

    Returns infinity where the test images alone reach the bound or more than 100 seeds are needed, not a
    number without an interval.

    >>> from filterwise.claims.estimates import Estimate
    >>> seen = Estimate("q", "a", 0.03, 0, 0.0, 0.06, 4, 0, (), (), (), "", "", by_seeds=0.03, by_images=0)
    >>> one_side = Condition("q", ">", bound=0.02)
    >>> seeds_to_decide(one_side, seen, Rule(method="bootstrap")), seeds_to_decide(one_side, seen, Rule())
    (47, 17)
    """
    if found.n < 2 or math.isnan(found.by_seeds):
        return least if found.n < least else math.nan
    bounds = condition.limits(found.n) if condition.op == "within" else (condition.bound,)
    distance = min(abs(found.value - bound) for bound in bounds if bound is not None)
    images = 0.0 if math.isnan(found.by_images) else found.by_images
    for seeds in range(max(found.n + 1, least), MANY_SEEDS + 1):
        shrunk = math.sqrt(found.n / seeds)
        if rule.method == "t":
            shrunk *= _quantile(rule.level, seeds) / _quantile(rule.level, found.n)
        else:  # resampled means of few values spread too little
            shrunk *= math.sqrt((1 - 1 / seeds) / (1 - 1 / found.n))
        if math.hypot(found.by_seeds * shrunk, images) < distance:
            return seeds
    return math.inf


def _quantile(level: float, seeds: int) -> float:
    return float(special.stdtrit(seeds - 1, 0.5 + level / 2))


def hours_a_seed(records: pd.DataFrame, pattern: str) -> float:
    """Core-hours of one seed of the records whose names a pattern finds, the median over seeds; nan of none.

    >>> import pandas as pd
    >>> rows = {"name": ["a, seed 0", "b, seed 0"], "seed": 0, "seconds": 1800.0, "measure_seconds": 900.0}
    >>> hours_a_seed(pd.DataFrame(rows), "^a"), hours_a_seed(pd.DataFrame(rows), "^[ab]")
    (0.75, 1.5)
    """
    if not pattern or "name" not in records:
        return math.nan
    own = records[records["name"].str.contains(pattern)]
    return float((own["seconds"] + own["measure_seconds"]).groupby(own["seed"]).sum().median() / 3600)


def in_words(seeds: float, n: int, hours: float = math.nan) -> str:
    """What would decide, in a sentence, with its core-hours where a seed's are known; empty where nothing can
    be said.

    >>> in_words(12, 4)
    'About 12 seeds in place of 4 would decide it, if value and spread stay.'
    >>> in_words(12, 4, 0.25)
    'About 12 seeds in place of 4 would decide it, if value and spread stay: 2.0 hours of one core.'
    >>> in_words(math.inf, 4)
    'More seeds would hardly decide it: more than 100 were needed or, where test images count, other ones.'
    """
    if math.isnan(seeds):
        return ""
    if math.isinf(seeds):
        needed = f"more than {MANY_SEEDS} were needed or, where test images count, other ones"
        return f"More seeds would hardly decide it: {needed}."
    more = "" if math.isnan(hours) else f": {(seeds - n) * hours:.1f} hours of one core"
    return f"About {seeds:.0f} seeds in place of {n} would decide it, if value and spread stay{more}."
