"""Full and closed disks by the names of their folders; nothing of killed processes stays."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from filterwise import disk, files
from filterwise.errors import RunError, TrainingDiverged

HOUR_AGO = time.time() - 3600


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file may grow beyond 20 kB, as on a disk that is nearly full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def old(path: Path) -> Path:
    os.utime(path, (HOUR_AGO, HOUR_AGO))
    return path


def test_a_full_folder_is_refused_by_its_name_and_nothing_stays(tmp_path: Path, small_files: None) -> None:
    with pytest.raises(RunError, match=rf"^--runs {tmp_path}/new cannot be written to: File too large$"):
        disk.check_writable(tmp_path / "new", "--runs")
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.parametrize("below", ["file", "file/new", "file/a/b"])
def test_what_is_no_folder_is_refused_by_its_name(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        disk.FolderError, match=rf"^{tmp_path}/{below} cannot be written to: Not a directory$"
    ):
        disk.check_writable(tmp_path / below)


def test_a_folder_with_room_is_made_and_left_empty(tmp_path: Path) -> None:
    disk.check_writable(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_weights_that_do_not_fit_name_the_folder(tmp_path: Path, small_files: None) -> None:
    with pytest.raises(disk.FolderError, match=f"^{tmp_path} cannot be written to: File too large$"):  # noqa: SIM117
        with disk.naming(tmp_path), files.atomic(tmp_path / "weights.safetensors") as temporary:
            save_file({"weight": torch.zeros(10_000)}, temporary)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "error",
    [
        TrainingDiverged("the loss is not finite"),
        OSError("without a number"),
        PermissionError(errno.EACCES, "Permission denied", "/elsewhere/images"),
        FileNotFoundError(errno.ENOENT, "No such file", "here"),
    ],
)
def test_other_errors_pass_as_they_are(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(type(error)) as caught, disk.naming(tmp_path):
        raise error
    assert caught.value is error


def test_folders_of_killed_processes_go_and_those_in_use_stay(tmp_path: Path) -> None:
    dead, young, other = (tmp_path / f".{kind}-{digit * 32}" for kind, digit in ("s0", "s1", "t2"))
    for folder in (dead, young, other):
        (folder / "inside").mkdir(parents=True)
    old(dead)
    old(other)
    with disk.scratch(tmp_path, "s") as first:
        old(first)  # hours may pass without a change in it
        with disk.scratch(tmp_path, "s") as second:
            assert first.is_dir()
            assert sorted(tmp_path.iterdir()) == sorted([first, second, young, other])
    assert sorted(tmp_path.iterdir()) == sorted([young, other])


KILLED = """
import os, sys
from pathlib import Path
from filterwise import disk, files
with disk.scratch(Path(sys.argv[1]), "s"), files.atomic(Path(sys.argv[1]) / "a.npz") as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), 9)
"""


def test_a_real_kill_leaves_what_the_next_one_removes(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    left = sorted(old(path).name[:3] for path in tmp_path.iterdir())
    assert left == [".a.", ".s-"]
    with disk.scratch(tmp_path, "s"):
        disk.forget_unfinished(tmp_path / "a.npz")
    assert list(tmp_path.iterdir()) == []


def test_only_names_that_were_given_to_unfinished_files_are_removed(tmp_path: Path) -> None:
    mine = tmp_path / f".a[1].{'0' * 32}.csv"
    kept = [f".a.{'0' * 32}.csv", ".a[1].csv", f".a[1].{'0' * 31}.csv", f".a[1].{'0' * 32}.npz", "a[1].csv"]
    for path in (mine, *(tmp_path / name for name in kept)):
        path.write_text("")
        old(path)
    disk.forget_unfinished(tmp_path / "a[1].csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)
