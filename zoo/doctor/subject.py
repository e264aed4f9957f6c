"""The subject of the checks: a model, some of its data and its config, and training of copies of it."""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as L
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from datamodules.loader import batch_bounds, has_batch_norm, smallest_last

from ..models.base import ZooModule
from ..parts.optim import make_optimizer
from .trace import calm

# Enough for all checks, and takes seconds on one core for the zoo's largest nets.
PROBE, LOOK, VALIDATION = 2048, 512, 1024
Clip = Callable[[nn.Module], object]


@dataclass
class Subject:
    """A model to check. Checks work on copies; the model itself is not changed.

    Attributes:
        model: The model.
        config: The run's config; missing parts mean the same as for `zoo fit`.
        num_classes: Number of classes; 1 for a regression.
        x: Up to `PROBE` training inputs as in batches: shuffled and augmented.
        y: Targets of `x`.
        val: Up to `VALIDATION` validation inputs and targets.
        all_x: All training inputs if they are in memory, otherwise `x`.
        all_y: All training targets if they are in memory, otherwise `y`.
        batch_size: Samples per training batch on each device.
        last_batch: Samples in the last batch of an epoch on each device.
    """

    model: L.LightningModule
    config: Mapping[str, Any]
    num_classes: int
    x: Tensor
    y: Tensor
    val: tuple[Tensor, Tensor]
    all_x: Tensor
    all_y: Tensor
    batch_size: int
    last_batch: int

    @property
    def seed(self) -> int:
        """The run's seed."""
        return int(self.config.get("seed_everything", 0))

    @property
    def hparams(self) -> Mapping[str, Any]:
        """The model's hyperparameters; empty if it saved none."""
        return self.model.hparams

    @property
    def clip(self) -> Clip | None:
        """The run's gradient clipping, by norm or by value, or None."""
        trainer = self.config.get("trainer", {})
        return clip_by(trainer.get("gradient_clip_val"), trainer.get("gradient_clip_algorithm"))

    @property
    def look(self) -> tuple[Tensor, Tensor]:
        """The first `LOOK` inputs and targets, for measurements without training."""
        return self.x[:LOOK], self.y[:LOOK]

    def copy(self) -> L.LightningModule:
        """Copy the model to the CPU, in training mode, without its trainer."""
        memo: dict[int, Any] = {id(held): None for held in (self.model._trainer, self.model._fabric)}
        return copy.deepcopy(self.model, memo).cpu().train()

    def calm_copy(self) -> L.LightningModule:
        """Copy the model as `copy` does, with dropout disabled."""
        model = self.copy()
        calm(model)
        return model

    def sample_losses(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Cross entropy or squared error of each sample, (B,)."""
        if self.num_classes == 1:
            return F.mse_loss(outputs.squeeze(1), y.flatten(), reduction="none")
        return F.cross_entropy(outputs, y, reduction="none")

    def loss(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Loss without label smoothing or class weights; for user models, the loss of their `training_step`."""
        if isinstance(model, ZooModule) and type(model).training_step is ZooModule.training_step:
            return model.plain_loss(model(x), y)
        own = isinstance(model, L.LightningModule) and type(model).training_step is not L.LightningModule.training_step
        if own and model.automatic_optimization:
            loss: Any = model.training_step((x, y), 0)  # type: ignore[operator]
            return loss["loss"] if isinstance(loss, Mapping) else loss
        return self.sample_losses(model(x), y).mean()

    def batches(self, size: int, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Full batches from `x` and `y`, reshuffled for each pass."""
        size, generator, n = min(size, len(self.x)), torch.Generator().manual_seed(self.seed), len(self.x)
        order = torch.empty(0, dtype=torch.long)
        for _ in range(steps):
            if len(order) < size:
                order = torch.randperm(n, generator=generator)
            rows, order = order[:size], order[size:]
            yield self.x[rows], self.y[rows]

    def train(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        batches: Iterable[tuple[Tensor, Tensor]],
        *,
        lr: Callable[[int], float] | None = None,
        clip: Clip | None = None,
    ) -> Iterator[float]:
        """Take one step per batch and yield the loss before it; stop at a loss that is not finite."""
        for step, (x, y) in enumerate(batches):
            if lr is not None:
                for group in optimizer.param_groups:
                    group["lr"] = lr(step)
            optimizer.zero_grad()
            loss = self.loss(model, x, y)
            if loss.isfinite() and loss.requires_grad:
                loss.backward()
                if clip is not None:
                    clip(model)
                optimizer.step()
            yield float(loss.detach())
            if not loss.isfinite():
                return

    def own_optimizers(self, model: L.LightningModule) -> list[Optimizer]:
        """Optimizers that the model is trained with, usually one."""
        if isinstance(model, ZooModule):  # its configure_optimizers needs a trainer for the schedule
            h = model.hparams
            return [make_optimizer(h["optimizer"], model, h["lr"], h["momentum"], h["weight_decay"])]
        made: Any = model.configure_optimizers()
        if isinstance(made, list | tuple) and made and isinstance(made[0], list | tuple):
            made = made[0]  # the second element contains the schedules
        found = made if isinstance(made, list | tuple) else [made]
        return [one["optimizer"] if isinstance(one, Mapping) else one for one in found]


def clip_by(limit: float | None, algorithm: str | None = None) -> Clip | None:
    """Function that clips the gradients of a model as Lightning does, by `norm` (the default) or `value`."""
    if not limit:
        return None
    function = nn.utils.clip_grad_value_ if algorithm == "value" else nn.utils.clip_grad_norm_
    return lambda model: function(model.parameters(), limit)


def adam(model: nn.Module, lr: float) -> Optimizer:
    """Adam for the parameters that are not frozen."""
    return torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=lr)


def make_subject(
    model: L.LightningModule, data: L.LightningDataModule, config: Mapping[str, Any] | None, world_size: int
) -> Subject:
    """Create a subject with samples from a data module: one of this project's, or any whose loaders yield `(x, y)`."""
    source: Any = data
    if not hasattr(source, "arrays"):
        source.prepare_data()
        source.setup("fit")
    loader = source.train_dataloader()
    batch_size, x, y = _gather(loader, PROBE)
    val = (
        tuple(t[:VALIDATION] for t in source.arrays("val"))
        if hasattr(source, "arrays")
        else _gather(source.val_dataloader(), VALIDATION)[1:]
    )
    if hasattr(source, "arrays"):
        all_x, all_y = source.arrays("train")
        smallest = smallest_last(source.batch_size, world_size, has_batch_norm(model))
        start, stop = batch_bounds(len(all_x), source.batch_size, smallest)[-1]
        batch_size, last = min(source.batch_size, len(all_x)), stop - start
    else:
        all_x, all_y, n = x, y, len(getattr(loader, "dataset", x))
        last = batch_size if getattr(loader, "drop_last", False) else n % batch_size or batch_size
    classes = getattr(source, "num_classes", None) or getattr(model, "num_classes", None)
    if classes is None:
        classes = 1 if y.is_floating_point() else int(y.max()) + 1
    each = [max(1, size // world_size) for size in (batch_size, last)]
    return Subject(model, config or {}, classes, x, y, (val[0], val[1]), all_x, all_y, *each)


def _gather(loader: Iterable[Any], n: int) -> tuple[int, Tensor, Tensor]:
    """Size of a loader's first batch, and its first n samples."""
    xs: list[Tensor] = []
    ys: list[Tensor] = []
    for x, y in loader:
        xs.append(x.cpu())
        ys.append(y.cpu())
        if sum(map(len, xs)) >= n:
            break
    return len(xs[0]), torch.cat(xs)[:n], torch.cat(ys)[:n]
