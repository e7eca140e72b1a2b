"""The library's docstrings in the form that Sphinx's napoleon and its domain for Python read.

A docstring here says ``name : what it is`` where numpydoc has ``name : type``, since the types stand in the
signature, and ends with paragraphs that begin with "Returns" and "Raises".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

_SECTIONS = {"Parameters", "Attributes"}
_ENTRY = re.compile(r"(\*{0,2}\w+(?:, \*{0,2}\w+)*) : (.*)")
_ERROR = r"(?:[A-Z]\w+(?:Error|Missing|Diverged)|Paused)"
_LEAD = re.compile(rf"(Returns) (?=\S)|(Raises) (?={_ERROR}\b)")
_INSIDE = re.compile(rf"(?<=[.:]) Raises (?={_ERROR}\b)")
_NEXT_ERROR = re.compile(rf"; (?={_ERROR}\b)")
_NAMED = re.compile(rf"({_ERROR}(?:, {_ERROR})*)(?:[:,] |\s)?(.*)", re.DOTALL)


def for_napoleon(lines: Sequence[str]) -> list[str]:
    """A docstring of this library as reStructuredText that napoleon understands.

    Parameters
    ----------
    lines : of the docstring, without its indentation

    Returns the lines: entries of sections as numpydoc has them without types; answers and errors as fields.

    >>> for_napoleon(["Twice x.", "", "Returns a number.", "Raises ParameterError: x is no number."])
    ['Twice x.', '', ':returns: a number.', ':raises ParameterError: x is no number.', '']
    >>> for_napoleon(["Parameters", "----------", "x : a number", "", "More."])
    ['Parameters', '----------', 'x', '    a number', '', '', 'More.']
    """
    found: list[str] = []
    waiting = list(lines)
    while waiting:
        line = waiting.pop(0)
        if line in _SECTIONS and waiting and set(waiting[0]) == {"-"}:
            found += [line, waiting.pop(0), *_entries(waiting), "", ""]
        elif _LEAD.match(line):
            paragraph = [line]
            while waiting and waiting[0].strip() and not waiting[0].startswith(">>>"):
                paragraph.append(waiting.pop(0))
            if found and found[-1].strip() and not found[-1].startswith(":"):
                found.append("")
            found += [*_fields(paragraph), ""]
            if waiting and not waiting[0].strip():
                waiting.pop(0)
        else:
            found.append(line)
    return found


def _entries(waiting: list[str]) -> Iterator[str]:
    """The entries of a section, up to the first empty line, which is taken away as well."""
    while waiting:
        line = waiting.pop(0)
        if not line.strip():
            return
        entry = _ENTRY.fullmatch(line)
        yield from (entry[1], f"    {entry[2]}") if entry else (line,)


def _fields(paragraph: Sequence[str]) -> Iterator[str]:
    """A paragraph of answers and errors as fields, each on one line."""
    text = " ".join(line.strip() for line in paragraph)
    text = _INSIDE.sub("\nRaises ", text)
    text = re.sub(rf" Raises (?={_ERROR}\b)", "\nRaises ", text) if text.startswith("Returns") else text
    for part in text.split("\n"):
        word, _, rest = part.partition(" ")
        if word == "Returns":
            yield f":returns: {rest}"
            continue
        for one in _NEXT_ERROR.split(rest):
            named = _NAMED.match(one)
            assert named is not None  # each part begins with the name of an error
            yield f":raises {named[1]}: {named[2].strip().removeprefix('.')}".rstrip()
