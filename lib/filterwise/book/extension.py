"""The Sphinx extension of the book: local MathJax, numbered chapters, pages made from measured facts.

A page that holds one of these lines has it replaced, before it is parsed, by Markdown:

``<!-- filterwise:ledger -->``
    the claims of all chapters with their verdicts, as :mod:`filterwise.claims` judges the committed records.
``<!-- filterwise:status -->``
    when, how long and on what each chapter was executed.

In the side bar a chapter has the number of its file, ``chapters/4-sfp.ipynb`` the 4; its own title has none.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment

from filterwise.book import anchors, generated

# MathJax 2.7 with the one font that the package carries; nothing is asked of another host.
_MATHJAX = {
    "config": ["TeX-AMS-MML_HTMLorMML-full.js"],
    "showMathMenu": False,
    "messageStyle": "none",
    "tex2jax": {"processClass": "tex2jax_process|mathjax_process|math|output_area"},
    "HTML-CSS": {
        "availableFonts": [],
        "preferredFont": None,
        "imageFont": None,
        "webFont": "STIX-Web",
        "linebreaks": {"automatic": True, "width": "container"},
        # Its own source is the address about:blank, which a browser reports as a failed request.
        "styles": {"@font-face": {"font-family": "MathJax_Blank", "src": "local('MathJax_Blank')"}},
    },
    "menuSettings": {"assistiveMML": True},
}
# Menus in other languages, a renderer without its fonts in the package, and a speech engine never loaded.
_MATHJAX_LEFT_OUT = shutil.ignore_patterns(
    "localization", "SVG", "mathmaps", "mathjax-sre.js", "wgxpath.install.js"
)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx; chapters that Sphinx itself executes show the twins that need no kernel."""
    os.environ.setdefault("FILTERWISE_STATIC", "1")
    app.connect("config-inited", _point_to_mathjax)
    app.connect("build-finished", _copy_mathjax)
    app.connect("source-read", _fill_in)
    app.connect("env-updated", _number_chapters)
    anchors.setup(app)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def _fill_in(app: Sphinx, docname: str, source: list[str]) -> None:
    """Replace the markers of a page, and read the page again when what it shows has changed."""
    env = app.env
    for marker, (files, markdown) in _FILLED_IN.items():
        if f"<!-- filterwise:{marker} -->" in source[0]:
            found = files(env)
            for path in found:
                env.note_dependency(str(path))
            source[0] = source[0].replace(f"<!-- filterwise:{marker} -->", markdown(found))


def _chapters(env: BuildEnvironment) -> list[Path]:
    pages = [Path(env.doc2path(name)) for name in sorted(env.found_docs)]
    return [page for page in pages if page.suffix == ".ipynb"]


# Marker -> the files that the text depends on, and the text.
_FILLED_IN: dict[str, tuple[Callable[[BuildEnvironment], list[Path]], Callable[[list[Path]], str]]] = {
    "ledger": (lambda env: generated.ledger_sources(), lambda files: generated.ledger()),
    "status": (_chapters, generated.status),
}


def _number_chapters(app: Sphinx, env: BuildEnvironment) -> None:
    """Give the first entry of each chapter's table of contents, which side bars show, its file's number."""
    for name, contents in env.tocs.items():
        number = re.fullmatch(r"chapters/(\d+)-.*", name)
        if number:
            next(contents.findall(nodes.reference))["secnumber"] = (int(number[1]),)


def _point_to_mathjax(app: Sphinx, config: Config) -> None:
    config.html_secnumber_suffix = " "
    config.mathjax_path = "mathjax/MathJax.js"
    config.mathjax2_config = _MATHJAX


def _copy_mathjax(app: Sphinx, exception: Exception | None) -> None:
    if exception is not None or app.builder.format != "html":
        return
    import jupyter_server_mathjax

    source = Path(jupyter_server_mathjax.__file__).parent / "static"
    target = Path(app.outdir) / "_static" / "mathjax"
    if not (target / "MathJax.js").is_file():
        shutil.copytree(source, target, ignore=_MATHJAX_LEFT_OUT, dirs_exist_ok=True)
