"""Lightning's trainer for a resolved config, and what is refused before it trains."""

import logging
import warnings
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
    """Lightning's trainer and its logger for a resolved config whose callbacks `check_callbacks` does not refuse.

    Raises:
        InputError: A flag that Lightning refuses.
    """
    logger = EpochCSVLogger()
    checkpointing = config["callbacks"]["model_checkpoint"] is not None
    callbacks = [option.make(out) for option in _callback_options(config)]
    own = {"callbacks": callbacks, "logger": logger, "enable_checkpointing": checkpointing, "default_root_dir": out}
    return lightning_trainer(_flags(config, progress), **own), logger


def bare_trainer(config: ResolvedConfig) -> L.Trainer:
    """Lightning's trainer without callbacks and logger: to ask what a resolved config's flags amount to.

    Raises:
        InputError: A flag that Lightning refuses.
    """
    return lightning_trainer(_flags(config, progress=False), logger=False, enable_checkpointing=False)


def _flags(config: ResolvedConfig, progress: bool) -> Config:
    return {
        "devices": 1,  # not all that there are: what a net learns is not to depend on where it is trained
        "enable_progress_bar": progress,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "log_every_n_steps": 1,
    } | config["trainer"]


def check_callbacks(config: Config, num_classes: int) -> None:
    """Refuse callbacks that could not measure what they are asked to; none is made for that.

    Args:
        config: A resolved config, or its sections `callbacks`, `trainer` and, where there is one, `model`.
        num_classes: The number of classes; 1 for a regression.

    Raises:
        InputError: An option out of range, or a metric that is not measured.
    """
    for name in ("dead_units", "activation_statistics"):
        both = bool(config.get("model", {}).get("compile")) and config["callbacks"].get(name) is not None
        require(not both, f"callbacks.{name} looks between layers, which model.compile fuses; leave one of them out.")
    strategy = str(config.get("trainer", {}).get("strategy", ""))
    for name in ("gradient_flow", "gradient_clipping"):
        both = strategy.startswith("fsdp") and config["callbacks"].get(name) is not None
        require(
            not both, f"callbacks.{name} takes norms of whole gradients, which fsdp shares out; leave one of them out."
        )
    throughput, epochs = config["callbacks"].get("throughput"), config["trainer"]["max_epochs"]
    if throughput is not None and isinstance(epochs, int) and epochs >= 0:
        warmup = throughput["warmup_epochs"]
        require(
            epochs > warmup,
            f"callbacks.throughput leaves out the first {warmup} epochs, and there are {epochs}; raise "
            "trainer.max_epochs, or lower callbacks.throughput.warmup_epochs.",
        )
    for option in _callback_options(config):
        option.check(num_classes)


def _callback_options(config: Config) -> list[Options]:
    """The options of the callbacks that are on."""
    return [CALLBACKS[name][0](**given) for name, given in config["callbacks"].items() if given is not None]


def lightning_trainer(flags: Config, **own: Any) -> L.Trainer:
    """Lightning's trainer from a user's flags and this project's own.

    Raises:
        InputError: Lightning refuses a flag.
    """
    try:
        return L.Trainer(**flags, **own)
    except (MisconfigurationException, ValueError, TypeError, RuntimeError) as error:
        raise InputError(f"Lightning refuses the trainer's flags {flags}: {error}") from None


def check_batches(model: ZooModule, smallest: int, world_size: int = 1) -> None:
    """Refuse batches too small to share out: each rank needs one sample, with batch norm two.

    Args:
        model: The model.
        smallest: Samples in the smallest batch, over all devices.
        world_size: The number of devices.

    Raises:
        InputError: With what to change.
    """
    batch_norm = any(isinstance(layer, torch.nn.BatchNorm1d) for layer in model.modules())
    require(
        smallest >= world_size * (2 if batch_norm else 1),
        f"a batch of {smallest} is too small for {world_size} device(s): batch norm needs two samples a batch on each, "
        "other nets one; raise data.batch_size or data.train_size, or set model.norm to layer.",
    )


def check_processes(trainer: L.Trainer) -> None:
    """Refuse processes that are not those that the flags ask for: ranks would wait for others, or be fewer unnoticed.

    Args:
        trainer: Lightning's, which goes by its flags or by what started this process.

    Raises:
        InputError: With both numbers.
    """
    asked, there = trainer.num_devices * trainer.num_nodes, trainer.world_size
    require(
        asked == there,
        f"{asked} device(s) are asked for, and what started this process gives the run {there} process(es); start it "
        "by torchrun or srun with as many, or, for processes of its own inside a SLURM job, set SLURM_JOB_NAME=bash.",
    )


def check_division(batch_size: int, world_size: int) -> None:
    """Refuse batches that devices cannot share equally, since each would then count a little more or less.

    Args:
        batch_size: Samples in a batch, over all devices.
        world_size: The number of devices.

    Raises:
        InputError: With the nearest sizes that can be divided.
    """
    below = batch_size // world_size * world_size
    nearest = f"{below} or {below + world_size}" if below else f"{world_size}"
    require(
        batch_size % world_size == 0,
        f"data.batch_size {batch_size} cannot be divided among {world_size} devices: it counts the samples of all of "
        f"them together; say {nearest}, or change trainer.devices.",
    )


class quiet:  # noqa: N801 - reads as the phrase it is: with quiet()
    """Keeps Lightning's notices about hardware, loggers and workers to itself; warnings of others still show."""

    def __enter__(self) -> None:
        self._levels = {name: logging.getLogger(name).level for name in ("lightning.pytorch", "lightning.fabric")}
        for name in self._levels:
            logging.getLogger(name).setLevel(logging.WARNING)
        self._warnings = warnings.catch_warnings()
        self._warnings.__enter__()
        warnings.filterwarnings("ignore", module="lightning")

    def __exit__(self, *exception: object) -> None:
        self._warnings.__exit__(None, None, None)
        for name, level in self._levels.items():
            logging.getLogger(name).setLevel(level)
