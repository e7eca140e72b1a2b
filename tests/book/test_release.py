"""A release holds all that an archive needs, agrees with the ledger, and appears whole or not at all."""

import json
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from filterwise import claims
from filterwise.book import release
from filterwise.book.assembly import Built
from filterwise.cli import main
from filterwise.errors import BookError


@pytest.fixture
def pages(tmp_path, monkeypatch) -> Path:
    """Pages that were built before."""
    html = tmp_path / "html"
    (html / "book").mkdir(parents=True)
    (html / "index.html").write_text("<html></html>")
    monkeypatch.setattr(release, "build", lambda root, say: Built(html / "index.html", (), False))
    return html


def test_a_release_holds_pages_records_verdicts_and_environment(pages, tmp_path, root, capsys, monkeypatch):
    out, judged = tmp_path / "release", tuple(claims.findings())
    monkeypatch.setattr(claims, "findings", lambda: iter(judged))
    assert main(["release", str(out)]) == 0
    assert (out / "book" / "index.html").read_text() == "<html></html>"
    verdicts = json.loads((out / "claims.json").read_text())
    assert {(each["claim"], each["verdict"]) for each in verdicts} == {
        (each.claim.id, each.verdict) for each in judged
    }
    assert f"{len(verdicts)} verdicts" in capsys.readouterr().out
    ours = {path.relative_to(root / "data") for path in (root / "data" / "records").rglob("*.csv")}
    assert ours == {path.relative_to(out) for path in (out / "records").rglob("*.csv")}
    assert not list((out / "records").rglob(".*"))
    environment = (out / "environment.txt").read_text()
    assert environment.startswith("# Python 3.")
    assert "\ntorch==" in environment
    assert {"README.md", "LICENSE", "CITATION.cff", "requirements.txt"} <= {
        each.name for each in out.iterdir()
    }
    if (root / ".git").exists() and shutil.which("git"):
        with tarfile.open(out / "source.tar.gz") as source:
            assert "pyproject.toml" in source.getnames()
    done = subprocess.run(
        ["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=out, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
    listed = [line.split("  ")[1] for line in (out / "SHA256SUMS").read_text().splitlines()]
    there = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    assert sorted([*listed, "SHA256SUMS"]) == there


def test_what_is_there_is_not_written_over(pages, tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    assert main(["release", str(tmp_path / "mine")]) == 2
    assert "holds something; a release is written into a new folder" in capsys.readouterr().err
    assert [each.name for each in (tmp_path / "mine").iterdir()] == ["thesis.tex"]


def test_nothing_is_left_of_a_release_whose_book_fails(tmp_path, monkeypatch, capsys):
    def fails(root, say):
        raise BookError("chapters/1-pooling.ipynb, cell 3: no")

    monkeypatch.setattr(release, "build", fails)
    assert main(["release", str(tmp_path / "release")]) == 1
    assert "the book was not built: chapters/1-pooling.ipynb" in capsys.readouterr().err
    assert not (tmp_path / "release").exists()
