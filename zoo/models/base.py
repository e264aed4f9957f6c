"""Base class of all models: steps, loss, metrics, optimizer and schedule."""

import math
import os
import shutil
import time
from collections.abc import Sequence
from typing import Any, cast

import lightning.pytorch as L
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import MetricCollection

from datamodules.errors import choose, require

from ..parts.initializers import fill_hidden_biases, initialize
from ..parts.metrics import LossMean, make_metrics
from ..parts.optim import OPTIMIZERS, PLANNED, SCHEDULES, check_plan, make_optimizer, make_schedule
from .registry import MODELS

Batch = tuple[Tensor, Tensor]
SPLITS = ("train", "val", "test")


class ZooModule(L.LightningModule):
    """A classifier, or with `num_classes=1` a regression, with its own training.

    A subclass builds `self.net` in its constructor and then calls `init_weights`. Hyperparameters are plain strings and
    numbers, stored in the checkpoint. Losses and metrics are collected per batch and computed once per epoch, over all
    ranks.

    Args:
        input_shape: Shape of one input, without the batch axis.
        num_classes: Number of classes and logits; 1 means a regression with one output.
        initializer: Weight initializer: default (torch's own), zeros, normal, uniform, xavier_uniform, xavier_normal,
            xavier_fan_in_uniform, xavier_fan_in_normal, kaiming_uniform, kaiming_normal, lecun_normal, orthogonal.
        init_scale: Standard deviation of the normal initializer, or bound of the uniform one; positive.
        bias_init: Initial value of the biases of layers followed by an activation; null uses the initializer's. It has
            no effect on layers followed by a norm.
        optimizer: sgd, adam, adamw or rmsprop.
        lr: Learning rate; positive.
        momentum: Momentum of sgd, in [0, 1).
        weight_decay: Weight decay, not applied to biases and norms; decoupled for adamw, otherwise an L2 penalty.
        schedule: Learning-rate schedule: constant, step, exponential, cosine, warmup_cosine, one_cycle or plateau.
        warmup_epochs: Duration of the linear warmup of the warmup_cosine schedule, in epochs.
        step_size: Number of epochs between decreases of the learning rate in the step schedule.
        gamma: Decay factor of the step, exponential and plateau schedules, in (0, 1); null means 0.95 for exponential
            and 0.1 for the others.
        plateau_patience: Epochs without improvement of val/loss before the plateau schedule decreases the rate.
        label_smoothing: Fraction of the target probability spread over all classes, in [0, 1) (Szegedy et al. 2016).
        class_weights: List with one loss weight per class, or balanced for weights inversely proportional to the class
            frequencies in the training split, as in scikit-learn; null disables weighting.
        compile: Whether to use torch.compile, which takes up to a minute and can speed up long runs of larger nets;
            needs a C++ compiler. Nets that can be packed train faster without it.

    Raises:
        InputError: If a name is unknown, a value is out of range, or there is no compiler.
    """

    net: nn.Module
    class_weight: Tensor | None

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_classes: int,
        *,
        initializer: str = "default",
        init_scale: float = 0.05,
        bias_init: float | None = None,
        optimizer: str = "adam",
        lr: float = 1e-3,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        schedule: str = "constant",
        warmup_epochs: float = 5.0,
        step_size: int = 10,
        gamma: float | None = None,
        plateau_patience: int = 5,
        label_smoothing: float = 0.0,
        class_weights: str | Sequence[float] | None = None,
        compile: bool = False,
    ) -> None:
        super().__init__()
        require(
            len(input_shape) >= 1 and min(input_shape) >= 1,
            f"input_shape must contain positive sizes, got {input_shape}.",
        )
        require(num_classes >= 1, f"num_classes must be at least 1, got {num_classes}.")
        finite = bias_init is None or math.isfinite(bias_init)
        require(finite, f"model.bias_init must be a finite number or null, got {bias_init}.")
        choose("optimizer", optimizer, OPTIMIZERS)
        choose("schedule", schedule, SCHEDULES)
        require(0 < lr < math.inf, f"model.lr must be positive and finite, got {lr}.")
        require(0 <= momentum < 1, f"model.momentum must be in [0, 1), got {momentum}.")
        require(weight_decay >= 0, f"model.weight_decay must not be negative, got {weight_decay}.")
        require(warmup_epochs >= 0, f"model.warmup_epochs must not be negative, got {warmup_epochs}.")
        require(step_size >= 1, f"model.step_size must be at least 1 epoch, got {step_size}.")
        require(gamma is None or 0 < gamma < 1, f"model.gamma must be between 0 and 1 (exclusive), got {gamma}.")
        require(plateau_patience >= 0, f"model.plateau_patience must not be negative, got {plateau_patience}.")
        require(0 <= label_smoothing < 1, f"model.label_smoothing must be in [0, 1), got {label_smoothing}.")
        self._check_class_weights(num_classes, label_smoothing, class_weights)
        compilers = [os.environ.get("CXX", ""), "g++", "clang++"]
        require(
            not compile or any(map(shutil.which, compilers)),
            "model.compile needs a C++ compiler, but neither $CXX, g++ nor clang++ exists; install one, or remove the "
            "option.",
        )
        self.save_hyperparameters()
        self.num_classes = num_classes
        fixed = class_weights is not None and class_weights != "balanced"
        given = torch.tensor(class_weights, dtype=torch.float32) if fixed else None
        self.register_buffer("class_weight", given, persistent=False)
        self.metrics = nn.ModuleDict()
        for split in SPLITS:  # a suffix, because "train" would shadow a method of nn.Module
            self.metrics[f"{split}_metrics"] = make_metrics(num_classes, train=split == "train")
            self.metrics[f"{split}_loss"] = LossMean()
        self._batches: dict[str, list[tuple[Tensor, Tensor, Tensor]]] = {split: [] for split in SPLITS}
        self._batches_seen = 0
        self._n_ranks = self._batches_per_step = 1
        self._batches_per_epoch: float = math.inf
        self.started: float | None = None
        self.diverged_step: int | None = None
        self.data_card: dict[str, Any] = {}
        self.config: dict[str, Any] | None = None

    def init_weights(self, activation: str) -> None:
        """Initialize the weights of `net` with `initializer`, with the gain of `activation`; then apply `bias_init`."""
        initialize(self.net, self.hparams["initializer"], activation, self.hparams["init_scale"])
        if self.hparams["bias_init"] is not None:
            fill_hidden_biases(self.net, self.hparams["bias_init"])

    def forward(self, x: Tensor) -> Tensor:
        """Map inputs (B, *input_shape) to logits (B, num_classes); for a regression, to standardised targets (B, 1)."""
        return self.net(x)

    # --- steps ------------------------------------------------------------------------------------------------------

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Compute the training loss of a batch, including label smoothing and class weights."""
        x, y = batch
        logits = self(x)
        if self._n_ranks == 1:
            loss = mean = self._training_loss(logits, y)
        else:
            loss, mean = self._share_of_loss(logits, y, batch_idx)
        self._batches["train"].append((mean.detach(), logits.detach(), y))
        return loss * factor if (factor := self._accumulation_factor(batch_idx)) != 1 else loss

    def _accumulation_factor(self, batch_idx: int) -> float:
        """Return what makes the mean over the batches of a step, of which the last of an epoch may have fewer.

        Lightning divides each loss by `accumulate_grad_batches`, also where an epoch ends before that many.
        """
        every, n_batches = self._batches_per_step, self._batches_per_epoch
        if every == 1 or n_batches == math.inf:
            return 1
        return every / min(every, n_batches - batch_idx // every * every)

    def _training_loss(self, logits: Tensor, y: Tensor, reduction: str = "mean") -> Tensor:
        if self.num_classes == 1:
            return F.mse_loss(logits.squeeze(1), y, reduction=reduction)
        if self.class_weight is not None and not self.class_weight[y].any():
            return logits.sum() * 0.0  # a batch without weight contributes nothing; its mean would be 0/0
        smoothing = self.hparams["label_smoothing"]
        return F.cross_entropy(logits, y, self.class_weight, reduction=reduction, label_smoothing=smoothing)

    def _share_of_loss(self, logits: Tensor, y: Tensor, batch_idx: int) -> tuple[Tensor, Tensor]:
        """Compute the contribution of this rank's part of a batch to the loss of the whole batch.

        Strategies average gradients over ranks with equal weights. But the parts of the last batch may differ in size,
        and with class weights, those of any batch may differ in the sum of weights, which is the divisor of the mean.
        Each rank therefore divides its sum by that of the whole batch.

        Returns:
            The loss to minimise, whose mean over ranks is the loss of the whole batch, and the loss to log, whose mean
            over the samples of all ranks is the same.
        """
        loader: Any = self.trainer.train_dataloader
        if not hasattr(loader, "targets"):  # a user's loader, whose sampler gives all ranks the same number of samples
            loss = self._training_loss(logits, y)
            return loss, loss
        targets = loader.targets(batch_idx)
        whole = len(targets) if self.class_weight is None else self.class_weight[targets].sum()
        whole = whole if whole > 0 else 1
        loss = self._training_loss(logits, y, "sum") * (self._n_ranks / whole)
        return loss, loss.detach() * (len(targets) / (self._n_ranks * max(len(y), 1)))

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Collect the plain loss and the logits of a batch."""
        self._evaluate("val", batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Collect the plain loss and the logits of a batch."""
        self._evaluate("test", batch)

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Compute class probabilities (B, num_classes); for a regression, predictions (B,) in the target's units."""
        return self.predictions(self(batch[0]))

    def predictions(self, logits: Tensor) -> Tensor:
        """Convert logits to probabilities (B, num_classes); for a regression, to values (B,) in the target's units."""
        return self.in_units(logits.squeeze(1)) if self.num_classes == 1 else logits.float().softmax(1)

    def plain_loss(self, logits: Tensor, y: Tensor) -> Tensor:
        """Cross entropy, or mean squared error of the standardised target, without label smoothing or class weights."""
        return F.mse_loss(logits.squeeze(1), y) if self.num_classes == 1 else F.cross_entropy(logits, y)

    def gathered(self, split: str) -> tuple[Tensor, Tensor]:
        """Logits (N, num_classes) and targets (N,) of the batches so far in this epoch; N may be 0."""
        batches = self._batches[split]
        if not batches:
            kind = torch.float32 if self.num_classes == 1 else torch.int64
            return torch.empty(0, self.num_classes, device=self.device), torch.empty(0, dtype=kind, device=self.device)
        return torch.cat([logits for _, logits, _ in batches]), torch.cat([y for _, _, y in batches])

    # --- epochs -----------------------------------------------------------------------------------------------------

    def on_train_start(self) -> None:
        """Store what `training_step` needs to know of the trainer, and the time at which all ranks are ready."""
        self._n_ranks, self.started = self.trainer.world_size, time.perf_counter()
        self._batches_per_step = self.trainer.accumulate_grad_batches
        self._batches_per_epoch = self.trainer.num_training_batches

    def on_train_epoch_end(self) -> None:
        """Log the epoch's mean training loss and metrics; stop the run if a loss is not finite."""
        losses = torch.stack([loss for loss, _, _ in self._batches["train"]])
        finite = losses.isfinite()
        if self._n_ranks > 1:  # the loss may overflow on one rank only, but all ranks must stop together
            finite = self.trainer.strategy.reduce(finite.int(), reduce_op="min").bool()
        if not finite.all():
            self._diverge(self._batches_seen + int((~finite).nonzero()[0]))
        self._batches_seen += len(losses)
        self._log_epoch("train")

    def on_validation_epoch_end(self) -> None:
        """Log the validation loss and metrics."""
        if not self._log_epoch("val").isfinite():
            self._diverge(self._batches_seen + len(self._batches["train"]))

    def on_test_epoch_end(self) -> None:
        """Log the test loss and metrics."""
        self._log_epoch("test")

    def _evaluate(self, split: str, batch: Batch) -> None:
        x, y = batch
        if len(y) > 0:  # a rank's part of a very small split may be empty
            logits = self(x)
            self._batches[split].append((self.plain_loss(logits, y), logits, y))

    def _log_epoch(self, split: str) -> Tensor:
        """Compute, log and reset a split's loss and metrics from the collected batches; returns the loss."""
        logits, y = self.gathered(split)
        outputs = (self.predictions(logits), self.in_units(y)) if self.num_classes == 1 else (logits.float(), y)
        batches, self._batches[split] = self._batches[split], []
        metrics = cast(MetricCollection, self.metrics[f"{split}_metrics"])
        loss_mean = cast(LossMean, self.metrics[f"{split}_loss"])
        if batches:
            sizes = torch.tensor([len(targets) for _, _, targets in batches], device=self.device)
            loss_mean.update(torch.stack([loss for loss, _, _ in batches]).float(), sizes)
            metrics.update(*outputs)
        else:  # a rank without samples: its states must have as many axes as those of other ranks
            for metric in metrics.values():
                if any(isinstance(state, list) for state in metric.metric_state.values()):
                    metric.update(*outputs)
        values = {"loss": loss_mean.compute(), **metrics.compute()}
        self.log_dict({f"{split}/{name}": value for name, value in values.items()}, prog_bar=split == "val")
        loss_mean.reset()
        metrics.reset()
        return values["loss"]

    def _diverge(self, step: int) -> None:
        # Validation runs before the training epoch ends, but the training losses may give an earlier step.
        self.diverged_step = step if self.diverged_step is None else min(step, self.diverged_step)
        self.trainer.should_stop = True

    # --- optimizer --------------------------------------------------------------------------------------------------

    def configure_optimizers(self) -> Any:
        """Create the optimizer and schedule given by the hyperparameters."""
        h = self.hparams
        fused = not self.trainer.precision.endswith("-mixed")
        optimizer = make_optimizer(h["optimizer"], self, h["lr"], h["momentum"], h["weight_decay"], fused)
        check_plan(h["schedule"], self.trainer.max_epochs)
        epochs, steps, steps_per_epoch = self.trainer.max_epochs, 0, 0
        if h["schedule"] in PLANNED:  # the next line sets up the training data, to count the batches
            steps = int(self.trainer.estimated_stepping_batches)
            steps_per_epoch = math.ceil(self.trainer.num_training_batches / self.trainer.accumulate_grad_batches)
            epochs = math.ceil(steps / steps_per_epoch)
        schedule = make_schedule(
            h["schedule"],
            optimizer,
            epochs=epochs,
            steps=steps,
            warmup_steps=h["warmup_epochs"] * steps_per_epoch,
            step_size=h["step_size"],
            gamma=h["gamma"],
            plateau_patience=h["plateau_patience"],
            monitor="val/loss",
        )
        if "monitor" in schedule:  # the schedule steps only after epochs that are validated
            schedule["frequency"] = self.trainer.check_val_every_n_epoch or 1
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    # --- data -------------------------------------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """Get class names, normalisation and balanced class weights from the data module."""
        data: Any = getattr(self.trainer, "datamodule", None)
        if hasattr(data, "card") and not self.data_card:
            self.data_card = data.card()
        if self.hparams["class_weights"] == "balanced" and stage == "fit":
            require(
                hasattr(data, "class_counts"),
                "model.class_weights 'balanced' needs a data module with the method class_counts; pass a list instead.",
            )
            self.balance_classes(data.class_counts().to(self.device))
        if self.hparams["compile"] and stage == "fit":
            # Not `self.net.compile()`: with torch 2.11 it compiles no part of a net made of torch's own modules.
            self.net._compiled_call_impl = torch.compile(self.net.forward)

    def balance_classes(self, counts: Tensor) -> None:
        """Weight class c by n/(C·n_c) in the training loss, given the number of training rows n_c, (num_classes,)."""
        self.class_weight = counts.sum() / (self.num_classes * counts.clamp(min=1).float())

    def in_units(self, standardised: Tensor) -> Tensor:
        """Convert standardised regression targets or outputs (B,) to the target's units, in float64.

        In float32, targets of 1.7e9 ± 60, such as times, would all be the same number. MPS has no float64.
        """
        scale = self.data_card.get("target") or {"mean": 0.0, "std": 1.0}
        values = standardised.cpu() if standardised.device.type == "mps" else standardised
        return values.double() * scale["std"] + scale["mean"]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore what `on_save_checkpoint` added, for Lightning's `load_from_checkpoint`."""
        own = checkpoint.get("zoo") or {}
        self.data_card, self.config = own.get("data") or {}, own.get("config")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what `zoo.load` needs: the registered name, the data's card and the run's config."""
        checkpoint["zoo"] = describe(self)

    @staticmethod
    def _check_class_weights(num_classes: int, label_smoothing: float, weights: str | Sequence[float] | None) -> None:
        regression = num_classes == 1
        only = "is only for classification, but this is a regression; remove it."
        require(not (regression and label_smoothing), f"model.label_smoothing {only}")
        require(not (regression and weights), f"model.class_weights {only}")
        if isinstance(weights, str):
            choose("class_weights", weights, ["balanced"])
        elif weights is not None:
            require(
                len(weights) == num_classes,
                f"model.class_weights must have one weight for each of the {num_classes} classes, got {len(weights)}.",
            )
            fine = all(0 <= weight < math.inf for weight in weights) and max(weights) > 0
            require(
                fine, f"model.class_weights must be finite and non-negative, and not all zero; got {list(weights)}."
            )


FORMAT = 1


def describe(model: ZooModule) -> dict[str, Any]:
    """Entries that are added to a Lightning checkpoint, as plain values."""
    name = MODELS.name_of(type(model))
    return {"format": FORMAT, "model": name, "data": model.data_card, "config": model.config}
