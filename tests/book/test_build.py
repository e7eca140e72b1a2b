"""What is run again and what is kept; what stops a build and what it says."""

import contextlib
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from filterwise.book import assembly, digest, launcher
from filterwise.book.assembly import build
from filterwise.book.executing import Executed, execute, with_outputs
from filterwise.book.staging import pages, stage
from filterwise.errors import BookError, ParameterError, RunError

PARAMETERS = ["parameters"]


def cell(source: str, tags: list[str] | None = None) -> dict[str, Any]:
    metadata = {"tags": tags} if tags else {}
    return {
        "cell_type": "code", "id": f"c{abs(hash(source)) % 10**8}", "metadata": metadata, "source": source,
        "outputs": [], "execution_count": None,
    }  # fmt: skip


def prose(text: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "id": f"m{abs(hash(text)) % 10**8}", "metadata": {}, "source": text}


def write(path: Path, cells: list[dict[str, Any]]) -> None:
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = {"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": kernel}, "cells": cells}
    path.write_text(json.dumps(notebook), encoding="utf-8")


@pytest.fixture
def small(tmp_path: Path, root: Path) -> Path:
    """A book of one page and one chapter that imports nothing, with the real settings."""
    (tmp_path / "book" / "_static").mkdir(parents=True)
    (tmp_path / "chapters").mkdir()
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "measure.py").write_text("x = 1\n")
    shutil.copy(root / "_config.yml", tmp_path)
    shutil.copy(root / "book" / "references.bib", tmp_path / "book")
    shutil.copy(root / "book" / "_static" / "filterwise.css", tmp_path / "book" / "_static")
    (tmp_path / "_toc.yml").write_text(
        "format: jb-book\nroot: book/intro\nchapters:\n- file: chapters/1-one\n"
    )
    (tmp_path / "book" / "intro.md").write_text(
        "# Intro\n\nRead {cite:p}`meir-2023-tree`.\n\n```{bibliography}\n```\n"
    )
    cells = [prose("# One"), cell('profile: str = "quick"', PARAMETERS), cell("print(profile, 6 * 7)")]
    write(tmp_path / "chapters" / "1-one.ipynb", cells)
    return tmp_path


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Runs of chapters, without running them: each appends its source to the list."""
    ran: list[str] = []

    def instead(command: list[str], environment: dict[str, str], say: bool) -> tuple[int, str]:
        source, target, given = [*command[3:5], command[6]]
        notebook = json.loads(Path(source).read_text())
        for number, each in enumerate(c for c in notebook["cells"] if c["cell_type"] == "code"):
            each["outputs"] = [
                {"output_type": "stream", "name": "stdout", "text": f"run {len(ran)} cell {number}"}
            ]
            each["execution_count"] = number + 1
        at = next(i for i, c in enumerate(notebook["cells"]) if "parameters" in c["metadata"].get("tags", []))
        injected = cell(f"profile = {yaml.safe_load(given)['profile']!r}", ["injected-parameters"])
        notebook["cells"].insert(at + 1, injected)
        Path(target).write_text(json.dumps(notebook))
        ran.append(source)
        return 0, ""

    monkeypatch.setattr(launcher, "_papermill", instead)
    return ran


def run(root: Path, profile: str = "quick", **options: Any) -> Executed:
    around = digest.surroundings(root)
    keep = root / "_build" / "executed"
    return execute(root, "chapters/1-one.ipynb", keep, around, {"profile": profile}, **options)


def edit(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def test_an_unchanged_chapter_is_not_run_twice_and_prose_does_not_count(
    small: Path, counted: list[str]
) -> None:
    first = run(small)
    assert first.ran
    edit(small / "chapters" / "1-one.ipynb", "# One", "# One, reworded")
    second = run(small)
    assert (second.ran, second.path, len(counted)) == (False, first.path, 1)
    executed = json.loads(second.path.read_text())
    shown = with_outputs(json.loads((small / "chapters" / "1-one.ipynb").read_text()), executed)
    assert shown["cells"][0]["source"] == "# One, reworded"
    assert [c["metadata"].get("tags") for c in shown["cells"]][1:3] == [
        ["parameters"],
        ["injected-parameters"],
    ]
    assert shown["cells"][3]["outputs"][0]["text"] == "run 0 cell 1"


def test_a_chapter_says_how_long_it_takes_once_that_was_timed(small: Path, counted: list[str]) -> None:
    said: list[str] = []
    first = run(small, say=said.append)
    assert said[0] == "chapters/1-one.ipynb: running, profile=quick"
    kept = json.loads(first.path.read_text())
    kept["metadata"]["filterwise"]["seconds"] = 48.2
    first.path.write_text(json.dumps(kept))
    edit(small / "chapters" / "1-one.ipynb", "6 * 7", "6 * 8")
    assert run(small, say=said.append).ran
    assert said[2] == "chapters/1-one.ipynb: running, profile=quick; about 48 s, as the last time"


@pytest.mark.parametrize(
    "change", ["code", "tags", "library", "new file", "requirements", "records", "profile"]
)
def test_whatever_the_numbers_depend_on_runs_the_chapter_again(
    small: Path, counted: list[str], change: str
) -> None:
    run(small)
    profile = "quick"
    if change == "code":
        edit(small / "chapters" / "1-one.ipynb", "6 * 7", "6 * 8")
    elif change == "tags":
        cells = json.loads((small / "chapters" / "1-one.ipynb").read_text())["cells"]
        cells[2]["metadata"] = {"tags": ["raises-exception"]}
        write(small / "chapters" / "1-one.ipynb", cells)
    elif change == "library":
        edit(small / "lib" / "measure.py", "x = 1", "x = 2")
    elif change == "new file":
        (small / "lib" / "explorer.js").write_text("//")
    elif change == "requirements":
        (small / "requirements.txt").write_text("torch\n")
    elif change == "records":
        (small / "data" / "records" / "1-one").mkdir(parents=True)
        (small / "data" / "records" / "1-one" / "quick.csv").write_text("seed\n0\n")
    else:
        profile = "cifar"
    assert run(small, profile).ran
    assert len(counted) == 2


def test_compiled_files_and_stored_runs_are_no_reason_to_run_again(small: Path, counted: list[str]) -> None:
    run(small)
    (small / "lib" / "__pycache__").mkdir()
    (small / "lib" / "__pycache__" / "measure.cpython-311.pyc").write_bytes(b"x")
    (small / "data" / "runs" / "abc").mkdir(parents=True)
    (small / "data" / "runs" / "abc" / "result.json").write_text("{}")
    assert not run(small).ran


def test_force_runs_again_and_only_the_newest_few_are_kept(small: Path, counted: list[str]) -> None:
    for value in range(6):
        edit(small / "lib" / "measure.py", f"x = {value + 1}", f"x = {value + 2}")
        run(small)
    assert run(small, force=True).ran
    assert len(list((small / "_build" / "executed").glob("1-one-*.ipynb"))) == 3
    assert not list((small / "_build" / "executed").glob(".*"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda root: (root / "chapters" / "1-one.ipynb").unlink(), "is not there"),
        (lambda root: (root / "chapters" / "1-one.ipynb").write_text("{"), "is not a notebook"),
        (lambda root: write(root / "chapters" / "1-one.ipynb", [cell("1")]), "0 cells tagged 'parameters'"),
        (
            lambda root: write(
                root / "chapters" / "1-one.ipynb", [cell('profil: str = "quick"', PARAMETERS)]
            ),
            "parameter='profile' is not known.*did you mean 'profil'",
        ),
    ],
)
def test_a_chapter_that_cannot_run_is_refused_before_a_kernel_starts(
    small: Path, counted: list[str], change: Any, said: str
) -> None:
    change(small)
    with pytest.raises(BookError, match=rf"chapters/1-one\.ipynb.*{said}"):
        run(small)
    assert counted == []


def test_a_failing_cell_is_named_and_nothing_is_kept(small: Path) -> None:
    cells = [cell('profile: str = "quick"', PARAMETERS), cell("one = 1\none / 0")]
    write(small / "chapters" / "1-one.ipynb", cells)
    why = r"1-one\.ipynb: code cell 2, `one = 1`, failed: ZeroDivisionError: division by zero; as far"
    with pytest.raises(BookError, match=why):
        run(small)
    keep = small / "_build" / "executed"
    assert [path.name for path in keep.iterdir()] == ["failed-1-one.ipynb"]
    assert "ZeroDivisionError" in (keep / "failed-1-one.ipynb").read_text()


def test_a_cell_that_takes_too_long_is_named(small: Path) -> None:
    write(
        small / "chapters" / "1-one.ipynb",
        [cell('profile: str = "quick"', PARAMETERS), cell("while True: pass")],
    )
    with pytest.raises(BookError, match="code cell 2, `while True: pass`, failed: it took longer than a"):
        run(small, cell_timeout=3)


@pytest.mark.parametrize(
    ("toc", "said"),
    [
        ("format: jb-book\nroot: book/intro\nchapters:\n- file: chapters/1-on\n", "names 'chapters/1-on'"),
        ("root: [", "_toc.yml is not YAML"),
    ],
)
def test_a_table_of_contents_that_leads_nowhere_is_refused(small: Path, toc: str, said: str) -> None:
    (small / "_toc.yml").write_text(toc)
    with pytest.raises(BookError, match=said):
        pages(small)


def test_pages_come_in_reading_order_and_a_folder_without_a_book_is_said(small: Path) -> None:
    assert pages(small) == ["book/intro.md", "chapters/1-one.ipynb"]
    (small / "_toc.yml").unlink()
    with pytest.raises(BookError, match=r"no _toc\.yml"):
        pages(small)


def test_staging_writes_only_what_changed_and_removes_what_went(small: Path, counted: list[str]) -> None:
    kept = {"chapters/1-one.ipynb": run(small).path}
    assert stage(small, small / "stage", kept)
    dates = {path: path.stat().st_mtime_ns for path in (small / "stage").rglob("*.*")}
    assert not stage(small, small / "stage", kept)
    assert {path: path.stat().st_mtime_ns for path in (small / "stage").rglob("*.*")} == dates
    (small / "book" / "intro.md").rename(small / "book" / "start.md")
    assert not stage(small, small / "stage", kept)
    assert not (small / "stage" / "book" / "intro.md").exists()
    assert (small / "stage" / "book" / "start.md").exists()
    edit(small / "_toc.yml", "intro", "start")
    assert stage(small, small / "stage", kept)


@pytest.mark.slow
def test_a_warning_stops_the_build_every_time_and_leaves_the_old_pages(
    small: Path, counted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    done: list[float] = []

    class Watched(assembly.TimeLeft):
        def update(self, n: float | None = 1) -> bool | None:
            done.append(n or 0)
            return super().update(n)

    monkeypatch.setattr(assembly, "TimeLeft", Watched)
    built = build(small, say=said.append)
    assert said[0] == "chapters/1-one.ipynb: running, profile=quick (1 of 1)"
    # what Sphinx says of reading and of writing is understood
    assert len(done) >= 4
    assert min(done) >= 0
    page = built.index.parent / "book" / "intro.html"
    assert built.rendered
    numbered = r'<li class="toctree-l1"><a class="reference internal" href="\S*1-one.html">1\s*One</a>'
    assert re.search(numbered, page.read_text())
    assert "<title>One &#8212;" in (built.index.parent / "chapters" / "1-one.html").read_text()
    assert "run 0 cell 1" in (built.index.parent / "chapters" / "1-one.html").read_text()
    assert not build(small, say=said.append).rendered
    assert said[-1].startswith("The book is up to date")

    whole = page.read_text()
    edit(small / "book" / "intro.md", "# Intro", "# Intro\n\nSee [nothing](nowhere.md).")
    for _ in range(2):  # a page that warned must not be skipped the next time
        with pytest.raises(BookError, match=r"(?s)1 warning.*book/intro\.md.*nowhere"):
            build(small)
        assert page.read_text() == whole
    edit(small / "book" / "intro.md", "See [nothing](nowhere.md).", "Reworded.")
    assert build(small).rendered
    assert "Reworded." in page.read_text()
    assert len(counted) == 1


def test_a_folder_with_something_else_in_it_is_refused_before_a_chapter_runs(
    small: Path, counted: list[str], tmp_path: Path
) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "text.tex").write_text("years of work")
    for out in (tmp_path / "thesis", tmp_path / "thesis" / "text.tex"):
        with pytest.raises(ParameterError, match="not a book"):
            build(small, out=out)
    with pytest.raises(RunError, match=r"out .*text\.tex cannot be written to"):
        build(small, out=tmp_path / "thesis" / "text.tex" / "book")
    assert (tmp_path / "thesis" / "text.tex").read_text() == "years of work"
    assert counted == []


def test_pages_are_replaced_at_once_and_what_kills_left_goes(tmp_path: Path) -> None:
    """In every system call between, ``out`` is a whole book: the old one or the new one."""
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    if not assembly._exchanged(one, other):
        pytest.skip("this file system cannot let two folders change places")
    one.rmdir()
    other.rmdir()
    built, out = tmp_path / "built", tmp_path / "html"
    left = tmp_path / f".html-{'0' * 32}"
    for folder, text in ((built, "new"), (out, "old"), (left, "half")):
        folder.mkdir()
        (folder / "index.html").write_text(text)
    os.utime(left, (1, 1))
    seen = set()
    copytree, rmtree, replace = shutil.copytree, shutil.rmtree, os.replace

    def watched(function: Any) -> Any:
        def call(*given: Any, **options: Any) -> Any:
            seen.add((out / "index.html").read_text())
            answer = function(*given, **options)
            seen.add((out / "index.html").read_text())
            return answer

        return call

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shutil, "copytree", watched(copytree))
        patch.setattr(shutil, "rmtree", watched(rmtree))
        patch.setattr(os, "replace", watched(replace))
        assembly._publish(built, out)
    assert seen == {"old", "new"}
    assert (out / "index.html").read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["built", "html"]


def test_pages_are_replaced_where_folders_cannot_change_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assembly, "_exchanged", lambda *_: False)
    for folder in ("built", "html"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "index.html").write_text(folder)
    assembly._publish(tmp_path / "built", tmp_path / "html")
    assert (tmp_path / "html" / "index.html").read_text() == "built"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["built", "html"]


def test_pages_of_a_rendering_that_was_killed_are_never_published(
    small: Path, counted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    page, asked = small / "_build" / "book" / "_build" / "html" / "index.html", []

    def render(_source: Path, _work: Path, fresh: bool) -> None:
        """As Sphinx does: what is newer than its source is not written again, unless all is."""
        asked.append(fresh)
        page.parent.mkdir(parents=True, exist_ok=True)
        if len(asked) == 2:
            page.write_text("half a pa")
            raise KeyboardInterrupt
        if fresh or not page.is_file():
            page.write_text("a whole page")

    monkeypatch.setattr(assembly, "_render", render)
    index = build(small).index
    for text in ("first", "second"):
        edit(small / "book" / "intro.md", "# Intro", f"# Intro\n\n{text}")
        with contextlib.suppress(KeyboardInterrupt):
            build(small)
        assert index.read_text() == "a whole page"
    assert asked == [True, False, True]
    edit(small / "book" / "intro.md", "# Intro", "# Intro\n\nthird")
    build(small)
    assert asked[3:] == [False]
