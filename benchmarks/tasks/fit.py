"""The task `fit`: training with `zoo.train.fit`."""

import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from zoo.parts.metric_names import measures_throughput
from zoo.plain import Config, ResolvedConfig

from ..study.study import Study
from .base import Checked, Packing, Task
from .own_process import run_apart

LOCATIONS = ("root", "path", "test_path")  # parameters of data sets with the location of the data


class Fit(Task):
    """Trains a model as `zoo fit` does. Methods that take a study or a config need torch, except `precision`."""

    name = "fit"
    trains = True

    def check(self, study: Study) -> Checked:
        """Resolve the variants of a study, or report their problems."""
        from .fit_check import check_study

        return check_study(study)

    def resolve(self, config: Config) -> Config:
        """The complete config; see `zoo.config.resolve`."""
        from .fit_variants import resolve_one

        return resolve_one(config)

    def metrics(self, config: Config) -> Iterable[str]:
        """All metrics that can be compared."""
        from .fit_facts import measured

        return measured(config).names

    def identity(self, config: Config) -> Any:
        """Identity of the data, independent of their location: a user's file counts by its content."""
        from .fit_facts import identity

        return identity(config)

    def packing(self, config: Config) -> Packing:
        """How the trials of a valid config can be packed."""
        from .fit_facts import packing

        return packing(config)

    def options(self, pack: bool, resolved: bool = True) -> Mapping[str, Any]:
        """With `pack` false, Lightning trains all trials, even those that could be packed."""
        return ({} if pack else {"pack": False}) | ({} if resolved else {"resolved": False})

    def without_locations(self, config: Config) -> Config:
        """A complete config without the locations of its data."""
        if not isinstance(config.get("data"), dict):
            return config
        return {**config, "data": {name: value for name, value in config["data"].items() if name not in LOCATIONS}}

    def precision(self, config: Config) -> str | None:
        """The value of the trainer's flag."""
        precision: str = config.get("trainer", {}).get("precision", "32-true")
        return precision

    def run(
        self, config: Config, folder: Path, pack: bool = True, resolved: bool = True, **options: Any
    ) -> dict[str, Any]:
        """Train, and keep all files except the checkpoint.

        A trial is skipped if the machine lacks hardware that it requires. It runs in its own process if it needs
        several processes, or if its time and memory are measured; it is then compiled from scratch, without caches of
        earlier trials.
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
