"""A chapter that the library has never heard of: recorded, judged and rendered, no line changed elsewhere.

What is written here is all that a chapter touches: its folder, its notebook, its claims file, and one line of
``_toc.yml``.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from filterwise.book.assembly import build

PAPER = {
    "__init__.py": '''
"""Chapter 9: how well a tiny network names parts."""
from filterwise.papers.chapter import Chapter, Sentence

CHAPTER = Chapter(
    name="9-tiny",
    title="Tiny",
    question="Does a tiny network learn anything?",
    found=(Sentence("T1", {"holds": "It names more than by chance ({scale}).", "fails": "No."}),),
)
''',
    "plan.py": '''
"""Two seeds of one network."""
from filterwise.runs.jobs import Job
from filterwise.runs.specification import Run
from filterwise.training.recipe import Recipe

RECIPE = Recipe(epochs=3, batch=20, lr=0.02, momentum=0.9, flip=False, shift=0)


def jobs(profile, data_root=None):
    net, few = {"stages": ((8, 1), (16, 1))}, {"n": 400, "n_test": 200}
    runs = [Run("vgg", "parts", RECIPE, seed, 4, net, few) for seed in (0, 1)]
    about = {"network": "vgg-two"}
    return [Job(f"tiny, seed {run.seed}", run, "tiny.worst", {"best_of": 2}, about, 3) for run in runs]
''',
    "measure.py": '''
"""The labels that go wrong most often."""
import numpy as np

from filterwise.runs.measuring import measurements


@measurements("tiny.worst")
def worst(result, *, best_of):
    labels = result.test_set().labels.numpy()
    each = np.array([result.right[labels == label].mean() for label in range(int(labels.max()) + 1)])
    return {"worst_label": float(np.sort(each)[:best_of].mean())}, {"per_label": each}
''',
    "quantities.py": '''
"""Accuracy in chances."""
from filterwise.claims.record_rows import numbers, per_run
from filterwise.claims.registered import quantity


@quantity("tiny_gain", control="1, guessing")
def tiny_gain(records):
    """Accuracy times the number of labels."""
    found = [one * labels for one, labels in zip(numbers(records, "accuracy"), numbers(records, "labels"))]
    return per_run(records, found, [1.0] * len(found))
''',
    "figures.py": '''
"""Accuracy by seed."""
from filterwise.figures.book_figure import drawn, panels
from filterwise.figures.tables import need


@drawn
def by_seed(table):
    need(table, "seed", "worst_label")
    figure, (ax,) = panels(height=2.0)
    ax.bar(table["seed"], table["worst_label"])
    figure.alt = "Accuracy on the worst labels, a bar a seed."
    return figure
''',
}
CLAIMS = """
chapter: 9-tiny
papers:
  Nobody 2000: Nobody, "Tiny" (2000)
claims:
  - id: T1
    statement: A tiny network names more than by chance.
    paper: {value: null, text: "more than by chance", source: "nowhere"}
    where: nowhere
    quantity: tiny_gain
    criterion:
      text: Accuracy at least one and a half times that of guessing.
      rule: {kind: count, seeds: 2, of: 2}
      conditions:
        - {quantity: tiny_gain, op: ">=", bound: 1.5}
    seeds: 2
    controls: ["guessing"]
    profiles: [quick]
"""
PARAMETERS = """profile: str = "quick"  # quick
seed: int = 0  # first seed
seeds: int = 2  # networks
device: str = "auto"  # auto | cpu
data_root: str = ""  # not used"""
IMPORTS = """from filterwise import papers, parameters
from filterwise.papers.page import Page
from filterwise.papers.tiny import figures, plan

parameters.check(globals())
page = Page("9-tiny")
trained = papers.chapter.train(plan.jobs(profile), device)"""
FIGURE = (
    """page.show(figures.by_seed, page.records("quick"), caption="*The worst labels.*", name="fig-worst")"""
)
TOC = "format: jb-book\nroot: book/intro\nchapters:\n- file: chapters/9-tiny\n"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.lstrip("\n"), encoding="utf-8")


def notebook() -> str:
    def cell(kind: str, source: str, number: int, *tags: str) -> dict:
        own = {"outputs": [], "execution_count": None} if kind == "code" else {}
        return {
            "cell_type": kind,
            "id": f"c{number}",
            "metadata": {"tags": list(tags)},
            "source": source,
        } | own

    code = [PARAMETERS, IMPORTS, "page.found()", "page.glance()", FIGURE, "page.claims()"]
    cells = [
        cell("markdown", "# Tiny\n\n## Claims of this chapter", 0),
        cell("code", code[0], 1, "parameters"),
    ]
    cells += [cell("code", source, number) for number, source in enumerate(code[1:], start=2)]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    about = {"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": kernel}}
    return json.dumps({**about, "cells": cells})


@pytest.fixture
def book(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A book of one chapter; its settings, bibliography and look are the real ones."""
    for name, text in PAPER.items():
        write(tmp_path / "papers" / "tiny" / name, text)
    write(tmp_path / "claims" / "9-tiny.yml", CLAIMS)
    here = tmp_path / "copy"
    write(here / "chapters" / "9-tiny.ipynb", notebook())
    write(here / "_toc.yml", TOC)
    write(here / "book" / "intro.md", "# Intro\n\n```{bibliography}\n:all:\n```\n")
    shutil.copy(root / "_config.yml", here)
    shutil.copy(root / "book" / "references.bib", here / "book")
    shutil.copytree(root / "book" / "_static", here / "book" / "_static")
    monkeypatch.setenv("FILTERWISE_PAPERS", str(tmp_path / "papers"))
    for name in ("claims", "records", "runs"):
        monkeypatch.setenv(f"FILTERWISE_{name.upper()}", str(tmp_path / name))
    return here


def command(*arguments: str) -> str:
    """What ``filterwise ...`` says, in a process of its own, as in a shell."""
    code = "import sys; from filterwise.cli import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_chapter_is_recorded_judged_and_rendered_from_its_own_files(book: Path) -> None:
    said = command("record", "9-tiny", "--profile", "quick", "--budget", "5m", "--device", "cpu")
    assert "tiny, seed 1" in said
    row = command("claims", "9-tiny").splitlines()[1]
    assert row.split()[:2] == ["9-tiny", "T1"]
    verdict = "holds"
    assert verdict in row

    chapter = book / "chapters" / "9-tiny.ipynb"
    command("run", str(chapter), "-o", str(book.parent / "out.ipynb"), "--quiet")
    outputs = (book.parent / "out.ipynb").read_text(encoding="utf-8")
    assert "It names more than by chance" in outputs

    built = build(book)
    html = (built.index.parent / "chapters" / "9-tiny.html").read_text(encoding="utf-8")
    assert f'fw-verdict fw-{verdict}">' in html
    assert 'id="fig-worst"' in html
    assert "<strong>Figure 9.1.</strong> <em>The worst labels.</em>" in html
    assert "It names more than by chance (at the scale “toy”)" in html
    runs = [path.name for path in (book.parent / "runs").iterdir() if not path.name.startswith(".")]
    assert len(runs) == 2  # recorded, run and built: trained once
