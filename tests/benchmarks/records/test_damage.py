"""Damaged records and copied ones: what is damaged is named and run again, the rest goes on."""

import json
import os
import random
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.records.record_file import Unreadable
from benchmarks.records.store import Store
from datamodules.errors import InputError
from tests.benchmarks.records.damaged import old_archive, run, values

# --- checksums --------------------------------------------------------------------------------------------------------


def test_no_flipped_bit_changes_a_record(ab):
    key = Store(ab).plan()["a"][0]
    path = ab / "trials" / key / "result.json"
    data, good = path.read_bytes(), Store(ab).record(key)
    draw = random.Random(0)
    caught = 0
    for _ in range(1000):
        place, bit = draw.randrange(len(data)), draw.randrange(8)
        path.write_bytes(data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :])
        try:
            record = Store(ab).record(key)
        except Unreadable:
            caught += 1
        else:
            # Only the checksum's own name was hit, or white space after it.
            assert {name: value for name, value in record.items() if name in good} == good
    assert caught > 970


def test_a_record_without_a_checksum_is_read(ab):
    key = Store(ab).plan()["a"][0]
    path = ab / "trials" / key / "result.json"
    good, record = Store(ab).record(key), json.loads(path.read_text())
    assert list(record)[-1] == "checksum"
    del record["checksum"]
    path.write_text(json.dumps(record))
    assert Store(ab).record(key) == good


BAD_VALUES = {
    "a status that is none": {"status": "banana"},
    "a status that is a list": {"status": ["done"]},
    "NaN": {"metrics": {"score": float("nan")}},
    "infinity": {"metrics": {"score": float("inf")}},
    "1e999": {"metrics": {"score": "1e999 as a number"}},
    "text as a metric": {"metrics": {"score": "good"}},
    "a list as a metric": {"metrics": {"score": [0.5]}},
    "true as a metric": {"metrics": {"score": True}},
    "10^400 as a metric": {"metrics": {"score": 10**400}},
    "metrics as a list": {"metrics": [0.5]},
    "no environment": {"environment": None},
    "text as environment": {"environment": "here"},
    "text as packages": {"environment": {"packages": "torch"}},
    "numbers as gpus": {"environment": {"gpus": [1]}},
    "a list as platform": {"environment": {"platform": []}},
    "no start": {"started": None},
    "text as train_seconds": {"train_seconds": "long"},
    "text as best_epoch": {"best_epoch": "first"},
    "10^400 as best_epoch": {"best_epoch": 10**400},
    "half an epoch": {"epochs_run": 0.5},
    "a number as reason": {"reason": 3},
    "a list as config": {"config": []},
    "text as attempt": {"attempt": "first"},
    "a list as key": {"key": ["a"]},
    "seed of another trial": {"seed": 3},
}


def damage(ab: Path, key: str, change: dict[str, Any]) -> bytes:
    """Change values of a record as an earlier version would have written it; returns the new content."""
    path = ab / "trials" / key / "result.json"
    record = json.loads(path.read_text()) | change
    del record["checksum"]
    path.write_text(json.dumps(record).replace('"1e999 as a number"', "1e999"))
    return path.read_bytes()


@pytest.mark.parametrize("change", BAD_VALUES.values(), ids=list(BAD_VALUES))
def test_a_record_with_a_bad_value_cannot_be_read(ab, change):
    key = Store(ab).plan()["a"][0]
    damage(ab, key, change)
    with pytest.raises(Unreadable):
        Store(ab).record(key)


@pytest.mark.parametrize("some", [slice(0, 9), slice(9, 18), slice(18, None)])
def test_records_with_bad_values_are_named_set_aside_and_run_again(ab, again, capsys, some):
    before, plan = values(ab), Store(ab).plan()
    keys = [*plan["a"], *plan["b"]]
    damaged = {key: damage(ab, key, change) for key, change in zip(keys, list(BAD_VALUES.values())[some], strict=False)}
    for verb in ("verify {0}", "archive {0} {0}/out", "compare {0} {0}"):
        assert run(verb.format(ab)) == 2
        assert f"the record of {keys[0]} cannot be read: " in capsys.readouterr().err
    assert run(f"report {ab}") == 0
    err = capsys.readouterr().err
    assert all(f"({key}): the record cannot be read: " in err for key in damaged)
    assert f"{len(damaged)} of 10 trials have not run yet" in err
    status, out, err = again()
    assert (status, f"{len(damaged)} trials run" in out) == (0, True)
    assert "Traceback" not in err
    assert values(ab) == before
    for key, content in damaged.items():
        assert f"{key} has no readable record: " in err
        assert (ab / "trials" / key / "attempts/1/result.json").read_bytes() == content


