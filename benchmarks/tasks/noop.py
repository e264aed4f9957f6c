"""The task `noop`, for measuring the harness and for tests that kill it."""

import os
import random
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from datamodules.errors import choose, require
from zoo.plain import Config, is_number

from .base import Packing, Task

NOOP: Config = {"sleep": 0.0, "returns": {"value": 1.0}, "noise": 0.0, "raises": None, "dies": None}


class Noop(Task):
    """A trial that does nothing.

    The keys of its config, all optional: `sleep` (seconds), `returns` (metrics), `noise` (standard deviation of the
    noise added to them, which depends on the seed), `raises` (message of an exception to raise), `dies` (name of a
    signal with which the process kills itself).
    """

    name = "noop"
    needs_torch = False

    def resolve(self, config: Config) -> Config:
        """The complete config.

        Raises:
            InputError: A key is unknown, or a value is out of range.
        """
        for key in config:
            choose("key of a noop trial", key, NOOP)
        config = {**NOOP, **config}
        for key in ("sleep", "noise"):
            good = is_number(config[key]) and config[key] >= 0
            require(good, f"{key} must be a number of at least 0, got {config[key]!r}.")
            config[key] = float(config[key])
        returns, raises = config["returns"], config["raises"]
        good = isinstance(returns, dict) and all(map(is_number, returns.values()))
        require(good, f"returns must map names to numbers, got {returns!r}.")
        config["returns"] = {name: float(value) for name, value in returns.items()}
        require(raises is None or isinstance(raises, str), f"raises must be text or null, got {raises!r}.")
        if config["dies"] is not None:
            choose("signal", config["dies"], [s.name for s in signal.Signals])
        return config

    def metrics(self, config: Config) -> Iterable[str]:
        """The metrics that the config returns."""
        return list(config["returns"])

    def packing(self, config: Config) -> Packing:
        """None."""
        return Packing(alone="it does not train")

    def run(self, config: Config, folder: Path, **options: Any) -> dict[str, Any]:
        """Sleep, die, raise or return metrics, as the config says."""
        time.sleep(config["sleep"])
        if config["dies"] is not None:
            os.kill(os.getpid(), signal.Signals[config["dies"]])
        if config["raises"] is not None:
            raise RuntimeError(config["raises"])
        draw, noise = random.Random(config["seed_everything"]), config["noise"]
        return {"metrics": {name: value + noise * draw.gauss(0, 1) for name, value in config["returns"].items()}}
