"""How much longer an epoch through `zoo.train.fit` takes than a bare PyTorch loop over sliced tensors.

    ZOO_DATA_DIR=... python -m benchmarks.epoch_speed

Both train 784-128-10 on Fashion-MNIST's training split (48,000 rows) with Adam in batches of 128, on one thread, in one
process, A B A B. The bare loop does nothing else; `fit` also validates, clips, measures and keeps the best checkpoint.
Seconds an epoch are the difference between a run of 1 epoch and one of 1 + EPOCHS, so that fixed costs drop out.
"""

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
import torch.nn.functional as F
from torch import nn

from datamodules import create_datamodule
from datamodules.errors import InputError
from zoo.train import fit

BATCH_SIZE = 128


def bare_epochs(x: torch.Tensor, y: torch.Tensor, epochs: int) -> float:
    """Seconds that so many epochs take in a loop as one writes it by hand. x: (N, 1, 28, 28), y: (N,)."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    start = time.perf_counter()
    for _ in range(epochs):
        order = torch.randperm(len(x))
        for first in range(0, len(x), BATCH_SIZE):
            rows = order[first : first + BATCH_SIZE]
            optimizer.zero_grad()
            F.cross_entropy(net(x[rows]), y[rows]).backward()
            optimizer.step()
    return time.perf_counter() - start


def fit_epochs(epochs: int) -> float:
    """Seconds that so many epochs take in `zoo.train.fit`, validation included, set-up and test excluded."""
    config = {
        "model": {"name": "mlp", "hidden_dims": [128]},
        "data": {"name": "fashion_mnist", "batch_size": BATCH_SIZE},
        "trainer": {"max_epochs": epochs, "accelerator": "cpu"},
    }
    with tempfile.TemporaryDirectory() as out:
        return fit(config, out).train_seconds


def main() -> int:
    """Print the seconds an epoch of both, pair by pair, and the ratio of the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    data = create_datamodule("fashion_mnist", seed=0)
    try:
        x, y = data.arrays("train")
    except InputError as error:
        print(f"epoch_speed: {error}", file=sys.stderr)
        return 2
    print(
        f"torch {torch.__version__}, {os.cpu_count()} cores, {platform.machine()}, one thread, {len(x):,} rows an epoch"
    )
    bare_epochs(x, y, 1), fit_epochs(1)  # warm-up
    bare, ours = [], []
    for pair in range(args.pairs):
        bare.append((bare_epochs(x, y, 1 + args.epochs) - bare_epochs(x, y, 1)) / args.epochs)
        ours.append((fit_epochs(1 + args.epochs) - fit_epochs(1)) / args.epochs)
        print(f"pair {pair + 1}: bare loop {bare[-1]:.3f} s, fit {ours[-1]:.3f} s, ratio {ours[-1] / bare[-1]:.2f}")
    ratio = statistics.median(ours) / statistics.median(bare)
    print(f"medians: bare loop {statistics.median(bare):.3f} s, fit {statistics.median(ours):.3f} s, ratio {ratio:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