DAMAGE: dict[str, bytes] = {
    "a bad byte": b'{"key": "\xff"}',
    "nested deep": b'{"key": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "nested deep in a metric": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "many digits": b'{"key": ' + b"9" * 5000 + b"}",
    "zeros": bytes(4000),
}


def test_damaged_files_are_named_and_run_again(ab, again):
    before, keys = values(ab), Store(ab).plan()["b"]
    for key, content in zip(keys, DAMAGE.values(), strict=True):
        (ab / "trials" / key / "result.json").write_bytes(content)
    status, out, err = again()
    assert (status, "5 trials run" in out) == (0, True)
    assert all(f"{key} has no readable record: it is not valid JSON" in err for key in keys)
    assert values(ab) == before


def test_a_record_that_is_a_pipe_or_a_device_is_run_again(ab, again):
    before, plan = values(ab), Store(ab).plan()
    for key, make in ((plan["a"][0], os.mkfifo), (plan["b"][1], lambda path: path.symlink_to("/dev/zero"))):
        path = ab / "trials" / key / "result.json"
        path.unlink()
        make(path)
    status, out, err = again()
    assert (status, "2 trials run" in out) == (0, True)
    assert err.count("has no readable record: it is not a regular file") == 2
    assert values(ab) == before


def test_odd_files_in_the_folder_are_let_be(ab, again, capsys, tmp_path):
    key = Store(ab).plan()["a"][0]
    (ab / "trials" / key / "attempts/junk").mkdir(parents=True)
    (ab / "trials" / key / "attempts/7x").write_text("")
    (ab / "trials/.shared.x").mkdir()
    (ab / "trials/.shared.y").write_text("")
    (ab / "trials/result.json").write_text("")
    assert run(f"archive {ab} {tmp_path}/out") == 0
    path = ab / "trials" / key / "result.json"
    path.write_text("{")
    status, out, _ = again()
    assert (status, "1 trial run" in out) == (0, True)
    assert (path.parent / "attempts/junk").is_dir()
    assert (path.parent / "attempts/1/result.json").read_text() == "{"
    assert not (ab / "trials/.shared.y").exists()


JUNK = [b"\xff\xfe", b"", b"null", b"[[1]]", b'{"a": 1, "b": 2}', b"[" * 100_000]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *[("plan.json", junk) for junk in JUNK],
        *[("study.yaml", junk) for junk in JUNK[:3]],
        *[(".report", junk) for junk in JUNK],
        ("summary.json", b"[[1]]"),
        ("trials.csv", b"study,key,variant,seed,status\n"),
    ],
)
def test_the_other_files_of_a_run_are_written_anew(ab, again, capsys, name, content):
    before = values(ab), (ab / "trials.csv").read_bytes(), (ab / "summary.json").read_bytes()
    (ab / name).write_bytes(content)
    if name in ("plan.json", "study.yaml"):
        capsys.readouterr()
        assert run(f"report {ab}") == 2
        err = capsys.readouterr().err
        assert "Traceback" not in err
        assert name in err
    status, out, err = again()
    assert (status, "0 trials run" in out) == (0, True)
    assert "Traceback" not in err
    assert (values(ab), (ab / "trials.csv").read_bytes(), (ab / "summary.json").read_bytes()) == before
    assert run(f"report {ab}") == 0


@pytest.fixture
def no_hang():
    """Fails a test that waits for a pipe."""

    def strike(number, frame):
        pytest.fail("it hangs")

    before = signal.signal(signal.SIGALRM, strike)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


OTHER_FILES = ["study.yaml", "plan.json", "trials.csv", "summary.json", "table.md", ".report"]
ARCHIVES = ["records.jsonl", "records.zip"]


@pytest.mark.usefixtures("no_hang")
@pytest.mark.parametrize("name", OTHER_FILES + ARCHIVES)
@pytest.mark.parametrize("kind", ["pipe", "folder", "nested deep"])
def test_no_other_file_of_a_run_stops_it(ab, again, capsys, name, kind):
    before = values(ab)
    (ab / name).unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(ab / name)
    elif kind == "folder":
        (ab / name).mkdir()
    else:
        (ab / name).write_bytes(b'{"a": ' * 100_000 + b"1" + b"}" * 100_000)
    for command in (f"report {ab}", f"verify {ab} --trials 1 --workers 1"):
        status, err = run(command), capsys.readouterr().err
        assert status in (0, 2)
        assert "Traceback" not in err
        assert status == 0 or name in err
    status, out, err = again()
    assert "Traceback" not in err
    if kind == "folder" and name in OTHER_FILES:
        assert (status, name in err) == (2, True), "it is named, and for the user to move away"
        (ab / name).rmdir()
        status, out, err = again()
    assert (status, "0 trials run" in out) == (0, True)
    assert values(ab) == before


