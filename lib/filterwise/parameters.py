"""Strict parameters for chapters: papermill takes any name and any type, a chapter does not.

A chapter's cell tagged ``parameters`` is the schema: typed, one parameter a line, one comment each.
``filterwise run`` checks against it before a kernel starts (:func:`read`, :func:`check_values`). Within the
chapter the first code cell after it calls :func:`check` with ``globals()``, so that plain papermill fails
there with the same message.
"""

from __future__ import annotations

import ast
import inspect
import io
import json
import re
import tokenize
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filterwise.errors import ParameterError, check_at_least, check_choice

#: The scales of an experiment: toy, narrow networks, full width for a tenth of the epochs, the papers' own.
PROFILES = ("quick", "cifar", "short", "paper")
#: Whether runs of one network train together: where it was timed to be faster, never, or always.
TOGETHER = ("auto", "never", "always")
_LARGEST_SEED = 2**32 - 1
_DEVICES = ("auto", "cpu", "cuda", "cuda:1", "mps")
_SCALARS: dict[str, type | None] = {"int": int, "float": float, "str": str, "bool": bool, "None": None}
# The line that papermill puts above the values it was given.
_INJECTED = "# Parameters"


@dataclass(frozen=True)
class Parameter:
    """One line of a parameter cell: ``seed: int = 0  # of weights, order and augmentation``."""

    name: str
    type: str
    default: Any
    comment: str = ""


def parse(source: str, where: str = "the parameter cell") -> dict[str, Parameter]:
    """The parameters of a cell's source, in order.

    Raises
    ------
    ParameterError
        If a line is anything but ``name: type = value`` with a literal value of a type that is known.

    >>> parse("seed: int = 0  # of everything drawn")["seed"]
    Parameter(name='seed', type='int', default=0, comment='of everything drawn')
    """
    found: dict[str, Parameter] = {}
    statements = _statements(source, where)
    comments = dict(_comments(source))
    for node in statements:
        line = ast.get_source_segment(source, node) or ""
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name) or node.value is None:
            raise ParameterError(
                f"{where}, line {node.lineno}: {line!r} is not of the form 'name: type = value'"
            )
        try:
            default = ast.literal_eval(node.value)
        except ValueError:
            raise ParameterError(
                f"{where}, line {node.lineno}: the value of {line!r} is not a literal"
            ) from None
        name = node.target.id
        parameter = Parameter(
            name, ast.unparse(node.annotation), default, comments.get(node.end_lineno or 0, "")
        )
        _check_type(parameter, default)
        found[name] = parameter
    return found


def read(path: str | Path) -> dict[str, Parameter]:
    """The parameters of a notebook.

    Raises
    ------
    ParameterError
        If there is no such notebook, it is not one, or it has no cell tagged ``parameters``.
    """
    path = Path(path)
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        tagged = [cell for cell in cells if "parameters" in cell.get("metadata", {}).get("tags", ())]
    except FileNotFoundError:
        raise ParameterError(f"there is no notebook {path}") from None
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise ParameterError(f"{path} is not a notebook: {error}") from None
    if len(tagged) != 1:
        raise ParameterError(f"{path} has {len(tagged)} cells tagged 'parameters'; it must have one")
    return parse("".join(tagged[0]["source"]), f"the parameter cell of {path.name}")


def from_text(parameter: Parameter, text: str) -> Any:
    """A value from the command line's text, by the parameter's type.

    Raises
    ------
    ParameterError
        If the text is not a value of that type.

    >>> from_text(Parameter("width", "float", 1.0), "1e-3")
    0.001
    >>> from_text(Parameter("name", "str", ""), "007")
    '007'
    >>> from_text(Parameter("seed", "int", 0), "1.5")
    Traceback (most recent call last):
    filterwise.errors.ParameterError: seed='1.5' is not an int
    """
    words = {"true": True, "false": False}
    if parameter.type == "str":
        return text
    try:
        if parameter.type in ("int", "float"):
            return int(text) if parameter.type == "int" else float(text)
        if parameter.type == "bool":
            return words[text.lower()]
        value = None if text in ("None", "null") else ast.literal_eval(text)
    except (ValueError, KeyError, SyntaxError):
        hint = "; write true or false" if parameter.type == "bool" else ""
        raise ParameterError(f"{parameter.name}={text!r} is not {_a(parameter.type)}{hint}") from None
    return (
        list(value) if isinstance(value, tuple) else value
    )  # papermill writes lists; tuples are checked alike


def check_values(schema: Mapping[str, Parameter], values: Mapping[str, Any]) -> None:
    """Refuse names that the chapter does not have, values of another type, and values that cannot be.

    Raises
    ------
    ParameterError
        Names the parameter, its value and the choices; an unknown name or choice with the near miss.

    >>> schema = parse('profile: str = "quick"\\nseed: int = 0')
    >>> check_values(schema, {"seedz": 1})
    Traceback (most recent call last):
    filterwise.errors.ParameterError: parameter='seedz' is not known; choose from 'profile', 'seed'; did you
    mean 'seed'?
    >>> check_values(schema, {"profile": "papr"})
    Traceback (most recent call last):
    filterwise.errors.ParameterError: profile='papr' is not known; ...; did you mean 'paper'?
    """
    for name in values:
        check_choice("parameter", name, schema)
    for name, value in values.items():
        _check_type(schema[name], value)
        _check_meaning(name, value)


