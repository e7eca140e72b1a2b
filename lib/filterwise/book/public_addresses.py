"""Where the repository and the book stand, by one setting of ``_config.yml`` each; both may be empty.

``repository: url`` puts buttons on the pages: Binder with the chapter opened, the source, an edit, a
question. Without it there is none, as it would lead nowhere. ``html: baseurl``, where the pages will stand,
makes the addresses whole that links elsewhere need.

The buttons are plain links: nothing is asked of another host before one is chosen.
"""

from __future__ import annotations

import re
from typing import Any

#: What Jupyter Book fills in where ``repository`` is left out.
_NOT_OURS = "https://github.com/executablebooks/jupyter-book"
_SOURCE_BUTTONS = ("use_repository_button", "use_edit_page_button", "use_issues_button")
# The icons' font of the book has no brands.
_BRAND = re.compile(r'class="fab fa-(?:github|gitlab|bitbucket)"')


def set_buttons(options: dict[str, Any]) -> None:
    """Give the theme's options the buttons that the repository's address allows, or none.

    Parameters
    ----------
    options : ``html_theme_options``, which is changed; ``launch_buttons`` says where chapters are launched.

    >>> options = {"repository_url": "", "launch_buttons": {"binderhub_url": "https://mybinder.org"}}
    >>> set_buttons(options)
    >>> options["launch_buttons"], options["use_edit_page_button"]
    ({}, False)
    """
    known = options.get("repository_url") not in (None, "", _NOT_OURS)
    if not known:
        options["repository_url"], options["launch_buttons"] = "", {}
    options.update(dict.fromkeys(_SOURCE_BUTTONS, known))


def without_brands(page: str) -> str:
    """A page whose buttons show an icon that the book's font has.

    >>> without_brands('<i class="fab fa-github"></i>')
    '<i class="fas fa-code-branch"></i>'
    """
    return _BRAND.sub('class="fas fa-code-branch"', page)


def whole(base: str, place: str) -> str:
    """Address of a file of the book; empty where it is not said where the book stands.

    >>> whole("https://example.org/book", "chapters/4-sfp.html"), whole("", "index.html")
    ('https://example.org/book/chapters/4-sfp.html', '')
    """
    return f"{base.rstrip('/')}/{place}" if base else ""
