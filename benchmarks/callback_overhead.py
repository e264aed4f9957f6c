"""What diagnosis callbacks cost: training with each, at its defaults, beside training without.

    python -m benchmarks.callback_overhead [--rounds 25] [--out results/speed]

On the CPU, on one thread. Each run with a callback stands between two without, A B A B ..., and is set beside the mean
of these; a figure is the median over the rounds, with quartiles. What is timed is training, validation included, from
the first epoch to the last, as `train_seconds` of a result, but in seconds of the processor, so that whatever else the
machine does counts less; set-up and the test are not.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from zoo.config import resolve
from zoo.files import write_atomically
from zoo.metric_names import DIAGNOSIS
from zoo.pack import Pack
from zoo.provenance import environment
from zoo.train import fit, make_member

Config = dict[str, Any]
Run = Callable[[Config], float]  # the section `callbacks`, to seconds of training

BOUND = 1.05
CALLBACKS: dict[str, Config] = {
    **{name: {name: True} for name in DIAGNOSIS},
    "all four": dict.fromkeys(DIAGNOSIS, True),
}
DIGITS = {"name": "digits", "batch_size": 64}
MEMBERS = 50


def config(model: Config, data: Config, epochs: int, callbacks: Config) -> Config:
    """A config that trains all its epochs."""
    return {
        "model": model,
        "data": data,
        "trainer": {"max_epochs": epochs, "accelerator": "cpu"},
        "callbacks": {"early_stopping": {"patience": epochs}, **callbacks},
    }


def alone(model: Config, data: Config, epochs: int, pack: bool = True) -> Run:
    """A run by `zoo fit`: in a pack of one, or by Lightning what cannot be packed, or is not to be."""

    def run(callbacks: Config) -> float:
        with tempfile.TemporaryDirectory() as out:
            return fit(config(model, data, epochs, callbacks), out, pack=pack).train_seconds

    return run


def packed(model: Config, data: Config, epochs: int) -> Run:
    """A pack of so many seeds; its members share few data, as those of a study do."""
    shared: dict[str, Any] = {}

    def run(callbacks: Config) -> float:
        resolved = resolve(config(model, {**data, "seed": 0}, epochs, callbacks))
        members = [make_member({**resolved, "seed_everything": seed}, shared) for seed in range(MEMBERS)]
        pack = Pack(members, torch.device("cpu"))
        pack.fit()
        return pack.seconds

    return run


def cases(folder: Path) -> dict[str, Run]:
    """What is measured, by name."""
    draw = np.random.default_rng(0)
    rows, features = 2000, 784
    table = np.column_stack([draw.standard_normal((rows, features)).round(2), draw.integers(0, 10, rows)])
    names = ",".join([*(f"x{n}" for n in range(features)), "y"])
    np.savetxt(folder / "wide.csv", table, "%g", ",", header=names, comments="")
    wide = {"name": "csv", "path": str(folder / "wide.csv"), "target": "y", "batch_size": 64}
    mlp = {"name": "mlp", "hidden_dims": [256, 256]}
    small: Config = {"name": "mlp", "hidden_dims": [64, 64]}
    return {
        "784-256-256-10, 1,280 rows, pack of one": alone(mlp, wide, 5),
        "64-64-64-10 on digits, pack of one": alone(small, DIGITS, 20),
        f"64-64-64-10 on digits, pack of {MEMBERS}": packed(small, DIGITS, 4),
        f"64-64-64-10, sigmoid, batch norm, pack of {MEMBERS}": packed(
            {**small, "activation": "sigmoid", "norm": "batch"}, DIGITS, 4
        ),
        "cnn (32, 64) on digits, by Lightning": alone({"name": "cnn"}, DIGITS, 5),
        "64-64-64-10 on digits, by Lightning": alone(small, DIGITS, 8, pack=False),
    }


def measure(rounds: int, only: str = "") -> list[dict[str, Any]]:
    """The ratios of all cases and callbacks, a row each."""
    found: list[dict[str, Any]] = []
    # The clock by which `zoo` times training.
    with tempfile.TemporaryDirectory() as folder, mock.patch("time.perf_counter", time.process_time):
        for case, run in cases(Path(folder)).items():
            if only not in case:
                continue
            run({}), run(CALLBACKS["all four"])  # warm-up
            off: list[float] = [run({})]
            ratios: dict[str, list[float]] = {name: [] for name in CALLBACKS}
            for _ in range(rounds):
                for name, callbacks in CALLBACKS.items():
                    on = run(callbacks)
                    off.append(run({}))
                    ratios[name].append(on / statistics.mean(off[-2:]))
            for name, own in ratios.items():
                low, median, high = statistics.quantiles(own, n=4, method="inclusive")
                seconds = statistics.median(off)
                found.append(
                    {"case": case, "callback": name, "seconds": seconds, "ratio": median, "low": low, "high": high}
                )
                print(f"{case}: {name}: {median:.3f} ({low:.3f} to {high:.3f})", file=sys.stderr, flush=True)
    return found


def table(found: dict[str, Any]) -> str:
    """The measurements as Markdown."""
    where = found["environment"]
    cases = list(dict.fromkeys(row["case"] for row in found["rows"]))
    cells = {(row["case"], row["callback"]): row for row in found["rows"]}
    lines = [
        f"| training | seconds without | {' | '.join(CALLBACKS)} |",
        f"|---|--:|{'--:|' * len(CALLBACKS)}",
    ]
    for case in cases:
        own = [cells[case, name] for name in CALLBACKS]
        ratios = [f"{row['ratio']:.3f} ({row['low']:.3f} to {row['high']:.3f})" for row in own]
        lines.append(f"| {case} | {own[0]['seconds']:.3f} | {' | '.join(ratios)} |")
    over = [row for row in found["rows"] if row["callback"] != "all four" and row["ratio"] > BOUND]
    said = "; ".join(f"{row['callback']} in {row['case']} ({row['ratio']:.3f})" for row in over)
    return (
        "\n\n".join(
            [
                "# What diagnosis callbacks cost",
                f"{where['cpu']}, {where['cores']} cores, one thread; torch {where['packages']['torch']}. CPU seconds of "
                "training with a callback, at its defaults, over those without, which it takes turns with (A B A B); "
                f"medians of {found['rounds']} rounds, quartiles in brackets.",
                "\n".join(lines),
                f"Each is to cost at most 5 %: {f'not so {said}.' if over else 'so it is.'}",
                "Made by `python -m benchmarks.callback_overhead`.",
            ]
        )
        + "\n"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--only", metavar="TEXT", default="", help="measure only cases whose names contain this")
    parser.add_argument("--out", metavar="DIR", help="write callbacks_cpu.md and callbacks_cpu.json there")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    found = {"rounds": args.rounds, "environment": environment(), "rows": measure(args.rounds, args.only)}
    print(text := table(found))
    if args.out:
        Path(args.out).mkdir(parents=True, exist_ok=True)
        write_atomically(Path(args.out) / "callbacks_cpu.json", json.dumps(found, indent=1) + "\n")
        write_atomically(Path(args.out) / "callbacks_cpu.md", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
