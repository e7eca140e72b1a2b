"""Chapters 1 and 3 as a lab runs them: papermill, other seeds, plans and widths, and wrong values."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from filterwise import parameters

POOLING, POWER_LAW = "1-pooling", "3-power-law"


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


@pytest.mark.parametrize("chapter", [POOLING, POWER_LAW])
def test_pages_keep_the_house_rules(root, chapter):
    schema = parameters.read(root / "chapters" / f"{chapter}.ipynb")
    assert list(schema)[:5] == ["profile", "seed", "seeds", "device", "data_root"]
    assert all(parameter.comment for parameter in schema.values())
    before = None
    for cell in cells(root, chapter):
        source = "".join(cell["source"])
        if cell["cell_type"] == "code":
            assert before == "markdown", source
            assert len(source.splitlines()) <= 15, source
            assert cell["outputs"] == []
        before = cell["cell_type"]
    assert before == "markdown"


@pytest.mark.slow
def test_pooling_with_another_plan_order_and_seed(root, tmp_path):
    done, output = run(root, POOLING, tmp_path, "{seed: 4, plan: L1, order: MP4-AP2, shown: 1}")
    assert done.returncode == 0, done.stderr[-2000:]
    text = shown(output)
    assert "routes by hand equal the library's" in text
    assert "vgg-mini L1 MP4-AP2" in text
    assert "seeds 4 to 4" in text
    assert "Nothing is recorded yet" in text


@pytest.mark.slow
def test_power_law_with_other_widths_and_pools(root, tmp_path):
    done, output = run(root, POWER_LAW, tmp_path, "{seed: 2, seeds: 1, pool: average, widths: [2, 3, 5]}")
    assert done.returncode == 0, done.stderr[-2000:]
    text = shown(output)
    assert "average pools" in text
    assert "seeds 2 to 2" in text
    assert "Not recorded yet" in text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("chapter", "given", "message"),
    [
        (POOLING, "{plan: L9}", "did you mean 'L3'"),
        (POOLING, "{shown: 0}", "shown=0 is too small"),
        (POWER_LAW, "{widths: [0, 2, 4]}", "d1=0 is not allowed"),
        (POWER_LAW, "{ratio: 0.01}", "gives d2=0 at d1=2"),
    ],
)
def test_what_cannot_be_stops_in_the_first_cell(root, tmp_path, chapter, given, message):
    done, output = run(root, chapter, tmp_path, given)
    assert done.returncode != 0
    assert message in done.stderr
    ran = [cell for cell in json.loads(output.read_text())["cells"] if cell.get("execution_count")]
    assert len(ran) <= 3  # the parameters, what papermill injected, the check
