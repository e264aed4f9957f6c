"""The measurements as Markdown, with their goals."""

import math
import statistics
from collections.abc import Mapping
from typing import Any

from .commands import COMMANDS, EPOCHS, FEW_SEEDS, MANY_SEEDS, SEEDS, Sample

Samples = dict[str, list[Sample]]  # by name of the measurement, one per round
Goals = tuple[float | None, float | None]  # the required value, and the better value aimed at

# Comparisons, and the required speed-up per trial.
RATIOS: tuple[tuple[str, str, Goals], ...] = (
    ("bench, 8 activations", "lightning_loop, 8 activations", (20, 60)),
    ("bench, 4 activations", "sklearn_mlp, 4 activations", (2, 4)),
    ("bench, robust", "lightning_loop, robust", (12, None)),
    ("bench, 8 activations", "bare_loop, 8 activations", (None, None)),
    ("bench, 8 activations", "skorch_net, 8 activations", (None, None)),
)
ACCURACY_GAP = 0.015
WHOLE, WHOLE_SECONDS = "bench, 8 activations", 30
# The same for `zoo fit`: maximum time relative to the other.
FITS: tuple[tuple[str, str, Goals], ...] = (
    ("fit 784-256-256-10", "bare loop 784-256-256-10", (1.3, 1.1)),
    ("fit 64-64-64-10", "bare loop 64-64-64-10", (2.0, 1.25)),
    ("fit 784-256-256-10", "fused loop 784-256-256-10", (None, None)),
    ("fit 64-64-64-10", "fused loop 64-64-64-10", (None, None)),
    ("fit, Fashion-MNIST", "DataLoader, 0 workers", (None, None)),
    ("fit, Fashion-MNIST", "DataLoader, 2 workers", (None, None)),
)


def table(found: dict[str, Any]) -> str:
    """The measurements as Markdown.

    Args:
        found: The `rounds`, the `environment`, the `samples`, and the separate runs that some are from
            (`again`, each with its `names`, `rounds` and `commit`).
    """
    where, samples = found["environment"], found["samples"]
    packages = ", ".join(f"{name} {version}" for name, version in where["packages"].items())
    parts = [
        "# Speed",
        f"{where['cpu']}, {where['cores']} cores, {where['platform']}, Python {where['python']}, {packages}. "
        "One thread per process; `bench` and scikit-learn use one process per core. Medians of "
        f"{found['rounds']} alternating rounds after a warm-up; minimum to maximum in brackets." + separate_runs(found),
        f"## Seconds per trial of {EPOCHS} epochs",
        f"A 64-64 net on scikit-learn's digits in batches of 64, {SEEDS} seeds of each activation ({FEW_SEEDS} in the "
        f"bare loop and skorch, {MANY_SEEDS} with 4 activations). *robust* has batch norm and dropout in "
        "each block; scikit-learn has no schedule, so `bench` uses none there. Every trial trains all epochs. "
        f"Mean accuracies over the same seeds must be within {ACCURACY_GAP} of the peers', which draw different test "
        "rows for each seed.",
        _rows(
            [
                "this project",
                "seconds per trial",
                "by hand",
                "seconds per trial",
                "speed-up",
                *GOALS,
                "largest accuracy gap",
            ],
            [
                [
                    *_compared(found, ours, theirs, goals, "skipped: pip install skorch"),
                    accuracy_gap(samples, ours, theirs),
                ]
                for ours, theirs, goals in RATIOS
            ],
        ),
        "## The whole command, including imports and report",
        _rows(
            ["command", "trials", "seconds", "required", "reached", "MiB of its largest process"],
            [_whole(samples, command.name, command.trials) for command in COMMANDS if command.name in samples],
        ),
        "## Seconds per epoch of one run",
        "`zoo fit` also clips, validates with AUROC and keeps the best epoch; the loops do nothing else. The fused "
        "loop uses `Adam(fused=True)`, which is not the default. DataLoader reads torchvision's data set with its "
        "transforms.",
        _rows(
            ["this project", "seconds per epoch", "by hand", "seconds per epoch", "time ratio", *GOALS],
            [
                _compared(found, ours, theirs, goals, "skipped: no Fashion-MNIST below $ZOO_DATA_DIR", at_most=True)
                for ours, theirs, goals in FITS
            ],
        ),
        "## Elsewhere",
        "A pack of 50 on one GPU, which must take at most 3 times as long as a single trial: "
        + (f"see packs_gpu.md ({', '.join(where['gpus'])})." if where["gpus"] else "skipped, this machine has no GPU.")
        + " Cost of a trial in packs of several sizes: [packs_cpu.md](packs_cpu.md).",
        "Made by `python -m benchmarks.measure.speed`.",
    ]
    return "\n\n".join(parts) + "\n"


