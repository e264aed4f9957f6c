"""The command lines on the GPU, each in processes of its own, and checkpoints that are loaded again on the CPU."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from pathlib import Path

import zoo.cli
from zoo.devices import reason_lacking

from ...records.reading import read_curves
from .rows import Findings, Row
from .setting import LOSSES, PROBABILITY, PROBABILITY_TF32, Setting, losses_apart

ROOT = Path(__file__).parents[3]
EPOCHS = 5
LARGEST_CHECKPOINT = 100_000  # bytes, since it is committed
SECONDS = 150  # of one command; the first of a machine also reads torch from the disk
NO_GPU = {"CUDA_VISIBLE_DEVICES": ""}
STUDY = """\
# Do two activations train on the GPU, in packs and alone?
task: fit
base:
  data: {{name: digits}}
  trainer: {{max_epochs: 3, accelerator: {accelerator}}}
vary:
  model:
    relu: {{model.name: mlp, model.activation: relu}}
    tanh: {{model.name: mlp, model.activation: tanh}}
    lenet5: {{model.name: lenet5}}
seeds: 2
baseline: {{model: relu}}
metric: test/accuracy
margin: 0.02
"""


def check(found: Findings, at: Setting) -> None:
    """Run the commands, several at once."""
    jobs: dict[str, Callable[[], None]] = {
        "zoo fit --model mlp": lambda: _use(found, at, "mlp", PROBABILITY),
        "zoo fit --model cnn": lambda: _use(found, at, "cnn", PROBABILITY_TF32),
        "bench run": lambda: _study(found, at),
        "trainer.strategy": lambda: _strategies(found, at),
    }

    def attempt(name: str) -> None:
        with found.attempt(name):
            jobs[name]()

    if at.small:
        attempt("zoo fit --model mlp")
        return
    with ThreadPoolExecutor(len(jobs)) as pool:
        list(pool.map(attempt, jobs))


def run(*arguments: str, more: Mapping[str, str] = {}, seconds: float = SECONDS) -> str:
    """Run a module of this project as a command; returns its output.

    Args:
        *arguments: The module, then its arguments.
        more: Additional environment variables.
        seconds: When to stop it.

    Raises:
        RuntimeError: It failed; the message ends with its output.
        subprocess.TimeoutExpired: It was stopped.
    """
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", *arguments]
    environment = {**os.environ, "PYTHONPATH": paths, **more}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=seconds)
    if done.returncode:
        output = f"{done.stdout}\n{done.stderr}".strip()
        raise RuntimeError(f"{' '.join(arguments[:3])} exited with status {done.returncode}: {output[-500:]}")
    return done.stdout


def _call(at: Setting, *arguments: str, more: Mapping[str, str] = {}) -> str:
    """`run`; in miniature, the command's function in this process."""
    if not at.small:
        return run("zoo.cli", *arguments, more=more)
    printed = io.StringIO()
    with redirect_stdout(printed):
        status = zoo.cli.main(arguments)
    if status:
        raise RuntimeError(f"zoo {arguments[0]} returned {status}: {printed.getvalue()[-500:]}")
    return printed.getvalue()


def _use(found: Findings, at: Setting, name: str, limit: float) -> None:
    """Train, test and predict with `zoo`; predict again without a GPU; keep the checkpoint."""
    out = at.folder / f"zoo-{name}"
    epochs = f"--trainer.max_epochs={1 if at.small else EPOCHS}"
    _call(at, "fit", "--model", name, "--data", "digits", epochs, *_on(at), "--out", str(out))
    result = json.loads((out / "result.json").read_text(encoding="utf-8"))
    device, expected = result["environment"]["device"], "cpu" if at.lacks else "cuda:0"
    pack = result["environment"]["pack_size"]
    note = f"device {device}, {'by Lightning' if pack is None else f'pack of {pack}'}"
    found.require(f"zoo fit --model {name}", device == expected, note)
    printed = _call(at, "test", "--ckpt_path", str(out), *_on(at))
    accuracy = f"{result['metrics']['test/accuracy']:.4f}"
    found.require(f"zoo test --model {name}", accuracy in printed, f"accuracy {accuracy} as after training")
    files = [at.folder / f"{name}-{device}.csv" for device in ("gpu", "cpu")]
    _call(at, "predict", "--ckpt_path", str(out), "--out", str(files[0]), *_on(at))
    _call(at, "predict", "--ckpt_path", str(out), "--out", str(files[1]), more=NO_GPU)
    own, cpu = (_probabilities(file) for file in files)
    apart = max(abs(a - b) for a, b in zip(own, cpu, strict=True))
    note = f"{len(cpu):,} probabilities; the process on the CPU sees no GPU"
    found.compare(f"zoo predict with the checkpoint of {name}, there and on the CPU", apart, limit, note)
    _keep(found, at, name, out / "best.ckpt", result["metrics"])


