"""The reference of the library: every public name on its page, with its anchor and an example."""

from __future__ import annotations

import doctest
import importlib
import inspect
import re
from pathlib import Path

import pytest
import yaml
from pages_of_html import parsed

import filterwise
from filterwise.book import reference
from filterwise.book.assembly import Built
from filterwise.book.docstrings import for_napoleon
from filterwise.book.staging import pages

# What functions give, and is shown by their examples.
WITHOUT_EXAMPLE = {"runs.Measured", "runs.Pending", "runs.Recorded"}
MOST_BYTES = 500_000
NAMES = [(package, name) for package in reference.PACKAGES for name in reference.public(package)]


def is_constant(package: str, name: str) -> bool:
    thing = reference.value(package, name)
    return not (inspect.isclass(thing) or inspect.isroutine(thing))


@pytest.mark.parametrize("package", reference.PACKAGES)
def test_a_page_has_every_public_name_once_and_says_what_it_is(package: str, root: Path) -> None:
    module = importlib.import_module(f"filterwise.{package}")
    text = reference.page(package)
    shown = re.findall(r"^\.\. (?:auto\w+|py:data):: (?:filterwise\.\w+\.)?(\w+)$", text, flags=re.MULTILINE)
    assert sorted(shown) == sorted(module.__all__)
    assert [name for name in shown if not reference.summary(package, name)] == []
    source = (root / "book" / "api" / f"{package}.md").read_text(encoding="utf-8")
    assert f"<!-- filterwise:api-{package} -->" in source


def test_every_sub_package_has_a_page(root: Path) -> None:
    assert {*reference.PACKAGES, "papers"} == set(filterwise.__all__)
    assert {f"book/api/{package}.md" for package in reference.PACKAGES} <= set(pages(root))


def test_public_names_have_examples() -> None:
    """Constants show their value; what else has no example is listed above."""
    without = {
        f"{package}.{name}"
        for package, name in NAMES
        if not reference.example(package, name) and not is_constant(package, name)
    }
    assert without == WITHOUT_EXAMPLE


def test_examples_of_constants_run() -> None:
    """Those of functions and classes pytest runs by itself; comments it does not read."""
    parser, runner, ran = doctest.DocTestParser(), doctest.DocTestRunner(verbose=False), 0
    for package, name in NAMES:
        if is_constant(package, name):
            module = importlib.import_module(reference.public(package)[name])
            text = "\n".join(reference.comment(module, name))
            test = parser.get_doctest(text, dict(vars(module)), f"{package}.{name}", module.__file__, 0)
            runner.run(test)
            ran += len(test.examples)
    assert ran >= 3
    assert runner.failures == 0


def test_parameters_answers_and_errors_are_understood() -> None:
    lines = [
        "Twice.", "", "Parameters", "----------", "x, y : two numbers,", "    both finite", "**more : others",
        "", "Returns their sum. Raises ParameterError: no numbers; DataError if there are none;",
        "TorchvisionMissing.", "", ">>> 1 + 1", "2",
    ]  # fmt: skip
    assert for_napoleon(lines) == [
        "Twice.", "", "Parameters", "----------", "x, y", "    two numbers,", "    both finite", "**more",
        "    others", "", "", ":returns: their sum.", ":raises ParameterError: no numbers",
        ":raises DataError: if there are none", ":raises TorchvisionMissing:", "", ">>> 1 + 1", "2",
    ]  # fmt: skip


def test_the_pages_of_the_built_book_have_an_anchor_for_every_name(book: Built) -> None:
    for package in reference.PACKAGES:
        anchors = set(parsed(book.index.parent / "book" / "api" / f"{package}.html").anchors)
        wanted = {f"filterwise.{package}.{name}" for name in reference.public(package)}
        assert wanted - anchors == set()


def test_pages_for_users_are_light(book: Built, root: Path) -> None:
    toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    (part,) = [part for part in toc["parts"] if part["caption"] == "Use it"]
    names = [entry["file"] for entry in part["chapters"]]
    names += [entry["file"] for one in part["chapters"] for entry in one.get("sections", ())]
    sizes = {name: (book.index.parent / f"{name}.html").stat().st_size for name in [*names, "book/glossary"]}
    assert len(sizes) >= 14
    assert {name: size for name, size in sizes.items() if size > MOST_BYTES} == {}


def test_a_recipe_as_a_default_does_not_fill_the_page(book: Built) -> None:
    text = (book.index.parent / "book" / "api" / "measure.html").read_text(encoding="utf-8")
    plain = re.sub(r"<[^>]+>", "", text)
    signature = plain[plain.index("probe_heads(\n") :][:900]
    assert "HEAD_RECIPE" in signature
    assert "nesterov=True" not in signature


def test_the_citation_file_has_every_paper_of_the_bibliography(root: Path) -> None:
    cited = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))["references"]
    titles = {re.sub(r"\W+", " ", entry["title"]).lower() for entry in cited}
    entries = (root / "book" / "references.bib").read_text(encoding="utf-8").split("\n@")
    papers = [entry for entry in entries if "Kanter" in entry]
    assert len(papers) >= 7
    for entry in papers:
        found = re.search(r"title\s*=\s*\{(.*?)\},?\n", entry)
        assert found is not None
        assert re.sub(r"\W+", " ", re.sub(r"[{}]", "", found[1])).lower() in titles
