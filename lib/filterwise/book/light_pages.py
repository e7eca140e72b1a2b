"""Pages without weight that no reader needs: pictures as files of their own, only the icons, scripts and
formulas' parts that are used.

A page in a notebook is one piece, so its figures lie inside it, each with a layout for a phone. In the book
they are files: a browser fetches the layout that it shows, and a figure of several chapters once.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterable
from pathlib import Path

PICTURES = "_images"
_INSIDE = re.compile(r"data:image/(svg\+xml|png);base64,([A-Za-z0-9+/=]{200,})")
_ENDINGS = {"svg+xml": "svg", "png": "png"}
_OURS = re.compile(r"figure-[0-9a-f]{16}\.(?:svg|png)")
_SOURCE_MAP = re.compile(r"\n?(?:/\*# sourceMappingURL=\S+ ?\*/|//# sourceMappingURL=\S+)\s*\Z")

# What the theme or its siblings put on every page, and what a page must hold to need it.
_ONLY_WITH = {
    r"<script type=\"text/x-mathjax-config\">.*?</script>\s*": 'class="math',
    r"<script>window\.MathJax = .*?</script>\s*": 'class="math',
    r"<script [^>]*MathJax\.js[^>]*></script>\s*": 'class="math',
    r"<script [^>]*(?:searchtools|language_data|searchindex)\.js[^>]*></script>\s*": 'id="search-results"',
    r"<script [^>]*design-tabs\.js[^>]*></script>\s*": "sd-tab",
    r"<link [^>]*sphinx-design[^>]*/>\s*": "sd-",
    r"<link [^>]*/mystnb\.[^>]*/>\s*": 'class="cell',
    r"<script [^>]*fontawesome\.js[^>]*></script>\s*": "only where nothing draws the icons' font",
}
# Sections of MathJax's combined script for other input, other output, and menus: a line each.
_FORMULAS_LEFT_OUT = (
    "jax/input/MathML/config.js", "jax/input/MathML/jax.js", "jax/output/NativeMML/config.js",
    "jax/output/NativeMML/jax.js", "jax/output/PreviewHTML/config.js", "jax/output/PreviewHTML/jax.js",
    "config/MMLorHTML.js", "extensions/mml2jax.js", "extensions/MathZoom.js", "extensions/MathMenu.js",
    "extensions/fast-preview.js", "extensions/a11y/accessibility-menu.js",
)  # fmt: skip
#: What MathJax is then told to use.
FORMULAS = {
    "jax": ["input/TeX", "output/HTML-CSS"],
    "extensions": ["tex2jax.js", "MathEvents.js", "toMathML.js", "AssistiveMML.js"],
}


def pictures_out(body: str, folder: Path, to_root: str) -> str:
    """Write the pictures that ``body`` holds into ``folder/_images``; its addresses then lead there.

    Parameters
    ----------
    body : HTML with ``data:`` addresses, in attributes or in the content of scripts.
    folder : where the book is written.
    to_root : from the page to that folder, such as ``"../"``.
    """

    def write(found: re.Match[str]) -> str:
        content = base64.b64decode(found[2])
        name = f"figure-{hashlib.sha256(content).hexdigest()[:16]}.{_ENDINGS[found[1]]}"
        path = folder / PICTURES / name
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return f"{to_root}{PICTURES}/{name}"

    return _INSIDE.sub(write, body)


def without_unused(page: str) -> str:
    """A whole page without the scripts and styles that nothing on it uses.

    >>> without_unused('<script defer src="../_static/mathjax/MathJax.js"></script><p>No formula.</p>')
    '<p>No formula.</p>'
    """
    for asset, need in _ONLY_WITH.items():
        without = re.sub(asset, "", page, flags=re.DOTALL)
        if need not in without:
            page = without
    return page


def lighten_assets(folder: Path, pages: Iterable[Path]) -> None:
    """Make what the built book in ``folder`` ships light; a second time changes nothing.

    Source maps and figures that no page shows any more are removed; of Font Awesome stay the icons that
    ``pages`` or scripts name, drawn by a font of a few glyphs.
    """
    static = folder / "_static"
    for path in static.rglob("*.map"):
        path.unlink()
    texts = [path.read_text(encoding="utf-8") for path in pages]
    shown = {name for text in texts for name in _OURS.findall(text)}
    for path in (folder / PICTURES).glob("figure-*"):
        if path.name not in shown:
            path.unlink()
    scripts = [path for path in static.rglob("*.js") if "mathjax" not in path.parts]
    for path in (*scripts, *static.rglob("*.css")):
        _edit(path, lambda text: _SOURCE_MAP.sub("\n", text))
    (static / "scripts" / "fontawesome.js").unlink(missing_ok=True)
    texts += [
        path.read_text(encoding="utf-8") for path in static.rglob("*.js") if "mathjax" not in path.parts
    ]
    used = {name for text in texts for name in re.findall(r"\bfa-([a-z0-9-]+)", text)}
    _subset_icons(static, used)


def lighten_formulas(script: str) -> str:
    """MathJax's combined script without what :data:`FORMULAS` does not use.

    The script's list of its sections and the sections themselves, one a line, are in the same order.
    """
    start, listed, rest = re.split(
        r"(MathJax\.Ajax\.Preloading\(\n.*?\n\);\n)", script, maxsplit=1, flags=re.S
    )
    names = re.findall(r'"\[MathJax\]/([^"]+)"', listed)
    sections = rest.split("MathJax.InputJax.TeX=", 1)[1]
    lines = ("MathJax.InputJax.TeX=" + sections).split("\n")
    bodies = [line for line in lines[: len(names)] if line]
    if len(bodies) < len(names) or "MathJax.Extension.AssistiveMML" not in bodies[len(names) - 2]:
        return script
    kept = [(name, body) for name, body in zip(names, bodies, strict=True) if name not in _FORMULAS_LEFT_OUT]
    end = re.findall(r"MathJax\.Ajax\.loadComplete\(\"\[MathJax\]/config/[^\"]+\"\);", rest)[-1:]
    listing = ",\n".join(f'  "[MathJax]/{name}"' for name, _ in kept)
    start = start.replace(
        "MathJax.Hub.Config({delayJaxRegistration: true});\n", ""
    )  # until one of two is chosen
    head = f"{start}MathJax.Ajax.Preloading(\n{listing}\n);\n"
    return "\n".join([head, *(body for _, body in kept), *end, ""])


def _edit(path: Path, change: Callable[[str], str]) -> None:
    before = path.read_text(encoding="utf-8")
    after = change(before)
    if after != before:
        path.write_text(after, encoding="utf-8")


def _subset_icons(static: Path, used: set[str]) -> None:
    """Keep the theme's rules for the icons ``used``, and a font with their glyphs."""
    fonts = static / "vendor" / "fontawesome" / "webfonts"
    style = static / "styles" / "pydata-sphinx-theme.css"
    source = fonts / "fa-solid-900.ttf"
    if not source.is_file() or not style.is_file():
        return
    points: set[int] = set()

    def rule(found: re.Match[str]) -> str:
        kept = [name for name in re.findall(r"\.fa-([\w-]+):before", found[1]) if name in used]
        if not kept:
            return ""
        sign = found[2]
        points.add(int(sign[1:], 16) if sign.startswith("\\") else ord(sign[0]))
        return ",".join(f".fa-{name}:before" for name in kept) + f'{{content:"{sign}"}}'

    text = style.read_text(encoding="utf-8")
    text = re.sub(r'((?:\.fa-[\w-]+:before,?)+)\{content:"([^"]+)"\}', rule, text)
    text = re.sub(r"@font-face\{[^}]*fa-(?:regular|brands)-400[^}]*\}", "", text)
    text = re.sub(r"src:url\([^)]*fa-solid-900\.[^}]*\}", f'src:url({_FONT}) format("woff")}}', text)
    style.write_text(text, encoding="utf-8")
    _write_font(source, points, fonts / "fa-solid-900.woff")
    for path in (*fonts.glob("*.ttf"), *fonts.glob("*.woff2")):
        path.unlink()


_FONT = "../vendor/fontawesome/webfonts/fa-solid-900.woff"


def _write_font(source: Path, points: set[int], target: Path) -> None:
    from fontTools import subset

    options = subset.Options(flavor="woff", layout_features=[], notdef_outline=True, hinting=False)
    font = subset.load_font(str(source), options)
    chosen = subset.Subsetter(options)
    chosen.populate(unicodes=points)
    chosen.subset(font)
    subset.save_font(font, str(target), options)
