"""An array of SLURM tasks a study, each with a share of its trials, by submitit.

The trials' records go straight into the study's folder, which the nodes must share. Besides, each task keeps a journal
there of what has ended. The driver only reads these: one that dies takes nothing with it, and the next one goes on with
the tasks that are in the queue still. Below `DIR/STUDY/slurm/NAME/` lie submitit's files and logs of an array and,
while it may run, its journals and `array.json`: which trials its tasks have.
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

LIVES = 2  # how often a job may wait in tasks that end before they begin it
PATIENCE = 90.0  # seconds that tasks have to end when they are cancelled
END = 2**16  # bytes of a log that are searched for its last words


def arrays_of(store: Store) -> list[Path]:
    """The folders of the arrays that may be in a queue still."""
    return sorted(path.parent for path in store.folder.absolute().glob(f"slurm/*/{MANIFEST}"))


class SlurmEngine:
    """Runs packs of trials in arrays of tasks.

    Args:
        store: The study's.
        queue: Where tasks run.
        workers: How many of them run at once, at most.
        tasks: How many an array has, at most; None for as many as the queue takes.
        preload: See `LocalEngine`.
    """

    def __init__(
        self, store: Store, queue: Queue, workers: int, tasks: int | None = None, preload: bool = True
    ) -> None:
        self.n_workers = workers
        self._store, self._queue, self._tasks, self._preload = store, queue, tasks, preload
        self._arrays: list[Array] = []
        self._left: dict[tuple[str, ...], tuple[Array, int, int]] = {}
        self._lives: Counter[tuple[str, ...]] = Counter()  # of each pack, by its keys
        self._waiting = ""  # why, as it was last said

    def __enter__(self) -> "SlurmEngine":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def describe(self) -> str:
        """Where trials run, for the last line of a run."""
        if self._queue.kind == "local":
            return f"{self.n_workers} process{'es' * (self.n_workers != 1)} in place of SLURM's"
        return f"{self.n_workers} task{'s' * (self.n_workers != 1)} of SLURM at a time"

    # --- what a driver before has left ----------------------------------------------------------------------------

    def take_over(self) -> list[list[str]]:
        """Find the tasks that a former driver has left in the queue; only for who holds the lock of the store.

        Returns:
            The keys of the trials that they have still to run, by pack. `run`, given such packs, waits for those tasks.

        Raises:
            InputError: It cannot be told which they are.
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
            array.trouble = None  # of tasks that are no more
            for task in sorted(array.tasks_left() & alive):
                for n in array.unfinished(task):
                    self._left[tuple(key for key, _ in array.packs[task][n])] = array, task, n
        return [list(keys) for keys in self._left]

    def alive(self) -> set[str]:
        """The keys of the trials that may be running at this moment."""
        keys, known = set(), {array.folder: array for array in self._arrays}
        for folder in arrays_of(self._store):
            array = known.get(folder) or Array.read(folder)
            array.read_journals()
            for task in array.tasks_left() & (array.living or array.tasks_left()):
                keys |= {key for n in array.unfinished(task) for key, _ in array.packs[task][n]}
        return keys

    def _alive(self, array: Array) -> set[int]:
        kinds = f"was submitted with --slurm-executor {array.kind}; give the same again"
        require(array.kind == self._queue.kind, f"{array.folder} {kinds}, or cancel it and remove that folder.")
        for _ in range(3):
            if (alive := self._queue.alive(array.name, array.folder)) is not None:
                return alive
            time.sleep(self._queue.pause[0])
        raise InputError(
            f"squeue does not answer, so it cannot be told whether jobs of before, {array.name}, are in the queue; "
            "give the command again when it does."
        )

    # --- running --------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Cancel what is in the queue of what this driver waits for, and see it end."""
        # Each stays in the list until it is dealt with: a second Ctrl-C may strike here, and this is called again.
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
                for array in waiting:  # one that just restarts may have slipped through
                    self._queue.cancel(array.name, array.folder)
        for array in waiting:
            _say(f"{array.name} is still in the queue; `scancel --name={array.name}` ends it.")
            self._arrays.remove(array)

    def run(
        self,
        function: Callable[..., Any],
        jobs: Iterable[tuple[Any, ...]],
        time_limit: Callable[..., float] = lambda *job: math.inf,
    ) -> Iterator[Outcome]:
        """Submit packs as an array, except those that `take_over` has found, and yield outcomes as tasks note them.

        Args:
            function: One that can be imported by its name, and gives a pack's records.
            jobs: A pack each.
            time_limit: Called with a pack; the seconds after which it is ended.

        Raises:
            InputError: A task cannot write to the store, or SLURM refuses the array.
            RuntimeError: The function raised; the message holds its traceback.
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
            _say(f"{waiting} jobs of a former driver are in the queue still, in {names}; this one waits for them.")
        if self._left:
            names = ", ".join(sorted({array.name for array, _, _ in self._left.values()}))
            _say(f"Other jobs of a former driver go on in {names}; `scancel --name=NAME` ends them.")
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
        """Seconds until the journals are looked at again: a hundred files a second at most."""
        return min(10.0, max(0.1, sum(len(array.tasks_left()) for array in self._arrays) / 100))

    def _submit(self, function: Callable[..., Any], jobs: list[tuple[Any, ...]], limit: Callable[..., float]) -> None:
        if not jobs:
            return
        tasks = min(len(jobs), self._tasks or math.inf, self._queue.largest(self.n_workers))
        shares = [jobs[task :: int(tasks)] for task in range(int(tasks))]  # the longest come first, so each has some
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
        """Outcomes of tasks that are no more, though they have not finished; jobs that they had not begun run again."""
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
                else:  # the task may live on where it was cut off, so what runs next shares no folder with it
                    again.append((_with_tokens(job[0], [uuid.uuid4().hex[:12] for _ in keys]),))

    def _log(self, array: Array, task: int) -> str:
        """Where the log of a task is, as the end of a sentence."""
        log = self._queue.log(array.folder, task)
        return f"; its log is {log.relative_to(self._store.folder.absolute())}" if log else "; it left no log"

    def _forget(self) -> None:
        for array in list(self._arrays):
            if not array.jobs and not array.tasks_left():
                self._drop(array)

    def _drop(self, array: Array) -> None:
        array.forget()
        self._arrays.remove(array)


class _Clock:
    """Says when to look at the queue: often when tasks are new, later now and then."""

    def __init__(self, pause: tuple[float, float]) -> None:
        self.shortest, self.longest = pause
        self.start = self.next = time.monotonic()

    def due(self) -> bool:
        """Whether it is time."""
        now = time.monotonic()
        if now < self.next:
            return False
        self.next = now + min(self.longest, max(self.shortest, (now - self.start) / 10))
        return True


def _with_tokens(pack: PackJob, tokens: Sequence[str]) -> PackJob:
    """A pack whose attempts have these names."""
    jobs = (replace(job, token=token) for job, token in zip(pack.jobs, tokens, strict=True))
    return replace(pack, jobs=tuple(jobs))


def _last_words(log: Path | None) -> str:
    """The last that a log says of an error, or else its end, as the end of a sentence."""
    said = b""
    with suppress(OSError):
        if log:
            with log.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - END))
                said = file.read()
    lines = [line.strip() for line in said.decode(errors="replace").splitlines() if line.strip()]
    own = [line for line in lines if not line.startswith("submitit ")] or lines
    words = [line for line in own if "error" in line.lower()] or own
    return f", which says: {words[-1][-300:]}" if words else ""


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
