"""What metrics are called and which way is better; `zoo.metrics` computes them. Imports no torch."""

CLASSIFICATION = ("loss", "accuracy", "f1_macro", "auroc")
REGRESSION = ("loss", "mse", "mae", "r2")
LOWER_IS_BETTER = ("loss", "mse", "mae")


def metric_names(num_classes: int) -> tuple[str, ...]:
    """The names measured on validation and test data, without the split's prefix."""
    return REGRESSION if num_classes == 1 else CLASSIFICATION


def direction(metric: str) -> str:
    """`min` or `max`, whichever is better, by the last part of a metric's name."""
    return "min" if metric.rpartition("/")[2] in LOWER_IS_BETTER else "max"
