"""Every chapter keeps the house rules, and some as a lab runs them: other seeds and plans, wrong values."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from filterwise import claims, parameters
from filterwise.errors import ParameterError
from filterwise.papers.chapter import chapter_of
from filterwise.papers.page import Page

POOLING, TREE, POWER_LAW, AFCC, RODIB = "1-pooling", "2-tree", "3-power-law", "5-afcc", "6-rodib"
VIT = "7-vit-shp"


def run(root: Path, chapter: str, folder: Path, given: str) -> tuple[subprocess.CompletedProcess[str], Path]:
    """papermill with YAML parameters; runs and records in folders of their own, and no records."""
    output = folder / f"{chapter}.ipynb"
    places = {"FILTERWISE_RUNS": str(folder / "runs"), "FILTERWISE_RECORDS": str(folder / "records")}
    command = [sys.executable, "-m", "papermill", str(root / "chapters" / f"{chapter}.ipynb"), str(output)]
    done = subprocess.run(
        [*command, "-y", given, "--cwd", str(root / "chapters"), "--no-progress-bar"],
        env={**os.environ, **places, "FILTERWISE_STATIC": "1", "MPLBACKEND": "agg"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done, output


def shown(output: Path) -> str:
    """All that the page shows as text, and the kinds of its rich outputs."""
    found = []
    for cell in json.loads(output.read_text())["cells"]:
        for each in cell.get("outputs", []):
            data = each.get("data", {})
            found += ["".join(data.get(kind, "")) for kind in ("text/plain", "text/markdown")]
            found += ["".join(each.get("text", ""))]
            assert each.get("name") != "stderr", each
            assert "image/png" not in data
    return "\n".join(found)


def cells(root: Path, chapter: str) -> list[dict]:
    return json.loads((root / "chapters" / f"{chapter}.ipynb").read_text())["cells"]


NOTEBOOKS = sorted((Path(__file__).parents[2] / "chapters").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_pages_keep_the_house_rules(root, path):
    chapter = path.stem
    schema = parameters.read(path)
    assert list(schema)[:5] == ["profile", "seed", "seeds", "device", "data_root"]
    assert all(parameter.comment for parameter in schema.values())
    assert schema["profile"].comment == " | ".join(parameters.PROFILES)
    found = cells(root, chapter)
    assert len(found) <= 58
    before = None
    for cell in found:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code":
            assert before == "markdown", source
            assert len(source.splitlines()) <= 15, source
            if "parameters" not in cell["metadata"].get("tags", ()):
                assert max(map(len, source.splitlines())) <= 76, source
            assert cell["outputs"] == []
        before = cell["cell_type"]
    assert before == "markdown"


def test_every_notebook_has_its_folder_and_every_headline_its_claims():
    """Of the chapters found by themselves: a sentence for each verdict, about claims that there are."""
    for path in NOTEBOOKS:
        about = chapter_of(path.stem)
        assert about.question.endswith("?")
        assert about.title
        known = {claim.id for claim in claims.load(path.stem)}
        for sentence in about.found:
            assert sentence.claim in known
            if not isinstance(sentence.text, str):
                assert set(sentence.text) == {"holds", "fails", "undecided"}
        page = Page(path.stem)
        assert page.found().text
        assert about.question in page.glance().text


def run_to_the_end(root: Path, chapter: str, folder: Path, given: str, large: str) -> str:
    """All that the page shows where nothing is recorded; ``large`` is the scale that it then asks for."""
    done, output = run(root, chapter, folder, given)
    assert done.returncode == 0, done.stderr[-2000:]
    text = shown(output)
    assert f"Not recorded yet. Run `filterwise record {chapter} --profile {large}`." in text
    return text


@pytest.mark.slow
def test_pooling_with_another_plan_order_and_seed(root, tmp_path):
    text = run_to_the_end(root, POOLING, tmp_path, "{seed: 4, plan: L1, order: MP4-AP2, shown: 1}", "cifar")
    assert "vgg-mini L1 MP4→AP2" in text
    assert re.search(r"Figure 1.\d. On parts late pooling is 0.\d+ (above|below) V at equal epochs", text)
    assert "seeds 4 to 4" not in text


@pytest.mark.slow
def test_trees_of_another_shape_and_rate(root, tmp_path):
    given = "{seed: 3, seeds: 1, K: 2, M: 3, rates: [0.005, 0.01]}"
    text = run_to_the_end(root, TREE, tmp_path, given, "paper")
    assert "tree3 2/3" in text
    assert re.search(r"Figure 2.\d. One pass over mnist5k, held-out pictures", text)


@pytest.mark.slow
def test_power_law_with_other_widths_and_pools(root, tmp_path):
    given = "{seed: 2, seeds: 1, pool: average, widths: [2, 3, 5]}"
    text = run_to_the_end(root, POWER_LAW, tmp_path, given, "cifar")
    assert re.search(r"Figure 3.\d. On mnist5k LeNet falls with exponent", text)


@pytest.mark.slow
def test_pruning_at_another_threshold_and_seed(root, tmp_path):
    text = run_to_the_end(root, AFCC, tmp_path, "{seed: 2, threshold: 0.7}", "cifar")
    assert re.search(r"features\.6: 0\.\d+ of the kernels go", text)
    assert "not pruned" in text


@pytest.mark.slow
def test_delays_with_other_sizes_and_more_delays(root, tmp_path):
    text = run_to_the_end(root, RODIB, tmp_path, "{seed: 2, fc_inputs: [3, 12], delays: 5}", "cifar")
    assert re.search(r"Figure 6.\d. On mnist5k delays gain", text)
    assert "generic M=5" in text


@pytest.mark.slow
def test_heads_of_another_seed_with_the_weights_that_its_record_left(root, tmp_path):
    """Only the toy scale's records are there: they hold the weights, and the photographs are missing."""
    (tmp_path / "records" / VIT).mkdir(parents=True)
    for path in (root / "data" / "records" / VIT).glob("quick*"):
        shutil.copy(path, tmp_path / "records" / VIT)
    text = run_to_the_end(root, VIT, tmp_path, "{seed: 1, threshold: 0.5}", "cifar")
    table = re.search(r"cct-mini H4 +4 +\d+ +10800 +16 +(0\.\d+) +(0\.\d+)", text)
    assert table
    assert table[1] == table[2]  # measured now, and as recorded
    assert len(re.findall(r"encoder \d: largest difference \d\.\de-0[67]", text)) == 4
    assert not (tmp_path / "runs").exists()  # nothing was trained


