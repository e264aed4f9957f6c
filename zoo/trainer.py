"""Lightning's trainer for a resolved config, and checks before training."""

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from datamodules.errors import InputError, require

from .callbacks import CALLBACKS, Options
from .models.base import ZooModule
from .outputs.curve import EpochCSVLogger
from .plain import Config, ResolvedConfig


def make_trainer(config: ResolvedConfig, out: Path, progress: bool) -> tuple[L.Trainer, EpochCSVLogger]:
    """Create Lightning's trainer and logger for a resolved config that has passed `check_callbacks`.

    Raises:
        InputError: If Lightning rejects a flag.
    """
    logger = EpochCSVLogger()
    checkpointing = config["callbacks"]["model_checkpoint"] is not None
    callbacks = [option.make(out) for option in _callback_options(config)]
    own = {"callbacks": callbacks, "logger": logger, "enable_checkpointing": checkpointing, "default_root_dir": out}
    return lightning_trainer(_flags(config, progress), **own), logger


def bare_trainer(config: ResolvedConfig) -> L.Trainer:
    """Create Lightning's trainer without callbacks and logger, to inspect the effect of a resolved config's flags.

    Raises:
        InputError: If Lightning rejects a flag.
    """
    return lightning_trainer(_flags(config, progress=False), logger=False, enable_checkpointing=False)


def _flags(config: ResolvedConfig, progress: bool) -> Config:
    return {
        "devices": 1,  # not all available devices: results must not depend on the machine
        "enable_progress_bar": progress,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "log_every_n_steps": 1,
    } | config["trainer"]


def check_callbacks(config: Config, num_classes: int) -> None:
    """Check that callbacks can measure what they should, without creating them.

    Args:
        config: A resolved config, or its sections `callbacks`, `trainer` and, if any, `model`.
        num_classes: Number of classes; 1 for a regression.

    Raises:
        InputError: If an option is out of range, or a metric is not measured.
    """
    for name in ("dead_units", "activation_statistics"):
        both = bool(config.get("model", {}).get("compile")) and config["callbacks"].get(name) is not None
        require(
            not both,
            f"callbacks.{name} needs the outputs of single layers, which model.compile fuses; remove one of them.",
        )
    strategy = str(config.get("trainer", {}).get("strategy", ""))
    for name in ("gradient_flow", "gradient_clipping"):
        both = strategy.startswith("fsdp") and config["callbacks"].get(name) is not None
        require(
            not both, f"callbacks.{name} needs complete gradients, which the strategy fsdp shards; remove one of them."
        )
    throughput, epochs = config["callbacks"].get("throughput"), config["trainer"]["max_epochs"]
    if throughput is not None and isinstance(epochs, int) and epochs >= 0:
        warmup = throughput["warmup_epochs"]
        require(
            epochs > warmup,
            f"callbacks.throughput skips the first {warmup} epoch(s), but trainer.max_epochs is {epochs}; increase "
            "trainer.max_epochs, or decrease callbacks.throughput.warmup_epochs.",
        )
    for option in _callback_options(config):
        option.check(num_classes)


def check_monitors(callbacks: Config, y: torch.Tensor, class_names: Sequence[str] | None) -> None:
    """Check that monitored metrics are defined on the validation split.

    Args:
        callbacks: The section `callbacks` of a resolved config.
        y: Targets of the validation split.
        class_names: Names of the classes; None for a regression.

    Raises:
        InputError: If a metric would be undefined after every epoch, so that no epoch would be the best.
    """
    for name in ("early_stopping", "model_checkpoint"):
        monitor = (callbacks.get(name) or {}).get("monitor")
        reason = ""
        if monitor == "val/auroc" and class_names is not None:
            absent = sorted(set(range(len(class_names))) - set(y.unique().tolist()))
            reason = f"the class {class_names[absent[0]]!r} has no row in it" if absent else ""
        elif monitor == "val/r2" and len(y.unique()) < 2:
            reason = "all its targets are equal"
        require(
            not reason,
            f"callbacks.{name}.monitor is {monitor}, which is undefined on the validation split, because {reason}; "
            "monitor val/loss, or increase data.val_fraction.",
        )


def _callback_options(config: Config) -> list[Options]:
    """Return the options of the callbacks that are on."""
    return [CALLBACKS[name][0](**given) for name, given in config["callbacks"].items() if given is not None]


def lightning_trainer(flags: Config, **own: Any) -> L.Trainer:
    """Create Lightning's trainer from a user's flags and this project's own.

    Raises:
        InputError: If Lightning rejects a flag.
    """
    try:
        return L.Trainer(**flags, **own)
    except (MisconfigurationException, ValueError, TypeError, RuntimeError, ImportError) as error:
        raise InputError(f"Lightning rejected the trainer's flags: {error} (flags: {flags})") from None


def check_batches(model: ZooModule, smallest: int, world_size: int = 1) -> None:
    """Check the batch size: each rank needs at least one sample per batch, with batch norm two.

    Args:
        model: The model.
        smallest: Samples in the smallest batch, over all devices.
        world_size: Number of devices.

    Raises:
        InputError: If the batch is too small.
    """
    batch_norm = any(isinstance(layer, torch.nn.BatchNorm1d) for layer in model.modules())
    require(
        smallest >= world_size * (2 if batch_norm else 1),
        f"a batch of {smallest} is too small for {world_size} device(s): each device needs at least one sample per "
        "batch, or two with batch norm; increase data.batch_size or data.train_size, or set model.norm to layer.",
    )


def check_processes(trainer: L.Trainer) -> None:
    """Check that the number of processes is the one requested; otherwise ranks would wait, or be fewer unnoticed.

    Args:
        trainer: Lightning's trainer, which follows its flags or the launcher of this process.

    Raises:
        InputError: If the numbers differ.
    """
    asked, there = trainer.num_devices * trainer.num_nodes, trainer.world_size
    require(
        asked == there,
        f"{asked} device(s) are requested, but the launcher of this process started {there} process(es); start {asked} "
        "with torchrun or srun, or set SLURM_JOB_NAME=bash to let the run start its own processes inside a SLURM job.",
    )


def check_division(batch_size: int, world_size: int) -> None:
    """Check that batches can be divided equally between devices, so that all samples have the same weight.

    Args:
        batch_size: Samples per batch, over all devices.
        world_size: Number of devices.

    Raises:
        InputError: If they cannot, with the nearest divisible sizes.
    """
    below = batch_size // world_size * world_size
    nearest = f"{below} or {below + world_size}" if below else f"{world_size}"
    require(
        batch_size % world_size == 0,
        f"data.batch_size counts the samples of all devices together, so it must be divisible by the number of "
        f"devices, {world_size}, but it is {batch_size}; use {nearest}, or change trainer.devices.",
    )


class quiet:  # noqa: N801 - used as a function: with quiet()
    """Suppresses Lightning's messages about hardware, loggers and workers, but not other warnings."""

    def __enter__(self) -> None:
        self._levels = {name: logging.getLogger(name).level for name in ("lightning.pytorch", "lightning.fabric")}
        for name in self._levels:
            logging.getLogger(name).setLevel(logging.WARNING)
        self._warnings = warnings.catch_warnings()
        self._warnings.__enter__()
        warnings.filterwarnings("ignore", module="lightning")
        # Of a small split a process may get no row; its empty sums are added to those of the others.
        warnings.filterwarnings("ignore", "The ``compute`` method of metric .* was called before the ``update`` method")

    def __exit__(self, *exception: object) -> None:
        self._warnings.__exit__(None, None, None)
        for name, level in self._levels.items():
            logging.getLogger(name).setLevel(level)
