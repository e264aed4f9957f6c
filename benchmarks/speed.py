"""How fast this project is beside what people write by hand, side by side in one run.

    ZOO_DATA_DIR=... python -m benchmarks.speed --out results/speed

Peers (`benchmarks/peers/`) and this project take turns, A B A B, `--rounds` times after a warm-up; figures are
medians, each with its lowest and highest. Commands are real ones, each in a process of its own; their seconds a trial
are (wall at 30 epochs - wall at 1 epoch) / trials x 30/29, so that imports, checks and the report drop out. Every epoch
is trained: early stopping never counts as speed. What a machine lacks is a skipped row with its reason.
"""

import argparse
import importlib.util
import json
import math
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datamodules.errors import InputError
from zoo.files import write_atomically
from zoo.provenance import environment

from .harness_speed import process

EPOCHS, SEEDS = 30, 10
EIGHT = ("relu", "leaky_relu", "gelu", "tanh", "sigmoid", "silu", "elu", "identity")
FOUR = ("relu", "tanh", "sigmoid", "identity")
ROBUST = ("--set", "model.norm=batch", "--set", "model.dropout=0.3")
Samples = dict[str, list[dict[str, Any]]]  # by the name of what was measured, one a round


@dataclass(frozen=True)
class Command:
    """Something measured from outside.

    Attributes:
        name: What it is called.
        trials: How many it trains.
        run: Runs it for so many epochs; returns wall seconds, MiB of its largest process, and accuracies.
    """

    name: str
    trials: int
    run: Callable[[int], dict[str, Any]]


def bench(activations: tuple[str, ...], epochs: int, *settings: str) -> dict[str, Any]:
    """`bench run activations` with these activations, as a user gives it."""
    filters = [word for name in activations for word in ("--filter", f"model.activation={name}")]
    given = ["run", "activations", "--seeds", str(SEEDS), "--set", f"trainer.max_epochs={epochs}", *filters, *settings]
    with tempfile.TemporaryDirectory() as out:
        spent = process("-m", "benchmarks.cli", *given, "--out", out)
        records = [json.loads(path.read_text()) for path in Path(out).glob("activations/trials/*/result.json")]
    done = [record for record in records if record["status"] == "done" and record["epochs_run"] == epochs]
    if len(done) != SEEDS * len(activations):
        raise RuntimeError(f"{len(done)} of {SEEDS * len(activations)} trials trained every epoch")
    accuracy = {
        name: statistics.mean(r["metrics"]["test/accuracy"] for r in done if r["varied"]["model.activation"] == name)
        for name in activations
    }
    workers = max(record["peak_memory_bytes"]["host"] for record in done) / 2**20
    return {"seconds": spent.seconds, "mib": max(spent.mib, workers), "accuracy": accuracy}


def peer(module: str, activations: tuple[str, ...], seeds: int, epochs: int, *more: str) -> dict[str, Any]:
    """One of `benchmarks.peers`."""
    given = ["--activations", *activations, "--seeds", str(seeds), "--epochs", str(epochs), *more]
    spent = process("-m", f"benchmarks.peers.{module}", *given)
    said = json.loads(spent.said.strip().splitlines()[-1])
    return {"seconds": spent.seconds, "mib": spent.mib, "accuracy": said["test_accuracy"]}


COMMANDS = (
    Command("bench, 8 activations", 8 * SEEDS, lambda e: bench(EIGHT, e)),
    Command("lightning_loop, 8 activations", 8, lambda e: peer("lightning_loop", EIGHT, 1, e)),
    Command("bench, robust", 8 * SEEDS, lambda e: bench(EIGHT, e, *ROBUST)),
    Command("lightning_loop, robust", 8, lambda e: peer("lightning_loop", EIGHT, 1, e, "--robust")),
    Command("bench, 4 activations", 4 * SEEDS, lambda e: bench(FOUR, e)),
    Command("sklearn_mlp, 4 activations", 4 * SEEDS, lambda e: peer("sklearn_mlp", FOUR, SEEDS, e)),
    Command("bare_loop, 8 activations", 8, lambda e: peer("bare_loop", EIGHT, 1, e)),
    Command("skorch_net, 8 activations", 8, lambda e: peer("skorch_net", EIGHT, 1, e)),
)
# What is compared with what, and how many times fewer seconds a trial are the reach and the aim.
RATIOS = (
    ("bench, 8 activations", "lightning_loop, 8 activations", 20, 60),
    ("bench, 4 activations", "sklearn_mlp, 4 activations", 2, 4),
    ("bench, robust", "lightning_loop, robust", 12, None),
    ("bench, 8 activations", "bare_loop, 8 activations", None, None),
    ("bench, 8 activations", "skorch_net, 8 activations", None, None),
)
# The same for `zoo fit`: at most so many times the seconds of the other.
FITS = (
    ("fit 784-256-256-10", "bare loop 784-256-256-10", 1.3, 1.1),
    ("fit 64-64-64-10", "bare loop 64-64-64-10", 2.0, 1.25),
    ("fit, Fashion-MNIST", "DataLoader, 0 workers", None, None),
    ("fit, Fashion-MNIST", "DataLoader, 2 workers", None, None),
)
WHOLE_SECONDS = 30


