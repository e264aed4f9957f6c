"""Names and directions of metrics; `zoo.parts.metrics` computes them. Does not import torch.

Diagnosis callbacks (`zoo.callbacks`) add metrics of layers: `layer_1`, `layer_2`, ... are the layers with weights
(`zoo.parts.layers.WEIGHTED`) from the input to the output layer; metrics of activations have the number of the
preceding layer with weights. They are columns of `metrics.csv`; `result.json` contains those of the restored epoch:

- `gradient_flow`: `gradient_norm/layer_N` and `update_ratio/layer_N`, of weights, mean over sampled steps.
- `gradient_clipping`: `gradient_norm/before_clipping`, `gradient_norm/after_clipping`, of all parameters, mean over
  sampled steps, and `clipped_steps`, the fraction of these that were clipped.
- `dead_units`: `dead_units/layer_N` and `saturated_units/layer_N`, fractions of units, on validation.
- `activation_statistics`: `activation_mean/layer_N`, `activation_std/layer_N`, and `signal_ratio`, on validation.

Only `result.json` also contains the same metrics for the initial weights, with the prefix `init/` (except
`clipped_steps`), and the time and memory measured by `throughput`, whose names have neither a split nor a layer.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

CLASSIFICATION = ("loss", "accuracy", "f1_macro", "auroc")
REGRESSION = ("loss", "mse", "mae", "r2")
LOWER_IS_BETTER = ("loss", "mse", "mae")
# Metrics of the callback `rare_class`.
RARE_CLASS = ("val/f1_rare", "val/auprc", "test/f1_rare", "test/auprc", "test/f1_rare_at_half", "threshold")
# Metrics of the callback `throughput`, which also reports the peak memory of each process and of GPUs if there are any.
THROUGHPUT = (
    "samples_per_second",
    "data_seconds",
    "step_seconds",
    "validation_seconds",
    "startup_seconds",
    "peak_memory_bytes",
)
# Quantities of each callback: of each layer with weights, of each activation, of the whole net.
DIAGNOSIS: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "gradient_flow": (("gradient_norm", "update_ratio"), (), ()),
    "gradient_clipping": ((), (), ("gradient_norm/before_clipping", "gradient_norm/after_clipping", "clipped_steps")),
    "dead_units": ((), ("dead_units", "saturated_units"), ()),
    "activation_statistics": ((), ("activation_mean", "activation_std"), ("signal_ratio",)),
}
FEWER_IS_BETTER = ("dead_units", "saturated_units")
OF_THE_NET = ("clipped_steps", "signal_ratio")  # metrics without a slash in their name


def metric_names(num_classes: int) -> tuple[str, ...]:
    """Names of the metrics on validation and test data, without the prefix of the split."""
    return REGRESSION if num_classes == 1 else CLASSIFICATION


def direction(metric: str) -> str:
    """Return `min` or `max`, whichever is better, based on the last part of a metric's name.

    Smaller is better for gaps, dead and saturated units, seconds and bytes. Other diagnosis metrics and `threshold`
    have no direction, see `has_direction`: a study that compares them must set one.
    """
    last = metric.rpartition("/")[2]
    lower = metric.startswith("gap/") or last in LOWER_IS_BETTER or last.endswith(("seconds", "bytes"))
    return "min" if lower or _quantity(metric) in FEWER_IS_BETTER else "max"


def is_diagnosis(metric: str) -> bool:
    """Whether a diagnosis callback can measure this metric, in a net that has such a layer."""
    return bool(callback_of(metric))


def has_direction(metric: str) -> bool:
    """Whether a metric has a better direction; a gradient norm, for example, has none."""
    return metric != "threshold" and (not is_diagnosis(metric) or _quantity(metric) in FEWER_IS_BETTER)


def is_known(metric: str) -> bool:
    """Whether the last part of a metric's name determines its direction, whatever task measures it."""
    last = metric.rpartition("/")[2]
    rare = {name.rpartition("/")[2] for name in RARE_CLASS} - {"threshold"}
    return last in (*CLASSIFICATION, *REGRESSION, *rare) or metric in THROUGHPUT


