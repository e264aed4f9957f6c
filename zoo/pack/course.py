"""Learning rate, logged epochs, best epoch and early stopping of one member."""

import math
from typing import Any

import torch
from torch import nn

from ..models.base import ZooModule
from ..parts.metric_names import direction
from ..parts.optim import PLANNED, make_schedule

Row = dict[str, float]


class Course:
    """Decides when the learning rate changes, which epoch is best, and when to stop, like Lightning's callbacks.

    Args:
        model: The model, for its hyperparameters.
        callbacks: Section `callbacks` of the config.
        epochs: Maximum number of epochs.
        steps_per_epoch: Number of batches per epoch.
    """

    def __init__(self, model: ZooModule, callbacks: dict[str, Any], epochs: int, steps_per_epoch: int) -> None:
        self.early_stopping = callbacks["early_stopping"]
        self.model_checkpoint = callbacks["model_checkpoint"]
        self.logs_lr = callbacks["learning_rate_monitor"] is not None
        self.rows: list[Row] = []
        self.best_epoch: int | None = None
        self.diverged_step: int | None = None
        self.stopped = False
        self._best = self._watched = math.inf
        self._waited = 0
        h = model.hparams
        self._optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(()))], lr=h["lr"])
        schedule = make_schedule(
            h["schedule"],
            self._optimizer,
            epochs=epochs,
            steps=epochs * steps_per_epoch if h["schedule"] in PLANNED else 0,
            warmup_steps=h["warmup_epochs"] * steps_per_epoch,
            step_size=h["step_size"],
            gamma=h["gamma"],
            plateau_patience=h["plateau_patience"],
            monitor="val/loss",
        )
        self._optimizer.step()  # without gradients, to avoid the warning that the schedule steps first
        self._scheduler, self._monitored = schedule["scheduler"], "monitor" in schedule
        self.constant = h["schedule"] == "constant"
        self.by_step = schedule["interval"] == "step"

    @property
    def lr(self) -> float:
        """The learning rate now."""
        return self._optimizer.param_groups[0]["lr"]

    def after_step(self) -> None:
        """A batch is done."""
        if self.by_step:
            self._scheduler.step()

    def after_epoch(self, row: Row, losses: list[float], first_step: int) -> bool:
        """An epoch is done.

        Args:
            row: Its learning rate at the start, its metrics of training and validation.
            losses: The training loss of each of its batches.
            first_step: The number of its first batch, over all epochs.

        Returns:
            Whether this epoch's weights are those to keep.
        """
        self.rows.append(row if self.logs_lr else {name: value for name, value in row.items() if name != "lr"})
        bad = [step for step, loss in enumerate(losses) if not math.isfinite(loss)]
        if bad or not math.isfinite(row["val/loss"]):
            self.diverged_step = first_step + (bad[0] if bad else len(losses))
            self.stopped = True
        if self.early_stopping is not None:
            self._watch(row[self.early_stopping["monitor"]])
        better = self._is_best(row)
        if better:
            self.best_epoch = len(self.rows) - 1
        if not (self.constant or self.by_step):
            self._scheduler.step(*[row["val/loss"]] * self._monitored)
        return better

    def _watch(self, value: float) -> None:
        options = self.early_stopping
        sign = 1 if direction(options["monitor"]) == "min" else -1
        if sign * value + options["min_delta"] < self._watched:
            self._watched, self._waited = sign * value, 0
            return
        self._waited += 1
        self.stopped |= self._waited >= options["patience"]

    def _is_best(self, row: Row) -> bool:
        if self.model_checkpoint is None:
            return True  # the last epoch is the one that is tested
        monitor = self.model_checkpoint["monitor"]
        value = row[monitor] if direction(monitor) == "min" else -row[monitor]
        value = math.inf if math.isnan(value) else value
        if self.best_epoch is not None and not value < self._best:
            return False
        self._best = value
        return True
