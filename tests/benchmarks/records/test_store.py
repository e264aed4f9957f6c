"""The store of trial records, in one process and where it matters in two."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.records.record_file import Unreadable, read_stored_record
from benchmarks.records.store import Store
from datamodules.errors import InputError

HOLD = """
import sys
from pathlib import Path
from benchmarks.records.store import Store
with Store(Path(sys.argv[1])).lock():
    print("held", flush=True)
    input()
"""
# Trials one after the other, as a worker does them, whatever becomes of each.
FINISH_MANY = """
import contextlib, sys
from pathlib import Path
from benchmarks.records.store import Store
store = Store(Path(sys.argv[1]))
for number in range(500):
    with contextlib.suppress(OSError):  # another driver has cleared it away
        scratch = store.scratch(str(number), "orphan")
        (scratch / "config.yaml").write_text("")
        store.commit(scratch, {"key": str(number), "status": "done", "metrics": {}})
"""


@pytest.fixture
def store(tmp_path) -> Store:
    store = Store(tmp_path / "study")
    store.create("name: study\n", {"v": ["abc"]})
    return store


def record(status="done", key="abc", **more):
    return {"key": key, "status": status, "metrics": {}, **more}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- trials -----------------------------------------------------------------------------------------------------------


def test_a_trial_appears_whole_with_its_record(store):
    scratch = store.scratch("abc", "first")
    (scratch / "metrics.csv").write_text("epoch\n")
    assert store.record("abc") is None
    assert store.attempts_made("abc") == 0
    assert store.commit(scratch, record()) == record()
    assert store.record("abc") == record()
    assert store.attempts_made("abc") == 1
    assert names(store.trials) == ["abc"]
    assert names(store.trials / "abc") == ["metrics.csv", "result.json"]


@pytest.mark.parametrize("status", ["done", "diverged"])
def test_the_first_of_two_that_finish_stays(store, status):
    first = record(status, token="first")
    store.commit(store.scratch("abc", "first"), first)
    path = store.trials / "abc/result.json"
    before = path.read_bytes(), path.stat().st_mtime_ns
    assert store.commit(store.scratch("abc", "second"), record(token="second")) == first
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert names(store.trials) == ["abc"]
    assert names(store.trials / "abc") == ["result.json"]


def test_crashes_and_failures_give_way_and_are_kept_in_their_order(store):
    for number, status in enumerate(["crashed", "failed", "done", "done"], 1):
        scratch = store.scratch("abc", str(number))
        (scratch / "config.yaml").write_text(f"attempt: {number}\n")
        store.commit(scratch, record(status, attempt=1 + store.attempts_made("abc")))
    assert store.record("abc") == record(attempt=3)
    assert names(store.trials / "abc") == ["attempts", "config.yaml", "result.json"]
    kept = store.trials / "abc/attempts"
    assert names(kept) == ["1", "2"], "all of them in one place, none within another"
    assert read_stored_record(kept / "1/result.json", "abc").record == record("crashed", attempt=1)
    assert read_stored_record(kept / "2/result.json", "abc").record == record("failed", attempt=2)
    assert (kept / "2/config.yaml").read_text() == "attempt: 2\n"
    assert store.attempts_made("abc") == 3


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b'{"key": "abc", "status": "do', "it is not valid JSON: Unterminated string"),
        (b"", "it is not valid JSON"),
        (b"\xff\xfe\x00", "it is not valid JSON"),
        (b"[1, 2]", "it is not the record of a trial"),
        (b"{}", "it is not the record of a trial"),
        (b'{"key": "abc", "status": "done"}', "it is not the record of a trial"),
        (b'{"key": "abc", "status": "done", "metrics": null}', "it is not the record of a trial"),
        (json.dumps(record(key="def")).encode(), "it is the record of another trial, def"),
        (None, "No such file or directory"),
    ],
    ids=[
        "truncated",
        "empty",
        "binary",
        "list",
        "mapping",
        "no metrics",
        "null metrics",
        "of another trial",
        "missing",
    ],
)
def test_a_record_that_cannot_be_read_says_why_gives_way_and_is_kept(store, content, cause):
    folder = store.trials / "abc"
    folder.mkdir()
    (folder / "metrics.csv").write_text("epoch\n")
    if content is not None:
        (folder / "result.json").write_bytes(content)
    with pytest.raises(Unreadable, match=cause):
        store.record("abc")
    store.commit(store.scratch("abc", "second"), record())
    assert store.record("abc") == record()
    kept = folder / "attempts/1"
    assert (kept / "metrics.csv").read_text() == "epoch\n"
    assert content is None or (kept / "result.json").read_bytes() == content


def test_a_number_that_json_does_not_know_is_not_written(store):
    with pytest.raises(ValueError, match="not JSON compliant"):
        store.commit(store.scratch("abc", "first"), record(value=float("nan")))
    assert store.record("abc") is None


# --- after a process died ---------------------------------------------------------------------------------------------


def die_before_appearing(store: Store, status: str = "done", key: str = "abc", token: str = "first") -> None:
    """What an attempt leaves that dies when it has written its record and not yet renamed its folder."""
    scratch = store.scratch(key, token)
    (scratch / "metrics.csv").write_text("epoch\n")
    (scratch / "result.json").write_text(json.dumps(record(status, key, token=token)))


def test_an_attempt_that_finished_before_its_process_died_is_settled(store):
    die_before_appearing(store)
    assert store.settle("abc", "first") == record(token="first")
    assert names(store.trials / "abc") == ["metrics.csv", "result.json"]
    assert store.settle("abc", "first") == record(token="first"), "it may have appeared already"
    assert store.settle("abc", "second") is None, "the record is of another attempt"


def test_a_folder_that_goes_while_others_are_looked_for_does_no_harm(store):
    scratch = store.scratch("abc", "t_1")
    (store.trials / ".abc.t_2").symlink_to("gone")
    assert store.scratches("abc", "t") == [scratch]
    assert store.scratches("abc", "t", ["t_1", "t_2", "t_3", "other", "t_1.taken"]) == [scratch]


def test_an_attempt_whose_process_died_at_it_is_not_settled(store):
    scratch = store.scratch("abc", "first")
    assert store.settle("abc", "first") is None
    (scratch / ".result.json.123").write_text('{"key": "a')
    assert store.settle("abc", "first") is None
    assert store.record("abc") is None
    store.commit(scratch, record("crashed"))
    (store.trials / "abc/result.json").write_text('{"key": "a')
    assert store.settle("abc", "second") is None, "a record that cannot be read is nobody's"


def test_recovery_takes_in_what_finished_and_clears_the_rest_away(store):
    store.commit(store.scratch("old", "first"), record(key="old"))
    die_before_appearing(store)
    (store.scratch("def", "first") / "metrics.csv").write_text("epoch\n")
    (store.scratch("ghi", "first") / ".result.json.123").write_text('{"key": "g')
    (store.scratch("jkl", "first") / "result.json").write_text('{"key": "j')
    store.recover()
    assert names(store.trials) == ["abc", "old"]
    assert store.record("abc") == record(token="first")
    assert names(store.trials / "abc") == ["metrics.csv", "result.json"]


def test_recovery_keeps_what_stands_there_as_two_that_finish_would(store):
    store.commit(store.scratch("abc", "first"), record("crashed"))
    die_before_appearing(store, token="second")
    die_before_appearing(store, token="third")
    store.recover()
    assert store.record("abc")["status"] == "done"
    assert names(store.trials) == ["abc"]
    assert names(store.trials / "abc/attempts") == ["1"]
    before = store.record("abc")
    store.recover()
    assert store.record("abc") == before


@pytest.mark.parametrize("earlier_attempts", [0, 1])
@pytest.mark.parametrize("steps", [1, 2])
def test_recovery_loses_no_attempt_where_one_died_while_an_earlier_gave_way(store, earlier_attempts, steps):
    for number in range(earlier_attempts + 1):
        store.commit(store.scratch("abc", str(number)), record("crashed", attempt=number + 1))
    die_before_appearing(store, token="last")
    folder, attempts = store.trials / "abc", store.trials / ".abc.last/attempts"
    # The earlier attempts move over first, then the latest record's folder joins them.
    if earlier_attempts:
        (folder / "attempts").rename(attempts)
    else:
        attempts.mkdir()
    if steps == 2:
        folder.rename(attempts / str(earlier_attempts + 1))
    store.recover()
    assert store.record("abc")["status"] == "done"
    assert names(store.trials) == ["abc"]
    kept = folder / "attempts"
    numbers = [json.loads((kept / name / "result.json").read_text())["attempt"] for name in names(kept)]
    assert numbers == list(range(1, earlier_attempts + 2))


def test_recovery_removes_what_a_write_that_did_not_end_left_and_nothing_else(store):
    for name in (".trials.csv.123", ".plan.json.123", ".study.yaml.45", ".notes.txt"):
        (store.folder / name).write_text("half")
    with store.lock():
        store.recover()
    assert names(store.folder) == [".lock", ".notes.txt", "plan.json", "study.yaml", "trials"]


def test_a_recovery_while_an_orphan_finishes_leaves_no_half_trial(store):
    # A worker may outlive its driver by a moment, and the next driver be quick.
    with subprocess.Popen([sys.executable, "-c", FINISH_MANY, store.folder]) as orphan:
        while orphan.poll() is None:
            store.recover()
    assert orphan.returncode == 0
    store.recover()
    for folder in store.trials.iterdir():
        assert names(folder) == ["config.yaml", "result.json"]
        assert store.record(folder.name)["status"] == "done"


# --- the study's folder -----------------------------------------------------------------------------------------------


def test_a_study_and_its_plan_are_written_once(store):
    assert (store.folder / "study.yaml").read_text() == "name: study\n"
    assert store.plan() == {"v": ["abc"]}
    before = {path: path.stat().st_mtime_ns for path in store.folder.iterdir()}
    store.create("name: study\n", {"v": ["abc"]})
    assert {path: path.stat().st_mtime_ns for path in store.folder.iterdir()} == before
    store.create("name: study\n", {"v": ["abc", "def"]})
    assert store.plan() == {"v": ["abc", "def"]}


def test_a_folder_without_a_plan_that_can_be_read_has_none(store):
    assert Store(store.folder / "none").plan() == {}
    (store.folder / "plan.json").write_text('[["ab')
    assert store.plan() == {}


def test_another_process_is_refused_until_the_holder_is_gone(store):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, store.folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        try:
            assert holder.stdout.readline() == "held\n"
            for _ in range(2):  # to be refused changes nothing
                with pytest.raises(InputError, match=rf"^process {holder.pid} on .* is running a study in .*study; "):
                    store.lock().__enter__()
        finally:
            holder.kill()
    with store.lock():
        assert str(holder.pid) not in (store.folder / ".lock").read_text()
    with store.lock():
        pass


def test_a_folder_whose_file_system_has_no_locks_says_so(store, monkeypatch):
    def flock(file, how):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", flock)
    with pytest.raises(InputError, match=r"No locks available.* mount it with lock support and run"), store.lock():
        pass


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    store = Store(tmp_path / "file" / "study")
    sentence = r"^cannot write to .*/file: Not a directory\. .*: move it away and .*, or choose another --out\.$"
    with pytest.raises(InputError, match=sentence):
        store.create("name: study\n", {})
    with pytest.raises(InputError, match=sentence), store.lock():
        pass
    with pytest.raises(InputError, match=r"^cannot write to /proc/study: Operation not permitted\. .* --out\.$"):
        Store(Path("/proc/study")).create("name: study\n", {})
    assert (tmp_path / "file").is_file()
    (tmp_path / "file").unlink()  # the remedy works
    store.create("name: study\n", {})
