"""Telling others of a run while it trains.

A watcher is told what `metrics.csv` holds, row by row as epochs end. So it sees the same of a run whether Lightning
trained it or a pack of one did, and the run's numbers do not depend on who watches.
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

Row = Mapping[str, Any]  # of metrics.csv


class Watcher(Protocol):
    """Who is told of a run, on its first process.

    Attributes:
        name: What it is called when there is something to say of it.
    """

    name: str

    def begin(self, config: Config) -> None:
        """The run begins, with this resolved config.

        Raises:
            InputError: It must not.
        """

    def epoch(self, row: Row) -> None:
        """An epoch has ended."""

    def end(self, result: Result, model: ZooModule | None, data: ArrayDataModule, folder: Path) -> None:
        """The run has ended.

        Args:
            result: What came out.
            model: With the weights of the best epoch; None where there are none.
            data: What it was trained on.
            folder: Where the run's files are.
        """

    def fail(self) -> None:
        """The run, which had begun, has raised or was interrupted."""


Watchers = Sequence[Watcher]


class Watching:
    """All who watch a run; each sees each epoch once.

    Whatever goes wrong with one of them once the run has begun is said, and neither the run nor the others mind.

    Args:
        watchers: They, none on processes other than the first.
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
        """What takes epochs as they end; None where nobody watches."""
        return self.epoch if self._watchers else None

    def begin(self, config: Config) -> None:
        """The run begins; see `Watcher`.

        Raises:
            InputError: It must not, or one of them cannot begin, which is better known before than after.
        """
        for watcher in self._watchers:
            try:
                watcher.begin(config)
            except InputError:
                raise
            except Exception as error:  # of whatever package
                raise InputError(f"{watcher.name} cannot begin: {in_words(error)}. Leave it out, or mend it.") from None
            self._begun.append(watcher)

    def epoch(self, row: Row) -> None:
        """An epoch has ended, maybe one that was seen already."""
        if int(row["epoch"]) > self._seen:
            self._seen = int(row["epoch"])
            silent = self._troubled
            self._each([w for w in self._begun if w not in silent], lambda watcher: watcher.epoch(row))

    def end(self, result: Result, model: ZooModule | None, data: ArrayDataModule, folder: Path) -> None:
        """The run has ended; epochs that nobody was told of yet, of a run in other processes, come first."""
        if not self._watchers:
            return
        shown = model if result.status == "done" else None
        try:
            for row in _rows(folder / "metrics.csv"):
                self.epoch(row)
            # A watcher with trouble is told, too: it has a run to close, which has not failed.
            self._each(self._begun, lambda watcher: watcher.end(result, shown, data, folder))
        except KeyboardInterrupt:  # the run is done; what is in the way is an upload
            _say("interrupted while the run was shown elsewhere; the run itself is done, and whole.")

    def restored(self, folder: Path) -> ZooModule | None:
        """The model of a run's checkpoint; None where there is none, or nobody watches."""
        if self._watchers and (folder / "best.ckpt").is_file():
            with contextlib.suppress(Exception):  # of a model without a registered name, say: it is for pictures alone
                return load_model(folder)
        return None

    def _each(self, watchers: Watchers, tell: Callable[[Watcher], None]) -> None:
        """Tell some of them something; the first trouble that each has is said."""
        for watcher in watchers:
            try:
                tell(watcher)
            except Exception as error:  # of whatever kind: the run matters more
                if watcher not in self._troubled:
                    self._troubled.append(watcher)
                    _say(f"{watcher.name} shows no more of this run ({in_words(error)}); the run itself goes on.")


def _say(sentence: str) -> None:
    print(f"zoo fit: {sentence}", file=sys.stderr, flush=True)


def _rows(path: Path) -> list[Row]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [{name: float(cell) for name, cell in row.items() if cell != ""} for row in csv.DictReader(file)]
