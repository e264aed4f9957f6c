"""The result of a run, and the files in its folder."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from datamodules.base import ArrayDataModule

from ..models.base import ZooModule
from .files import write_atomically
from .provenance import environment, peak_memory_bytes

# Files of a run.
FILES = ("config.yaml", "best.ckpt", "metrics.csv", "result.json")


@dataclass(frozen=True)
class Result:
    """The result of a run.

    Attributes:
        status: `done`, or `diverged` if a loss was NaN or infinite.
        reason: Why the run is not `done`; empty otherwise.
        metrics: Final metrics: `test/...` of the restored model, `val/...` and `train/...` of its epoch; with the
            callback `generalization_gap` also `train_eval/...` and `gap/...` of the restored model; with diagnosis
            callbacks their metrics of its epoch and, as `init/...`, of the initial weights (see
            `zoo.parts.metric_names`). Undefined metrics are null; a diverged run has no metrics.
        best_epoch: The restored epoch, starting at 0.
        epochs_run: Number of epochs run.
        train_seconds: Wall time of training and validation, without imports and test; in a pack, the run's share.
        n_parameters: Number of trainable parameters.
        sizes: Number of rows in each split.
        environment: Code, packages and hardware; `pack_size` is the size of the run's pack, null if Lightning trained.
        peak_memory_bytes: See `zoo.outputs.provenance`.
    """

    status: str
    reason: str
    metrics: dict[str, float | None]
    best_epoch: int | None
    epochs_run: int
    train_seconds: float
    n_parameters: int
    sizes: dict[str, int]
    environment: dict[str, Any]
    peak_memory_bytes: dict[str, int | None]

    def write(self, out: Path) -> None:
        """Write `result.json`."""
        write_atomically(out / "result.json", json.dumps(asdict(self), indent=2, allow_nan=False) + "\n")


def count_parameters(model: ZooModule) -> int:
    """Count the trainable parameters of a model that is not sharded."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def make_result(
    n_parameters: int,
    data: ArrayDataModule,
    *,
    diverged_step: int | None,
    metrics: Mapping[str, float],
    best_epoch: int | None,
    epochs_run: int,
    train_seconds: float,
    where: Mapping[str, Any],
) -> Result:
    """Create the result of a run.

    Args:
        n_parameters: Number of trainable parameters.
        data: Data that the model was trained on.
        diverged_step: First step at which the loss was not finite, if any.
        metrics: Final metrics.
        best_epoch: The restored epoch.
        epochs_run: Number of epochs run.
        train_seconds: Wall time of training.
        where: Environment in addition to `zoo.outputs.provenance`: precision, device, pack_size.
    """
    diverged = diverged_step is not None
    return Result(
        status="diverged" if diverged else "done",
        reason=f"the loss is not finite from step {diverged_step} on" if diverged else "",
        metrics={} if diverged else {k: v if math.isfinite(v) else None for k, v in metrics.items()},
        best_epoch=None if diverged else best_epoch,
        epochs_run=epochs_run,
        train_seconds=train_seconds,
        n_parameters=n_parameters,
        sizes={split: len(rows) for split, rows in data.indices.items()},
        environment=environment() | dict(where),
        peak_memory_bytes=peak_memory_bytes(),
    )
