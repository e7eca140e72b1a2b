"""Rules of the house that every change keeps: stripped notebooks, short files, imports one way, no strays."""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = ROOT / "lib" / "filterwise"

# Each imports only from those before it.
LAYERS = (
    "errors", "files", "disk", "registry", "lazy", "data", "parameters", "models", "training", "measure",
    "prune", "runs", "claims", "figures", "papers", "book", "cli",
)  # fmt: skip
# Below the line that the papers draw: what these know of papers is only where they would be found.
CORE = set(LAYERS) - {"figures", "book", "papers", "cli"}
# What draws, or talks to notebooks, is imported where it is used; torchvision only behind its shim.
LAZY = {
    "matplotlib", "seaborn", "plotly", "ipywidgets", "IPython", "papermill", "nbformat", "nbclient", "sphinx",
    "jupyter_client", "selenium", "dask", "distributed", "dask_jobqueue", "mlxtend", "torchvision", "typer",
    "pydantic", "click", "pooch",
}  # fmt: skip


def tracked(*patterns: str) -> list[Path]:
    """Files that git knows, or in a copy without git, the files that are there."""
    asked = subprocess.run(
        ["git", "ls-files", "-z", *patterns], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if asked.returncode == 0 and asked.stdout:
        return [path for name in asked.stdout.split("\0") if name and (path := ROOT / name).is_file()]
    skipped = {".venv", "_build", ".git"}
    found = [path for pattern in patterns or ("*",) for path in ROOT.rglob(pattern.removeprefix("*/"))]
    return [path for path in found if path.is_file() and not skipped & set(path.relative_to(ROOT).parts)]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


NOTEBOOKS = tracked("*.ipynb")
MODULES = sorted(LIBRARY.rglob("*.py"))


def layer(path: Path) -> str:
    return path.relative_to(LIBRARY).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_notebooks_are_kept_without_outputs_and_with_short_cells(path: Path) -> None:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell for cell in code if cell["outputs"] or cell["execution_count"]] == []
    assert [length for cell in code if (length := len("".join(cell["source"]).splitlines())) > 15] == []


