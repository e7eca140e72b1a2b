"""Workers: one device a worker, failures and dead workers that stop nobody else."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_runs import work

from filterwise.errors import ParameterError, RunError
from filterwise.runs import lease, workers

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def run(items, tmp_path, jobs=2, place=None):
    found = list(workers.outcomes(work, items, jobs, place or workers.Place("cpu"), tmp_path))
    assert sorted(outcome.index for outcome in found) == list(range(len(items)))  # each ends exactly once
    assert not list(tmp_path.glob(".sweep-*"))
    return {outcome.index: outcome for outcome in found}


def test_the_cores_set_the_number_of_workers(monkeypatch):
    monkeypatch.setattr(lease, "cuda_devices", lambda: ())
    assert workers.plan(None, "auto", 1)[0] == CORES
    assert workers.plan(1, "cpu", 1) == (1, workers.Place("cpu", (), 1))
    assert workers.plan(3 * CORES, "cpu", 1)[0] == 3 * CORES


def test_devices_set_the_number_of_workers(monkeypatch):
    monkeypatch.setattr(lease, "cuda_devices", lambda: ("0", "3"))
    monkeypatch.setattr(workers, "pick_device", lambda device: device)  # this machine need not have any
    assert workers.plan(None, "auto", 1) == (2, workers.Place("auto", ("0", "3"), 1))
    assert workers.plan(None, "cuda", 3)[0] == 6
    assert workers.plan(9, "auto", 2)[0] == 4  # never more on a device than said
    assert workers.plan(9, "cpu", 2)[0] == 9
    # in this process, which must not lose sight of the others
    assert workers.plan(1, "auto", 1)[1].devices == ()
    for wrong in ({"jobs": 0}, {"per_device": 0}):
        with pytest.raises(ParameterError, match="must be at least 1"):
            workers.plan(**{"jobs": 1, "device": "cpu", "per_device": 1} | wrong)


def test_an_unknown_device_is_refused_at_once():
    with pytest.raises(ParameterError, match="device='cdua' is not known"):
        workers.plan(1, "cdua", 1)


def test_one_worker_works_in_this_process(tmp_path):
    found = run([{"asks": True}, {"fails": True}, {"answer": 3}], tmp_path, jobs=1)
    assert found[0].answer == (os.getpid(), 1, os.environ.get("CUDA_VISIBLE_DEVICES"), "cpu")
    assert found[1].error == "ValueError: told to fail"
    assert "in work" in found[1].traceback
    assert found[2].answer == 3


@pytest.mark.slow  # three pools are started
def test_a_worker_that_dies_takes_only_its_own_item_with_it(tmp_path):
    log = tmp_path / "log"
    items = [{"answer": i, "sleeps": 0.05} for i in range(6)]
    items[2] = {"dies": True, "log": str(log)}
    items[4] = {"fails": True}
    found = run(items, tmp_path)
    assert found[2].error.startswith("its worker process died twice")
    assert len(log.read_text().split()) == 2
    assert found[4].error == "ValueError: told to fail"
    assert [found[i].answer for i in (0, 1, 3, 5)] == [0, 1, 3, 5]


SLEEPERS = """
import sys
from pathlib import Path
from tiny_runs import work
from filterwise.runs import workers
items = [{"sleeps": 60, "log": sys.argv[1] + "/log"}] * 2
list(workers.outcomes(work, items, 2, workers.Place("cpu"), Path(sys.argv[1])))
"""


def is_alive(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="asks /proc which processes live")
def test_workers_end_with_their_parent_and_the_next_sweep_cleans_up(tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    main = subprocess.Popen([sys.executable, "-c", SLEEPERS, str(tmp_path)], env=environment, **quiet)
    log, late = tmp_path / "log", time.monotonic() + 60
    while not log.exists() or len(log.read_text().split()) < 2:
        assert time.monotonic() < late
        time.sleep(0.1)
    main.kill()
    main.wait()
    late = time.monotonic() + 20
    while any(map(is_alive, log.read_text().split())):
        assert time.monotonic() < late, "workers go on without their parent"
        time.sleep(0.1)
    (left,) = tmp_path.glob(".sweep-*")
    os.utime(left, (1, 1))
    run([{"answer": 1}], tmp_path, jobs=1)


def test_each_worker_sees_one_device_only(tmp_path, monkeypatch):
    monkeypatch.setattr("filterwise.runs.lease.leases_folder", lambda: tmp_path / "leases")
    place = workers.Place("auto", ("GPU-a", "GPU-b"), 1)
    found = run([{"asks": True, "sleeps": 0.5} for _ in range(4)], tmp_path, place=place)
    seen = {(outcome.answer[0], outcome.answer[2]) for outcome in found.values()}
    assert len(seen) == len({process for process, _ in seen})  # a worker keeps its device
    assert {device for _, device in seen} <= {"GPU-a", "GPU-b"}
    assert len({device for _, device in seen}) == len(seen)  # and shares it with nobody
    assert {outcome.answer[3] for outcome in found.values()} == {"cuda"}
    # the workers are gone and their devices free: another sweep's workers find them
    assert run([{"asks": True}], tmp_path, place=place)[0].answer[2] == "GPU-a"


# a process that holds a place: the module alone, because importing torch takes longer than all else here
HOLD = """
import importlib.util, pathlib, sys
spec = importlib.util.spec_from_file_location("lease", sys.argv[1])
lease = importlib.util.module_from_spec(spec)
spec.loader.exec_module(lease)
print(lease.take(["0", "1"], 2, pathlib.Path(sys.argv[2]), 10), flush=True)
sys.stdin.read()
"""


def test_places_on_devices_are_spread_and_limited_across_processes(tmp_path):
    command = [sys.executable, "-c", HOLD, lease.__file__, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    holders = []
    for expected in ("0", "1"):
        holders.append(subprocess.Popen(command, **pipes))
        assert holders[-1].stdout.readline().strip() == expected
    first, kept = lease._wait(["0", "1"], 2, tmp_path, 0.1)
    assert first == "0"  # both have one worker now: second places
    with pytest.raises(RunError, match=r"no free place on the devices 0, 1 \(1 each\)"):
        lease._wait(["0", "1"], 1, tmp_path, 0.3)
    holders[1].kill()  # a worker that dies gives its place back
    holders[1].communicate()
    second, also = lease._wait(["0", "1"], 1, tmp_path, 10)
    assert second == "1"
    for lock in (kept, also):
        lock.release()
    holders[0].communicate("")


def test_the_devices_of_this_process_are_those_it_may_see(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert lease.cuda_devices() == ("0", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4, GPU-x")
    assert lease.cuda_devices() == ("4", "GPU-x")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert lease.cuda_devices() == ()
