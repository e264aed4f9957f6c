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
from multiprocessing.util import get_temp_dir
from types import TracebackType
from typing import Any

from datamodules.errors import InputError

from .base import Outcome

# Workers share the cores, so each uses one thread; this also makes results independent of the number of workers.
ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
# With these variables Lightning would mistake a worker for a process started by srun.
OF_SRUN = (
    "SLURM_NTASKS",
    "SLURM_NTASKS_PER_NODE",
    "SLURM_STEP_NUM_TASKS",
    "SLURM_PROCID",
    "SLURM_LOCALID",
    "SLURM_NODEID",
)


SOCKETS = "ABLATION_ZOO_SOCKETS"  # environment variable with the folder of the fork server's socket, see `preload`
# Python would look for modules in the working directory first, which may hold any files; see `importable`.
SAFE_PATH = "PYTHONSAFEPATH"


class LocalEngine:
    """Runs functions in worker processes, which are started on demand and reused.

    Args:
        workers: Maximum number of processes.
        preload: Fork the workers from a server that has already imported torch and lightning.
        ignored: Signals that workers ignore in addition to SIGINT.
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
        """The number of workers."""
        return f"{self.n_workers} worker{'s' * (self.n_workers != 1)}"

    def stop(self) -> None:
        """Kill all workers immediately."""
        for worker in self._workers:
            worker.stop()
        self._workers = []

    def run(
        self,
        function: Callable[..., Any],
        jobs: Iterable[tuple[Any, ...]],
        time_limit: Callable[..., float] = lambda *job: math.inf,
    ) -> Iterator[Outcome]:
        """Call `function(*job)` for each job in a worker, and yield outcomes as jobs end.

        Args:
            function: A function that can be imported by name.
            jobs: Arguments of each call, consumed as workers become free.
            time_limit: Returns the time limit in seconds for a job's arguments; the worker is killed after it.

        Raises:
            InputError: The function raised an `InputError`.
            RuntimeError: The function raised another exception; the message contains its traceback.
        """
        waiting = iter(jobs)
        running: dict[int, tuple[tuple[Any, ...], float]] = {}  # index of the worker: its job and start time
        exhausted = False
        while True:
            for place in range(self.n_workers):
                if place not in running and not exhausted:
                    if (job := next(waiting, None)) is None:
                        exhausted = True
                        break
                    self._send(place, (function, job))
                    running[place] = job, math.inf  # the clock starts when the worker begins
            if not running:
                return
            ends = min(since + time_limit(*job) for job, since in running.values())
            # None waits forever; system calls do not accept very long timeouts.
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
        except OSError:  # the worker died while idle
            self._workers[place] = _Worker(self._context, self._ignored)
            with suppress(OSError):  # if the new one dies as well, waiting for its answer reports it
                self._workers[place].connection.send(message)

    def _outcome(self, place: int, job: tuple[Any, ...], seconds: float) -> Outcome | None:
        """The outcome of a job from a worker's message; None if the message says that the job has begun."""
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
        return Outcome(job, None, "killed by the driver", True, seconds)


class _Worker:
    """A worker process and the pipe to it."""

    def __init__(self, context: Any, ignored: Sequence[signal.Signals]) -> None:
        self.connection, theirs = context.Pipe()
        # Not a daemon, so that tasks can start processes; `_receive` ends it when the driver is gone.
        self.process = context.Process(target=_serve, args=(theirs,), daemon=False)
        forked = context.get_start_method() == "forkserver"
        with worker_environment():
            with _ignored(ignored):
                _start_fork_server() if forked else self.process.start()
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


def _start_fork_server() -> None:
    """Start the fork server unless it runs, and tell it which folder it has to delete; see `preload`."""
    os.environ[SOCKETS] = get_temp_dir()
    try:
        forkserver.ensure_running()
    finally:
        del os.environ[SOCKETS]


@contextmanager
def worker_environment() -> Iterator[None]:
    """Environment for workers started in this context: one thread, no variables of srun, and a safe `sys.path`."""
    before = {name: os.environ.get(name) for name in (*ONE_THREAD, *OF_SRUN, SAFE_PATH)}
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    os.environ.setdefault(SAFE_PATH, __name__)
    for name in OF_SRUN:
        os.environ.pop(name, None)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


@contextmanager
def _ignored(numbers: Sequence[signal.Signals]) -> Iterator[None]:
    """Ignore signals in processes started in this context; only the driver handles Ctrl-C."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _serve(connection: Connection) -> None:
    """Main loop of a worker: receive (function, arguments), send back the result."""
    # Ctrl-C reaches the whole process group, but only the driver handles it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if os.environ.get(SAFE_PATH) == __name__:  # it was for this process, not for scripts that tasks may start
        del os.environ[SAFE_PATH]
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
    """Put received jobs into the queue; exit the process immediately when the driver is gone."""
    try:
        while True:
            jobs.put(connection.recv())
    except (EOFError, OSError):
        os._exit(1)
