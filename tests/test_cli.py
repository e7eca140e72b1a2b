"""The command line: what is wrong is refused before anything starts, and every error is one line."""

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from filterwise import book, chapters, cli_commands, runs
from filterwise.cli import main
from filterwise.errors import ParameterError
from filterwise.runs import Job, Run
from filterwise.training import Recipe

PARAMETERS = (
    'profile: str = "quick"  # quick, cifar or paper\nseed: int = 0\nwidth: float = 1.0\ndata_root: str = ""'
)


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    for name in ("RUNS", "RECORDS", "CACHE"):
        monkeypatch.setenv(f"FILTERWISE_{name}", str(tmp_path / name.lower()))


def notebook(path: Path, *cells: str) -> Path:
    sources = [new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}), *map(new_code_cell, cells)]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(new_notebook(cells=sources, metadata={"kernelspec": kernel}), path)
    return path


def refused(capsys, *arguments: str) -> str:
    """The one line that a wrong command ends with."""
    try:
        status = main(list(arguments))
    except SystemExit as error:  # argparse's own way out
        status = error.code
    said = capsys.readouterr()
    assert status == 2
    assert said.out == ""
    assert said.err.startswith("filterwise: error: ")
    assert said.err.count("\n") == 1
    return said.err


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (("-p", "profile=papr"), "profile='papr' is not known; .* did you mean 'paper'?"),
        (("-p", "seedz=1"), "parameter='seedz' is not known; .* did you mean 'seed'?"),
        (("-p", "seedz", "1"), "did you mean 'seed'?"),
        (("-p", "seed", "one"), "seed='one' is not an int"),
        (("-p", "seed=1", "-p", "seed=2"), "parameter 'seed' is given twice"),
        (("-p", "seed"), "-p seed has no value"),
        (("-p",), "expected one argument"),
        (("-p", "width=wide"), "width='wide' is not a float"),
        (("-p", "data_root=/no/where"), "data_root='/no/where' is not a folder"),
        (("--parm", "seed=1"), "run does not know '--parm'; did you mean '--parameter'?"),
    ],
)  # fmt: skip
def test_wrong_parameters_are_refused_before_a_kernel_starts(tmp_path, capsys, monkeypatch, values, message):
    monkeypatch.setattr(chapters, "run", lambda *_, **__: pytest.fail("a kernel was started"))
    path = notebook(tmp_path / "chapter.ipynb")
    assert re.search(
        message.replace("?", r"\?").replace("(", r"\("), refused(capsys, "run", str(path), *values)
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("rn",), "did you mean 'run'?"),
        ((), "required"),
        (("run", "4-spf"), "did you mean '4-sfp'?"),
        (("run", "none.ipynb"), "there is no notebook none.ipynb"),
        (("record", "4-spf", "--profile", "quick"), "did you mean '4-sfp'?"),
        (("record", "4-sfp", "--profile", "papr"), "did you mean 'paper'?"),
        (("record", "4-sfp", "--profile", "quick", "--budget", "soon"), "budget='soon' is not a duration"),
        (("data", "info", "cifar11"), "did you mean 'cifar10'?"),
        (("data", "lst"), "did you mean 'list'?"),
        (("claims", "4-spf"), "did you mean '4-sfp'?"),
        (("sweep", "--model", "vgg61", "--data", "parts"), "did you mean 'vgg"),
        (("sweep", "--model", "vgg6", "--data", "parts", "--recipe", "grup"), "did you mean 'group'?"),
        (
            ("sweep", "--model", "vgg6", "--data", "parts", "--seeds", "0-"),
            "seeds='0-' is not a list of seeds",
        ),
        (("sweep", "--model", "vgg6", "--data", "parts", "--seeds", "1,0-2"), "one of them twice"),
        (("sweep", "--model", "vgg6", "--data", "parts", "-s", "recipe.lr"), "-s recipe.lr has no value"),
        (("sweep", "--model", "vgg6", "--data", "parts", "-s", "recipe.rl=1"), "did you mean 'lr'?"),
        (
            ("sweep", "--model", "vgg6", "--data", "parts", "--jobs", "0", "--device", "cpu"),
            "jobs=0 is too small",
        ),
        (("sweep", "--model", "vgg6", "--data", "parts", "--seds", "1"), "did you mean '--seeds'?"),
        (
            ("sweep", "--model", "vgg6", "--data", "parts", "--together", "alwais"),
            "--together 'alwais' is not known; choose from 'auto', 'never', 'always'; did you mean 'always'?",
        ),
        (("record", "4-sfp", "--profile", "quick", "--together", "alwais"), "did you mean 'always'?"),
    ],
)
def test_every_mistake_is_one_line_with_the_near_miss(capsys, arguments, message):
    assert message in refused(capsys, *arguments)


