"""Everything that has to run on a GPU, checked against the CPU.

    python -m benchmarks.measure.gpu --out results/gpu

On one GPU, in at most --minutes: each model, packs, flags of the trainer, the command lines, checkpoints that are
loaded again on the CPU, the GPU rows of the study `strategies`. Each check runs in its own process with a time limit;
an exception or a crash is a row with its reason. The report is written whenever a row is added. The exit status is 1
if something differs or failed. `--small` runs the checks in miniature in this process, also without a GPU: the CPU then
takes its place, and rows that need a GPU are skipped. docs/gpu.md describes the checks.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # small nets are faster on one thread

from zoo.outputs.files import write_atomically
from zoo.outputs.provenance import environment

from .checks import checks, in_processes, in_turn, run_check
from .page import TITLES, page
from .rows import BAD, read_rows


def main(argv: Sequence[str] | None = None) -> int:
    """Run the checks, and write the report to --out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="run in miniature, in one process")
    parser.add_argument("--minutes", type=float, default=8.0, help="time for everything (default: %(default)s)")
    parser.add_argument("--out", metavar="DIR", help="folder for gpu.md and gpu.json, and checkpoints")
    parser.add_argument("--commit", metavar="HASH", help="commit of this code, if it was copied without .git")
    names = list(TITLES)
    parser.add_argument("--only", metavar="CHECK", action="append", choices=names, help=f"one of {', '.join(names)}")
    parser.add_argument("--run", metavar="FUNCTION", help=argparse.SUPPRESS)  # in a process of its own
    parser.add_argument("--rows", metavar="FILE", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    out = Path(args.out).absolute() if args.out else None
    if args.run:
        run_check(args.run, args.small, Path(args.rows), out)
        return 0
    if out:
        out.mkdir(parents=True, exist_ok=True)
    asked = [check for check in checks() if check.name in (args.only or names)]
    with tempfile.TemporaryDirectory(prefix="zoo-gpu-", ignore_cleanup_errors=True) as folder:
        there = Path(folder)
        started, report = time.monotonic(), _describe(args.small, args.commit)
        steps = in_turn(asked, there, out) if args.small else in_processes(asked, there, out, args.minutes)
        n_rows = 0
        for _ in steps:
            rows = {check.name: [*read_rows(there / f"{check.name}.jsonl"), *check.ended] for check in asked}
            report["checks"] = [
                {"name": check.name, "seconds": check.spent, "rows": [asdict(row) for row in rows[check.name]]}
                for check in asked
            ]
            report["seconds"] = time.monotonic() - started
            if out and sum(map(len, rows.values())) > n_rows:
                _write(report, out)
            n_rows = sum(map(len, rows.values()))
    if out:
        _write(report, out)
    print(page(report))
    return int(any(row["status"] in BAD for check in report["checks"] for row in check["rows"]))


def _write(report: dict[str, Any], out: Path) -> None:
    write_atomically(out / "gpu.json", json.dumps(report, indent=1, allow_nan=False) + "\n")
    write_atomically(out / "gpu.md", page(report))


def _describe(small: bool, commit: str | None) -> dict[str, Any]:
    """The report before the first check."""
    import torch

    where = environment()
    if commit and where["git"]["commit"] is None:
        where = {**where, "git": {"commit": commit, "dirty": None}}
    card = None
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        ask = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        driver = "unknown"
        with suppress(OSError, subprocess.SubprocessError):
            driver = subprocess.run(ask, capture_output=True, text=True, timeout=20, check=True).stdout.split()[0]
        card = {
            "name": properties.name,
            "memory_gib": properties.total_memory / 2**30,
            "capability": f"{properties.major}.{properties.minor}",
            "cuda": torch.version.cuda,
            "driver": driver,
        }
    return {"environment": where, "card": card, "small": small, "seconds": 0.0, "checks": []}


if __name__ == "__main__":
    sys.exit(main())
