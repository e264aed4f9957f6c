"""What goes wrong around a study: signals, full and read-only disks, damaged records, studies that change."""

import json
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.cli import main

STUDY = """\
# Does sleep matter?
task: noop
base: {returns: {score: 0.5}, noise: 0.1}
vary:
  sleep: [0.0, 0.001]
baseline: {sleep: 0.0}
metric: {name: score, mode: max}
seeds: 50
"""
BENCH = [sys.executable, "-m", "benchmarks.cli"]


def run(command: str) -> int:
    return main(shlex.split(command))


@pytest.fixture
def study(tmp_path) -> Path:
    (tmp_path / "mine.yaml").write_text(STUDY)
    return tmp_path


def in_namespace(script: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    """Run a shell script that may mount file systems of its own."""
    return subprocess.run(["unshare", "-rm", "sh", "-c", script], cwd=cwd, capture_output=True, text=True, timeout=300)


can_mount = pytest.mark.skipif(
    shutil.which("unshare") is None or in_namespace("mount -t tmpfs tmpfs /mnt", Path()).returncode != 0,
    reason="needs unshare and the right to mount a small disk",
)


@can_mount
def test_a_full_disk_stops_the_study_and_loses_nothing(study):
    bench = f"{shlex.join(BENCH)} run mine.yaml --out disk --workers 2"
    script = f"""
        mkdir disk && mount -t tmpfs -o size=300k tmpfs disk
        {bench}; echo status $?
        mkdir kept && cp -a disk/mine/trials/[!.]* kept
        mount -o remount,size=30m disk
        {bench}; echo status $?
        for record in kept/*/result.json; do
            cmp $record disk/mine/trials/$(basename $(dirname $record))/result.json && echo same
        done
        cp disk/mine/trials.csv .
    """
    done = in_namespace(script, study)
    assert [line for line in done.stdout.splitlines() if line.startswith("status")] == ["status 2", "status 0"]
    assert "disk/mine: No space left on device. Finished trials are kept" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout.count("same") == len(list((study / "kept").iterdir())) > 0
    assert (pd.read_csv(study / "trials.csv")["status"] == "done").all()


@can_mount
def test_a_new_folder_on_a_full_disk_is_a_sentence_and_no_half_file_is_left(study):
    bench = f"{shlex.join(BENCH)} run mine.yaml --out disk --workers 1 --seeds 1"
    script = f"""
        mkdir disk
        for size in 4 8 16 20 24 40; do
            mount -t tmpfs -o size=${{size}}k tmpfs disk
            {bench}; echo status $?
            find disk/mine -maxdepth 1 -name '.*.*.*'
            umount disk
        done
        mount -t tmpfs -o size=4k tmpfs disk && echo > disk/full
        {shlex.join(BENCH)} new --from safety_nets disk/new.yaml; echo status $?
        ls disk
    """
    done = in_namespace(script, study)
    assert done.stdout.splitlines() == [*["status 2"] * 7, "full"]
    assert done.stderr.count(": No space left on device") == 7
    assert done.stderr.count("free some space") == 6
    assert "Traceback" not in done.stderr


@can_mount
def test_a_bug_of_a_trial_on_a_small_disk_is_the_trials(study):
    (study / "mine.yaml").write_text(STUDY.replace("noise: 0.1", "noise: 0.1, raises: a bug"))
    script = f"""
        mkdir disk && mount -t tmpfs -o size=8m tmpfs disk
        {shlex.join(BENCH)} run mine.yaml --out disk --workers 1 --seeds 2; echo status $?
        cp disk/mine/trials.csv .
    """
    done = in_namespace(script, study)
    assert done.stdout.splitlines()[-1] == "status 1"
    table = pd.read_csv(study / "trials.csv")
    assert set(table["status"]) == {"failed"}
    assert set(table["reason"]) == {"RuntimeError: a bug"}


@can_mount
def test_a_folder_that_cannot_be_written_is_a_sentence(study):
    assert run(f"run {study}/mine.yaml --out {study}/runs --seeds 2 --workers 1") == 0
    script = f"""
        mount --bind runs runs && mount -o remount,ro,bind runs
        {shlex.join(BENCH)} run mine.yaml --out runs; echo status $?
        {shlex.join(BENCH)} report runs/mine; echo status $?
    """
    done = in_namespace(script, study)
    assert [line for line in done.stdout.splitlines() if line.startswith("status")] == ["status 2", "status 2"]
    assert done.stderr.count("cannot write to runs/mine: Read-only file system.") == 2
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_reports_what_is_done_and_how_to_go_on(study, number):
    (study / "mine.yaml").write_text(STUDY.replace("0.001", "0.3"))
    command = ["run", "mine.yaml", "--out", "a folder", "--workers", "2"]
    driver = subprocess.Popen(
        [*BENCH, *command],
        cwd=study,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell starts background jobs with it ignored, which would be inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    trials = study / "a folder/mine/trials"
    deadline = time.monotonic() + 120
    while len(list(trials.glob("[!.]*"))) < 52 and time.monotonic() < deadline:
        time.sleep(0.05)
    driver.send_signal(number)
    out, err = driver.communicate(timeout=120)
    assert driver.returncode == 130
    assert "Traceback" not in err
    assert "To continue, run: bench run mine.yaml --out 'a folder' --workers 2" in err
    table = pd.read_csv(study / "a folder/mine/trials.csv")
    done = int((table["status"] == "done").sum())
    assert 52 <= done < 100
    assert f"{100 - done} of 100 trials have not run yet" in err
    assert "0.0 (baseline)" in out
    assert not list(trials.glob(".*"))


def test_a_damaged_record_is_said_and_its_trial_alone_run_again(study, capsys):
    command = f"run {study}/mine.yaml --out {study}/runs --workers 1 --seeds 3"
    assert run(command) == 0
    records = sorted(study.rglob("trials/*/result.json"))
    good = {path: path.read_bytes() for path in records}
    records[0].write_bytes(good[records[0]][:-30])
    records[1].unlink()
    capsys.readouterr()
    assert run(command) == 0
    captured = capsys.readouterr()
    assert f"{records[0].parent} has no readable record: it is not valid JSON" in captured.err
    assert f"{records[1].parent} has no readable record: No such file or directory" in captured.err
    assert "4 of 6 trials are already done" in captured.err
    assert "2 trials run" in captured.out
    for path in records:
        again, before = json.loads(path.read_bytes()), json.loads(good[path])
        assert again["metrics"] == before["metrics"]
    assert (records[0].parent / "attempts/1/result.json").read_bytes() == good[records[0]][:-30]
    assert [path.read_bytes() == good[path] for path in records] == [False, False, True, True, True, True]


def test_only_the_trials_of_the_study_of_today_are_reported(study, capsys):
    command = f"run {study}/mine.yaml --out {study}/runs --workers 1 --seeds 2"
    assert run(command) == 0
    (study / "mine.yaml").write_text(STUDY.replace("[0.0, 0.001]", "[0.0, 0.002]"))
    assert run(command) == 0
    assert "2 trials run" in capsys.readouterr().out
    assert pd.read_csv(study / "runs/mine/trials.csv")["sleep"].tolist() == [0.0, 0.0, 0.002, 0.002]
    assert len(list((study / "runs/mine/trials").iterdir())) == 6, "the records of before are kept"


def test_a_finished_study_does_nothing_and_says_so(study, capsys):
    command = f"run {study}/mine.yaml --out {study}/runs --workers 1 --seeds 2"
    assert run(command) == 0
    before = {path: path.stat().st_mtime_ns for path in study.rglob("trials/**/*")}
    capsys.readouterr()
    assert run(command) == 0
    captured = capsys.readouterr()
    assert "4 of 4 trials are already done" in captured.err
    assert "0 trials run" in captured.out
    assert {path: path.stat().st_mtime_ns for path in study.rglob("trials/**/*")} == before
