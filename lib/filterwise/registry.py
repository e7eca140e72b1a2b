"""Functions that are found by name: a model, a training step, an edit, a measurement, a quantity.

Each registers itself where it is defined, with one decorator. A registry knows in which modules to look, so
that a new one touches no list, and imports them only when a name is asked for.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

from filterwise.errors import ParameterError, check_choice

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Entry:
    """A registered function, and what its registration says of it."""

    name: str
    function: Callable[..., Any]
    facts: Mapping[str, Any] = field(default_factory=dict)


class Registry:
    """Names of one kind.

    Parameters
    ----------
    kind : what is registered, for messages
    where : modules that register, by name; a part ``*`` stands for every module of the package before it

    >>> shapes = Registry("shape")
    >>> @shapes("circle", corners=0)
    ... def circle(radius): return 3.14 * radius**2
    >>> shapes.get("circle").facts["corners"], shapes.names()
    (0, ('circle',))
    >>> shapes.get("cirlce")
    Traceback (most recent call last):
    filterwise.errors.ParameterError: shape='cirlce' is not known; ...; did you mean 'circle'?
    """

    #: Modules outside of this library that registered something; worker processes import them as well.
    foreign: ClassVar[set[str]] = set()

    def __init__(self, kind: str, *where: str) -> None:
        self.kind, self.where = kind, where
        self._entries: dict[str, Entry] = {}

    def __call__(self, name: str, **facts: Any) -> Callable[[Function], Function]:
        """Register the decorated function under ``name``.

        Raises ParameterError if another function has this name.
        """

        def register(function: Function) -> Function:
            known = self._entries.get(name)
            mine = (function.__module__, function.__qualname__)
            if known and (known.function.__module__, known.function.__qualname__) != mine:
                raise ParameterError(f"{self.kind}={name!r} is registered by {known.function.__module__}")
            self._entries[name] = Entry(name, function, facts)
            if mine[0].partition(".")[0] not in ("filterwise", "__main__"):
                Registry.foreign.add(mine[0])
            return function

        return register

    def get(self, name: str) -> Entry:
        """The entry of a name.

        Raises ParameterError if there is none; the near miss is named.
        """
        if name not in self._entries:
            check_choice(self.kind, name, self.names())
        return self._entries[name]

    def names(self) -> tuple[str, ...]:
        """All names, in the order of registration; imports the modules that may register."""
        for pattern in self.where:
            for module in _modules(pattern):
                importlib.import_module(module)
        return tuple(self._entries)


def _modules(pattern: str) -> Iterator[str]:
    """The modules that a pattern names and that exist.

    >>> "filterwise.models.lenet" in list(_modules("filterwise.models.*"))
    True
    """
    package, star, rest = pattern.partition(".*")
    if not star:
        if importlib.util.find_spec(pattern) is not None:
            yield pattern
        return
    try:
        path = importlib.import_module(package).__path__
    except ModuleNotFoundError as error:
        if error.name is None or not package.startswith(error.name):
            raise
        return
    for found in pkgutil.iter_modules(path):
        if rest:
            if found.ispkg:
                yield from _modules(f"{package}.{found.name}{rest}")
        elif not found.ispkg:
            yield f"{package}.{found.name}"
