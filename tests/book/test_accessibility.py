"""Every page of the built book under axe-core, light and dark: nothing that it calls a violation."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from test_in_chromium import NAMES, visit

from filterwise.book.assembly import Built
from filterwise.book.clear_pages import clear_body, clear_page, clear_script

VERSION = "4.14.1"
RUN = (
    "const done = arguments[0]; axe.run(document, {resultTypes: ['violations']}).then((found) =>"
    " done(found.violations.map((one) => [one.impact, one.id, one.nodes.slice(0, 3).map((node) =>"
    " node.target.join(' '))])))"
)


@pytest.fixture(scope="module")
def axe(root: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The source of axe-core: the file that FILTERWISE_AXE names, or what npm brings, once."""
    given = os.environ.get("FILTERWISE_AXE", "")
    if given:
        return Path(given).read_text(encoding="utf-8")
    kept = root / "_build" / "axe"
    file = kept / "node_modules" / "axe-core" / "axe.min.js"
    if not file.is_file():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("needs axe-core: npm, or FILTERWISE_AXE=/path/to/axe.min.js")
        kept.mkdir(parents=True, exist_ok=True)
        command = [
            npm,
            "install",
            "--no-save",
            "--ignore-scripts",
            "--prefix",
            str(kept),
            f"axe-core@{VERSION}",
        ]
        try:
            subprocess.run(command, capture_output=True, check=True, timeout=60)
        except (subprocess.SubprocessError, OSError) as error:
            pytest.skip(f"needs axe-core, and npm did not bring it: {error}")
    return file.read_text(encoding="utf-8")


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.parametrize("name", ["search", *NAMES])
def test_no_page_violates_a_rule_in_either_theme(chromium: Any, book: Built, axe: str, name: str) -> None:
    visit(chromium, book, name)
    found = {}
    for theme in ("light", "dark"):
        chromium.execute_script(
            "document.documentElement.dataset.theme = document.documentElement.dataset.mode = arguments[0]",
            theme,
        )
        chromium.execute_script(axe)
        found[theme] = chromium.execute_async_script(RUN)
    assert found == {"light": [], "dark": []}


@pytest.mark.browser
@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith(".ipynb")])
def test_formulas_are_no_stops_of_the_tab_key_and_are_read_aloud(
    chromium: Any, book: Built, name: str
) -> None:
    visit(chromium, book, name)
    stops, formulas, spoken = chromium.execute_script(
        "const all = (what) => document.querySelectorAll(what).length;"
        'return [all(\'.MathJax[tabindex="0"], .MathJax_Display [tabindex="0"]\'),'
        " all('.bd-article .MathJax'), all('.bd-article .MJX_Assistive_MathML')]"
    )
    assert stops == 0
    assert formulas == spoken


def test_repairs_name_what_is_seen_and_change_nothing_twice() -> None:
    body = (
        '<summary aria-label="Toggle hidden content"><span>Show code</span></summary>'
        '<table><tr><th class="head"><p></p></th></tr></table><div role="region" aria-label="table"></div>'
    )
    mended = clear_body(body)
    assert 'aria-label="Toggle' not in mended
    assert "<td></td>" in mended
    assert 'aria-label="table 1"' in mended
    assert clear_body(mended) == mended
    signature = '<dl>\n<dd><em class="sig-param">x</em>, </dd>\n<dd><em class="sig-param">y</em></dd>\n</dl>'
    assert clear_body(signature).count("<span>") == 2
    assert "<dd>" not in clear_body(signature)
    page = '<div id="pst-primary-sidebar" class="bd-sidebar"><i class="fa-solid fa-bars"></i></div>'
    assert clear_page(clear_page(page)) == clear_page(page)
    assert 'role="complementary"' in clear_page(page)


def test_the_themes_script_still_has_what_is_mended() -> None:
    import sphinx_book_theme

    home = Path(sphinx_book_theme.__file__).parent / "theme" / "sphinx_book_theme" / "static" / "scripts"
    script = (home / "sphinx-book-theme.js").read_text(encoding="utf-8")
    mended = clear_script(script)
    assert mended != script
    assert clear_script(mended) == mended
    assert ".blur()}),!0)" in mended  # who clicks is not left with a tooltip
