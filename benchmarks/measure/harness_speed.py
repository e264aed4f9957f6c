"""Cost of the harness itself: a trial that does nothing, a report, a plan, and a study that is already done.

    python -m benchmarks.measure.harness_speed

The real commands are run, each in a separate process, with files in the system's cache. Times are medians of several
runs, memory is the maximum. The cost of a trial is the difference between a run with many trials and one with few,
which cancels imports, the start of the workers and most of the report. Archived records contain learning curves like
those of `fit`, which make up most of the file.
"""

import argparse
import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from zoo.outputs.files import write_atomically
from zoo.outputs.provenance import environment

from ..records.store import Store
from ..running.engines.local import LocalEngine
from ..running.planner import make_plan
from ..running.runner import run_trials
from ..study.file import load_study

Row = tuple[str, str, str]  # what, measured, limit
PER_TRIAL_MS, REPORT_SECONDS, REPORT_MIB, PLAN_SECONDS, AGAIN_SECONDS = 5, 15, 1024, 30, 2
FEW = 10  # trials of a study whose cost is mostly imports
EPOCHS, CURVES = 30, 8

NOOP = """\
# What does the harness cost?
task: noop
base: {{noise: 1.0}}
vary: {{returns.value: {values}}}
baseline: {{returns.value: 0}}
metric: {{name: value, mode: max}}
seeds: {seeds}
"""
FIT = """\
# What does it cost to check and to key?
base: {{model: mlp, data: digits, trainer: {{max_epochs: 30}}}}
vary:
  model.activation: [relu, tanh, gelu, silu, elu]
  model.hidden_dims: [[16], [32], [64], [128], [256]]
  model.norm: [null, batch]
  data.batch_size: [32, 64]
baseline: {{model.activation: relu, model.hidden_dims: [16], model.norm: null, data.batch_size: 32}}
metric: test/accuracy
seeds: {seeds}
"""


class Spent(NamedTuple):
    """Resources used by a process.

    Attributes:
        seconds: Wall time.
        cpu: CPU seconds of the process and its children, which hardly depend on the load of the machine.
        mib: Peak memory.
        said: Output.
    """

    seconds: float
    cpu: float
    mib: float
    said: str = ""

    def __str__(self) -> str:
        return f"{self.seconds:.3g} s ({self.cpu:.3g} s CPU), {self.mib:.0f} MiB"


# The peak memory of a forked child includes its parent's memory, so a small process is started in between.
BETWEEN = """
import json, os, subprocess, sys, time
start = time.perf_counter()
child = subprocess.Popen(sys.argv[1:], stdout=sys.stderr)
_, status, usage = os.wait4(child.pid, 0)
seconds = time.perf_counter() - start
child.returncode = os.waitstatus_to_exitcode(status)
print(json.dumps([child.returncode, seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss]))
"""


