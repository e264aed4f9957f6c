"""Studies as arrays of SLURM jobs: by processes here in its place, and, where SLURM is installed, by a node of its own.

Processes are killed for real. What is finished must stay as it was written, and end with numbers of `--engine local`.
"""

import contextlib
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import pandas as pd
import pytest

from benchmarks.cli import main
from benchmarks.records.store import Store

pytest.importorskip("submitit")
pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes through /proc")

PATIENCE = 400.0  # seconds until a test gives up, a guard; SLURM starts a job again two minutes after it was requeued
NOOP = """\
# Does it survive?
task: noop
base: {sleep: 0.3, noise: 1.0}
vary:
  returns: [{value: 1.0}, {value: 2.0}]
baseline: {returns: {value: 1.0}}
metric: {name: value, mode: max}
seeds: 12
"""
DEADLY = """\
# Does it survive trials that die?
task: noop
base: {noise: 1.0}
vary: {dies: [null, SIGKILL]}
baseline: {dies: null}
metric: {name: value, mode: max}
seeds: 2
"""
FIT = """\
# Does it compute the same?
base:
  model: {name: mlp, hidden_dims: [8], dropout: 0.1}
  data: {name: iris}
  trainer: {max_epochs: 2}
vary: {model.activation: [relu, tanh]}
baseline: {model.activation: relu}
metric: test/accuracy
seeds: 2
"""
CONF = """\
ClusterName=here
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
SlurmctldPort={port}
SlurmdPort={other}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=1,sched_interval=2,bf_interval=2
KillWait=5
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=2000 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=120 PriorityTier=1
PartitionName=urgent Nodes={host} MaxTime=120 PriorityTier=10
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A SLURM of one node on this machine, with a configuration and ports of its own."""
    if not all(map(shutil.which, ("slurmctld", "slurmd", "sbatch", "srun"))):
        pytest.skip("needs SLURM's daemons: on Debian, apt-get install slurm-wlm")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-slurm-")))
        for name in ("state", "spool"):
            (folder / name).mkdir()
        sockets = [stack.enter_context(socket.socket()) for _ in range(2)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        port, other = (one.getsockname()[1] for one in sockets)
        for one in sockets:
            one.close()
        host = socket.gethostname().partition(".")[0]
        user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
        conf = folder / "slurm.conf"
        conf.write_text(CONF.format(host=host, user=user, folder=folder, port=port, other=other))
        before = os.environ.get("SLURM_CONF")
        os.environ["SLURM_CONF"] = str(conf)
        try:
            for command in (["slurmctld", "-D", "-c"], ["slurmd", "-D", "-N", host]):
                with (folder / f"{command[0]}.log").open("wb") as log:
                    daemon = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
                stack.callback(daemon.wait)
                stack.callback(daemon.kill if command[0] == "slurmd" else daemon.terminate)
            limit = time.monotonic() + 60
            while "idle" not in subprocess.run(["sinfo", "-h"], capture_output=True, text=True).stdout:
                if time.monotonic() > limit:
                    said = "".join(path.read_text(errors="replace")[-500:] for path in folder.glob("*.log"))
                    pytest.skip(f"SLURM does not start here: {said}")
                time.sleep(0.5)
            yield
            subprocess.run(["scancel", f"--user={user}"], capture_output=True)
            limit = time.monotonic() + 60
            while subprocess.run(["squeue", "-h"], capture_output=True).stdout and time.monotonic() < limit:
                time.sleep(0.5)  # their daemons would outlive those of the cluster
        finally:
            os.environ.pop("SLURM_CONF") if before is None else os.environ.update(SLURM_CONF=before)


@pytest.fixture(
    params=["local", pytest.param("slurm", marks=pytest.mark.slow)],
)
def options(request) -> str:
    """The options that choose the engine: its stand-in, or a cluster."""
    if request.param == "slurm":
        request.getfixturevalue("cluster")
        return "--engine slurm --slurm-tasks 2"
    return "--engine slurm --slurm-executor local"


class Driver(subprocess.Popen):
    """`bench run` as a process of its own.

    Args:
        folder: Where `study.yaml` is, and `runs` will be.
        options: Further ones.
    """

    started: ClassVar[list["Driver"]] = []

    def __init__(self, folder: Path, options: str) -> None:
        self.started.append(self)
        self.heard = folder / f"stderr.{time.monotonic_ns()}"
        command = f"-m benchmarks.cli run study.yaml --out runs --workers 2 {options}"
        with self.heard.open("w") as stderr:
            super().__init__(
                [sys.executable, *shlex.split(command)],
                cwd=folder,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                start_new_session=True,
            )

    def said(self) -> str:
        return self.heard.read_text()


@pytest.fixture
def study(tmp_path) -> Iterator[Path]:
    """A folder for a study; at the end no driver and no task of it is left."""
    yield tmp_path
    for driver in Driver.started:
        driver.kill()
        driver.wait()
    Driver.started.clear()
    for pid in tasks(tmp_path):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def tasks(folder: Path, module: bytes = b"submitit") -> list[int]:
    """The processes of submitit that run a study below a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes().split(b"\0")
            ours = b"python" in words[0] and any(word.startswith(module) for word in words)
            if ours and os.fsencode(folder) in b"\0".join(words):
                found.append(int(path.parent.name))
    return found


def until(condition: Callable[[], object]) -> None:
    limit = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < limit, f"it has not come about in {PATIENCE:g} s"
        time.sleep(0.02)


def run(folder: Path, text: str, options: str, out: str = "runs") -> int:
    """`bench run` in this process."""
    (folder / "study.yaml").write_text(text)
    return main(shlex.split(f"run {folder}/study.yaml --out {folder}/{out} --workers 2 {options}"))


def records(folder: Path) -> dict[Path, bytes]:
    """What is done, by file."""
    return {path: path.read_bytes() for path in folder.glob("runs/study/trials/[!.]*/result.json")}


def assert_same_as_local(folder: Path, text: str, options: str = "") -> None:
    """The study is complete, each trial was tried once, and nothing else is there."""
    assert run(folder, text, options, "local") in (0, 1)
    ours, theirs = (pd.read_csv(folder / out / "study/trials.csv") for out in ("runs", "local"))
    some = ["key", "variant", "seed", "status", "value", "best_epoch", "epochs_run"]
    pd.testing.assert_frame_equal(ours[some], theirs[some], check_exact=True)
    for key in ours["key"]:
        mine, its = (Store(folder / out / "study").record(key) for out in ("runs", "local"))
        assert mine["metrics"] == its["metrics"]
        assert mine["config"] == its["config"]
    assert not list((folder / "runs/study/trials").glob(".*"))
    assert not list((folder / "runs/study/slurm").glob("*/array.json")), "nothing is expected from the queue any more"


def attempts(folder: Path) -> set[int]:
    return {json.loads(record)["attempt"] for record in records(folder).values()}


# --- the same numbers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "size"),  # one worker, since each task imports torch by itself
    [("--workers 1", 4), pytest.param("--pack off", None, marks=pytest.mark.slow)],
)
def test_fits_give_the_numbers_of_the_local_engine(study, options, how, size, capsys):
    assert run(study, FIT, f"{options} {how}") == 0
    out, err = capsys.readouterr()
    assert "4 trials run in" in out
    assert ("instead of SLURM tasks" if "local" in options else "at a time") in out
    assert "logs in" in err
    assert_same_as_local(study, FIT, how)
    sizes = {json.loads(record)["environment"]["pack_size"] for record in records(study).values()}
    assert sizes == {size}
    assert all(json.loads(record)["environment"]["threads"] == 1 for record in records(study).values())


@pytest.mark.slow
def test_trials_of_two_processes_give_the_numbers_of_the_local_engine(study, options):
    text = FIT.replace("max_epochs: 2", "max_epochs: 2, accelerator: cpu, devices: 2, strategy: ddp")
    assert run(study, text, f"{options} --cpus-per-trial 2") == 0
    assert_same_as_local(study, text)


def test_a_trial_that_takes_too_long_is_ended_and_its_task_goes_on_with_the_next(study, options):
    text = DEADLY.replace("dies: [null, SIGKILL]", "sleep: [0.0, 600.0]").replace("dies: null", "sleep: 0.0")
    assert run(study, text, f"{options} --slurm-tasks 1 --trial-timeout 1") == 1
    table = pd.read_csv(study / "runs/study/trials.csv")
    assert table["status"].tolist() == ["done"] * 2 + ["failed"] * 2
    assert set(table.loc[table["status"] == "failed", "reason"]) == {"timeout: the trial took more than 1 s"}
    assert len(list(study.glob("runs/study/slurm/**/*_0_log.err"))) == 1


def test_a_trial_that_kills_its_process_is_a_row_that_names_the_log(study, options):
    assert run(study, DEADLY, options) == 1
    assert_same_as_local(study, DEADLY)
    table = pd.read_csv(study / "runs/study/trials.csv")
    reasons = table.loc[table["status"] == "crashed", "reason"]
    assert len(reasons) == 2
    for reason in reasons:
        words, _, log = reason.partition("; log: ")
        assert words == "killed by SIGKILL"
        assert (study / "runs/study" / log).is_file()


# --- killed -----------------------------------------------------------------------------------------------------------


def test_a_driver_that_was_killed_is_followed_by_one_that_waits_for_its_jobs(study, options):
    (study / "study.yaml").write_text(NOOP)
    first = Driver(study, options)
    until(lambda: len(records(study)) >= 3 or first.poll() is not None)
    first.kill()
    assert first.wait() == -signal.SIGKILL, first.said()
    seen = records(study)
    assert run(study, NOOP, "") == 2, "another engine keeps away from what may be running"
    second = Driver(study, options)
    assert second.wait(PATIENCE) == 0, second.said()
    assert "jobs of an earlier run that are still in the queue" in second.said()
    assert "submitted" not in second.said()
    assert seen.items() <= records(study).items()
    assert attempts(study) == {1}
    assert_same_as_local(study, NOOP)


def test_jobs_that_are_killed_or_preempted_lose_nothing(study, options):
    (study / "study.yaml").write_text(NOOP)
    driver = Driver(study, options)
    until(lambda: len(records(study)) >= 2 or driver.poll() is not None)
    until(lambda: len(tasks(study, b"submitit.core._submit")) == 2 or driver.poll() is not None)
    inner = sorted(tasks(study, b"submitit.core._submit"))
    seen = records(study)
    os.kill(inner[0], signal.SIGKILL)
    os.kill(inner[1], signal.SIGUSR2)
    assert driver.wait(PATIENCE) == 0, driver.said()
    assert seen.items() <= records(study).items()
    assert_same_as_local(study, NOOP)
    logs = "".join(path.read_text() for path in study.glob("runs/study/slurm/**/*_log.*"))
    assert "Exiting gracefully after preemption/timeout" in logs or "Requeued job" in logs
    died = [line for line in driver.said().splitlines() if ": crashed (" in line]
    assert len(died) <= 1, "the trial that was under way in the one that was killed, unless it had just ended"
    assert all("; log: slurm/" in line for line in died)
    assert sum(json.loads(record)["attempt"] for record in records(study).values()) == 24 + len(died)


@pytest.mark.slow
def test_an_interrupt_cancels_the_jobs_and_keeps_what_is_done(study, options):
    text = NOOP.replace("0.3", "1.0")
    (study / "study.yaml").write_text(text)
    driver = Driver(study, options)
    until(lambda: len(records(study)) >= 3 or driver.poll() is not None)
    driver.send_signal(signal.SIGTERM)
    assert driver.wait(PATIENCE) == 130, driver.said()
    seen = records(study)
    assert 3 <= len(seen) < 24
    assert not tasks(study)
    assert not list((study / "runs/study/trials").glob(".*"))
    assert run(study, text, options) == 0
    assert seen.items() <= records(study).items()
    assert_same_as_local(study, text)
