"""An array of SLURM tasks as its files tell, to the driver that submitted it and to those after it."""

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
    """An array of tasks, as its manifest and its journals tell.

    Args:
        folder: Its own.
        kind: Of the queue that it is in.
        packs: Of each task, the members of each pack.
    """

    def __init__(self, folder: Path, kind: str, packs: Sequence[Sequence[Sequence[Member]]]) -> None:
        self.folder, self.kind, self.packs, self.name = folder, kind, packs, folder.name
        self.jobs: dict[tuple[int, int], tuple[Any, ...]] = {}  # those whose outcome this driver waits for
        self.restarts: list[int | None] = [None] * len(packs)  # of each task; None before it has started
        self.living: set[int] = set()  # the tasks in the queue when it was taken over
        self.trouble: Exception | None = None  # the first that is no single trial's
        self._journals = [Journal(self.journal_path(task)) for task in range(len(packs))]
        self._ended: list[dict[int, Entry]] = [{} for _ in packs]
        self._buried: set[int] = set()
        self._missing: set[int] = set()
        self._told: list[tuple[int, Entry]] = []

    @classmethod
    def read(cls, folder: Path) -> "Array":
        """That of a folder.

        Raises:
            InputError: Its manifest is damaged.
        """
        try:
            told = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            told = None
        good = isinstance(told, dict) and {"kind", "packs"} <= told.keys()
        remedy = f"end them, if there are any (`scancel --name={folder.name}`), and remove that folder"
        require(good, f"{folder} holds jobs that may run still, and its {MANIFEST} cannot be read; {remedy}.")
        return cls(folder, told["kind"], told["packs"])

    def write(self) -> None:
        """Make its folder, with all that another driver must know."""
        self.folder.mkdir(parents=True, mode=0o700)  # jobs run what is pickled there, so nobody else may write
        for task in range(len(self.packs)):  # so that no client of NFS remembers that it is not there
            self.journal_path(task).touch()
        write_atomically(self.folder / MANIFEST, json.dumps({"kind": self.kind, "packs": self.packs}))

    def forget(self) -> None:
        """Let it be nobody's any more; its logs stay."""
        (self.folder / MANIFEST).unlink(missing_ok=True)
        for task in range(len(self.packs)):
            self.journal_path(task).unlink(missing_ok=True)

    def journal_path(self, task: int) -> Path:
        """Where a task notes what has ended."""
        return self.folder / f"journal_{task}.jsonl"

    def bury(self, task: int) -> None:
        """Expect nothing more of a task."""
        self._buried.add(task)

    def tasks_left(self) -> set[int]:
        """The tasks of which more is to come."""
        done = {task for task, ended in enumerate(self._ended) if len(ended) == len(self.packs[task])}
        return set(range(len(self.packs))) - self._buried - done

    def unfinished(self, task: int) -> list[int]:
        """The jobs of a task that have not ended, in its order."""
        return [n for n in range(len(self.packs[task])) if n not in self._ended[task]]

    def read_journals(self) -> None:
        """Take in what has come."""
        for task in sorted(self.tasks_left()):
            for entry in self._journals[task].news():
                if "started" in entry:
                    self.restarts[task] = entry["started"]
                elif "job" in entry:
                    self._ended[task][entry["job"]] = entry
                    self._told.append((task, entry))
                elif "refused" in entry:
                    self.trouble = InputError(entry["refused"])
                elif "raised" in entry:  # `finished` tells nothing: a line before it may be lost
                    self.trouble = RuntimeError(f"in a task of {self.name}:\n{entry['raised']}")

    def outcomes(self) -> Iterator[tuple[int, Outcome]]:
        """Of the jobs that have ended since it was last asked, if they are this driver's, and their tasks."""
        told, self._told = self._told, []
        for task, entry in told:
            if (job := self.jobs.pop((task, entry["job"]), None)) is None:
                continue
            crash, timed_out = entry["crash"], entry["timed_out"]
            records = None if crash or timed_out else entry["records"]
            yield task, Outcome(job, records, crash, timed_out, entry["seconds"])

    def dead(self, alive: set[int]) -> list[int]:
        """The tasks that are no more and have jobs left; they must be missed twice, for journals may be late."""
        missing = self.tasks_left() - alive
        dead, self._missing = sorted(missing & self._missing), missing
        return dead
