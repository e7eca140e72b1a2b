"""How long something may take, as it is written; light, so that a mistake is answered at once."""

from __future__ import annotations

import re

from filterwise.errors import ParameterError, check_at_least


def parse_budget(budget: str | float) -> float:
    """Seconds of a duration such as ``"8m"``, ``"1h30m"``, ``"90s"`` or ``480``.

    Raises ParameterError if it is not a duration of at least one second.

    >>> parse_budget("1h30m"), parse_budget("90"), parse_budget(480)
    (5400.0, 90.0, 480.0)
    """
    found = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?", str(budget).strip())
    if not found or not str(budget).strip():
        raise ParameterError(f"budget={budget!r} is not a duration; write '8m', '1h30m', '90s' or seconds")
    hours, minutes, rest = (float(part or 0) for part in found.groups())
    total = 3600 * hours + 60 * minutes + rest
    check_at_least("budget", total, 1)
    return total
