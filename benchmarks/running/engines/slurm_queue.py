"""Where arrays of tasks wait and run: SLURM, or processes here for trying out. Both by submitit.

An array is known by its name, which is given before it is submitted; so one whose driver died at once is found as well.
"""

import os
import pwd
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from datamodules.errors import InputError, require

from .slurm_batch import Batch

FOREVER = 10_000  # requeues; a job that cannot end within its time is given up by `Batch.checkpoint`
# Of sbatch's options, those that have another name here, or are the engine's own.
OWN = {
    "partition": "--slurm-partition",
    "time": "--slurm-time",
    "cpus-per-task": "--cpus-per-trial",
    "gpus-per-node": "--gpus-per-trial",
    **dict.fromkeys(("array", "output", "error", "job-name", "signal", "open-mode", "requeue", "no-requeue"), ""),
    # These would run each share several times, side by side.
    **dict.fromkeys(("nodes", "ntasks", "ntasks-per-node", "ntasks-per-core", "ntasks-per-socket"), ""),
    # And by these sbatch would submit something else, or say something else.
    **dict.fromkeys(("wrap", "test-only", "wait", "parsable"), ""),
}


@dataclass(frozen=True)
class Resources:
    """What a task is given.

    Attributes:
        minutes: Its time limit.
        cpus: CPUs.
        gpus: GPUs.
        partition: Where it runs; None for the cluster's default.
        extra: Further options of sbatch, without their dashes.
    """

    minutes: int = 60
    cpus: int = 1
    gpus: int = 0
    partition: str | None = None
    extra: Mapping[str, str | bool] = field(default_factory=dict)

    @property
    def delay(self) -> int:
        """How many seconds before its time is up a task is told so."""
        return min(90, 15 * self.minutes)


class Queue(Protocol):
    """Runs arrays of tasks.

    Attributes:
        kind: `slurm` or `local`.
        resources: What each task is given.
        pause: Seconds between two looks at it, when tasks have just been submitted and at most.
        waiting: Why no task of the array runs that was last looked at, or why that is not known; empty if one does.
    """

    kind: str
    resources: Resources
    pause: tuple[float, float]
    waiting: str

    def largest(self, workers: int) -> int:
        """How many tasks an array may have, of which `workers` run at once."""

    def submit(self, name: str, folder: Path, batches: Sequence[Batch], workers: int) -> str:
        """Submit an array, of which at most `workers` run at once; what it is called there.

        Raises:
            InputError: It was refused.
        """

    def alive(self, name: str, folder: Path) -> set[int] | None:
        """Which tasks of an array wait or run; None if that cannot be told now."""

    def cancel(self, name: str, folder: Path) -> None:
        """End them all; `alive` says when it has come about."""

    def log(self, folder: Path, task: int) -> Path | None:
        """What a task has written to stderr; None if it has not started."""

    def cause(self, name: str, folder: Path, task: int) -> str:
        """What became of a task that is no more, in a clause."""


