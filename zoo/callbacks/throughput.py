"""Training throughput, measured with clocks that are synchronised between processes."""

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch

from datamodules.errors import require

from ..outputs.provenance import peak_memory_bytes
from .layers import widest


@dataclass
class ThroughputOptions:
    """Measures samples per second, time per batch, start-up time and peak memory.

    The first `warmup_epochs` epochs are not measured. Before a clock is started or stopped, the GPU finishes its work
    and all processes wait for each other (as in AlgoPerf, Dahl et al. 2023), so the slowest process is measured. The
    final metrics are:

    - `samples_per_second`: samples of all processes divided by the training time of the measured epochs, without
      validation.
    - `data_seconds`: time per batch between the end of a batch and the start of the next, in which it is sliced and
      moved to the device. `step_seconds`: the remaining time per batch.
    - `validation_seconds`: time per validation.
    - `startup_seconds`: from the call of `zoo.train.fit` in the first process to the end of the first step. This
      includes reading data, starting other processes and compilation, but not the imports of the first process.
    - `peak_memory_bytes`: maximum resident memory of a process up to the end of training, the largest of all
      processes; `rank_0/peak_memory_bytes`, ... are those of each process. On a GPU also the memory allocated by
      torch: `peak_gpu_memory_bytes`, `rank_0/peak_gpu_memory_bytes`, ...

    A run with this callback is never trained in a pack.

    Args:
        warmup_epochs: Number of epochs before the measurement starts; not negative.
    """

    warmup_epochs: int = 1

    def check(self, num_classes: int) -> None:
        """Check that the options are in range.

        Raises:
            InputError: If an option is out of range.
        """
        require(
            self.warmup_epochs >= 0,
            f"callbacks.throughput.warmup_epochs must not be negative, got {self.warmup_epochs}.",
        )

    def make(self, out: Path) -> L.Callback:
        """Create the callback, which starts its clock."""
        return Throughput(self.warmup_epochs)


class Throughput(L.Callback):
    """See `ThroughputOptions`.

    Attributes:
        entered: Start of the run, as `time.perf_counter`.
        metrics: The measured values, the same on all processes; NaN if not measured, empty before training ends.
    """

    def __init__(self, warmup_epochs: int) -> None:
        self.warmup_epochs = warmup_epochs
        self.entered = time.perf_counter()
        self.metrics: dict[str, float] = {}
        self._startup = math.nan
        self._samples = self._batches = self._validations = 0
        self._training = self._data = self._validation = 0.0
        self._since: float | None = None  # start of the training part of a measured epoch; None outside of one
        self._mark = 0.0  # end of the last batch
        self._validation_since: float | None = None

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock."""
        if trainer.current_epoch >= self.warmup_epochs:
            self._since = self._mark = _now(trainer)

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Add the time in which the batch was loaded."""
        if self._since is not None:
            self._data += time.perf_counter() - self._mark

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the batch; the last one of an epoch stops the clock, before validation."""
        if math.isnan(self._startup):
            self._startup = _now(trainer) - self.entered
        if self._since is None:
            return
        self._samples += len(batch[1])
        self._batches += 1
        self._mark = time.perf_counter()
        if trainer.is_last_batch:
            self._stop(trainer)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the validation clock."""
        if trainer.current_epoch >= self.warmup_epochs and not trainer.sanity_checking:
            self._validation_since = _now(trainer)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop the validation clock, before a checkpoint is written."""
        if self._validation_since is not None:
            self._validation += _now(trainer) - self._validation_since
            self._validations += 1
            self._validation_since = None

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop the clock if `trainer.max_steps` ended the epoch early."""
        if self._since is not None:
            self._stop(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Combine the measurements of all processes."""
        memory = peak_memory_bytes()
        host, gpu = (math.nan if memory[name] is None else memory[name] for name in ("host", "gpu"))
        device = trainer.strategy.root_device
        own = [self._startup, self._training, self._data, self._validation, self._samples, host, gpu]
        row = torch.tensor(own, dtype=widest(device), device=device)
        rows = trainer.strategy.all_gather(row).reshape(-1, len(own)).cpu()
        # All processes wait for the slowest.
        startup, training, data, validation, _, _, _ = rows.amax(0).tolist()
        samples = rows[:, 4].sum().item()
        self.metrics = {
            "samples_per_second": samples / training if training else math.nan,
            "data_seconds": data / self._batches if self._batches else math.nan,
            "step_seconds": (training - data) / self._batches if self._batches else math.nan,
            "validation_seconds": validation / self._validations if self._validations else math.nan,
            "startup_seconds": startup,
        }
        for name, column in (("peak_memory_bytes", rows[:, 5]), ("peak_gpu_memory_bytes", rows[:, 6])):
            if name == "peak_memory_bytes" or not column.isnan().any():
                own_names = {f"rank_{rank}/{name}": value for rank, value in enumerate(column.tolist())}
                self.metrics |= {name: column.max().item(), **own_names}

    def _stop(self, trainer: L.Trainer) -> None:
        assert self._since is not None
        self._training += _now(trainer) - self._since
        self._since = None


def _now(trainer: L.Trainer) -> float:
    """Time at which all processes and their GPUs have reached this point."""
    device = trainer.strategy.root_device
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    trainer.strategy.barrier()
    return time.perf_counter()
