"""Notification of watchers while a run trains.

Watchers get the rows of `metrics.csv` as epochs end. They therefore get the same values whether a run is trained by
Lightning or as a pack of one, and the run's results do not depend on them.
"""

import contextlib
import csv
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from datamodules.base import ArrayDataModule
from datamodules.errors import InputError

from ..models.base import ZooModule
from ..outputs.checkpoint import load_model
from ..outputs.result import Result
from ..plain import Config
from .session import in_words

Row = Mapping[str, Any]  # a row of metrics.csv


class Watcher(Protocol):
    """Protocol of watchers, which run in the first process of a run.

    Attributes:
        name: Name of the watcher in messages.
    """

    name: str

    def begin(self, config: Config) -> None:
        """Called when the run starts, with its resolved config.

        Raises:
            InputError: If the run must not start.
        """

    def epoch(self, row: Row) -> None:
        """Called after each epoch."""

    def end(self, result: Result, model: ZooModule | None, data: ArrayDataModule, folder: Path) -> None:
        """Called when the run has ended.

        Args:
            result: Result of the run.
            model: The model with the weights of the best epoch; None if there are none.
            data: Data that the model was trained on.
            folder: Folder of the run's files.
        """

    def fail(self) -> None:
        """Called if the run raised an exception or was interrupted after its start."""


Watchers = Sequence[Watcher]


class Watching:
    """Notifies all watchers of a run, of each epoch once.

    Errors of a watcher after the start of the run are printed, and affect neither the run nor other watchers.

    Args:
        watchers: The watchers; none on processes other than the first.
    """

    def __init__(self, watchers: Watchers = ()) -> None:
        self._watchers = list(watchers)
        self._begun: list[Watcher] = []
        self._troubled: list[Watcher] = []
        self._seen = -1

    def __enter__(self) -> "Watching":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if kind is not None:
            self._each(self._begun, lambda watcher: watcher.fail())

    @property
    def live(self) -> Callable[[Row], None] | None:
        """Function to call with each epoch; None if there are no watchers."""
        return self.epoch if self._watchers else None

    def begin(self, config: Config) -> None:
        """Notify the watchers of the start of the run.

        Raises:
            InputError: If the run must not start, or a watcher cannot start.
        """
        for watcher in self._watchers:
            try:
                watcher.begin(config)
            except InputError:
                raise
            except Exception as error:  # from any package
                raise InputError(f"{watcher.name} cannot start: {in_words(error)}. Fix it, or do not use it.") from None
            self._begun.append(watcher)

    def epoch(self, row: Row) -> None:
        """Notify the watchers of an epoch, unless they know it already."""
        if int(row["epoch"]) > self._seen:
            self._seen = int(row["epoch"])
            silent = self._troubled
            self._each([w for w in self._begun if w not in silent], lambda watcher: watcher.epoch(row))

    def end(self, result: Result, model: ZooModule | None, data: ArrayDataModule, folder: Path) -> None:
        """Notify the watchers of the end of the run, after any epochs of other processes that they do not know yet."""
        if not self._watchers:
            return
        shown = model if result.status == "done" else None
        try:
            for row in _rows(folder / "metrics.csv"):
                self.epoch(row)
            # Watchers with earlier errors are notified as well, since they have to close their run.
            self._each(self._begun, lambda watcher: watcher.end(result, shown, data, folder))
        except KeyboardInterrupt:  # the run is done, only the upload is interrupted
            _say("interrupted while the run was being logged; the run itself is complete.")

    def restored(self, folder: Path) -> ZooModule | None:
        """Load the model of a run's checkpoint; None if there is no checkpoint or no watcher."""
        if self._watchers and (folder / "best.ckpt").is_file():
            with contextlib.suppress(Exception):  # for example for an unregistered model; only pictures need it
                return load_model(folder)
        return None

    def _each(self, watchers: Watchers, tell: Callable[[Watcher], None]) -> None:
        """Notify some watchers; print the first error of each."""
        for watcher in watchers:
            try:
                tell(watcher)
            except Exception as error:  # of any type: the run must continue
                if watcher not in self._troubled:
                    self._troubled.append(watcher)
                    _say(f"{watcher.name} stopped logging this run ({in_words(error)}); the run itself continues.")


def _say(sentence: str) -> None:
    print(f"zoo fit: {sentence}", file=sys.stderr, flush=True)


def _rows(path: Path) -> list[Row]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [{name: float(cell) for name, cell in row.items() if cell != ""} for row in csv.DictReader(file)]
