"""Plain values: what a run may be specified with, hashable in memory and canonical in JSON."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping

from filterwise.errors import ParameterError

Plain = bool | int | float | str | None | tuple["Plain", ...]
Options = tuple[tuple[str, Plain], ...]


def plain(parameter: str, value: object) -> Plain:
    """``value`` with lists turned into tuples, if it is made of plain Python values only.

    Raises ParameterError if it holds anything but bool, int, finite float, str, None, lists and tuples.

    >>> plain("stages", [[16, 2], [32, 2]])
    ((16, 2), (32, 2))
    """
    if isinstance(value, (list, tuple)):
        return tuple(plain(parameter, item) for item in value)
    if value is None or type(value) in (bool, int, str):
        return value  # type: ignore[return-value]
    if type(value) is float:
        if not math.isfinite(value):
            raise ParameterError(f"{parameter}={value!r} is not a finite number")
        return value
    raise ParameterError(
        f"{parameter}={value!r} is a {type(value).__name__}; a run is made of plain values only: "
        "bool, int, float, str, None, and lists of them"
    )


def options(parameter: str, given: Mapping[str, object] | Iterable[tuple[str, object]]) -> Options:
    """A mapping as a sorted tuple of pairs, so that it can be hashed.

    Raises ParameterError if a name is not a string, occurs twice, or a value is not plain.

    >>> options("model_options", {"plan": "L2", "fc_width": 64})
    (('fc_width', 64), ('plan', 'L2'))
    """
    if isinstance(given, (str, bytes)) or not isinstance(given, (Mapping, list, tuple)):
        raise ParameterError(f"{parameter}={given!r} must be a mapping of option names to plain values")
    pairs = list(given.items() if isinstance(given, Mapping) else given)
    names = [name for name, _ in pairs]
    for name in names:
        if not isinstance(name, str):
            raise ParameterError(f"{parameter} has the name {name!r}; names must be strings")
    if len(set(names)) < len(names):
        raise ParameterError(f"{parameter} gives one of {', '.join(map(repr, names))} twice")
    return tuple(sorted((name, plain(f"{parameter}[{name!r}]", value)) for name, value in pairs))


def canonical(value: object) -> str:
    """The one JSON text of a value: sorted names, no spaces, whole floats as integers.

    Values that compare equal in Python have the same text (``1.0`` and ``1``; ``True`` is not ``1`` here).

    >>> canonical({"b": [1.0, 0.1], "a": None})
    '{"a":null,"b":[1,0.1]}'
    """
    return json.dumps(
        _whole(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def _whole(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(name): _whole(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_whole(item) for item in value]
    if type(value) is float and value.is_integer():
        return int(value)
    return value


def digest(*texts: str) -> str:
    """Digest (32 hex digits) of texts, in this order.

    >>> digest("a", "b") == digest("ab", "")
    False
    """
    total = hashlib.blake2b(digest_size=16)
    for text in texts:
        encoded = text.encode()
        total.update(f"{len(encoded)}:".encode())
        total.update(encoded)
    return total.hexdigest()


Named = tuple[str, Options]


def named(parameter: str, given: object) -> Named | None:
    """A function by name with its plain options: ``"name"``, ``("name", {...})``; empty gives ``None``.

    Raises ParameterError for anything else.

    >>> named("edit", ("magnitude", {"keep": 0.5})), named("step", "")
    (('magnitude', (('keep', 0.5),)), None)
    """
    if given is None or given == "":
        return None
    if isinstance(given, str):
        return given, ()
    if isinstance(given, (tuple, list)) and len(given) == 2 and isinstance(given[0], str) and given[0]:
        return given[0], options(f"{parameter}[{given[0]!r}]", given[1])
    raise ParameterError(f"{parameter}={given!r} must be a name, or a name and its options")
