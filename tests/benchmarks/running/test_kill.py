"""Studies survive SIGKILL: the real command as real processes, killed at moments drawn from fixed seeds."""

import contextlib
import io
import json
import os
import random
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.cli import main
from benchmarks.records.store import Store

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes through /proc")

WORKERS, DRIVERS, WRITERS = 48, 32, 20  # how many of each are killed; a hundred in all
PATIENCE = 180.0  # seconds until a test gives up: a guard, nothing is timed by it
Seen = dict[Path, tuple[bytes, int]]  # a record's path to its content and the time when it was written

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


# --- processes --------------------------------------------------------------------------------------------------------


class Driver(subprocess.Popen):
    """`bench run`, in a session of its own, so that its processes can be told from all others.

    Args:
        study: The study's file; records go to `runs` beside it.
        seeds: How many.
        number: How many drivers came before it.
    """

    def __init__(self, study: Path, seeds: int, number: int) -> None:
        self.heard = study.with_suffix(f".stderr.{number}")
        command = f"-m benchmarks.cli run {study.name} --out runs --workers 2 --seeds {seeds}"
        with self.heard.open("w") as stderr:
            super().__init__(
                [sys.executable, *shlex.split(command)],
                cwd=study.parent,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                start_new_session=True,
            )

    def shot(self) -> bool:
        """Kill it, and it alone; whether it was still alive."""
        self.kill()
        return self.wait() == -signal.SIGKILL

    def ended(self) -> int:
        """Its exit status, once it has come to an end."""
        status = self.wait(PATIENCE)
        assert status < 0 or "Traceback" not in self.said()
        return status

    def said(self) -> str:
        """What it has written to stderr so far, with its workers."""
        return self.heard.read_text()

    def living(self) -> dict[int, int]:
        """Each live process that it started, or that one of those did, with its parent."""
        ids = (int(folder.name) for folder in Path("/proc").glob("[0-9]*"))
        return {pid: parent for pid in ids for parent, session in [family(pid)] if session == self.pid}

    def workers(self) -> list[int]:
        """Its live workers; they are not its only children."""
        return [pid for pid, parent in self.living().items() if parent == self.pid and b"spawn_main" in command_of(pid)]


def family(pid: int) -> tuple[int, int]:
    """Parent and session of a live process; zeros if it is none."""
    try:
        state, parent, _, session = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:4]
    except OSError:
        return 0, 0
    return (0, 0) if state in "ZX" else (int(parent), int(session))


def killed(pid: int) -> bool:
    """Kill a process; whether it was there to be killed."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def command_of(pid: int) -> bytes:
    """The command line of a process; nothing if it is no more."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


