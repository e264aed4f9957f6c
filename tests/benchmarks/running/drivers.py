"""`bench run` as a process of its own, which tests can kill, and the records that it leaves."""

import contextlib
import io
import os
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

PATIENCE = 180.0  # seconds until a test gives up: a guard, nothing is timed by it
Seen = dict[Path, tuple[bytes, int]]  # a record's path to its content and the time when it was written


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
    assert int(re.search(r"(\d+) trials? run in", said.getvalue())[1]) <= 2 * seeds - len(seen)
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
                    yield scratch / file, scratch.name.split(".")[1], int(file.rpartition(".")[2].partition("_")[0])
