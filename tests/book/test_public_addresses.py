"""Buttons and whole addresses appear when it is said where repository and book stand, and not before."""

import re
from pathlib import Path

import pytest
import yaml
from pages_of_html import is_outside, parsed
from test_build import counted, small  # noqa: F401  fixtures: a small book, chapters that are not run

from filterwise.book.assembly import build

REPOSITORY = "https://github.com/someone/one-filter"
PAGES = "https://someone.example/one-filter/"


def outside(page: Path) -> list[str]:
    """The links of a page that leave the book, without those of the small book's one reference."""
    return [link for link in parsed(page).links if is_outside(link) and "doi.org" not in link]


def settings(book: Path, **changes: object) -> None:
    """Change the settings of a book; None removes one."""
    path = book / "_config.yml"
    content = {**yaml.safe_load(path.read_text()), **changes}
    path.write_text(yaml.safe_dump({name: each for name, each in content.items() if each is not None}))


@pytest.mark.slow
@pytest.mark.parametrize("repository", [{"url": ""}, None])
def test_without_an_address_no_button_leads_nowhere(
    small: Path,  # noqa: F811
    counted: list[str],  # noqa: F811
    repository: dict[str, str] | None,
) -> None:
    settings(small, repository=repository)
    folder = build(small).index.parent
    for name in ("chapters/1-one.html", "book/intro.html"):
        assert outside(folder / name) == []
        text = (folder / name).read_text()
        assert "mybinder" not in text
        assert "executablebooks/jupyter-book/" not in text
        assert "launch" not in re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
        assert "og:url" not in text
        assert "og:image" not in text
        assert 'rel="canonical"' not in text


@pytest.mark.slow
def test_with_addresses_pages_can_be_launched_edited_and_shared(
    small: Path,  # noqa: F811
    counted: list[str],  # noqa: F811
    root: Path,
) -> None:
    settings(small, repository={"url": REPOSITORY, "branch": "main"}, html={"baseurl": PAGES})
    (small / "book" / "_static" / "page.png").write_bytes((root / "book/_static/page.png").read_bytes())
    folder = build(small).index.parent
    chapter, prose = folder / "chapters/1-one.html", folder / "book/intro.html"
    launched = "https://mybinder.org/v2/gh/someone/one-filter/main?urlpath=lab/tree/chapters/1-one.ipynb"
    for page, source, launches in (
        (chapter, "chapters/1-one.ipynb", True),
        (prose, "book/intro.md", False),  # nothing to run there
    ):
        links = outside(page)
        assert (launched in links) == launches
        assert REPOSITORY in links
        assert f"{REPOSITORY}/edit/main/{source}" in links
        assert any(link.startswith(f"{REPOSITORY}/issues/new") for link in links)
        assert not any("colab" in link for link in links)
        # links are asked of nobody before they are chosen; what a browser fetches by itself is all here
        loaded = parsed(page).loaded
        assert [one for one in loaded if is_outside(one) and not one.startswith("data:")] == []
        local = [re.sub(r"[?#].*", "", one) for one in loaded if not is_outside(one)]
        assert [one for one in local if not (page.parent / one).is_file()] == []
        text, place = page.read_text(), page.relative_to(folder).as_posix()
        assert f'<meta property="og:url" content="{PAGES}{place}" />' in text
        assert f'<meta property="og:image" content="{PAGES}_static/page.png" />' in text
        # each icon of the buttons has its glyph in the font that the book ships
        drawn = set(re.findall(r'<i class="fa[sb] fa-([\w-]+)"', text))
        style = (folder / "_static/styles/pydata-sphinx-theme.css").read_text()
        assert [name for name in drawn if f".fa-{name}:before" not in style] == []
        assert "fab fa-" not in text
