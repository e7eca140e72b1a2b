"""The book's reference of the library: a page a sub-package, made from ``__all__`` and the docstrings.

A page has the line ``<!-- filterwise:api-measure -->`` where the names of ``filterwise.measure`` belong: a
list of all of them, then module by module what autodoc makes of their docstrings.
"""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from docutils import nodes
from numpy.typing import ArrayLike
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.typing import stringify_annotation

import filterwise
from filterwise import errors
from filterwise.book.docstrings import for_napoleon

#: The sub-packages that have a page; chapters are what ``papers`` has.
PACKAGES = tuple(name for name in filterwise.__all__ if name != "papers")
_LONGEST_VALUE = 400  # characters


def connect(app: Sphinx) -> None:
    """Let autodoc and napoleon read this library's docstrings, and links find its public names."""
    app.connect("autodoc-process-docstring", _docstring, priority=400)  # napoleon comes at 500
    app.connect("autodoc-process-signature", _signature)
    app.connect("autodoc-skip-member", _skip)
    app.connect("missing-reference", _resolve)


def public(package: str) -> dict[str, str]:
    """Name -> the module that defines it, of a sub-package's ``__all__``, module by module.

    >>> public("data")["load"]
    'filterwise.data.sources'
    """
    found = importlib.import_module(f"filterwise.{package}")
    homes = inspect.getclosurevars(found.__getattr__).nonlocals["home"]
    return {name: f"filterwise.{package}.{module}" for name, module in homes.items()}


def value(package: str, name: str) -> Any:
    """What a public name stands for, whatever a module of the same name has become meanwhile."""
    return getattr(importlib.import_module(public(package)[name]), name)


def sources(package: str) -> list[Path]:
    """The files that a package's page is made from."""
    modules = {importlib.import_module(module) for module in public(package).values()}
    return sorted(Path(module.__file__) for module in modules if module.__file__)


def page(package: str) -> str:
    """A package's names as MyST markdown: all in a list, then a section a module."""
    names = public(package)
    lines = ["## All names", ""]
    listed = sorted(names, key=str.lower)
    lines += [f"- {{py:obj}}`~filterwise.{package}.{one}`: {_first(package, one)}" for one in listed]
    for module in dict.fromkeys(names.values()):
        found = importlib.import_module(module)
        own = [name for name, home in names.items() if home == module]
        title = module.rpartition(".")[2].replace("_", " ").capitalize()
        lines += ["", f"## {title}", "", "```{eval-rst}", f".. currentmodule:: filterwise.{package}", ""]
        lines += [_sentence(inspect.getdoc(found) or ""), ""]
        for name in own:
            lines += [*_directive(package, name, found), ""]
        lines += ["```"]
    return "\n".join(lines) + "\n"


def _directive(package: str, name: str, module: ModuleType) -> Iterator[str]:
    """What shows one name: autodoc's directive, or for a constant its value and the comment above it."""
    path, thing = f"filterwise.{package}.{name}", value(package, name)
    if inspect.isclass(thing):
        yield f".. auto{'exception' if issubclass(thing, BaseException) else 'class'}:: {path}"
        yield "   :members:"
        foreign = [base for base in thing.__mro__ if not base.__module__.startswith("filterwise")]
        yield f"   :inherited-members: {', '.join(base.__name__ for base in foreign)}"
        return
    if inspect.isroutine(thing):
        yield f".. autofunction:: {path}"
        return
    yield f".. py:data:: {name}"
    written = _written(module).get(name, "")
    if 0 < len(written) <= _LONGEST_VALUE:
        yield f"   :value: {written}"
    yield ""
    yield from (f"   {line}".rstrip() for line in for_napoleon(comment(module, name)))


def _written(module: ModuleType) -> dict[str, str]:
    """Constants of a module as its source has them."""
    found: dict[str, str] = {}
    for node in ast.parse(inspect.getsource(module)).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        for target in targets:
            if isinstance(target, ast.Name) and isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value:
                found[target.id] = ast.unparse(node.value)
    return found


def comment(module: ModuleType, name: str) -> list[str]:
    """The lines of the comment ``#:`` above a constant."""
    from sphinx.pycode import ModuleAnalyzer

    analyzer = ModuleAnalyzer.for_module(module.__name__)
    analyzer.analyze()
    return analyzer.attr_docs.get(("", name), [])


