"""How fast a run trains, by clocks that all of its processes stop together."""

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
    """Measures training: samples per second in the steady state, the parts of a step, start-up and peak memory.

    Epochs from `warmup_epochs` on count. Ahead of each start and stop of a clock the GPU finishes its work and all
    processes wait for each other (as AlgoPerf's clocks do, Dahl et al. 2023), so that the slowest of them is what is
    measured. In the final metrics stand

    - `samples_per_second`: the samples of all processes over the time of those epochs, without their validation.
    - `data_seconds` and `step_seconds`, a batch: from the end of one to the start of the next, in which it is cut and
      moved to the device; and all the rest. Together they are an epoch's time over its number of batches.
    - `validation_seconds`, an epoch.
    - `startup_seconds`: from where `zoo.train.fit` is entered on the first process to the end of the first step. Data
      are read, other processes started, and what is compiled is compiled in it; imports of the first process are not.
    - `peak_memory_bytes`: what the process holds at most (its resident set) up to the end of training, the largest of
      all processes, and each one's own as `rank_0/peak_memory_bytes`, ...; on a GPU also what torch allocates there,
      `peak_gpu_memory_bytes` and `rank_0/peak_gpu_memory_bytes`, ...

    A run with it is trained by itself, in no pack.

    Args:
        warmup_epochs: Epochs ahead of those that count.
    """

    warmup_epochs: int = 1

    def make(self, out: Path, num_classes: int) -> L.Callback:
        """The callback, which begins to count."""
        require(
            self.warmup_epochs >= 0,
            f"callbacks.throughput.warmup_epochs must not be negative, got {self.warmup_epochs}.",
        )
        return Throughput(self.warmup_epochs)


class Throughput(L.Callback):
    """See `ThroughputOptions`.

    Attributes:
        entered: When the run began, on the clock of `time.perf_counter`.
        metrics: What was measured, the same on all processes; NaN where nothing was, none at all before training ends.
    """

    def __init__(self, warmup_epochs: int) -> None:
        self.warmup_epochs = warmup_epochs
        self.entered = time.perf_counter()
        self.metrics: dict[str, float] = {}
        self._startup = math.nan
        self._samples = self._batches = self._validations = 0
        self._training = self._data = self._validation = 0.0
        self._since: float | None = None  # when the training part of an epoch began; None while none is counted
        self._mark = 0.0  # the end of the last batch
        self._validation_since: float | None = None

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock."""
        if trainer.current_epoch >= self.warmup_epochs:
            self._since = self._mark = _now(trainer)

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """The batch is there."""
        if self._since is not None:
            self._data += time.perf_counter() - self._mark

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the batch; the last one of an epoch stops the clock, ahead of validation."""
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
        """Start the clock of validation."""
        if trainer.current_epoch >= self.warmup_epochs and not trainer.sanity_checking:
            self._validation_since = _now(trainer)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop it, before a checkpoint is written."""
        if self._validation_since is not None:
            self._validation += _now(trainer) - self._validation_since
            self._validations += 1
            self._validation_since = None

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop the clock of an epoch that `trainer.max_steps` cut short."""
        if self._since is not None:
            self._stop(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Put together what all processes have measured."""
        memory = peak_memory_bytes()
        host, gpu = (math.nan if memory[name] is None else memory[name] for name in ("host", "gpu"))
        device = trainer.strategy.root_device
        own = [self._startup, self._training, self._data, self._validation, self._samples, host, gpu]
        row = torch.tensor(own, dtype=widest(device), device=device)
        rows = trainer.strategy.all_gather(row).reshape(-1, len(own)).cpu()
        # The slowest process is what all wait for.
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
    """The time at which all processes, and their GPUs, have come to this point."""
    device = trainer.strategy.root_device
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    trainer.strategy.barrier()
    return time.perf_counter()
