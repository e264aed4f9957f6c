"""`bench archive` and `bench report`: the same derived files from folders and from one file."""

import shlex
import shutil
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.cli import main
from benchmarks.records import store
from benchmarks.records.compact import CompactArchive
from benchmarks.records.store import Store
from benchmarks.report import DERIVED

STUDY = """\
# Does the noise matter?
#
# Cost: nothing. Source: none.
task: noop
base: {returns: {score: 0.5}, noise: 0.1}
vary:
  kind:
    fine: {sleep: 0.0, raises: null, dies: null}
    raising: {raises: a reason}
    dying: {dies: SIGKILL}
baseline: {kind: fine}
metric: {name: score, mode: max}
seeds: 3
"""


def run(command: str) -> int:
    return main(shlex.split(command))


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A study with trials that are done, failed and crashed; one has not run."""
    folder = tmp_path_factory.mktemp("archive")
    (folder / "mixed.yaml").write_text(STUDY)
    assert run(f"run {folder}/mixed.yaml --out {folder}/runs --workers 1 --filter kind=fine --filter seed=0") == 0
    assert run(f"run {folder}/mixed.yaml --out {folder}/runs --workers 1 --filter seed=0 --filter seed=1") == 1
    return folder


def records_in(folder: Path) -> list[dict]:
    return Store(folder).archive().records


def derived(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in DERIVED}


def test_derived_files_are_rebuilt_from_the_folders(finished, tmp_path, capsys):
    shutil.copytree(finished / "runs/mixed", tmp_path / "mixed")
    before = derived(tmp_path / "mixed")
    for name in DERIVED:
        (tmp_path / "mixed" / name).unlink()
    assert run(f"report {tmp_path}/mixed") == 0
    assert derived(tmp_path / "mixed") == before
    assert "3 of 9 trials have not run yet" in capsys.readouterr().err


def test_an_archive_holds_all_and_gives_the_same_derived_files(finished, tmp_path):
    assert run(f"archive {finished}/runs/mixed {tmp_path}") == 0
    kept = tmp_path / "mixed"
    assert {path.name for path in kept.iterdir()} == {"records.zip", "study.yaml", *DERIVED}
    assert derived(kept) == derived(finished / "runs/mixed")
    assert (kept / "study.yaml").read_text() == (finished / "runs/mixed/study.yaml").read_text()
    lines = records_in(kept)
    assert [(line["variant"], line["seed"]) for line in lines] == [
        (variant, seed) for variant in ("fine", "raising", "dying") for seed in range(3)
    ]
    assert [line["status"] for line in lines[::3]] == ["done", "failed", "crashed"]
    assert [line["status"] for line in lines[2::3]] == ["pending"] * 3
    assert lines[6]["attempt"] == 2
    assert [attempt["status"] for attempt in lines[6]["attempts"]] == ["crashed"]
    record = Store(finished / "runs/mixed").record(lines[0]["key"])
    assert record.items() <= lines[0].items()


def test_an_archive_can_be_reported_archived_and_gone_on_with(finished, tmp_path, capsys):
    assert run(f"archive {finished}/runs/mixed {tmp_path}/one") == 0
    for name in DERIVED:
        (tmp_path / "one/mixed" / name).unlink()
    assert run(f"report {tmp_path}/one/mixed") == 0
    assert derived(tmp_path / "one/mixed") == derived(finished / "runs/mixed")
    assert run(f"archive {tmp_path}/one/mixed {tmp_path}/two") == 0
    one, two = ((tmp_path / name / "mixed/records.zip").read_bytes() for name in ("one", "two"))
    assert one == two
    capsys.readouterr()
    assert run(f"run {finished}/mixed.yaml --out {tmp_path}/one --workers 1 --filter kind=fine") == 1, "others failed"
    assert "1 trial run" in capsys.readouterr().out, "what the archive holds is done"
    assert len(list((tmp_path / "one/mixed/trials").iterdir())) == 1


def test_a_record_that_cannot_be_read_is_not_archived(finished, tmp_path, capsys):
    shutil.copytree(finished / "runs/mixed", tmp_path / "mixed")
    record = next(tmp_path.rglob("trials/*/result.json"))
    record.write_text(record.read_text()[:-20])
    assert run(f"archive {tmp_path}/mixed {tmp_path}/out") == 2
    assert f"the record of {record.parent.name} cannot be read" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_runs_own_folder_is_no_place_for_an_archive(finished, capsys):
    assert run(f"archive {finished}/runs/mixed {finished}/runs") == 2
    assert "archive into another folder" in capsys.readouterr().err


def test_an_archive_is_not_replaced_by_less(finished, tmp_path, capsys):
    assert run(f"archive {finished}/runs/mixed {tmp_path}") == 0
    before = (tmp_path / "mixed/records.zip").read_bytes()
    assert run(f"run {finished}/mixed.yaml --out {tmp_path}/runs --workers 1 --filter kind=fine --filter seed=1") == 0
    assert run(f"archive {tmp_path}/runs/mixed {tmp_path}") == 2
    assert "has a finished trial (fine, seed 0)" in capsys.readouterr().err
    assert (tmp_path / "mixed/records.zip").read_bytes() == before


def test_attempts_are_counted_through_an_archive(finished, tmp_path):
    assert run(f"archive {finished}/runs/mixed {tmp_path}/one") == 0
    again = f"run {finished}/mixed.yaml --out {tmp_path}/one --workers 1 --filter kind=dying --filter seed=0"
    assert run(again) == 1
    assert run(f"archive {tmp_path}/one/mixed {tmp_path}/two") == 0
    lines = records_in(tmp_path / "two/mixed")
    assert lines[6]["attempt"] == 4
    assert [attempt["attempt"] for attempt in lines[6]["attempts"]] == [1, 2, 3]


def test_the_curve_of_a_trial_that_diverged_is_kept(finished, tmp_path):
    shutil.copytree(finished / "runs/mixed", tmp_path / "runs/mixed")
    for record in (tmp_path / "runs/mixed/trials").glob("*/result.json"):
        record.with_name("metrics.csv").write_text("epoch,train/loss,val/loss\n0,0.5,\n1,nan,-inf\n")
    assert run(f"archive {tmp_path}/runs/mixed {tmp_path}/kept") == 0
    kept = Store(tmp_path / "kept/mixed")
    (curves,) = kept.curves([kept.archive().records[0]["key"]]).values()
    shown = {name: list(map(repr, column)) for name, column in curves.items()}
    assert shown == {"epoch": ["0", "1"], "train/loss": ["0.5", "nan"], "val/loss": ["None", "-inf"]}


def test_a_report_reads_each_record_and_each_column_once(finished, tmp_path, monkeypatch):
    shutil.copytree(finished / "runs/mixed", tmp_path / "runs/mixed")
    for record in (tmp_path / "runs/mixed/trials").glob("*/result.json"):
        record.with_name("metrics.csv").write_text("epoch,score,gradient_norm/layer_1\n0,0.5,1.0\n1,0.75,2.0\n")
    read = Counter()

    def counting(function, name):
        def call(*args):
            read[name(*args)] += 1
            return function(*args)

        return call

    monkeypatch.setattr(store, "_read", counting(store._read, lambda path, key: key))
    monkeypatch.setattr(CompactArchive, "_read", counting(CompactArchive._read, lambda self, entry: entry))
    assert run(f"archive {tmp_path}/runs/mixed {tmp_path}/kept") == 0
    assert len(read) == 6 + 3, "the records of the trials that ran, and what the report reads of the archive"
    read.clear()
    assert run(f"report {tmp_path}/runs/mixed") == 0
    assert list(read.values()) == [1] * 6
    read.clear()
    assert run(f"report {tmp_path}/kept/mixed") == 0
    assert (tmp_path / "kept/mixed/layers.png").is_file()
    assert read == {"shared.json": 1, "records.jsonl": 1, "curves/gradient_norm/layer_1.npy": 1}
