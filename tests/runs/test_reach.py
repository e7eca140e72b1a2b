"""A key hashes the code that a run can reach: what it uses and nothing else."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_runs import RUN

import filterwise
from filterwise.runs import reach
from filterwise.runs.specification import TRAINING_CODE

LIBRARY = Path(filterwise.__file__).parent
KEYS = """
import sys
sys.path.insert(0, sys.argv[1])
from tiny_runs import RUN
import filterwise
assert filterwise.__file__.startswith(sys.argv[1]), filterwise.__file__
pruned = RUN.then(recipe=RUN.recipe, edit=("magnitude", {"layers": ["features.1.conv"], "keep": 0.5}))
print(RUN.key, pruned.keys().code)
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """A copy of the library that can be edited."""
    folder = tmp_path_factory.mktemp("library")
    shutil.copytree(LIBRARY, folder / "filterwise", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def keys(library: Path) -> list[str]:
    import os

    environment = {**os.environ, "PYTHONPATH": f"{library}:{Path(__file__).parent}"}
    done = subprocess.run(
        [sys.executable, "-c", KEYS, str(library)],
        capture_output=True, text=True, check=True, env=environment, cwd=library,
    )  # fmt: skip
    return done.stdout.split()


@pytest.mark.slow  # four fresh processes
def test_a_new_model_or_chapter_changes_no_key_and_an_edit_of_what_is_used_does(library):
    before = keys(library)
    (library / "filterwise" / "models" / "newest.py").write_text(
        "from filterwise.models.building import models\n\n\n@models('newest')\n"
        "def newest(labels, width, channels, size):\n    raise NotImplementedError\n"
    )
    paper = library / "filterwise" / "papers" / "newest"
    paper.mkdir()
    (paper / "__init__.py").write_text("from filterwise.papers.chapter import Chapter\n")
    (paper / "measure.py").write_text("x = 1\n")
    vgg = library / "filterwise" / "models" / "vgg.py"
    vgg.write_text(vgg.read_text() + "\n\nUNUSED_BY_LENET = 1\n")
    assert keys(library) == before

    magnitude = library / "filterwise" / "prune" / "magnitude.py"
    magnitude.write_text(magnitude.read_text() + "\n\nMORE = 1\n")
    run, pruned = keys(library)
    assert run == before[0]
    assert pruned != before[1]

    lenet = library / "filterwise" / "models" / "lenet.py"
    lenet.write_text(lenet.read_text() + "\n# a comment is no code\n")
    assert keys(library)[0] == before[0]
    lenet.write_text(lenet.read_text() + "\n\nMORE = 1\n")
    assert keys(library)[0] != before[0]


def test_a_training_reaches_the_loop_and_no_chapter_no_claims_no_figures():
    reached = reach.reached([*TRAINING_CODE, "filterwise.models.lenet"])
    assert {"filterwise.training.loop", "filterwise.training.recipe", "filterwise.errors"} <= set(reached)
    packages = {name.split(".")[1] for name in reached if "." in name}
    assert not packages & {"papers", "claims", "figures", "measure", "book", "cli"}
    models = {name for name in reached if name.startswith("filterwise.models.")}
    assert "filterwise.models.vgg" not in models
    data = {name for name in reached if name.startswith("filterwise.data.")}
    assert not data & {"filterwise.data.catalog", "filterwise.data.sources", "filterwise.data.digits"}


def test_imports_are_followed_through_packages_functions_and_not_through_types(tmp_path, monkeypatch):
    folder = tmp_path / "sample"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "a.py").write_text(
        "from typing import TYPE_CHECKING\nfrom sample import b\n"
        "if TYPE_CHECKING:\n    from sample import d\n"
        "def late():\n    from sample.c import x\n"
    )
    (folder / "b.py").write_text("y = 1\n")
    (folder / "c.py").write_text("x = 1\n")
    (folder / "d.py").write_text("z = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(reach, "PACKAGE", "sample")
    assert reach.reached(["sample.a"]) == ["sample.a", "sample.b", "sample.c"]


def test_a_function_without_a_file_counts_with_its_own_source():
    def typed(x):
        """Of no matter."""
        return x + 1

    def other(x):
        return x + 2

    typed.__module__ = other.__module__ = "__nowhere__"
    assert reach.code_digest(typed) != reach.code_digest(other)
    assert reach.code_digest(typed) == reach.code_digest(typed)


def test_the_key_contains_numerics(monkeypatch):
    plain = RUN.replace(**{"recipe.precision": "auto", "recipe.memory_format": "auto"})
    before = plain.keys(device="cpu")
    assert plain.keys(device="cpu", engine="stacked-2").key != before.key
    from filterwise.training import numerics

    has = numerics._has_bfloat16(numerics.pick_device("cpu"))
    monkeypatch.setattr(numerics, "_has_bfloat16", lambda device: not has)
    after = plain.keys(device="cpu")
    assert after.key != before.key
    assert after.spec_key == before.spec_key
