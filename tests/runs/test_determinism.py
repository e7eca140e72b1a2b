"""One key, one set of numbers, to the bit: however a run is started, shared out, disturbed or resumed.

LeNet-5 on mnist5k: a network that trains about as fast in bfloat16 as in float32, so that a stopwatch would
waver between them. `pytest -rP tests/runs/test_determinism.py` prints the digests.
"""

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from filterwise.papers.chapter import train
from filterwise.runs import Job, Run, finding, result, store, sweep
from filterwise.training import Recipe

RECIPE = Recipe(epochs=4, batch=50, lr=0.05, momentum=0.9, flip=False, shift=2)
RUN = Run("lenet5", "mnist5k", RECIPE, seed=3, data_options={"n": 1000, "n_test": 500})


def numbers(found: store.Result) -> str:
    """Digest of the weights and of every number of the history that is no time."""
    total = hashlib.sha256((found.folder / "weights.safetensors").read_bytes())
    total.update(found.history.drop(columns=["seconds", "cpu_seconds"]).to_csv().encode())
    total.update(str(sorted(found.metrics.items())).encode() + found.right.tobytes())
    return total.hexdigest()[:16]


def alone(root: Path) -> store.Result:
    return result(RUN, root, device="cpu")


def with_more_threads(root: Path) -> store.Result:
    torch.set_num_threads(2)  # the fixture of this folder sets it back
    return result(RUN, root, device="cpu")


def in_a_sweep_of_two_processes(root: Path) -> store.Result:
    runs = [RUN, *(RUN.replace(seed=seed) for seed in range(3))]
    sweep(runs, 2, root=root, device="cpu", progress=False).check()
    return result(RUN, root)


def beside_other_work(root: Path) -> store.Result:
    busy = "while True: pass"
    others = [subprocess.Popen([sys.executable, "-c", busy]) for _ in range(3)]
    try:
        return result(RUN, root, device="cpu")
    finally:
        for other in others:
            other.kill()
            other.wait()


def from_the_command_line(root: Path) -> store.Result:
    command = ["sweep", "--model", "lenet5", "--data", "mnist5k", "--seeds", "3", "--epochs", "4"]
    for setting in (
        "recipe.batch=50", "recipe.lr=0.05", "recipe.momentum=0.9", "recipe.flip=false", "recipe.shift=2",
        "data_options.n=1000", "data_options.n_test=500",
    ):  # fmt: skip
        command += ["-s", setting]
    call = "import sys; from filterwise.cli import main; sys.exit(main(sys.argv[1:]))"
    arguments = [*command, "--runs", str(root), "--device", "cpu", "--jobs", "1"]
    subprocess.run([sys.executable, "-c", call, *arguments], check=True, capture_output=True)
    return result(RUN, root)


def in_a_page(root: Path) -> store.Result:
    job = Job("page", RUN, "power_law.point")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FILTERWISE_RUNS", str(root))
        return train([job, Job("mate", RUN.replace(seed=4), "power_law.point")], "cpu").results[0]


KILLED = """
import sys
from filterwise.runs import finding
from test_determinism import RUN
from tiny_runs import die_after

die_after(3)
finding.result(RUN, sys.argv[1], device="cpu", checkpoint_every=2, deadline=1e12)
"""


def killed_and_resumed(root: Path) -> store.Result:
    path = f"{Path(__file__).parent}:{os.environ.get('PYTHONPATH', '')}"
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(root)], env={**os.environ, "PYTHONPATH": path}, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert finding.done_epochs(root, RUN.keys(device="cpu")) == 2
    return result(RUN, root, device="cpu")


WAYS = [
    alone, with_more_threads, in_a_sweep_of_two_processes, beside_other_work, from_the_command_line,
    in_a_page, killed_and_resumed,
]  # fmt: skip


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    return alone(tmp_path_factory.mktemp("first"))


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_one_key_has_one_set_of_numbers(way, expected, tmp_path):
    found = way(tmp_path)
    made = found.provenance["precision"]
    print(f"{way.__name__:28} key {found.keys.key[:12]} numbers {numbers(found)} {made}")
    assert found.keys == expected.keys
    assert numbers(found) == numbers(expected)
    recorded = {name: found.provenance[name] for name in ("precision", "memory_format", "engine", "threads")}
    assert recorded == {name: expected.provenance[name] for name in recorded}
    assert recorded["threads"] == 1