def process(*arguments: str) -> Spent:
    """Run Python with these arguments.

    Raises:
        RuntimeError: The process failed; the message contains its output.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8") as log:
        command = [sys.executable, "-I", "-S", "-c", BETWEEN, sys.executable, *arguments]
        told = subprocess.run(command, stdout=subprocess.PIPE, stderr=log, check=True).stdout
        log.seek(0)
        said = log.read()
    status, seconds, cpu, peak = json.loads(told)
    if status:
        raise RuntimeError(f"{' '.join(arguments)} failed:\n{said[-2000:]}")
    return Spent(seconds, cpu, peak * (1 if sys.platform == "darwin" else 1024) / 2**20, said)


def bench(*arguments: str) -> Spent:
    """Run a `bench` command."""
    return process("-m", "benchmarks.cli", *arguments)


def medians(repeats: int, measures: Sequence[Callable[[], Spent]]) -> list[Spent]:
    """Median times and peak memory of several commands, measured in turn over several rounds."""
    rounds = zip(*([measure() for measure in measures] for _ in range(repeats)), strict=True)
    return [
        Spent(
            statistics.median(run.seconds for run in runs),
            statistics.median(run.cpu for run in runs),
            max(run.mib for run in runs),
        )
        for runs in rounds
    ]


def noop_study(folder: Path, variants: int, seeds: int) -> Path:
    """Write a study file of trials that do nothing."""
    path = folder / f"noop_{variants}x{seeds}.yaml"
    path.write_text(NOOP.format(values=list(range(variants)), seeds=seeds), encoding="utf-8")
    return path


def trial_rows(folder: Path, trials: int, repeats: int) -> Iterator[Row]:
    """Overhead of a trial with one and with two workers, and the part of it caused by the disk."""
    few, many = noop_study(folder, 1, FEW), noop_study(folder, 1, FEW + trials)

    def run(study: Path, workers: int) -> Spent:
        return bench("run", str(study), "--out", tempfile.mkdtemp(dir=folder), "--workers", str(workers))

    measures = [partial(run, study, workers) for workers in (1, 2) for study in (few, many)]
    *spent, floor = medians(repeats, [*measures, partial(sync_files, folder, trials)])
    for workers, (less, more) in ("1 worker", spent[:2]), ("2 workers", spent[2:]):
        each, cpu = (1000 * (after - before) / trials for before, after in zip(less[:2], more[:2], strict=True))
        yield f"a noop trial of {trials:,} on {workers}", f"{each:.2f} ms ({cpu:.2f} ms CPU)", f"{PER_TRIAL_MS} ms"
    yield "of which the disk: two synced files of 1 kB", f"{1000 * floor.seconds / trials:.2f} ms", ""


def report_rows(folder: Path, shapes: Sequence[tuple[int, int]], repeats: int) -> Iterator[Row]:
    """`bench run` of a study that is done, and `bench report` on both forms of its records."""
    studies = [noop_study(folder, *shape) for shape in [(1, FEW), *shapes]]
    stores = [_fill(study, folder / "runs") for study in studies]
    for store in stores:
        bench("report", str(store))  # so that the report is up to date
    again = [partial(bench, "run", str(study), "--out", str(folder / "runs")) for study in studies]
    imports, *done = medians(repeats, again)
    yield f"`bench run`, {FEW} trials, all done", str(imports), "imports"
    for shape, spent in zip(shapes, done, strict=True):
        yield f"`bench run`, {_shape(*shape)}, all done", str(spent), f"imports + {AGAIN_SECONDS} s"
    for shape, store in zip(shapes, stores[1:], strict=True):
        for trial in (store / "trials").iterdir():
            (trial / "metrics.csv").write_text(_curves(random.Random(trial.name)), encoding="utf-8")
        bench("archive", str(store), str(folder / "archive"))
        for trial in (store / "trials").iterdir():
            (trial / "metrics.csv").unlink()
        archived = folder / "archive" / store.name
        forms = ("", store), (" archived with curves,", archived)
        reports = medians(repeats, [partial(bench, "report", str(records)) for _, records in forms])
        for (form, _), spent in zip(forms, reports, strict=True):
            yield f"`bench report`,{form} {_shape(*shape)}", str(spent), f"{REPORT_SECONDS} s, {REPORT_MIB} MiB"


def plan_rows(folder: Path, shapes: Sequence[tuple[int, int]], fit_seeds: int, repeats: int) -> Iterator[Row]:
    """Time from a study file to the keys of all its trials; the trials of `fit` are also checked."""
    fit = folder / "fit.yaml"
    fit.write_text(FIT.format(seeds=fit_seeds), encoding="utf-8")
    studies = [(f"noop, {_shape(*shape)}", noop_study(folder, *shape)) for shape in shapes]
    studies.append((f"fit, {_shape(100, fit_seeds)}", fit))
    measured = medians(repeats, [partial(plan_apart, study) for _, study in studies])
    for (what, _), spent in zip(studies, measured, strict=True):
        yield f"expanded and keyed: {what}", str(spent), f"{PLAN_SECONDS} s"


def plan_apart(study: Path) -> Spent:
    """`plan` in a separate process."""
    call = f"plan({str(study)!r}, checked={study.stem == 'fit'})"
    spent = process("-c", f"from benchmarks.measure.harness_speed import plan; print(*{call})")
    seconds, cpu = map(float, spent.said.split()[-2:])
    return spent._replace(seconds=seconds, cpu=cpu)


def plan(file: str, checked: bool) -> tuple[float, float]:
    """Compute the keys of all trials of a study file, optionally checked by a worker that has already been started.

    Returns:
        Wall seconds, and CPU seconds of this process.
    """
    with LocalEngine(1) as engine:
        if checked:
            next(engine.run(os.getpid, [()]))
        start, cpu = time.perf_counter(), time.process_time()
        make_plan(load_study(file), engine)
        return time.perf_counter() - start, time.process_time() - cpu


def sync_files(folder: Path, trials: int) -> Spent:
    """Write two small files per trial to a folder, each synced to disk."""
    start, cpu = time.perf_counter(), time.process_time()
    for _ in range(trials):
        trial = Path(tempfile.mkdtemp(dir=folder))
        for name in ("config.yaml", "result.json"):
            write_atomically(trial / name, "x" * 1000)
    return Spent(time.perf_counter() - start, time.process_time() - cpu, 0)


def machine() -> str:
    """The machine, its load, and its software versions."""
    here = environment()
    versions = ", ".join(
        f"{name} {version}" for name, version in {"python": here["python"], **here["packages"]}.items()
    )
    return f"{here['cpu']}, {here['cores']} cores, load {os.getloadavg()[0]:.1f}, {here['platform']}, {versions}"


def main(argv: Sequence[str] | None = None) -> int:
    """Print the machine and a table of the measurements with their limits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--trials", type=int, default=2000, help="trials to run for the cost of one (default: %(default)s)"
    )
    parser.add_argument("--records", type=int, default=10_000, help="trials to report on (default: %(default)s)")
    parser.add_argument("--expand", type=int, default=100_000, help="trials to plan (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="repetitions of each measurement (default: %(default)s)")
    parser.add_argument("--dir", help="folder on the disk to measure (default: the system's temporary folder)")
    args = parser.parse_args(argv)
    print(f"{machine()}\n\n| what | measured | limit |\n| --- | --: | --: |")
    with tempfile.TemporaryDirectory(dir=args.dir) as name:
        folder = Path(name)
        for row in itertools.chain(
            trial_rows(folder, args.trials, args.repeats),
            report_rows(folder, _shapes(args.records, 10, 1000), args.repeats),
            plan_rows(folder, _shapes(args.expand, 1000, 10_000), -(-args.expand // 100), args.repeats),
        ):
            print(f"| {' | '.join(row)} |", flush=True)
    return 0


def _shapes(trials: int, *variants: int) -> list[tuple[int, int]]:
    """A number of variants, with the trials divided among them as seeds."""
    return [(v, -(-trials // v)) for v in (min(v, trials) for v in variants)]


def _shape(variants: int, seeds: int) -> str:
    return f"{variants:,} variants x {seeds:,} seeds"


def _fill(study: Path, out: Path) -> Path:
    """Run all trials of a study without writing its report."""
    loaded = load_study(str(study))
    store = Store(out / loaded.name)
    with LocalEngine(2, preload=False) as engine:
        made = make_plan(loaded, engine)
        store.create(loaded.to_file(), made.keys_by_name())
        for _ in run_trials(made, [[trial] for trial in made.trials()], store, engine):
            pass
    return store.folder


def _curves(draw: random.Random) -> str:
    """A `metrics.csv` with as many rows and columns as one of `fit`."""
    rows = [",".join(f"val/metric_{n}" for n in range(CURVES))]
    rows += [",".join(str(draw.random()) for _ in range(CURVES)) for _ in range(EPOCHS)]
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.exit(main())
