"""What a trial costs in packs of several sizes, for nets of several widths: where packing stops paying.

    python -m benchmarks.pack_speed [--accelerator gpu] [--out results/speed]

Nets of two hidden layers on the digits: 1,150 training rows in batches of 64, Adam, validation after each epoch; on one
thread, or on one GPU. A trial's cost is the difference between long and short training over the epochs between them, so
that set-up drops out, for 30 epochs. Sizes take turns, round after round; a figure is the median of the rounds.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from zoo.config import resolve
from zoo.files import write_atomically
from zoo.pack import Pack, device_of, largest_pack
from zoo.provenance import environment
from zoo.train import fit, make_member

WIDTHS = (32, 64, 128, 256, 512)
SIZES = (1, 5, 10, 20, 50, 100)
EPOCHS = 30
ACTIVATIONS = ("relu", "leaky_relu", "gelu", "tanh", "sigmoid", "silu", "elu", "identity")
ROBUST = {"norm": "batch", "dropout": 0.3}


@cache
def _resolved(width: int, activation: str, accelerator: str, robust: bool) -> dict[str, Any]:
    model = {"name": "mlp", "hidden_dims": [width, width], "activation": activation, "schedule": "cosine"}
    return resolve(
        {
            "model": model | (ROBUST if robust else {}),
            "data": {"name": "digits", "batch_size": 64},
            "trainer": {"max_epochs": EPOCHS, "accelerator": accelerator},
            "callbacks": {"early_stopping": {"patience": EPOCHS}},
        }
    )


def config(width: int, number: int, epochs: int, accelerator: str = "cpu", robust: bool = False) -> dict[str, Any]:
    """The config of the trial of that number: activations first, then seeds."""
    seed, activation = divmod(number, len(ACTIVATIONS))
    resolved = _resolved(width, ACTIVATIONS[activation], accelerator, robust)
    return {**resolved, "seed_everything": seed, "trainer": {**resolved["trainer"], "max_epochs": epochs}}


def pack_seconds(width: int, size: int, epochs: int, accelerator: str = "cpu", robust: bool = False) -> float:
    """Wall seconds of so many epochs of a pack of that size, test included, members' set-up excluded."""
    shared: dict[str, Any] = {}
    members = [make_member(config(width, n, epochs, accelerator, robust), shared) for n in range(size)]
    device = device_of(members[0].config)
    assert device is not None
    start = time.perf_counter()
    Pack(members, device).fit()
    return time.perf_counter() - start


def lightning_seconds(width: int, epochs: int, accelerator: str) -> float:
    """The same for one trial alone, through Lightning."""
    with tempfile.TemporaryDirectory() as out:
        return fit(config(width, 0, epochs, accelerator), out, pack=False).train_seconds


def flops(width: int, steps: int) -> float:
    """Those of the matrix products of so many training steps of one net."""
    weights = 64 * width + width * width + width * 10
    return steps * 2 * 64 * (3 * weights - 64 * width)  # forward, and backward twice but to the inputs


def peak(device: torch.device) -> float:
    """The most float32 operations a second of one matrix product here, of several sizes."""
    rates = []
    for n in (512, 1024, 2048) if device.type == "cpu" else (4096, 8192):
        a = torch.randn(n, n, device=device)
        for _ in range(3):
            a @ a
        for _ in range(3):
            _wait(device)
            start = time.perf_counter()
            for _ in range(5):
                a @ a
            _wait(device)
            rates.append(5 * 2 * n**3 / (time.perf_counter() - start))
    return max(rates)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def measure(accelerator: str, rounds: int, widths: Sequence[int], sizes: Sequence[int]) -> dict[str, Any]:
    """Seconds a trial of 30 epochs, by width and size; size 0 is Lightning."""
    device = device_of(config(32, 0, 1, accelerator))
    if device is None:
        raise SystemExit(f"pack_speed: there is no {accelerator} here.")
    steps = EPOCHS * 18
    rows = []
    for width in widths:
        seconds: dict[int, list[float]] = {size: [] for size in (0, *sizes)}
        pack_seconds(width, 2, 2, accelerator), lightning_seconds(width, 1, accelerator)  # warm-up
        for _ in range(rounds):
            for size, found in seconds.items():
                if size == 0:
                    more = 2
                    took = lightning_seconds(width, 1 + more, accelerator) - lightning_seconds(width, 1, accelerator)
                else:  # about as much work for each
                    more = max(2, min(20, 600 // size if width < 256 else 60 // size))
                    took = pack_seconds(width, size, 1 + more, accelerator) - pack_seconds(width, size, 1, accelerator)
                found.append(took / more * EPOCHS / max(size, 1))
        medians = {size: statistics.median(found) for size, found in seconds.items()}
        member = make_member(config(width, 0, 1, accelerator), {})
        rows.append(
            {
                "width": width,
                "parameters": sum(p.numel() for p in member.model.parameters()),
                "gflop": flops(width, steps) / 1e9,
                "auto": largest_pack(member.blocks),
                "seconds": medians,
                "rounds": seconds,
            }
        )
        print(json.dumps(rows[-1] | {"rounds": None}), file=sys.stderr, flush=True)
    return {"device": str(device), "peak_gflops": peak(device) / 1e9, "environment": environment(), "rows": rows}


def table(found: dict[str, Any], sizes: Sequence[int]) -> str:
    """The measurements as Markdown."""
    where = found["environment"]
    gpu = "" if found["device"] == "cpu" else f"{where['gpus'][0]}, "
    lines = [
        "# What a trial costs in a pack",
        "",
        f"{gpu}{where['cpu']}, {where['cores']} cores, {where['threads']} thread(s); torch "
        f"{where['packages']['torch']}. Seconds for a trial of {EPOCHS} epochs on {found['device']}: two hidden layers "
        "on the digits, batches of 64; medians. `auto` is the largest pack that `--pack auto` makes; *peak* is the "
        f"share that a pack of 50 reaches of the {found['peak_gflops']:,.0f} GFLOP/s (float32) of one large matrix "
        "product here.",
        "",
        "| width | parameters | Lightning | " + " | ".join(f"K = {size}" for size in sizes) + " | auto | peak |",
        "|--:" * (len(sizes) + 5) + "|",
    ]
    for row in found["rows"]:
        by_size = [f"{row['seconds'][size]:.3f}" for size in sizes]
        share = row["gflop"] / row["seconds"][50] / found["peak_gflops"] if 50 in row["seconds"] else float("nan")
        cells = [str(row["width"]), f"{row['parameters']:,}", f"{row['seconds'][0]:.3f}", *by_size]
        lines.append(f"| {' | '.join([*cells, str(row['auto']), f'{share:.1%}'])} |")
    lines += ["", "Made by `python -m benchmarks.pack_speed`.", ""]
    return "\n".join(lines)


def main() -> int:
    """Measure, print the table, and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accelerator", choices=["cpu", "gpu"], default="cpu")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--widths", type=int, nargs="+", default=WIDTHS)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--out", help="write packs_ACCELERATOR.md and .json there")
    args = parser.parse_args()
    torch.set_num_threads(1)
    found = measure(args.accelerator, args.rounds, args.widths, args.sizes)
    text = table(found, args.sizes)
    print(text)
    if args.out:
        Path(args.out).mkdir(parents=True, exist_ok=True)
        write_atomically(Path(args.out) / f"packs_{args.accelerator}.json", json.dumps(found, indent=1) + "\n")
        write_atomically(Path(args.out) / f"packs_{args.accelerator}.md", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
