"""Hand-written alternatives to `bench run activations`, for comparison in `python -m benchmarks.measure.speed`.

Each is a separate program that trains a 64-64 net on scikit-learn's digits for every activation and seed, as a careful
user of the library would. It prints one line of JSON with the number of trials and the mean test accuracy of each
activation.
"""

import argparse
import json
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Options(NamedTuple):
    """Options of a trial besides its activation and seed."""

    hidden: list[int]
    epochs: int
    robust: bool


Split = tuple[NDArray[np.float32], NDArray[np.int64]]
Trial = Callable[[str, int, Options], float]


def digits(seed: int) -> tuple[Split, Split, Split]:
    """Training, validation and test rows of the scaled digits (64, 16 and 20 %), x (N, 64) and y (N,)."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    x, y = load_digits(return_X_y=True)
    rest, x_test, y_rest, y_test = train_test_split(x, y, test_size=0.2, random_state=seed, stratify=y)
    x_train, x_val, y_train, y_val = train_test_split(rest, y_rest, test_size=0.2, random_state=seed, stratify=y_rest)
    mean, std = x_train.mean(), x_train.std()
    pairs = ((x_train, y_train), (x_val, y_val), (x_test, y_test))
    train, val, test = ((((part - mean) / std).astype(np.float32), labels) for part, labels in pairs)
    return train, val, test


def loop(trial: Trial) -> None:
    """The command line of a peer: a loop over activations and seeds on one core."""
    options, activations, seeds = read_options()
    report(activations, seeds, [[trial(name, seed, options) for seed in range(seeds)] for name in activations])


def read_options() -> tuple[Options, list[str], int]:
    """The options of a peer, the activations and the number of seeds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--activations", nargs="+", default=["relu"])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--hidden", type=int, nargs="+", default=[64, 64])
    parser.add_argument("--robust", action="store_true", help="use batch norm and dropout of .3 in each block")
    args = parser.parse_args()
    return Options(args.hidden, args.epochs, args.robust), args.activations, args.seeds


def report(activations: list[str], seeds: int, accuracies: list[list[float]]) -> None:
    """Print a peer's result as JSON."""
    means = {name: float(np.mean(values)) for name, values in zip(activations, accuracies, strict=True)}
    print(json.dumps({"trials": seeds * len(activations), "test_accuracy": means}))
