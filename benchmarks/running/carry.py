"""Packs that an engine runs more than once, or on a machine that may not see the study's folder.

Each run of an attempt has a scratch folder of its own, so that one that was taken for dead and lives on does no harm.
"""

import os
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from ..records.reading import Record
from ..records.store import Store
from .job import PackJob


@dataclass(frozen=True)
class Carried:
    """What trials have left on a machine that does not see the study's folder.

    Attributes:
        records: A record a trial.
        files: The files of each trial, by their paths in its folder; without the record.
    """

    records: Sequence[Record]
    files: Sequence[Mapping[str, bytes]]

    def take_in(self, folder: Path) -> list[Record]:
        """Let the trials appear in the study's folder, here.

        Returns:
            The records that now stand there; see `Store.commit`.

        Raises:
            InputError: The folder cannot be written.
        """
        store, records = Store(folder), []
        for record, files in zip(self.records, self.files, strict=True):
            with store.sentences():
                scratch = store.scratch(record["key"], record["token"])
                for name, content in files.items():
                    path = scratch / PurePosixPath(name)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(content)
                records.append(store.commit(scratch, record))
        return records


def run_pack(pack: PackJob, token: str, environment: Mapping[str, Any]) -> list[Record] | Carried:
    """Run a pack's trials in this process, but for those that an earlier run of the same attempt has finished.

    Args:
        pack: The trials.
        token: The name of a file that the driver has put among the study's trials: who sees it sees the same folder.
        environment: What the driver knows of where trials run; see `Job`.

    Raises:
        InputError: The folder cannot be written.
    """
    own = uuid.uuid4().hex[:8]
    jobs = [replace(job, token=f"{job.token}_{own}", environment=environment) for job in pack.jobs]
    store = Store(pack.jobs[0].folder)
    if sees(store, token):
        there = [store.finished(job.identity["key"], job.token) for job in pack.jobs]
        finished = [record for record in there if record is not None]
        left = [job for job, record in zip(jobs, there, strict=True) if record is None]
        if pack.fixed and left:  # its numbers depend on all of them; the store keeps the records that it has
            return replace(pack, jobs=tuple(jobs)).run()
        return finished + (replace(pack, jobs=tuple(left)).run() if left else [])
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        records = replace(pack, jobs=tuple(replace(job, folder=folder) for job in jobs)).run()
        return Carried(records, [_files(Store(folder).trials / record["key"]) for record in records])


def sees(store: Store, token: str) -> bool:
    """Whether this machine sees the folder that the driver writes to, and may write to it."""
    return (store.trials / token).is_file() and os.access(store.trials, os.W_OK)


def _files(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths if path != folder / "result.json"}
