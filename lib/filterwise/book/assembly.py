"""The whole way from the repository to pages in a folder, doing only what changed."""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filterwise import disk
from filterwise.book import digest
from filterwise.book.executing import Executed, execute
from filterwise.book.launcher import ends_with_parent
from filterwise.book.staging import pages, stage
from filterwise.errors import BookError, ParameterError
from filterwise.files import checkout
from filterwise.runs.time_left import TimeLeft

_MARK = ".built-from"
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_PHASES = ("reading sources", "writing output")


@dataclass(frozen=True)
class Built:
    """A built book: first page, chapters, whether pages were rendered just now."""

    index: Path
    chapters: tuple[Executed, ...]
    rendered: bool


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
    root : the repository; the one that this package lies in when not given
    out : folder for the pages; ``root/_build/html`` when not given. Replaced whole, by a good build only
    parameters : papermill parameters of every chapter; ``{"profile": "quick"}`` when not given
    force : execute every chapter again and render every page again
    work : folder that Sphinx works in; ``root/_build/book`` when not given
    say : is given a line for each step

    Raises ParameterError: ``out`` holds something else; FolderError: it cannot be made; BookError: there is
    no book; a chapter failed (named with its cell); or Sphinx warned (each warning is in the message).
    """
    root = Path(root or checkout() or Path.cwd()).resolve()
    out = Path(out).resolve() if out else root / "_build" / "html"
    work = Path(work).resolve() if work else root / "_build" / "book"
    given = dict(parameters or {"profile": "quick"})
    _check_free(out)

    notebooks = [name for name in pages(root) if name.endswith(".ipynb")]
    around = digest.surroundings(root)
    keep = root / "_build" / "executed"
    chapters = tuple(
        execute(root, name, keep, around, given, force=force, say=_counting(say, number, len(notebooks)))
        for number, name in enumerate(notebooks, start=1)
    )
    source, built = work / "source", work / "_build" / "html"
    everything = stage(root, source, {chapter.chapter: chapter.path for chapter in chapters})

    # The library draws generated pages and the theme comes with the requirements: both shape every page.
    shape = digest.of_values({name: around[name] for name in ("library", "data", "requirements", "python")})
    files = sorted(path for path in source.rglob("*") if path.is_file())
    mark = {"shape": shape, "source": digest.of_files(source, files)}
    if not force and _mark(out) == mark:
        say(f"The book is up to date: {out / 'index.html'}")
        return Built(out / "index.html", chapters, rendered=False)
    fresh = force or everything or _mark(built).get("shape") != shape
    # A rendering that is killed leaves half a page, newer than its source: the next one then writes them all.
    (built / _MARK).unlink(missing_ok=True)
    _render(source, work, fresh)
    (built / _MARK).write_text(json.dumps(mark), encoding="utf-8")
    _publish(built, out)
    say(f"The book is in {out / 'index.html'}")
    return Built(out / "index.html", chapters, rendered=True)


def _mark(folder: Path) -> dict[str, str]:
    """What the pages in ``folder`` were built from; empty when that is not known."""
    try:
        found = json.loads((folder / _MARK).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if (folder / "index.html").is_file() else {}


def _counting(say: Callable[[str], object], number: int, count: int) -> Callable[[str], object]:
    return lambda line: say(f"{line} ({number} of {count})")


def _render(source: Path, work: Path, fresh: bool) -> None:
    """Run Jupyter Book on the staged folder; a terminal is told how far that is.

    After a failure nothing that was read is kept: the next run would skip the page that warned, and pass.
    """
    start = "from jupyter_book.cli.main import main; main()"
    command = [sys.executable, "-c", start, "build", str(source), "--path-output", str(work)]
    command += ["-W", "-n", "--keep-going", *(["--all"] if fresh else [])]
    environment = {**os.environ, "FILTERWISE_STATIC": "1", "PYTHONWARNINGS": "ignore", "NO_COLOR": "1"}
    with tempfile.TemporaryFile("w+", encoding="utf-8") as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment,
            preexec_fn=ends_with_parent(signal.SIGKILL),
        )  # fmt: skip
        with process, TimeLeft(None, "rendering", 2 * 100, bar_format="{desc}{left}") as line:
            assert process.stdout is not None
            for phase, done in filter(None, map(_progress, process.stdout)):
                line.set_description_str(f"rendering: {phase}, {done} %", refresh=False)
                line.update(done + 100 * (phase == _PHASES[1]) - line.n)
        if process.returncode == 0:
            return
        errors.seek(0)
        complaints = errors.read()
    shutil.rmtree(work / "_build" / ".doctrees", ignore_errors=True)
    (work / "_build" / "html" / _MARK).unlink(missing_ok=True)
    said = _COLOUR.sub("", complaints).replace(f"{source}{os.sep}", "").splitlines()
    warnings = [line for line in said if re.search(r"\b(WARNING|ERROR|CRITICAL)\b", line)]
    if warnings:
        count = f"{len(warnings)} warning{'s' if len(warnings) > 1 else ''}; warnings count as errors"
        raise BookError("\n  ".join([f"{count}:", *warnings]))
    raise BookError("Sphinx stopped:\n" + "\n".join(said[-15:]))


def _progress(said: str) -> tuple[str, int] | None:
    """The phase that a line of Sphinx's is about, and how many per cent of it are done.

    >>> _progress("reading sources... [ 40%] book/intro"), _progress("build succeeded.")
    (('reading sources', 40), None)
    """
    found = re.match(rf"({'|'.join(_PHASES)})\.\.\. \[ *(\d+)%\]", _COLOUR.sub("", said))
    return (found[1], int(found[2])) if found else None


def _check_free(out: Path) -> None:
    book = (out / _MARK).is_file() or (out / "index.html").is_file()
    if out.exists() and not book and (not out.is_dir() or any(out.iterdir())):
        raise ParameterError(f"out: {out} holds something that is not a book; give another folder")
    disk.check_writable(out.parent, "out")


def _publish(built: Path, out: Path) -> None:
    """Replace ``out`` by a copy of ``built``, at no moment leaving half a book there, or on Linux none."""
    with disk.naming(out.parent), disk.scratch(out.parent, out.name) as folder:
        new = folder / out.name
        shutil.copytree(built, new)
        if not out.exists():
            os.replace(new, out)
        elif not _exchanged(new, out):
            os.replace(out, folder / "old")
            os.replace(new, out)


def _exchanged(one: Path, other: Path) -> bool:
    """Let two folders change places in one step; False where the system or the disk cannot."""
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return rename is not None and rename(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0
