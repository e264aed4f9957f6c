"""Measurements of `python -m benchmarks.measure.scaling`: CPU seconds, file operations, one and two workers."""

import json
import multiprocessing
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from datamodules.errors import require

from ...records.store import Store
from ...running.engines.local import LocalEngine
from ...running.engines.slurm import SlurmEngine
from ...running.engines.slurm_batch import Batch, entry_of
from ...running.engines.slurm_queue import Resources
from ...running.packs import make_packs
from ...running.plan import Plan
from ...running.planner import make_plan
from ...running.runner import Options, read_progress, run_trials
from ...study.file import load_study
from ...tasks import find_task
from ..harness_speed import NOOP

Found = dict[str, Any]

VARIANTS = 10
SAMPLE = 500  # operations of each kind whose rate is measured
FIT = """\
# Does the activation matter?
base:
  model: {{name: mlp, hidden_dims: [16]}}
  data: {{name: digits}}
  trainer: {{max_epochs: 2}}
vary: {{model.activation: [relu, tanh]}}
baseline: {{model.activation: relu}}
metric: test/accuracy
seeds: {seeds}
"""
# System calls that reach a file server, by kind, except reading and writing an open file.
KINDS = {
    "look": ("stat", "lstat", "newfstatat", "statx", "access", "faccessat", "faccessat2", "readlink", "readlinkat"),
    "open": ("open", "openat"),
    "change": ("mkdir", "mkdirat", "rename", "renameat", "renameat2", "unlink", "unlinkat", "rmdir"),
    "list": ("getdents64",),
    "sync": ("fsync", "fdatasync"),
}
# A trial's folder is created in `trials/`, under a hidden or its final name.
ENTRY = re.compile(r'(mkdir|rename)\w*\([^()]*/trials/[.\w]+"(, \d+)?\) += 0$')
KIND_OF = {call: kind for kind, calls in KINDS.items() for call in calls}


# --- CPU seconds by phase ---------------------------------------------------------------------------------------------


def apart(call: str) -> Any:
    """The return value of a function of this module, called in a separate process."""
    code = f"import json; from benchmarks.measure.scaling import measure; print(json.dumps(measure.{call}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{call} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def phases(trials: int, folder: str) -> Found:
    """CPU seconds by phase of a study of noop trials with one worker, and the driver's peak memory in MiB."""
    study = load_study(str(_noop(Path(folder), trials)))
    store, spent, clock = Store(Path(tempfile.mkdtemp(dir=folder)) / study.name), {}, _Cpu()
    with LocalEngine(1, preload=False) as engine:
        plan = make_plan(study, engine)
        spent["plan"] = clock.lap()
        store.create(study.to_file(), plan.keys_by_name())
        pending = read_progress(plan, store).pending
        spent["look up"] = clock.lap()
        packs = make_packs(plan, pending, None, 1)
        for _ in run_trials(plan, packs, store, engine):
            pass
        spent["run"] = clock.lap()
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent["workers"] = usage.ru_utime + usage.ru_stime
    from ...report import write_report

    clock.lap()
    write_report(study, store)
    spent["report"] = clock.lap()
    read_progress(plan, store)
    spent["look up again"] = clock.lap()
    store.recover()
    spent["recover"] = clock.lap()
    mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"trials": trials, "cpu": spent, "mib": mib}


def journals(trials: int, tasks: int, folder: str) -> Found:
    """CPU seconds of the driver for an array of tasks whose journals are complete from the start."""
    study = load_study(str(_noop(Path(folder), trials)))
    store = Store(Path(tempfile.mkdtemp(dir=folder)) / study.name)
    with LocalEngine(1, preload=False) as here:
        plan = make_plan(study, here)
    store.create(study.to_file(), plan.keys_by_name())
    packs = make_packs(plan, list(plan.trials()), None, tasks)
    clock, queue = _Cpu(), _Full()
    for _ in run_trials(plan, packs, store, SlurmEngine(store, queue, tasks)):
        pass
    spent = clock.lap()
    return {"trials": trials, "tasks": tasks, "cpu": {"driver": spent - queue.cpu, "submit": queue.pickling}}


