"""Real worker processes. What they run is named, so it must be importable there: functions of the standard library."""

import operator
import os
import signal
import time
from pathlib import Path

import pytest

from benchmarks.engines.local import LocalEngine
from benchmarks.study import load_study
from datamodules.errors import InputError


@pytest.fixture(scope="module")
def engine():
    with LocalEngine(2) as engine:
        yield engine


def test_every_job_comes_back_once(engine):
    outcomes = list(engine.run(operator.mul, [(n, n) for n in range(20)]))
    assert sorted(outcome.index for outcome in outcomes) == list(range(20))
    assert all(outcome.value == outcome.index**2 and not outcome.crash for outcome in outcomes)


def test_workers_stay_and_are_other_processes(engine):
    pids = {outcome.value for _ in range(3) for outcome in engine.run(os.getpid, [(), ()])}
    assert len(pids) <= 2
    assert os.getpid() not in pids


def test_a_worker_computes_on_one_thread(engine):
    import torch

    assert [outcome.value for outcome in engine.run(torch.get_num_threads, [()])] == [1]


def test_a_killed_worker_is_an_outcome_and_the_rest_goes_on(engine):
    jobs = [
        (n,) for n in (signal.SIGCONT, signal.SIGCONT, signal.SIGCONT, signal.SIGKILL, signal.SIGCONT, signal.SIGCONT)
    ]
    outcomes = {outcome.index: outcome for outcome in engine.run(signal.raise_signal, jobs)}
    assert sorted(outcomes) == list(range(6))
    assert [index for index, outcome in outcomes.items() if outcome.crash] == [3]
    assert outcomes[3].crash == "killed by SIGKILL"


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
