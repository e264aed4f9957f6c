"""Where a check runs, the runs that it compares, and its tolerances. Needs torch."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import torch

from zoo.outputs.result import Result
from zoo.plain import Config
from zoo.train import fit

from ...records.reading import read_curves

# Largest relative difference between two losses of the same epoch. Initial weights, order of the data and arithmetic
# (float32) are the same, so both sides differ by rounding, 6e-8 in each operation, which training amplifies. On two
# processes instead of one it grows to 4e-7 in 20 epochs (results/parity).
LOSSES = 1e-3
# The same for nets with batch norm, whose gradients amplify rounding more: on the CPU, a robust_mlp without dropout
# differs by 4e-4 after 10 epochs if it is compiled.
LOSSES_BATCH_NORM = 5e-3
# The same for nets with convolutions, which cuDNN computes in TF32 by default: it rounds inputs to 10 bits, 5e-4.
LOSSES_TF32 = 3e-2
# Largest difference in accuracy of two runs that draw other dropout masks or compute in 16 bits. Runs that differ in
# dropout masks differ by up to .0056 (results/parity); these train for fewer epochs.
ACCURACY = 0.03
# Largest difference of a probability that the same weights predict on another device, in float32 and in TF32.
PROBABILITY, PROBABILITY_TF32 = 1e-4, 1e-2

Curves = dict[str, list[Any]]
_numbers = count()


@dataclass(frozen=True)
class Setting:
    """Where a check runs.

    Attributes:
        accelerator: `gpu`; or `cpu`, which then takes its place, so that all differences should be 0.
        small: Whether to run in miniature.
        folder: A folder for its files.
        out: The folder of the report; None if none is written.
    """

    accelerator: str
    small: bool
    folder: Path
    out: Path | None

    @property
    def lacks(self) -> str:
        """Why rows that need a GPU are skipped; empty if there is one."""
        return "" if self.accelerator == "gpu" else "torch finds no CUDA GPU on this machine"

    @property
    def name(self) -> str:
        """The device under test in words."""
        return "GPU" if self.accelerator == "gpu" else "CPU in its place"

    def config(
        self,
        model: Config,
        data: Config | str = "digits",
        epochs: int = 5,
        accelerator: str | None = None,
        callbacks: Config | None = None,
        seed: int = 0,
        **trainer: Any,
    ) -> Config:
        """A config of one run on one device, without early stopping."""
        flags = {"max_epochs": 2 if self.small else epochs, "accelerator": accelerator or self.accelerator, **trainer}
        return {
            "seed_everything": seed,
            "model": model,
            "data": {"name": data} if isinstance(data, str) else data,
            "trainer": flags,
            "callbacks": {"early_stopping": False, **(callbacks or {})},
        }

    def fit(self, config: Config) -> tuple[Result, Curves, Path]:
        """Train with Lightning; returns the result, the curves by name, and the folder with the checkpoint.

        Raises:
            RuntimeError: The run diverged.
        """
        out = self.folder / f"run-{next(_numbers)}"
        result = fit(config, out, pack=False)
        if result.status != "done":
            raise RuntimeError(f"the run is {result.status}: {result.reason}")
        return result, read_curves(out / "metrics.csv"), out


def losses_apart(a: Curves, b: Curves) -> float:
    """The largest relative difference of the training and validation losses of any epoch."""
    return max(relative(a[name], b[name]) for name in ("train/loss", "val/loss"))


def relative(a: Sequence[float], b: Sequence[float]) -> float:
    """The largest |a - b| / |b|; infinity if the lengths differ, NaN if a value is missing."""
    if len(a) != len(b):
        return math.inf
    apart = [math.nan if None in (x, y) else abs(x - y) / max(abs(y), 1e-12) for x, y in zip(a, b, strict=True)]
    return math.nan if any(map(math.isnan, apart)) else max(apart)


def same_bits(a: Mapping[str, torch.Tensor], b: Mapping[str, torch.Tensor]) -> bool:
    """Whether two state dicts are equal to the last bit."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@contextmanager
def without_tf32() -> Iterator[None]:
    """Let cuDNN compute convolutions in float32."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before
