"""The command line: what is wrong is refused before anything starts, and every error is one line."""

import os
import signal
import subprocess
import sys
import time

import pytest

from filterwise import claims, data
from filterwise.book import assembly
from filterwise.cli import main
from filterwise.errors import BookError, ParameterError

SWEEP = ("sweep", "--model", "vgg6", "--data", "parts")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("rn",), "Did you mean 'run'?"),
        ((), "Missing command"),
        (("run", "4-spf"), "did you mean '4-sfp'?"),
        (("run", "none.ipynb"), "there is no notebook none.ipynb"),
        (("run", "4-sfp", "--parm", "seed=1"), "Did you mean '--parameter'?"),
        (("data", "info", "cifar11"), "did you mean 'cifar10'?"),
        (("data", "lst"), "Did you mean 'list'?"),
        (("claims", "4-spf"), "did you mean '4-sfp'?"),
        (("record", "4-sfp", "--profile", "papr"), "did you mean 'paper'?"),
        (("book", "--out"), "requires an argument"),
        (("sweep", "--model", "vgg61", "--data", "parts"), "did you mean 'vgg"),
        (("sweep", "--model", "vgg6", "--data", "prts"), "did you mean 'parts'?"),
        ((*SWEEP, "--device", "cdua"), "did you mean 'cuda'?"),
        ((*SWEEP, "--data-root", "/no/where"), "data_root='/no/where' is not a folder"),
        (("record", "4-sfp", "--profile", "quick", "--budget", "5x"), "budget='5x' is not a duration"),
        (("data", "fetch", "parts"), "parts cannot be downloaded: it is embedded"),
        (("book", "--out", "/dev/null"), "/dev/null holds something that is not a book"),
        (("book", "--out", "/dev/null/book"), "out /dev/null cannot be written to"),
        ((*SWEEP, "--recipe", "grup"), "did you mean 'group'?"),
        ((*SWEEP, "-s", "recipe.rl=1"), "did you mean 'lr'?"),
        ((*SWEEP, "--seds", "1"), "'--seeds'"),
        ((*SWEEP, "--together", "always"), "'always' is not a valid integer"),
        ((*SWEEP, "--jobs", "0"), "0 is not in the range x>=1"),
    ],
)
def test_every_mistake_is_one_line_with_the_near_miss(refused, arguments, message):
    assert message in refused(*arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        *(["--help"], ["rn"], ["sweep", "--help"], ["run", "4-sfp", "--list"], ["data", "list"]),
        *(["run", "4-sfp", "-p", "seedz=1"], ["run", "4-sfp", "-p", "threshold=7"]),
        *([*SWEEP, "--seds", "1"], [*SWEEP, "--recipe", "grup"], [*SWEEP, "--epochs", "0"]),
        *(
            [*SWEEP, "--device", "cdua"],
            [*SWEEP, "--dask", "tcp://127.0.0.1:9"],
            [*SWEEP, "--seeds", "0-99999"],
        ),
        ["record", "4-sfp", "--profile", "quick", "--budget", "5x"],
    ],
)
def test_help_and_mistakes_bring_nothing_heavy(arguments):
    heavy = {"torch", "pandas", "numpy", "papermill", "nbformat", "yaml", "distributed"}
    code = f"import sys; from filterwise.cli import main; main({list(arguments)}); "
    code += f"assert not {heavy} & set(sys.modules), {heavy} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_claims_come_without_torch():
    code = "import sys; from filterwise.cli import main; print(main(['claims']), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 False"


def test_data_and_claims_print(capsys):
    assert main(["data", "list"]) == 0
    listed = capsys.readouterr().out
    assert "parts: bag of parts" in listed
    assert main(["data"]) == 0
    assert capsys.readouterr().out.startswith(listed)
    assert main(["data", "info", "parts"]) == 0
    splits = [line.split(":")[0] for line in capsys.readouterr().out.splitlines()]
    assert splits == ["parts, train", "parts, test"]
    assert main(["claims", "4-sfp", "--profile", "quick"]) == 0
    assert "S1" in capsys.readouterr().out
    assert main(["claims", "--csv"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1 + len(claims.ledger())


def test_the_book_is_built_by_its_own_package(capsys, monkeypatch, tmp_path):
    asked = {}
    monkeypatch.setattr(assembly, "build", lambda **given: asked.update(given))
    assert main(["book", "--out", str(tmp_path), "--force"]) == 0
    assert (asked["out"], asked["force"], asked["parameters"]) == (str(tmp_path), True, {"profile": "quick"})

    def breaks(**_):
        raise BookError("first line\nsecond line")

    monkeypatch.setattr(assembly, "build", breaks)
    assert main(["book", "build"]) == 1
    assert capsys.readouterr().err == "filterwise: error: the book was not built: first line\nsecond line\n"


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (KeyboardInterrupt(), 130, "filterwise: stopped; what is finished is kept"),
        (
            OSError(28, "No space left on device", "/full/a.csv"),
            2,
            "error: No space left on device: /full/a.csv",
        ),
        (ParameterError("of two\nlines"), 2, "filterwise: error: of two lines\n"),
    ],
)
def test_what_goes_wrong_inside_is_one_line(capsys, monkeypatch, error, status, said):
    def breaks():
        raise error

    monkeypatch.setattr(data, "names", breaks)
    assert main(["data", "list"]) == status
    answer = capsys.readouterr().err
    assert said in answer
    assert answer.count("\n") == 1


def test_a_closed_pipe_is_quiet():
    command = (
        f"{sys.executable} -c 'import sys; from filterwise.cli import main; sys.exit(main())' claims --csv"
    )
    done = subprocess.run(
        ["bash", "-c", f"{command} | head -n 1; exit ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 1


def test_a_terminated_run_says_so_and_takes_its_kernel_along(notebook, tmp_path):
    path = notebook(
        f"import os, time\nopen({str(tmp_path / 'pid')!r}, 'w').write(f'{{os.getpid()}} ')\ntime.sleep(60)"
    )
    code = "import sys; from filterwise.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "run", str(path), "-o", str(tmp_path / "out.ipynb"), "--quiet"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    pid = tmp_path / "pid"
    while not (pid.is_file() and pid.read_text().endswith(" ")):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert "filterwise: stopped" in process.communicate(timeout=30)[1]
    assert process.returncode == 130
    for _ in range(100):
        try:
            os.kill(int(pid.read_text()), 0)
        except ProcessLookupError:
            break
        time.sleep(0.1)
    else:
        pytest.fail("the kernel is alive")
    assert not list(tmp_path.glob("*out*"))
