"""The one way in which a chapter is executed, by ``filterwise run`` and by the book: papermill's own command.

What it adds: wrong parameters are refused before a kernel starts, the result appears only if it is whole,
and a failure is one line.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from filterwise import disk
from filterwise.errors import BookError, ParameterError, RunError, check_choice
from filterwise.files import checkout
from filterwise.parameters import check_values, read

DEAD_KERNEL = 138  # papermill's exit status
_PATIENCE = 10.0  # seconds that a stopped papermill has to end its kernel


class ChapterFailed(BookError):
    """A chapter did not run to its end. ``status``: papermill's exit status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def chapter_path(chapter: str, folder: str | Path | None = None) -> Path:
    """A chapter's notebook, by its name (``4-sfp``) or by its path.

    Raises ParameterError: with the near miss, if there is no such chapter.
    """
    if chapter.endswith(".ipynb"):
        return Path(chapter)
    place = Path(folder) if folder else (checkout() or Path.cwd()) / "chapters"
    check_choice("chapter", chapter, sorted(path.stem for path in place.glob("*.ipynb")))
    return place / f"{chapter}.ipynb"


def default_output(notebook: Path, values: Mapping[str, Any]) -> Path:
    """``_build/runs/<chapter>[-name=value...].ipynb`` of the repository."""
    name = "-".join([notebook.stem, *(f"{name}={value}".replace("/", "_") for name, value in values.items())])
    return (checkout() or Path.cwd()) / "_build" / "runs" / f"{name[:200]}.ipynb"


def launch(
    notebook: Path,
    values: Mapping[str, Any],
    output: Path,
    *,
    failed: Path | None = None,
    log: bool = False,
    progress: bool = False,
    cell_timeout: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Execute a notebook in its own folder; ``output`` is replaced only if all cells ran.

    Parameters
    ----------
    values : papermill parameters; each must be in the notebook's parameter cell.
    failed : where a notebook whose cell failed is left; ``<output>.failed.ipynb`` if not given.
    log, progress : pass on what the cells print, and papermill's bar, to standard error.
    cell_timeout : seconds that one cell may take.
    environment : variables to set for the kernel.

    Raises ParameterError for a parameter that is not allowed, before a kernel starts; or if ``output`` is the
    notebook itself; FolderError, before as well, if its folder is full or cannot be written to; RunError if
    papermill is not installed; ChapterFailed: one line that names the cell and its error.
    """
    check_values(read(notebook), values)
    if importlib.util.find_spec("papermill") is None:
        raise RunError("papermill is not installed; pip install 'filterwise[book]'")
    if output.resolve() == notebook.resolve():
        raise ParameterError(f"output {output} is the chapter itself; chapters are kept without outputs")
    failed = failed or output.with_suffix(".failed.ipynb")
    disk.check_writable(output.parent)
    # a folder for the unfinished notebook: those of killed processes are found and removed
    with disk.naming(output.parent), disk.scratch(output.parent, "run") as folder:
        unfinished = folder / output.name
        command = [sys.executable, "-m", "papermill", str(notebook), str(unfinished), "-y", _as_yaml(values)]
        command += ["--cwd", str(notebook.parent.resolve())]
        command += ["--progress-bar" if progress else "--no-progress-bar", *(["--log-output"] if log else [])]
        command += ["--execution-timeout", str(cell_timeout)] if cell_timeout else []
        status, said = _papermill(command, {**os.environ, **(environment or {})}, say=log or progress)
        if status != 0:
            why = _why(unfinished, status, said)
            if unfinished.is_file():
                os.replace(unfinished, failed)
                why += f"; as far as it came: {failed}"
            raise ChapterFailed(why, status)
        os.replace(unfinished, output)
    failed.unlink(missing_ok=True)


def _as_yaml(values: Mapping[str, Any]) -> str:
    import yaml

    return yaml.safe_dump(dict(values), allow_unicode=True)  # writes 1.0e-05, which YAML reads as a number


def ends_with_parent(signal_number: int) -> Callable[[], None] | None:
    """What a child calls at its start, so that it is sent a signal if what started it is killed.

    To be exact, the signal comes when the thread that started the child ends. Only Linux has this; ``None``
    elsewhere.
    """
    if not sys.platform.startswith("linux"):
        return None
    prctl, own = ctypes.CDLL(None).prctl, os.getpid()

    def ask() -> None:
        if signal_number != signal.SIGKILL:
            # what a shell starts in the background ignores SIGINT, and so would its children
            signal.signal(signal_number, signal.SIG_DFL)
        prctl(1, signal_number)  # PR_SET_PDEATHSIG
        if os.getppid() != own:  # killed meanwhile
            os._exit(1)

    return ask


def _papermill(command: list[str], environment: Mapping[str, str], say: bool) -> tuple[int, str]:
    """Exit status and standard error; papermill and its kernel end with this process if that is stopped."""
    process = subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=ends_with_parent(signal.SIGINT),
    )  # fmt: skip
    assert process.stderr is not None
    try:
        said = _pass_on(process.stderr, say)
        return process.wait(), said
    except BaseException:
        process.send_signal(signal.SIGINT)  # papermill then ends the kernel
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        raise
    finally:
        process.stderr.close()


def _pass_on(stream: IO[str], say: bool) -> str:
    """Show papermill's progress as it comes, and keep back the traceback: the notebook has it."""
    lines = [""]
    while character := stream.read(1):
        lines[-1] += character
        if character in "\r\n":
            say = say and not lines[-1].startswith("Traceback (most recent call last)")
            if say and "IPKernelApp" not in lines[-1]:
                sys.stderr.write(lines[-1])
                sys.stderr.flush()
            lines.append("")
    return "".join(lines).strip()


def _why(notebook: Path, status: int, said: str) -> str:
    """One line on the cell that failed."""
    last = said.splitlines()[-1] if said else ""
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError, KeyError):
        return f"papermill ended with status {status} before the first cell: {last}"
    # counted as in the chapter: without the values that papermill put in, and its note on top of what failed
    added = {"injected-parameters", "papermill-error-cell-tag"}
    cells = [each for each in cells if each["cell_type"] == "code"]
    cells = [each for each in cells if not added & set(each["metadata"].get("tags", []))]
    for number, cell in enumerate(cells, start=1):
        for error in (each for each in cell["outputs"] if each["output_type"] == "error"):
            first_line = next(iter("".join(cell["source"]).strip().splitlines()), "")
            reason = f"{error['ename']}: {error['evalue']}".splitlines()[0]
            if "CellTimeoutError" in said:
                reason = "it took longer than a cell may"
            return f"code cell {number}, `{first_line}`, failed: {reason}"
    # papermill notes the start of each cell; whether a cell ended is not to be relied on when its kernel died
    begun = sum(bool(cell["metadata"].get("papermill", {}).get("start_time")) for cell in cells)
    if status == DEAD_KERNEL:
        return f"the kernel died in code cell {begun} of {len(cells)}; out of memory?"
    return f"papermill ended with status {status} in code cell {begun} of {len(cells)}: {last}"
