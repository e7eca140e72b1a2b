"""The Sphinx extension of the book: local MathJax, numbered chapters, pages made from measured facts.

A page that holds one of these lines has it replaced, before it is parsed, by Markdown:

``<!-- filterwise:ledger -->``
    the claims of all chapters with their verdicts, as :mod:`filterwise.claims` judges the committed records.
``<!-- filterwise:status -->``
    when, how long and on what each chapter was executed.
``<!-- filterwise:api-measure -->``
    the public names of a sub-package with their docstrings, see :mod:`filterwise.book.reference`.

In the side bar a chapter has the number of its file, ``chapters/4-sfp.ipynb`` the 4; its own title has none.

Besides headings, links may lead to numbered figures that a cell showed, and to papers:
``[text](4-sfp.ipynb#fig-noise)``, ``[text](#fig-noise)`` and
``[Tzach et al. (2023)](../book/bibliography.md#tzach-2023-mechanism)``; JupyterLab follows the same links to
the file. A link to what is not there is a warning, and warnings fail the build.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment

from filterwise.book import reference
from filterwise.files import data_folder

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
_FIGURE = re.compile(r'<figure class="fw-figure"[^>]*? id="(fig-[a-z0-9-]+)" data-number="([^"]*)"')
_ENTRY = re.compile(r"^@\w+\{\s*([^,\s]+)", re.MULTILINE)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx; chapters that Sphinx itself executes show the twins that need no kernel."""
    os.environ.setdefault("FILTERWISE_STATIC", "1")
    app.connect("config-inited", _configure)
    app.connect("build-finished", _copy_mathjax)
    app.connect("source-read", _fill_in)
    app.connect("env-updated", _number_chapters)
    app.connect("doctree-read", _note_anchors)
    reference.connect(app)
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


def status(chapters: Sequence[Path]) -> str:
    """A table of the executed chapters and what they ran on.

    Notebooks that :mod:`filterwise.book.executing` did not keep are listed as not timed.
    """
    if not chapters:
        return "There is no chapter in this book yet."
    rows = []
    for path in chapters:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        link = f"[](/{path.parent.name}/{path.name})"
        about = notebook["metadata"].get("filterwise")
        if about is None:
            rows.append((link, "", "executed by Jupyter Book, not timed", "", "", ""))
            continue
        date = about["date"][:16].replace("T", " ") + " UTC"
        seconds = f"{about['seconds']:.0f} s"
        versions = f"Python {about['python']}, torch {about['torch']}"
        rows.append((link, about.get("profile", ""), date, seconds, about["device"], versions))
    return _markdown_table(("Chapter", "Profile", "Executed", "Time", "Device", "Versions"), rows)


def _markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def ledger_sources() -> list[Path]:
    """The committed files that the ledger is computed from."""
    return sorted([*data_folder("claims").glob("*.yml"), *data_folder("records").glob("*/*.csv")])


def ledger() -> str:
    """Every claim with the paper's number, what was measured, and the verdict for each profile.

    The page that holds it has the title, so the ledger's own is left out.
    """
    from filterwise.claims import ledger_page
    from filterwise.papers.chapter import chapter_of, folders

    titles = {name: f"{name.split('-')[0]} {chapter_of(name).title}" for name in folders()}
    lines = ledger_page(titles=titles).splitlines()
    return "\n".join(line for line in lines if not line.startswith("# "))


_Filling = tuple[Callable[[BuildEnvironment], list[Path]], Callable[[list[Path]], str]]
# Marker -> the files that the text depends on, and the text.
_FILLED_IN: dict[str, _Filling] = {
    "ledger": (lambda env: ledger_sources(), lambda files: ledger()),
    "status": (_chapters, status),
}


def _reference_of(package: str) -> _Filling:
    return lambda env: reference.sources(package), lambda files: reference.page(package)


_FILLED_IN |= {f"api-{package}": _reference_of(package) for package in reference.PACKAGES}


def _number_chapters(app: Sphinx, env: BuildEnvironment) -> None:
    """Give the first entry of each chapter's table of contents, which side bars show, its file's number."""
    for name, contents in env.tocs.items():
        number = re.fullmatch(r"chapters/(\d+)-.*", name)
        if number:
            next(contents.findall(nodes.reference))["secnumber"] = (int(number[1]),)


def _note_anchors(app: Sphinx, doctree: nodes.document) -> None:
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


def _configure(app: Sphinx, config: Config) -> None:
    config.html_secnumber_suffix = " "
    config.bibtex_cite_id = "{key}"
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
