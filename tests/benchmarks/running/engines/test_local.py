"""Real worker processes. What they run is named, so it must be importable there: functions of the standard library."""

import operator
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.running.engines.local import LocalEngine
from benchmarks.study.file import load_study
from datamodules.errors import InputError


@pytest.fixture(scope="module")
def engine():
    with LocalEngine(2) as engine:
        yield engine


def test_every_job_comes_back_once(engine):
    outcomes = list(engine.run(operator.mul, [(n, n) for n in range(20)]))
    assert sorted(outcome.job for outcome in outcomes) == [(n, n) for n in range(20)]
    assert all(outcome.value == outcome.job[0] ** 2 and not outcome.crash for outcome in outcomes)


def test_workers_stay_and_are_other_processes(engine):
    pids = {outcome.value for _ in range(3) for outcome in engine.run(os.getpid, [(), ()])}
    assert len(pids) <= 2
    assert os.getpid() not in pids


def test_a_worker_computes_on_one_thread(engine):
    import torch

    assert [outcome.value for outcome in engine.run(torch.get_num_threads, [()])] == [1]


def test_a_killed_worker_is_an_outcome_and_the_rest_goes_on(engine):
    harmless = signal.SIGCONT
    jobs = [(n,) for n in (harmless, harmless, harmless, signal.SIGKILL, harmless, harmless)]
    outcomes = list(engine.run(signal.raise_signal, jobs))
    assert sorted(outcome.job for outcome in outcomes) == sorted(jobs)
    assert [(outcome.job, outcome.crash) for outcome in outcomes if outcome.crash] == [
        ((signal.SIGKILL,), "killed by SIGKILL")
    ]


def test_a_job_whose_time_is_up_is_ended_and_the_rest_goes_on(engine):
    outcomes = list(engine.run(time.sleep, [(0.0,), (600.0,), (0.0,), (0.0,)], lambda seconds: 3.0))
    assert sorted(outcome.job for outcome in outcomes) == [(0.0,), (0.0,), (0.0,), (600.0,)]
    assert [outcome.job for outcome in outcomes if outcome.timed_out] == [(600.0,)]
    assert not any(outcome.crash for outcome in outcomes if not outcome.timed_out)


def test_jobs_are_taken_only_as_workers_become_free(engine):
    taken = []

    def jobs():
        for n in range(10):
            taken.append(n)
            yield (n,)

    outcomes = engine.run(operator.neg, jobs())
    next(outcomes)
    assert len(taken) <= 4
    assert len(list(outcomes)) == 9


def test_a_worker_that_died_idle_is_replaced(engine):
    for pid in {outcome.value for outcome in engine.run(os.getpid, [(), ()])}:
        os.kill(pid, signal.SIGKILL)
        while Path(f"/proc/{pid}").exists():
            time.sleep(0.01)
    assert sorted(outcome.value for outcome in engine.run(operator.neg, [(1,), (2,), (3,)])) == [-3, -2, -1]


def test_refusals_and_bugs_come_through(engine):
    with pytest.raises(InputError, match=r"there is no study file none\.yaml"):
        list(engine.run(load_study, [("none.yaml",)]))
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        list(engine.run(operator.truediv, [(1, 0)]))
    assert next(engine.run(operator.add, [(1, 2)])).value == 3


def test_workers_are_no_processes_of_srun_and_ignore_what_they_are_told_to(monkeypatch):
    monkeypatch.setenv("SLURM_NTASKS", "4")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    with LocalEngine(1, preload=False, ignored=(signal.SIGUSR2,)) as engine:
        asked = [("SLURM_NTASKS",), ("SLURM_JOB_ID",), ("OMP_NUM_THREADS",)]
        assert [outcome.value for outcome in engine.run(os.getenv, asked)] == [None, "7", "1"]
        asked = [(number,) for number in (signal.SIGINT, signal.SIGUSR2, signal.SIGTERM)]
        told = [outcome.value for outcome in engine.run(signal.getsignal, asked)]
    assert told == [signal.SIG_IGN, signal.SIG_IGN, signal.SIG_DFL]
    assert os.environ["SLURM_NTASKS"] == "4"
    assert signal.getsignal(signal.SIGUSR2) == signal.SIG_DFL


KILLED = """\
import os, signal
from benchmarks.running.engines.local import LocalEngine
for outcome in LocalEngine(1, preload=True).run(os.getpid, [()]):
    print(outcome.value, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_driver_leaves_no_folder_of_sockets(tmp_path):
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", KILLED], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip().isdigit()) == (-signal.SIGKILL, True), done.stderr
    limit = time.monotonic() + 60
    while list(tmp_path.glob("pymp-*")):
        assert time.monotonic() < limit, "the folder is still there"
        time.sleep(0.05)
