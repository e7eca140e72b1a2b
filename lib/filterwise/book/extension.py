"""The Sphinx extension of the book: local MathJax, numbered chapters, light and clear pages.

Pages are filled with measured facts by :mod:`filterwise.book.filled_pages`, with the library's reference by
:mod:`filterwise.book.reference`, made light by
:mod:`filterwise.book.light_pages`, and mended for all readers by :mod:`filterwise.book.clear_pages`.

In the side bar a chapter has the number of its file, ``chapters/4-sfp.ipynb`` the 4; its own title has none.

Besides headings, links may lead to numbered figures that a cell showed, and to papers:
``[text](4-sfp.ipynb#fig-noise)``, ``[text](#fig-noise)`` and
``[Tzach et al. (2023)](../book/bibliography.md#tzach-2023-mechanism)``; JupyterLab follows the same links to
the file. A link to what is not there is a warning, and warnings fail the build.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment

from filterwise.book import reference
from filterwise.book.clear_pages import clear_body, clear_page, clear_script
from filterwise.book.filled_pages import fill_in
from filterwise.book.light_pages import (
    FORMULAS,
    lighten_assets,
    lighten_formulas,
    pictures_out,
    without_unused,
)
from filterwise.book.public_addresses import set_buttons, whole, without_brands
from filterwise.book.sharing import tags

# MathJax 2.7 with the one font that the package carries; nothing is asked of another host.
_FORMULAS_SCRIPT = "TeX-AMS-MML_HTMLorMML-full.js"
_MATHJAX = {
    "config": [_FORMULAS_SCRIPT],
    **FORMULAS,
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
    "menuSettings": {"assistiveMML": True, "inTabOrder": False},  # a formula does nothing when it is chosen
}
# Menus in other languages, a renderer without its fonts in the package, and a speech engine never loaded.
_MATHJAX_LEFT_OUT = shutil.ignore_patterns(
    "localization", "SVG", "mathmaps", "mathjax-sre.js", "wgxpath.install.js"
)
_THEME_SCRIPT = "scripts/sphinx-book-theme.js"
_PICTURE = "page.png"  # of the book, for links elsewhere
_FIGURE = re.compile(r'<figure class="fw-figure"[^>]*? id="(fig-[a-z0-9-]+)" data-number="([^"]*)"')
_ENTRY = re.compile(r"^@\w+\{\s*([^,\s]+)", re.MULTILINE)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx; chapters that Sphinx itself executes show the twins that need no kernel."""
    os.environ.setdefault("FILTERWISE_STATIC", "1")
    app.connect("config-inited", _configure)
    app.connect("html-page-context", _change_body)
    app.connect("build-finished", _copy_mathjax)
    app.connect("build-finished", _finish_pages)
    app.connect("builder-inited", _make_static_folder)
    app.connect("source-read", fill_in)
    app.connect("env-updated", _number_chapters)
    app.connect("doctree-read", _note_anchors)
    reference.connect(app)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


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
    set_buttons(config.html_theme_options)
    config.html_secnumber_suffix = " "
    config.bibtex_cite_id = "{key}"
    config.mathjax_path = "mathjax/MathJax.js"
    config.mathjax2_config = _MATHJAX
    static = Path(app.srcdir) / "book" / "_static"
    if (static / "logo.svg").is_file():
        config.html_favicon = "book/_static/favicon.svg"
        images = {"image_light": "book/_static/logo.svg", "image_dark": "book/_static/logo-dark.svg"}
        config.html_theme_options["logo"] = {**config.html_theme_options.get("logo", {}), **images}


def _make_static_folder(app: Sphinx) -> None:
    """The theme copies the logo even when a build has failed; without the folder it would become a file."""
    if app.builder.format == "html":
        (Path(app.outdir) / "_static").mkdir(parents=True, exist_ok=True)


def _copy_mathjax(app: Sphinx, exception: Exception | None) -> None:
    if exception is not None or app.builder.format != "html":
        return
    import jupyter_server_mathjax

    source = Path(jupyter_server_mathjax.__file__).parent / "static"
    target = Path(app.outdir) / "_static" / "mathjax"
    if not (target / "MathJax.js").is_file():
        shutil.copytree(source, target, ignore=_MATHJAX_LEFT_OUT, dirs_exist_ok=True)
    script = Path("config") / _FORMULAS_SCRIPT
    text = lighten_formulas((source / script).read_text(encoding="utf-8"))
    (target / script).write_text(text, encoding="utf-8")


def _change_body(app: Sphinx, name: str, template: str, context: dict[str, Any], doctree: object) -> None:
    if context.get("body"):
        to_root = "../" * name.count("/")
        context["body"] = clear_body(pictures_out(context["body"], Path(app.outdir), to_root))
        there = (Path(app.srcdir) / "book" / "_static" / _PICTURE).is_file()
        base = app.config.html_baseurl
        picture = whole(base, f"_static/{_PICTURE}") if there else ""
        address = whole(base, app.builder.get_target_uri(name))
        head = tags(context.get("title", ""), context["body"], app.config.project, picture, address)
        context["metatags"] = context.get("metatags", "") + head


def _finish_pages(app: Sphinx, exception: Exception | None) -> None:
    """Change what the theme writes around the articles, once all is written."""
    if exception is not None or app.builder.format != "html":
        return
    folder = Path(app.outdir)
    pages = [path for path in folder.rglob("*.html") if "_static" not in path.relative_to(folder).parts]
    for path in pages:
        before = path.read_text(encoding="utf-8")
        after = without_brands(clear_page(without_unused(before)))
        if after != before:
            path.write_text(after, encoding="utf-8")
    script = folder / "_static" / _THEME_SCRIPT
    if script.is_file():
        script.write_text(clear_script(script.read_text(encoding="utf-8")), encoding="utf-8")
    lighten_assets(folder, pages)