def measure_commands(rounds: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Seconds a trial, whole seconds, memory and accuracy of each command, round by round."""
    there = [c for c in COMMANDS if "skorch" not in c.name or importlib.util.find_spec("skorch")]
    for command in there:
        command.run(1)  # warm-up: files into memory, byte code written
    for _ in range(rounds):
        for command in there:
            long, short = command.run(EPOCHS), command.run(1)
            a_trial = (long["seconds"] - short["seconds"]) / command.trials * EPOCHS / (EPOCHS - 1)
            yield command.name, {**long, "whole": long["seconds"], "seconds": a_trial}


def measure_fits(rounds: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Seconds an epoch of `zoo.train.fit` and of loops by hand, in this process on one thread, round by round."""
    import torch

    from .epoch_speed import bare_epochs, fit_epochs, loader_epochs

    torch.set_num_threads(1)
    # Name: (seconds of so many epochs, epochs that are timed); what takes turns with what stands together.
    runs: dict[str, tuple[Callable[[int], float], int]] = {
        "fit 64-64-64-10": (lambda e: fit_epochs(DIGITS, e), 20),
        "bare loop 64-64-64-10": (lambda e: bare_epochs(DIGITS, e), 20),
    }
    if fashion_is_there():
        runs |= {
            "fit 784-256-256-10": (lambda e: fit_epochs(WIDE, e), 3),
            "bare loop 784-256-256-10": (lambda e: bare_epochs(WIDE, e), 3),
            "fit, Fashion-MNIST": (lambda e: fit_epochs(FASHION, e), 1),
            "DataLoader, 0 workers": (lambda e: loader_epochs(FASHION, e, 0), 1),
            "DataLoader, 2 workers": (lambda e: loader_epochs(FASHION, e, 2), 1),
        }
    for run, _ in runs.values():
        run(1)
    for _ in range(rounds):
        for name, (run, epochs) in runs.items():
            yield name, {"seconds": (run(1 + epochs) - run(1)) / epochs}


DIGITS = {"model": {"name": "mlp", "hidden_dims": [64, 64]}, "data": {"name": "digits", "batch_size": 64}}
WIDE = {
    "model": {"name": "mlp", "hidden_dims": [256, 256]},
    "data": {"name": "fashion_mnist", "batch_size": 64, "train_size": 12_000},
}
FASHION = {"model": {"name": "mlp", "hidden_dims": [128]}, "data": {"name": "fashion_mnist", "batch_size": 128}}


def fashion_is_there() -> bool:
    """Whether Fashion-MNIST can be loaded without a download."""
    from datamodules import create_datamodule

    root = os.environ.get("ZOO_DATA_DIR")
    if root is None or not (Path(root) / "FashionMNIST" / "raw").is_dir():
        return False
    try:
        create_datamodule("fashion_mnist", seed=0).setup()
    except InputError:
        return False
    return True


def median(samples: Samples, name: str, what: str = "seconds") -> float:
    """The median of what was measured; NaN where nothing was."""
    values = [sample[what] for sample in samples.get(name, [])]
    return statistics.median(values) if values else math.nan


def table(found: dict[str, Any]) -> str:
    """The measurements as Markdown, with what was to be reached beside them."""
    where, samples = found["environment"], found["samples"]
    lines = [
        "# Speed",
        "",
        f"{where['cpu']}, {where['cores']} cores, {where['platform']}, Python {where['python']}, "
        + ", ".join(f"{name} {version}" for name, version in where["packages"].items())
        + ". One thread a process (`bench` and scikit-learn run two processes). Medians of "
        f"{found['rounds']} rounds in which all take turns; lowest to highest in brackets.",
        "",
        f"## Seconds a trial of {EPOCHS} epochs",
        "",
        "64-64 net on scikit-learn's digits, batches of 64. *robust* has batch norm and dropout in each block.",
        "",
        "| this | seconds a trial | by hand | seconds a trial | times fewer | reach | aim | accuracy, largest gap |",
        "|---|--:|---|--:|--:|--:|--:|--:|",
    ]
    for ours, theirs, reach, aim in RATIOS:
        own, other = median(samples, ours), median(samples, theirs)
        times = f"{other / own:.1f}" if not math.isnan(other) else "skipped: pip install skorch"
        cells = [ours, spread(samples, ours), theirs, spread(samples, theirs), times, said(reach), said(aim)]
        lines.append(f"| {' | '.join([*cells, accuracy_gap(samples, ours, theirs)])} |")
    lines += ["", "## The whole command, imports and report included", ""]
    lines += ["| what | trials | seconds | reach | MiB of its largest process |", "|---|--:|--:|--:|--:|"]
    for command in COMMANDS:
        if command.name in samples:
            limit = f"at most {WHOLE_SECONDS}" if command.name == "bench, 8 activations" else ""
            mib = max(sample["mib"] for sample in samples[command.name])
            whole = spread(samples, command.name, "whole", ".1f")
            lines.append(f"| {command.name} | {command.trials} | {whole} | {limit} | {mib:.0f} |")
    lines += ["", "## Seconds an epoch of one run", ""]
    lines += [
        "`zoo fit` also clips, validates with AUROC and keeps the best checkpoint; the loops do nothing else.",
        "",
    ]
    lines += ["| this | seconds an epoch | by hand | seconds an epoch | times as long | reach | aim |"]
    lines += ["|---|--:|---|--:|--:|--:|--:|"]
    for ours, theirs, most, best in FITS:
        own, other = median(samples, ours), median(samples, theirs)
        times = f"{own / other:.2f}" if not math.isnan(other) else "skipped: no Fashion-MNIST below $ZOO_DATA_DIR"
        cells = [ours, spread(samples, ours, form=".4f"), theirs, spread(samples, theirs, form=".4f"), times]
        lines.append(f"| {' | '.join([*cells, said(most), said(best)])} |")
    gpus = ", ".join(where["gpus"]) or "skipped: this machine has none"
    lines += ["", f"GPU: {gpus}. What a trial costs in packs of several sizes: [packs_cpu.md](packs_cpu.md).", ""]
    lines += ["Made by `python -m benchmarks.speed`.", ""]
    return "\n".join(lines)


def spread(samples: Samples, name: str, what: str = "seconds", form: str = ".4f") -> str:
    """A median with the lowest and the highest."""
    values = sorted(sample[what] for sample in samples.get(name, []))
    if not values:
        return ""
    return f"{statistics.median(values):{form}} ({values[0]:{form}} to {values[-1]:{form}})"


def said(number: float | None) -> str:
    """A number that was asked for, if one was."""
    return "" if number is None else f"{number:g}"


def accuracy_gap(samples: Samples, ours: str, theirs: str) -> str:
    """The largest difference of any activation's mean accuracy, and whose."""
    if not (samples.get(ours) and samples.get(theirs)):
        return ""
    own, other = samples[ours][0]["accuracy"], samples[theirs][0]["accuracy"]
    gaps = {name: own[name] - other[name] for name in other}
    worst = max(gaps, key=lambda name: abs(gaps[name]))
    return f"{gaps[worst]:+.4f} ({worst})"


def main() -> int:
    """Measure, print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", metavar="DIR", help="write speed.md and speed.json there")
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    samples: Samples = {}
    for measured in (measure_fits, measure_commands):
        for name, sample in measured(args.rounds):
            samples.setdefault(name, []).append(sample)
            print(f"{name}: {sample['seconds']:.4f} s", file=sys.stderr, flush=True)
    text = table(found := {"rounds": args.rounds, "environment": environment(), "samples": samples})
    print(text)
    if args.out:
        Path(args.out).mkdir(parents=True, exist_ok=True)
        write_atomically(Path(args.out) / "speed.json", json.dumps(found, indent=1) + "\n")
        write_atomically(Path(args.out) / "speed.md", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
