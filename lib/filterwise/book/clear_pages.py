"""Repairs of what the theme and its siblings write, for readers who hear a page or use it by key.

Each is a pattern and what takes its place; a second time changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_BODY: tuple[tuple[str, str], ...] = (
    # The visible words are the name; another one would be read in their place.
    (r' aria-label="Toggle hidden content"', ""),
    # A head without words is a cell.
    (r'<th class="head"><p></p></th>', "<td></td>"),
    (r'<th class="head"></th>', "<td></td>"),
    # Entries are no list items, and their role is one that browsers have given up.
    (r'<div role="list" class="citation-list">', '<div class="citation-list">'),
    (r' role="doc-biblioentry"', ""),
)
# Parameters of a function, a line each: definitions of nothing, within the term that they belong to.
_PARAMETERS = re.compile(r'<dl>\n((?:<dd><em class="sig-param">.*?</dd>\n)+)</dl>', re.DOTALL)
_PAGE: tuple[tuple[str, str], ...] = (
    # Icons stand beside words or in buttons that have a name.
    (r'<i class="([^"]*\bfa-[^"]*)"(?! aria-hidden)', r'<i class="\1" aria-hidden="true"'),
    (r'(<button class="btn search-button-field[^>]*?) aria-label="Search"', r"\1"),
    (r'<summary>(?=<span class="toctree-toggle")', '<summary aria-label="Show the pages below">'),
    # Logo and search are in a landmark, as the lists of pages beside them.
    (
        r'<div id="pst-primary-sidebar"(?! role)',
        '<div id="pst-primary-sidebar" role="complementary" aria-label="Book"',
    ),
)


# The theme takes the focus from its buttons when they are used, so that a tooltip does not stay behind a
# pointer; who works by key would have to begin at the top of the page again. A key's click has no count.
_BLURRED, _BY_POINTER = "(()=>{t.blur()})", "(e=>{e.detail&&t.blur()})"


def clear_body(body: str) -> str:
    """The article of a page; tables that are regions of their own get names of their own.

    >>> clear_body('<div role="region" aria-label="table"></div><div role="region" aria-label="table"></div>')
    '<div role="region" aria-label="table 1"></div><div role="region" aria-label="table 2"></div>'
    """
    for pattern, instead in _BODY:
        body = re.sub(pattern, instead, body)
    body = _PARAMETERS.sub(
        lambda found: re.sub(r"<(/?)dd>", r"<\1span>", f'<span class="fw-parameters">\n{found[1]}</span>'),
        body,
    )
    return re.sub(r'aria-label="table"', _counter(), body)


def clear_page(page: str) -> str:
    """The whole page, with what the theme has put around the article."""
    for pattern, instead in _PAGE:
        page = re.sub(pattern, instead, page)
    return page


def clear_script(script: str) -> str:
    """The theme's script, whose buttons keep the focus when a key uses them.

    >>> clear_script('t.addEventListener("click",(()=>{t.blur()}),!0)')
    't.addEventListener("click",(e=>{e.detail&&t.blur()}),!0)'
    """
    return script.replace(_BLURRED, _BY_POINTER)


def _counter() -> Callable[[re.Match[str]], str]:
    count = iter(range(1, 10**6))
    return lambda found: f'aria-label="table {next(count)}"'