@pytest.mark.parametrize(
    "damage",
    [
        lambda line: b"\xff" + line,
        lambda line: line.replace(b'"done"', b'"banana"'),
        lambda line: line.replace(b'"metrics": {', b'"metrics": {"x": "text", '),
        lambda line: line.replace(b'"metrics": {', b'"metrics": {"x": NaN, '),
        lambda line: line.replace(b'"seed": 0, "task"', b'"seed": null, "task"'),
        lambda line: b'{"curves": {"a": [1' + b"0" * 400 + b"]}, " + line[1:],
        lambda line: b"[" * 100_000,
    ],
)
def test_a_damaged_archive_names_its_line(ab, tmp_path, refuses, damage):
    folder = old_archive(ab, tmp_path / "old", lambda lines: None)
    first, *rest = (folder / "records.jsonl").read_bytes().splitlines(keepends=True)
    assert damage(first) != first
    (folder / "records.jsonl").write_bytes(damage(first).rstrip() + b"\n" + b"".join(rest))
    for verb in ("report {0}", "verify {0}", "compare {0} {0}", "archive {0} {0}/out"):
        assert f"line 1 of {folder}/records.jsonl is not a trial's record" in refuses(verb.format(folder))


def test_no_flipped_bit_of_an_archive_is_a_traceback(finished, tmp_path, capsys):
    shutil.copytree(finished / "kept/ab", tmp_path / "ab")
    path = tmp_path / "ab/records.zip"
    data, draw = path.read_bytes(), random.Random(0)
    good, said = Store(finished / "kept/ab").archive().records, []
    for _ in range(300):
        place = draw.randrange(len(data))
        path.write_bytes(data[:place] + bytes([data[place] ^ 1 << draw.randrange(8)]) + data[place + 1 :])
        try:
            records = Store(tmp_path / "ab").archive().records
        except InputError as error:
            said.append(str(error))
        else:
            assert records == good
    assert len(said) > 200
    assert all(str(path) in sentence for sentence in said)


# --- what is current --------------------------------------------------------------------------------------------------


def test_trials_that_were_copied_in_are_in_the_table(finished, tmp_path, capsys):
    command = f"run {finished}/ab.yaml --out {tmp_path}/runs --workers 1"
    assert run(f"{command} --filter seed=0 --filter seed=1") == 0
    new, old = tmp_path / "runs/ab/trials", time.time() - 3600
    for folder in (finished / "runs/ab/trials").iterdir():
        if not (new / folder.name).exists():
            shutil.copytree(folder, new / folder.name)
            os.utime(new / folder.name, (old, old))
    os.utime(new, (old, old))
    capsys.readouterr()
    assert run(command) == 0
    err = capsys.readouterr().err
    assert "10 of 10 trials are already done" in err
    assert "have not run yet" not in err
    assert values(tmp_path / "runs/ab") == values(finished / "runs/ab")


def test_a_record_that_is_replaced_by_an_older_one_is_in_the_table(ab, again):
    key = Store(ab).plan()["a"][0]
    path = ab / "trials" / key / "result.json"
    record = json.loads(path.read_text()) | {"metrics": {"score": 0.25}}
    del record["checksum"]
    path.write_text(json.dumps(record))
    os.utime(path, (0, 0))
    assert again()[0] == 0
    assert values(ab)["a", 0] == 0.25


def test_a_current_report_is_not_written_again(ab, again):
    again()
    files = {path: path.stat().st_mtime_ns for path in ab.iterdir() if path.is_file() and path.name != ".lock"}
    assert again()[0] == 0
    assert {path: path.stat().st_mtime_ns for path in files} == files


@pytest.mark.parametrize("name", ["figure.svg", "table.md", "trials.csv", "report.html"])
def test_a_derived_file_that_was_changed_is_written_again(ab, again, name):
    good = (ab / name).read_bytes()
    (ab / name).write_bytes(good[: len(good) // 2])
    assert again()[0] == 0
    assert (ab / name).read_bytes() == good
