"""Callbacks by name, each with its options as plain values; the safety nets are on by default, all else is off."""

from dataclasses import dataclass
from pathlib import Path

import lightning.pytorch as L
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint

from datamodules.errors import choose, require

from ..parts.metric_names import direction, metric_names
from .activation_statistics import ActivationStatisticsOptions
from .dead_units import DeadUnitsOptions
from .gradient_clipping import GradientClippingOptions
from .gradient_flow import GradientFlowOptions
from .rare_class import RareClassOptions
from .throughput import ThroughputOptions

MONITOR = "val/loss"


@dataclass
class EarlyStoppingOptions:
    """Stops when validation has not improved for a while.

    Args:
        monitor: The metric watched, such as val/loss or val/accuracy.
        patience: Validations without improvement before training stops.
        min_delta: The smallest change that counts as an improvement.
    """

    monitor: str = MONITOR
    patience: int = 10
    min_delta: float = 0.0

    def make(self, out: Path, num_classes: int) -> L.Callback:
        """Lightning's callback."""
        _check_monitor("early_stopping", self.monitor, num_classes)
        require(self.patience >= 0, f"callbacks.early_stopping.patience must not be negative, got {self.patience}.")
        require(self.min_delta >= 0, f"callbacks.early_stopping.min_delta must not be negative, got {self.min_delta}.")
        return EarlyStopping(
            self.monitor,
            self.min_delta,
            self.patience,
            mode=direction(self.monitor),
            # A metric that is undefined is no divergence; a loss that is not finite stops the run by itself.
            check_finite=False,
            check_on_train_epoch_end=False,
        )


@dataclass
class ModelCheckpointOptions:
    """Keeps the checkpoint of the best epoch, which is then tested.

    Args:
        monitor: The metric that says which epoch is best.
    """

    monitor: str = MONITOR

    def make(self, out: Path, num_classes: int) -> L.Callback:
        """Lightning's callback."""
        _check_monitor("model_checkpoint", self.monitor, num_classes)
        return ModelCheckpoint(
            out,
            "best",
            self.monitor,
            mode=direction(self.monitor),
            save_weights_only=True,
            enable_version_counter=False,
        )


@dataclass
class LearningRateMonitorOptions:
    """Logs the learning rate at the start of each epoch."""

    def make(self, out: Path, num_classes: int) -> L.Callback:
        """Lightning's callback."""
        return LearningRateMonitor("epoch")


@dataclass
class GeneralizationGapOptions:
    """Measures the restored model on the training split too (train_eval/...), and how much worse test is (gap/...).

    `train/...` is no measure of overfitting: it is a mean over an epoch in which the weights moved, with dropout on and
    batch norm by the batch, of augmented inputs and, for the loss, with label smoothing and class weights. Here the
    restored model is measured once, after the test and by the same code: in eval mode, on every training row as it is,
    not augmented. `gap/X` is `train_eval/X` less `test/X` where higher is better, else `test/X` less `train_eval/X`:
    positive means overfitting, whatever the metric.
    """

    def make(self, out: Path, num_classes: int) -> L.Callback:
        """A callback that does nothing while training; what is measured after it, `zoo.train` and `zoo.pack` do."""
        return L.Callback()


Options = (
    EarlyStoppingOptions
    | ModelCheckpointOptions
    | LearningRateMonitorOptions
    | GeneralizationGapOptions
    | RareClassOptions
    | GradientFlowOptions
    | GradientClippingOptions
    | DeadUnitsOptions
    | ActivationStatisticsOptions
    | ThroughputOptions
)

# Name: (options, whether it is on by default). Those that are not stand in a resolved config only where they are on, so
# that a new one leaves the keys of trials as they are.
CALLBACKS: dict[str, tuple[type[Options], bool]] = {
    "early_stopping": (EarlyStoppingOptions, True),
    "model_checkpoint": (ModelCheckpointOptions, True),
    "learning_rate_monitor": (LearningRateMonitorOptions, True),
    "generalization_gap": (GeneralizationGapOptions, False),
    "rare_class": (RareClassOptions, False),
    "gradient_flow": (GradientFlowOptions, False),
    "gradient_clipping": (GradientClippingOptions, False),
    "dead_units": (DeadUnitsOptions, False),
    "activation_statistics": (ActivationStatisticsOptions, False),
    "throughput": (ThroughputOptions, False),
}


def _check_monitor(callback: str, monitor: str, num_classes: int) -> None:
    choose(f"callbacks.{callback}.monitor", monitor, [f"val/{name}" for name in metric_names(num_classes)])
