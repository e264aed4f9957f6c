"""Checks of the trainer's flags that Lightning accepts without an effect that was meant. Does not import Lightning."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from datamodules.errors import InputError, require

from .plain import Config


def check_flags(trainer: Config) -> None:
    """Check that the flags let a run train and validate.

    Args:
        trainer: The section `trainer` of a config, with the defaults of this project.

    Raises:
        InputError: If a flag is out of range, or no step could be trained.
    """
    clip, every = trainer.get("gradient_clip_val"), trainer.get("accumulate_grad_batches", 1)
    require(clip is None or clip >= 0, f"trainer.gradient_clip_val must not be negative, got {clip}; null disables it.")
    require(every >= 1, f"trainer.accumulate_grad_batches must be at least 1, got {every}.")
    validated = trainer.get("check_val_every_n_epoch", 1)
    require(
        validated is None or validated >= 1,
        f"trainer.check_val_every_n_epoch must be at least 1, got {validated}; 1 validates after every epoch.",
    )
    epochs = trainer.get("max_epochs")
    require(
        not epochs or epochs < 1 or not validated or validated <= epochs,
        f"trainer.check_val_every_n_epoch is {validated}, but trainer.max_epochs is {epochs}, so no epoch would be "
        "validated; decrease the one or increase the other.",
    )
    for name, unlimited in (("max_epochs", -1), ("max_steps", -1)):
        value = trainer.get(name)
        require(
            value is None or value >= 1 or value == unlimited,
            f"trainer.{name} must be at least 1, or {unlimited} for no limit, got {value}; the model would not be "
            "trained.",
        )
    if trainer.get("max_time") is not None:
        limit = _duration(trainer["max_time"])
        require(
            limit > timedelta(0),
            f"trainer.max_time must be more than 0 seconds, got {trainer['max_time']!r}; the model would not be "
            "trained. Use DD:HH:MM:SS, such as 00:00:10:00 for ten minutes.",
        )


def _duration(value: Any) -> timedelta:
    """Convert a value of `max_time`, as Lightning does.

    Raises:
        InputError: If it is not a duration.
    """
    try:
        if isinstance(value, Mapping):
            return timedelta(**value)
        if isinstance(value, str):
            days, hours, minutes, seconds = map(int, value.split(":"))
            return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        if isinstance(value, timedelta):
            return value
    except (ValueError, TypeError, OverflowError):
        pass
    raise InputError(
        f"trainer.max_time must be a duration as DD:HH:MM:SS, such as 00:00:10:00 for ten minutes, got {value!r}."
    )