def summary(package: str, name: str) -> str:
    """The first sentence of a public name's docstring or comment; empty where there is none."""
    thing = value(package, name)
    if inspect.isclass(thing) or inspect.isroutine(thing):
        return _sentence(inspect.getdoc(thing) or "")
    module = importlib.import_module(public(package)[name])
    return _sentence("\n".join(comment(module, name)))


def example(package: str, name: str) -> bool:
    """Whether a public name's docstring or comment shows it at work; for a class a method's may."""
    thing = value(package, name)
    if inspect.isclass(thing):
        members = [one for base in thing.__mro__ for one in vars(base).values()
                   if base.__module__.startswith("filterwise")]  # fmt: skip
        docs = [getattr(one, "__doc__", "") or "" for one in (thing, *members)]
    elif inspect.isroutine(thing):
        docs = [inspect.getdoc(thing) or ""]
    else:
        module = importlib.import_module(public(package)[name])
        docs = ["\n".join(comment(module, name))]
    return any(">>>" in text for text in docs)


def _sentence(text: str) -> str:
    """The first sentence of a text, which may run over lines."""
    paragraph = " ".join(text.split("\n\n")[0].split())
    return re.split(r"(?<=\.)\s(?=[A-Z`:])", paragraph)[0]


def _first(package: str, name: str) -> str:
    """A summary as Markdown: roles and backticks become code."""
    text = re.sub(r":\w+:`([^`]+)`", r"`\1`", summary(package, name)).replace("``", "`")
    text = re.sub(r":math:`([^`]+)`", r"`\1`", text)
    return re.sub(r"(?<!`)([*_<\[])(?![^`]*`(?:[^`]*`[^`]*`)*[^`]*$)", r"\\\1", text)


def _docstring(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    lines[:] = for_napoleon(lines)


def _skip(app: Sphinx, what: str, name: str, thing: Any, skip: bool, options: Any) -> bool | None:
    """Leave out what a foreign base class writes into ours."""
    home = getattr(thing.fget if isinstance(thing, property) else thing, "__module__", None) or "filterwise"
    return None if home.startswith("filterwise") else True


def _signature(
    app: Sphinx, what: str, name: str, thing: Any, options: Any, signature: str | None, answer: str | None
) -> tuple[str | None, str | None] | None:
    """A default that is a constant of the module, such as a recipe, by its name; not its forty numbers."""
    if not signature:
        return None
    module = inspect.getmodule(thing)
    for constant, held in vars(module).items() if module else ():
        if constant.isupper() and len(repr(held)) > 40:
            signature = signature.replace(repr(held), constant)
    signature = signature.replace(stringify_annotation(ArrayLike, "smart"), "ArrayLike")
    signature = re.sub(r"Recipe\(epochs=[^()]*(?:\([^()]*\)[^()]*)*\)", "Recipe(...)", signature)
    return signature.replace("<factory>", "..."), answer


@functools.cache
def _homes() -> dict[str, str]:
    """Every way in which a docstring or a type may call a public name -> its place in the reference."""
    found: dict[str, str] = {}
    for package in PACKAGES:
        for name, module in public(package).items():
            found[f"{module}.{name}"] = f"filterwise.{package}.{name}"
            found.setdefault(name, f"filterwise.{package}.{name}")
    for name, thing in vars(errors).items():
        if inspect.isclass(thing):
            found[name] = f"filterwise.errors.{name}"
    return found


def _resolve(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, contents: nodes.TextElement
) -> nodes.Element | None:
    """A link to a public name by the module that defines it; what is not public is shown as code.

    Only a name that begins with ``filterwise`` and does not exist is left to Sphinx, which warns.
    """
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"].removesuffix("()")
    place = _homes().get(target)
    objects = env.domains["py"].objects
    if place in objects:
        entry = objects[place]
        uri = app.builder.get_relative_uri(node["refdoc"], entry.docname)
        return nodes.reference("", "", contents, internal=True, refuri=f"{uri}#{entry.node_id}")
    return contents if _exists(target) else None


def _exists(target: str) -> bool:
    """False for a dotted name of this library that leads nowhere."""
    parts = target.split(".")
    if parts[0] != "filterwise":
        return True
    for cut in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:cut]))
        except ImportError:
            continue
        for part in parts[cut:]:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False
