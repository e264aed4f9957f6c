"""What metrics are called and which way is better; `zoo.metrics` computes them. Imports no torch."""

from collections.abc import Mapping
from typing import Any

CLASSIFICATION = ("loss", "accuracy", "f1_macro", "auroc")
REGRESSION = ("loss", "mse", "mae", "r2")
LOWER_IS_BETTER = ("loss", "mse", "mae")


def metric_names(num_classes: int) -> tuple[str, ...]:
    """The names measured on validation and test data, without the split's prefix."""
    return REGRESSION if num_classes == 1 else CLASSIFICATION


def direction(metric: str) -> str:
    """`min` or `max`, whichever is better, by the last part of a metric's name; every gap is better small."""
    return "min" if metric.startswith("gap/") or metric.rpartition("/")[2] in LOWER_IS_BETTER else "max"


def measures_gap(callbacks: Mapping[str, Any]) -> bool:
    """Whether `generalization_gap` is on in a resolved config's section `callbacks`, which lacks it where it is off."""
    return callbacks.get("generalization_gap") is not None


def comparable_names(num_classes: int, gap: bool) -> list[str]:
    """The final metrics that a study can compare.

    Args:
        num_classes: The number of classes; 1 for a regression.
        gap: Whether `measures_gap` holds.
    """
    splits = ("test", "val", "train_eval", "gap") if gap else ("test", "val")
    return [f"{split}/{name}" for split in splits for name in metric_names(num_classes)]


def gaps(trained: Mapping[str, float], tested: Mapping[str, float]) -> dict[str, float]:
    """`train_eval/X` and `gap/X` of each metric X; a gap is positive where the training split came out better.

    Args:
        trained: Each X of the restored model on the training split.
        tested: `test/X` of the same model.
    """
    measured = {f"train_eval/{name}": value for name, value in trained.items()}
    for name, value in trained.items():
        test = tested[f"test/{name}"]
        measured[f"gap/{name}"] = value - test if direction(name) == "max" else test - value
    return measured
