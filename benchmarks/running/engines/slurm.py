"""The SLURM engine: an array of tasks per study, each with a share of the trials, submitted with submitit.

Records are written directly to the study's folder, which the nodes must share. Each task also keeps a journal there of
the jobs that have ended. The driver only reads the journals, so nothing is lost if it dies, and the next driver
continues with the tasks that are still in the queue. `DIR/STUDY/slurm/NAME/` contains submitit's files and logs of an
array and, while the array may run, its journals and `array.json`, which lists the trials of each task.
"""

import math
import os
import shutil
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from datamodules.errors import InputError, require

from ...records.store import Store
from ..job import PackJob
from .base import Outcome
from .slurm_array import MANIFEST, Array
from .slurm_batch import Batch
from .slurm_queue import Queue

LIVES = 2  # attempts for a job whose task ends before it begins the job
PATIENCE = 90.0  # seconds to wait for cancelled tasks to end
END = 2**16  # bytes at the end of a log that are searched for an error message


def arrays_of(store: Store) -> list[Path]:
    """The folders of arrays that may still be in the queue."""
    return sorted(path.parent for path in store.folder.absolute().glob(f"slurm/*/{MANIFEST}"))


class SlurmEngine:
    """Runs packs of trials in arrays of tasks.

    Args:
        store: The study's store.
        queue: The queue in which tasks run.
        workers: Maximum number of tasks that run at once.
        tasks: Maximum number of tasks in an array; None for the limit of the queue.
        preload: See `LocalEngine`.
    """

    def __init__(
        self, store: Store, queue: Queue, workers: int, tasks: int | None = None, preload: bool = True
    ) -> None:
        self.n_workers = workers
        self._store, self._queue, self._tasks, self._preload = store, queue, tasks, preload
        self._arrays: list[Array] = []
        self._left: dict[tuple[str, ...], tuple[Array, int, int]] = {}
        self._lives: Counter[tuple[str, ...]] = Counter()  # by the keys of each pack
        self._waiting = ""  # the reason for waiting that was printed last

    def __enter__(self) -> "SlurmEngine":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def describe(self) -> str:
        """Where trials run, for the last line of a run."""
        if self._queue.kind == "local":
            return f"{self.n_workers} local process{'es' * (self.n_workers != 1)} instead of SLURM tasks"
        return f"{self.n_workers} SLURM task{'s' * (self.n_workers != 1)} at a time"

    # --- tasks left by an earlier driver --------------------------------------------------------------------------

    def take_over(self) -> list[list[str]]:
        """Find tasks in the queue left by an earlier driver; the caller must hold the lock of the store.

        Returns:
            The keys of the trials that they still have to run, by pack. When `run` gets such a pack, it waits for the
            existing task.

        Raises:
            InputError: The state of the tasks cannot be determined.
        """
        for folder in arrays_of(self._store):
            array = Array.read(folder)
            alive = self._alive(array)
            if not alive:
                array.forget()
                continue
            self._arrays.append(array)
            array.living = alive
            array.read_journals()
            array.trouble = None  # errors of tasks that have ended
            for task in sorted(array.tasks_left() & alive):
                for n in array.unfinished(task):
                    self._left[tuple(key for key, _ in array.packs[task][n])] = array, task, n
        return [list(keys) for keys in self._left]

    def alive(self) -> set[str]:
        """The keys of the trials that may be running now."""
        keys, known = set(), {array.folder: array for array in self._arrays}
        for folder in arrays_of(self._store):
            array = known.get(folder) or Array.read(folder)
            array.read_journals()
            for task in array.tasks_left() & (array.living or array.tasks_left()):
                keys |= {key for n in array.unfinished(task) for key, _ in array.packs[task][n]}
        return keys

    def _alive(self, array: Array) -> set[int]:
        kinds = f"was submitted with --slurm-executor {array.kind}; use the same executor"
        require(array.kind == self._queue.kind, f"{array.folder} {kinds}, or cancel the jobs and remove that folder.")
        for _ in range(3):
            if (alive := self._queue.alive(array.name, array.folder)) is not None:
                return alive
            time.sleep(self._queue.pause[0])
        raise InputError(
            f"squeue does not answer, so the state of the earlier jobs {array.name} is unknown; run the command again "
            "when squeue works."
        )

    # --- running --------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Cancel the arrays that this driver waits for, and wait until their tasks have ended."""
        # An array stays in the list until it has ended, because a second Ctrl-C may interrupt and call this again.
        self._arrays = [array for array in self._arrays if array.jobs]
        for array in list(self._arrays):
            array.read_journals()
            if not array.tasks_left():
                self._drop(array)
        waiting = list(self._arrays)
        if waiting:
            _say(f"cancelling {', '.join(array.name for array in waiting)}")
        for array in waiting:
            self._queue.cancel(array.name, array.folder)
        limit = time.monotonic() + PATIENCE
        while waiting and time.monotonic() < limit:
            for array in list(waiting):
                if self._queue.alive(array.name, array.folder) == set():
                    waiting.remove(array)
                    self._drop(array)
            if waiting:
                time.sleep(self._queue.pause[0])
                for array in waiting:  # a task that was just restarting may have been missed
                    self._queue.cancel(array.name, array.folder)
        for array in waiting:
            _say(f"{array.name} is still in the queue; cancel it with `scancel --name={array.name}`.")
            self._arrays.remove(array)

    def run(
        self,
        function: Callable[..., Any],
        jobs: Iterable[tuple[Any, ...]],
        time_limit: Callable[..., float] = lambda *job: math.inf,
    ) -> Iterator[Outcome]:
        """Submit packs as an array, except those that `take_over` found, and yield outcomes from the tasks' journals.

        Args:
            function: A function that can be imported by name and returns the records of a pack.
            jobs: One pack each.
            time_limit: Returns the time limit in seconds for a pack.

        Raises:
            InputError: A task cannot write to the store, or SLURM rejects the array.
            RuntimeError: The function raised another exception; the message contains its traceback.
        """
        new = []
        for job in jobs:
            keys = tuple(one.identity["key"] for one in job[0].jobs)
            if (place := self._left.pop(keys, None)) is None:
                new.append(job)
                continue
            array, task, n = place
            array.jobs[task, n] = (_with_tokens(job[0], [token for _, token in array.packs[task][n]]),)
        if self._arrays and (waiting := sum(len(array.jobs) for array in self._arrays)):
            names = ", ".join(array.name for array in self._arrays if array.jobs)
            _say(f"waiting for {waiting} jobs of an earlier run that are still in the queue, in {names}")
        if self._left:
            names = ", ".join(sorted({array.name for array, _, _ in self._left.values()}))
            _say(f"other jobs of an earlier run continue in {names}; cancel them with `scancel --name=NAME`.")
            self._left = {}
        self._submit(function, new, time_limit)
        clock = _Clock(self._queue.pause)
        while any(array.jobs for array in self._arrays):
            came = 0
            for array in self._arrays:
                array.read_journals()
                if array.trouble is not None:
                    raise array.trouble
                for task, outcome in array.outcomes():
                    came += 1
                    yield replace(outcome, crash=outcome.crash + self._log(array, task)) if outcome.crash else outcome
            if not came and clock.due():
                again: list[tuple[Any, ...]] = []
                for array in list(self._arrays):
                    yield from self._bury(array, again)
                self._submit(function, again, time_limit)
            self._forget()
            if not came:
                time.sleep(self._interval())

    def _interval(self) -> float:
        """Seconds between two checks of the journals; at most a hundred files are read per second."""
        return min(10.0, max(0.1, sum(len(array.tasks_left()) for array in self._arrays) / 100))

    def _submit(self, function: Callable[..., Any], jobs: list[tuple[Any, ...]], limit: Callable[..., float]) -> None:
        if not jobs:
            return
        tasks = min(len(jobs), self._tasks or math.inf, self._queue.largest(self.n_workers))
        shares = [jobs[task :: int(tasks)] for task in range(int(tasks))]  # each task gets some of the longest
        title = "".join(char if char.isalnum() and char.isascii() else "-" for char in self._store.folder.name)
        name = f"bench-{title}-{uuid.uuid4().hex[:8]}"
        folder = self._store.folder.absolute() / "slurm" / name
        packs = [[[(one.identity["key"], one.token) for one in job[0].jobs] for job in share] for share in shares]
        array = Array(folder, self._queue.kind, packs)
        with self._store.sentences():
            array.write()
        self._arrays.append(array)
        array.jobs = {(task, n): job for task, share in enumerate(shares) for n, job in enumerate(share)}
        resources = self._queue.resources
        batches = [
            Batch(
                function,
                tuple(share),
                tuple(limit(*job) for job in share),
                array.journal_path(task),
                resources.minutes,
                resources.delay,
                self._preload,
                tuple(sys.path),
            )
            for task, share in enumerate(shares)
        ]
        try:
            with self._store.sentences():
                called = self._queue.submit(name, folder, batches, self.n_workers)
        except InputError:
            self._arrays.remove(array)
            shutil.rmtree(folder, ignore_errors=True)
            raise
        many = f"{len(batches)} task{'s' * (len(batches) != 1)}"
        _say(f"submitted as {called}: {many}, at most {self.n_workers} at a time; logs in {folder}")

    def _bury(self, array: Array, again: list[tuple[Any, ...]]) -> Iterator[Outcome]:
        """Yield outcomes of tasks that ended without finishing; jobs they had not begun are added to `again`."""
        alive = self._queue.alive(array.name, array.folder)
        if self._queue.waiting and self._queue.waiting != self._waiting:
            _say(f"{array.name}: {self._queue.waiting}")
        self._waiting = self._queue.waiting
        if alive is None:
            return
        for task in array.dead(alive):
            cause = self._queue.cause(array.name, array.folder, task)
            crash = cause + self._log(array, task) + _last_words(self._queue.log(array.folder, task))
            restarts, left = array.restarts[task], array.unfinished(task)
            array.bury(task)
            for n in left:
                if (job := array.jobs.pop((task, n), None)) is None:
                    continue
                keys = tuple(one.identity["key"] for one in job[0].jobs)
                self._lives[keys] += 1
                if (restarts is not None and n == left[0]) or self._lives[keys] >= LIVES:
                    yield Outcome(job, None, crash, False, 0.0)
                else:  # a disconnected task may still be running, so the next attempt must not share its folder
                    again.append((_with_tokens(job[0], [uuid.uuid4().hex[:12] for _ in keys]),))

    def _log(self, array: Array, task: int) -> str:
        """The location of a task's log, as the end of a sentence."""
        log = self._queue.log(array.folder, task)
        return f"; log: {log.relative_to(self._store.folder.absolute())}" if log else "; there is no log"

    def _forget(self) -> None:
        for array in list(self._arrays):
            if not array.jobs and not array.tasks_left():
                self._drop(array)

    def _drop(self, array: Array) -> None:
        array.forget()
        self._arrays.remove(array)


class _Clock:
    """Decides when to check the queue: often after submission, less often later."""

    def __init__(self, pause: tuple[float, float]) -> None:
        self.shortest, self.longest = pause
        self.start = self.next = time.monotonic()

    def due(self) -> bool:
        """Whether the queue should be checked now."""
        now = time.monotonic()
        if now < self.next:
            return False
        self.next = now + min(self.longest, max(self.shortest, (now - self.start) / 10))
        return True


def _with_tokens(pack: PackJob, tokens: Sequence[str]) -> PackJob:
    """A pack with these tokens for its attempts."""
    jobs = (replace(job, token=token) for job, token in zip(pack.jobs, tokens, strict=True))
    return replace(pack, jobs=tuple(jobs))


def _last_words(log: Path | None) -> str:
    """The last error message in a log, or else its last line, as the end of a sentence."""
    said = b""
    with suppress(OSError):
        if log:
            with log.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - END))
                said = file.read()
    lines = [line.strip() for line in said.decode(errors="replace").splitlines() if line.strip()]
    own = [line for line in lines if not line.startswith("submitit ")] or lines
    words = [line for line in own if "error" in line.lower()] or own
    return f", which ends with: {words[-1][-300:]}" if words else ""


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