@pytest.mark.slow
def test_what_cannot_be_stops_in_the_first_cell(root, tmp_path):
    done, output = run(root, POOLING, tmp_path, "{plan: L9}")
    assert done.returncode != 0
    assert "did you mean 'L3'" in done.stderr
    ran = [cell for cell in json.loads(output.read_text())["cells"] if cell.get("execution_count")]
    assert len(ran) <= 3  # the parameters, what papermill injected, the check


@pytest.mark.parametrize(
    ("chapter", "given", "message"),
    [
        (POOLING, {"shown": 0}, "shown=0 is not allowed"),
        (TREE, {"K": 0}, "K=0 is not allowed"),
        (TREE, {"rates": [0.1, 0.1]}, "must be different numbers above 0"),
        (POWER_LAW, {"widths": [0, 2, 4]}, "each must be at least 1"),
        (POWER_LAW, {"ratio": 0.01}, "gives d2=0 at d1=2"),
        (POWER_LAW, {"target": 1.5}, "target=1.5 is not allowed"),
        (AFCC, {"threshold": 1.0}, "threshold=1.0 is not allowed"),
        (RODIB, {"delays": 3}, "delays=3 give 9 output times, fewer than the 10 labels"),
        (RODIB, {"fc_inputs": [4]}, "must hold at least 2 different numbers"),
        (VIT, {"threshold": 1.0}, "threshold=1.0 is not allowed"),
        (VIT, {"retrain": 1}, "retrain=1 is an int; it must be a bool"),
    ],
)
def test_the_cell_after_the_parameters_refuses_what_cannot_be(root, monkeypatch, chapter, given, message):
    """As the kernel runs it, in the notebook's folder and with IPython's history, without a kernel."""
    monkeypatch.chdir(root / "chapters")
    sources = ("".join(cell["source"]) for cell in cells(root, chapter) if cell["cell_type"] == "code")
    written, check = next(sources), next(sources)
    page: dict = {"In": ["", written]}
    exec(written, page)
    exec(check, page)
    page.update(given)
    with pytest.raises(ParameterError, match=re.escape(message)):
        exec(check, page)
