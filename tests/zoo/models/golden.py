"""Golden loss curves: what each registered model learns in a few epochs, so that a change which shifts numbers is seen.

`python -m tests.zoo.models.golden NAME...` records the curves of these models anew, from the root of the checkout.
Do so for a new model, or where a change is meant to shift numbers; the commit then says why.
"""

import csv
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

import zoo
from zoo.config import resolve
from zoo.train import fit, prepare

FILE = Path(__file__).with_name("golden_curves.json")
LOSSES = ("train/loss", "val/loss")
Curve = dict[str, list[float]]


def config_of(model: str) -> dict[str, Any]:
    """A run of three epochs on 400 handwritten digits, which takes a second."""
    return {
        "seed_everything": 0,
        "model": model,
        "data": {"name": "digits", "train_size": 400, "batch_size": 64},
        "trainer": {"max_epochs": 3, "accelerator": "cpu"},
    }


def machine() -> dict[str, str]:
    """What the last digits depend on; where it is all the same, curves are the same to the last bit."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    facts = dict(tuple(map(str.strip, line.split(":", 1))) for line in reversed(lines) if ":" in line)
    return {
        "cpu": " ".join(facts.get(name, "?") for name in ("model name", "cpu family", "model")),
        "kernels": torch.backends.cpu.get_cpu_capability(),
        "torch": str(torch.__version__),
        "threads": str(torch.get_num_threads()),
    }


def ways_of(model: str) -> list[str]:
    """How it can be trained: by Lightning, and as a pack if it can be stacked."""
    from zoo.pack import reason_to_run_alone

    config = resolve(config_of(model))
    return ["lightning"] + ["packed"] * (not reason_to_run_alone(config, *prepare(config)))


def train(model: str, way: str) -> Curve:
    """The losses by epoch, and the loss on the test split."""
    with tempfile.TemporaryDirectory() as folder:
        result = fit(config_of(model), folder, pack=way == "packed")
        assert (result.environment["pack_size"] is not None) is (way == "packed")
        with (Path(folder) / "metrics.csv").open() as file:
            rows = list(csv.DictReader(file))
    return {name: [float(row[name]) for row in rows] for name in LOSSES} | {"test/loss": [result.metrics["test/loss"]]}


def read() -> dict[str, dict[str, Any]]:
    """What is recorded: for each model, the machine and its curves, by the way of training."""
    return json.loads(FILE.read_text()) if FILE.exists() else {}


def main(names: list[str]) -> None:
    """Record these models' curves anew."""
    golden = read()
    for name in names:
        golden[name] = {"machine": machine(), **{way: train(name, way) for way in ways_of(name)}}
        print(f"{name}: {', '.join(list(golden[name])[1:])}")
    FILE.write_text(json.dumps({name: golden[name] for name in sorted(golden)}, indent=1) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1:] or zoo.list_models())
