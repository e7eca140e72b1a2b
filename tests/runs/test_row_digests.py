"""Rows of records that were changed after they were written are named and not used; all others are."""

from __future__ import annotations

import random
import re
import shutil
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from filterwise.cli import main
from filterwise.runs import load_records, records, row_digests, write_record

ROOT = Path(__file__).resolve().parents[2]
COMMITTED = sorted((ROOT / "data" / "records").glob("*/*.csv"))
TEXTS = {name: "0012" for name in ("data_digest", "settings", "code", "measure_code")}


def row(number: int, **more: object) -> dict[str, object]:
    common = (
        dict.fromkeys(records.COLUMNS, 1) | TEXTS | {"name": f"run {number}", "accuracy": 0.5 + number / 7}
    )
    return common | {"spec_key": spec_key(number), "key": "1" * 32, **more}


def spec_key(number: int) -> str:
    return f"{number:012x}" + "0" * 20


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Four rows: whole numbers, fractions, truth values, texts, a quantity that only some have."""
    rng = np.random.default_rng(0)
    for number in range(4):
        more = {"snr@features.1": rng.normal() * 1e-9, "merged": number % 2 == 0, "note": 'a "quoted",\ntext'}
        extra = {"ones": 10 + number} if number > 1 else {}
        path = write_record("4-sfp", "quick", row(number, **more, **extra), {}, tmp_path)
    return path


def names(path: Path) -> list[str]:
    return load_records("4-sfp", "quick", path.parents[1])["name"].tolist()


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def test_every_row_fits_its_digest_however_often_the_table_is_written(table: Path) -> None:
    assert row_digests.judged(table.read_text(), records.TEXTS) == [True] * 4
    assert names(table) == [f"run {number}" for number in range(4)]
    assert row_digests.COLUMN not in load_records("4-sfp", "quick", table.parents[1])


def test_an_edited_row_is_named_and_not_used_and_stays_edited(table: Path) -> None:
    replace(table, repr(0.5 + 2 / 7), "0.99")
    said = rf"{re.escape(str(table))}: changed after being written, and not used: row 3 \(run 2\)$"
    with pytest.warns(row_digests.EditedRow, match=said):
        assert names(table) == ["run 0", "run 1", "run 3"]
    write_record("4-sfp", "quick", row(4), {}, table.parents[1])  # which writes the others as they are
    with pytest.warns(row_digests.EditedRow, match=said):
        assert names(table) == ["run 0", "run 1", "run 3", "run 4"]
    assert row_digests.seal(table.parents[1]) == []  # nor is it believed when others get a digest
    write_record("4-sfp", "quick", row(2), {}, table.parents[1])  # measured again
    assert sorted(names(table)) == [f"run {number}" for number in range(5)]


def test_any_digit_that_is_changed_is_found(table: Path) -> None:
    """But for those that change no value, such as the twentieth of a fraction."""
    text, chance = table.read_text(), random.Random(0)
    head = text.index("\n")
    columns = load_records("4-sfp", "quick", table.parents[1]).columns
    places = [place for place in range(head, len(text)) if text[place].isdigit()]
    before = load_records("4-sfp", "quick", table.parents[1])
    for place in chance.sample(places, 60):
        other = str((int(text[place]) + chance.randint(1, 9)) % 10)
        table.write_text(text[:place] + other + text[place + 1 :])
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            found = load_records("4-sfp", "quick", table.parents[1])
        if not any(issubclass(each.category, row_digests.EditedRow) for each in said):
            pd.testing.assert_frame_equal(found[columns], before, check_exact=True)
        else:
            assert len(found) == 3
            kept = before[before["name"].isin(found["name"])].reset_index(drop=True)
            pd.testing.assert_frame_equal(found, kept[found.columns], check_dtype=False)


@pytest.mark.parametrize("harm", ["a cell too few", "another column's name", "rows exchange a value"])
def test_other_edits_are_found(table: Path, harm: str) -> None:
    text = table.read_text()
    if harm == "a cell too few":
        table.write_text(text.replace("run 1,", "run 1", 1))
        bad = 1
    elif harm == "another column's name":
        table.write_text(text.replace("snr@features.1", "snr@features.2", 1))
        bad = 4
    else:
        one, other = repr(0.5 + 1 / 7), repr(0.5 + 2 / 7)
        table.write_text(text.replace(one, "!").replace(other, one).replace("!", other))
        bad = 2
    with pytest.warns(row_digests.EditedRow):
        assert len(names(table)) == 4 - bad


def test_rows_of_a_version_without_digests_are_used_named_and_sealed(table: Path) -> None:
    whole = pd.read_csv(table, dtype=str, keep_default_na=False)
    whole.drop(columns=row_digests.COLUMN).to_csv(table, index=False)
    with pytest.warns(UserWarning, match=r"rows without a digest: row 1 \(run 0\), .*seal\(\)"):
        assert len(names(table)) == 4
    assert row_digests.seal(table.parents[1]) == [f"{table}: 4 rows sealed"]
    pd.testing.assert_frame_equal(pd.read_csv(table, dtype=str, keep_default_na=False), whole)
    whole.drop(columns=row_digests.COLUMN).to_csv(table, index=False)
    write_record("4-sfp", "quick", row(4), {}, table.parents[1])
    assert len(names(table)) == 5  # without a warning


def test_a_digest_that_was_taken_away_stays_away(table: Path) -> None:
    digest = row_digests.rows_of_text(table.read_text())[1][row_digests.COLUMN]
    replace(table, digest, "")
    for _ in range(2):
        with pytest.warns(UserWarning, match=r"rows without a digest: row 2 \(run 1\); "):
            assert len(names(table)) >= 4
        write_record("4-sfp", "quick", row(4), {}, table.parents[1])


def test_claims_name_an_edited_row_and_end_with_one(tmp_path: Path, monkeypatch, capsys) -> None:
    folder = tmp_path / "4-sfp"
    shutil.copytree(ROOT / "data" / "records" / "4-sfp", folder)
    text = (ROOT / "data" / "records" / "4-sfp" / "quick.csv").read_text()
    (folder / "quick.csv").write_text(row_digests.sealed(text, records.TEXTS))
    monkeypatch.setenv("FILTERWISE_RECORDS", str(tmp_path))
    assert main(["claims", "4-sfp", "--profile", "quick"]) == 0
    assert capsys.readouterr().err == ""
    first = load_records("4-sfp", "quick", tmp_path).iloc[0]
    accuracy = repr(float(first["accuracy"]))
    assert accuracy in text
    (folder / "quick.csv").write_text((folder / "quick.csv").read_text().replace(accuracy, "0.9999", 1))
    assert main(["claims", "4-sfp", "--profile", "quick"]) == 1
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"filterwise: {folder}/quick.csv: changed after being written, and not used: row ")


@pytest.mark.parametrize("harm", ["flipped", "cut", "gone", "another's"])
def test_a_row_whose_arrays_are_not_those_that_were_written_is_named_and_not_used(
    tmp_path: Path, harm: str
) -> None:
    for number in range(3):
        arrays = {"right": np.arange(50, dtype=np.uint8) + number} if number < 2 else {}
        table = write_record("4-sfp", "quick", row(number), arrays, tmp_path)
    assert names(table) == ["run 0", "run 1", "run 2"]
    kept = records.arrays_path("4-sfp", "quick", spec_key(1), tmp_path)
    other = records.arrays_path("4-sfp", "quick", spec_key(0), tmp_path).read_bytes()
    whole = kept.read_bytes()
    flipped = bytes([*whole[:60], whole[60] ^ 4, *whole[61:]])
    harmed = {"flipped": flipped, "cut": whole[:60], "another's": other}
    kept.write_bytes(harmed[harm]) if harm in harmed else kept.unlink()
    said = rf"{re.escape(str(table))}: not used, as their arrays were changed or are gone: row 2 \(run 1\)$"
    with pytest.warns(row_digests.EditedRow, match=said):
        assert names(table) == ["run 0", "run 2"]
    assert row_digests.seal(tmp_path) == []
    write_record("4-sfp", "quick", row(1), {"right": np.arange(50, dtype=np.uint8) + 1}, tmp_path)
    assert sorted(names(table)) == ["run 0", "run 1", "run 2"]


def test_of_an_edited_row_no_file_is_looked_for(tmp_path: Path) -> None:
    table = write_record("4-sfp", "quick", row(1), {"right": np.arange(50)}, tmp_path)
    table.write_bytes(table.read_bytes().replace(spec_key(1).encode(), b"\0" * 32))
    with pytest.warns(row_digests.EditedRow, match="changed after being written, and not used: row 1"):
        assert names(table) == []


def test_a_table_that_is_gone_is_named_where_its_arrays_are_left(tmp_path: Path) -> None:
    table = write_record("4-sfp", "quick", row(1), {"right": np.arange(50)}, tmp_path)
    table.unlink()
    with pytest.warns(
        row_digests.EditedRow, match=rf"{re.escape(str(table))} is gone, though .* of 1 of its"
    ):
        assert names(table) == []


def test_arrays_of_a_version_without_digests_get_them(tmp_path: Path) -> None:
    table = write_record("4-sfp", "quick", row(1), {"right": np.arange(50)}, tmp_path)
    whole = pd.read_csv(table, dtype=str, keep_default_na=False)
    old = row_digests.sealed(
        whole.drop(columns=[row_digests.ARRAYS, row_digests.COLUMN]).to_csv(index=False), records.TEXTS
    )
    table.write_text(old)
    assert names(table) == ["run 1"]
    assert row_digests.seal(tmp_path) == [f"{table}: 1 rows sealed"]
    pd.testing.assert_frame_equal(pd.read_csv(table, dtype=str, keep_default_na=False), whole)


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_no_committed_row_was_edited_and_all_have_digests(path: Path) -> None:
    """A table written by an older version gets them by ``filterwise.runs.row_digests.seal()``."""
    text = path.read_text(encoding="utf-8")
    assert set(row_digests.judged(text, records.TEXTS)) == {True}
    told = {
        records.arrays_beside(path, row["spec_key"]).name: row[row_digests.ARRAYS]
        for row in row_digests.rows_of_text(text)
        if row.get(row_digests.ARRAYS)
    }
    kept = path.parent.glob(f"{path.stem}-*.npz")
    assert told == {each.name: row_digests.file_digest(each) for each in kept}
