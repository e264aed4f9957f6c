"""An array of SLURM tasks a study, each with a share of its trials, by submitit.

The trials' records go straight into the study's folder, which the nodes must share. Besides, each task keeps a journal
there of what has ended. The driver only reads these: one that dies takes nothing with it, and the next one goes on with
the tasks that are in the queue still. Below `DIR/STUDY/slurm/NAME/` lie submitit's files and logs of an array, and while
it may run its journals and `array.json`: which trials its tasks have.
"""

import json
import math
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any

from datamodules.errors import InputError, require
from zoo.files import write_atomically

from ..store import Store
from ..trial import PackJob
from .base import Outcome
from .slurm_batch import Batch, Entry, Journal, as_recorded
from .slurm_queue import Queue

MANIFEST = "array.json"
LIVES = 2  # how often a job may wait in tasks that end before they begin it
PATIENCE = 90.0  # seconds that tasks have to end when they are cancelled

Member = tuple[str, str]  # a trial's key and the token of its attempt


def require_submitit() -> None:
    """Refuse to go on without it.

    Raises:
        InputError: It is not installed.
    """
    there = find_spec("submitit") is not None
    require(there, "--engine slurm needs submitit, which is not installed: pip install 'ablation-zoo[slurm]'.")


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
        self._arrays: list[_Array] = []
        self._left: dict[tuple[str, ...], tuple[_Array, int, int]] = {}
        self._lives: Counter[str] = Counter()

    def __enter__(self) -> "SlurmEngine":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def describe(self) -> str:
        """Where trials run, for the last line of a run."""
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
            array = _Array.read(folder)
            alive = self._alive(array)
            if not alive:
                array.forget()
                continue
            self._arrays.append(array)
            array.living = alive
            array.read_journals()
            for task in sorted(array.tasks_left() & alive):
                for n in array.unfinished(task):
                    self._left[tuple(key for key, _ in array.packs[task][n])] = array, task, n
        return [list(keys) for keys in self._left]

    def alive(self) -> set[str]:
        """The keys of the trials that may be running at this moment."""
        keys, known = set(), {array.folder: array for array in self._arrays}
        for folder in arrays_of(self._store):
            array = known.get(folder) or _Array.read(folder)
            array.read_journals()
            for task in array.tasks_left() & (array.living or array.tasks_left()):
                keys |= {key for n in array.unfinished(task) for key, _ in array.packs[task][n]}
        return keys

    def _alive(self, array: "_Array") -> set[int]:
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
        arrays = [array for array in self._arrays if array.jobs]
        self._arrays = []
        waiting = []
        for array in arrays:
            array.read_journals()
            if array.tasks_left():
                self._queue.cancel(array.name, array.folder)
                waiting.append(array)
            else:
                array.forget()
        limit = time.monotonic() + PATIENCE
        while waiting and time.monotonic() < limit:
            for array in list(waiting):
                if self._queue.alive(array.name, array.folder) == set():
                    waiting.remove(array)
                    array.forget()
            if waiting:
                time.sleep(self._queue.pause[0])
                for array in waiting:  # one that just restarts may have slipped through
                    self._queue.cancel(array.name, array.folder)
        for array in waiting:
            _say(f"{array.name} is still in the queue; `scancel --name={array.name}` ends it.")

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
            array.jobs[task, n] = (_with_tokens(job[0], array.packs[task][n]),)
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
                for outcome in array.outcomes():
                    came += 1
                    yield outcome
            if not came and clock.due():
                again = []
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
        array = _Array(folder, self._queue.kind, packs)
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
        with self._store.sentences():
            called = self._queue.submit(name, folder, batches, self.n_workers)
        many = f"{len(batches)} task{'s' * (len(batches) != 1)}"
        _say(f"submitted as {called}: {many}, at most {self.n_workers} at a time; logs in {folder}")

    def _bury(self, array: "_Array", again: list[tuple[Any, ...]]) -> Iterator[Outcome]:
        """Outcomes of tasks that are no more, though they have not finished; jobs that they had not begun run again."""
        alive = self._queue.alive(array.name, array.folder)
        if alive is None:
            return
        for task in array.dead(alive):
            words, log = self._queue.cause(array.name, array.folder, task)
            crash = words + _last_words(log)
            for n in array.unfinished(task):
                if (job := array.jobs.pop((task, n), None)) is None:
                    continue
                token = job[0].jobs[0].token
                self._lives[token] += 1
                begun = array.restarts[task] is not None and n == array.unfinished(task)[0]
                if begun or self._lives[token] >= LIVES:
                    yield Outcome((as_recorded(job[0], array.restarts[task] or 0),), None, crash, False, 0.0)
                else:
                    again.append(job)

    def _forget(self) -> None:
        for array in list(self._arrays):
            if not array.jobs and not array.tasks_left():
                array.forget()
                self._arrays.remove(array)


