"""Strict parameters for chapters: papermill takes any name and any type, a chapter does not.

A chapter's cell tagged ``parameters`` is the schema: typed, one parameter a line, one comment each, as
``papermill --help-notebook`` reads it. It is read here without papermill, which takes over a second to import
and passes over lines that it cannot read. A comment may state what the values can be: ``a | b | c`` at its
beginning, or a range, ``in [0, 1)``, ``at least 1``, ``above 0``; of a list, each value. A wrong value is
refused before a kernel starts, or under plain papermill by the chapter's first code cell, which calls
:func:`check` with ``globals()``.
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filterwise.errors import ParameterError, check_at_least, check_choice, refused

#: The scales of an experiment: toy, narrow networks, full width for a tenth of the epochs, the papers' own.
PROFILES = ("quick", "cifar", "short", "paper")
_LARGEST_SEED = 2**32 - 1
_SCALARS: dict[str, type] = {"int": int, "float": float, "str": str, "bool": bool}
_MOST_SEEDS = 1_000
_NUMBER = r"-?\d+(?:\.\d+)?"
_RANGE = re.compile(
    rf"\bin (?P<opens>[\[(])(?P<low>{_NUMBER}), (?P<high>{_NUMBER})(?P<closes>[\])])"
    rf"|\b(?P<bound>at least|above) (?P<least>{_NUMBER})"
)
#: Only what a comment begins with, and not where it goes on: "L3 | L2, or as in ..." has other choices.
_WORDS = re.compile(r"(\w+(?: \| \w+)+)(?=$|[,;](?! or ))")
_INJECTED = "# Parameters"  # the line that papermill puts above the values it was given


@dataclass(frozen=True)
class Parameter:
    """One line of a parameter cell: ``seed: int = 0  # of weights, order and augmentation``."""

    name: str
    type: str
    default: Any
    comment: str = ""


def parse(source: str, where: str = "the parameter cell") -> dict[str, Parameter]:
    """The parameters of a cell's source, in order.

    Raises ParameterError if a line is anything but ``name: type = value`` with a literal value of a type that
    is known.

    >>> parse("seed: int = 0  # of everything drawn")["seed"]
    Parameter(name='seed', type='int', default=0, comment='of everything drawn')
    """
    found: dict[str, Parameter] = {}
    lines = source.splitlines()
    try:
        statements = ast.parse(source).body
    except SyntaxError as error:
        raise ParameterError(f"{where}, line {error.lineno}: {error.msg}") from None
    for node in statements:
        at = f"{where}, line {node.lineno}: {ast.get_source_segment(source, node)!r}"
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name) or node.value is None:
            raise ParameterError(f"{at} is not of the form 'name: type = value'")
        try:
            default = ast.literal_eval(node.value)
        except ValueError:
            raise ParameterError(f"{at}: the value is not a literal") from None
        after = lines[(node.end_lineno or 1) - 1].encode()[node.end_col_offset or 0 :].decode()
        parameter = Parameter(node.target.id, ast.unparse(node.annotation), default, after.strip(" #"))
        _check_type(parameter, default)
        found[parameter.name] = parameter
    return found


def read(path: str | Path) -> dict[str, Parameter]:
    """The parameters of a notebook.

    Raises ParameterError if there is no such notebook, it is not one, or it has no cell tagged
    ``parameters``.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise ParameterError(f"{path} is not a notebook: it is not a regular file")
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        tagged = [cell for cell in cells if "parameters" in cell.get("metadata", {}).get("tags", ())]
    except FileNotFoundError:
        raise ParameterError(f"there is no notebook {path}") from None
    except (ValueError, KeyError, TypeError, AttributeError, OSError, RecursionError) as error:
        raise ParameterError(f"{path} is not a notebook: {error}") from None
    if len(tagged) != 1:
        raise ParameterError(f"{path} has {len(tagged)} cells tagged 'parameters'; it must have one")
    return parse("".join(tagged[0]["source"]), f"the parameter cell of {path.name}")


def from_texts(schema: Mapping[str, Parameter], given: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Values of the command line's texts, each read by its parameter's type, and checked.

    Raises ParameterError if a name is not known or given twice, a text is not of its type, or a value cannot
    be.

    >>> from_texts(parse("width: float = 1.0\\nname: str = ''"), [("width", "1e-3"), ("name", "007")])
    {'width': 0.001, 'name': '007'}
    """
    values: dict[str, Any] = {}
    for name, text in given:
        check_choice("parameter", name, schema)
        if name in values:
            raise ParameterError(f"parameter {name!r} is given twice")
        values[name] = _from_text(schema[name], text)
    check_values(schema, values)
    if values.get("data_root"):  # the kernel works in another folder
        values["data_root"] = str(Path(values["data_root"]).expanduser().resolve())
    return values


def _from_text(parameter: Parameter, text: str) -> Any:
    try:
        if parameter.type in ("str", "int", "float"):
            return _SCALARS[parameter.type](text)
        if parameter.type == "bool":
            return {"true": True, "false": False}[text.lower()]
        value = None if text in ("None", "null") else ast.literal_eval(text)
    except (ValueError, KeyError, SyntaxError):
        hint = "; write true or false" if parameter.type == "bool" else ""
        raise ParameterError(f"{parameter.name}={text!r} is not {_a(parameter.type)}{hint}") from None
    return (
        list(value) if isinstance(value, tuple) else value
    )  # papermill writes lists; tuples are checked alike


