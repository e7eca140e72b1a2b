"""Records: written at once, read back exactly, one row a run."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from filterwise.errors import ParameterError, RunError
from filterwise.runs import arrays, load_records, records, write_record

KEY = "0123456789abcdef0123456789abcdef"


def row(spec_key=KEY, **more):
    common = dict.fromkeys(records.COLUMNS, 1) | {
        "name": "a",
        "network": "vgg6",
        "spec_key": spec_key,
        "key": "1" * 32,
    }
    texts = {name: "0012" for name in ("data_digest", "settings", "code", "measure_code")}
    return common | texts | more


def test_no_records_are_an_empty_table(tmp_path):
    table = load_records("4-sfp", root=tmp_path)
    assert len(table) == 0
    assert {"profile", *records.COLUMNS} == set(table.columns)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: load_records("4-sfp", "papr"), "profile='papr' is not known; .* did you mean 'paper'"),
        (lambda: arrays("4-sfp", "quick", "../../etc"), "hexadecimal"),
    ],
)
def test_wrong_names_are_refused(call, message):
    with pytest.raises(ParameterError, match=message):
        call()


def test_values_come_back_exactly(tmp_path):
    values = np.random.default_rng(0).normal(size=20) * 10.0 ** np.arange(-10, 10)
    quantities = {f"q{i}@features.1": value for i, value in enumerate(values)}
    write_record(
        "4-sfp", "cifar", row(data="cifar10 (jpeg)", note='a "quoted", text', **quantities), {}, tmp_path
    )
    (found,) = load_records("4-sfp", "cifar", tmp_path).to_dict("records")
    assert [found[name] for name in quantities] == list(values)
    assert found["data"] == "cifar10 (jpeg)"
    assert found["note"] == 'a "quoted", text'
    assert found["settings"] == "0012"  # digests are text, also if they look like numbers
    assert found["profile"] == "cifar"


def test_a_run_has_one_row_and_other_rows_stay(tmp_path):
    write_record("4-sfp", "quick", row("a" * 32, **{"snr@features.1": 1.0}), {}, tmp_path)
    write_record("4-sfp", "quick", row("b" * 32, **{"snr@features.2": 2.0}), {}, tmp_path)
    write_record("4-sfp", "quick", row("a" * 32, **{"snr@features.1": 3.0}), {}, tmp_path)
    write_record("4-sfp", "paper", row("c" * 32), {}, tmp_path)
    table = load_records("4-sfp", "quick", tmp_path)
    assert table["spec_key"].tolist() == ["b" * 32, "a" * 32]
    assert table["snr@features.1"].dropna().tolist() == [3.0]
    assert table["snr@features.2"].dropna().tolist() == [2.0]
    assert load_records("4-sfp", root=tmp_path)["profile"].tolist() == ["quick", "quick", "paper"]
    header = (tmp_path / "4-sfp" / "quick.csv").read_text().splitlines()[0].split(",")
    assert tuple(header[: len(records.COLUMNS)]) == records.COLUMNS


def test_arrays_are_kept_replaced_and_dropped_with_their_row(tmp_path):
    sent = {"fields": np.arange(6.0).reshape(2, 3), "names": np.array(["cat", "dog"])}
    write_record("4-sfp", "quick", row(), sent, tmp_path)
    found = arrays("4-sfp", "quick", KEY, tmp_path)
    assert list(found) == ["fields", "names"]
    assert all(np.array_equal(found[name], sent[name]) for name in sent)
    assert (tmp_path / "4-sfp" / f"quick-{KEY[:12]}.npz").is_file()
    write_record("4-sfp", "quick", row(), {}, tmp_path)
    with pytest.raises(RunError, match="no other file"):
        arrays("4-sfp", "quick", KEY, tmp_path)
    assert sorted(path.name for path in (tmp_path / "4-sfp").iterdir()) == [".quick.lock", "quick.csv"]


def test_an_incomplete_row_or_a_foreign_file_is_refused(tmp_path):
    short = {name: value for name, value in row().items() if name != "seed"}
    with pytest.raises(RunError, match="a record needs 'seed'"):
        write_record("4-sfp", "quick", short, {}, tmp_path)
    path = tmp_path / "4-sfp" / "quick.csv"
    path.parent.mkdir(parents=True)
    for text in ("a,b\n1,2\n", "", '"a\n'):
        path.write_text(text)
        with pytest.raises(RunError, match="not a table of records"):
            load_records("4-sfp", "quick", tmp_path)
        with pytest.raises(RunError, match="not a table of records"):
            write_record("4-sfp", "quick", row(), {}, tmp_path)
        assert path.read_text() == text


RECORDER = """
import sys
from test_records import row, write_record
for number in range(10):
    write_record("4-sfp", "quick", row(f"{sys.argv[2]}{number:031x}"), {}, sys.argv[1])
"""


def test_recorders_with_runs_of_their_own_lose_no_row_of_a_folder_of_records_in_common(tmp_path):
    """Four processes write ten rows each."""
    started = []
    for name in "abcd":
        variables = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
        runs = {"FILTERWISE_RUNS": str(tmp_path / name)}
        command = [sys.executable, "-c", RECORDER, str(tmp_path / "records"), name]
        started.append(subprocess.Popen(command, env={**os.environ, **variables, **runs}))
    assert [process.wait() for process in started] == [0] * 4
    found = load_records("4-sfp", "quick", tmp_path / "records")["spec_key"]
    assert sorted(found) == [f"{name}{number:031x}" for name in "abcd" for number in range(10)]


def test_what_killed_recorders_left_goes_with_the_next_row(tmp_path):
    folder = tmp_path / "4-sfp"
    folder.mkdir()
    digits, stays = "0" * 32, [f".paper.{'0' * 32}.csv", ".quick.lock", "quick.csv"]
    left = [f".quick.{digits}.csv", f".quick-0123456789ab.{digits}.npz", f".paper.{digits}.csv"]
    for name in left:
        (folder / name).write_text("half")
        os.utime(folder / name, (1, 1))
    write_record("4-sfp", "quick", row(), {}, tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == stays