class Drivers(list[Driver]):
    """All drivers of a test.

    Args:
        folder: Where their study lies.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def start(self, text: str, seeds: int) -> Driver:
        (self.folder / "study.yaml").write_text(text)
        self.append(Driver(self.folder / "study.yaml", seeds, len(self)))
        return self[-1]

    def none_left(self) -> bool:
        """Whether no process is left of those that have come to an end."""
        return not any(driver.living() for driver in self if driver.poll() is not None)


@pytest.fixture
def drivers(tmp_path) -> Iterator[Drivers]:
    drivers = Drivers(tmp_path)
    try:
        yield drivers
        until(drivers.none_left)
    finally:
        for driver in drivers:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(driver.pid, signal.SIGKILL)
            driver.wait()


def ticks(pause: float) -> Iterator[None]:
    """Now, and again after each pause, until patience is at its end."""
    limit = time.monotonic() + PATIENCE
    while time.monotonic() < limit:
        yield
        time.sleep(pause)
    pytest.fail(f"it has not come about in {PATIENCE:g} s")


def until(condition: Callable[[], object]) -> None:
    """Wait for it."""
    for _ in ticks(0.005):
        if condition():
            return


# --- records ----------------------------------------------------------------------------------------------------------


def look(trials: Path, seen: Seen) -> int:
    """Note each record that is done and has not been seen; how many are there by now."""
    for path in trials.glob("[!.]*/result.json"):
        if path not in seen:
            with contextlib.suppress(FileNotFoundError):  # a crash that just gives way to another attempt
                content, written = path.read_bytes(), path.stat().st_mtime_ns
                if b'"status": "done"' in content:
                    seen[path] = content, written
    return len(seen)


def run_here(folder: Path, text: str, seeds: int, workers: int = 2) -> int:
    """Give the same command in this process, which has imported all that is slow to import; its exit status."""
    folder.mkdir(exist_ok=True)
    (folder / "study.yaml").write_text(text)
    return main(shlex.split(f"run {folder}/study.yaml --out {folder}/runs --seeds {seeds} --workers {workers}"))


def assert_nothing_is_lost_or_runs_again(drivers: Drivers, seen: Seen, text: str, seeds: int, workers: int = 2) -> None:
    """Finish a study: it keeps each record as it was first seen, and ends with the numbers of an uninterrupted run."""
    study, other = drivers.folder / "runs/study", drivers.folder / "uninterrupted/runs/study"
    until(drivers.none_left)  # an orphan that only just starts may leave a folder behind, for the next driver to clear
    look(study / "trials", seen)
    with contextlib.redirect_stdout(io.StringIO()) as said:
        status = run_here(drivers.folder, text, seeds)
    assert int(re.search(r"(\d+) trials run in", said.getvalue())[1]) <= 2 * seeds - len(seen)
    # A trial whose worker was killed twice needs the command once more.
    assert status == 0 or run_here(drivers.folder, text, seeds) == 0
    assert run_here(drivers.folder / "uninterrupted", text, seeds, workers) == 0
    assert_untouched(seen)
    keys = sorted(key for row in Store(study).plan().values() for key in row)
    assert sorted(path.name for path in (study / "trials").iterdir()) == keys, "a folder a trial, and nothing else"
    assert not list(study.glob(".*.*")), "what a write that did not end leaves is cleared away"
    trials, others = (pd.read_csv(at / "trials.csv").drop(columns="train_seconds") for at in (study, other))
    assert sorted(trials["key"]) == keys
    assert (trials["status"] == "done").all()
    pd.testing.assert_frame_equal(trials, others, check_exact=True)
    for key in keys:
        mine, its = (Store(at).record(key) for at in (study, other))
        assert mine["metrics"] == its["metrics"]
        assert mine["config"] == its["config"]
        curves = [at / "trials" / key / "metrics.csv" for at in (study, other)]
        assert len({path.read_bytes() if path.exists() else None for path in curves}) == 1


def assert_untouched(seen: Seen) -> None:
    """Nobody has written them again."""
    for path, (content, written) in seen.items():
        assert path.read_bytes() == content
        assert path.stat().st_mtime_ns == written


def half_written(trials: Path) -> Iterator[tuple[Path, str, int]]:
    """The records that are being written at this moment: the file, the trial's key and who writes it."""
    for scratch in trials.glob(".*"):
        with contextlib.suppress(FileNotFoundError):  # it has just appeared under its key
            for file in os.listdir(scratch):  # noqa: PTH208 - moments count
                if file.startswith(".result.json."):
                    yield scratch / file, scratch.name.split(".")[1], int(file.rpartition(".")[2])


# --- killed from outside ----------------------------------------------------------------------------------------------


def test_killed_workers_and_drivers_lose_nothing_and_run_nothing_again(drivers, tmp_path):
    draw = random.Random(0)
    trials, seen = tmp_path / "runs/study/trials", Seen()
    seeds, workers, shot = 32, 0, 0
    while workers < WORKERS:
        driver, started = drivers.start(NOOP, seeds), False
        for _ in ticks(0):
            time.sleep(draw.uniform(0, 0.3))
            there = driver.workers()
            started |= bool(there)
            if workers == WORKERS or (started and not there):  # enough, or it reports already
                break
            if there:
                workers += killed(draw.choice(there))
                look(trials, seen)
        shot += driver.shot()
        if look(trials, seen) == 2 * seeds:
            seeds += 5  # there must be something to kill them at
    while shot < DRIVERS:
        driver = drivers.start(NOOP, seeds)
        # As it starts, or as trials come in; once all are done, as it starts or reports.
        more = draw.choice([0, 1, 2, 3])
        target = min(2 * seeds, look(trials, seen) + more)
        until(lambda target=target: look(trials, seen) >= target)
        time.sleep(draw.uniform(0, 0.1 if more and len(seen) < 2 * seeds else 0.5))
        shot += driver.shot()
        look(trials, seen)
    assert workers + shot >= WORKERS + DRIVERS
    assert_nothing_is_lost_or_runs_again(drivers, seen, NOOP, seeds)


def test_records_are_whole_though_who_writes_them_is_killed(drivers, tmp_path):
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
        if len(hit) >= WRITERS:
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