class _Array:
    """An array of tasks, as its manifest and its journals tell.

    Args:
        folder: Its own.
        kind: Of the queue that it is in.
        packs: Of each task, the members of each pack.
    """

    def __init__(self, folder: Path, kind: str, packs: Sequence[Sequence[Sequence[Member]]]) -> None:
        self.folder, self.kind, self.packs, self.name = folder, kind, packs, folder.name
        self.jobs: dict[tuple[int, int], tuple[Any, ...]] = {}  # those whose outcome this driver waits for
        self.restarts: list[int | None] = [None] * len(packs)  # of each task; None before it has started
        self.living: set[int] = set()  # the tasks in the queue when it was taken over
        self.trouble: Exception | None = None  # the first that is no single trial's
        self._journals = [Journal(self.journal_path(task)) for task in range(len(packs))]
        self._ended: list[dict[int, Entry]] = [{} for _ in packs]
        self._finished: set[int] = set()
        self._missing: set[int] = set()
        self._told: list[tuple[int, Entry]] = []

    @classmethod
    def read(cls, folder: Path) -> "_Array":
        """That of a folder."""
        told = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return cls(folder, told["kind"], told["packs"])

    def write(self) -> None:
        """Make its folder, with all that another driver must know."""
        self.folder.mkdir(parents=True)
        for task in range(len(self.packs)):  # so that no client of NFS remembers that it is not there
            self.journal_path(task).touch()
        write_atomically(self.folder / MANIFEST, json.dumps({"kind": self.kind, "packs": self.packs}))

    def forget(self) -> None:
        """Let it be nobody's any more; its logs stay."""
        (self.folder / MANIFEST).unlink(missing_ok=True)
        for task in range(len(self.packs)):
            self.journal_path(task).unlink(missing_ok=True)

    def journal_path(self, task: int) -> Path:
        """Where a task notes what has ended."""
        return self.folder / f"journal_{task}.jsonl"

    def tasks_left(self) -> set[int]:
        """The tasks that have jobs that have not ended."""
        done = {task for task, ended in enumerate(self._ended) if len(ended) == len(self.packs[task])}
        return set(range(len(self.packs))) - self._finished - done

    def unfinished(self, task: int) -> list[int]:
        """The jobs of a task that have not ended, in its order."""
        return [n for n in range(len(self.packs[task])) if n not in self._ended[task]]

    def read_journals(self) -> None:
        """Take in what has come."""
        for task in sorted(self.tasks_left()):
            for entry in self._journals[task].news():
                if "started" in entry:
                    self.restarts[task] = entry["started"]
                elif "job" in entry:
                    self._ended[task][entry["job"]] = entry
                    self._told.append((task, entry))
                elif "finished" in entry:
                    self._finished.add(task)
                elif "refused" in entry:
                    self.trouble = InputError(entry["refused"])
                else:
                    self.trouble = RuntimeError(f"in a task of {self.name}:\n{entry['raised']}")

    def outcomes(self) -> Iterator[Outcome]:
        """Of the jobs that have ended since it was last asked, if they are this driver's."""
        told, self._told = self._told, []
        for task, entry in told:
            if (job := self.jobs.pop((task, entry["job"]), None)) is None:
                continue
            crash, timed_out = entry["crash"], entry["timed_out"]
            if crash or timed_out:
                job, records = (as_recorded(job[0], self.restarts[task] or 0),), None
            else:
                records = entry["records"]
            yield Outcome(job, records, crash, timed_out, entry["seconds"])

    def dead(self, alive: set[int]) -> list[int]:
        """The tasks that are no more and have jobs left; they must be missed twice, for journals may be late."""
        missing = self.tasks_left() - alive
        dead, self._missing = sorted(missing & self._missing), missing
        return dead


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


def _with_tokens(pack: PackJob, members: Sequence[Member]) -> PackJob:
    """A pack as it was submitted."""
    jobs = (replace(job, token=token) for job, (_, token) in zip(pack.jobs, members, strict=True))
    return replace(pack, jobs=tuple(jobs))


def _last_words(log: Path | None) -> str:
    """Which log there is and how it ends, as the end of a sentence."""
    if log is None:
        return ", and left no log"
    try:
        lines = [
            line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()
        ]
    except OSError:
        lines = []
    own = [line for line in lines if not line.startswith("submitit ")] or lines
    return f"; its log {log}" + (f" ends: {own[-1][-300:]}" if own else " is empty")


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
