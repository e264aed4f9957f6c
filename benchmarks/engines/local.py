"""Worker processes on this machine."""

import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any

from datamodules.errors import InputError

# Workers share the cores, so each computes on one thread; then numbers do not depend on how many workers there are.
ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Attributes:
        index: Which job, by its place in the order given.
        value: What the function returned; None unless it did.
        crash: Why the worker died while at it; empty if it did not.
    """

    index: int
    value: Any
    crash: str


class LocalEngine:
    """Runs functions in worker processes that stay, forked from a server that has imported torch and lightning once.

    Args:
        workers: How many processes.
    """

    def __init__(self, workers: int) -> None:
        self.n_workers = workers
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["benchmarks.engines.preload"])
        self._workers: list[_Worker] = []

    def __enter__(self) -> "LocalEngine":
        before = {name: os.environ.get(name) for name in ONE_THREAD}
        os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
        try:
            self._workers = [_Worker(self._context) for _ in range(self.n_workers)]
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for worker in self._workers:
            worker.stop()

    def run(self, function: Callable[..., Any], jobs: Iterable[tuple[Any, ...]]) -> Iterator[Outcome]:
        """Call `function(*job)` for each job in some worker; yield outcomes as they come.

        Raises:
            InputError: The function raised one.
            RuntimeError: The function raised anything else; the message holds its traceback.
        """
        waiting = list(enumerate(jobs))[::-1]
        running: dict[int, int] = {}  # place of the worker: index of its job
        while waiting or running:
            for place, worker in enumerate(self._workers):
                if waiting and place not in running:
                    index, job = waiting.pop()
                    try:
                        worker.connection.send((function, job))
                    except OSError:  # it died while it had nothing to do
                        worker = self._workers[place] = _Worker(self._context)
                        worker.connection.send((function, job))
                    running[place] = index
            ready = wait([w.connection for p, w in enumerate(self._workers) if p in running])
            for place in [p for p in running if self._workers[p].connection in ready]:
                index, worker = running.pop(place), self._workers[place]
                try:
                    kind, value = worker.connection.recv()
                except (EOFError, ConnectionResetError):
                    self._workers[place] = _Worker(self._context)
                    yield Outcome(index, None, worker.cause_of_death())
                    continue
                if kind == "returned":
                    yield Outcome(index, value, "")
                else:
                    raise InputError(value) if kind == "refused" else RuntimeError(f"in a worker:\n{value}")


class _Worker:
    """One process and the pipe to it."""

    def __init__(self, context: Any) -> None:
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()

    def stop(self) -> None:
        self.connection.close()
        self.process.terminate()
        self.process.join()

    def cause_of_death(self) -> str:
        self.process.join()
        code = self.process.exitcode
        return (
            f"killed by {signal.Signals(-code).name}" if code is not None and code < 0 else f"exited with status {code}"
        )


def _serve(connection: Connection) -> None:
    """A worker's loop: receive (function, arguments), send back what came of it, until the driver is gone."""
    import torch

    # Ctrl-C is the driver's to handle; it reaches the whole process group.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    while True:
        try:
            function, arguments = connection.recv()
        except EOFError:
            return
        try:
            answer = ("returned", function(*arguments))
        except InputError as error:
            answer = ("refused", str(error))
        except Exception:
            answer = ("raised", traceback.format_exc())
        connection.send(answer)