def callback_of(metric: str) -> str:
    """Return the diagnosis callback that measures a metric; empty if there is none."""
    bare = metric.removeprefix("init/")
    for name, (layers, activations, net) in DIAGNOSIS.items():
        if bare in net or ("/layer_" in bare and _quantity(bare) in (*layers, *activations)):
            return name
    return ""


def _quantity(metric: str) -> str:
    return metric.removeprefix("init/").partition("/")[0]


def is_metric(column: str) -> bool:
    """Whether a column of `metrics.csv` is a metric, not the step or a learning rate."""
    return "/" in column or column in OF_THE_NET


def diagnosing(callbacks: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of the diagnosis callbacks that are on in a resolved config's section `callbacks`."""
    return {name: callbacks[name] for name in DIAGNOSIS if callbacks.get(name) is not None}


def diagnosis_names(callbacks: Iterable[str], n_layers: int, activations: Sequence[int]) -> list[str]:
    """Return the names of the final metrics that diagnosis callbacks measure.

    Args:
        callbacks: The callbacks that are on.
        n_layers: The number of layers with weights in the net.
        activations: The numbers, counted from 1, of those that have an activation behind them.
    """
    names: list[str] = []
    for callback in callbacks:
        of_layers, of_activations, of_net = DIAGNOSIS[callback]
        own = [f"{quantity}/layer_{n}" for quantity in of_layers for n in range(1, n_layers + 1)]
        own += [f"{quantity}/layer_{n}" for quantity in of_activations for n in activations]
        own += of_net if activations or callback != "activation_statistics" else ()
        names += own + [f"init/{name}" for name in own if name != "clipped_steps"]
    return names


def measures_gap(callbacks: Mapping[str, Any]) -> bool:
    """Whether `generalization_gap` is on in a resolved config's section `callbacks`."""
    return callbacks.get("generalization_gap") is not None


def measures_rare_class(callbacks: Mapping[str, Any]) -> bool:
    """Whether `rare_class` is on in a resolved config's section `callbacks`."""
    return callbacks.get("rare_class") is not None


def measures_throughput(callbacks: Mapping[str, Any]) -> bool:
    """Whether `throughput` is on in a resolved config's section `callbacks`."""
    return callbacks.get("throughput") is not None


def comparable_names(
    num_classes: int, gap: bool, diagnosed: Sequence[str] = (), *, rare_class: bool = False, throughput: bool = False
) -> list[str]:
    """Return the names of the final metrics that a study can compare.

    Args:
        num_classes: Number of classes; 1 for a regression.
        gap: Result of `measures_gap`.
        diagnosed: Result of `diagnosis_names`.
        rare_class: Result of `measures_rare_class`.
        throughput: Result of `measures_throughput`.
    """
    splits = ("test", "val", "train_eval", "gap") if gap else ("test", "val")
    names = [f"{split}/{name}" for split in splits for name in metric_names(num_classes)]
    return [*names, *(RARE_CLASS if rare_class else ()), *(THROUGHPUT if throughput else ()), *diagnosed]


def gaps(trained: Mapping[str, float], tested: Mapping[str, float]) -> dict[str, float]:
    """Compute `train_eval/X` and `gap/X` of each metric X; a gap is positive if the training split is better.

    Args:
        trained: Metrics X of the restored model on the training split.
        tested: Metrics `test/X` of the same model.
    """
    measured = {f"train_eval/{name}": value for name, value in trained.items()}
    for name, value in trained.items():
        test = tested[f"test/{name}"]
        measured[f"gap/{name}"] = value - test if direction(name) == "max" else test - value
    return measured


def is_timing(name: str) -> bool:
    """Whether a metric is a time or memory, which is not reproducible.

    This is the case if the name, after the last `/` or `.`, is or ends in `seconds`, `milliseconds`, `microseconds`,
    `per_second`, `ms` or `bytes`, such as `fit_seconds`, `rows_per_second`, `time/ms` and `peak_memory_bytes`.
    """
    return bool(re.search(r"(^|[/._])((milli|micro)?seconds|per_second|ms|bytes)$", name))
