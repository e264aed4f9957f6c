"""One task of a SLURM array, which runs its share of a study's jobs one after the other on a node.

It writes the outcome of each job to a journal, one JSON line per job. The driver reads it, so nothing is lost if the
driver dies.
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

from ...records.record_file import Record
from ...records.store import Store
from ..job import PackJob
from .base import Outcome
from .local import LocalEngine

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

Entry = dict[str, Any]
SHOWN = ("key", "status", "reason", "metrics")  # fields of a record that are written to a journal
# Signals handled by submitit's process; workers receive them as well and must ignore them.
FOR_SUBMITIT = (signal.SIGTERM, signal.SIGUSR2)
EARLY = 60  # SLURM may send its signal up to this many seconds early, see sbatch(1)


class Journal:
    """A file of lines that one process appends and others read; reopened each time, so that it works over NFS.

    Args:
        path: The file, which may not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read = 0

    def news(self) -> list[Entry]:
        """The entries added since the last call; an incomplete line is skipped."""
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
        """Append an entry on a new line; does nothing if the driver has removed the file."""
        with suppress(FileNotFoundError):
            # Append mode, because a disconnected task may still be writing while its successor runs elsewhere.
            file = os.open(self.path, os.O_RDWR | os.O_APPEND)
            try:
                size = os.fstat(file).st_size
                torn = size > 0 and os.pread(file, 1, size - 1) != b"\n"
                # A single write call, because a signal handler may write as well.
                os.write(file, b"\n" * torn + json.dumps(entry).encode() + b"\n")
            finally:
                os.close(file)


@dataclass(frozen=True)
class Batch:
    """The share of one task; submitit calls it, again after each requeue.

    Attributes:
        function: The function to call with each job.
        jobs: Its arguments, one pack each.
        limits: Time limit of each job in seconds.
        journal: Path of the journal.
        minutes: Time limit of the task.
        delay: Seconds before the time limit at which SLURM sends its signal.
        preload: See `LocalEngine`.
        path: The driver's `sys.path`.
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
        """Run the jobs that are not done yet according to the trials' records."""
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
                for (n, records, _), outcome in zip(left, outcomes, strict=True):  # a single worker keeps the order
                    journal.add(entry_of(n, records, outcome))
        except InputError as error:
            journal.add({"refused": str(error)})
        except RuntimeError as error:
            journal.add({"raised": str(error)})

    def checkpoint(self) -> "DelayedSubmission":
        """What submitit requeues when the time limit is reached or the task is preempted: the same batch.

        A job that had the whole time limit to itself and did not end would never end, so it is not tried again.
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
                crash = f"not finished within --slurm-time ({self.minutes} min)"
                outcome = Outcome(self.jobs[first], None, crash, False, time.time() - since)
                Journal(self.journal).add(entry_of(first, [], outcome))
        return DelayedSubmission(replace(self))


def attempted(pack: PackJob, restarts: int) -> PackJob:
    """A pack with new tokens for each requeue of its task.

    A task that is still running on a disconnected node after the requeue then writes to other folders; see
    `Store.scratch`.
    """
    if not restarts:
        return pack
    return replace(pack, jobs=tuple(replace(job, token=f"{job.token}_{restarts}") for job in pack.jobs))


def _lying(folder: Path) -> dict[str, list[str]]:
    """The keys of trials that have a folder in the store, each with the tokens of its hidden folders.

    The store is listed once per start, because it may contain very many folders.
    """
    found: dict[str, list[str]] = {}
    for path in Store(folder).trials.iterdir():
        hidden = re.fullmatch(r"\.(\w+)\.(\w+)", path.name)
        tokens = found.setdefault(hidden[1] if hidden else path.name, [])
        tokens += [hidden[2]] if hidden else []
    return found


def _salvage(pack: PackJob, restarts: int, lying: Mapping[str, Sequence[str]]) -> tuple[list[Record], PackJob | None]:
    """The records of a pack from earlier starts, and the pack still to run; deletes unfinished attempts.

    Args:
        pack: The trials as submitted.
        restarts: Number of earlier starts.
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
    if pack.fixed:  # results depend on the whole pack
        return [], again
    rest = tuple(job for job in again.jobs if job.identity["key"] not in found)
    return list(found.values()), replace(again, jobs=rest)


def entry_of(n: int, records: list[Record], outcome: Outcome | None = None) -> Entry:
    """Journal entry for the outcome of a job, including records of its trials from earlier starts."""
    ended = outcome or Outcome((), [], "", False, 0.0)
    told = [{name: record[name] for name in SHOWN} for record in [*records, *(ended.value or [])]]
    return {"job": n, "seconds": ended.seconds, "crash": ended.crash, "timed_out": ended.timed_out, "records": told}
