"""Digest of the source code that a result depends on: what a module reaches by its imports, and no more.

A new model or a new chapter leaves the keys of stored runs alone; an edit of what a run uses changes them.
Blind to comments, docstrings and layout.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib
import importlib.util
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

PACKAGE = __name__.partition(".")[0]
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


def reached(modules: Iterable[str]) -> list[str]:
    """The modules of this library that ``modules`` import, they themselves and all in between, sorted.

    Imports within functions count, those for type checkers alone do not. A package that is imported as a
    whole counts with all its modules; a name imported from a package, with the module that defines it.

    >>> "filterwise.errors" in reached(["filterwise.models.lenet"])
    True
    >>> any("vgg" in name for name in reached(["filterwise.models.lenet"]))
    False
    """
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module in found:
            continue
        found.add(module)
        path = _file(module)
        if path is not None:
            waiting += [name for name in _imports(path) if name not in found]
    return sorted(found)


def code_digest(*parts: str | Callable[..., Any]) -> str:
    """Digest (32 hex digits) of the programs of all that these modules, or functions' modules, reach.

    >>> len(code_digest("filterwise.models.lenet"))
    32
    """
    own = [part for part in parts if not isinstance(part, str) and _file(part.__module__) is None]
    modules = {part if isinstance(part, str) else part.__module__ for part in parts if part not in own}
    # a function typed into a notebook has no file; its own source stands for it
    typed = tuple(normalised(textwrap.dedent(inspect.getsource(function))) for function in own)
    return _digest(tuple(sorted(modules)), typed)


@functools.cache
def _digest(modules: tuple[str, ...], typed: tuple[str, ...]) -> str:
    total = hashlib.blake2b(digest_size=16)
    for module in reached(modules):
        path = _file(module)
        text = _program(path) if path is not None else ""
        total.update(f"{module}\n{text}\n".encode())
    for text in typed:
        total.update(f"{text}\n".encode())
    return total.hexdigest()


@functools.cache
def _program(path: Path) -> str:
    return normalised(path.read_text(encoding="utf-8"))


def _file(module: str) -> Path | None:
    loaded = sys.modules.get(module)
    name = getattr(loaded, "__file__", None)
    if name is None:
        try:
            spec = importlib.util.find_spec(module)
        except (ImportError, ValueError):
            return None
        name = spec.origin if spec is not None else None
    return Path(name) if name and Path(name).is_file() else None


@functools.cache
def _imports(path: Path) -> tuple[str, ...]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    unused = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.dump(block.test)
        for node in ast.walk(block)
    }
    found: list[str] = []
    for node in ast.walk(tree):
        if id(node) in unused:
            continue
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.partition(".")[0] == PACKAGE]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == PACKAGE:
            for alias in node.names:
                found += _defining(str(node.module), alias.name)
    return tuple(dict.fromkeys(found))


def _defining(module: str, name: str) -> Iterator[str]:
    """The modules that ``from module import name`` is about."""
    if importlib.util.find_spec(f"{module}.{name}") if _is_package(module) else False:
        yield from _whole(f"{module}.{name}")
        return
    if not _is_package(module):
        yield module
        return
    home = getattr(getattr(importlib.import_module(module), name), "__module__", "")
    yield from [home] if home.partition(".")[0] == PACKAGE else _whole(module)


def _is_package(module: str) -> bool:
    spec = importlib.util.find_spec(module)
    return spec is not None and spec.submodule_search_locations is not None


def _whole(module: str) -> Iterator[str]:
    """A module; of a package all its modules, but of the library itself only what it says, nothing."""
    yield module
    if module != PACKAGE and _is_package(module):
        path = _file(module)
        assert path is not None
        for each in sorted(path.parent.glob("*.py")):
            if each.stem != "__init__":
                yield f"{module}.{each.stem}"
