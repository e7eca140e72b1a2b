"""Digest of the source code that a result depends on, blind to comments, docstrings and layout."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
from collections.abc import Iterable
from pathlib import Path

#: What a trained network depends on.
TRAINING_CODE = ("filterwise.data", "filterwise.models", "filterwise.training")
#: What is then read off it.
MEASURING_CODE = ("filterwise.measure", "filterwise.experiments")

_WITH_DOCSTRING = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def normalised(source: str) -> str:
    """Text that is equal for two sources exactly when they parse to the same program, docstrings aside.

    ``ast.unparse`` and ``ast.dump`` write the same program differently in different versions of Python;
    records are made on several, so the tree is written here: node names, and the fields that are not empty.

    >>> normalised("def f(x):\\n  'Doubles.'\\n  return 2 * x  # twice") == normalised("def f(x): return 2*x")
    True
    >>> normalised("x = 1") == normalised("x = 2")
    False
    """
    return _write(ast.parse(source))


def _write(value: object) -> str:
    if isinstance(value, list):
        return "[" + ",".join(_write(item) for item in value) + "]"
    if not isinstance(value, ast.AST):
        return repr(value)
    parts = []
    for name, field in ast.iter_fields(value):
        if name == "body" and isinstance(value, _WITH_DOCSTRING) and _is_docstring(field):
            field = field[1:]
        # Fields that a newer Python adds are empty for code that an older one can read.
        if field is not None and field != [] and name != "kind":
            parts.append(f"{name}={_write(field)}")
    return f"{type(value).__name__}({','.join(parts)})"


def _is_docstring(body: list[ast.stmt]) -> bool:
    if not body or not isinstance(body[0], ast.Expr):
        return False
    return isinstance(body[0].value, ast.Constant) and isinstance(body[0].value.value, str)


def digest_of(folders: Iterable[Path]) -> str:
    """Digest (32 hex digits) of all Python files below ``folders``: their names and normalised programs."""
    total = hashlib.blake2b(digest_size=16)
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            total.update(f"{folder.name}/{path.relative_to(folder).as_posix()}\n".encode())
            total.update(normalised(path.read_text(encoding="utf-8")).encode())
            total.update(b"\n")
    return total.hexdigest()


@functools.cache
def code_digest(packages: tuple[str, ...] = TRAINING_CODE) -> str:
    """Digest of the source of ``packages``, worked out once a process.

    Packages that are not installed count as empty, so that a part of the library can be used alone.

    >>> len(code_digest())
    32
    """
    folders: list[Path] = []
    for package in packages:
        found = importlib.util.find_spec(package)
        if found is not None and found.submodule_search_locations:
            folders += [Path(location) for location in found.submodule_search_locations]
    return digest_of(folders)
