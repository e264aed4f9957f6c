"""The ledger of published runs, so that publishing again adds no duplicates."""

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
    """The file `wandb/pushed.jsonl` with one line per run, synced after each line: a crash loses at most one run.

    Without the ledger the same runs would be published again under the same ids. Offline runs that are not in the
    ledger are incomplete and are replaced; those for another project are kept.

    Args:
        session: The W&B session.

    Raises:
        InputError: The folder is not writable, or another process is publishing the same study.
        Unreachable: The server does not answer the request for the account of the API key.
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
        if lines[-1]:  # an incomplete last line
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
        """Whether this version of a run is published; an offline run whose folder was deleted is not."""
        held = self._held.get(run_id, {})
        return held.get("version") == version and (self.folder / held["folder"]).is_dir()

    def clear(self, run_id: str) -> None:
        """Delete offline folders of a run that were not uploaded: they are incomplete or outdated."""
        for folder in self._waiting.pop(run_id, []):
            if not list(folder.glob("*.wandb.synced")):
                shutil.rmtree(folder, ignore_errors=True)

    def note(self, run_id: str, version: str, folder: str) -> None:
        """Record a published run.

        Args:
            run_id: Id of the run.
            version: Version of its content.
            folder: Name of the folder of an offline run; empty if it was uploaded.
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
                f"cannot write to {self.folder}: {error.strerror}. Make the folder writable, or copy the study's "
                "folder to a writable place; the records are unchanged."
            ) from None
