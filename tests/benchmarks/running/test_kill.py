"""Studies survive SIGKILL: the real command as real processes, killed at moments drawn from fixed seeds."""

import json
import random
import signal
import time
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.records.store import Store
from tests.benchmarks.running.drivers import (
    Seen,
    assert_nothing_is_lost_or_runs_again,
    assert_untouched,
    family,
    half_written,
    killed,
    look,
    run_here,
    ticks,
    until,
)

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes through /proc")
# How many workers, drivers and writers of a record are killed. In the storms a hundred in all, which takes minutes.
SOME, STORM = (6, 4), pytest.param((48, 32), marks=pytest.mark.slow, id="storm")
SOME_WRITERS, STORM_OF_WRITERS = 4, pytest.param(20, marks=pytest.mark.slow, id="storm")
NOOP = """\
# Does it survive?
task: noop
base: {sleep: 0.1, noise: 1.0}
vary:
  returns: [{value: 1.0}, {value: 2.0}]
baseline: {returns: {value: 1.0}}
metric: {name: value, mode: max}
"""
DEADLY = """\
# Does it survive trials that die?
task: noop
vary: {dies: [null, SIGKILL]}
baseline: {dies: null}
base: {noise: 1.0}
metric: {name: value, mode: max}
"""
DIGITS = """\
# Does it survive when trials compute?
base:
  model: {name: mlp, hidden_dims: [16], dropout: 0.1}
  data: {name: digits}
  trainer: {max_epochs: 2}
vary:
  model.activation: [relu, tanh]
baseline: {model.activation: relu}
metric: test/accuracy
"""


def many(metrics: int) -> str:
    """A study whose trials return so many numbers."""
    return f"""\
# Does it survive while it writes?
task: noop
base: {{noise: 1.0, returns: {{{", ".join(f"m{n}: 1.0" for n in range(metrics))}}}}}
vary: {{sleep: [0.0, 0.001]}}
baseline: {{sleep: 0.0}}
metric: {{name: m0, mode: max}}
"""


LARGE, HUGE = many(5_000), many(20_000)  # a record takes long to write; a job does not fit into the pipe to its worker


# --- killed from outside ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how_many", [pytest.param(SOME, id="some"), STORM])
def test_killed_workers_and_drivers_lose_nothing_and_run_nothing_again(drivers, tmp_path, how_many):
    enough_workers, enough_drivers = how_many
    draw = random.Random(0)
    trials, seen = tmp_path / "runs/study/trials", Seen()
    seeds, workers, shot = 32, 0, 0
    while workers < enough_workers:
        driver, started = drivers.start(NOOP, seeds), False
        for _ in ticks(0):
            time.sleep(draw.uniform(0, 0.3))
            there = driver.workers()
            started |= bool(there)
            if workers == enough_workers or (started and not there):  # enough, or it reports already
                break
            if there:
                workers += killed(draw.choice(there))
                look(trials, seen)
        shot += driver.shot()
        if look(trials, seen) == 2 * seeds:
            seeds += 5  # there must be something to kill them at
    while shot < enough_drivers:
        driver = drivers.start(NOOP, seeds)
        # As it starts, or as trials come in; once all are done, as it starts or reports.
        more = draw.choice([0, 1, 2, 3])
        target = min(2 * seeds, look(trials, seen) + more)
        until(lambda target=target: look(trials, seen) >= target)
        time.sleep(draw.uniform(0, 0.1 if more and len(seen) < 2 * seeds else 0.5))
        shot += driver.shot()
        look(trials, seen)
    assert workers + shot >= enough_workers + enough_drivers
    assert_nothing_is_lost_or_runs_again(drivers, seen, NOOP, seeds)


