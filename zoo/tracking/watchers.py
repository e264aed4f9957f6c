"""Watchers of a run: Weights & Biases, and any other Lightning logger."""

import argparse
import json
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, WandbLogger

from datamodules.base import ArrayDataModule

from ..devices import is_first_process
from ..models.base import ZooModule
from ..outputs.result import Result
from ..plain import Config
from . import content
from .loggers import make_logger
from .options import run_options
from .pictures import pictures
from .session import Say, Session, Unreachable, in_words
from .watching import Row, Watcher


class LoggerWatcher:
    """Logs a run to a Lightning logger.

    Args:
        logger: The logger.
    """

    def __init__(self, logger: Logger) -> None:
        self.logger, self.name = logger, type(logger).__name__
        self.step = 0
        self.curves: set[str] = set()

    def begin(self, config: Config) -> None:
        """Log the complete config."""
        self.logger.log_hyperparams(config)

    def epoch(self, row: Row) -> None:
        """Log the epoch's metrics at its last step."""
        self.step = int(row["step"])
        numbers = {k: float(v) for k, v in row.items() if k != "step" and isinstance(v, int | float)}
        self.curves |= numbers.keys()
        self.logger.log_metrics(numbers, self.step)

    def end(self, result: Result, model: ZooModule | None, data: ArrayDataModule, folder: Path) -> None:
        """Log the final metrics that are not curves."""
        final = {k: v for k, v in result.metrics.items() if k not in self.curves and v is not None}
        self.logger.log_metrics(final, self.step)
        self.logger.finalize("success")

    def fail(self) -> None:
        """Close the logger's files."""
        self.logger.finalize("failed")


class WandbWatcher:
    """Logs a run to Weights & Biases, through Lightning's logger.

    Args:
        session: The session to use.
    """

    name = "W&B"

    def __init__(self, session: Session) -> None:
        self.session = session
        self.logger: WandbLogger | None = None
        self.curves: set[str] = set()  # curves defined so far

    def begin(self, config: Config) -> None:
        """Start the run with the complete config; offline if the server does not respond."""
        options, names = self.session.options, (config["model"]["name"], config["data"]["name"])
        about: dict[str, Any] = {
            "name": content.shortened(options.name or "-".join(names), content.LONGEST),
            "group": options.group and content.shortened(options.group, content.LONGEST),
            "job_type": content.shortened(options.job_type or "fit", content.LONGEST_JOB_TYPE),
            "notes": options.notes,
            "tags": content.tags(*names, *options.tags),
        }
        try:
            run = self.session.start(**about)
        except Unreachable as error:
            self.session.go_offline(str(error))
            run = self.session.start(**about)
        self.logger = WandbLogger(project=self.session.options.project, experiment=run)
        content.define_axis(run)
        self.logger.log_hyperparams(content.config_of(config))

    def epoch(self, row: Row) -> None:
        """Log the epoch's metrics, and histograms of its gradients if they were measured."""
        if self.logger is None:
            return
        values = content.row_of(row)
        if new := {name: value for name, value in values.items() if name not in self.curves}:
            content.define_curves(self.logger.experiment, new)
            self.curves |= new.keys()
        self.logger.log_metrics({**values, **content.drawn(values)})

    def end(self, result: Result, model: ZooModule | None, data: ArrayDataModule, folder: Path) -> None:
        """Log the result, pictures of mistakes and, on request, the best checkpoint; then end the run."""
        if self.logger is None:
            return
        run, plain = self.logger.experiment, asdict(result)
        try:
            run.config.update({"environment": result.environment, "sizes": result.sizes})
            run.summary.update(content.summary(plain))
            if self.session.options.log_model and (folder / "best.ckpt").is_file():
                self._keep(self.logger, folder / "best.ckpt", plain)
            if model is not None:
                self._show_mistakes(self.logger, model, data)
        except Exception as error:
            self.session.say(f"W&B: part of this run could not be logged ({in_words(error)}); the run itself is done.")
        self._finish(content.exit_code(result.status))

    def fail(self) -> None:
        """End the run as failed."""
        self._finish(1)

    def _show_mistakes(self, logger: WandbLogger, model: ZooModule, data: ArrayDataModule) -> None:
        try:
            shown = pictures(model, data)
        except Exception as error:  # for example for a model with a nonstandard input
            self.session.say(f"W&B: the pictures of mistakes could not be created ({in_words(error)}).")
            return
        if shown:
            logger.log_metrics(shown)

    def _keep(self, logger: WandbLogger, checkpoint: Path, result: Mapping[str, Any]) -> None:
        import wandb

        run = logger.experiment
        metadata = {"best_epoch": result["best_epoch"], "metrics": result["metrics"]}
        artifact = wandb.Artifact(f"model-{run.id}", "model", metadata=json.loads(json.dumps(metadata)))
        artifact.add_file(str(checkpoint), name="best.ckpt")
        run.log_artifact(artifact, aliases=["best"])

    def _finish(self, exit_code: int) -> None:
        if self.logger is None:
            return
        run, session = self.logger.experiment, self.session
        path = run.url or f"{run.project}/{run.id}"
        later = f"To upload it later: wandb sync {shlex.quote(run.sync_dir)}"
        self.logger = None
        try:
            session.finish(run, exit_code)
        except Unreachable as error:
            session.say(f"W&B: {error}. {later}")
        except KeyboardInterrupt:
            session.say(f"W&B: the upload was interrupted. {later}")
            raise
        else:
            session.say(f"W&B: {path}" if session.online else f"W&B: the offline run is in {session.files}.")


@contextmanager
def watchers_of(args: argparse.Namespace, say: Say) -> Iterator[list[Watcher]]:
    """Create the watchers that the options of `zoo fit` ask for; none on processes other than the first.

    Args:
        args: Parsed arguments.
        say: Called with messages for the user.

    Raises:
        InputError: If W&B or another logger cannot be used as requested.
    """
    options = run_options(args)
    if not is_first_process():
        yield []
        return
    logger = make_logger(args.logger)
    watchers: list[Watcher] = [LoggerWatcher(logger)] if logger is not None else []
    if options is None or options.disabled:
        yield watchers
        return
    with Session(options, say) as session:
        yield [*watchers, WandbWatcher(session)]
