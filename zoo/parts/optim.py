"""Optimizers and learning-rate schedules by name."""

import math
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer, lr_scheduler

from datamodules.errors import InputError

from .layers import is_weighted

OPTIMIZERS = ("sgd", "adam", "adamw", "rmsprop")
SCHEDULES = ("constant", "step", "exponential", "cosine", "warmup_cosine", "one_cycle", "plateau")
PLANNED = ("cosine", "warmup_cosine", "one_cycle")  # schedules that need a fixed number of epochs


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Group the weights of `WEIGHTED` layers, which decay, and all other parameters; one group if nothing decays."""
    if weight_decay == 0:
        return [{"params": list(module.parameters()), "weight_decay": 0.0}]  # AdamW's default is not 0
    no_decay = {
        id(parameter)
        for layer in module.modules()
        for name, parameter in layer.named_parameters(recurse=False)
        if not (is_weighted(layer) and name == "weight")
    }
    weights = [p for p in module.parameters() if id(p) not in no_decay]
    others = [p for p in module.parameters() if id(p) in no_decay]
    groups = [{"params": weights, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def make_optimizer(
    name: str, module: nn.Module, lr: float, momentum: float, weight_decay: float, fused: bool = True
) -> Optimizer:
    """Create an optimizer for a module's parameters.

    Args:
        name: `sgd`, `adam` (L2 penalty), `adamw` (decoupled weight decay) or `rmsprop` (without momentum).
        module: The module.
        lr: Learning rate.
        momentum: Momentum of `sgd`.
        weight_decay: Weight decay of weights, not of biases and norms.
        fused: Whether to use fused kernels; Lightning's mixed precision cannot clip gradients for these.
    """
    groups = parameter_groups(module, weight_decay)
    if name == "rmsprop":
        return torch.optim.RMSprop(groups, lr=lr)
    # Fused kernels replace a dozen calls by one, which saves most of a small net's optimizer step.
    if name == "sgd":
        return torch.optim.SGD(groups, lr=lr, momentum=momentum, fused=fused)
    return {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[name](groups, lr=lr, fused=fused)


def check_plan(schedule: str, epochs: int | None) -> None:
    """Check that a schedule that needs a fixed number of epochs has one.

    Raises:
        InputError: If it has not.
    """
    if schedule in PLANNED and (epochs is None or epochs < 1):
        raise InputError(f"model.schedule {schedule!r} needs a fixed number of epochs; set --trainer.max_epochs.")


def make_schedule(
    name: str,
    optimizer: Optimizer,
    *,
    epochs: int | None,
    steps: int,
    warmup_steps: float,
    step_size: int,
    gamma: float | None,
    plateau_patience: int,
    monitor: str,
) -> dict[str, Any]:
    """Create a learning-rate schedule in Lightning's format, with the interval at which it steps.

    Args:
        name: `constant`; `step` (multiplies by gamma, default 0.1, every `step_size` epochs); `exponential` (multiplies
            by gamma, default 0.95, every epoch); `cosine` (decays to zero, every epoch; Loshchilov & Hutter 2017);
            `warmup_cosine` (linear warmup over `warmup_steps`, then cosine, every step; Goyal et al. 2017);
            `one_cycle` (every step; Smith & Topin 2018); `plateau` (multiplies by gamma, default 0.1, when `monitor`
            has not improved for `plateau_patience` epochs).
        optimizer: The optimizer.
        epochs: Number of epochs; None or negative if it is not fixed.
        steps: Number of optimizer steps, for `warmup_cosine` and `one_cycle`.
        warmup_steps: See above.
        step_size: See above.
        gamma: See above.
        plateau_patience: See above.
        monitor: See above.

    Raises:
        InputError: If the schedule needs a fixed number of epochs and there is none.
    """
    check_plan(name, epochs)
    epoch: dict[str, Any] = {"interval": "epoch", "name": "lr"}
    step: dict[str, Any] = {"interval": "step", "name": "lr"}
    if name == "constant":
        return epoch | {"scheduler": lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)}
    if name == "step":
        return epoch | {"scheduler": lr_scheduler.StepLR(optimizer, step_size, 0.1 if gamma is None else gamma)}
    if name == "exponential":
        return epoch | {"scheduler": lr_scheduler.ExponentialLR(optimizer, 0.95 if gamma is None else gamma)}
    if name == "plateau":
        plateau = lr_scheduler.ReduceLROnPlateau(
            optimizer, factor=0.1 if gamma is None else gamma, patience=plateau_patience
        )
        return epoch | {"scheduler": plateau, "monitor": monitor}
    assert epochs is not None
    if name == "cosine":
        return epoch | {"scheduler": lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)}
    if name == "one_cycle":
        peaks = [group["lr"] for group in optimizer.param_groups]
        return step | {"scheduler": lr_scheduler.OneCycleLR(optimizer, peaks, total_steps=steps, cycle_momentum=False)}

    def warmup_cosine(done: int) -> float:
        if done + 1 <= warmup_steps:
            return (done + 1) / warmup_steps
        return 0.5 * (1 + math.cos(math.pi * (done - warmup_steps) / max(steps - warmup_steps, 1)))

    return step | {"scheduler": lr_scheduler.LambdaLR(optimizer, warmup_cosine)}