def _on(at: Setting) -> Sequence[str]:
    return ("--trainer.accelerator", at.accelerator)


def _probabilities(file: Path) -> list[float]:
    with file.open(encoding="utf-8", newline="") as lines:
        return [float(row[name]) for row in csv.DictReader(lines) for name in row if name.startswith("p_")]


def _keep(found: Findings, at: Setting, name: str, checkpoint: Path, metrics: dict[str, float]) -> None:
    size = checkpoint.stat().st_size
    if at.out is None or size > LARGEST_CHECKPOINT:
        reason = f"{size:,} bytes, over {LARGEST_CHECKPOINT:,}" if at.out else "no --out was given"
        found.skip(f"{name}.ckpt is kept", reason)
        return
    shutil.copyfile(checkpoint, at.out / f"{name}.ckpt")
    values = {metric: metrics[metric] for metric in ("test/loss", "test/accuracy")}
    note = f"{size:,} bytes; a test loads it on the CPU and compares its test metrics with these"
    found.add(Row(f"{name}.ckpt is kept", "reported", values["test/accuracy"], note=note, values=values))


def _study(found: Findings, at: Setting) -> None:
    """Run a small study with two workers, again, and verify it."""
    file = at.folder / "small_study.yaml"
    file.write_text(STUDY.format(accelerator=at.accelerator), encoding="utf-8")
    given = ("benchmarks.cli", "run", str(file), "--out", str(at.folder / "runs"), "--workers", "2")
    run(*given)
    store = at.folder / "runs" / file.stem

    def records() -> list[dict]:
        return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(store.glob("trials/*/result.json"))]

    first = records()
    devices = {record["environment"]["device"] for record in first}
    packs = sorted({str(record["environment"]["pack_size"]) for record in first})
    done = len(first) == 6 and {record["status"] for record in first} == {"done"}
    note = f"{len(first)} trials on {', '.join(sorted(devices))}; sizes of packs: {', '.join(packs)}"
    found.require("bench run --workers 2", done and devices == {"cpu" if at.lacks else "cuda:0"}, note)
    run(*given)
    found.require("bench run again runs nothing", records() == first)
    verified = run("benchmarks.cli", "verify", str(store), "--trials", "6", "--workers", "2")
    found.report("bench verify, all trials", verified.strip().rpartition("\n")[2])


def _strategies(found: Findings, at: Setting) -> None:
    """`zoo fit` with each strategy for one GPU, against strategy auto."""
    curves = {}
    for strategy in ("auto", "ddp", "fsdp", "deepspeed"):
        name = f"zoo fit --trainer.strategy {strategy} on one device"
        with found.attempt(name):
            trainer = {"accelerator": at.accelerator, "devices": 1, "strategy": strategy}
            if reason := reason_lacking({"trainer": trainer}):
                found.skip(name, reason)
                continue
            out = at.folder / f"strategy-{strategy}"
            # No pack accumulates gradients, so Lightning also trains with strategy auto.
            flags = [f"--trainer.max_epochs={EPOCHS}", "--trainer.gradient_clip_val=null"]
            flags += ["--trainer.accumulate_grad_batches=2", f"--trainer.strategy={strategy}", "--trainer.devices=1"]
            run("zoo.cli", "fit", "--model", "mlp", "--data", "digits", *flags, *_on(at), "--out", str(out))
            curves[strategy] = read_curves(out / "metrics.csv")
            if strategy != "auto":
                found.compare(f"{name}: losses", losses_apart(curves[strategy], curves["auto"]), LOSSES)