@pytest.mark.parametrize("enough", [pytest.param(SOME_WRITERS, id="some"), STORM_OF_WRITERS])
def test_records_are_whole_though_who_writes_them_is_killed(drivers, tmp_path, enough):
    draw = random.Random(1)
    trials, seen = tmp_path / "runs/study/trials", Seen()
    seeds = 12
    driver = drivers.start(LARGE, seeds)
    hit: set[str] = set()  # whose record was half written; once each, or most would crash twice
    for _ in ticks(0.001):
        for half, key, writer in half_written(trials):
            if key in hit or family(writer)[1] != driver.pid:
                continue
            if killed(draw.choice([writer] * 9 + [driver.pid])) and half.exists():
                hit.add(key)
        done = look(trials, seen) == 2 * seeds
        if len(hit) >= enough:
            break
        if done or driver.poll() is not None:
            driver.shot()
            driver.ended()
            seeds += 4 * done  # too few were caught at it
            driver = drivers.start(LARGE, seeds)
    driver.shot()
    assert_nothing_is_lost_or_runs_again(drivers, seen, LARGE, seeds)


def test_workers_that_die_before_they_have_taken_a_long_job_are_replaced(drivers, tmp_path):
    driver = drivers.start(HUGE, 1)
    shot: set[int] = set()
    for _ in ticks(0):
        for pid in set(driver.workers()) - shot:
            shot |= {pid} if killed(pid) else set()
        assert driver.poll() is None, driver.said()
        if len(shot) >= 4:
            break
    until(lambda: len(list(tmp_path.glob("runs/study/trials/[!.]*"))) == 2 or driver.poll() is not None)
    assert driver.shot(), driver.said()


def test_trials_that_compute_end_with_the_numbers_of_an_uninterrupted_run(drivers, tmp_path):
    trials, seen = tmp_path / "runs/study/trials", Seen()
    driver = drivers.start(DIGITS, 2)
    until(lambda: look(trials, seen) or driver.poll() is not None)
    assert driver.shot(), driver.said()
    assert_nothing_is_lost_or_runs_again(drivers, seen, DIGITS, 2, workers=1)


def test_workers_do_not_outlive_their_driver(drivers, tmp_path):
    driver = drivers.start(NOOP.replace("sleep: 0.1", "sleep: 600"), 1)
    until(lambda: len(list(tmp_path.glob("runs/study/trials/.*"))) == 2)
    assert len(driver.workers()) == 2
    assert driver.shot()
    until(lambda: not driver.living())


# --- what else may go wrong with processes ----------------------------------------------------------------------------


def test_a_trial_whose_process_dies_is_tried_again_once_a_run(tmp_path, capsys):
    folder, seen = tmp_path / "runs/study", Seen()
    for attempts in (2, 4):
        assert run_here(tmp_path, DEADLY, 2) == 1
        assert "SIGKILL, seed 1: crashed: killed by SIGKILL" in capsys.readouterr().err
        assert pd.read_csv(folder / "trials.csv")["status"].tolist() == ["done", "done", "crashed", "crashed"]
        assert look(folder / "trials", seen) == 2
        for key in list(Store(folder).plan().values())[1]:
            record = Store(folder).record(key)
            assert (record["status"], record["reason"]) == ("crashed", "killed by SIGKILL")
            assert record["attempt"] == attempts
            for number in range(1, attempts):
                kept = json.loads((folder / f"trials/{key}/attempts/{number}/result.json").read_text())
                assert (kept["status"], kept["attempt"]) == ("crashed", number)
            assert len(list((folder / f"trials/{key}/attempts").iterdir())) == attempts - 1
    assert_untouched(seen)


def test_a_second_driver_is_refused_and_the_first_finishes_unharmed(drivers, tmp_path):
    trials, seen = tmp_path / "runs/study/trials", Seen()
    first = drivers.start(NOOP, 5)
    until(lambda: look(trials, seen))
    first.send_signal(signal.SIGSTOP)  # it shall not be done before the other comes
    second = drivers.start(NOOP, 5)
    assert second.ended() == 2
    assert f"bench run: process {first.pid} on" in second.said()
    assert "is running a study in runs/study; wait until it is done, or choose another --out." in second.said()
    first.send_signal(signal.SIGCONT)
    assert first.ended() == 0
    assert_nothing_is_lost_or_runs_again(drivers, seen, NOOP, 5)
    assert all(json.loads((folder / "result.json").read_text())["attempt"] == 1 for folder in trials.iterdir())