@pytest.mark.parametrize("path", [path for path in NOTEBOOKS if path.parent.name == "chapters"], ids=name)
def test_a_chapter_has_its_parameters_and_prose_before_every_code_cell(path: Path) -> None:
    from filterwise.parameters import read

    assert list(read(path))[:5] == ["profile", "seed", "seeds", "device", "data_root"]
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    kinds = [cell["cell_type"] for cell in cells if "parameters" not in cell["metadata"].get("tags", [])]
    first = kinds.index("code")
    pairs = zip(kinds[first:], kinds[first + 1 :], strict=False)
    assert ("code", "code") not in list(pairs), "two code cells stand together without a sentence between"


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_file_of_the_library_holds_one_idea(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300


def imported(path: Path, inside_functions: bool) -> set[str]:
    """Modules that a file imports; those under ``if TYPE_CHECKING`` cost nothing and are left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    free = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.dump(block.test)
        for node in ast.walk(block)
    }
    nodes = [node for node in (ast.walk(tree) if inside_functions else tree.body) if id(node) not in free]
    found = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


@pytest.mark.parametrize("path", [path for path in MODULES if layer(path) in LAYERS], ids=name)
def test_imports_run_one_way(path: Path) -> None:
    later = {f"filterwise.{other}" for other in LAYERS[LAYERS.index(layer(path)) + 1 :]}
    used = {".".join(module.split(".")[:2]) for module in imported(path, inside_functions=True)}
    assert used & later == set()


@pytest.mark.parametrize("path", [path for path in MODULES if layer(path) != "papers"], ids=name)
def test_only_papers_knows_the_papers(path: Path) -> None:
    """But for ``papers.chapter`` and ``papers.page``, which speak of chapters in general."""
    papers = {each.name for each in (LIBRARY / "papers").iterdir() if (each / "__init__.py").is_file()}
    known = {
        module.split(".")[2] for module in imported(path, True) if module.startswith("filterwise.papers.")
    }
    assert not known & papers
    source = path.read_text(encoding="utf-8")
    chapters = [chapter.stem for chapter in (ROOT / "chapters").glob("*.ipynb")]
    code = re.sub(r'""".*?"""|#[^\n]*', "", source, flags=re.DOTALL)  # examples may name a chapter
    assert [chapter for chapter in chapters if f'"{chapter}"' in code] == []


def test_modules_are_named_by_what_is_inside() -> None:
    """No two packages have a module of one name, but for those that a paper's folder may have."""
    own = {"plan", "measure", "quantities", "figures", "backward", "edits", "__init__"}
    stems = [path.stem for path in MODULES if path.stem not in own]
    assert sorted({stem for stem in stems if stems.count(stem) > 1}) == []
    called = []
    for path in MODULES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        called += [
            name(path) for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == path.stem
        ]
    assert called == []


def test_no_public_name_of_a_package_is_that_of_one_of_its_modules() -> None:
    """After an import of the module, the package's attribute would be the module and no more the name."""
    packages = [path for path in MODULES if path.stem == "__init__"]
    hidden = []
    for path in packages:
        dotted = ".".join(path.parent.relative_to(LIBRARY.parent).parts)
        public = getattr(importlib.import_module(dotted), "__all__", ())
        modules = {other.stem for other in path.parent.glob("*.py")}
        hidden += [f"{dotted}.{one}" for one in public if one in modules]
    assert len(packages) > 10
    assert hidden == []


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_no_docstring_cites_what_is_not_in_the_repository(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert (
        re.findall(r"\b(?:the|our|its) specs?\b|design(?: page|\.md)|\bspec\.md", source, re.IGNORECASE) == []
    )


@pytest.mark.parametrize("path", [path for path in MODULES if layer(path) in CORE], ids=name)
def test_the_core_imports_what_draws_only_where_it_is_used(path: Path) -> None:
    assert {module.split(".")[0] for module in imported(path, inside_functions=False)} & LAZY == set()


def test_importing_the_package_is_quick_to_the_heavy_parts() -> None:
    code = "import sys, filterwise; print({'torch', 'pandas', 'matplotlib'} & set(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "set()"


def test_no_tracked_file_is_large_or_names_a_place_on_this_machine() -> None:
    large = [name(path) for path in tracked() if path.stat().st_size > 8 * 2**20]
    assert large == []
    place = str(ROOT.parent) + os.sep
    if len(ROOT.parent.parts) < 2:
        pytest.skip("the repository lies at the top of the file system")
    kinds = {".py", ".md", ".yml", ".toml", ".cff", ".ipynb", ".csv", ".json", ""}
    texts = [path for path in tracked() if path.suffix in kinds]
    assert [name(path) for path in texts if place in path.read_text(encoding="utf-8", errors="replace")] == []


def test_no_weights_are_pickled() -> None:
    calls = re.compile(r"\btorch\.(save|load)\((?!.*weights_only=True)|\bpickle\.(dump|load)s?\(")
    assert [name(path) for path in MODULES if calls.search(path.read_text(encoding="utf-8"))] == []


def test_the_readmes_commands_are_there() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z-]+)", readme))
    assert {"book", "test"} <= named <= targets
    links = re.findall(r"\]\(([^)#:]+)\)", readme)
    assert [link for link in links if not (ROOT / link).exists()] == []
    assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


@pytest.mark.slow
def test_the_readmes_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", readme, flags=re.DOTALL)
    namespace: dict[str, object] = {}
    exec(example, namespace)
    printed = capsys.readouterr().out.splitlines()[-1].split()
    said = re.search(r"prints `([\d. ]+)`", readme)
    assert said is not None
    # other processors round differently: the same numbers to a fifth, and a network that has learned
    assert [float(one) for one in printed] == pytest.approx([float(one) for one in said[1].split()], rel=0.2)
    assert float(printed[0]) > 0.95


def test_the_hooks_before_a_commit_are_those_of_the_environment() -> None:
    content = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    hooks = {hook["id"]: hook for repository in content["repos"] for hook in repository["hooks"]}
    assert {"ruff-check", "ruff-format", "nbstripout"} <= set(hooks)
    assert {repository["repo"] for repository in content["repos"]} == {"local"}
    for hook in hooks.values():
        assert (Path(sys.executable).parent / Path(hook["entry"].split()[0]).name).is_file()


def test_requirements_are_pinned_and_the_book_stays_on_sphinx() -> None:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    wanted = [line.split("#")[0].strip() for line in lines if line.split("#")[0].strip()]
    assert [line for line in wanted if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []
    assert "jupyter-book==1.0.4.post1" in wanted


def test_the_citation_file_names_the_version() -> None:
    import filterwise

    content = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert content["version"] == filterwise.__version__
    assert len(content["references"]) >= 7
