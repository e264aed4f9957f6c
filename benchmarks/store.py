"""Trial records on disk. The store alone decides what is done."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import yaml

from datamodules.errors import InputError
from zoo.files import write_atomically

SCHEMA = 1
Record = dict[str, Any]


def is_final(record: Record | None) -> bool:
    """Whether a trial with this record is not to be run again; a crash is."""
    return record is not None and record["status"] != "crashed"


class Store:
    """The folder of one study: `study.yaml`, and below `trials/` a folder a trial.

    A trial's folder appears whole, by a rename, with its record `result.json` in it; a trial that was interrupted
    leaves a folder whose name starts with a dot, which nobody reads.

    Args:
        folder: `DIR/NAME`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.trials = folder / "trials"

    def create(self, study: dict[str, Any]) -> None:
        """Make the folder and write `study.yaml`.

        Raises:
            InputError: The folder cannot be written.
        """
        try:
            self.trials.mkdir(parents=True, exist_ok=True)
            write_atomically(self.folder / "study.yaml", yaml.safe_dump(study, sort_keys=False))
        except OSError as error:
            raise InputError(f"cannot write to {self.folder}: {error.strerror}. Choose another --out.") from None

    def scratch(self, key: str) -> Path:
        """An empty folder for a trial to write into."""
        folder = self.trials / f".{key}.{os.getpid()}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def commit(self, scratch: Path, record: Record) -> None:
        """Make a trial's folder, with its record, appear under its key."""
        write_atomically(scratch / "result.json", json.dumps(record, indent=2, allow_nan=False) + "\n")
        final = self.trials / record["key"]
        if is_final(self.record(record["key"])):  # another driver was faster with the same trial
            shutil.rmtree(scratch)
            return
        shutil.rmtree(final, ignore_errors=True)
        scratch.rename(final)

    def record(self, key: str) -> Record | None:
        """The record of a trial, or None if it has none that can be read."""
        try:
            record = json.loads((self.trials / key / "result.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return record if isinstance(record, dict) and "status" in record else None
