"""Binder and the container have the environment of `make book`: one list of requirements, one Python."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def allowed(version: str) -> bool:
    with (ROOT / "pyproject.toml").open("rb") as opened:
        bounds = re.findall(r"\d+\.\d+", tomllib.load(opened)["project"]["requires-python"])
    low, high = ([int(part) for part in bound.split(".")] for bound in bounds)
    return low <= [int(part) for part in version.split(".")] < high


def test_binder_installs_our_requirements_and_then_the_library():
    (line,) = (ROOT / "binder" / "requirements.txt").read_text().split("\n")[:-1]
    option, path = line.split()
    assert option == "-r"
    assert (ROOT / "binder" / path).resolve() == ROOT / "requirements.txt"
    after = ROOT / "binder" / "postBuild"
    assert after.stat().st_mode & 0o111
    assert "pip install --no-deps -e ." in after.read_text()


@pytest.mark.parametrize(
    ("file", "pattern"),
    [("binder/runtime.txt", r"^python-([\d.]+)\s*$"), ("Containerfile", r"^FROM python:([\d.]+)-slim$")],
)
def test_their_python_is_one_that_we_allow(file, pattern):
    (version,) = re.findall(pattern, (ROOT / file).read_text(), re.MULTILINE)
    assert allowed(version)
    assert not allowed("3.10")


def test_the_container_makes_the_environment_by_our_own_script_from_files_that_exist():
    text = (ROOT / "Containerfile").read_text()
    assert "sh .ci/environment .venv" in text
    copied = [word for line in re.findall(r"^COPY (.+) \S+$", text, re.MULTILINE) for word in line.split()]
    assert copied[-1] == "."
    assert all((ROOT / each).exists() for each in copied)
    before = text[: text.index("RUN PYTHON")]
    # the stamp of `make` needs no file that is copied later
    for needed in ("requirements.txt", "pyproject.toml", "README.md"):
        assert needed in before
