"""Pages are light: a budget of bytes, no source maps, the icons that are used and no others."""

import re
from pathlib import Path
from typing import Any

import pytest
from test_in_chromium import NAMES, visit
from weight_of_pages import BUDGET, files_of

from filterwise.book.assembly import Built
from filterwise.book.light_pages import lighten_formulas, pictures_out, without_unused

FIGURE = "data:image/svg+xml;base64," + "QUJD" * 60


@pytest.mark.browser
@pytest.mark.parametrize("name", ["search", *NAMES])
def test_a_page_stays_in_its_budget(chromium: Any, book: Built, name: str) -> None:
    files = files_of(visit(chromium, book, name))
    heaviest = sorted(files.items(), key=lambda item: -item[1])[:5]
    assert sum(files.values()) < BUDGET, [(path.name, size) for path, size in heaviest]


@pytest.mark.browser
def test_icons_are_drawn_by_a_font_that_has_them_all(chromium: Any, book: Built) -> None:
    visit(chromium, book, NAMES[0])
    missing = chromium.execute_script(
        "const signs = [...document.querySelectorAll('i[class*=fa-]')].map((icon) =>"
        " getComputedStyle(icon, '::before').content.replaceAll('\"', ''));"
        "return [signs.length, signs.filter((sign) => sign === 'none' || !sign), document.fonts.check("
        "'900 16px \"Font Awesome 6 Free\"', signs.join(''))]"
    )
    assert missing[0] > 5
    assert missing[1:] == [[], True]


def test_no_source_map_is_shipped_and_no_figure_that_nothing_shows(book: Built) -> None:
    folder = book.index.parent
    assert list(folder.rglob("*.map")) == []
    named = [
        path.name
        for ending in ("*.js", "*.css")
        for path in (folder / "_static").rglob(ending)
        if "mathjax" not in path.parts and "sourceMappingURL" in path.read_text(encoding="utf-8")
    ]
    assert named == []
    kept = {path.name for path in (folder / "_images").glob("figure-*")}
    pages = "".join(path.read_text(encoding="utf-8") for path in folder.rglob("*.html"))
    assert kept
    assert kept == set(re.findall(r"figure-[0-9a-f]{16}\.\w+", pages))
    assert "data:image/svg+xml;base64" not in pages


def test_a_picture_becomes_one_file_wherever_it_stands(tmp_path: Path) -> None:
    body = f'<img src="{FIGURE}"><script>start({{"html": "<img src=\\"{FIGURE}\\">"}})</script>'
    out = pictures_out(body, tmp_path, "../")
    (file,) = (tmp_path / "_images").iterdir()
    assert file.read_bytes() == b"ABC" * 60
    assert out == body.replace(FIGURE, f"../_images/{file.name}")
    assert pictures_out(out, tmp_path, "../") == out


def test_what_a_page_uses_stays_on_it() -> None:
    formula = '<script defer src="../_static/mathjax/MathJax.js"></script>'
    search = '<script src="../searchindex.js"></script>'
    page = f'{formula}{search}<span class="math notranslate">x</span>'
    assert without_unused(page) == page.replace(search, "")
    assert without_unused(f'{search}<div id="search-results"></div>').startswith(search)


def test_formulas_keep_their_parts_in_order_and_others_go() -> None:
    import jupyter_server_mathjax

    folder = Path(jupyter_server_mathjax.__file__).parent / "static" / "config"
    whole = (folder / "TeX-AMS-MML_HTMLorMML-full.js").read_text(encoding="utf-8")
    light = lighten_formulas(whole)
    assert len(light) < 0.7 * len(whole)
    for part in ("jax/input/TeX/jax.js", "jax/output/HTML-CSS/jax.js", "extensions/TeX/AMSmath.js"):
        assert f'"[MathJax]/{part}"' in light
    assert "NativeMML" not in light.split("MathJax.InputJax.TeX=")[0]
    assert lighten_formulas(light) == light
