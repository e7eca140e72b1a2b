"""The Sphinx extension of the book: MathJax from the installed package, and pages made from measured facts.

Directives
----------
``filterwise-ledger``
    The claims of all chapters with their verdicts, as :mod:`filterwise.claims` judges the committed records.
``filterwise-status``
    When, how long and on what each chapter was executed.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util.docutils import SphinxDirective

from filterwise.book import generated

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
    app.add_directive("filterwise-ledger", Ledger)
    app.add_directive("filterwise-status", Status)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


class _Generated(SphinxDirective):
    """Markdown made by a function, parsed as if it stood in the page."""

    def markdown(self) -> str:
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        parent = nodes.section()
        parent.document = self.state.document
        lines = StringList(self.markdown().splitlines(), source=self.get_source_info()[0])
        self.state.nested_parse(lines, self.content_offset, parent, match_titles=True)
        return parent.children


class Ledger(_Generated):
    """``filterwise-ledger``: every claim with the paper's number, ours and the verdict."""

    def markdown(self) -> str:
        for path in generated.ledger_sources():
            self.env.note_dependency(str(path))
        return generated.ledger()


class Status(_Generated):
    """``filterwise-status``: one row a chapter, from what was written down when it was executed."""

    def markdown(self) -> str:
        notebooks = [Path(self.env.doc2path(name)) for name in sorted(self.env.found_docs)]
        chapters = [path for path in notebooks if path.suffix == ".ipynb"]
        for path in chapters:
            self.env.note_dependency(str(path))
        return generated.status(chapters)


def _point_to_mathjax(app: Sphinx, config: Config) -> None:
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
