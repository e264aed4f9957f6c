"""Curves, temporary files, locks and disks: what lies around records and can go wrong."""

import errno
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from benchmarks.records.record_file import Unreadable
from benchmarks.records.store import Store
from datamodules.errors import InputError
from tests.benchmarks.records.damaged import STUDY, run
from zoo.outputs.files import replacing, write_atomically

ROOT = Path(__file__).parents[3]

# --- learning curves --------------------------------------------------------------------------------------------------

CURVED = """\
# Does it have curves?
task: curved:f
base: {x: 1}
vary: {x: [1, 2]}
baseline: {x: 1}
metric: {name: score, mode: max}
seeds: 2
"""
TASK = """\
def f(config, folder):
    (folder / "metrics.csv").write_text("epoch,score\\n0,0.5\\n1,0.75\\n2,1.5\\n")
    return {"score": config["x"] + config["seed_everything"] / 10}
"""


@pytest.fixture(scope="module")
def curved(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("curved")
    (folder / "curved.py").write_text(TASK)
    (folder / "curved.yaml").write_text(CURVED)
    assert run(f"run {folder}/curved.yaml --out {folder}/runs --workers 1") == 0
    return folder


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-3]), "the checksum of its metrics.csv does not match"),
        (lambda path: path.write_bytes(path.read_bytes()[:-6]), "the checksum of its metrics.csv does not match"),
        (lambda path: path.write_bytes(b""), "the checksum of its metrics.csv does not match"),
        (lambda path: path.write_bytes(path.read_bytes() + b"3,1,2,3,4\n"), "the checksum of its metrics.csv"),
        (lambda path: path.write_bytes(b"\xff\0" * 100), "the checksum of its metrics.csv does not match"),
        (lambda path: path.unlink(), "its metrics.csv is missing"),
        (lambda path: [path.unlink(), os.mkfifo(path)], "its metrics.csv cannot be read: it is not a regular file"),
    ],
)
def test_a_trial_with_damaged_curves_is_named_and_run_again(curved, tmp_path, capsys, damage, words):
    shutil.copytree(curved, tmp_path, dirs_exist_ok=True)
    folder = tmp_path / "runs/curved"
    key = Store(folder).plan()["2"][1]
    path = folder / "trials" / key / "metrics.csv"
    good = path.read_bytes()
    damage(path)
    assert run(f"report {folder}") == 0
    assert f"2, seed 1 ({key}): the record cannot be read: {words}" in capsys.readouterr().err
    assert run(f"archive {folder} {tmp_path}/out") == 2
    assert f"the record of {key} cannot be read: {words}" in capsys.readouterr().err
    assert run(f"run {tmp_path}/curved.yaml --out {tmp_path}/runs --workers 1") == 0
    out, err = capsys.readouterr()
    assert "1 trial run" in out
    assert f"{key} has no readable record: {words}" in err
    assert path.read_bytes() == good


def test_curves_of_earlier_versions_have_one_row_per_epoch(tmp_path):
    store = Store(tmp_path / "s")
    store.create("", {})
    record = {"key": "abc", "status": "done", "metrics": {}, "epochs_run": 2}
    scratch = store.scratch("abc", "first")
    (scratch / "metrics.csv").write_text("epoch,loss\n0,0.5\n1,0.25\n")
    store.commit(scratch, record)
    (tmp_path / "s/trials/abc/result.json").write_text(json.dumps(record))
    assert store.record("abc") == record
    for cut, rows in ((-3, 1), (-7, 1), (-8, 0), (-15, 0), (-100, 0)):
        path = tmp_path / "s/trials/abc/metrics.csv"
        path.write_text("epoch,loss\n0,0.5\n1,0.25\n"[:cut])
        with pytest.raises(Unreadable, match=f"its metrics.csv has {rows} complete rows for 2 epochs"):
            store.record("abc")


def test_curves_are_on_disk_before_the_record(tmp_path, monkeypatch):
    synced, fsync = [], os.fsync

    def noted(file):
        synced.append(Path(f"/proc/self/fd/{file}").readlink())
        fsync(file)

    monkeypatch.setattr(
        os, "fsync", lambda file: [synced.append(Path(f"/proc/self/fd/{file}").readlink()), fsync(file)]
    )
    store = Store(tmp_path / "s")
    store.create("", {})
    scratch = store.scratch("abc", "first")
    (scratch / "metrics.csv").write_text("epoch\n0\n")
    synced.clear()
    store.commit(scratch, {"key": "abc", "status": "done", "metrics": {}})
    assert [path.name.split(".")[-2] for path in synced] == ["metrics", "json"]


# --- storage ----------------------------------------------------------------------------------------------------------


def in_words(store: Store, error: BaseException) -> str:
    try:
        store.refuse_if_full(error)
    except InputError as sentence:
        return str(sentence)
    return ""


