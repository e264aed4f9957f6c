"""Worker processes on this machine."""

import math
import multiprocessing
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any

from datamodules.errors import InputError

from .base import Outcome

# Workers share the cores, so each computes on one thread; then numbers do not depend on how many workers there are.
ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
# By these Lightning would take a worker for one of the processes that srun started, which it is not.
OF_SRUN = (
    "SLURM_NTASKS",
    "SLURM_NTASKS_PER_NODE",
    "SLURM_STEP_NUM_TASKS",
    "SLURM_PROCID",
    "SLURM_LOCALID",
    "SLURM_NODEID",
)


class LocalEngine:
    """Runs functions in worker processes that start when they are needed and then stay.

    Args:
        workers: How many processes, at most.
        preload: Fork them from a server that has imported torch and lightning once, rather than start them bare.
        ignored: Signals that they ignore besides Ctrl-C.
    """

    def __init__(self, workers: int, preload: bool = True, ignored: Sequence[signal.Signals] = ()) -> None:
        self.n_workers = workers
        self._ignored = (signal.SIGINT, *ignored)
        self._context: Any = multiprocessing.get_context("forkserver" if preload else "spawn")
        if preload:
            self._context.set_forkserver_preload(["benchmarks.running.engines.preload"])
        self._workers: list[_Worker] = []

    def __enter__(self) -> "LocalEngine":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def describe(self) -> str:
        """How many workers there are."""
        return f"{self.n_workers} worker{'s' * (self.n_workers != 1)}"

    def stop(self) -> None:
        """End all workers, in the middle of whatever they do."""
        for worker in self._workers:
            worker.stop()
        self._workers = []

    def run(
        self,
        function: Callable[..., Any],
        jobs: Iterable[tuple[Any, ...]],
        time_limit: Callable[..., float] = lambda *job: math.inf,
    ) -> Iterator[Outcome]:
        """Call `function(*job)` for each job in some worker; yield outcomes as they come.

        Args:
            function: One that can be imported by its name.
            jobs: Its arguments; taken one by one as workers become free.
            time_limit: Called with a job's arguments; the seconds after which it is ended by killing its worker.

        Raises:
            InputError: The function raised one.
            RuntimeError: The function raised anything else; the message holds its traceback.
        """
        waiting = iter(jobs)
        running: dict[int, tuple[tuple[Any, ...], float]] = {}  # place of the worker: its job, since when
        exhausted = False
        while True:
            for place in range(self.n_workers):
                if place not in running and not exhausted:
                    if (job := next(waiting, None)) is None:
                        exhausted = True
                        break
                    self._send(place, (function, job))
                    running[place] = job, math.inf  # its time counts from when the worker begins
            if not running:
                return
            ends = min(since + time_limit(*job) for job, since in running.values())
            # None waits for ever; the system's calls take no more than some weeks.
            patience = None if ends == math.inf else min(max(0.0, ends - time.monotonic()), 3600.0)
            ready = wait([self._workers[place].connection for place in running], patience)
            for place, (job, since) in list(running.items()):
                seconds = max(0.0, time.monotonic() - since)
                if self._workers[place].connection in ready:
                    if (outcome := self._outcome(place, job, seconds)) is None:
                        running[place] = job, time.monotonic()
                        continue
                elif seconds < time_limit(*job):
                    continue
                else:
                    outcome = self._end(place, job, seconds)
                del running[place]
                yield outcome

    def _send(self, place: int, message: Any) -> None:
        if place == len(self._workers):
            self._workers.append(_Worker(self._context, self._ignored))
        try:
            self._workers[place].connection.send(message)
        except OSError:  # it died while it had nothing to do
            self._workers[place] = _Worker(self._context, self._ignored)
            with suppress(OSError):  # this one, too; waiting for its answer tells
                self._workers[place].connection.send(message)

    def _outcome(self, place: int, job: tuple[Any, ...], seconds: float) -> Outcome | None:
        """What a worker has sent: how a job ended, or None for that it has begun."""
        try:
            kind, value = self._workers[place].connection.recv()
        except (EOFError, OSError):
            cause = self._workers[place].cause_of_death()
            self._workers[place] = _Worker(self._context, self._ignored)
            return Outcome(job, None, cause, False, seconds)
        if kind == "begun":
            return None
        if kind == "returned":
            return Outcome(job, value, "", False, seconds)
        raise InputError(value) if kind == "refused" else RuntimeError(f"in a worker:\n{value}")

    def _end(self, place: int, job: tuple[Any, ...], seconds: float) -> Outcome:
        self._workers[place].stop()
        self._workers[place] = _Worker(self._context, self._ignored)
        return Outcome(job, None, "ended by the driver", True, seconds)


class _Worker:
    """One process and the pipe to it."""

    def __init__(self, context: Any, ignored: Sequence[signal.Signals]) -> None:
        self.connection, theirs = context.Pipe()
        # No daemon, so that tasks may have processes of their own; `_receive` ends it with the driver.
        self.process = context.Process(target=_serve, args=(theirs,), daemon=False)
        forked = context.get_start_method() == "forkserver"
        with _environment():
            with _ignored(ignored):
                forkserver.ensure_running() if forked else self.process.start()
            if forked:
                self.process.start()
        theirs.close()

    def stop(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()

    def cause_of_death(self) -> str:
        self.connection.close()
        self.process.join()
        code = self.process.exitcode
        return (
            f"killed by {signal.Signals(-code).name}" if code is not None and code < 0 else f"exited with status {code}"
        )


@contextmanager
def _environment() -> Iterator[None]:
    """For processes started meanwhile, which inherit it: one thread, and nothing of srun."""
    before = {name: os.environ.get(name) for name in (*ONE_THREAD, *OF_SRUN)}
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    for name in OF_SRUN:
        os.environ.pop(name, None)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


@contextmanager
def _ignored(numbers: Sequence[signal.Signals]) -> Iterator[None]:
    """For processes started meanwhile: Ctrl-C reaches the whole group, and is the driver's to handle."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _serve(connection: Connection) -> None:
    """A worker's loop: take (function, arguments), send back what came of it."""
    # Ctrl-C is the driver's to handle; it reaches the whole process group.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
    jobs: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(connection, jobs), daemon=True).start()
    while True:
        function, arguments = jobs.get()
        try:
            connection.send(("begun", None))
            answer = ("returned", function(*arguments))
        except InputError as error:
            answer = ("refused", str(error))
        except Exception:
            answer = ("raised", traceback.format_exc())
        with suppress(BrokenPipeError):  # the driver is gone, and `_receive` ends this process
            connection.send(answer)


def _receive(connection: Connection, jobs: "queue.SimpleQueue[Any]") -> None:
    """Pass jobs on; once the driver is gone, end the process in the middle of whatever it does."""
    try:
        while True:
            jobs.put(connection.recv())
    except (EOFError, OSError):
        os._exit(1)
