"""Parity of a run on several processes with the same run in one process: losses, weights, accuracy.

    python -m benchmarks.measure.process_parity [--seeds 20] [--out results/parity]

On the CPU with gloo and one thread per process; processes are forked (`ddp_fork`), so that they need not repeat the
imports. Lightning trains both sides. First, nets without dropout and batch norm, which should be equal up to rounding:
the largest relative difference in the training and validation loss of any epoch, and the largest absolute difference
in any weight of the best epoch. Second, nets with dropout, whose masks are drawn per process, and batch norm, whose
statistics are computed on each process's share of a batch: the difference in test accuracy, paired by seed.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from zoo.outputs.checkpoint import read_checkpoint
from zoo.outputs.files import write_atomically
from zoo.outputs.provenance import environment
from zoo.plain import Config
from zoo.train import fit

from ..records.reading import read_curves
from ..stats.paired import mean_interval

Row = dict[str, Any]

EPOCHS = 20
MLP: Config = {"name": "mlp", "hidden_dims": [64, 64]}
DIGITS: Config = {"name": "digits", "batch_size": 60}  # divisible by 2, 3 and 4 processes
WINE: Config = {"name": "wine", "batch_size": 16, "train_size": 99}
# Runs that should be equal: model, data, epochs, numbers of processes.
ALIKE: dict[str, tuple[Config, Config, int, tuple[int, ...]]] = {
    "`mlp` on `digits`, batches of 60": (MLP, DIGITS, EPOCHS, (2, 3, 4)),
    "the same, `class_weights: balanced`, `label_smoothing: 0.1`": (
        {**MLP, "class_weights": "balanced", "label_smoothing": 0.1},
        DIGITS,
        EPOCHS,
        (2,),
    ),
    "`mlp` on `diabetes`, a regression, batches of 60": (MLP, {**DIGITS, "name": "diabetes"}, EPOCHS, (2,)),
    "`cnn` on `digits`, batches of 60": ({"name": "cnn", "dropout": 0.0}, DIGITS, 5, (2,)),
    "`mlp` on `wine`, 99 rows in batches of 16, the last of 3": (MLP, WINE, EPOCHS, (2,)),
    "the same, `class_weights: [1, 5, 30]`": ({**MLP, "class_weights": [1.0, 5.0, 30.0]}, WINE, EPOCHS, (2,)),
}
# Runs that differ: dropout only, batch norm only, both.
APART: dict[str, Config] = {
    "`mlp`, 64-64, dropout .3": {**MLP, "dropout": 0.3},
    "`robust_mlp`, dropout 0: batch norm only": {"name": "robust_mlp", "dropout": 0.0},
    "`robust_mlp` with its defaults: both": {"name": "robust_mlp"},
}


def run(model: Config, data: Config, epochs: int, processes: int, seed: int, out: Path) -> float:
    """Train with several processes into a folder; returns the accuracy, or else the loss, on the test split.

    Raises:
        RuntimeError: The run diverged.
    """
    trainer: Config = {"max_epochs": epochs, "accelerator": "cpu", "devices": processes, "gradient_clip_val": None}
    if processes > 1:
        trainer["strategy"] = "ddp_fork"
    config = {"seed_everything": seed, "model": model, "data": data, "trainer": trainer}
    result = fit({**config, "callbacks": {"early_stopping": False}}, out, pack=False)
    if result.status != "done":
        raise RuntimeError(f"a run of the comparison diverged: {config}")
    measured = result.metrics.get("test/accuracy", result.metrics["test/loss"])
    assert measured is not None
    return measured


def differences(one: Path, several: Path) -> tuple[float, float]:
    """The largest relative difference in the loss of any epoch, and the largest absolute difference in any weight.

    Args:
        one: Folder of a run in one process.
        several: Folder of a run of the same config in several processes.
    """
    a, b = (read_curves(folder / "metrics.csv") for folder in (one, several))
    losses = [np.array([curves[name] for name in ("train/loss", "val/loss")], dtype=float) for curves in (a, b)]
    weights = [read_checkpoint(folder)["state_dict"] for folder in (one, several)]
    apart = max(float((weight - weights[1][name]).abs().max()) for name, weight in weights[0].items())
    return float(np.max(np.abs(losses[1] - losses[0]) / np.abs(losses[0]))), apart


def measure_alike(folder: Path) -> list[Row]:
    """One row per case of `ALIKE` and number of processes."""
    rows = []
    for number, (case, (model, data, epochs, counts)) in enumerate(ALIKE.items()):
        one = folder / f"{number}-1"
        run(model, data, epochs, 1, 0, one)
        for count in counts:
            several = folder / f"{number}-{count}"
            run(model, data, epochs, count, 0, several)
            losses, weights = differences(one, several)
            rows.append({"case": case, "processes": count, "epochs": epochs, "losses": losses, "weights": weights})
            print(f"{case}, {count} processes: {losses:.1e}, {weights:.1e}", file=sys.stderr, flush=True)
    return rows


def measure_apart(folder: Path, seeds: int) -> list[Row]:
    """One row per net of `APART`: test accuracies with one and with two processes, by seed."""
    rows = []
    for number, (case, model) in enumerate(APART.items()):
        data = DIGITS | {"batch_size": 64}
        accuracies = [
            [run(model, data, EPOCHS, count, seed, folder / f"{number}-{count}-{seed}") for count in (1, 2)]
            for seed in range(seeds)
        ]
        one, two = (list(values) for values in zip(*accuracies, strict=True))
        rows.append({"case": case, "one": one, "two": two})
        print(f"{case}: {np.mean(np.subtract(two, one)):+.4f}", file=sys.stderr, flush=True)
    return rows


def page(found: dict[str, Any]) -> str:
    """The measurements as Markdown."""
    where = found["environment"]
    alike = ["| run | epochs | processes | losses | weights |", "|---|--:|--:|--:|--:|"]
    for row in found["alike"]:
        numbers = f"{row['losses']:.1e} | {row['weights']:.1e}"
        alike.append(f"| {row['case']} | {row['epochs']} | {row['processes']} | {numbers} |")
    apart = [
        "| net | one process, mean (sd over seeds) | two minus one | 95 % interval | largest |",
        "|---|--:|--:|--:|--:|",
    ]
    for row in found["apart"]:
        one, d = np.array(row["one"]), np.subtract(row["two"], row["one"])
        low, high = mean_interval(d.tolist())
        own = f"{one.mean():.4f} ({one.std(ddof=1):.4f}) | {d.mean():+.4f} | {low:+.4f} to {high:+.4f}"
        apart.append(f"| {row['case']} | {own} | {np.abs(d).max():.4f} |")
    parts = [
        "# One process and several",
        f"{where['cpu']}, {where['cores']} cores, gloo, one thread per process; torch {where['packages']['torch']}. "
        "Made by `python -m benchmarks.measure.process_parity`.",
        "## Without dropout and batch norm",
        "Largest difference from one process: relative in any epoch's training or validation loss, absolute in any "
        "weight of the best epoch. Seed 0.",
        "\n".join(alike),
        "## With dropout or batch norm",
        f"Test accuracy on `digits` of the best epoch by validation loss out of {EPOCHS}, in batches of 64; "
        f"{found['seeds']} seeds, paired.",
        "\n".join(apart),
    ]
    return "\n\n".join(parts) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the page and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20, help="seeds of nets with dropout or batch norm, at least 2")
    parser.add_argument("--out", metavar="DIR", help="folder for parity_cpu.md and parity_cpu.json")
    args = parser.parse_args(argv)
    if args.seeds < 2:
        parser.error(f"--seeds must be at least 2, got {args.seeds}.")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        found = {
            "environment": environment(),
            "seeds": args.seeds,
            "alike": measure_alike(Path(folder) / "alike"),
            "apart": measure_apart(Path(folder) / "apart", args.seeds),
        }
    print(text := page(found))
    if args.out:
        Path(args.out).mkdir(parents=True, exist_ok=True)
        write_atomically(Path(args.out) / "parity_cpu.json", json.dumps(found, indent=1) + "\n")
        write_atomically(Path(args.out) / "parity_cpu.md", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
