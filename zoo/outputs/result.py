"""What a run leaves: its result, and the files in its folder."""

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

# What a run leaves in its folder.
FILES = ("config.yaml", "best.ckpt", "metrics.csv", "result.json")


@dataclass(frozen=True)
class Result:
    """What came out of a run.

    Attributes:
        status: `done`, or `diverged` where a loss was NaN or infinite.
        reason: Why it is not `done`; empty otherwise.
        metrics: Final metrics: `test/...` of the restored model, `val/...` and `train/...` of its epoch, and with the
            callback `generalization_gap` `train_eval/...` and `gap/...` of the restored model; what diagnosis callbacks
            measured in its epoch, and `init/...` of the initial weights (see `zoo.parts.metric_names`); null where a
            metric is undefined. None at all from a run that diverged.
        best_epoch: The epoch restored, counted from 0.
        epochs_run: How many epochs ran.
        train_seconds: Wall time of training, validation included, imports and test excluded; in a pack its share.
        n_parameters: Trainable parameters.
        sizes: Rows in each split.
        environment: What ran where; `pack_size` is the number of runs trained as one, null where Lightning trained it.
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
        """Leave it as `result.json`."""
        write_atomically(out / "result.json", json.dumps(asdict(self), indent=2, allow_nan=False) + "\n")


def count_parameters(model: ZooModule) -> int:
    """How many a model trains; of one that is not sharded."""
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
    """The result of a run.

    Args:
        n_parameters: Of the model.
        data: What it was trained on.
        diverged_step: The step at which the loss was not finite, if there was such.
        metrics: Final metrics.
        best_epoch: The epoch restored.
        epochs_run: How many epochs ran.
        train_seconds: Wall time of training.
        where: What to say of the environment beyond `zoo.outputs.provenance`: precision, device, pack_size.
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
