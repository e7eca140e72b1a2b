"""Folders of its own for each test, and the one line that a wrong command ends with."""

from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from filterwise.cli import main

PARAMETERS = 'profile: str = "quick"  # quick | cifar\nseed: int = 0\nwidth: float = 1.0\ndata_root: str = ""'


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    for name in ("RUNS", "RECORDS", "CACHE"):
        monkeypatch.setenv(f"FILTERWISE_{name}", str(tmp_path / name.lower()))


@pytest.fixture
def refused(capsys) -> Callable[..., str]:
    def ask(*arguments: str) -> str:
        status = main(list(arguments))
        said = capsys.readouterr()
        assert status == 2
        assert said.out == ""
        assert said.err.startswith("filterwise: error: ")
        assert said.err.count("\n") == 1
        return said.err

    return ask


@pytest.fixture
def notebook(tmp_path) -> Callable[..., Path]:
    def write(*cells: str) -> Path:
        sources = [new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}), *map(new_code_cell, cells)]
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        path = tmp_path / "chapter.ipynb"
        nbformat.write(new_notebook(cells=sources, metadata={"kernelspec": kernel}), path)
        return path

    return write
