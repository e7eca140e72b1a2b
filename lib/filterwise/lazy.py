"""Package ``__init__``s that import a module when one of its names is first used."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def attach(
    package: str, names: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """``__getattr__``, ``__dir__`` and ``__all__`` of a package whose names live in its modules.

    Parameters
    ----------
    package : its ``__name__``
    names : module of the package -> names that it defines

    >>> get, _, listed = attach("filterwise", {"errors": ["near_miss"]})
    >>> get("near_miss").__module__, listed
    ('filterwise.errors', ['near_miss'])
    """
    home = {name: module for module, defined in names.items() for name in defined}

    def get(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{package}.{home[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    return get, lambda: sorted([*vars(sys.modules[package]), *home]), sorted(home)
