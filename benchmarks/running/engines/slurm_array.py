"""The state of an array of SLURM tasks, read from its files by the driver that submitted it and by later ones."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from datamodules.errors import InputError, require
from zoo.outputs.files import write_atomically

from .base import Outcome
from .slurm_batch import Entry, Journal

MANIFEST = "array.json"
Member = tuple[str, str]  # a trial's key and the token of its attempt


class Array:
    """An array of tasks, with its manifest and its journals.

    Args:
        folder: Folder of the array.
        kind: Kind of the queue.
        packs: For each task, the members of each of its packs.
    """

    def __init__(self, folder: Path, kind: str, packs: Sequence[Sequence[Sequence[Member]]]) -> None:
        self.folder, self.kind, self.packs, self.name = folder, kind, packs, folder.name
        self.jobs: dict[tuple[int, int], tuple[Any, ...]] = {}  # jobs whose outcomes this driver waits for
        self.restarts: list[int | None] = [None] * len(packs)  # per task; None before it has started
        self.living: set[int] = set()  # tasks in the queue when the array was taken over
        self.trouble: Exception | None = None  # an error that does not belong to a single trial
        self._journals = [Journal(self.journal_path(task)) for task in range(len(packs))]
        self._ended: list[dict[int, Entry]] = [{} for _ in packs]
        self._buried: set[int] = set()
        self._missing: set[int] = set()
        self._told: list[tuple[int, Entry]] = []

    @classmethod
    def read(cls, folder: Path) -> "Array":
        """Read the array in a folder.

        Raises:
            InputError: The manifest is damaged.
        """
        try:
            told = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            told = None
        good = isinstance(told, dict) and {"kind", "packs"} <= told.keys()
        remedy = f"cancel its jobs with `scancel --name={folder.name}` and remove the folder"
        require(good, f"{MANIFEST} in {folder} cannot be read, so jobs may still be running; {remedy}.")
        return cls(folder, told["kind"], told["packs"])

    def write(self) -> None:
        """Create the folder with everything that another driver needs."""
        self.folder.mkdir(parents=True, mode=0o700)  # jobs unpickle files in it, so only the owner may write
        for task in range(len(self.packs)):  # so that NFS clients do not cache that the file is missing
            self.journal_path(task).touch()
        write_atomically(self.folder / MANIFEST, json.dumps({"kind": self.kind, "packs": self.packs}))

    def forget(self) -> None:
        """Delete the manifest and the journals; logs are kept."""
        (self.folder / MANIFEST).unlink(missing_ok=True)
        for task in range(len(self.packs)):
            self.journal_path(task).unlink(missing_ok=True)

    def journal_path(self, task: int) -> Path:
        """Path of a task's journal."""
        return self.folder / f"journal_{task}.jsonl"

    def bury(self, task: int) -> None:
        """Mark a task as ended."""
        self._buried.add(task)

    def tasks_left(self) -> set[int]:
        """The tasks that have not ended."""
        done = {task for task, ended in enumerate(self._ended) if len(ended) == len(self.packs[task])}
        return set(range(len(self.packs))) - self._buried - done

    def unfinished(self, task: int) -> list[int]:
        """The jobs of a task that have not ended, in order."""
        return [n for n in range(len(self.packs[task])) if n not in self._ended[task]]

    def read_journals(self) -> None:
        """Read new entries of all journals."""
        for task in sorted(self.tasks_left()):
            for entry in self._journals[task].news():
                if "started" in entry:
                    self.restarts[task] = entry["started"]
                elif "job" in entry:
                    self._ended[task][entry["job"]] = entry
                    self._told.append((task, entry))
                elif "refused" in entry:
                    self.trouble = InputError(entry["refused"])
                elif "raised" in entry:  # `finished` is ignored: a line before it may be lost
                    self.trouble = RuntimeError(f"in a task of {self.name}:\n{entry['raised']}")

    def outcomes(self) -> Iterator[tuple[int, Outcome]]:
        """Yield task and outcome of this driver's jobs that have ended since the last call."""
        told, self._told = self._told, []
        for task, entry in told:
            if (job := self.jobs.pop((task, entry["job"]), None)) is None:
                continue
            crash, timed_out = entry["crash"], entry["timed_out"]
            records = None if crash or timed_out else entry["records"]
            yield task, Outcome(job, records, crash, timed_out, entry["seconds"])

    def dead(self, alive: set[int]) -> list[int]:
        """The tasks that ended with jobs left; they must be missing in two checks, because journals may be late."""
        missing = self.tasks_left() - alive
        dead, self._missing = sorted(missing & self._missing), missing
        return dead
