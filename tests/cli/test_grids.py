"""``filterwise sweep``: values of the axes, contradictions, and the table that comes out."""

import socket
import time

import pandas as pd
import pytest

from filterwise.cli import grids, main
from filterwise.cli.grids import axes_of, values_of
from filterwise.runs import workers

SWEEP = ["sweep", "--model", "lenet5", "--data", "parts", "--recipe", "mini", "--device", "cpu"]
SMALL = [
    "--epochs",
    "1",
    "-s",
    "data_options.n=20",
    "-s",
    "data_options.n_test=20",
    "-s",
    "recipe.warmup_steps=0",
]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("--seeds", "0-1", "-s", "seed=7"), "seed is set by both '-s seed=7' and '--seeds 0-1'"),
        (("--epochs", "1", "-s", "recipe.epochs=2"), "recipe.epochs is set by both '-s recipe.epochs=2' and"),
        (("--widths", "1", "-s", "model_options.width=3"), "model_options.width is set by both"),
        (("--plans", "V", "-s", "model_options.plan=L2"), "model_options.plan is set by both"),
        (("-s", "labels=2", "-s", "labels=3"), "labels is set by both '-s labels=2' and '-s labels=3'"),
        (("-s", "labels=2", "-s", "labels=2"), "labels is set by both"),
        (("-s", "data=cifar10"), "data is set by both '-s data=cifar10' and '--data parts'"),
        (("--device", "cuda"), "--device is given twice"),
        (("-s", "seed=0.5"), "'-s seed=0.5' is not a list of seeds"),
        (("--seeds", "0-"), "'--seeds 0-' is not a list of seeds; write 0-2 or 0,5"),
        (("--seeds", "1,0-2"), "one of them twice"),
        (("--seeds", "0-999999999"), "has 1,000,000,000 seeds; at most 10,000 runs"),
        (("--seeds", "0-9999", "-s", "labels=2,3"), "makes 20,000 runs; at most 10,000"),
        (("-s", "recipe.lr"), "-s recipe.lr has no value; write -s recipe.lr=VALUE"),
        (("-s", "=1"), "write -s NAME=VALUE"),
        (("--seeds", ""), "--seeds has no value"),
        (("--widths", ""), "--widths has no value"),
        (("-s", "recipe.lr=0.1,0.1"), "'-s recipe.lr=0.1,0.1' has a value twice"),
        (("-s", "labels=2,2"), "has a value twice"),
        (("-s", "recipe=head"), "give --recipe head"),
        (("--epochs", "0"), "epochs=0 is not allowed"),
        (("-s", "recipe.schedule=cosine,pieces"), "schedule='pieces' needs milestones"),
        (("--table", "/dev/null/a.csv"), "--table /dev/null cannot be written to: Not a directory"),
    ],
)
def test_what_cannot_be_or_is_said_twice_is_refused(refused, given, message):
    assert message in refused(*SWEEP, *given)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("nonsense", "--dask nonsense is not an address; write tcp://HOST:PORT"),
        ("tcp://127.0.0.1", "is not an address"),
        ("tcp://127.0.0.1:99999", "no Dask scheduler at tcp://127.0.0.1:99999: "),
        ("tcp://127.0.0.1:{dead}", "no Dask scheduler at tcp://127.0.0.1:{dead}: Connection refused"),
        ("tcp://127.0.0.1:{silent}", "no Dask scheduler at tcp://127.0.0.1:{silent}: timed out"),
    ],
)
def test_a_scheduler_that_is_not_there_is_refused_in_seconds(refused, monkeypatch, address, message):
    monkeypatch.setattr(grids, "_SCHEDULER_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent, socket.create_server(("127.0.0.1", 0)) as dead:
        ports = {"silent": silent.getsockname()[1], "dead": dead.getsockname()[1]}
        dead.close()
        began = time.monotonic()
        assert message.format(**ports) in refused(*SWEEP, "--dask", address.format(**ports))
        assert time.monotonic() - began < 5


# distributed speaks to its processes over loopback; what it warns of there is no concern of ours
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::UserWarning")
def test_a_scheduler_that_is_there_is_taken(capsys):
    distributed = pytest.importorskip("distributed", reason="needs the extra 'cluster'")
    quiet = {"dashboard_address": None, "processes": False, "protocol": "tcp"}
    with distributed.LocalCluster(n_workers=0, **quiet) as cluster:
        grids._check_listens(cluster.scheduler_address)
        with grids._engine(cluster.scheduler_address):
            assert workers.on_cluster()
    assert "asking for a Dask scheduler" in capsys.readouterr().err


def test_seeds_may_be_given_either_way():
    assert axes_of({}, ("seed=3,5-6", "recipe.lr=0.1")) == {"seed": [3, 5, 6], "recipe.lr": [0.1]}
    assert axes_of({"--seeds": ("seed", "3,5-6")}, ("recipe.lr=0.1",)) == {
        "recipe.lr": [0.1],
        "seed": [3, 5, 6],
    }


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
    assert values_of(text) == values


def test_a_sweep_prints_and_writes_its_table(tmp_path, capsys):
    both = [*SWEEP, *SMALL, "--seeds", "0-1", "-s", "model_options.d1=2,3"]
    assert main([*both, "--dry-run"]) == 0
    said = capsys.readouterr().out.splitlines()[-1]
    assert said.startswith("4 of 4 runs to do, ")
    assert "about" not in said  # nothing was trained in this cache yet
    assert said.endswith("nothing like it was timed here, with 1 at a time")
    assert not list((tmp_path / "runs").glob("*/run.json"))
    file = tmp_path / "tables" / "sweep.csv"
    assert main([*both, "--jobs", "1", "--table", str(file)]) == 0
    table = pd.read_csv(file)
    assert table[["model_options.d1", "seed"]].values.tolist() == [[2, 0], [2, 1], [3, 0], [3, 1]]
    assert len(capsys.readouterr().out.splitlines()) == 5
    assert main([*both, "--dry-run"]) == 0
    assert "0 of 4 runs to do" in capsys.readouterr().out
    diverges = ["-s", "recipe.momentum=0", "-s", "recipe.nesterov=false", "-s", "recipe.lr=1e30"]
    assert main([*SWEEP, *SMALL, "--jobs", "1", *diverges, "-s", "model_options.d1=2,3"]) == 1
    said = capsys.readouterr().err.splitlines()
    assert [line.startswith("filterwise: failed: lenet5 d1=") for line in said[-2:]] == [True, True]


def test_a_bad_member_is_named_the_others_train_and_the_status_says_so(capsys):
    some = [*SWEEP, *SMALL, "--jobs", "1", "-s", "model_options.width=1,1000000000000"]
    assert main([*some, "--dry-run"]) == 1
    assert "1 of 2 runs to do" in capsys.readouterr().out
    assert main(some) == 1
    said = capsys.readouterr()
    assert [line.split()[-1] for line in said.out.splitlines()[1:]] == ["run", "failed"]
    (failed,) = (line for line in said.err.splitlines() if line.startswith("filterwise: "))
    assert failed.startswith("filterwise: failed: lenet5 width=1000000000000")


def test_a_folder_of_runs_that_cannot_be_is_one_line(refused):
    assert "runs /dev/null/runs cannot be written to" in refused(*SWEEP, *SMALL, "--runs", "/dev/null/runs")


@pytest.mark.parametrize("error", [OSError("Timed out"), MemoryError("of a length that is a greeting")])
def test_a_program_that_is_no_scheduler_is_one_line(capsys, monkeypatch, error):
    import distributed

    def client(*_, **__):
        raise error

    monkeypatch.setattr(grids, "_check_listens", lambda _: None)
    monkeypatch.setattr(distributed, "Client", client)
    assert main([*SWEEP, "--dask", "tcp://127.0.0.1:9"]) == 2
    asked, refused = capsys.readouterr().err.splitlines()
    assert asked == "filterwise: asking for a Dask scheduler at tcp://127.0.0.1:9"
    assert (
        refused
        == f"filterwise: error: no Dask scheduler at tcp://127.0.0.1:9: {type(error).__name__}: {error}"
    )