def test_it_starts_fast_and_brings_nothing_heavy():
    code = (
        "import sys; from filterwise.cli import main\n"
        "try: main(['--version'])\nexcept SystemExit: pass\n"
        "main(['run', 'none.ipynb', '-p', 'seed=1'])\n"
        "print(sorted({'torch', 'pandas', 'numpy', 'papermill', 'nbformat', 'yaml'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["filterwise 0.1.0", "[]"]


def test_a_chapter_runs_with_its_parameters_and_leaves_one_notebook(tmp_path, capsys):
    path = notebook(tmp_path / "chapter.ipynb", "import os\nprint(seed, repr(width), os.getcwd(), data_root)")
    out = tmp_path / "new" / "out.ipynb"
    assert main(["run", str(path), "-p", "seed=3", "-p", "width", "1e-5", "-o", str(out), "--quiet"]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    executed = nbformat.read(out, as_version=4)
    assert executed.cells[-1].outputs[0].text.split() == ["3", "1e-05", str(tmp_path)]
    assert [entry.name for entry in out.parent.iterdir()] == ["out.ipynb"]


def test_a_failed_cell_is_one_line_and_keeps_the_last_good_notebook(tmp_path, capsys):
    path = notebook(tmp_path / "chapter.ipynb", "x = 1", "raise ValueError('of its\\nown')", "y = 2")
    out = tmp_path / "out.ipynb"
    out.write_text("good")
    assert main(["run", str(path), "-o", str(out), "--quiet"]) == 1
    said = capsys.readouterr().err.splitlines()
    why = "chapter: code cell 3 failed: ValueError: of its; as far as it came: "
    assert said[-1] == f"filterwise: error: {why}{tmp_path}/out.failed.ipynb"
    assert out.read_text() == "good"
    assert "Traceback" not in "".join(said)
    assert any(
        cell.get("outputs") for cell in nbformat.read(tmp_path / "out.failed.ipynb", as_version=4).cells
    )
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [
        "chapter.ipynb",
        "out.failed.ipynb",
        "out.ipynb",
    ]


def test_a_dead_kernel_is_one_line_and_its_own_status(tmp_path, capsys):
    path = notebook(tmp_path / "chapter.ipynb", "import os", "os.kill(os.getpid(), 9)", "x = 1")
    assert main(["run", str(path), "-o", str(tmp_path / "out.ipynb"), "--quiet"]) == chapters.DEAD_KERNEL
    said = capsys.readouterr().err.splitlines()
    assert said[-1].startswith(
        "filterwise: error: chapter: the kernel died in code cell 3 of 4; out of memory?"
    )
    assert not (tmp_path / "out.ipynb").exists()


def test_the_list_of_parameters_and_safe_outputs(tmp_path, capsys):
    path = notebook(tmp_path / "chapter.ipynb")
    assert main(["run", str(path), "--list"]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == [
        "profile: str = 'quick'  # quick, cifar or paper",
        "seed: int = 0",
    ]
    assert "is the chapter itself" in refused(capsys, "run", str(path), "-o", str(path))
    values = chapters.from_texts(
        chapters.parameters.read(path), [("data_root", str(tmp_path / "..")), ("seed", "2")]
    )
    assert values == {"data_root": str(tmp_path.parent), "seed": 2}  # the kernel works in another folder
    assert chapters.default_output(path, {"seed": 2}).parts[-3:] == ("_build", "runs", "chapter-seed=2.ipynb")


SWEEP = [
    "sweep",
    "--model",
    "lenet5",
    "--data",
    "parts",
    "--recipe",
    "mini",
    "--epochs",
    "1",
    "--device",
    "cpu",
]
SWEEP += ["-s", "data_options.n=20", "-s", "data_options.n_test=20", "-s", "model_options.d1=2,3"]
SWEEP += [
    "-s",
    "recipe.warmup_steps=0",
    "-s",
    "recipe.precision=float32",
    "-s",
    "recipe.memory_format=contiguous",
]


def test_a_sweep_prints_and_writes_its_table(tmp_path, capsys):
    assert main([*SWEEP, "--seeds", "0-1", "--dry-run"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("4 of 4 runs to do, about ")
    assert not list((tmp_path / "runs").glob("*/run.json"))
    file = tmp_path / "tables" / "sweep.csv"
    assert main([*SWEEP, "--seeds", "0-1", "--jobs", "1", "--table", str(file)]) == 0
    table = pd.read_csv(file)
    assert list(zip(table["model_options.d1"], table["seed"], strict=True)) == [
        (2, 0),
        (2, 1),
        (3, 0),
        (3, 1),
    ]
    assert len(capsys.readouterr().out.splitlines()) == 5
    assert main([*SWEEP, "--seeds", "0-1", "--dry-run"]) == 0
    assert "0 of 4 runs to do" in capsys.readouterr().out
    assert (
        main(
            [
                *SWEEP,
                "--jobs",
                "1",
                "-s",
                "recipe.momentum=0",
                "-s",
                "recipe.nesterov=false",
                "-s",
                "recipe.lr=1e30",
            ]
        )
        == 1
    )
    said = capsys.readouterr().err.splitlines()
    assert [line.startswith("filterwise: failed: lenet5 d1=") for line in said[-2:]] == [True, True]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("V,L2", ["V", "L2"]),
        ("0.5,1", [0.5, 1]),
        ("((16,2),(32,2)),((8,1),(8,1))", [((16, 2), (32, 2)), ((8, 1), (8, 1))]),
        ("true,None,[1, 2]", [True, None, [1, 2]]),
    ],
)
def test_values_of_an_axis(text, values):
    assert cli_commands._values(text) == values


def test_no_scheduler_at_an_address_is_one_line(capsys, monkeypatch):
    import distributed

    def client(*_, **__):
        raise OSError("Timed out")

    monkeypatch.setattr(distributed, "Client", client)
    assert "no Dask scheduler at tcp://127.0.0.1:9" in refused(capsys, *SWEEP, "--dask", "tcp://127.0.0.1:9")


RECIPE = Recipe(epochs=1, batch=20, precision="float32", memory_format="contiguous")
JOB = Job(
    "one",
    Run("lenet5", "parts", RECIPE, data_options={"n": 20, "n_test": 20}),
    lambda result: ({"x": 1.0}, {}),
)
OTHER = Job("other", Run("lenet5", "cifar10", RECIPE), lambda result: ({}, {}))


def test_recording_says_what_it_did(tmp_path, capsys, monkeypatch):
    record = ["record", "4-sfp", "--profile", "cifar", "--device", "cpu", "--out", str(tmp_path / "out")]
    record += ["--data-root", str(tmp_path)]
    engine = sys.modules["filterwise.runs.pending"]
    monkeypatch.setattr(engine, "chapter_jobs", lambda *_: [JOB, OTHER])
    assert main([*record, "--dry-run"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in said[:2]] == [["missing", "one"], ["blocked", "other"]]
    assert said[-1].startswith("1 of 2 jobs to do, about")
    assert main([*record, "--budget", "10m"]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[0].startswith("one: accuracy ")
    path = tmp_path / "out" / "4-sfp" / "cifar.csv"
    assert said.out.splitlines()[-1] == f"1 recorded in {path}, 0 to do, 0 failed, 1 blocked"
    assert said.err.startswith("filterwise: blocked: other: cifar10")
    assert runs.load_records("sfp", "cifar", tmp_path / "out")["x"].tolist() == [1.0]


def test_data_and_claims_print(capsys):
    assert main(["data", "list"]) == 0
    assert "parts: bag of parts" in capsys.readouterr().out
    assert main(["data", "info", "parts"]) == 0
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == [
        "parts, train",
        "parts, test",
    ]
    assert main(["claims", "4-sfp", "--profile", "quick"]) == 0
    assert "S1" in capsys.readouterr().out


def test_the_book_is_built_by_its_own_package(capsys, monkeypatch, tmp_path):
    asked = {}
    monkeypatch.setattr(book, "build", lambda **given: asked.update(given))
    assert main(["book", "--out", str(tmp_path), "--force"]) == 0
    assert (asked["out"], asked["force"]) == (str(tmp_path), True)

    def breaks(**_):
        raise ParameterError("first line\nsecond line")

    monkeypatch.setattr(book, "build", breaks)
    assert main(["book", "build"]) == 1
    assert capsys.readouterr().err == "filterwise: error: the book was not built: first line\nsecond line\n"


def test_being_stopped_is_no_traceback(capsys, monkeypatch):
    def stopped(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli_commands, "do_data", stopped)
    assert main(["data", "list"]) == 130
    assert capsys.readouterr().err.startswith("filterwise: stopped; what is finished is kept")
