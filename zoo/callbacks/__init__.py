"""Callbacks by name, with options as plain values; early stopping, checkpoint and learning rate are on by default."""

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
    """Stops training when a validation metric has stopped improving.

    Args:
        monitor: Metric to monitor, such as val/loss or val/accuracy.
        patience: Number of validations without improvement after which training stops.
        min_delta: Minimum change that counts as an improvement.
    """

    monitor: str = MONITOR
    patience: int = 10
    min_delta: float = 0.0

    def check(self, num_classes: int) -> None:
        """Check that the options are in range.

        Raises:
            InputError: If an option is out of range.
        """
        _check_monitor("early_stopping", self.monitor, num_classes)
        require(self.patience >= 0, f"callbacks.early_stopping.patience must not be negative, got {self.patience}.")
        require(self.min_delta >= 0, f"callbacks.early_stopping.min_delta must not be negative, got {self.min_delta}.")

    def make(self, out: Path) -> L.Callback:
        """Lightning's callback."""
        return EarlyStopping(
            self.monitor,
            self.min_delta,
            self.patience,
            mode=direction(self.monitor),
            # An undefined metric does not mean divergence; the model itself stops the run if the loss is not finite.
            check_finite=False,
            check_on_train_epoch_end=False,
        )


@dataclass
class ModelCheckpointOptions:
    """Keeps the checkpoint of the best epoch, which is tested after training.

    Args:
        monitor: Metric that determines the best epoch.
    """

    monitor: str = MONITOR

    def check(self, num_classes: int) -> None:
        """Check that the options are in range.

        Raises:
            InputError: If an option is out of range.
        """
        _check_monitor("model_checkpoint", self.monitor, num_classes)

    def make(self, out: Path) -> L.Callback:
        """Lightning's callback."""
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
    """Logs the learning rate at the start of every epoch."""

    def check(self, num_classes: int) -> None:
        """Accept every value; there is nothing to check."""

    def make(self, out: Path) -> L.Callback:
        """Lightning's callback."""
        return LearningRateMonitor("epoch")


@dataclass
class GeneralizationGapOptions:
    """Evaluates the restored model on the training split (train_eval/...) and its gap to the test split (gap/...).

    `train/...` does not measure overfitting: it is a mean over an epoch in which the weights change, with dropout,
    batch statistics, augmentation and, for the loss, label smoothing and class weights. This callback evaluates the
    restored model once, after the test and in the same way: in eval mode, on every training row, without augmentation.
    `gap/X` is `train_eval/X` - `test/X` if higher is better, otherwise `test/X` - `train_eval/X`, so a positive gap
    always means overfitting.
    """

    def check(self, num_classes: int) -> None:
        """Accept every value; there is nothing to check."""

    def make(self, out: Path) -> L.Callback:
        """A callback that does nothing; `zoo.train` and `zoo.pack` evaluate after training."""
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

# Name: (options, whether it is on by default). The others are in a resolved config only if they are on, so that adding
# a callback does not change the keys of trials.
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
