"""A line on a terminal: what is done, how much of it, and, once a part was timed, about how long the rest
takes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

_QUIET = 2.0  # seconds; what takes less needs no word


class TimeLeft(tqdm):
    """tqdm without a guess before the first part has ended; silent where standard error is no terminal.

    Parameters
    ----------
    parts : what is gone through; None where ``update`` is called instead.
    doing : in words, such as ``"judging"``.
    total : number of parts; of ``parts`` if not given.
    more : as for tqdm.

    >>> [2 * part for part in TimeLeft([1, 2], "doubling")]
    [2, 4]
    """

    def __init__(
        self, parts: Iterable[Any] | None, doing: str, total: float | None = None, **more: Any
    ) -> None:
        given: dict[str, Any] = {"disable": None, "leave": False, "dynamic_ncols": True, "delay": _QUIET}
        given |= {"bar_format": "{desc}: {n_fmt} of {total_fmt}{left}", **more}
        super().__init__(parts, doing, total, **given)

    @property
    def format_dict(self) -> dict[str, Any]:
        """tqdm's own values, and ``left``: the rest at the mean speed so far, in words."""
        found = super().format_dict
        done, total = found["n"] - found["initial"], found["total"]
        rest = found["elapsed"] / done * (total - found["n"]) if done and total else 0.0
        return {**found, "left": f", about {text(rest)} left" if round(rest) else ""}


def text(duration: float) -> str:
    """Seconds in words.

    >>> text(4.2), text(95), text(7380)
    ('4 s', '1 min 35 s', '2 h 3 min')
    """
    whole = round(duration)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