class _Full:
    """A queue whose tasks end as soon as they are submitted."""

    kind, pause, waiting = "none", (1.0, 1.0), ""

    def __init__(self) -> None:
        self.resources = Resources()
        self.cpu = self.pickling = 0.0

    def largest(self, workers: int) -> int:
        return workers

    def submit(self, name: str, folder: Path, batches: Sequence[Batch], workers: int) -> str:
        from submitit.core.utils import DelayedSubmission

        clock = _Cpu()
        for task, batch in enumerate(batches):
            DelayedSubmission(batch).dump(folder / f"{task}.pkl")
        self.pickling = clock.lap()
        for batch in batches:
            entries: list[Found] = [{"started": 0, "at": 0.0}]
            for n, (pack,) in enumerate(batch.jobs):
                told = {"status": "done", "reason": "", "metrics": {"value": 1.0}}
                entries.append(entry_of(n, [{"key": job.identity["key"], **told} for job in pack.jobs]))
            batch.journal.write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")
        self.cpu = self.pickling + clock.lap()
        return "nothing"

    def alive(self, name: str, folder: Path) -> set[int] | None:
        return None

    def cancel(self, name: str, folder: Path) -> None:
        pass

    def log(self, folder: Path, task: int) -> Path | None:
        return None

    def cause(self, name: str, folder: Path, task: int) -> str:
        return ""


class _Cpu:
    """CPU seconds of this process between laps."""

    def __init__(self) -> None:
        self.last = time.process_time()

    def lap(self) -> float:
        now = time.process_time()
        spent, self.last = now - self.last, now
        return spent


# --- operations on the file system ------------------------------------------------------------------------------------


def operations(few: int, many: int, folder: Path) -> Found:
    """File operations per trial in a study's folder, counted with strace: of workers, driver and report.

    Raises:
        InputError: strace is not installed.
    """
    require(
        shutil.which("strace") is not None, "file operations are counted with strace, which is not on PATH; install it."
    )
    counts = {}
    for trials in (few, many):
        study, out = _noop(folder, trials), Path(tempfile.mkdtemp(dir=folder))
        run = _traced(["run", str(study), "--out", str(out), "--workers", "1"], out)
        report = _traced(["report", str(out / study.stem)], out)
        driver = Counter(run.pop("driver"))
        driver.subtract(report["driver"])
        counts[trials] = {"worker": run["worker"], "driver": driver, "report": report["driver"]}
    return {
        who: {
            kind: (counts[many][who][kind] - counts[few][who][kind]) / (many - few)
            for kind in (*KINDS, "change of trials/")
        }
        for who in ("worker", "driver", "report")
    }


def _traced(arguments: list[str], out: Path) -> dict[str, Counter[str]]:
    """Run `bench` and count by kind the operations of its driver and its worker in a folder."""
    calls = ",".join(sorted(f"?{call}" for call in KIND_OF))
    bench = [sys.executable, "-m", "benchmarks.cli", *arguments]
    with tempfile.TemporaryDirectory(dir=out.parent) as logs:  # one file per thread
        command = ["strace", "-ff", "-qq", "-y", "-s", "4096", "-e", f"trace={calls}", "-o", f"{logs}/log", *bench]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(bench)} under strace failed:\n{done.stderr[-2000:]}")
        found = {"driver": Counter[str](), "worker": Counter[str]()}
        for log in Path(logs).iterdir():
            lines = [line for line in log.read_text(errors="replace").splitlines() if str(out) in line]
            lines = [line for line in lines if "AT_EMPTY_PATH" not in line]  # on an open file: counted already
            count = Counter(KIND_OF[line.partition("(")[0]] for line in lines)
            changes = [line for line in lines if ENTRY.match(line)]
            count["change of trials/"] = len(changes)
            found["worker" if changes else "driver"] += count
    return found


# --- rates ------------------------------------------------------------------------------------------------------------


def rates(folder: Path, entries: Sequence[int]) -> Found:
    """Synchronous operations per second of one process in a folder with many entries, and the time to list it."""
    place = Path(tempfile.mkdtemp(dir=folder))
    found: Found = {"entries": list(entries), **{kind: [] for kind in KINDS}, "list_seconds": []}
    made = 0
    for wanted in entries:
        for n in range(made, wanted):
            (place / f"{n:016x}").mkdir()
        made = wanted
        for kind, rate in _rates(place).items():
            found[kind].append(rate)
        start = time.perf_counter()
        with os.scandir(place) as listed:
            sum(1 for _ in listed)
        found["list_seconds"].append(time.perf_counter() - start)
    shutil.rmtree(place)
    return found


