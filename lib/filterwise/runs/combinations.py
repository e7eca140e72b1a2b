"""Lists of runs: every combination of values."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from filterwise.errors import ParameterError
from filterwise.runs.plain_values import Plain, plain
from filterwise.runs.specification import Run


def grid(run: Run, **axes: Iterable[Any]) -> list[Run]:
    """All combinations of values, the last axis running fastest.

    Parameters
    ----------
    run
        What all have in common.
    axes
        A name of :class:`Run` and its values; a dotted name reaches inside (``"recipe.lr"``,
        ``"model_options.d1"``).

    Raises ParameterError for a name that is not known or an axis without values.

    >>> from filterwise.training import Recipe
    >>> runs = grid(Run("lenet5", "parts", Recipe()), seed=range(2), **{"model_options.d1": [6, 12]})
    >>> [(run.seed, run.model_kwargs["d1"]) for run in runs]
    [(0, 6), (0, 12), (1, 6), (1, 12)]
    """
    listed: list[list[Plain]] = []
    for name, given in axes.items():
        if isinstance(given, str) or not isinstance(given, Iterable):
            raise ParameterError(f"{name}={given!r} must be a list of values")
        listed.append([plain(name, value) for value in given])
        if not listed[-1]:
            raise ParameterError(f"{name}=[] has no values")
    # all values of a combination at once: one of them alone may not be allowed
    return [run.replace(**dict(zip(axes, values, strict=True))) for values in itertools.product(*listed)]
