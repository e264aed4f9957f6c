"""Archives of the old form, `records.jsonl`, are read by all commands.

Those in `old_archives/` were made by the version that wrote that form (commit 90941fc), with its tables next to them.
`small` trains on iris, at a learning rate where it diverges too; `mixed` has trials that are done, failed, crashed
with an earlier attempt, and pending.
"""

import json
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks.cli import main
from benchmarks.records.store import Store

OLD = Path(__file__).parent / "old_archives"
TABLES = ("trials.csv", "table.csv")


def run(command: str) -> int:
    return main(shlex.split(command))


@pytest.fixture(params=["small", "mixed"])
def name(request):
    return request.param


@pytest.fixture
def old(name, tmp_path):
    """A copy without its tables."""
    return Path(shutil.copytree(OLD / name, tmp_path / "old" / name, ignore=shutil.ignore_patterns("*.csv")))


def lines_of(name: str) -> list[dict]:
    return [json.loads(line) for line in (OLD / name / "records.jsonl").read_text().splitlines()]


def assert_tables_are_the_old_ones(folder: Path) -> None:
    assert {file: (folder / file).read_text() for file in TABLES} == {
        file: (OLD / folder.name / file).read_text() for file in TABLES
    }


def test_it_can_be_reported_on(name, old):
    assert run(f"report {old}") == 0
    assert_tables_are_the_old_ones(old)
    assert (old / "curves.png").is_file() == (name == "small")


def test_archiving_it_again_makes_the_new_form_and_loses_nothing(name, old, tmp_path):
    assert run(f"archive {old} {tmp_path}/new") == 0
    new = tmp_path / "new" / name
    assert_tables_are_the_old_ones(new)
    assert not (new / "records.jsonl").exists()
    archive = Store(new).archive()
    for line, record in zip(lines_of(name), archive.records, strict=True):
        curves = line.pop("curves", {})
        assert json.dumps(record) == json.dumps(line)
        again = archive.curves(record["key"])
        assert list(again) == list(curves)
        for column, values in curves.items():
            np.testing.assert_array_equal(
                np.float32(list(again[column])), np.float32([float(value) for value in values])
            )
    assert run(f"report {old}") == 0
    figures = [path.name for path in old.glob("*.png")]
    assert len(figures) == (3 if name == "small" else 1)
    assert {file: (new / file).read_bytes() for file in figures} == {
        file: (old / file).read_bytes() for file in figures
    }


def test_archiving_it_onto_itself_replaces_it(name, old):
    assert run(f"archive {old} {old.parent}") == 0
    assert not (old / "records.jsonl").exists()
    assert [record["key"] for record in Store(old).archive().records] == [line["key"] for line in lines_of(name)]


def test_it_can_be_compared_and_gone_on_with(old, name, tmp_path, capsys):
    assert run(f"archive {old} {tmp_path}/new") == 0
    assert run(f"compare {old} {tmp_path}/new/{name}") == 0
    assert "trials are bit-identical" in capsys.readouterr().out
    if name == "mixed":
        assert run(f"run {old}/study.yaml --out {old.parent} --workers 1 --filter kind=fine") == 1, "others failed"
        assert "1 trial run" in capsys.readouterr().out, "what the archive holds is done"


def test_it_can_be_verified(tmp_path, capsys):
    assert run(f"verify {OLD}/mixed --trials 1 --workers 1") == 0
    assert run(f"verify {OLD}/small --trials 4 --workers 1") == 0
    out = capsys.readouterr().out
    assert "1 of 1 trials agree" in out
    assert "4 of 4 trials agree" in out


@pytest.mark.parametrize("cut", [slice(0, -20), slice(100, None)])
def test_a_damaged_one_is_refused_with_its_line(cut, tmp_path, capsys):
    shutil.copytree(OLD / "mixed", tmp_path / "mixed")
    file = tmp_path / "mixed/records.jsonl"
    file.write_text(file.read_text()[cut])
    assert run(f"report {tmp_path}/mixed") == 2
    err = capsys.readouterr().err
    assert f"line {9 if cut.start == 0 else 1} of {file} is not a trial's record; restore the file" in err
