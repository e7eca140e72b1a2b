"""The whole way from the repository to pages in a folder, doing only what changed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filterwise.book import digest
from filterwise.book.executing import Executed, execute
from filterwise.book.staging import pages, stage
from filterwise.errors import BookError

_MARK = ".built-from"


@dataclass(frozen=True)
class Built:
    """A built book: first page, chapters, seconds for everything, whether pages were rendered just now."""

    index: Path
    chapters: tuple[Executed, ...]
    seconds: float
    rendered: bool


def find_root(start: str | Path | None = None) -> Path:
    """The book's folder: the nearest with a ``_toc.yml`` at or above ``start`` (default: current folder).

    Raises
    ------
    BookError
        There is none, neither there nor above the installed package.
    """
    here = Path(start or Path.cwd()).resolve()
    for folder in [here, *here.parents, *Path(__file__).resolve().parents]:
        if (folder / "_toc.yml").is_file() and (folder / "_config.yml").is_file():
            return folder
    raise BookError(f"no folder with _config.yml and _toc.yml at or above {here}")


def build(
    root: str | Path | None = None,
    out: str | Path | None = None,
    parameters: Mapping[str, Any] | None = None,
    force: bool = False,
    work: str | Path | None = None,
    say: Callable[[str], object] = lambda line: None,
) -> Built:
    """Execute the chapters that changed and render the book, warnings counting as errors.

    Parameters
    ----------
    root : the repository; found from the current folder when not given.
    out : folder for the pages; ``root/_build/html`` when not given. Replaced whole, by a good build only.
    parameters : papermill parameters of every chapter; ``{"profile": "quick"}`` when not given.
    force : execute every chapter again and render every page again.
    work : folder that Sphinx works in; ``root/_build/book`` when not given.
    say : is given a line for each step.

    Raises
    ------
    BookError
        ``out`` holds something else, a chapter failed (named with its cell), or Sphinx warned (each warning is
        in the message).
    """
    started = time.perf_counter()
    root = find_root(root)
    out = Path(out).resolve() if out else root / "_build" / "html"
    work = Path(work).resolve() if work else root / "_build" / "book"
    given = dict(parameters or {"profile": "quick"})
    _check_free(out)

    names = pages(root)
    around = digest.surroundings(root)
    keep = root / "_build" / "executed"
    chapters = tuple(
        execute(root, name, keep, around, given, force=force, say=say)
        for name in names
        if name.endswith(".ipynb")
    )
    everything = stage(root, work / "source", {chapter.chapter: chapter.path for chapter in chapters})

    # The library draws generated pages and the theme comes with the requirements: both shape every page.
    shape = digest.of_values({name: around[name] for name in ("library", "data", "requirements", "python")})
    source = work / "source"
    state = digest.of_values({"shape": shape, "source": _state(source)})
    if not force and _mark(out) == {"shape": shape, "state": state}:
        say(f"The book is up to date: {out / 'index.html'}")
        return Built(out / "index.html", chapters, time.perf_counter() - started, rendered=False)

    fresh = force or everything or _mark(work / "_build" / "html").get("shape") != shape
    _render(source, work, fresh)
    mark = json.dumps({"shape": shape, "state": state})
    (work / "_build" / "html" / _MARK).write_text(mark, encoding="utf-8")
    _publish(work / "_build" / "html", out)
    say(f"The book is in {out / 'index.html'}")
    return Built(out / "index.html", chapters, time.perf_counter() - started, rendered=True)


def _state(source: Path) -> str:
    return digest.of_files(source, sorted(path for path in source.rglob("*") if path.is_file()))


def _mark(folder: Path) -> dict[str, str]:
    """What the pages in ``folder`` were built from; empty when that is not known."""
    try:
        found = json.loads((folder / _MARK).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if (folder / "index.html").is_file() else {}


def _render(source: Path, work: Path, fresh: bool) -> None:
    """Run Jupyter Book on the staged folder.

    After a failure nothing that was read is kept: the next run would skip the page that warned, and pass.
    """
    start = "from jupyter_book.cli.main import main; main()"
    command = [sys.executable, "-c", start, "build", str(source), "--path-output", str(work)]
    command += ["-W", "-n", "--keep-going", "-q", *(["--all"] if fresh else [])]
    # Matplotlib, fontconfig and Sphinx must not differ between a terminal and a service.
    environment = {**os.environ, "FILTERWISE_STATIC": "1", "PYTHONWARNINGS": "ignore", "NO_COLOR": "1"}
    answer = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if answer.returncode == 0:
        return
    shutil.rmtree(work / "_build" / ".doctrees", ignore_errors=True)
    (work / "_build" / "html" / _MARK).unlink(missing_ok=True)
    said = re.sub(r"\x1b\[[0-9;]*m", "", answer.stderr)
    lines = [line.replace(f"{source}{os.sep}", "") for line in said.splitlines()]
    warnings = [line for line in lines if re.search(r"\b(WARNING|ERROR|CRITICAL)\b", line)]
    if warnings:
        count = f"{len(warnings)} warning{'s' if len(warnings) > 1 else ''}; warnings count as errors"
        raise BookError("\n  ".join([f"{count}:", *warnings]))
    raise BookError("Sphinx stopped:\n" + "\n".join(lines[-15:]))


def _check_free(out: Path) -> None:
    book = (out / _MARK).is_file() or (out / "index.html").is_file()
    if out.exists() and not book and (not out.is_dir() or any(out.iterdir())):
        raise BookError(f"{out} holds something that is not a book; give another folder")


def _publish(built: Path, out: Path) -> None:
    """Replace ``out`` by a copy of ``built``, at no moment leaving half a book there."""
    _check_free(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    new, old = (out.with_name(f".{out.name}.{kind}-{os.getpid()}") for kind in ("new", "old"))
    shutil.copytree(built, new)
    if out.exists():
        os.replace(out, old)
    os.replace(new, out)
    shutil.rmtree(old, ignore_errors=True)
