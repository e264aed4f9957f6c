"""What one task of a SLURM array does: its share of a study's jobs, one after the other. Runs on a node.

How each ended goes to a journal, a JSON line a job, which the driver reads; so a driver that died misses nothing.
"""

import json
import os
import re
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datamodules.errors import InputError

from ...records.reading import Record
from ...records.store import Store
from ..job import PackJob
from .base import Outcome
from .local import LocalEngine

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

Entry = dict[str, Any]
SHOWN = ("key", "status", "reason", "metrics")  # of a record, in a journal
# submitit's own process answers them; workers, which get them as well, must not die of them.
FOR_SUBMITIT = (signal.SIGTERM, signal.SIGUSR2)
EARLY = 60  # seconds that SLURM may be early with its signal, see sbatch(1)


class Journal:
    """Lines that one process appends and others read while they come, also over NFS: it is opened anew each time.

    Args:
        path: The file, which need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read = 0

    def news(self) -> list[Entry]:
        """The entries that have come since it was last asked; a line that its writer died at is left out."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._read)
                text = file.read()
        except FileNotFoundError:
            return []
        whole = text[: text.rfind(b"\n") + 1]
        self._read += len(whole)
        entries = []
        for line in whole.splitlines():
            try:
                entries.append(json.loads(line))
            except ValueError:
                continue
        return entries

    def add(self, entry: Entry) -> None:
        """Append an entry, on a line of its own whatever was there; nothing where the driver has removed the file."""
        with suppress(FileNotFoundError):
            # To its end, whoever else may write: a task may live on where it was cut off, and run elsewhere again.
            file = os.open(self.path, os.O_RDWR | os.O_APPEND)
            try:
                size = os.fstat(file).st_size
                torn = size > 0 and os.pread(file, 1, size - 1) != b"\n"
                # One write, so that a signal's handler, which may write as well, does so before or after.
                os.write(file, b"\n" * torn + json.dumps(entry).encode() + b"\n")
            finally:
                os.close(file)


@dataclass(frozen=True)
class Batch:
    """The share of one task; submitit calls it, and once more after each requeue.

    Attributes:
        function: What is called with each job.
        jobs: Its arguments, a pack each.
        limits: The seconds after which each is ended.
        journal: Where outcomes go.
        minutes: The time limit of the task.
        delay: How many seconds before that SLURM says so.
        preload: See `LocalEngine`.
        path: Where modules are looked for, as with the driver.
    """

    function: Callable[..., Any]
    jobs: tuple[tuple[PackJob], ...]
    limits: tuple[float, ...]
    journal: Path
    minutes: int
    delay: int
    preload: bool
    path: tuple[str, ...]

    def __call__(self) -> None:
        """Run what is not done yet; the trials' own records say what is."""
        sys.path += [folder for folder in self.path if folder not in sys.path]
        journal = Journal(self.journal)
        entries = journal.news()
        restarts = sum("started" in entry for entry in entries)
        where = {"host": socket.gethostname(), "process": os.getpid()}
        journal.add({"started": restarts, "at": time.time(), **where})
        ended = {entry["job"] for entry in entries if "job" in entry}
        left, limits = [], {}
        lying = _lying(self.jobs[0][0].jobs[0].folder) if restarts else {}
        for n, ((pack,), limit) in enumerate(zip(self.jobs, self.limits, strict=True)):
            if n in ended:
                continue
            records, rest = _salvage(pack, restarts, lying)
            if rest is None:
                journal.add(entry_of(n, records))
            else:
                left.append((n, records, rest))
                limits[rest.jobs[0].token] = limit
        try:
            with LocalEngine(1, self.preload, ignored=FOR_SUBMITIT) as engine:
                jobs = ((rest,) for *_, rest in left)
                outcomes = engine.run(self.function, jobs, lambda pack: limits[pack.jobs[0].token])
                for (n, records, _), outcome in zip(left, outcomes, strict=True):  # one worker: they come in order
                    journal.add(entry_of(n, records, outcome))
        except InputError as error:
            journal.add({"refused": str(error)})
        except RuntimeError as error:
            journal.add({"raised": str(error)})

    def checkpoint(self) -> "DelayedSubmission":
        """What submitit is to run when SLURM has taken the node away: the same, which then finds what is done.

        A job that had the whole time limit to itself and did not end never will, so it is not tried again here.
        """
        from submitit.helpers import DelayedSubmission

        entries = Journal(self.journal).news()
        last = max((n for n, entry in enumerate(entries) if "started" in entry), default=0)
        since = entries[last]["at"] if entries else time.time()
        progress = any("job" in entry for entry in entries[last + 1 :])
        if not progress and time.time() - since >= max(1, 60 * self.minutes - self.delay - EARLY):
            ended = {entry["job"] for entry in entries if "job" in entry}
            first = next((n for n in range(len(self.jobs)) if n not in ended), None)
            if first is not None:
                crash = f"it did not end within the {self.minutes} min of --slurm-time"
                outcome = Outcome(self.jobs[first], None, crash, False, time.time() - since)
                Journal(self.journal).add(entry_of(first, [], outcome))
        return DelayedSubmission(replace(self))


def attempted(pack: PackJob, restarts: int) -> PackJob:
    """A pack as a task runs it that was requeued so many times: each time under other tokens.

    So a task that outlives its requeueing, on a node that was cut off, writes into other folders; see `Store.scratch`.
    """
    if not restarts:
        return pack
    return replace(pack, jobs=tuple(replace(job, token=f"{job.token}_{restarts}") for job in pack.jobs))


def _lying(folder: Path) -> dict[str, list[str]]:
    """The trials that have a folder in the store, hidden or not, each with the tokens of the hidden ones.

    Listed once a start: there may be very many, and each of a task's trials would else be looked for among them.
    """
    found: dict[str, list[str]] = {}
    for path in Store(folder).trials.iterdir():
        hidden = re.fullmatch(r"\.(\w+)\.(\w+)", path.name)
        tokens = found.setdefault(hidden[1] if hidden else path.name, [])
        tokens += [hidden[2]] if hidden else []
    return found


def _salvage(pack: PackJob, restarts: int, lying: Mapping[str, Sequence[str]]) -> tuple[list[Record], PackJob | None]:
    """The records that earlier starts left of a pack, and what is to be run; clears away what they did not finish.

    Args:
        pack: The trials, as they were submitted.
        restarts: How many earlier starts there were.
        lying: See `_lying`.
    """
    found: dict[str, Record] = {}
    for job in pack.jobs:
        key, store = job.identity["key"], Store(job.folder)
        if key not in lying:
            continue
        if (record := store.settle(key, job.token, lying[key])) is not None:
            found[key] = record
        for token in lying[key]:
            if token.partition("_")[0] == job.token:
                store.discard(key, token)
    if len(found) == len(pack.jobs):
        return list(found.values()), None
    again = attempted(pack, restarts)
    if pack.fixed:  # numbers depend on who is in it
        return [], again
    rest = tuple(job for job in again.jobs if job.identity["key"] not in found)
    return list(found.values()), replace(again, jobs=rest)


def entry_of(n: int, records: list[Record], outcome: Outcome | None = None) -> Entry:
    """How a job ended, for the journal: with the records of its trials that earlier starts have finished."""
    ended = outcome or Outcome((), [], "", False, 0.0)
    told = [{name: record[name] for name in SHOWN} for record in [*records, *(ended.value or [])]]
    return {"job": n, "seconds": ended.seconds, "crash": ended.crash, "timed_out": ended.timed_out, "records": told}