class SlurmQueue:
    """A SLURM cluster.

    Args:
        resources: What each task is given.

    Raises:
        InputError: There is none here, or it would refuse such tasks.
    """

    kind = "slurm"
    pause = (2.0, 30.0)

    def __init__(self, resources: Resources) -> None:
        self.resources = resources
        for command in ("sbatch", "srun", "squeue", "scancel"):
            require(
                shutil.which(command) is not None,
                f"--engine slurm needs SLURM's command {command}, which is not on PATH; give the command on a login "
                "node of the cluster, or try it out with --slurm-executor local.",
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
        """What the cluster says, or SLURM's default."""
        found = re.search(r"MaxArraySize\s*=\s*(\d+)", _run("scontrol", "show", "config").stdout)
        return max(1, (int(found[1]) if found else 1001) - 1)

    def submit(self, name: str, folder: Path, batches: Sequence[Batch], workers: int) -> str:
        """By sbatch; see `Queue`."""
        from submitit import SlurmExecutor
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        wanted = self.resources
        given: dict[str, Any] = {} if wanted.partition is None else {"partition": wanted.partition}
        if wanted.gpus:
            given["gpus_per_node"] = wanted.gpus
        executor = SlurmExecutor(folder, max_num_timeout=FOREVER)
        executor.update_parameters(
            job_name=name,
            time=wanted.minutes,
            cpus_per_task=wanted.cpus,
            # Since SLURM 22.05 a step does not take over what its job was given.
            srun_args=[f"--cpus-per-task={wanted.cpus}"],
            signal_delay_s=wanted.delay,
            array_parallelism=workers,
            wckey=None,  # submitit's own is refused where a cluster keeps a list of them
            additional_parameters={"requeue": True, **wanted.extra},
            **given,
        )
        try:
            jobs = executor.submit_array(batches)
        except (FailedJobError, FailedSubmissionError) as error:
            raise _refusal(str(error)) from None
        return f"SLURM job {jobs[0].job_id.partition('_')[0]}"

    def alive(self, name: str, folder: Path) -> set[int] | None:
        """By squeue; see `Queue`."""
        mine = [f"--user={self.user}", f"--name={name}"]
        done = _run("squeue", "--noheader", "--array", *mine, "--format=%i %T %r")
        if done.returncode:
            said = done.stderr.strip().splitlines()
            self.waiting = "squeue does not answer" + (f": {said[-1]}" if said else "")
            return None
        jobs = [line.split(maxsplit=2) for line in done.stdout.splitlines() if line.strip()]
        waiting = [reason for _, state, *reason in jobs if state == "PENDING"]
        reasons = sorted({" ".join(reason).strip("()") for reason in waiting} - {"JobArrayTaskLimit"})
        self.waiting = f"{len(jobs)} jobs wait ({', '.join(reasons)})" if jobs and len(waiting) == len(jobs) else ""
        return {int(number.partition("_")[2] or 0) for number, *_ in jobs}

    def cancel(self, name: str, folder: Path) -> None:
        """By scancel; see `Queue`."""
        mine = [f"--user={self.user}", f"--name={name}"]
        _run("scancel", "--state=PENDING", *mine)  # first, or they would take the places of those that are killed
        _run("scancel", "--signal=KILL", *mine)  # at once, rather than after KillWait
        _run("scancel", *mine)

    def log(self, folder: Path, task: int) -> Path | None:
        """That of the job `array_task`, or of the only one; see `Queue`."""
        logs = [*folder.glob(f"*_{task}_0_log.err")] or ([*folder.glob("*_0_log.err")] if task == 0 else [])
        return logs[0] if logs else None

    def cause(self, name: str, folder: Path, task: int) -> str:
        """By sacct, where it keeps accounts; see `Queue`."""
        log = self.log(folder, task)
        number = log.name.removesuffix("_0_log.err") if log else ""
        said = _run("sacct", "-n", "-X", "-P", "-o", "State", "-j", number).stdout.partition("\n")[0] if number else ""
        return f"SLURM job {number or name} ended" + (f" as {said.strip()}" if said.strip() else "")


class LocalQueue:
    """Processes on this machine in place of a cluster's, for trying out; on Linux.

    Args:
        resources: What each task is given.
    """

    kind = "local"
    pause = (0.3, 1.0)
    waiting = ""

    def __init__(self, resources: Resources) -> None:
        require(
            Path("/proc/self/cmdline").exists(), "--slurm-executor local finds its processes in /proc, which is Linux."
        )
        self.resources = resources
        self._jobs: list[Any] = []

    def largest(self, workers: int) -> int:
        """All start at once."""
        return workers

    def submit(self, name: str, folder: Path, batches: Sequence[Batch], workers: int) -> str:
        """Start a process a task; see `Queue`."""
        from submitit import LocalExecutor

        for task, batch in enumerate(batches):
            executor = LocalExecutor(folder / str(task), max_num_timeout=FOREVER)
            executor.update_parameters(
                timeout_min=self.resources.minutes,
                gpus_per_node=self.resources.gpus,
                signal_delay_s=self.resources.delay,
            )
            self._jobs += executor.submit_array([batch])
        return "processes here"

    def alive(self, name: str, folder: Path) -> set[int] | None:
        """By the folder that is the last argument of each; see `Queue`."""
        for job in self._jobs:
            job.done()  # else it would stay as a zombie
        return {task for task, _ in self._processes(folder)}

    def cancel(self, name: str, folder: Path) -> None:
        """Kill them; see `Queue`."""
        # submitit's process may have been started with SIGINT ignored, and it passes SIGTERM on, which is ignored.
        for _, process in self._processes(folder):
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def log(self, folder: Path, task: int) -> Path | None:
        """See `Queue`."""
        return next((folder / str(task)).glob("*_0_log.err"), None)

    def cause(self, name: str, folder: Path, task: int) -> str:
        """There is nothing that would know; see `Queue`."""
        return "the process of its task ended"

    @staticmethod
    def _processes(folder: Path) -> list[tuple[int, int]]:
        """Each task's process and submitit's that restarts it, in this order: a task, a process."""
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
    """What `--slurm KEY=VALUE` says, by key; True for KEY alone, a flag.

    Raises:
        InputError: It is not of this form, or an option of its own.
    """
    extra: dict[str, str | bool] = {}
    for option in given:
        name, equals, value = option.partition("=")
        name = name.removeprefix("--").replace("_", "-")
        good = bool(equals) == bool(value) and re.fullmatch(r"[a-z][a-z-]*", name) is not None
        require(good, f"--slurm takes an option of sbatch as KEY=VALUE, such as account=NAME; got {option!r}.")
        if name in OWN:
            raise InputError(f"--slurm {name}: " + (f"say {OWN[name]}." if OWN[name] else "the engine sets it itself."))
        extra[name] = value or True
    return extra


def _user() -> str:
    """Whose jobs these are; $USER may name somebody else."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # SLURM takes the number as well
        return str(os.getuid())


def _run(*command: str) -> "subprocess.CompletedProcess[str]":
    try:  # in a session of its own, which Ctrl-C does not reach: it is the driver that cancels
        return subprocess.run(
            command, capture_output=True, text=True, timeout=120, errors="replace", start_new_session=True
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 127, "", str(error))


def _refusal(said: str) -> InputError:
    lines = [line.partition("error: ")[2] or line for line in map(str.strip, said.splitlines()) if line]
    return InputError(
        f"SLURM refuses these jobs: {'; '.join(lines) or 'it does not say why'}. `sinfo` lists partitions and their "
        "limits; see --slurm-partition, --slurm-time and --slurm KEY=VALUE."
    )
