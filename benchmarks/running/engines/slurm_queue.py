"""Queues for arrays of tasks: SLURM, or processes on this machine for testing. Both use submitit.

An array is identified by its name, which is chosen before it is submitted. It is therefore found even if its driver
died right after the submission.
"""

import os
import pwd
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from datamodules.errors import InputError, require

from .local import worker_environment
from .slurm_batch import Batch

PYTHON = f"{shlex.quote(sys.executable)} -P"  # it does not take modules from the working directory
FOREVER = 10_000  # requeues; `Batch.checkpoint` gives up a job that cannot end within its time
# Options of sbatch that have their own option here, or are set by the engine.
OWN = {
    "partition": "--slurm-partition",
    "time": "--slurm-time",
    "cpus-per-task": "--cpus-per-trial",
    "gpus-per-node": "--gpus-per-trial",
    **dict.fromkeys(("array", "output", "error", "job-name", "signal", "open-mode", "requeue", "no-requeue"), ""),
    # These would run each share several times in parallel.
    **dict.fromkeys(("nodes", "ntasks", "ntasks-per-node", "ntasks-per-core", "ntasks-per-socket"), ""),
    # With these sbatch would submit something else, or print something else.
    **dict.fromkeys(("wrap", "test-only", "wait", "parsable"), ""),
}


@dataclass(frozen=True)
class Resources:
    """Resources of a task.

    Attributes:
        minutes: Time limit.
        cpus: Number of CPUs.
        gpus: Number of GPUs.
        partition: Partition; None for the cluster's default.
        extra: Further options of sbatch, without dashes.
    """

    minutes: int = 60
    cpus: int = 1
    gpus: int = 0
    partition: str | None = None
    extra: Mapping[str, str | bool] = field(default_factory=dict)

    @property
    def delay(self) -> int:
        """Seconds before the time limit at which a task is notified."""
        return min(90, 15 * self.minutes)


class Queue(Protocol):
    """Runs arrays of tasks.

    Attributes:
        kind: `slurm` or `local`.
        resources: Resources of each task.
        pause: Minimum and maximum seconds between two checks of the queue.
        waiting: Why no task of the array that was checked last is running, or why this is unknown; empty if one is.
    """

    kind: str
    resources: Resources
    pause: tuple[float, float]
    waiting: str

    def largest(self, workers: int) -> int:
        """Maximum number of tasks in an array of which `workers` run at once."""

    def submit(self, name: str, folder: Path, batches: Sequence[Batch], workers: int) -> str:
        """Submit an array of which at most `workers` tasks run at once; returns its name in the queue.

        Raises:
            InputError: The array was rejected.
        """

    def alive(self, name: str, folder: Path) -> set[int] | None:
        """The tasks of an array that wait or run; None if this is unknown now."""

    def cancel(self, name: str, folder: Path) -> None:
        """Cancel all tasks; `alive` is empty once they have ended."""

    def log(self, folder: Path, task: int) -> Path | None:
        """The stderr log of a task; None if it has not started."""

    def cause(self, name: str, folder: Path, task: int) -> str:
        """How a task ended, as a clause."""