def check(namespace: Mapping[str, Any]) -> None:
    """Check a running notebook's parameters; its first code cell calls this with ``globals()``.

    The schema is the executed parameter cell. What papermill injected is seen in the cell that it adds, which
    IPython keeps in ``In`` like every executed cell; names that the notebook defines later are no concern, so
    the cell can be run again at any time.

    Raises
    ------
    ParameterError
        As :func:`check_values`.
    """
    sources = [source for source in namespace.get("In", ()) if isinstance(source, str)]
    schema = _declared(sources) or _annotated(namespace)
    if "profile" not in schema:
        raise ParameterError("parameters: the notebook has not run a cell that declares 'profile: str = ...'")
    values = {name: namespace[name] for name in schema if name in namespace}
    for source in sources:
        if source.startswith(_INJECTED):
            given = {name: namespace.get(name) for name in _assigned(source)}
            values = {**given, **values}
    check_values(schema, values)


def _declared(sources: list[str]) -> dict[str, Parameter]:
    # the last one run counts: the cell may have been edited
    for source in reversed(sources):
        if re.search(r"^profile\s*:", source, flags=re.MULTILINE):
            return parse(source)
    return {}


def _annotated(namespace: Mapping[str, Any]) -> dict[str, Parameter]:
    """The schema where cells are run without history, as nbval does: from the annotations alone."""
    found = {}
    for name, annotation in namespace.get("__annotations__", {}).items():
        text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
        found[name] = Parameter(name, text, namespace.get(name))
    return found


def _assigned(source: str) -> list[str]:
    targets = [
        node.targets[0] for node in _statements(source, "the injected cell") if isinstance(node, ast.Assign)
    ]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _statements(source: str, where: str) -> list[ast.stmt]:
    try:
        return ast.parse(source).body
    except SyntaxError as error:
        raise ParameterError(f"{where}, line {error.lineno}: {error.msg}") from None


def _comments(source: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string.lstrip("# ").rstrip()


def _check_type(parameter: Parameter, value: Any) -> None:
    if not _fits(ast.parse(parameter.type, mode="eval").body, value, parameter):
        message = f"{parameter.name}={value!r} is {_a(type(value).__name__)}; it must be {_a(parameter.type)}"
        if isinstance(value, str) and re.fullmatch(r"[+-]?\d+[eE][+-]?\d+", value):
            message += f"; YAML reads {value} as text, write {float(value):.1e}"
        elif parameter.type == "str" and type(value) in (int, float, bool):
            message += "; papermill takes text as it is with -r instead of -p"
        raise ParameterError(message)


def _fits(node: ast.expr, value: Any, parameter: Parameter) -> bool:
    """Whether a value is of an annotated type; an int will do for a float, a bool for neither."""
    if isinstance(node, ast.Constant) and node.value is None:
        return value is None
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _fits(node.left, value, parameter) or _fits(node.right, value, parameter)
    if isinstance(node, ast.Name) and node.id in _SCALARS:
        kind = _SCALARS[node.id]
        return type(value) is kind or (kind is float and type(value) is int)
    if (
        isinstance(node, ast.Subscript)
        and isinstance(node.value, ast.Name)
        and node.value.id in ("list", "tuple")
    ):
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        endless = node.value.id == "list" or (len(inner) == 2 and ast.unparse(inner[1]) == "...")
        # papermill writes tuples as lists
        if not isinstance(value, (list, tuple)) or (not endless and len(value) != len(inner)):
            return False
        return all(_fits(inner[0 if endless else place], item, parameter) for place, item in enumerate(value))
    raise ParameterError(
        f"{parameter.name}: the type {parameter.type!r} is not known; use int, float, str, bool, "
        "list[...] or tuple[...] of them, and | None"
    )


def _check_meaning(name: str, value: Any) -> None:
    """The names that mean the same in every chapter have values that can be."""
    if name == "profile":
        check_choice(name, value, PROFILES)
    elif name in ("seed", "seeds"):
        check_at_least(name, value, 0 if name == "seed" else 1)
        if value > _LARGEST_SEED:
            raise ParameterError(f"{name}={value!r} is too large; it must be at most {_LARGEST_SEED}")
    elif name == "device":
        if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", value):
            check_choice(name, value, _DEVICES)
    elif name == "data_root":
        if value and not Path(value).expanduser().is_dir():
            raise ParameterError(f"data_root={value!r} is not a folder; leave it empty for embedded data")
    elif name == "data" and isinstance(value, str):
        from filterwise import data

        check_choice(name, value, data.names())


def _a(kind: str) -> str:
    return kind if kind == "None" else f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"
