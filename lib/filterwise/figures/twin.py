"""A figure that reacts: live widgets where a kernel answers, a static twin where none does."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any


def kernel_answers() -> bool:
    """Whether widgets would respond here: in a Jupyter kernel, with ipywidgets, outside a build of the book.

    The environment variable ``FILTERWISE_STATIC=1`` says no; the book sets it for chapters that it executes.

    >>> kernel_answers()
    False
    """
    if os.environ.get("FILTERWISE_STATIC", "") not in ("", "0"):
        return False
    if importlib.util.find_spec("IPython") is None or importlib.util.find_spec("ipywidgets") is None:
        return False
    from IPython.core.getipython import get_ipython

    return hasattr(get_ipython(), "kernel")


class Twin:
    """Something to show as the last value of a cell, in one of two forms.

    Attributes
    ----------
    live : makes the widget; called only where a kernel answers.
    html : makes the twin, HTML that needs neither kernel nor connection.

    >>> Twin(lambda: None, lambda: "<p>drawn once</p>").html()
    '<p>drawn once</p>'
    """

    def __init__(self, live: Callable[[], Any], html: Callable[[], str]) -> None:
        self.live = live
        self.html = html

    def _ipython_display_(self) -> None:
        from IPython.display import HTML, display

        display(self.live() if kernel_answers() else HTML(self.html()))


def show(live: Callable[[], Any], twin: Callable[[], str]) -> Twin:
    """Pair a live widget with its static twin; the value of a cell shows the one that works there.

    Parameters
    ----------
    live : makes an ipywidgets widget.
    twin : makes HTML with everything it needs inside.

    >>> show(lambda: None, lambda: "<p>the same numbers, drawn once</p>").html()
    '<p>the same numbers, drawn once</p>'
    """
    return Twin(live, twin)


def page_html(
    kind: str, content: Mapping[str, Any], package: str = "filterwise.figures", matrices: bool = False
) -> str:
    """A twin as one piece of HTML: markup, style, script and content; it asks for nothing else.

    Parameters
    ----------
    kind : name of the files ``static/<kind>.html``, ``.css``, ``.js`` of ``package``; the script defines
        ``window.filterwise<Kind>`` with ``start(name, content)`` and may use ``window.filterwisePixels``; the
        style adds to that of ``controls.css``, with ``--fw-accent`` for the colour of controls.
    content : plain values.
    matrices : whether it shows label matrices; ``window.filterwiseMatrices`` and
        ``window.filterwiseInflate`` are then there as well.
    """
    text = json.dumps(content).replace("</", "<\\/")
    name = hashlib.sha256(text.encode()).hexdigest()[:12]
    static = resources.files(package) / "static"
    html, css, js = ((static / f"{kind}.{end}").read_text(encoding="utf-8") for end in ("html", "css", "js"))
    shared = resources.files("filterwise.figures") / "static"
    controls = (shared / "controls.css").read_text(encoding="utf-8")
    scripts = ["pixels.js", "inflate.js", "matrices.js"] if matrices else ["pixels.js"]
    js = "\n".join([*((shared / one).read_text(encoding="utf-8") for one in scripts), js])
    return (
        f'<div class="fw-twin fw-{kind}" data-fw-{kind}="{name}">\n<style>\n{controls}{css}</style>\n'
        f"{html.replace('ID', name)}</div>\n"
        f'<script>\n{js}\nwindow.filterwise{kind.title()}.start("{name}", {text});\n</script>\n'
    )
