"""The Ray engine: trials run as tasks of a cluster, on one machine or many."""

import math
import os
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from datamodules.errors import InputError, require
from zoo.outputs.provenance import git_state

from ..carry import Carried
from .base import Outcome
from .ray_cluster import Cluster, address_of, last_line, ray
from .ray_worker import Answer, Sender, serve, this_node

RETRIES = 1  # retries by Ray if a worker or its node dies; a trial that raises is not retried
LOOK = 15.0  # seconds between checks of the cluster's nodes, which may come and go
Running = dict[Any, tuple[tuple[Any, ...], float]]  # maps a task's reference to its job and start time


def open_ray(
    address: str | None,
    folder: Path,
    cpus: float,
    gpus: float,
    at_once: int | None,
    study_file: Path | None,
    preload: bool,
) -> "RayEngine":
    """Connect to a Ray cluster, or start one, and check that it can run trials.

    Args:
        address: Value of `--ray-address`; None to use the environment variable, or else to start a cluster.
        folder: The study's folder.
        cpus: CPUs per job.
        gpus: GPUs per job.
        at_once: Maximum number of jobs that run at once; None for the capacity of the cluster.
        study_file: The study file if its task is the user's own.
        preload: Whether jobs need torch and lightning.

    Raises:
        InputError: There is no such cluster, no node can run a trial, or package versions differ.
    """
    whole = gpus < 1 or gpus == int(gpus)
    require(whole, f"--gpus-per-trial must be a fraction of 1 or a whole number, got {gpus}.")
    cores = max(len(os.sched_getaffinity(0)), math.ceil((at_once or 0) * cpus))
    cluster = Cluster(address_of(address), cores, study_file)
    try:
        cluster.require_room(cpus, gpus)
        for sentence in cluster.compare_nodes():
            print(sentence, file=sys.stderr)
        return RayEngine(cluster, folder, cpus, gpus, at_once, preload)
    except BaseException:
        cluster.close()
        raise


