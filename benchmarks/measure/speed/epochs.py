"""Seconds per epoch: with `zoo.train.fit`, with a bare PyTorch loop, and with DataLoader and transforms."""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

from datamodules import create_datamodule
from datamodules.base import ArrayDataModule
from datamodules.errors import InputError
from zoo.plain import Config
from zoo.train import fit

# Nets by their layers; the wide ones use enough rows of Fashion-MNIST for epochs of some tenths of a second.
DIGITS = {"model": {"name": "mlp", "hidden_dims": [64, 64]}, "data": {"name": "digits", "batch_size": 64}}
WIDE = {
    "model": {"name": "mlp", "hidden_dims": [256, 256]},
    "data": {"name": "fashion_mnist", "batch_size": 64, "train_size": 12_000},
}
FASHION = {"model": {"name": "mlp", "hidden_dims": [128]}, "data": {"name": "fashion_mnist", "batch_size": 128}}


def measure_epochs(rounds: int) -> Iterator[tuple[str, dict[str, float]]]:
    """Seconds per epoch of `zoo.train.fit` and of hand-written loops, in this process with one thread, per round."""
    torch.set_num_threads(1)
    # Name: (function returning seconds for a number of epochs, timed epochs); those of one group alternate.
    runs: dict[str, tuple[Callable[[int], float], int]] = {
        "fit 64-64-64-10": (lambda e: fit_epochs(DIGITS, e), 20),
        "bare loop 64-64-64-10": (lambda e: bare_epochs(DIGITS, e), 20),
        "fused loop 64-64-64-10": (lambda e: bare_epochs(DIGITS, e, fused=True), 20),
    }
    if fashion_is_there():
        runs |= {
            "fit 784-256-256-10": (lambda e: fit_epochs(WIDE, e), 3),
            "bare loop 784-256-256-10": (lambda e: bare_epochs(WIDE, e), 3),
            "fused loop 784-256-256-10": (lambda e: bare_epochs(WIDE, e, fused=True), 3),
            "fit, Fashion-MNIST": (lambda e: fit_epochs(FASHION, e), 1),
            "DataLoader, 0 workers": (lambda e: loader_epochs(FASHION, e, 0), 1),
            "DataLoader, 2 workers": (lambda e: loader_epochs(FASHION, e, 2), 1),
        }
    for run, _ in runs.values():
        run(1)  # warm-up
    for _ in range(rounds):
        for name, (run, epochs) in runs.items():
            yield name, {"seconds": (run(1 + epochs) - run(1)) / epochs}


def fit_epochs(config: Config, epochs: int) -> float:
    """Seconds of training with `zoo.train.fit`, with validation, without set-up and test.

    Args:
        config: Sections `model` and `data`.
        epochs: Number of epochs; there is no early stopping.
    """
    trainer = {"max_epochs": epochs, "accelerator": "cpu"}
    callbacks = {"early_stopping": {"patience": epochs + 1}}
    with tempfile.TemporaryDirectory() as out:
        return fit({**config, "trainer": trainer, "callbacks": callbacks}, out).train_seconds


def bare_epochs(config: Config, epochs: int, fused: bool = False) -> float:
    """Seconds of training with a hand-written loop over sliced tensors.

    Args:
        config: Sections `model` and `data`.
        epochs: Number of epochs.
        fused: Whether to use `Adam(fused=True)`, which is not the default.
    """
    x, y = _data(str(config["data"]["name"]), config["data"].get("train_size")).arrays("train")
    net, optimizer = _net(config, fused)
    start = time.perf_counter()
    for _ in range(epochs):
        order = torch.randperm(len(x))
        for rows in order.split(config["data"]["batch_size"]):
            _step(net, optimizer, x[rows], y[rows])
    return time.perf_counter() - start


def loader_epochs(config: Config, epochs: int, workers: int) -> float:
    """Seconds of training on Fashion-MNIST with a DataLoader over torchvision's data set."""
    rows = _data(str(config["data"]["name"]), None).indices["train"].tolist()
    data = Subset(_torchvisions(), rows)
    loader = DataLoader(data, config["data"]["batch_size"], shuffle=True, num_workers=workers)
    net, optimizer = _net(config)
    start = time.perf_counter()
    for _ in range(epochs):
        for x, y in loader:
            _step(net, optimizer, x, y)
    return time.perf_counter() - start


def fashion_is_there() -> bool:
    """Whether Fashion-MNIST can be loaded without a download."""
    root = os.environ.get("ZOO_DATA_DIR")
    if root is None or not (Path(root) / "FashionMNIST" / "raw").is_dir():
        return False
    try:
        create_datamodule("fashion_mnist", seed=0).setup()
    except InputError:
        return False
    return True


def _step(net: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    optimizer.zero_grad()
    F.cross_entropy(net(x), y).backward()
    optimizer.step()


def _net(config: Config, fused: bool = False) -> tuple[nn.Module, torch.optim.Optimizer]:
    n_inputs = 64 if config["data"]["name"] == "digits" else 784
    widths = [n_inputs, *config["model"]["hidden_dims"]]
    layers: list[nn.Module] = [nn.Flatten()]
    for n_in, n_out in pairwise(widths):
        layers += [nn.Linear(n_in, n_out), nn.ReLU()]
    net = nn.Sequential(*layers, nn.Linear(widths[-1], 10))
    return net, torch.optim.Adam(net.parameters(), lr=1e-3, fused=fused or None)


@cache
def _torchvisions() -> Dataset[Any]:
    """Fashion-MNIST as torchvision provides it: one image at a time, transformed in every epoch."""
    from torchvision import transforms
    from torchvision.datasets import FashionMNIST

    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.286,), (0.353,))])
    with tempfile.TemporaryDirectory() as root:  # torchvision unpacks files next to the existing ones
        shutil.copytree(Path(os.environ["ZOO_DATA_DIR"]) / "FashionMNIST", Path(root) / "FashionMNIST")
        return FashionMNIST(root, transform=transform, download=True)


@cache
def _data(name: str, train_size: int | None) -> ArrayDataModule:
    data = create_datamodule(name, seed=0, train_size=train_size)
    data.setup()
    return data