GOALS = ("required", "target", "reached")


def reached(value: float, goals: Goals, at_most: bool = False) -> str:
    """Which of the goals a ratio meets: target, required or none; empty if there is no goal."""
    required, target = (goal if goal is None or not at_most else -goal for goal in goals)
    value = -value if at_most else value
    if required is None or math.isnan(value):
        return ""
    if target is not None and value >= target:
        return "target"
    return "required" if value >= required else "none"


def accuracy_gap(samples: Samples, ours: str, theirs: str) -> str:
    """The largest difference in mean accuracy of any activation, and that activation."""
    if not (samples.get(ours) and samples.get(theirs)):
        return ""
    own, other = samples[ours][0]["accuracy"], samples[theirs][0]["accuracy"]
    seeds = next(command.seeds for command in COMMANDS if command.name == theirs)
    gaps = {name: statistics.mean(own[name][:seeds]) - other[name] for name in other}
    worst = max(gaps, key=lambda name: abs(gaps[name]))
    return f"{gaps[worst]:+.4f} ({worst})"


def median(samples: Samples, name: str, what: str = "seconds") -> float:
    """The median of the measurements; NaN if there are none."""
    values = [sample[what] for sample in samples.get(name, [])]
    return statistics.median(values) if values else math.nan


def separate_runs(found: Mapping[str, Any], names: Mapping[str, str] | None = None) -> str:
    """A sentence on each separate run; empty if there are none.

    Args:
        found: See `table`.
        names: The measurements to list, and what they are called; by default all, under their own names.
    """
    sentences = ""
    for run in found["again"]:
        if shown := [name if names is None else names[name] for name in run["names"] if names is None or name in names]:
            where = f" at commit {run['commit'][:7]}" if run["commit"] else ""
            rounds = f"{run['rounds']} round{'s' * (run['rounds'] > 1)}"
            sentences += f" Measured in a separate run, {rounds}{where}: {'; '.join(shown)}."
    return sentences


def together(found: Mapping[str, Any], ours: str, theirs: str) -> bool:
    """Whether two measurements took turns in one run, so that their ratio can be trusted."""
    runs = [next((n for n, run in enumerate(found["again"]) if name in run["names"]), None) for name in (ours, theirs)]
    return runs[0] == runs[1]


def _compared(
    found: Mapping[str, Any], ours: str, theirs: str, goals: Goals, skipped: str, at_most: bool = False
) -> list[str]:
    samples = found["samples"]
    own, other = median(samples, ours), median(samples, theirs)
    ratio = own / other if at_most else other / own
    if not math.isnan(ratio) and not together(found, ours, theirs):
        ratio, skipped = math.nan, "not measured together"
    times = skipped if math.isnan(ratio) else f"{ratio:.2f}" if at_most else f"{ratio:.1f}"
    asked = ["" if goal is None else f"{goal:g}" for goal in goals]
    return [
        ours,
        _spread(samples, ours),
        theirs,
        _spread(samples, theirs),
        times,
        *asked,
        reached(ratio, goals, at_most),
    ]


def _whole(samples: Samples, name: str, trials: int) -> list[str]:
    mib = max(sample["mib"] for sample in samples[name])
    asked = ["", ""]
    if name == WHOLE:
        within = median(samples, name, "whole") <= WHOLE_SECONDS
        asked = [f"at most {WHOLE_SECONDS}", "yes" if within else "no"]
    return [name, str(trials), _spread(samples, name, "whole", ".1f"), *asked, f"{mib:.0f}"]


def _spread(samples: Samples, name: str, what: str = "seconds", form: str = ".4f") -> str:
    """A median with minimum and maximum."""
    values = sorted(sample[what] for sample in samples.get(name, []))
    if not values:
        return ""
    return f"{statistics.median(values):{form}} ({values[0]:{form}} to {values[-1]:{form}})"


def _rows(header: list[str], rows: list[list[str]]) -> str:
    rule = ["---" if name in ("this project", "by hand", "command") else "--:" for name in header]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))
