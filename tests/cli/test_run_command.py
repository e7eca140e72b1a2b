"""``filterwise run``: strict before a kernel starts, papermill after."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import papermill
import pytest

from filterwise.book import launcher
from filterwise.cli import main
from filterwise.papers import chapter as papers


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (("-p", "profile=papr"), "profile='papr' is not known; .* did you mean 'paper'?"),
        (("-p", "seedz=1"), "parameter='seedz' is not known; .* did you mean 'seed'?"),
        (("-p", "seedz", "1"), "did you mean 'seed'?"),
        (("-p", "seed", "one"), "seed='one' is not an int"),
        (("-p", "seed=1", "-p", "seed=2"), "parameter 'seed' is given twice"),
        (("-p", "seed"), "-p seed has no value; write -p seed=VALUE"),
        (("-p",), "requires an argument"),
        (("-p", "width=wide"), "width='wide' is not a float"),
        (("-p", "data_root=/no/where"), "data_root='/no/where' is not a folder"),
        (("-o", "a.ipynb", "-o", "b.ipynb"), "--output is given twice"),
    ],
)
def test_wrong_parameters_are_refused_before_a_kernel_starts(notebook, refused, monkeypatch, values, message):
    monkeypatch.setattr(launcher, "_papermill", lambda *_, **__: pytest.fail("a kernel was started"))
    assert re.search(message.replace("?", r"\?"), refused("run", str(notebook()), *values))


@pytest.mark.parametrize(
    ("chapter", "value", "message"),
    [
        ("1-pooling", "shown=0", r"shown=0 is not allowed; it must be in \[1, 20\]"),
        ("2-tree", "K=0", "K=0 is not allowed; it must be at least 1"),
        ("2-tree", "M=-1", "M=-1 is not allowed"),
        ("2-tree", "rates=[0.1,0]", r"rates=\[0.1, 0\] is not allowed; each must be above 0"),
        ("3-power-law", "widths=[0,2,3]", "each must be at least 1"),
        ("3-power-law", "ratio=0", "ratio=0.0 is not allowed; it must be above 0"),
        ("3-power-law", "ratio=inf", "ratio=inf is not allowed"),
        (
            "3-power-law",
            "pool=mx",
            "pool='mx' is not known; choose from 'max', 'average'; did you mean 'max'?",
        ),
        ("3-power-law", "target=1", r"target=1.0 is not allowed; it must be in \(0, 1\)"),
        ("4-sfp", "threshold=7", r"threshold=7.0 is not allowed; it must be in \[0, 1\)"),
        ("4-sfp", "threshold=nan", "threshold=nan is not allowed"),
        ("4-sfp", "filter_number=-1", "filter_number=-1 is not allowed; it must be at least 0"),
        ("6-rodib", "fc_inputs=[0,4]", r"fc_inputs=\[0, 4\] is not allowed; each must be at least 1"),
        ("6-rodib", "delays=-2", "delays=-2 is not allowed; it must be at least 0"),
        ("4-sfp", "seeds=100000", "seeds=100000 is too large"),
    ],
)
def test_what_a_chapters_comments_rule_out_is_refused_before_a_kernel_starts(
    refused, monkeypatch, chapter, value, message
):
    monkeypatch.setattr(launcher, "_papermill", lambda *_, **__: pytest.fail("a kernel was started"))
    monkeypatch.setattr(papers, "check_page", lambda *_: pytest.fail("the plan was asked"))
    assert re.search(message.replace("?", r"\?"), refused("run", chapter, "-p", value))


@pytest.mark.parametrize(
    ("chapter", "value", "message"),
    [
        ("1-pooling", "plan=L9", "plan='L9' is not known; .* did you mean 'L3'"),
        ("1-pooling", "order=AP3-MP4", "order='AP3-MP4' divides the map by 12"),
        ("2-tree", "rates=[0.1,0.1]", "must be different numbers above 0"),
        ("3-power-law", "widths=[2,4]", "at least 3 different widths"),
        ("6-rodib", "delays=3", "delays=3 give 9 output times, fewer than the 10 labels"),
    ],
)
def test_what_a_chapters_plan_refuses_is_refused_before_a_kernel_starts(
    refused, monkeypatch, chapter, value, message
):
    monkeypatch.setattr(launcher, "_papermill", lambda *_, **__: pytest.fail("a kernel was started"))
    assert re.search(message, refused("run", chapter, "-p", value))


def test_it_does_what_papermill_does_and_leaves_one_notebook(notebook, tmp_path, capsys):
    path = notebook("import os\nprint(seed, repr(width), os.getcwd(), os.environ.get('FILTERWISE_STATIC'))")
    out, plain = tmp_path / "new" / "out.ipynb", tmp_path / "plain.ipynb"
    assert main(["run", str(path), "-p", "seed=3", "-p", "width", "1e-5", "-o", str(out), "--quiet"]) == 0
    assert capsys.readouterr() == (f"{out}\n", "")
    papermill.execute_notebook(path, plain, {"seed": 3, "width": 1e-5}, cwd=tmp_path, progress_bar=False)
    ours, theirs = (nbformat.read(each, as_version=4) for each in (out, plain))
    assert [(cell.source, cell.outputs) for cell in ours.cells] == [
        (cell.source, cell.outputs) for cell in theirs.cells
    ]
    assert ours.cells[-1].outputs[0].text == f"3 1e-05 {tmp_path} None\n"
    assert [entry.name for entry in out.parent.iterdir()] == ["out.ipynb"]


def test_a_failed_cell_is_one_line_and_keeps_the_last_good_notebook(notebook, tmp_path, capsys):
    path = notebook("x = 1", "raise ValueError('of its\\nown')", "y = 2")
    out = tmp_path / "out.ipynb"
    out.write_text("good")
    assert main(["run", str(path), "-o", str(out), "-p", "seed=1"]) == 1
    said = capsys.readouterr().err.splitlines()
    why = "code cell 3, `raise ValueError('of its\\nown')`, failed: ValueError: of its; as far as it came: "
    assert said[-1] == f"filterwise: error: chapter: {why}{tmp_path}/out.failed.ipynb"
    assert out.read_text() == "good"
    assert "Traceback" not in "".join(said)
    failed = nbformat.read(tmp_path / "out.failed.ipynb", as_version=4)
    assert any(cell.get("outputs") for cell in failed.cells)
    names = ["chapter.ipynb", "out.failed.ipynb", "out.ipynb"]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == names


def test_a_dead_kernel_is_one_line_and_its_own_status(notebook, tmp_path, capsys):
    path = notebook("import os", "os.kill(os.getpid(), 9)", "x = 1")
    assert main(["run", str(path), "-o", str(tmp_path / "out.ipynb"), "--quiet"]) == launcher.DEAD_KERNEL
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("filterwise: error: chapter: the kernel died in code cell 3 of 4; out of memory?")
    assert not (tmp_path / "out.ipynb").exists()


def test_the_list_of_parameters_and_safe_outputs(notebook, refused, tmp_path, capsys):
    path = notebook()
    assert main(["run", str(path), "--list"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert listed[:2] == ["profile: str = 'quick'  # quick | cifar", "seed: int = 0"]
    assert "--list prints the parameters and runs nothing" in refused(
        "run", str(path), "--list", "-p", "seed=1"
    )
    assert "is the chapter itself" in refused("run", str(path), "-o", str(path))
    (tmp_path / "file").write_text("")
    assert "file" in refused("run", str(path), "-o", str(tmp_path / "file" / "out.ipynb"))
    assert launcher.default_output(path, {"seed": 2}).parts[-3:] == ("_build", "runs", "chapter-seed=2.ipynb")


def test_a_folder_that_cannot_be_written_to_is_refused_before_a_kernel_starts(notebook, refused, monkeypatch):
    monkeypatch.setattr(launcher, "_papermill", lambda *_, **__: pytest.fail("a kernel was started"))
    said = refused("run", str(notebook()), "-o", "/dev/null/new/out.ipynb")
    assert "/dev/null/new cannot be written to: Not a directory" in said


WAITS = """
import os, pathlib, time
pathlib.Path("pids").write_text(f"{os.getpid()} {os.getppid()} ")
time.sleep(90)
"""
RUN = "import sys; from filterwise.cli import main; main(['run', *sys.argv[1:], '--quiet'])"


def is_alive(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only Linux ends children with their parent")
def test_the_kernel_ends_with_a_killed_run_and_the_next_one_cleans_up(notebook, tmp_path, monkeypatch):
    path, out, pids = notebook(WAITS), tmp_path / "out" / "out.ipynb", tmp_path / "pids"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    main_process = subprocess.Popen(
        [sys.executable, "-c", RUN, str(path), "-o", str(out)],
        env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),  # as a shell's background jobs
        **quiet,
    )
    late = time.monotonic() + 90
    while not pids.is_file() or not pids.read_text().endswith(" "):
        assert time.monotonic() < late
        time.sleep(0.1)
    main_process.kill()
    main_process.wait()
    late = time.monotonic() + 90
    while any(map(is_alive, pids.read_text().split())):
        assert time.monotonic() < late, "kernel or papermill go on without their parent"
        time.sleep(0.1)
    (left,) = out.parent.iterdir()
    assert left.name.startswith(".run-")
    os.utime(left, (1, 1))

    def papermill(command, *_, **__):
        Path(command[4]).write_text("{}")
        return 0, ""

    monkeypatch.setattr(launcher, "_papermill", papermill)  # another kernel would only take time
    assert main(["run", str(path), "-o", str(out), "--quiet"]) == 0
    assert [entry.name for entry in out.parent.iterdir()] == ["out.ipynb"]
