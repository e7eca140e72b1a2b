"""What links may lead to besides headings: numbered figures that a cell showed, and papers.

``[text](4-sfp.ipynb#fig-noise)`` and ``[text](#fig-noise)`` lead to a figure, and
``[Tzach et al. (2023)](../book/bibliography.md#tzach-2023-mechanism)`` to a paper; JupyterLab
follows the same links to the file. A link to what is not there is a warning, and warnings fail the build.
"""

from __future__ import annotations

import re

from docutils import nodes
from sphinx.application import Sphinx

_FIGURE = re.compile(r'<figure class="fw-figure"[^>]*? id="(fig-[a-z0-9-]+)" data-number="([^"]*)"')
_ENTRY = re.compile(r"^@\w+\{\s*([^,\s]+)", re.MULTILINE)


def setup(app: Sphinx) -> None:
    """Register with Sphinx."""
    app.connect("config-inited", _name_entries)
    app.connect("doctree-read", _note)


def _name_entries(app: Sphinx, config: object) -> None:
    app.config.bibtex_cite_id = "{key}"


def _note(app: Sphinx, doctree: nodes.document) -> None:
    """Tell MyST and Sphinx of the anchors of one page, as they know those of headings."""
    env, docname = app.env, app.env.docname
    found = {
        name: number or name
        for node in doctree.findall(nodes.raw)
        for name, number in _FIGURE.findall(node.astext())
    }
    standard = env.get_domain("std")
    for name, number in found.items():
        standard.anonlabels[name] = docname, name  # type: ignore[attr-defined]
        standard.labels[name] = docname, name, number  # type: ignore[attr-defined]
    if any(type(node).__name__ == "bibliography" for node in doctree.findall()):
        for path in app.config.bibtex_bibfiles:
            found |= {key: key for key in _ENTRY.findall((app.srcdir / path).read_text(encoding="utf-8"))}
    slugs = env.metadata[docname].setdefault("myst_slugs", {})
    for name, text in found.items():
        slugs.setdefault(name, (0, name, text))
