"""Overhead of the diagnosis callbacks: training with each of them at its defaults, compared with training without.

    python -m benchmarks.measure.callback_overhead [--rounds 25] [--out results/speed]

On the CPU with one thread. Runs with and without a callback alternate (A B A B ...), and each run with a callback is
compared with the mean of its two neighbours; results are medians over the rounds, with quartiles. The time covers
training and validation from the first epoch to the last, like `train_seconds` of a result, but in CPU seconds, which
depend less on the load of the machine. Set-up and the test are not included.

On a busy machine these ratios still vary by more than the overhead. Separate runs therefore measure the time in the
callbacks' own code as a fraction of the rest of training; this excludes indirect costs such as cache misses.
"""

import argparse
import contextlib
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

from zoo.callbacks.activation_statistics import ActivationStatistics
from zoo.callbacks.dead_units import DeadUnits
from zoo.callbacks.gradient_clipping import GradientClipping
from zoo.callbacks.gradient_flow import GradientFlow
from zoo.callbacks.layers import Diagnosis, SampledSteps
from zoo.config import resolve
from zoo.outputs.files import write_atomically
from zoo.outputs.provenance import environment
from zoo.pack import Pack
from zoo.pack.diagnosis import Watch
from zoo.parts.metric_names import DIAGNOSIS
from zoo.plain import Config, ResolvedConfig
from zoo.train import fit, make_member

Run = Callable[[Config], float]  # maps the section `callbacks` to seconds of training

BOUND = 0.05
CALLBACKS: dict[str, Config] = {
    **{name: {name: True} for name in DIAGNOSIS},
    "all four": dict.fromkeys(DIAGNOSIS, True),
}
DIGITS = {"name": "digits", "batch_size": 64}
MEMBERS = 50
EPOCHS = 10  # epochs of a pack: the minimum with the default patience; more epochs dilute one-time costs


def config(model: Config, data: Config, epochs: int, callbacks: Config) -> Config:
    """A config without early stopping."""
    return {
        "model": model,
        "data": data,
        "trainer": {"max_epochs": epochs, "accelerator": "cpu"},
        "callbacks": {"early_stopping": {"patience": epochs}, **callbacks},
    }


def alone(model: Config, data: Config, epochs: int, pack: bool = True) -> Run:
    """A run as by `zoo fit`: in a pack of one, or by Lightning if it cannot or should not be packed."""

    def run(callbacks: Config) -> float:
        with tempfile.TemporaryDirectory() as out:
            return fit(config(model, data, epochs, callbacks), out, pack=pack).train_seconds

    return run


def packed(model: Config, data: Config, epochs: int) -> Run:
    """A pack with several seeds, which share little data, as in a study."""
    shared: dict[str, Any] = {}

    def run(callbacks: Config) -> float:
        resolved = resolve(config(model, {**data, "seed": 0}, epochs, callbacks))
        members = [
            make_member(ResolvedConfig({**resolved, "seed_everything": seed}), shared) for seed in range(MEMBERS)
        ]
        pack = Pack(members, torch.device("cpu"))
        pack.fit()
        return pack.seconds

    return run


def cases(folder: Path) -> dict[str, Run]:
    """The measured cases by name."""
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
        f"64-64-64-10 on digits, pack of {MEMBERS}": packed(small, DIGITS, EPOCHS),
        f"64-64-64-10, sigmoid, batch norm, pack of {MEMBERS}": packed(
            {**small, "activation": "sigmoid", "norm": "batch"}, DIGITS, EPOCHS
        ),
        "cnn (32, 64) on digits, by Lightning": alone({"name": "cnn"}, DIGITS, 5),
        "64-64-64-10 on digits, by Lightning": alone(small, DIGITS, 8, pack=False),
    }


class Inside:
    """Context manager that times all callback hooks called by the trainers."""

    CLASSES = (Watch, Diagnosis, SampledSteps, GradientFlow, GradientClipping, DeadUnits, ActivationStatistics)
    OF_PACKS = ("__init__", "keep", "forward", "backward", "clipped", "stepped", "see", "see_initial", "end_epoch")

    def __enter__(self) -> "Inside":
        self.seconds, self._depth, self._patches = 0.0, 0, contextlib.ExitStack()
        for cls in self.CLASSES:
            for name in list(vars(cls)):
                if name.startswith("on_") or name in (self.OF_PACKS if cls is Watch else ("_see", "setup")):
                    self._patches.enter_context(mock.patch.object(cls, name, self._timed(getattr(cls, name))))
        return self

    def __exit__(self, *exception: object) -> None:
        self._patches.close()

    def _timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            self._depth += 1
            start = time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                self._depth -= 1
                self.seconds += 0 if self._depth else time.process_time() - start

        return timed


