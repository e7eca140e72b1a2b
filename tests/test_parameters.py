"""Strict parameters: before a kernel, and in the chapter itself under plain papermill."""

import subprocess
import sys
from pathlib import Path

import nbformat
import papermill
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from filterwise import parameters
from filterwise.errors import ParameterError
from filterwise.parameters import check, check_values, from_texts, parse, read

CELL = """\
profile: str = "quick"  # quick, cifar or paper
seed: int = 0  # of everything drawn
seeds: int = 1
device: str = "auto"
data_root: str = ""
width: float = 0.5  # factor on filters
layers: list[int] = [1, 2]
shape: tuple[int, int] = (3, 4)
labels: int | None = None
retrain: bool = False
data: str = "parts"
"""
SCHEMA = parse(CELL)


def notebook(path: Path, cell: str = CELL, then: str = "check(globals())") -> Path:
    cells = [
        new_code_cell(cell, metadata={"tags": ["parameters"]}),
        new_code_cell(f"from filterwise.parameters import check\n{then}"),
        new_code_cell(
            "accuracy = 0.5\ntable: object = [accuracy]\ncheck(globals())\nprint(seed, repr(width))"
        ),
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)
    return path


def test_the_schema_agrees_with_papermills_own_reading_of_the_cell(tmp_path):
    path = notebook(tmp_path / "chapter.ipynb")
    ours, theirs = read(path), papermill.inspect_notebook(str(path))
    assert [name for name in ours if name != "labels"] == list(theirs)  # papermill does not see 'int | None'
    for name in theirs:
        parameter = ours[name]
        assert parameter.type == theirs[name]["inferred_type_name"].strip()
        assert repr(parameter.default) == repr(eval(theirs[name]["default"]))
        assert parameter.comment == theirs[name]["help"]


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("seed = 0", "line 1: 'seed = 0' is not of the form"),
        ("seed: int", "not of the form"),
        ("import os", "not of the form"),
        ("seed: int = 1 + f()", "not a literal"),
        ("seed: int = 'a'", "seed='a' is a str; it must be an int"),
        ("seed: Path = 1", "the type 'Path' is not known"),
        ("seed: int = (", "line 1"),
    ],
)
def test_a_parameter_cell_that_is_no_schema_is_refused(cell, message):
    with pytest.raises(ParameterError, match=message.replace("(", r"\(")):
        parse(cell)


@pytest.mark.parametrize("text", ["{}", "no json", '{"cells": 1}', '{"cells": []}'])
def test_what_is_no_notebook_with_parameters_is_refused(tmp_path, text):
    (tmp_path / "a.ipynb").write_text(text)
    with pytest.raises(ParameterError, match=r"a\.ipynb"):
        read(tmp_path / "a.ipynb")
    with pytest.raises(ParameterError, match="there is no notebook"):
        read(tmp_path / "b.ipynb")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("seed", "3", 3),
        ("width", "1e-3", 0.001),
        ("width", "2", 2.0),
        ("retrain", "True", True),
        ("profile", "cifar", "cifar"),
        ("layers", "[3, 4]", [3, 4]),
        ("layers", "3,4", [3, 4]),
        ("labels", "None", None),
        ("labels", "5", 5),
    ],
)
def test_text_of_the_command_line_is_read_by_type(name, text, value):
    read = from_texts(SCHEMA, [(name, text)])[name]
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("name", "text"), [("seed", "1.5"), ("seed", "1e3"), ("width", "wide"), ("retrain", "1"), ("layers", "a")]
)
def test_text_of_another_type_is_refused(name, text):
    with pytest.raises(ParameterError, match=f"{name}='{text}' is not a"):
        from_texts(SCHEMA, [(name, text)])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"seedz": 1}, "parameter='seedz' is not known; .* did you mean 'seed"),
        ({"profile": "papr"}, "profile='papr' is not known; .* did you mean 'paper'"),
        ({"profile": 7}, "profile=7 is an int; it must be a str; .* -r"),
        ({"seed": True}, "seed=True is a bool; it must be an int"),
        ({"seed": 1.0}, "seed=1.0 is a float"),
        ({"seed": -1}, "seed=-1 is too small"),
        ({"seed": 2**32}, "too large"),
        ({"seeds": 0}, "seeds=0 is too small"),
        ({"width": "1e-3"}, "YAML reads 1e-3 as text, write 1.0e-03"),
        ({"width": None}, "width=None is a NoneType"),
        ({"device": "cdua"}, "device='cdua' is not known; .* did you mean 'cuda'"),
        ({"data": "cifar11"}, "data='cifar11' is not known; .* did you mean 'cifar10'"),
        ({"data_root": "/nowhere/at/all"}, "is not a folder"),
        ({"layers": [1, "a"]}, r"must be a list\[int\]"),
        ({"shape": [1, 2, 3]}, r"must be a tuple\[int, int\]"),
        ({"labels": "3"}, r"must be an int \| None"),
    ],
)
def test_values_that_cannot_be_are_refused(values, message):
    with pytest.raises(ParameterError, match=message):
        check_values(SCHEMA, values)


