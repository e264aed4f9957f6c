"""What a trial does: `fit`, `noop`, `signal_propagation`, or `module:function` of the user's own.

Imports neither torch nor lightning.
"""

import copy
import hashlib
import importlib
import importlib.util
import os
import random
import re
import signal
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from datamodules.errors import InputError, choose, require
from zoo.outputs.provenance import code_version
from zoo.parts.metric_names import measures_throughput
from zoo.plain import Config, ResolvedConfig, is_number

from .own_process import run_apart

# Takes a resolved config and a folder for its files; returns its part of a record, with `metrics` at least.
Run = Callable[..., dict[str, Any]]


def fit(config: Config, folder: Path, pack: bool = True, resolved: bool = True) -> dict[str, Any]:
    """Train by `zoo.train.fit` and keep all but the checkpoint; one that takes several processes has them to itself.

    It is skipped where the machine lacks what it asks for. One whose time and memory are measured has a process of its
    own, too: so all are measured alike, and what is compiled is so afresh, without what earlier trials left on disk.

    Args:
        config: The config.
        folder: Where its files go.
        pack: Whether it is trained as a pack of one where it can be.
        resolved: Whether the config is complete; one that another version of the code recorded need not be.
    """
    from zoo.train import run

    from .machine import lacking, n_processes

    if not resolved:
        from zoo.config import resolve

        config = resolve(config)
    if reason := lacking(config):
        return {"status": "skipped", "reason": reason, "metrics": {}}
    distributed = n_processes(config) > 1 or config["trainer"].get("strategy", "auto") != "auto"
    try:
        if not distributed and not measures_throughput(config["callbacks"]):
            return asdict(run(ResolvedConfig(config), folder, pack=pack, record=False))
        with tempfile.TemporaryDirectory(prefix="bench-compiled-", ignore_cleanup_errors=True) as cache:
            return run_apart(config, folder, {"TORCHINDUCTOR_CACHE_DIR": cache})
    finally:
        (folder / "best.ckpt").unlink(missing_ok=True)


NOOP: Config = {"sleep": 0.0, "returns": {"value": 1.0}, "noise": 0.0, "raises": None, "dies": None}


def noop(config: Config, folder: Path) -> dict[str, Any]:
    """Cost nothing: for measuring the harness, and for tests that kill it.

    The config's keys, all optional: `sleep` (seconds), `returns` (metrics), `noise` (the standard deviation of what the
    seed adds to them), `raises` (the message of an exception), `dies` (the name of the signal it kills itself by).
    """
    time.sleep(config["sleep"])
    if config["dies"] is not None:
        os.kill(os.getpid(), signal.Signals[config["dies"]])
    if config["raises"] is not None:
        raise RuntimeError(config["raises"])
    draw = random.Random(config["seed_everything"])
    return {"metrics": {name: value + config["noise"] * draw.gauss(0, 1) for name, value in config["returns"].items()}}


def resolve_noop(config: Config) -> Config:
    """The complete config of a `noop` trial.

    Raises:
        InputError: An unknown key or a value out of range.
    """
    for key in config:
        choose("key of a noop trial", key, NOOP)
    config = {**NOOP, **config}
    for key in ("sleep", "noise"):
        good = is_number(config[key]) and config[key] >= 0
        require(good, f"{key} must be a number, not negative; got {config[key]!r}.")
        config[key] = float(config[key])
    returns, raises = config["returns"], config["raises"]
    good = isinstance(returns, dict) and all(map(is_number, returns.values()))
    require(good, f"returns must map names to numbers, got {returns!r}.")
    config["returns"] = {name: float(value) for name, value in returns.items()}
    require(raises is None or isinstance(raises, str), f"raises must be text or null, got {raises!r}.")
    if config["dies"] is not None:
        choose("signal", config["dies"], [s.name for s in signal.Signals])
    return config


def signal_propagation(config: Config, folder: Path) -> dict[str, Any]:
    """Measure how a signal passes through a fresh net; see `zoo.signal_propagation`."""
    from zoo.signal_propagation import measure

    return {"metrics": measure(config)}


BUILT_IN: dict[str, Run] = {"fit": fit, "noop": noop, "signal_propagation": signal_propagation}


def check_name(name: Any) -> None:
    """Refuse what cannot be the name of a task.

    Raises:
        InputError: With the built-in ones.
    """
    require(isinstance(name, str), f"'task' must name a task, such as fit; got {name!r}.")
    if not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", name):
        choose("task (one of your own is written module:function)", name, BUILT_IN)


def load_task(name: str) -> Run:
    """The function behind a task's name.

    One of the user's own takes the config and a folder, and returns its metrics: names to numbers.

    Raises:
        InputError: No such module or function.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]
    module, _, attribute = name.partition(":")
    try:
        function = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, SyntaxError) as error:
        raise InputError(
            f"cannot load the task {name!r}: {error}. Its module must lie beside the study file, or be installed."
        ) from None
    except (Exception, SystemExit) as error:
        raise InputError(f"cannot load the task {name!r}: {type(error).__name__}: {error}. Mend its module.") from None
    require(callable(function), f"the task {name!r} is no function.")
    return lambda config, folder: {"metrics": _numbers(name, function(copy.deepcopy(config), folder))}


@cache
def code_version_of(name: str) -> str:
    """The version of the code that a task runs: that of `zoo` and `datamodules`, with the source of one's own task."""
    if name in BUILT_IN:
        return code_version()
    spec = importlib.util.find_spec(name.partition(":")[0])
    source = Path(spec.origin).read_bytes() if spec and spec.origin and Path(spec.origin).is_file() else b""
    return hashlib.sha256(code_version().encode() + source).hexdigest()[:12]


def _numbers(name: str, metrics: Any) -> dict[str, float]:
    if not isinstance(metrics, Mapping):
        raise TypeError(f"the task {name!r} must return its metrics, a mapping of names to numbers; got {metrics!r}")
    return {str(key): float(value) for key, value in metrics.items()}