def measure(rounds: int, only: str = "") -> list[dict[str, Any]]:
    """The ratios of all cases and callbacks, and the fractions of time in the callbacks' own code, one row each."""
    found: list[dict[str, Any]] = []
    # The clock by which `zoo` times training.
    with tempfile.TemporaryDirectory() as folder, mock.patch("time.perf_counter", time.process_time):
        for case, run in cases(Path(folder)).items():
            if only not in case:
                continue
            run({}), run(CALLBACKS["all four"])  # warm-up
            off: list[float] = [run({})]
            ratios: dict[str, list[float]] = {name: [] for name in CALLBACKS}
            shares: dict[str, list[float]] = {name: [] for name in CALLBACKS}
            for number in range(rounds):
                for name, callbacks in CALLBACKS.items():
                    on = run(callbacks)
                    off.append(run({}))
                    ratios[name].append(on / statistics.mean(off[-2:]))
                    if number < 5:
                        with Inside() as inside:
                            seconds = run(callbacks)
                        shares[name].append(inside.seconds / (seconds - inside.seconds))
            for name, own in ratios.items():
                low, median, high = statistics.quantiles(own, n=4, method="inclusive")
                row: dict[str, Any] = {"case": case, "callback": name, "seconds": statistics.median(off)}
                row |= {"ratio": median, "low": low, "high": high, "inside": statistics.median(shares[name])}
                found.append(row)
                print(f"{case}: {name}: {median:.3f}, inside {row['inside']:.4f}", file=sys.stderr, flush=True)
    return found


def table(found: dict[str, Any]) -> str:
    """The measurements as Markdown."""
    where, torchs = found["environment"], found["environment"]["packages"]["torch"]
    cells = {(row["case"], row["callback"]): row for row in found["rows"]}
    header = f"| training | seconds without | {' | '.join(CALLBACKS)} |\n|---|--:|{'--:|' * len(CALLBACKS)}"
    inside, beside = [header], [header]
    for case in dict.fromkeys(row["case"] for row in found["rows"]):
        own = [cells[case, name] for name in CALLBACKS]
        shares = [f"{row['inside']:.1%}" for row in own]
        ratios = [f"{row['ratio']:.3f} ({row['low']:.3f} to {row['high']:.3f})" for row in own]
        for lines, values in ((inside, shares), (beside, ratios)):
            lines.append(f"| {case} | {own[0]['seconds']:.3f} | {' | '.join(values)} |")
    single = [row for row in found["rows"] if row["callback"] != "all four"]
    slow = [f"{r['callback']} in {r['case']} ({r['inside']:.1%})" for r in single if r["inside"] > BOUND]
    slower = [f"{r['callback']} in {r['case']} ({r['ratio']:.3f})" for r in single if r["ratio"] > 1 + BOUND]
    parts = [
        "# Overhead of the diagnosis callbacks",
        f"{where['cpu']}, {where['cores']} cores, one thread; torch {torchs}. CPU seconds of training, callbacks at "
        "their defaults.",
        "## Time in the callbacks' own code, as a fraction of all other training time",
        "\n".join(inside),
        f"The goal is at most {BOUND:.0%} per callback. By this measure, which excludes indirect costs "
        f"(cache misses, the trainer's hook calls), above the goal: {'; '.join(slow) or 'none'}.",
        "## Training time with a callback relative to training without",
        f"Runs alternate (A B A B); medians of {found['rounds']} rounds, quartiles in brackets. The machine was also "
        "doing other work, so the ratios vary and can be below 1. Medians above the goal: "
        f"{'; '.join(slower) or 'none'}.",
        "\n".join(beside),
        "Made by `python -m benchmarks.measure.callback_overhead`.",
    ]
    return "\n\n".join(parts) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--only", metavar="TEXT", default="", help="measure only cases whose name contains this")
    parser.add_argument("--out", metavar="DIR", help="folder for callbacks_cpu.md and callbacks_cpu.json")
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
