"""Checks a model and its data before training: Karpathy's recipe (2019) and the chapter's checklist, in seconds.

>>> from zoo.doctor import examine
>>> findings = examine(model, data)  # any LightningModule, any data module whose batches are (x, y)
>>> [finding.check for finding in findings if finding.level == "broken"]
"""

from collections.abc import Callable, Mapping
from typing import Any

import lightning.pytorch as L
import torch

from ..config import resolve
from ..parts.optim import check_plan
from ..train import prepare
from ..trainer import bare_trainer, check_batches, check_callbacks, quiet
from .checks_baseline import zero_input
from .checks_data import batch_norm_batch, class_imbalance, input_scale
from .checks_output import batch_leak, forward, initial_loss, softmax
from .checks_overfit import overfit_batch
from .checks_rate import learning_rate
from .checks_signal import dead_units, gradient_flow, gradients, initializer
from .checks_structure import dropout_before_norm
from .findings import Finding
from .subject import Subject, make_subject

__all__ = ["CHECKS", "Finding", "diagnose", "examine"]

# In the order in which a person would look.
CHECKS: dict[str, Callable[[Subject], Finding]] = {
    check.__name__: check
    for check in (
        input_scale,
        class_imbalance,
        initial_loss,
        softmax,
        batch_leak,
        dropout_before_norm,
        batch_norm_batch,
        gradients,
        initializer,
        gradient_flow,
        dead_units,
        overfit_batch,
        zero_input,
        learning_rate,
    )
}


def examine(
    model: L.LightningModule,
    data: L.LightningDataModule,
    config: Mapping[str, Any] | None = None,
    *,
    world_size: int = 1,
    checks: tuple[str, ...] = tuple(CHECKS),
) -> list[Finding]:
    """Run the checks on a model without changing it; the same arguments give the same findings.

    Args:
        model: A LightningModule whose forward returns logits (B, C), or (B, 1) for a regression. Other modules than
            `ZooModule` are trained by their own `training_step`.
        data: One of this project's data modules, or any data module whose loaders yield batches `(x, y)`.
        config: Config as for `zoo fit`; its seed and gradient clipping are used.
        world_size: Number of devices that share each batch.
        checks: Names of the checks to run.

    Returns:
        One finding per check, `forward` first. If `forward` is broken, it is the only one.
    """
    with quiet(), torch.random.fork_rng(devices=[]):
        subject = make_subject(model, data, config, world_size)
        torch.manual_seed(subject.seed)
        findings = [forward(subject)]
        if findings[0].level == "broken":
            return findings
        for name in checks:
            torch.manual_seed(subject.seed)  # so that no check depends on which ran before
            findings.append(CHECKS[name](subject))
    return findings


def diagnose(config: Mapping[str, Any]) -> list[Finding]:
    """Examine what `zoo fit` would train.

    Args:
        config: See `zoo.config`.

    Raises:
        InputError: If `zoo fit` would reject the config.
    """
    config = resolve(config)
    model, data = prepare(config)
    check_callbacks(config, model.num_classes)
    with quiet():
        trainer = bare_trainer(config)
    check_plan(model.hparams["schedule"], trainer.max_epochs)
    check_batches(model, data.smallest_batch, trainer.world_size)
    return examine(model, data, config, world_size=trainer.world_size)