class SlurmQueue:
    """A SLURM cluster.

    Args:
        resources: Resources of each task.

    Raises:
        InputError: SLURM is not available, or it would reject such tasks.
    """

    kind = "slurm"
    pause = (2.0, 30.0)

    def __init__(self, resources: Resources) -> None:
        self.resources = resources
        for command in ("sbatch", "srun", "squeue", "scancel"):
            require(
                shutil.which(command) is not None,
                f"--engine slurm requires the SLURM command {command}, which is not on PATH; run on a login node of "
                "the cluster, or test with --slurm-executor local.",
            )
        self.user = _user()
        self.waiting = ""
        self._refuse_what_slurm_refuses()

    def _refuse_what_slurm_refuses(self) -> None:
        asked: dict[str, str | int] = {
            "time": self.resources.minutes,
            "cpus-per-task": self.resources.cpus,
            **self.resources.extra,
        }
        if self.resources.gpus:
            asked["gpus-per-node"] = self.resources.gpus
        if self.resources.partition is not None:
            asked["partition"] = self.resources.partition
        options = [f"--{name}" if value is True else f"--{name}={value}" for name, value in asked.items()]
        done = _run("sbatch", "--test-only", "--job-name=bench-test", *options, "--wrap=true")
        if done.returncode:
            raise _refusal(done.stderr)

    def largest(self, workers: int) -> int:
        """The limit of the cluster, or SLURM's default."""
        found = re.search(r"MaxArraySize\s*=\s*(\d+)", _run("scontrol", "show", "config").stdout)
        return max(1, (int(found[1]) if found else 1001) - 1)

    def submit(self, name: str, folder: Path, batches: Sequence[Batch], workers: int) -> str:
        """Uses sbatch; see `Queue`."""
        from submitit import SlurmExecutor
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        wanted = self.resources
        given: dict[str, Any] = {} if wanted.partition is None else {"partition": wanted.partition}
        if wanted.gpus:
            given["gpus_per_node"] = wanted.gpus
        executor = SlurmExecutor(folder, max_num_timeout=FOREVER, python=PYTHON)
        executor.update_parameters(
            job_name=name,
            time=wanted.minutes,
            cpus_per_task=wanted.cpus,
            # Since SLURM 22.05 a step does not inherit --cpus-per-task from its job.
            srun_args=[f"--cpus-per-task={wanted.cpus}"],
            signal_delay_s=wanted.delay,
            array_parallelism=workers,
            wckey=None,  # clusters with a list of allowed keys reject submitit's default
            additional_parameters={"requeue": True, **wanted.extra},
            **given,
        )
        try:
            jobs = executor.submit_array(batches)
        except (FailedJobError, FailedSubmissionError) as error:
            raise _refusal(str(error)) from None
        return f"SLURM job {jobs[0].job_id.partition('_')[0]}"

    def alive(self, name: str, folder: Path) -> set[int] | None:
        """Uses squeue; see `Queue`."""
        mine = [f"--user={self.user}", f"--name={name}"]
        done = _run("squeue", "--noheader", "--array", *mine, "--format=%i %T %r")
        if done.returncode:
            said = done.stderr.strip().splitlines()
            self.waiting = "squeue does not answer" + (f": {said[-1]}" if said else "")
            return None
        jobs = [line.split(maxsplit=2) for line in done.stdout.splitlines() if line.strip()]
        waiting = [reason for _, state, *reason in jobs if state == "PENDING"]
        reasons = sorted({" ".join(reason).strip("()") for reason in waiting} - {"JobArrayTaskLimit"})
        all_wait = bool(jobs) and len(waiting) == len(jobs)
        self.waiting = f"{len(jobs)} jobs are waiting ({', '.join(reasons)})" if all_wait else ""
        return {int(number.partition("_")[2] or 0) for number, *_ in jobs}

    def cancel(self, name: str, folder: Path) -> None:
        """Uses scancel; see `Queue`."""
        mine = [f"--user={self.user}", f"--name={name}"]
        _run("scancel", "--state=PENDING", *mine)  # first, or they would replace the killed ones
        _run("scancel", "--signal=KILL", *mine)  # immediately instead of after KillWait
        _run("scancel", *mine)

    def log(self, folder: Path, task: int) -> Path | None:
        """The log of the job `array_task`, or of the only job; see `Queue`."""
        logs = [*folder.glob(f"*_{task}_0_log.err")] or ([*folder.glob("*_0_log.err")] if not task else [])
        return logs[0] if logs else None

    def cause(self, name: str, folder: Path, task: int) -> str:
        """Uses sacct, if accounting is enabled; see `Queue`."""
        log = self.log(folder, task)
        number = log.name.removesuffix("_0_log.err") if log else ""
        said = _run("sacct", "-n", "-X", "-P", "-o", "State", "-j", number).stdout.partition("\n")[0] if number else ""
        return f"SLURM job {number or name} ended" + (f" with state {said.strip()}" if said.strip() else "")


