"""The rows of the study `strategies` that need one GPU, by the real command with one seed."""

import json
import subprocess
from pathlib import Path
from typing import Any

from .commands import run
from .rows import Findings, Row
from .setting import ACCURACY, Setting

MODELS = ("mlp", "cnn")
SECONDS, TABLE_SECONDS = 170, 110
BASELINE = "1 CPU"
TRAINERS = (BASELINE, "1 GPU", "1 GPU bf16", "1 GPU compiled")


def check(found: Findings, at: Setting) -> None:
    """Run the trials, and compare the accuracy of each with that of one CPU."""
    if at.lacks:
        found.skip("the GPU rows of the study strategies", at.lacks)
        return
    filters = [f"trainer={name}" for name in TRAINERS] + [f"model={name}" for name in MODELS]
    given = [word for text in filters for word in ("--filter", text)]
    out = at.folder / "runs"
    with found.attempt("bench run strategies"):
        try:
            run("benchmarks.cli", "run", "strategies", "--seeds", "1", *given, "--out", str(out), seconds=SECONDS)
        finally:  # trials that are done have records, whatever became of the command
            _add_rows(found, out / "strategies")


def _add_rows(found: Findings, store: Path) -> None:
    read = (json.loads(path.read_text(encoding="utf-8")) for path in store.glob("trials/*/result.json"))
    records = {record["variant"]: record for record in read}
    for model in MODELS:
        for trainer in TRAINERS:
            name, record = f"strategies: {trainer}, {model}", records.get(_variant(trainer, model))
            if record is None:
                found.skip(name, "the command ended before this trial")
            elif record["status"] != "done":
                found.add(Row(name, "failed", note=f"{record['status']}: {record['reason']}"))
            else:
                _add_row(found, name, record["metrics"], records.get(_variant(BASELINE, model)))


def _variant(trainer: str, model: str) -> str:
    """The name of a variant in the study's records."""
    return f"trainer={trainer}, model={model}"


def _add_row(found: Findings, name: str, metrics: dict[str, float], baseline: dict[str, Any] | None) -> None:
    note = (
        f"test accuracy {metrics['test/accuracy']:.4f}, test loss {metrics['test/loss']:.4f}, "
        f"{metrics['samples_per_second']:,.0f} samples per second, ready after {metrics['startup_seconds']:.1f} s"
    )
    values = {name: metrics[name] for name in ("test/accuracy", "test/loss", "samples_per_second", "startup_seconds")}
    expected = metrics if baseline is None else baseline["metrics"]
    found.compare(name, abs(metrics["test/accuracy"] - expected["test/accuracy"]), ACCURACY, note, **values)


def check_table(found: Findings, at: Setting) -> None:
    """`python -m benchmarks.measure.speed.packs` on the GPU, with few nets and rounds."""
    name = "benchmarks.measure.speed.packs"
    if at.lacks:
        found.skip(name, f"{at.lacks}; results/speed/packs_cpu.md has the CPU's")
        return
    out = at.out or at.folder
    given = ("--accelerator", "gpu", "--rounds", "1", "--nets", "4", "--sizes", "1", "10", "100", "--out", str(out))
    try:
        run(name, *given, seconds=TABLE_SECONDS)
        found.require(name, (out / "packs_gpu.md").is_file(), "see packs_gpu.md")
    except subprocess.TimeoutExpired as error:
        found.skip(name, f"not done after {error.timeout:.0f} s")
