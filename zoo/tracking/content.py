"""What of a run Weights & Biases shows, the same for one run and for a trial of a study. Imports no torch."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wandb import Run

STEP = "trainer/global_step"  # Lightning's name for it there
LONGEST_TAG = 64
# What a record says beside its metrics, where it does.
OF_A_RESULT = ("status", "reason", "best_epoch", "epochs_run", "train_seconds", "wall_seconds", "n_parameters")
GRADIENT_FLOW = ("gradient_norm", "update_ratio")


def define_axis(run: "Run") -> None:
    """Draw everything over epochs."""
    run.define_metric("*", step_metric="epoch")


def define_curves(run: "Run", row: Mapping[str, Any]) -> None:
    """Leave the summary to what `summary` says: the last value of a curve is not that of the best epoch.

    Args:
        run: The run.
        row: Its first epoch, see `row_of`; one name for each curve. Tables and pictures are no curves: charts find
            theirs through the summary.
    """
    for name in row:
        run.define_metric(name, step_metric=None if name in ("epoch", STEP) else "epoch", summary="none")


def config_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """A resolved config as W&B keeps it, which has no empty sections: a callback without options is true, as it may be.

    It is a config still, and the same one.
    """
    callbacks = config.get("callbacks")
    if not isinstance(callbacks, Mapping):
        return dict(config)
    return {**config, "callbacks": {name: True if value == {} else value for name, value in callbacks.items()}}


def row_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """A row of `metrics.csv` as W&B takes it; what is missing in it is left out."""
    row = {STEP if name == "step" else name: _number(value) for name, value in values.items() if value is not None}
    return {**row, "epoch": int(row["epoch"])} if "epoch" in row else row


def rows_of(columns: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """The columns of a `metrics.csv` as rows for W&B."""
    for values in zip(*columns.values(), strict=True):
        yield row_of(dict(zip(columns, values, strict=True)))


def histograms(row: Mapping[str, Any]) -> dict[str, tuple[list[float], list[float]]]:
    """What the callback `gradient_flow` measured in an epoch: heights and edges, a bin a layer from the input on.

    Over the epochs W&B draws such histograms as a map, in which vanishing gradients are its dark side.
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
    """The `histograms` of an epoch as W&B draws them."""
    found = histograms(row)
    if not found:
        return {}
    import numpy as np
    import wandb

    arrays = {name: (np.asarray(heights), np.asarray(edges)) for name, (heights, edges) in found.items()}
    return {name: wandb.Histogram(np_histogram=bars) for name, bars in arrays.items()}


def summary(result: Mapping[str, Any]) -> dict[str, Any]:
    """The summary of a run: its final metrics, and what its result says beside them.

    Args:
        result: A run's result or a trial's record, as plain values.
    """
    return {**result["metrics"], **{name: result[name] for name in OF_A_RESULT if name in result}}


def tags(*names: Any) -> list[str]:
    """Names as tags, each once and no longer than W&B takes them."""
    return list(dict.fromkeys(str(name)[:LONGEST_TAG] for name in names if name not in (None, "")))


def exit_code(status: str) -> int:
    """The exit status of a run or trial: 0 unless it diverged, failed or crashed, which W&B shows as failed."""
    return int(status in ("diverged", "failed", "crashed"))


def _number(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return float(value)  # archives write what is not finite as text
    except ValueError:
        return value