class RayEngine:
    """Runs functions as tasks of a Ray cluster, with workers that are reused.

    Args:
        cluster: The cluster.
        folder: The study's folder. Workers that share it write there; files of other workers are sent back.
        cpus: CPUs per job, for Ray's scheduling; each job uses one thread.
        gpus: GPUs per job.
        at_once: Maximum number of jobs that run at once; None for the capacity of the cluster.
        preload: Import torch and lightning in workers before the first job, so that its time does not include it.
    """

    def __init__(
        self,
        cluster: Cluster,
        folder: Path,
        cpus: float,
        gpus: float,
        at_once: int | None = None,
        preload: bool = True,
    ) -> None:
        self._cluster, self._folder, self._preload = cluster, folder, preload
        self._cpus, self._gpus, self._at_once = cpus, gpus, at_once
        self._task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=RETRIES, retry_exceptions=False)(serve)
        self._running: Running = {}
        self._looked = -math.inf
        self._told = False  # whether the user has been told that the cluster is busy
        self.n_workers = self._look()
        nodes = cluster.nodes()
        self._hardware = ", ".join(_count(nodes, name) for name in ("CPU", "GPU") if _count(nodes, name))
        self._n_nodes = len(nodes)

    def __enter__(self) -> "RayEngine":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()
        self._cluster.close()

    def describe(self) -> str:
        """Where jobs run, in a few words."""
        return f"Ray, {self._n_nodes} node{'s' * (self._n_nodes != 1)} with {self._hardware}"

    def stop(self) -> None:
        """Kill all jobs immediately."""
        for reference in self._running:
            ray.cancel(reference, force=True)
        if self._running:
            ray.wait(list(self._running), num_returns=len(self._running), timeout=LOOK)
        self._running = {}

    def run(
        self,
        function: Callable[..., Any],
        jobs: Iterable[tuple[Any, ...]],
        time_limit: Callable[..., float] = lambda *job: math.inf,
    ) -> Iterator[Outcome]:
        """Call `function(*job)` for each job in a worker, and yield outcomes as jobs end.

        Args:
            function: A function that can be imported by name.
            jobs: Arguments of each call, submitted as the cluster has room, so that only a few wait there.
            time_limit: Returns the time limit in seconds for a job's arguments; the worker enforces it.

        Raises:
            InputError: The function raised an `InputError`, or the cluster cannot run it.
            RuntimeError: The function raised another exception; the message contains its traceback.
        """
        waiting, running = iter(jobs), self._running
        with self._token() as token:
            sender = Sender(this_node(), str(Path.cwd()), token, {"git": git_state()}, self._preload)
            exhausted = False
            self._tell()
            while True:
                room = self._room()
                while not exhausted and len(running) < room:
                    if (job := next(waiting, None)) is None:
                        exhausted = True
                        break
                    task = self._task.remote(function, job, time_limit(*job), sender)
                    running[task] = job, time.monotonic()
                if not running:
                    return
                ready, _ = ray.wait(list(running), timeout=LOOK)
                if ready:  # also fetch others that ended at the same time
                    ready, _ = ray.wait(list(running), num_returns=len(running), timeout=0)
                for task in ready:
                    job, since = running.pop(task)
                    yield self._outcome(task, job, time.monotonic() - since)

    def _outcome(self, task: Any, job: tuple[Any, ...], seconds: float) -> Outcome:
        try:
            answer: Answer = ray.get(task)
        except (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError):
            return Outcome(job, None, f"its Ray worker died {1 + RETRIES} times in a row", False, seconds)
        except ray.exceptions.OutOfMemoryError:
            return Outcome(job, None, "killed by Ray because its node was out of memory", False, seconds)
        except (ray.exceptions.RuntimeEnvSetupError, ray.exceptions.TaskUnschedulableError) as error:
            raise InputError(f"the cluster cannot run trials: {error}") from None
        except ray.exceptions.RayError as error:
            return Outcome(job, None, f"lost by Ray ({type(error).__name__}: {last_line(error)})", False, seconds)
        if answer.kind == "refused":
            raise InputError(answer.value)
        if answer.kind == "raised":
            raise RuntimeError(f"in a worker:\n{answer.value}")
        value = answer.value.take_in(self._folder) if isinstance(answer.value, Carried) else answer.value
        crash = answer.value if answer.kind == "exited" else ""
        return Outcome(job, None if crash else value, crash, answer.kind == "timed out", answer.seconds)

    def _room(self) -> int:
        """Maximum number of submitted tasks: those that run at once, plus some waiting unless `at_once` is set."""
        slots = self._look()
        room = slots + max(2, slots // 4)
        return room if self._at_once is None else min(room, self._at_once)

    def _tell(self) -> None:
        """Tell the user once, at the start, if trials have to wait because other jobs use all CPUs."""
        free = {} if self._told else ray.available_resources()  # empty if nothing is known yet
        if free and free.get("CPU", 0.0) < self._cpus:
            print("All CPUs of the Ray cluster are in use; trials start when some are free.", file=sys.stderr)
        self._told = True

    def _look(self) -> int:
        """The number of jobs that the cluster can run at once now."""
        if time.monotonic() - self._looked > LOOK:
            self._looked, self._slots = time.monotonic(), self._cluster.slots(self._cpus, self._gpus)
        return self._slots if self._at_once is None else min(self._slots, self._at_once)

    @contextmanager
    def _token(self) -> Iterator[str]:
        """Create a file in the study's folder by which workers detect whether they share the folder."""
        name = f".shared.{uuid.uuid4().hex}"
        trials = self._folder / "trials"
        if not trials.is_dir():
            yield name
            return
        (trials / name).touch()
        try:
            yield name
        finally:
            (trials / name).unlink(missing_ok=True)


def _count(nodes: list[dict[str, float]], name: str) -> str:
    n = sum(node.get(name, 0.0) for node in nodes)
    return f"{n:g} {name}{'s' * (n != 1)}" if n else ""
