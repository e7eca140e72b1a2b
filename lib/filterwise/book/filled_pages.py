"""Pages made from measured facts: lines that stand for the ledger, the status, and the first page's parts.

A page that holds one of these lines has it replaced, before it is parsed, by Markdown:

``<!-- filterwise:ledger -->``
    the claims of all chapters with their verdicts, as :mod:`filterwise.claims` judges the committed records.
``<!-- filterwise:status -->``
    when, how long and on what each chapter was executed.
``<!-- filterwise:cost -->``
    what the records cost to make again, as :mod:`filterwise.book.evidence_cost` counts it.
``<!-- filterwise:claimed -->``, ``<!-- filterwise:played -->``, ``<!-- filterwise:cards -->``
    what was claimed and what holds, a figure to play, and a card a chapter, as
    :mod:`filterwise.book.front_page` makes them.
``<!-- filterwise:held -->``
    what held and what did not, chapter by chapter, as :mod:`filterwise.book.five_minutes` tells it.
``<!-- filterwise:api-measure -->``
    the public names of a sub-package with their docstrings, see :mod:`filterwise.book.reference`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

from filterwise.book import evidence_cost, five_minutes, front_page, reference
from filterwise.files import data_folder

#: Of a marker: the executed chapters -> the files that its text is made from.
MadeFrom = Callable[[Sequence[Path]], Sequence[Path]]
#: What a marker stands for: the page's name and the executed chapters -> Markdown.
Filled = Callable[[str, Sequence[Path]], str]


def fill_in(app: Sphinx, docname: str, source: list[str]) -> None:
    """Replace the markers of a page, and read the page again when what it shows has changed."""
    env = app.env
    chapters = _chapters(env)
    for marker, (made_from, markdown) in _FILLED_IN.items():
        line = f"<!-- filterwise:{marker} -->"
        if line in source[0]:
            for path in made_from(chapters):
                env.note_dependency(str(path))
            source[0] = source[0].replace(line, markdown(docname, chapters))


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
        seconds = f"{about['seconds']:.0f}\u00a0s"
        versions = f"Python {about['python']}, torch {about['torch']}"
        rows.append((link, about.get("profile", ""), date, seconds, about["device"], versions))
    return evidence_cost.table(("Chapter", "Profile", "Executed", "Time", "Device", "Versions"), rows)


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
    lines = ledger_page(titles=titles, judged=front_page.judged()).splitlines()
    return "\n".join(line for line in lines if not line.startswith("# "))


def _cards(docname: str, chapters: Sequence[Path]) -> str:
    up = "../" * docname.count("/")
    where = {path.stem: (path, f"{up}{path.parent.name}/{path.stem}.html") for path in chapters}
    return front_page.raw(front_page.cards(where))


def _reference_of(package: str) -> tuple[MadeFrom, Filled]:
    return lambda chapters: reference.sources(package), lambda page, chapters: reference.page(package)


_FILLED_IN: dict[str, tuple[MadeFrom, Filled]] = {
    "ledger": (lambda chapters: ledger_sources(), lambda page, chapters: ledger()),
    "cost": (lambda chapters: ledger_sources(), lambda page, chapters: evidence_cost.costs()),
    "status": (lambda chapters: chapters, lambda page, chapters: status(chapters)),
    "claimed": (lambda chapters: ledger_sources(), lambda page, chapters: front_page.claimed("ledger.md")),
    "played": (
        lambda chapters: ledger_sources(),
        lambda page, chapters: front_page.raw(front_page.played()),
    ),
    "cards": (lambda chapters: [*ledger_sources(), *chapters], _cards),
    "held": (
        lambda chapters: ledger_sources(),
        lambda page, chapters: five_minutes.held("ledger", "../" * page.count("/")),
    ),
    **{f"api-{package}": _reference_of(package) for package in reference.PACKAGES},
}
