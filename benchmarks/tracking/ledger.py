"""What of a study has been published where, so that publishing again adds nothing twice."""

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from types import TracebackType

from datamodules.errors import InputError
from zoo.tracking.session import Session

LEDGER = "pushed.jsonl"


class Ledger:
    """A file `wandb/pushed.jsonl`, a line a run, synced line by line: a crash loses at most the run in flight.

    Without it the same runs would come again under the same ids. Offline runs that it does not know are those of a
    publication that was cut short, and give way to whole ones.

    Args:
        session: Where runs go.

    Raises:
        InputError: The folder cannot be written, or another process is publishing the same study.
    """

    def __init__(self, session: Session) -> None:
        options = session.options
        self.folder = session.files
        where = [session.server, options.entity or ""] if session.online else ["offline", options.entity or ""]
        self.destination = "/".join([*where, options.project])
        self._held: dict[str, str] = {}

    def __enter__(self) -> "Ledger":
        with self._sentence():
            self.folder.mkdir(parents=True, exist_ok=True)
            self._file = (self.folder / LEDGER).open("a+", encoding="utf-8")
        try:
            with self._sentence():
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise InputError(
                f"another process is publishing the study of {self.folder.parent}; wait until it is done."
            ) from None
        self._file.seek(0)
        lines = self._file.read().split("\n")
        if lines[-1]:  # a line that was cut short
            self._file.write("\n")
        for line in lines:
            with contextlib.suppress(ValueError, KeyError, TypeError):
                entry = json.loads(line)
                if entry["to"] == self.destination:
                    self._held[entry["id"]] = entry["version"]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._file.close()

    def holds(self, run_id: str, version: str) -> bool:
        """Whether a run is there as it is now."""
        return self._held.get(run_id) == version

    def clear(self, run_id: str) -> None:
        """Take away what is on disk of a run and was not uploaded: it is half written, or out of date."""
        for folder in self.folder.glob(f"offline-run-*-{run_id}*"):
            if not list(folder.glob("*.wandb.synced")):
                shutil.rmtree(folder, ignore_errors=True)

    def note(self, run_id: str, version: str) -> None:
        """A run is there."""
        with self._sentence():
            self._file.write(json.dumps({"to": self.destination, "id": run_id, "version": version}) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        self._held[run_id] = version

    @contextlib.contextmanager
    def _sentence(self) -> Iterator[None]:
        try:
            yield
        except BlockingIOError:
            raise
        except OSError as error:
            raise InputError(
                f"cannot write to {self.folder}: {error.strerror}. The records are untouched; make it writable, or "
                "copy the study's folder to where you may write."
            ) from None
