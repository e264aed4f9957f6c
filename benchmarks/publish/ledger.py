"""What of a study has been published where, so that publishing again adds nothing twice."""

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from datamodules.errors import InputError
from zoo.tracking.session import Session

LEDGER = "pushed.jsonl"


class Ledger:
    """A file `wandb/pushed.jsonl`, a line a run, synced line by line: a crash loses at most the run in flight.

    Without it the same runs would come again under the same ids. Offline runs that it does not know are those of a
    publication that was cut short, and give way to whole ones; those on their way to another project stay.

    Args:
        session: Where runs go.

    Raises:
        InputError: The folder cannot be written, or another process is publishing the same study.
        Unreachable: The server does not say whose key it is.
    """

    def __init__(self, session: Session) -> None:
        options = session.options
        self.folder = session.files
        where = session.server if session.online else "offline"
        self.destination = "/".join([where, session.account(), options.project])
        self._held: dict[str, dict[str, str]] = {}
        self._waiting: dict[str, list[Path]] = {}  # folders of offline runs, by the run's id

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
        others = set()
        for line in lines:
            with contextlib.suppress(ValueError, KeyError, TypeError):
                entry = json.loads(line)
                if entry["to"] == self.destination:
                    self._held[entry["id"]] = {"version": entry["version"], "folder": entry.get("folder", "")}
                else:
                    others.add(entry.get("folder"))
        for folder in self.folder.glob("offline-run-*-*"):
            if folder.name not in others:
                self._waiting.setdefault(folder.name.split("-", 3)[3], []).append(folder)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._file.close()

    def holds(self, run_id: str, version: str) -> bool:
        """Whether a run is there as it is now; one that waited on disk and was thrown away is not."""
        held = self._held.get(run_id, {})
        return held.get("version") == version and (self.folder / held["folder"]).is_dir()

    def clear(self, run_id: str) -> None:
        """Take away what is on disk of a run and was not uploaded: it is half written, or out of date."""
        for folder in self._waiting.pop(run_id, []):
            if not list(folder.glob("*.wandb.synced")):
                shutil.rmtree(folder, ignore_errors=True)

    def note(self, run_id: str, version: str, folder: str) -> None:
        """A run is there.

        Args:
            run_id: The run.
            version: As what.
            folder: The name of the folder in which it waits; empty for one that was uploaded.
        """
        held = {"version": version, "folder": folder}
        with self._sentence():
            self._file.write(json.dumps({"to": self.destination, "id": run_id, **held}) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        self._held[run_id] = held

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