@pytest.mark.parametrize("number", [errno.EIO, errno.EDQUOT, errno.ESTALE, errno.ENOSPC])
def test_storage_trouble_is_not_the_trials_fault(tmp_path, number):
    store = Store(tmp_path / "s")
    store.create("", {})
    plain = OSError(number, os.strerror(number), "/elsewhere/weights.pt")
    caused = ValueError("no weights")
    caused.__cause__ = plain
    apart = RuntimeError(f"process 1: OSError: [Errno {number}] {os.strerror(number)}: 'best.ckpt'")
    for error in (plain, caused, apart):
        assert f": {os.strerror(number)}. Finished trials are kept: " in in_words(store, error)
    assert in_words(store, plain).startswith("cannot write to /elsewhere/weights.pt: ")


def test_other_errors_are_the_trials_fault(tmp_path, monkeypatch):
    store = Store(tmp_path / "s")
    store.create("", {})
    assert in_words(store, PermissionError(errno.EACCES, "Permission denied", "/root/x")) == ""
    small = lambda path: shutil._ntuple_diskusage(2**23, 2**22, 2**22)  # noqa: E731
    monkeypatch.setattr(shutil, "disk_usage", small)
    assert in_words(store, ValueError("a bug")) == ""
    assert in_words(store, RuntimeError("shapes do not match")) == ""
    torch = RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 4224 vs 4118")
    assert "No space left on device" in in_words(store, torch)


def test_an_io_error_stops_the_study_and_the_trial_is_run_again(tmp_path, capsys):
    (tmp_path / "broken.py").write_text(
        "import errno, os\ndef f(config, folder):\n    if os.path.exists(config['flag']):\n"
        "        raise OSError(errno.EIO, os.strerror(errno.EIO), str(folder / 'x'))\n    return {'score': 1.0}\n"
    )
    flag = tmp_path / "flag"
    study = CURVED.replace("curved:f", "broken:f").replace("{x: 1}\nvary", f"{{x: 1, flag: {flag}}}\nvary")
    (tmp_path / "broken.yaml").write_text(study)
    flag.write_text("")
    command = f"run {tmp_path}/broken.yaml --out {tmp_path}/runs --workers 1"
    assert run(command) == 2
    err = capsys.readouterr().err
    assert "broken: Input/output error. Finished trials are kept: check the disk and run the same command again" in err
    flag.unlink()
    assert run(command) == 0
    assert "4 trials run" in capsys.readouterr().out


# --- files that are not what they seem --------------------------------------------------------------------------------


def test_no_link_is_followed(ab, again, tmp_path, capsys):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    names = [".figure.svg", ".figure.png", ".trials.csv", f".trials.csv.{os.getpid()}", f".summary.json.{os.getpid()}"]
    for name in names:
        (ab / name).symlink_to(victim)
    for name in ("figure.svg", "table.md", ".report"):
        (ab / name).unlink(missing_ok=True)
        (ab / name).symlink_to(victim)
    assert run(f"report {ab}") == 0
    assert victim.read_text() == "mine"
    assert not (ab / "figure.svg").is_symlink()
    (ab / ".lock").unlink()
    (ab / ".lock").symlink_to(victim)
    status, _, err = again()
    assert status == 2
    assert f"cannot write to {ab}/.lock: Too many levels of symbolic links." in err
    assert "move it away" in err
    assert victim.read_text() == "mine"
    (ab / ".lock").unlink()
    os.mkfifo(ab / ".lock")
    status, _, err = again()
    assert (status, f"{ab}/.lock: it is not a regular file" in err) == (2, True)


def test_a_failed_write_leaves_nothing(tmp_path):
    with pytest.raises(OSError, match="Is a directory"):
        write_atomically(tmp_path, "x")
    (tmp_path / "there").mkdir()
    with pytest.raises(OSError, match="Is a directory"):
        write_atomically(tmp_path / "there", "x")
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "a"):
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_names_of_temporary_files_cannot_be_guessed_and_keep_the_usual_permissions(tmp_path):
    names = set()
    for _ in range(3):
        with replacing(tmp_path / "a.csv") as temporary:
            names.add(temporary.name)
    assert len(names) == 3
    (tmp_path / "plain").write_text("")
    assert (tmp_path / "a.csv").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_what_killed_writes_left_is_removed_by_the_next_run(ab, again):
    left = [".records.zip.123_0123456789abcdef", ".records.jsonl.123", ".figure.svg.7_0123456789abcdef", ".plan.json.9"]
    left.append("..report.5_0123456789abcdef")
    for name in (*left, ".mine.txt.123", ".records.txt"):
        (ab / name).write_text("half")
    assert again()[0] == 0
    assert not [name for name in left if (ab / name).exists()]
    assert (ab / ".mine.txt.123").exists()
    assert (ab / ".records.txt").exists()


