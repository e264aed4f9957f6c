"""What is logged to Weights & Biases for a run or for a trial of a study. Does not import torch."""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wandb import Run

STEP = "trainer/global_step"  # Lightning's name for the step in W&B
LONGEST_TAG = LONGEST_JOB_TYPE = 64
LONGEST = 128  # characters of a name or group
# Fields of a record that are logged in addition to its metrics, if present.
OF_A_RESULT = ("status", "reason", "best_epoch", "epochs_run", "train_seconds", "wall_seconds", "n_parameters")
GRADIENT_FLOW = ("gradient_norm", "update_ratio")


def define_axis(run: "Run") -> None:
    """Use the epoch as x-axis of all charts."""
    run.define_metric("*", step_metric="epoch")


def define_curves(run: "Run", row: Mapping[str, Any]) -> None:
    """Exclude curves from W&B's summary, which `summary` sets: a curve's last value is not that of the best epoch.

    Args:
        run: The run.
        row: The first epoch, see `row_of`, with the name of each curve. Tables and images are not curves: W&B's charts
            need them in the summary.
    """
    for name in row:
        run.define_metric(name, step_metric=None if name in ("epoch", STEP) else "epoch", summary="none")


def config_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Convert a resolved config for W&B, which drops empty sections: a callback without options becomes `true`.

    The result is still a valid config, with the same meaning.
    """
    callbacks = config.get("callbacks")
    if not isinstance(callbacks, Mapping):
        return dict(config)
    return {**config, "callbacks": {name: True if value == {} else value for name, value in callbacks.items()}}


def row_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """Convert a row of `metrics.csv` for W&B, without missing values."""
    row = {STEP if name == "step" else name: _number(value) for name, value in values.items() if value is not None}
    return {**row, "epoch": int(row["epoch"])} if "epoch" in row else row


def rows_of(columns: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """Convert the columns of a `metrics.csv` to rows for W&B."""
    for values in zip(*columns.values(), strict=True):
        yield row_of(dict(zip(columns, values, strict=True)))


def histograms(row: Mapping[str, Any]) -> dict[str, tuple[list[float], list[float]]]:
    """Heights and edges of histograms of what `gradient_flow` measured in an epoch, with one bin per layer.

    W&B draws them over epochs as a heat map, in which vanishing gradients are visible as dark layers.
    """
    found = {}
    for quantity in GRADIENT_FLOW:
        heights: list[float] = []
        while isinstance(height := row.get(f"{quantity}/layer_{len(heights) + 1}"), float):
            heights.append(height)
        if heights and all(map(math.isfinite, heights)):
            found[f"{quantity}/by_layer"] = heights, [n + 0.5 for n in range(len(heights) + 1)]
    return found


def drawn(row: Mapping[str, Any]) -> dict[str, Any]:
    """Convert the `histograms` of an epoch to W&B's histograms."""
    found = histograms(row)
    if not found:
        return {}
    import numpy as np
    import wandb

    arrays = {name: (np.asarray(heights), np.asarray(edges)) for name, (heights, edges) in found.items()}
    return {name: wandb.Histogram(np_histogram=bars) for name, bars in arrays.items()}


def summary(result: Mapping[str, Any]) -> dict[str, Any]:
    """Summary of a run: its final metrics and further fields of its result.

    Args:
        result: Result of a run or record of a trial, as plain values.
    """
    return {**result["metrics"], **{name: result[name] for name in OF_A_RESULT if name in result}}


def tags(*names: Any) -> list[str]:
    """Convert names to tags, without duplicates and shortened to W&B's maximum length."""
    return list(dict.fromkeys(shortened(str(name), LONGEST_TAG) for name in names if name not in (None, "")))


def shortened(name: str, longest: int) -> str:
    """Shorten a name to W&B's maximum length; different names stay different."""
    if len(name) <= longest:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name[: longest - 9]}-{digest}"


def exit_code(status: str) -> int:
    """Exit code of a run or trial: 1 if it diverged, failed or crashed, which W&B shows as failed, otherwise 0."""
    return int(status in ("diverged", "failed", "crashed"))


def _number(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return float(value)  # archives store non-finite numbers as text
    except ValueError:
        return value
