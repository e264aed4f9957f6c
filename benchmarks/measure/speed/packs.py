"""Cost of a trial in packs of several sizes, for nets of several widths: when packing stops paying off.

    ZOO_DATA_DIR=... python -m benchmarks.measure.speed.packs [--accelerator gpu] [--out results/speed]

Nets are trained on 1,150 rows with 64 inputs (scikit-learn's digits) or 784 (Fashion-MNIST, if available) with Adam and
validation after each epoch, on one CPU thread or one GPU. The cost of a trial of 30 epochs is estimated from the
difference between a long and a short training run, which cancels set-up. Sizes alternate; results are medians over the
rounds.
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
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from zoo.config import resolve
from zoo.outputs.files import write_atomically
from zoo.outputs.provenance import environment
from zoo.pack import Pack, device_of, largest_pack
from zoo.plain import ResolvedConfig
from zoo.train import fit, make_member

from .epochs import fashion_is_there

SIZES = (1, 5, 10, 20, 50, 100)
EPOCHS = 30
ACTIVATIONS = ("relu", "leaky_relu", "gelu", "tanh", "sigmoid", "silu", "elu", "identity")
ROWS = 1150  # training rows of the digits


class Net(NamedTuple):
    """A net and its batch size, for data with matching features."""

    inputs: int
    hidden_dims: tuple[int, ...]
    batch_size: int

    @property
    def widths(self) -> tuple[int, ...]:
        """Sizes of all layers, including inputs and outputs."""
        return self.inputs, *self.hidden_dims, 10

    def data(self) -> dict[str, Any]:
        """The section `data` of its config, with equal training rows and similar validation rows for both data sets."""
        if self.inputs == 64:
            return {"name": "digits", "batch_size": self.batch_size}
        return {
            "name": "fashion_mnist",
            "batch_size": self.batch_size,
            "train_size": ROWS,
            "val_fraction": 0.005,
        }

    def flops(self) -> float:
        """Floating-point operations of a trial's matrix products: forward, and two backward except for the inputs."""
        weights = [n_in * n_out for n_in, n_out in pairwise(self.widths)]
        return EPOCHS * 2 * ROWS * (3 * sum(weights) - weights[0])


NETS = (
    *(Net(64, (width, width), 64) for width in (32, 64, 128, 256, 512)),
    Net(784, (64, 64), 64),
    Net(784, (128,), 128),
    Net(784, (256, 256), 64),
    Net(784, (256, 256), 128),
)


@cache
def _resolved(net: Net, activation: str, accelerator: str) -> ResolvedConfig:
    hidden = list(net.hidden_dims)
    return resolve(
        {
            "model": {"name": "mlp", "hidden_dims": hidden, "activation": activation, "schedule": "cosine"},
            "data": net.data(),
            "trainer": {"max_epochs": EPOCHS, "accelerator": accelerator},
            "callbacks": {"early_stopping": {"patience": EPOCHS}},
        }
    )


def config(net: Net, number: int, epochs: int, accelerator: str = "cpu") -> ResolvedConfig:
    """The config of a trial by number, with activations varying fastest, then seeds."""
    seed, activation = divmod(number, len(ACTIVATIONS))
    resolved = _resolved(net, ACTIVATIONS[activation], accelerator)
    trainer = {**resolved["trainer"], "max_epochs": epochs}
    return ResolvedConfig({**resolved, "seed_everything": seed, "trainer": trainer})


def pack_seconds(net: Net, size: int, epochs: int, accelerator: str = "cpu") -> float:
    """Wall seconds of training a pack, including the test, excluding the set-up of its members."""
    shared: dict[str, Any] = {}
    members = [make_member(config(net, n, epochs, accelerator), shared) for n in range(size)]
    device = device_of(members[0].config)
    assert device is not None
    start = time.perf_counter()
    Pack(members, device).fit()
    return time.perf_counter() - start


def lightning_seconds(net: Net, epochs: int, accelerator: str) -> float:
    """The same for a single trial trained by Lightning."""
    with tempfile.TemporaryDirectory() as out:
        return fit(config(net, 0, epochs, accelerator), out, pack=False).train_seconds


def peak(device: torch.device) -> float:
    """Peak float32 operations per second of a matrix product on this machine, over several sizes."""
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