def test_a_folder_of_data_is_found_by_a_kernel_that_works_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert from_texts(SCHEMA, [("data_root", "."), ("seed", "2")]) == {"data_root": str(tmp_path), "seed": 2}


def test_values_that_can_be_are_accepted(tmp_path):
    check_values(SCHEMA, {name: parameter.default for name, parameter in SCHEMA.items()})
    check_values(
        SCHEMA,
        {"width": 1, "shape": [3, 4], "data_root": str(tmp_path), "device": "cuda:3", "seed": 2**32 - 1},
    )


@pytest.mark.parametrize(
    ("line", "allowed", "refused"),
    [
        ("x: float = 0.3  # theta in [0, 1), above which", [0, 0.999], [1.0, -0.1, float("nan")]),
        ("x: float = 0.3  # in (0, 1]", [1.0], [0.0, 1.1]),
        ("x: int = 3  # pictures, at least 1", [1, 10**9], [0, -1]),
        ("x: float = 3  # above 0; else 1", [1e-9], [0.0, float("inf")]),
        ("x: list[float] = []  # each above 0; empty: the profile's", [[], [1, 2.5]], [[1, 0.0]]),
        ("x: float | None = None  # at least -1.5", [None, -1.5], [-2.0]),
        ("x: str = ''  # a | b1, of both; empty: all", ["a", "b1", ""], ["c", "a | b1"]),
        ("x: str = 'a'  # a | b, or as in 'after 2'", ["c"], []),
        ("x: str = 'a'  # a | b", ["b"], [""]),
        ("x: float = 1  # factor on the filters above the first", [0.0, -3], []),
    ],
)
def test_a_comment_says_what_the_values_can_be(line, allowed, refused):
    schema = parse(line)
    for value in allowed:
        check_values(schema, {"x": value})
    for value in refused:
        with pytest.raises(
            ParameterError, match=r"x=.* (must be (in|at least|above)|is not known; choose from)"
        ):
            check_values(schema, {"x": value})


def test_a_comments_range_is_checked_in_a_notebook_as_well():
    cell = 'profile: str = "quick"\nwidth: float = 1.0  # above 0'
    check(namespace(cell, "# Parameters\nwidth = 2"))
    with pytest.raises(ParameterError, match="width=-2 is not allowed; it must be above 0"):
        check(namespace(cell, "# Parameters\nwidth = -2"))


def namespace(*cells: str) -> dict:
    """What IPython holds after these cells have run with history."""
    names: dict = {"In": ["", *cells], "Out": {}, "exit": 1, "get_ipython": 2}
    for cell in cells:
        exec(cell, names)
    return names


def test_check_in_a_notebook_looks_at_injected_cells_only():
    check(namespace(CELL))
    check(namespace(CELL, "# Parameters\nseed = 3", "sead = 4\nother: object = 1"))
    with pytest.raises(ParameterError, match="'sead' is not known"):
        check(namespace(CELL, "# Parameters\nsead = 4"))
    with pytest.raises(ParameterError, match="has not run a cell"):
        check(namespace("x = 1"))


def test_check_works_where_cells_leave_no_history():
    names = namespace(CELL)
    names["In"] = [""]
    check(names)
    names["seed"] = "3"
    with pytest.raises(ParameterError, match="seed='3' is a str"):
        check(names)


def test_the_edited_cell_counts_that_ran_last():
    check(namespace(CELL, 'profile: str = "quick"\nmine: int = 1', "# Parameters\nmine = 2"))
    with pytest.raises(ParameterError, match="seed='3' is a str"):
        check(namespace('profile: str = "quick"\nseed: int = 1', "# Parameters\nseed = '3'"))


def test_check_passes_in_a_kernel_under_nbval(tmp_path):
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--nbval-lax",
        "--nbval-current-env",
    ]
    done = subprocess.run(
        [*command, notebook(tmp_path / "chapter.ipynb")],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert "3 passed" in done.stdout, done.stdout


def run_papermill(source: Path, *values: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "papermill", source, source.with_name("out.ipynb"), "--no-progress-bar"]
    return subprocess.run([*command, *values], capture_output=True, text=True, check=False)


def test_plain_papermill_fails_in_the_first_code_cell_with_the_same_message(tmp_path):
    source = notebook(tmp_path / "chapter.ipynb")
    done = run_papermill(source, "-p", "seedz", "1", "-p", "width", "1")
    assert done.returncode == 1
    with pytest.raises(ParameterError) as refused:
        check_values(parameters.read(source), {"seedz": 1})
    assert f"ParameterError: {refused.value}" in done.stderr
    executed = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    assert [cell.execution_count for cell in executed.cells if cell.cell_type == "code"][-1] is None


def test_plain_papermill_accepts_what_is_allowed(tmp_path):
    done = run_papermill(notebook(tmp_path / "chapter.ipynb"), "-p", "seed", "3", "-p", "width", "1e-3")
    assert done.returncode == 0, done.stderr
    executed = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    assert executed.cells[-1].outputs[0].text == "3 0.001\n"
