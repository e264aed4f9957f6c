"""Metrics, based on torchmetrics."""

import torch
from torch import Tensor
from torchmetrics import MeanAbsoluteError, MeanSquaredError, Metric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score
from torchmetrics.functional.classification import multiclass_auroc
from torchmetrics.utilities import dim_zero_cat

from .scores import log_odds


class LossMean(Metric):
    """Mean of batch losses, weighted by batch size; NaNs are propagated.

    torchmetrics' MeanMetric either ignores NaNs or (`nan_strategy="disable"`) the weights, see its issue 3434.
    """

    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0.0), dist_reduce_fx="sum")

    def update(self, losses: Tensor, sizes: Tensor) -> None:
        """Add the mean losses of n batches, (n,), and their sizes, (n,)."""
        self.total += (losses * sizes).sum()
        self.count += sizes.sum()

    def compute(self) -> Tensor:
        """Mean over samples."""
        return self.total / self.count


class AUROC(Metric):
    """Macro-averaged one-vs-rest AUROC; NaN if a class has no samples or a logit is not finite, as it is undefined.

    torchmetrics' MulticlassAUROC gets ranks instead of probabilities; see `log_odds`.

    Args:
        num_classes: Number of classes.
    """

    logits: list[Tensor]
    targets: list[Tensor]

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.add_state("logits", [], dist_reduce_fx="cat")
        self.add_state("targets", [], dist_reduce_fx="cat")

    def update(self, logits: Tensor, targets: Tensor) -> None:
        """Add logits (n, num_classes) and classes (n,)."""
        self.logits.append(logits)
        self.targets.append(targets)

    def compute(self) -> Tensor:
        """Mean over classes of the area under the ROC curve."""
        logits, targets = dim_zero_cat(self.logits), dim_zero_cat(self.targets)
        scores = log_odds(logits.T)
        if targets.unique().numel() < self.num_classes or not scores.isfinite().all():
            return torch.tensor(torch.nan)
        ranks = torch.stack([score.unique(return_inverse=True)[1] for score in scores], 1).double() / len(targets)
        return multiclass_auroc(ranks, targets, self.num_classes, validate_args=False).float()


class R2(Metric):
    """Coefficient of determination; NaN if all targets are equal, since it is then undefined.

    torchmetrics' R2Score treats sums of squares below 1e-4 as zero, whatever the target's unit.
    """

    outputs: list[Tensor]
    targets: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("outputs", [], dist_reduce_fx="cat")
        self.add_state("targets", [], dist_reduce_fx="cat")

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """Add outputs and targets, (n,) each."""
        self.outputs.append(outputs)
        self.targets.append(targets)

    def compute(self) -> Tensor:
        """One minus the ratio of the residual to the total sum of squares."""
        outputs, targets = dim_zero_cat(self.outputs), dim_zero_cat(self.targets)
        spread = (targets - targets.mean()).square().sum()
        return torch.where(spread > 0, 1 - (outputs - targets).square().sum() / spread, torch.nan)


def make_metrics(num_classes: int, train: bool = False) -> MetricCollection:
    """Create the metrics of one split; they take logits (n, num_classes) and classes, or predictions and targets (n,).

    Args:
        num_classes: Number of classes; 1 for a regression.
        train: Whether to omit metrics that are expensive on many samples.
    """
    if num_classes == 1:
        metrics: dict[str, Metric] = {"mse": MeanSquaredError(), "mae": MeanAbsoluteError(), "r2": R2()}
    else:
        accuracy = MulticlassAccuracy(num_classes, average="micro", validate_args=False)
        metrics = {"accuracy": accuracy}
        if not train:
            metrics["f1_macro"] = MulticlassF1Score(num_classes, average="macro", validate_args=False)
            metrics["auroc"] = AUROC(num_classes)
    return MetricCollection(metrics, compute_groups=False)  # type: ignore[arg-type]
