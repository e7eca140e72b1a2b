"""``filterwise run``: a strict front to papermill, which runs the chapter in a process of its own."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from filterwise import parameters
from filterwise.errors import ParameterError, RunError, check_choice
from filterwise.files import checkout

DEAD_KERNEL = 138


def chapter_path(chapter: str, folder: str | Path | None = None) -> Path:
    """A chapter's notebook, by its name (``4-sfp``) or by its path.

    Raises
    ------
    ParameterError
        With the near miss, if there is no such chapter.
    """
    if chapter.endswith(".ipynb"):
        return Path(chapter)
    place = Path(folder) if folder else (checkout() or Path.cwd()) / "chapters"
    known = sorted(path.stem for path in place.glob("*.ipynb"))
    if not known:
        raise ParameterError(f"chapter={chapter!r}: there are no notebooks in {place}")
    check_choice("chapter", chapter, known)
    return place / f"{chapter}.ipynb"


def from_texts(
    schema: Mapping[str, parameters.Parameter], given: Iterable[tuple[str, str]]
) -> dict[str, Any]:
    """Values for a chapter from the command line's texts, checked against its parameter cell.

    Raises
    ------
    ParameterError
        For a name, type or value that is not allowed.
    """
    values: dict[str, Any] = {}
    for name, text in given:
        check_choice("parameter", name, schema)
        if name in values:
            raise ParameterError(f"parameter {name!r} is given twice")
        values[name] = parameters.from_text(schema[name], text)
    parameters.check_values(schema, values)
    if values.get("data_root"):
        values["data_root"] = str(
            Path(values["data_root"]).expanduser().resolve()
        )  # the kernel works elsewhere
    return values


def default_output(notebook: Path, values: Mapping[str, Any]) -> Path:
    """``_build/runs/<chapter>[-name=value...].ipynb`` of the repository."""
    name = "-".join([notebook.stem, *(f"{name}={value}".replace("/", "_") for name, value in values.items())])
    return (checkout() or Path.cwd()) / "_build" / "runs" / f"{name[:200]}.ipynb"


def run(
    notebook: Path,
    values: Mapping[str, Any],
    output: Path,
    *,
    log: bool = False,
    progress: bool = True,
    say: Callable[[str], object] = lambda line: None,
) -> int:
    """Execute a notebook with values that were checked; papermill's exit status.

    The result takes the place of ``output`` only if all cells ran; else it is left beside it as
    ``<name>.failed.ipynb``, and ``say`` is given one line that says why.

    Raises
    ------
    RunError
        If papermill is not installed.
    ParameterError
        If ``output`` is the notebook itself.
    """
    if importlib.util.find_spec("papermill") is None:
        raise RunError("papermill is not installed; pip install 'filterwise[book]'")
    if output.resolve() == notebook.resolve():
        raise ParameterError(f"output {output} is the chapter itself; chapters are kept without outputs")
    output.parent.mkdir(parents=True, exist_ok=True)
    failed = output.with_suffix(".failed.ipynb")
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".run-") as folder:
        unfinished, given = Path(folder) / "run.ipynb", Path(folder) / "parameters.yml"
        given.write_text(_as_yaml(values), encoding="utf-8")
        command = [sys.executable, "-m", "papermill", str(notebook), str(unfinished), "-f", str(given)]
        command += [
            "--cwd",
            str(notebook.parent.resolve()),
            "--progress-bar" if progress else "--no-progress-bar",
        ]
        command += ["--log-output"] if log else []
        status = _call(command)
        if status == 0:
            os.replace(unfinished, output)
            failed.unlink(missing_ok=True)
            return 0
        why = _why(unfinished, status)
        if unfinished.is_file():
            os.replace(unfinished, failed)
            why += f"; as far as it came: {failed}"
        say(why)
    return status


def _as_yaml(values: Mapping[str, Any]) -> str:
    import yaml

    return yaml.safe_dump(dict(values), allow_unicode=True)  # writes 1.0e-05, which YAML reads as a number


def _call(command: list[str]) -> int:
    environment = {**os.environ, "MPLBACKEND": os.environ.get("MPLBACKEND", "agg")}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        _pass_on(process.stderr)
        return process.wait()


def _pass_on(stream: Any) -> None:
    """Show papermill's progress as it comes, and keep back the traceback: the notebook has it."""
    line, silent = "", False
    while character := stream.read(1):
        line += character
        if character in "\r\n":
            silent = silent or line.startswith("Traceback (most recent call last)")
            if not silent and "IPKernelApp" not in line:
                sys.stderr.write(line)
                sys.stderr.flush()
            line = ""
    if line and not silent:
        sys.stderr.write(line + "\n")


def _why(notebook: Path, status: int) -> str:
    """One line on the cell that failed."""
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError, KeyError):
        return f"papermill ended with status {status} before the first cell"
    cells = [
        cell
        for cell in cells
        if cell["cell_type"] == "code" and "papermill-error-cell-tag" not in _tags(cell)
    ]
    for number, cell in enumerate(cells, start=1):
        for output in cell.get("outputs", ()):
            if output.get("output_type") == "error":
                return f"code cell {number} failed: {output['ename']}: {output['evalue']}".splitlines()[0]
    # papermill notes the start of each cell; whether a cell ended is not to be relied on when its kernel died
    begun = sum(bool(cell["metadata"].get("papermill", {}).get("start_time")) for cell in cells)
    if status == DEAD_KERNEL:
        return f"the kernel died in code cell {begun} of {len(cells)}; out of memory?"
    return f"papermill ended with status {status} in code cell {begun} of {len(cells)}"


def _tags(cell: Mapping[str, Any]) -> list[str]:
    return cell.get("metadata", {}).get("tags", [])