def check_values(schema: Mapping[str, Parameter], values: Mapping[str, Any]) -> None:
    """Refuse names that the chapter does not have, values of another type, and values that cannot be.

    Raises ParameterError: names the parameter, its value and the choices or the range that its comment
    states; an unknown name or choice with the near miss.

    >>> check_values(parse('profile: str = "quick"\\nseed: int = 0'), {"seedz": 1})
    Traceback (most recent call last):
    filterwise.errors.ParameterError: parameter='seedz' is not known; choose from 'profile', 'seed'; did you
    mean 'seed'?
    """
    for name, value in values.items():
        check_choice("parameter", name, schema)
        _check_type(schema[name], value)
        check_meaning(name, value)
        _check_said(schema[name], value)


def check(namespace: Mapping[str, Any]) -> None:
    """Check a running notebook's parameters; its first code cell calls this with ``globals()``.

    The schema is what the executed parameter cell left in ``__annotations__``, with or without a history of
    cells. What papermill was given is in the cell that it adds, which IPython keeps in ``In``; names that the
    notebook defines later are no concern, so the cell can be run again at any time.

    Raises ParameterError: as :func:`check_values`.
    """
    schema: dict[str, Parameter] = {}
    for name, annotation in namespace.get("__annotations__", {}).items():
        kind = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
        if re.fullmatch(r"(int|float|str|bool|list|tuple|None|[\[\], |.])+", kind) and name in namespace:
            schema[name] = Parameter(name, kind, namespace[name])
    if "profile" not in schema:
        raise ParameterError("parameters: the notebook has not run a cell that declares 'profile: str = ...'")
    values = {name: parameter.default for name, parameter in schema.items()}
    for source in namespace.get("In", ()):
        if str(source).startswith("profile: "):  # the parameter cell: its comments
            with contextlib.suppress(ParameterError):
                said = parse(source)
                schema |= {name: replace(schema[name], comment=said[name].comment) for name in said}
        if str(source).startswith(_INJECTED):
            for node in ast.walk(ast.parse(source)):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    values[node.id] = namespace.get(node.id)
    check_values(schema, values)


def _check_type(parameter: Parameter, value: Any) -> None:
    if not _fits(ast.parse(parameter.type, mode="eval").body, value, parameter):
        hint = ""
        if isinstance(value, str) and re.fullmatch(r"[+-]?\d+[eE][+-]?\d+", value):
            hint = f"; YAML reads {value} as text, write {float(value):.1e}"
        elif parameter.type == "str" and type(value) in (int, float, bool):
            hint = "; papermill takes text as it is with -r instead of -p"
        kinds = f"is {_a(type(value).__name__)}; it must be {_a(parameter.type)}"
        raise ParameterError(f"{parameter.name}={value!r} {kinds}{hint}")


def _fits(node: ast.expr, value: Any, parameter: Parameter) -> bool:
    """Whether a value is of an annotated type; an int will do for a float, a bool for neither."""
    match node:
        case ast.Constant(value=None):
            return value is None
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _fits(left, value, parameter) or _fits(right, value, parameter)
        case ast.Name(id=name) if name in _SCALARS:
            return type(value) is _SCALARS[name] or (name == "float" and type(value) is int)
        case ast.Subscript(value=ast.Name(id="list" | "tuple" as name), slice=inside):
            kinds = inside.elts if isinstance(inside, ast.Tuple) else [inside]
            if not isinstance(value, (list, tuple)):  # papermill writes tuples as lists
                return False
            if name == "list" or (len(kinds) == 2 and ast.unparse(kinds[1]) == "..."):
                kinds = [kinds[0]] * len(value)
            return len(kinds) == len(value) and all(
                _fits(kind, item, parameter) for kind, item in zip(kinds, value, strict=True)
            )
    raise ParameterError(
        f"{parameter.name}: the type {parameter.type!r} is not known; use int, float, str, bool, "
        "list[...] or tuple[...] of them, and | None"
    )


def check_meaning(name: str, value: Any) -> None:
    """Refuse values that cannot be, of the names that mean the same in every chapter and command.

    Raises ParameterError: of ``profile``, ``seed``, ``seeds``, ``device``, ``data_root`` and ``data``.
    """
    if name == "profile":
        check_choice(name, value, PROFILES)
    elif name in ("seed", "seeds"):
        check_at_least(name, value, 0 if name == "seed" else 1)
        most = _LARGEST_SEED if name == "seed" else _MOST_SEEDS
        if value > most:
            raise ParameterError(f"{name}={value!r} is too large; it must be at most {most}")
    elif name == "device" and not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", value):
        check_choice(name, value, ("auto", "cpu", "cuda", "cuda:1", "mps"))
    elif name == "data_root" and value and not Path(value).expanduser().is_dir():
        raise ParameterError(f"data_root={value!r} is not a folder; leave it empty for embedded data")
    elif name == "data" and isinstance(value, str):
        from filterwise import data

        check_choice(name, value, data.names())


def _check_said(parameter: Parameter, value: Any) -> None:
    """What the parameter's own comment says of its values; an empty text where it speaks of that."""
    words, said = _WORDS.match(parameter.comment), _RANGE.search(parameter.comment)
    if parameter.name in ("profile", "device"):
        return
    for one in value if isinstance(value, (list, tuple)) else [value]:
        if isinstance(one, str) and words and (one or "empty" not in parameter.comment):
            check_choice(parameter.name, one, words[1].split(" | "))
        elif type(one) in (int, float) and said:
            low, high = float(said["low"] or said["least"]), float(said["high"] or math.inf)
            above = one >= low if said["opens"] == "[" or said["bound"] == "at least" else one > low
            below = one <= high if said["closes"] == "]" else one < high
            if not (above and below):
                each = "it" if one is value else "each"
                raise refused(parameter.name, value, f"{each} must be {said[0]}")


def _a(kind: str) -> str:
    return kind if kind == "None" else f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"
