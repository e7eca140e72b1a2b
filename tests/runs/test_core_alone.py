"""Training and recording run with the heavy core's packages alone, as on a bare machine with a GPU."""

import subprocess
import sys

ALONE = """
import sys

for absent in (
    "matplotlib", "seaborn", "ipywidgets", "IPython", "papermill", "nbformat", "nbclient", "pydantic",
    "click", "typer", "pooch", "torchvision", "mlxtend", "dask", "distributed", "sklearn",
):
    sys.modules[absent] = None
from filterwise.papers.chapter import folders, jobs
from filterwise.runs import Job, Run, load_records, record
from filterwise.training import Recipe

for chapter in folders():
    for profile in ("quick", "cifar", "short", "paper"):
        assert jobs(chapter, profile)
recipe = Recipe(epochs=1, batch=20, flip=False, shift=0)
run = Run("vgg", "parts", recipe, 0, 3, {"stages": ((4, 1), (8, 1))}, {"n": 60, "n_test": 30})
listed = [
    Job("sfp", run, "sfp.layers", {"head_epochs": 1, "counts": (2, 3)}, {"network": "tiny"}),
    Job("routes", run, "pooling.arm", {"exact": True}),
    Job("widths", run, "power_law.point"),
]
report = record("4-sfp", "short", listed, root=sys.argv[1], out=sys.argv[2], device="cpu")
assert not report.failed, report.failed
assert len(load_records("4-sfp", "short", sys.argv[2])) == 3
print("recorded", sorted(report.done))
"""


def test_recording_needs_nothing_that_draws_or_talks(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(tmp_path / "runs"), str(tmp_path / "records")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert "recorded ['routes', 'sfp', 'widths']" in done.stdout