def _rates(place: Path) -> dict[str, float]:
    """Operations per second by kind, on new folders in this folder, which are removed afterwards."""
    found: dict[str, float] = {}

    def timed(kind: str, calls: int, once: Callable[[Any], Any], arguments: Sequence[Any]) -> None:
        start = time.perf_counter()
        for argument in arguments:
            once(argument)
        found[kind] = calls * len(arguments) / (time.perf_counter() - start)

    def appear(path: Path) -> None:
        hidden = path.with_name(f".{path.name}.0")
        hidden.mkdir()
        hidden.rename(path)

    def sync(file: int) -> None:
        os.write(file, b"a record" * 250)
        os.fsync(file)

    new = [place / f"new{n:016x}" for n in range(SAMPLE)]
    timed("change", 2, appear, new)
    timed("look", 1, Path.stat, new)
    timed("open", 1, lambda path: os.close(os.open(path / "record", os.O_CREAT | os.O_WRONLY)), new)
    timed("list", 2, os.listdir, new)  # two system calls each
    files = [os.open(path / "record", os.O_WRONLY) for path in new]
    timed("sync", 1, sync, files)
    for file, path in zip(files, new, strict=True):
        os.close(file)
        shutil.rmtree(path)
    return found


# --- one and two workers ----------------------------------------------------------------------------------------------


def curve(folder: Path, noops: int, packed: int, alone: int, rounds: int) -> Iterator[Found]:
    """Trials per second with 1 and 2 warm workers in turn, and CPU seconds per trial of driver and workers."""
    fits = {n: folder / f"fit_{n}.yaml" for n in (packed, alone)}
    for n, path in fits.items():
        path.write_text(FIT.format(seeds=n // 2), encoding="utf-8")
    noop = _noop(folder, noops)
    for what, path, limit in (
        (f"{noops:,} noop trials", noop, 0),
        (f"{packed} fits in packs", fits[packed], None),
        (f"{alone} fits, --pack off", fits[alone], 0),
    ):
        study = load_study(str(path))
        preload = find_task(study.task).needs_torch
        with LocalEngine(1, preload) as one, LocalEngine(2, preload) as two:
            plan = make_plan(study, one)
            for engine in (one, two):
                _rate(plan, folder, engine, limit, warm=True)
            pairs = [[_rate(plan, folder, engine, limit) for engine in (one, two)] for _ in range(rounds)]
        yield {
            "what": what,
            "rates": [[rate for rate, _ in pair] for pair in pairs],
            "cpu": [[cpu for _, cpu in pair] for pair in pairs],
            "ratios": [after / before for (before, _), (after, _) in pairs],
        }


def _rate(plan: Plan, folder: Path, engine: LocalEngine, limit: int | None, warm: bool = False) -> tuple[float, float]:
    """Trials per second and CPU seconds per trial of a plan on an engine, or of some of its trials for warm-up."""
    store = Store(Path(tempfile.mkdtemp(dir=folder)) / plan.study.name)
    store.create(plan.study.to_file(), plan.keys_by_name())
    trials = list(plan.trials())[: 2 * engine.n_workers if warm else None]
    packs = make_packs(plan, trials, limit, engine.n_workers)
    start, cpu = time.perf_counter(), _cpu_seconds()
    for _ in run_trials(plan, packs, store, engine, Options(pack=limit != 0)):
        pass
    return len(trials) / (time.perf_counter() - start), (_cpu_seconds() - cpu) / len(trials)


def _cpu_seconds() -> float:
    """CPU seconds of this process and of all workers, with a resolution of about 0.01 s; see proc(5)."""
    spent = time.process_time()
    for child in multiprocessing.active_children():
        fields = Path(f"/proc/{child.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        spent += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return spent


def _noop(folder: Path, trials: int) -> Path:
    """Write a study file with this number of trials that do nothing."""
    seeds = trials // VARIANTS
    path = folder / f"noop_{trials}.yaml"
    path.write_text(NOOP.format(values=list(range(VARIANTS)), seeds=seeds), encoding="utf-8")
    return path