def measure(accelerator: str, rounds: int, nets: Sequence[Net], sizes: Sequence[int]) -> dict[str, Any]:
    """Seconds per trial of 30 epochs, by net and pack size; size 0 is Lightning."""
    device = device_of(config(NETS[0], 0, 1, accelerator))
    if device is None:
        raise SystemExit(f"this machine has no {accelerator}; omit --accelerator.")
    rows = []
    for net in nets:
        seconds: dict[int, list[float]] = {size: [] for size in (0, *sizes)}
        pack_seconds(net, 2, 2, accelerator), lightning_seconds(net, 1, accelerator)  # warm-up
        member = make_member(config(net, 0, 1, accelerator), {})
        n_parameters = sum(p.numel() for p in member.model.parameters())
        budget = 6e6 / n_parameters  # trials times timed epochs, so that each size does a similar amount of work
        for _ in range(rounds):
            for size, found in seconds.items():
                more = int(max(2, min(20, budget // max(size, 1))))
                if size == 0:
                    took = lightning_seconds(net, 1 + more, accelerator) - lightning_seconds(net, 1, accelerator)
                else:
                    took = pack_seconds(net, size, 1 + more, accelerator) - pack_seconds(net, size, 1, accelerator)
                found.append(took / more * EPOCHS / max(size, 1))
        rows.append(
            {
                "net": "-".join(map(str, net.widths)),
                "batch_size": net.batch_size,
                "parameters": n_parameters,
                "gflop": net.flops() / 1e9,
                "auto": largest_pack(member.blocks, net.batch_size, sum(map(len, member.data.indices.values()))),
                "seconds": {size: statistics.median(found) for size, found in seconds.items()},
                "rounds": seconds,
            }
        )
        print(json.dumps(rows[-1] | {"rounds": None}), file=sys.stderr, flush=True)
    return {"device": str(device), "peak_gflops": peak(device) / 1e9, "environment": environment(), "rows": rows}


def table(found: dict[str, Any]) -> str:
    """The measurements as Markdown."""
    where = found["environment"]
    gpu = "" if found["device"] == "cpu" else f"{where['gpus'][0]}, "
    sizes = [size for size in found["rows"][0]["seconds"] if size > 0]
    lines = [
        "# Cost of a trial in a pack",
        "",
        f"{gpu}{where['cpu']}, {where['cores']} cores, {where['threads']} thread(s); torch "
        f"{where['packages']['torch']}. Seconds for a trial of {EPOCHS} epochs on {found['device']}: {ROWS:,} training "
        "rows, medians. *gain*: cost of a trial alone (K = 1) over its lowest cost in a pack; packing does not pay "
        "off near 1. *auto*: the largest pack that `--pack auto` makes. *peak*: the fraction that the fastest pack "
        f"reaches of the {found['peak_gflops']:,.0f} GFLOP/s (float32) of one large matrix product here.",
        "",
        "| net | batch | parameters | Lightning | " + " | ".join(f"K = {k}" for k in sizes) + " | gain | auto | peak |",
        "|---" + "|--:" * (len(sizes) + 6) + "|",
    ]
    for row in found["rows"]:
        best = min(row["seconds"][size] for size in sizes)
        cells = [row["net"], str(row["batch_size"]), f"{row['parameters']:,}"]
        cells += [f"{row['seconds'][size]:.3f}" for size in (0, *sizes)]
        share = row["gflop"] / best / found["peak_gflops"]
        cells += [f"{row['seconds'][1] / best:.1f}" if 1 in sizes else "", str(row["auto"]), f"{share:.0%}"]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "Made by `python -m benchmarks.measure.speed.packs`.", ""]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table, and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accelerator", choices=["cpu", "gpu"], default="cpu")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--nets", type=int, default=len(NETS), help="number of nets to measure, smallest first")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--out", help="folder for packs_ACCELERATOR.md and .json")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    nets = [net for net in NETS[: args.nets] if net.inputs == 64 or fashion_is_there()]
    found = measure(args.accelerator, args.rounds, nets, args.sizes)
    text = table(found)
    print(text)
    if args.out:
        Path(args.out).mkdir(parents=True, exist_ok=True)
        write_atomically(Path(args.out) / f"packs_{args.accelerator}.json", json.dumps(found, indent=1) + "\n")
        write_atomically(Path(args.out) / f"packs_{args.accelerator}.md", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