class LocalQueue:
    """Processes on this machine instead of a cluster, for testing; Linux only.

    Args:
        resources: Resources of each task.
    """

    kind = "local"
    pause = (0.3, 1.0)
    waiting = ""

    def __init__(self, resources: Resources) -> None:
        require(Path("/proc/self/cmdline").exists(), "--slurm-executor local requires Linux, because it reads /proc.")
        self.resources = resources
        self._jobs: list[Any] = []

    def largest(self, workers: int) -> int:
        """One task per worker, because all tasks start at once."""
        return workers

    def submit(self, name: str, folder: Path, batches: Sequence[Batch], workers: int) -> str:
        """Starts one process per task; see `Queue`."""
        from submitit import LocalExecutor

        for task, batch in enumerate(batches):
            executor = LocalExecutor(folder / str(task), max_num_timeout=FOREVER, python=PYTHON)
            executor.update_parameters(
                timeout_min=self.resources.minutes,
                gpus_per_node=self.resources.gpus,
                signal_delay_s=self.resources.delay,
            )
            with worker_environment():  # submitit starts its own process without `PYTHON`
                self._jobs += executor.submit_array([batch])
        return "local processes"

    def alive(self, name: str, folder: Path) -> set[int] | None:
        """Finds processes by the folder in their last argument; see `Queue`."""
        for job in self._jobs:
            job.done()  # reap the process
        return {task for task, _ in self._processes(folder)}

    def cancel(self, name: str, folder: Path) -> None:
        """Kills the processes; see `Queue`."""
        # submitit's process may ignore SIGINT, and forwards SIGTERM, which workers ignore.
        for _, process in self._processes(folder):
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def log(self, folder: Path, task: int) -> Path | None:
        """See `Queue`."""
        return next((folder / str(task)).glob("*_0_log.err"), None)

    def cause(self, name: str, folder: Path, task: int) -> str:
        """The cause is unknown; see `Queue`."""
        return "the process of its task ended"

    @staticmethod
    def _processes(folder: Path) -> list[tuple[int, int]]:
        """Pairs of task and process: first submitit's processes, which restart tasks, then the tasks' own."""
        found = []
        for entry in os.scandir("/proc"):
            if not entry.name.isdecimal():
                continue
            try:
                words = Path(entry.path, "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
            except OSError:
                continue
            last = Path(os.fsdecode(words[-1]))
            if any(b"submitit." in word for word in words) and last.parent == folder and last.name.isdecimal():
                found.append((int(last.name), int(entry.name), b"submitit.local._local" in words))
        return [(task, process) for task, process, _ in sorted(found, key=lambda one: not one[2])]


def parse_extra(given: Sequence[str]) -> dict[str, str | bool]:
    """Parse `--slurm KEY=VALUE` options; the value of a flag, given as KEY alone, is True.

    Raises:
        InputError: An option does not have this form, or must be set differently.
    """
    extra: dict[str, str | bool] = {}
    for option in given:
        name, equals, value = option.partition("=")
        name = name.removeprefix("--").replace("_", "-")
        good = bool(equals) == bool(value) and re.fullmatch(r"[a-z][a-z-]*", name) is not None
        require(good, f"--slurm must be an option of sbatch as KEY=VALUE, such as account=NAME; got {option!r}.")
        if name in OWN:
            remedy = f"use {OWN[name]} instead." if OWN[name] else "this option is set by the engine; remove it."
            raise InputError(f"--slurm {name}: {remedy}")
        extra[name] = value or True
    return extra


def _user() -> str:
    """The user name of this process; $USER may differ."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # SLURM accepts the number as well
        return str(os.getuid())


def _run(*command: str) -> "subprocess.CompletedProcess[str]":
    try:  # in a new session, so that Ctrl-C does not reach it: the driver cancels jobs
        return subprocess.run(
            command, capture_output=True, text=True, timeout=120, errors="replace", start_new_session=True
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 127, "", str(error))


def _refusal(said: str) -> InputError:
    lines = [line.partition("error: ")[2] or line for line in map(str.strip, said.splitlines()) if line]
    return InputError(
        f"SLURM rejected these jobs: {'; '.join(lines) or 'no reason given'}. Change --slurm-partition, --slurm-time "
        "or --slurm KEY=VALUE; `sinfo` lists partitions and their limits."
    )