DIES = """\
import os, signal, sys
from pathlib import Path
from zoo.outputs.files import replacing
with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_write_left_is_removed_by_the_next_write_of_the_file(tmp_path):
    for _ in range(2):
        killed = subprocess.run([sys.executable, "-c", DIES, str(tmp_path / "p.csv")])
        assert killed.returncode == -signal.SIGKILL
        assert len(list(tmp_path.iterdir())) == 1, "that of the killed process before has been removed"
    (left,) = tmp_path.iterdir()
    dead = re.search(r"\.(\d+)_", left.name)[1]
    others = [".q.csv" + left.name.removeprefix(".p.csv"), f".p.csv.{dead}", f".p.csv.{dead}_0123", "p.csv.old"]
    others += [f".p.csv.{os.getpid()}_{'0' * 16}", f".p.csv.{dead}_{'0' * 22}", ".p.csv", ".p.csv.1e5_x"]
    for name in others:
        (tmp_path / name).write_text("of others, or being written")
    (tmp_path / f".p.csv.{dead}_{'1' * 16}").symlink_to("p.csv.old")
    write_atomically(tmp_path / "p.csv", "whole")
    assert not left.exists()
    assert {path.name for path in tmp_path.iterdir()} == {*others, f".p.csv.{dead}_{'1' * 16}", "p.csv"}


def test_what_another_machine_or_container_writes_is_left(tmp_path, monkeypatch):
    write = [sys.executable, "-c", DIES, str(tmp_path / "p.csv")]
    assert subprocess.run(write).returncode == -signal.SIGKILL
    monkeypatch.setattr("zoo.outputs.files._machine", lambda: "abcdef")
    write_atomically(tmp_path / "p.csv", "whole")
    assert len(list(tmp_path.iterdir())) == 2


def test_an_archive_removes_what_killed_archives_left(ab, tmp_path):
    target = tmp_path / "kept" / "ab"
    target.mkdir(parents=True)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = [f".records.zip.{dead.pid}_0123456789abcdef", f".records.jsonl.{dead.pid}", f".study.yaml.{dead.pid}"]
    stays = [f".records.zip.{os.getpid()}_0123456789abcdef", f".notes.txt.{dead.pid}"]
    for name in (*left, *stays):
        (target / name).write_text("half")
    assert run(f"archive {ab} {tmp_path / 'kept'}") == 0
    assert not [name for name in left if (target / name).exists()]
    assert all((target / name).exists() for name in stays)


def test_four_reports_at_once_do_not_collide(ab):
    command = [sys.executable, "-m", "benchmarks.cli", "report", str(ab)]
    ours = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    running = [subprocess.Popen(command, **ours) for _ in range(4)]
    said = [process.communicate(timeout=300)[1] for process in running]
    assert said == [""] * 4
    assert [process.returncode for process in running] == [0] * 4
    assert not list(ab.glob(".*.*.*"))


# --- folders that go away ---------------------------------------------------------------------------------------------


def test_a_working_directory_that_was_removed_is_a_sentence(ab, tmp_path):
    bench = [sys.executable, "-m", "benchmarks.cli"]
    for arguments in (f"run {ab.parents[1]}/ab.yaml --out {tmp_path}/new", "report runs/ab", "run ab.yaml"):
        script = f"mkdir gone && cd gone && rmdir ../gone && {shlex.join(bench)} {arguments}"
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        ours = {"capture_output": True, "text": True, "env": environment}
        done = subprocess.run(["sh", "-c", script], cwd=tmp_path, **ours)
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr


def test_a_folder_that_is_deleted_during_a_run_is_a_sentence(tmp_path, capsys):
    (tmp_path / "ab.yaml").write_text(STUDY.replace("noise: 0.01", "noise: 0.01, sleep: 0.3").replace("5\n", "50\n"))
    folder = tmp_path / "runs/ab"

    def delete() -> None:
        while not list(folder.glob("trials/[!.]*")):
            time.sleep(0.05)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)

    thread = threading.Thread(target=delete)
    thread.start()
    assert run(f"run {tmp_path}/ab.yaml --out {tmp_path}/runs --workers 1") == 2
    thread.join()
    assert "was deleted or moved while it was in use" in capsys.readouterr().err


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_has_its_remedy(ab, again, monkeypatch, number):
    def flock(file, how):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", flock)
    status, _, err = again()
    assert (status, "mount it with lock support" in err) == (2, True)


# --- studies that are too large ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        (
            STUDY.replace("seeds: 5", "seeds: 1000000000"),
            "",
            "line 10: the study has 2,000,000,000 trials, but",
        ),
        (STUDY, "--seeds 1000000000", "--seeds 1000000000: the study has 2,000,000,000 trials, but at most 1,000,000"),
        (
            "task: noop\nbase: {returns: {score: 1.0}}\nvary:\n"
            + "".join(f"  k{n}: [{', '.join(map(str, range(10)))}]\n" for n in range(9))
            + f"baseline: {{{', '.join(f'k{n}: 0' for n in range(9))}}}\nmetric: {{name: score, mode: max}}\n",
            "",
            "line 3: the study has 1,000,000,000 variants, but at most 100,000 can be planned; list fewer values",
        ),
    ],
)
def test_a_study_that_is_too_large_is_refused_at_once(tmp_path, capsys, text, options, words):
    (tmp_path / "large.yaml").write_text(text)
    start = time.monotonic()
    assert run(f"run {tmp_path}/large.yaml --out {tmp_path}/runs {options}") == 2
    assert time.monotonic() - start < 20
    err = capsys.readouterr().err
    assert words in err
    assert "Traceback" not in err
    assert not (tmp_path / "runs").exists()
