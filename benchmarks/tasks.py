"""What a trial does."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any


def fit(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Train by `zoo.train.fit` and keep all but the checkpoint."""
    from zoo.train import fit

    result = asdict(fit(config, folder))
    (folder / "best.ckpt").unlink(missing_ok=True)
    return result


# Each takes a resolved config and a folder for its files, and returns at least `status`, `reason` and `metrics`.
TASKS: dict[str, Callable[[dict[str, Any], Path], dict[str, Any]]] = {"fit": fit}
