"""Speed of this project compared with hand-written code, measured together in one run.

    ZOO_DATA_DIR=... python -m benchmarks.measure.speed --out results/speed

Peers (`benchmarks/measure/peers/`) and this project alternate (A B A B) for `--rounds` rounds after a warm-up; results
are medians with minimum and maximum. The real commands are run, each in a separate process. Seconds per trial are
(wall at 30 epochs - wall at 1 epoch) / trials x 30/29, which cancels imports, checks and the report. All train the same
nets, seeds and epochs, without early stopping. Rows that this machine cannot run are skipped with a reason. Takes about
an hour. For the cost of a trial in packs of several sizes, run `python -m benchmarks.measure.speed.packs`.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from zoo.outputs.files import write_atomically
from zoo.outputs.provenance import environment

from .commands import Sample, measure_commands
from .epochs import measure_epochs
from .table import table


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", metavar="DIR", help="folder for speed.md and speed.json")
    what = "measure only commands whose name contains this; with --out, keep earlier results of the others"
    parser.add_argument("--only", metavar="TEXT", help=what)
    args = parser.parse_args(argv)
    os.environ["OMP_NUM_THREADS"] = "1"
    samples: dict[str, list[Sample]] = {}
    before = Path(args.out or ".") / "speed.json"
    found = {"rounds": args.rounds, "environment": environment(), "samples": samples, "again": []}
    measured = measure_commands(args.rounds, args.only or "")
    if args.only is None:
        measured = chain(measure_epochs(args.rounds), measured)
    else:
        found = json.loads(before.read_text()) if args.out and before.is_file() else found
    for name, sample in measured:
        samples.setdefault(name, []).append(sample)
        print(f"{name}: {sample['seconds']:.4f} s", file=sys.stderr, flush=True)
    found["samples"] |= samples
    found["again"] = [] if args.only is None else _runs(found["again"], list(samples), args.rounds)
    print(text := table(found))
    if args.out:
        Path(args.out).mkdir(parents=True, exist_ok=True)
        write_atomically(before, json.dumps(found, indent=1) + "\n")
        write_atomically(Path(args.out) / "speed.md", text)
    return 0


def _runs(before: list[dict[str, Any]], names: list[str], rounds: int) -> list[dict[str, Any]]:
    """The separate runs that some measurements are from, the newest last; each measurement is in at most one."""
    runs = [{**run, "names": [name for name in run["names"] if name not in names]} for run in before]
    new = {"names": names, "rounds": rounds, "commit": environment()["git"]["commit"]}
    return [run for run in [*runs, new] if run["names"]]


if __name__ == "__main__":
    sys.exit(main())
