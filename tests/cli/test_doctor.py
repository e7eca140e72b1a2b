"""``filterwise doctor``: what is there, what is missing, and the command for it."""

import importlib.metadata

import pytest

from filterwise import data
from filterwise.cli import machine, main


def lines(capsys, *arguments, status=0):
    assert main(["doctor", *arguments]) == status
    return capsys.readouterr().out.splitlines()


@pytest.fixture(autouse=True)
def no_sets(monkeypatch):
    monkeypatch.delenv("FILTERWISE_DATA", raising=False)


def test_every_set_is_there_or_the_command_for_it_is_said(capsys, tmp_path):
    said = lines(capsys)
    assert said[-1] == "the chapters can be run"
    for name in data.names():
        (line,) = [each for each in said if each[10:].split(":")[0].split(";")[0] == name]
        info = data.describe(name)
        if info.kind == "embedded":
            assert line.startswith("  ok      ")
        elif info.downloadable:
            assert line == f"  missing {name}; filterwise data fetch {name}"
    (tmp_path / "sets" / "imagenet" / "val").mkdir(parents=True)
    assert f"  ok      imagenet: in {tmp_path / 'sets'}" in lines(capsys, "--root", str(tmp_path / "sets"))


def test_a_folder_of_sets_that_is_none_is_named(capsys, tmp_path):
    said = lines(capsys, "--root", str(tmp_path / "none"))
    assert f"  missing {tmp_path / 'none'} is no folder; set FILTERWISE_DATA, or give --root" in said


def test_a_missing_package_is_named_with_its_extra(capsys, monkeypatch):
    real = importlib.metadata.version

    def version(name):
        if name in ("captum", "torch-pruning", "mlxtend"):
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(machine.importlib.metadata, "version", version)
    said = lines(capsys, status=1)
    assert "  missing torch-pruning: removal of dead channels; pip install 'filterwise[removal]'" in said
    assert any("mlxtend" in line and line.endswith("needed: pip install 'filterwise[book]'") for line in said)
    assert said[-1] == "the chapters cannot be run before this is mended"


def test_a_folder_that_cannot_be_written_to_is_named(capsys, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FILTERWISE_RUNS", str(tmp_path / "file"))
    said = lines(capsys, status=1)
    (line,) = [each for each in said if "FILTERWISE_RUNS" in each]
    assert line.startswith(f"  missing runs (FILTERWISE_RUNS): {tmp_path / 'file'} cannot be written to")
