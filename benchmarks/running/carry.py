"""Run packs that an engine may run more than once, or on a machine that does not share the study's folder.

Each run of an attempt has its own scratch folder, so a run that was wrongly presumed dead does no harm.
"""

import os
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from ..records.record_file import Record
from ..records.store import Store
from .job import PackJob


@dataclass(frozen=True)
class Carried:
    """Records and files of trials from a machine that does not share the study's folder.

    Attributes:
        records: One record per trial.
        files: Files of each trial except the record, by their paths in the trial's folder.
    """

    records: Sequence[Record]
    files: Sequence[Mapping[str, bytes]]

    def take_in(self, folder: Path) -> list[Record]:
        """Write the trials to the study's folder on this machine.

        Returns:
            The records now in the store; see `Store.commit`.

        Raises:
            InputError: The folder is not writable.
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
    """Run a pack's trials in this process, except those that an earlier run of the same attempt finished.

    Args:
        pack: The trials.
        token: Name of a file that the driver created in the study's folder; a machine that sees it shares the folder.
        environment: Parts of the recorded environment known to the driver; see `Job`.

    Raises:
        InputError: The folder is not writable.
    """
    own = uuid.uuid4().hex[:8]
    jobs = [replace(job, token=f"{job.token}_{own}", environment=environment) for job in pack.jobs]
    store = Store(pack.jobs[0].folder)
    if sees(store, token):
        there = [store.finished(job.identity["key"], job.token) for job in pack.jobs]
        finished = [record for record in there if record is not None]
        left = [job for job, record in zip(jobs, there, strict=True) if record is None]
        if pack.fixed and left:  # results depend on the whole pack; the store keeps existing records
            return replace(pack, jobs=tuple(jobs)).run()
        return finished + (replace(pack, jobs=tuple(left)).run() if left else [])
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        records = replace(pack, jobs=tuple(replace(job, folder=folder) for job in jobs)).run()
        return Carried(records, [_files(Store(folder).trials / record["key"]) for record in records])


def sees(store: Store, token: str) -> bool:
    """Whether this machine shares the driver's folder, with write access."""
    return (store.trials / token).is_file() and os.access(store.trials, os.W_OK)


def _files(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths if path != folder / "result.json"}
