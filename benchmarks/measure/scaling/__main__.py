"""Scaling limits of one driver and one folder.

    python -m benchmarks.measure.scaling --out results/speed

Measures the cost of a trial that does nothing to the driver, a worker and the file system, in studies of several sizes,
and uses it to simulate 1,000 workers and 100,000 trials. CPU seconds hardly depend on the load of the machine. The
speeds of one and two workers do, so their runs alternate. Writes `scaling.md` and `scaling.json`.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from zoo.outputs.files import write_atomically
from zoo.outputs.provenance import environment

from . import measure
from .page import page
from .simulate import Costs, Server, simulate

PARTS = ("operations", "phases", "journals", "rates", "curve")
WORKERS, TRIALS = 1000, 100_000
DURATIONS = (0.0, 1.0, 10.0, 60.0)
# File servers that were not measured: assumed rates of a fast and a busy one.
ASSUMED = (Server("a fast server (assumed)", 20_000, 5_000), Server("a busy server (assumed)", 2_000, 500))


def simulations(found: dict[str, Any], workers: int, trials: int) -> list[dict[str, Any]]:
    """Simulate all workers for each server, trial duration and way of distributing trials."""
    largest = found["phases"][-1]
    each = {name: seconds / largest["trials"] for name, seconds in largest["cpu"].items()}
    journal = found["journals"][-1]
    operations = found["operations"]["worker"]
    changes = operations["change of trials/"]
    every = {kind: operations[kind] for kind in measure.KINDS}
    measured = {kind: found["rates"][kind][-1] for kind in measure.KINDS}
    here = Server("this disk", measured["look"], measured["change"], measured)
    rows = []
    for server in (here, *ASSUMED):
        for batched in (False, True):
            driver = journal["cpu"]["driver"] / journal["trials"] if batched else each["run"]
            # A worker with its own share writes each outcome to a journal, which is one more file to open.
            costs = Costs(driver, each["workers"], every | {"open": every["open"] + batched}, changes)
            for duration in DURATIONS:
                came = simulate(costs, server, workers, trials, duration, batched)
                shares = {"driver": came.driver, "server": came.server, "folder": came.folder, "workers": came.workers}
                told = {"system": server.name, "batched": batched, "duration": duration, "seconds": came.seconds}
                rows.append({**told, **shares, "bottleneck": came.bottleneck})
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, simulate, write the page and print it."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.measure.scaling", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--out", type=Path, default=Path("results/speed"), help="default: %(default)s")
    sizes = [1000, 5000, 20_000]
    parser.add_argument("--sizes", type=int, nargs="+", default=sizes, help="trials per study (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="repetitions of each measurement (default: %(default)s)")
    parser.add_argument(
        "--curve", type=int, nargs=3, default=[4000, 400, 24], help="numbers of noop trials, packed and single fits"
    )
    what = "measure only these, and keep the other results in --out"
    parser.add_argument("--only", nargs="+", choices=PARTS, default=[], help=what)
    parser.add_argument("--workers", type=int, default=WORKERS, help="simulated workers (default: %(default)s)")
    parser.add_argument("--trials", type=int, default=TRIALS, help="simulated trials (default: %(default)s)")
    parser.add_argument("--dir", help="folder on the file system to measure (default: the system's temporary folder)")
    args = parser.parse_args(argv)
    noops, packed, alone = args.curve
    found: dict[str, Any] = {"load": {}, "rounds": {}, "arguments": {}}
    if args.only:
        found = json.loads((args.out / "scaling.json").read_text(encoding="utf-8"))
    found.setdefault("arguments", {})
    found |= {"workers": args.workers, "trials": args.trials, "environment": environment()}
    tasks = [min(args.workers, size) for size in args.sizes]
    with tempfile.TemporaryDirectory(dir=args.dir) as name:
        folder = Path(name)
        phases = [f"phases({size}, {name!r})" for size in args.sizes]
        journals = [f"journals({size}, {many}, {name!r})" for size, many in zip(args.sizes, tasks, strict=True)]
        parts: dict[str, Callable[[], Any]] = {
            "operations": lambda: measure.operations(20, 120, folder),
            "phases": lambda: _medians([list(map(measure.apart, phases)) for _ in range(args.repeats)]),
            "journals": lambda: _medians([list(map(measure.apart, journals)) for _ in range(args.repeats)]),
            "rates": lambda: measure.rates(folder, args.sizes),
            "curve": lambda: list(measure.curve(folder, noops, packed, alone, args.repeats)),
        }
        for part in args.only or parts:
            before = os.getloadavg()[0]
            found[part] = parts[part]()
            found["rounds"][part] = args.repeats
            found["arguments"][part] = _arguments(args)
            found["load"][part] = [before, os.getloadavg()[0]]
    found["simulations"] = simulations(found, args.workers, args.trials)
    text = page(found)
    args.out.mkdir(parents=True, exist_ok=True)
    write_atomically(args.out / "scaling.json", json.dumps(found, indent=1) + "\n")
    write_atomically(args.out / "scaling.md", text)
    print(text)
    return 0


def _arguments(args: argparse.Namespace) -> str:
    """The options that affect the results, as given on the command line."""
    given = {"sizes": args.sizes, "repeats": [args.repeats], "curve": args.curve}
    return " ".join(f"--{name} {' '.join(map(str, values))}" for name, values in given.items())


def _medians(rounds: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The median of each number over the rounds, and the minimum and maximum of the CPU seconds."""
    told = []
    for same in zip(*rounds, strict=True):
        cpu = {name: [one["cpu"][name] for one in same] for name in same[0]["cpu"]}
        ranges = {name: [min(values), max(values)] for name, values in cpu.items()}
        told.append({**same[0], "cpu": {name: median(values) for name, values in cpu.items()}, "ranges": ranges})
    return told


if __name__ == "__main__":
    sys.exit(main())
