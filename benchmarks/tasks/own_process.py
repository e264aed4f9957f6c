"""Run trials that need their own processes with a separate command.

Lightning starts the processes of DDP and FSDP by running the command again for each of them, which does not work in a
worker of `bench`. No process outlives the one that started it, however that one ends.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from zoo.outputs.files import write_atomically
from zoo.plain import Config
from zoo.yaml_lines import dump

PARENT = "ABLATION_ZOO_PARENT"  # environment variable with the process that this one must not outlive
CONFIG, OUTCOME, OUTPUT = "trial.yaml", "outcome.json", "output.txt"
ROOT = Path(__file__).parents[2]
# Environment variables that Lightning sets when it runs DDP on one device, and reads in processes started later.
OF_ANOTHER_RUN = ("RANK", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "PL_GLOBAL_SEED")
SAFE_PATH = {"PYTHONSAFEPATH": "1"}  # no modules from the working directory, nor for those that it starts
NO_STEP = {"SLURM_JOB_NAME": "bash"}  # Lightning then starts processes itself, also inside a SLURM job
PR_SET_PDEATHSIG = 1  # see prctl(2)


def run_apart(config: Config, folder: Path, more: Mapping[str, str] = {}) -> dict[str, Any]:
    """Run a trial with `python -m benchmarks.trial`, and wait for it.

    Args:
        config: The resolved config.
        folder: Folder for its files. If the trial does not succeed, it also contains the output of all processes
            (`output.txt`) and the traceback of the process that failed first.
        more: Additional environment variables for its processes.

    Returns:
        The return value of `zoo.train.fit`, or an outcome with status `failed` if a process raised, or `crashed` if
        one died.
    """
    (folder / CONFIG).write_text(dump(config), encoding="utf-8")
    paths = filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])
    environment = {name: value for name, value in os.environ.items() if name not in OF_ANOTHER_RUN}
    environment |= {PARENT: str(os.getpid()), "PYTHONPATH": os.pathsep.join(paths), **SAFE_PATH, **NO_STEP, **more}
    with (folder / OUTPUT).open("wb") as output:
        process = subprocess.Popen(
            command(folder),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,  # one process group, and only the driver handles Ctrl-C
        )
        try:
            code = process.wait()
        finally:
            with suppress(ProcessLookupError, PermissionError):  # processes that outlived the first
                os.killpg(process.pid, signal.SIGKILL)
    (folder / CONFIG).unlink()
    outcome = _outcome(folder, code)
    if outcome["status"] not in ("failed", "crashed"):
        (folder / OUTPUT).unlink()
    return outcome


def command(folder: Path) -> list[str]:
    """The command that runs the trial in a folder."""
    there = ["--out", str(folder), "--outcome", str(folder / OUTCOME)]
    return [sys.executable, "-m", "benchmarks.trial", str(folder / CONFIG), *there]


def _outcome(folder: Path, code: int) -> dict[str, Any]:
    failures = []
    for file in folder.glob("failure_*.json"):
        failures.append(json.loads(file.read_text(encoding="utf-8")))
        file.unlink()
    outcome: dict[str, Any] = {"metrics": {}, "peak_memory_bytes": {"host": None, "gpu": None}}
    if failures:  # other processes may have failed because of the first
        first = min(failures, key=lambda failure: failure["time"])
        (folder / "traceback.txt").write_text(first["traceback"], "utf-8", errors="backslashreplace")
        where = f"process {first['rank']}: " if first["rank"] else ""
        return {**outcome, "status": "failed", "reason": where + first["reason"]}
    with suppress(OSError, ValueError):
        if code == 0:
            result: dict[str, Any] = json.loads((folder / OUTCOME).read_text(encoding="utf-8"))
            (folder / OUTCOME).unlink()
            return result
    died = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with status {code}"
    return {**outcome, "status": "crashed", "reason": f"its first process {died}"}


def note_failure(folder: Path, error: Exception, reason: str) -> None:
    """Write why this process failed, for the waiting process; each process has its own file."""
    lines = traceback.format_exception(error)
    told = {"rank": rank(), "time": time.time(), "reason": reason, "traceback": "".join(lines)}
    write_atomically(folder / f"failure_{rank()}.json", json.dumps(told))


def rank() -> int:
    """The rank of this process in its run, if Lightning has set it."""
    return int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")))


def end_with_parent() -> None:
    """On Linux, let this process and those it starts be killed when the process that started it dies.

    A process started by a person is not affected.
    """
    parent = os.environ.get(PARENT)
    os.environ[PARENT] = str(os.getpid())
    if parent is None or sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != int(parent):  # it is already dead
        os._exit(1)


def reason_of(error: Exception) -> str:
    """The exception type and the first line of its message."""
    said = next((line for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {said}".encode("utf-8", "backslashreplace").decode()
