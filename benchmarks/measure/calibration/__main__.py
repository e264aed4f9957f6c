"""The table of `python -m benchmarks.measure.calibration`."""

import argparse
import gc
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from zoo.outputs.files import write_atomically

from . import __doc__ as description
from .errors import ALL, Errors
from .simulation import Share, disagreements, measure

README = Path(__file__).parents[2] / "README.md"
START, END = "<!-- written by python -m benchmarks.measure.calibration --write -->", "<!-- end -->"
SEEDS, SIMULATIONS = (3, 5, 10), 60_000


class Row(NamedTuple):
    """Results for each number of seeds, and the required bound: `= .95`, `≤ .05` or none."""

    errors: str
    what: str
    found: list[Share]
    bound: str

    @property
    def holds(self) -> bool:
        """Whether all results are within the bound, up to three Monte Carlo errors."""
        if not self.bound:
            return True
        side, limit = self.bound.split()
        over = [(x.mean - float(limit), 3 * x.error) for x in self.found]
        return all(off <= slack and (side == "≤" or -off <= slack) for off, slack in over)

    def __str__(self) -> str:
        cells = " | ".join(f"{x.mean:.4f} ({x.error:.4f})" for x in self.found)
        return f"| {self.errors} | {self.what} | {cells} | {self.bound} |"


def rows(errors: Errors, place: int, studies: int) -> Iterator[Row]:
    """Results for one error distribution; deterministic."""
    by_seeds = [list(measure(errors, n, studies, np.random.default_rng([place, n]))) for n in SEEDS]
    for cells in zip(*by_seeds, strict=True):
        what, _, bound = cells[0]
        yield Row(errors.name, what, [found for _, found, _ in cells], bound)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table, and write it with `--write`; returns 1 if a bound is violated."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=SIMULATIONS, help="studies per cell (default: %(default)s)")
    parser.add_argument("--write", action="store_true", help="also write the table to benchmarks/README.md")
    args = parser.parse_args(argv)
    checked = max(2, args.simulations // 1000)
    lines = [f"| errors | rate | {' | '.join(f'{n} seeds' for n in SEEDS)} | must be |"]
    lines.append("| --- | --- |" + " --: |" * (len(SEEDS) + 1))
    print(*lines, sep="\n", flush=True)
    failed, differ = [], 0
    gc.freeze()  # multipletests calls gc.collect(), which takes 50 ms with all imported modules
    try:
        for place, errors in enumerate(ALL):
            for row in rows(errors, place, args.simulations):
                lines.append(str(row))
                print(row, flush=True)
                failed += [] if row.holds else [row]
            differ += sum(disagreements(errors, n, checked, np.random.default_rng([place, n, 1])) for n in SEEDS)
    finally:
        gc.unfreeze()
    total = checked * len(ALL) * len(SEEDS)
    said = (
        f"{args.simulations:,} simulated studies per cell, Monte Carlo errors in brackets. In {total} further studies, "
        f"`summarize` agreed with the functions that it calls in {total - differ}."
    )
    print(f"\n{said}")
    if args.write:
        before, _, rest = README.read_text(encoding="utf-8").partition(START)
        after = rest.partition(END)[2]
        table = "\n".join(lines)
        write_atomically(README, f"{before}{START}\n\n{said}\n\n{table}\n\n{END}{after}")
    for row in failed:
        print(f"out of bounds: {row}", file=sys.stderr)
    return 1 if failed or differ else 0


if __name__ == "__main__":
    sys.exit(main())
