"""Seconds per trial of whole commands: `bench run activations` and the peers, each in a separate process."""

import importlib.util
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..harness_speed import process

EPOCHS, SEEDS = 30, 10
FEW_SEEDS = 3  # for peers without a goal
MANY_SEEDS = 50  # if 40 trials take about a second, which is less than the variation of the imports
EIGHT = ("relu", "leaky_relu", "gelu", "tanh", "sigmoid", "silu", "elu", "identity")
FOUR = ("relu", "tanh", "sigmoid", "identity")
CONSTANT = ("--set", "model.schedule=constant")  # scikit-learn's Adam has no schedule
ROBUST = ("--set", "model.norm=batch", "--set", "model.dropout=0.3")
Sample = dict[str, Any]


@dataclass(frozen=True)
class Command:
    """A measured command.

    Attributes:
        name: Name in the table.
        activations: Activations that it compares.
        seeds: Number of seeds per activation.
        run: Runs the command for a number of epochs; returns wall seconds, MiB of its largest process, and the test
            accuracies of each activation by seed (the mean for a peer).
    """

    name: str
    activations: tuple[str, ...]
    seeds: int
    run: Callable[[int], Sample]

    @property
    def trials(self) -> int:
        """Number of trials."""
        return len(self.activations) * self.seeds


def bench(activations: tuple[str, ...], seeds: int, epochs: int, *settings: str) -> Sample:
    """`bench run activations` with these activations at one learning rate, as a user would run it."""
    filters = ["--filter", "model.lr=0.001"]
    filters += [word for name in activations for word in ("--filter", f"model.activation={name}")]
    given = ["run", "activations", "--seeds", str(seeds), "--set", f"trainer.max_epochs={epochs}", *filters, *settings]
    with tempfile.TemporaryDirectory() as out:
        spent = process("-m", "benchmarks.cli", *given, "--out", out)
        records = [json.loads(path.read_text()) for path in Path(out).glob("activations/trials/*/result.json")]
    done = [record for record in records if record["status"] == "done" and record["epochs_run"] == epochs]
    if len(done) != seeds * len(activations):
        raise RuntimeError(f"only {len(done)} of {seeds * len(activations)} trials trained every epoch")
    accuracy: dict[str, list[float]] = {name: [] for name in activations}
    for record in sorted(done, key=lambda record: record["seed"]):
        accuracy[record["varied"]["model.activation"]].append(record["metrics"]["test/accuracy"])
    workers = max(record["peak_memory_bytes"]["host"] for record in done) / 2**20
    return {"seconds": spent.seconds, "mib": max(spent.mib, workers), "accuracy": accuracy}


def peer(module: str, activations: tuple[str, ...], seeds: int, epochs: int, *more: str) -> Sample:
    """A command of `benchmarks.measure.peers`."""
    given = ["--activations", *activations, "--seeds", str(seeds), "--epochs", str(epochs), *more]
    spent = process("-m", f"benchmarks.measure.peers.{module}", *given)
    said = json.loads(spent.said.strip().splitlines()[-1])
    return {"seconds": spent.seconds, "mib": spent.mib, "accuracy": said["test_accuracy"]}


COMMANDS = (
    Command("bench, 8 activations", EIGHT, SEEDS, lambda e: bench(EIGHT, SEEDS, e)),
    Command("lightning_loop, 8 activations", EIGHT, SEEDS, lambda e: peer("lightning_loop", EIGHT, SEEDS, e)),
    Command("bench, robust", EIGHT, SEEDS, lambda e: bench(EIGHT, SEEDS, e, *ROBUST)),
    Command("lightning_loop, robust", EIGHT, SEEDS, lambda e: peer("lightning_loop", EIGHT, SEEDS, e, "--robust")),
    Command("bench, 4 activations", FOUR, MANY_SEEDS, lambda e: bench(FOUR, MANY_SEEDS, e, *CONSTANT)),
    Command("sklearn_mlp, 4 activations", FOUR, MANY_SEEDS, lambda e: peer("sklearn_mlp", FOUR, MANY_SEEDS, e)),
    Command("bare_loop, 8 activations", EIGHT, FEW_SEEDS, lambda e: peer("bare_loop", EIGHT, FEW_SEEDS, e)),
    Command("skorch_net, 8 activations", EIGHT, FEW_SEEDS, lambda e: peer("skorch_net", EIGHT, FEW_SEEDS, e)),
)


def measure_commands(rounds: int, only: str = "") -> Iterator[tuple[str, Sample]]:
    """Seconds per trial, total seconds, memory and accuracy of each command that can run here, per round.

    Args:
        rounds: Number of rounds.
        only: Run only commands whose name contains this.
    """
    there = [c for c in COMMANDS if only in c.name and ("skorch" not in c.name or importlib.util.find_spec("skorch"))]
    for command in there:
        command.run(1)  # warm-up: file cache and byte code
    for _ in range(rounds):
        for command in there:
            long, short = command.run(EPOCHS), command.run(1)
            a_trial = (long["seconds"] - short["seconds"]) / command.trials * EPOCHS / (EPOCHS - 1)
            yield command.name, {**long, "whole": long["seconds"], "seconds": a_trial}
