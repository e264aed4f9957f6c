"""Trial records on disk. The store alone decides what is done."""

import contextlib
import errno
import fcntl
import json
import os
import re
import shutil
import socket
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from datamodules.errors import InputError, require
from zoo.outputs.files import make_folder, write_atomically

from ..study.study import Study, Variant
from .columns import Curves
from .compact import ARCHIVE, CompactArchive
from .reading import OLD_ARCHIVE, OldArchive, Record, Unreadable, _read, is_final, read_curves

# Errors caused by the folder, not by the trial.
STORAGE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ESTALE)
SCARCE = 2**24  # bytes; a disk with less free space counts as full, because a checkpoint may not fit


class Store:
    """The folder of a study: `study.yaml`, `plan.json` (the keys of its trials) and a folder per trial in `trials/`.

    A trial writes to a hidden folder, whose name starts with a dot. When it has ended, the folder with its record
    `result.json` is renamed, so that it appears as a whole. Earlier attempts are moved to `attempts/1`, ... in the
    trial's folder. Records archived in `records.zip` by `bench archive`, or in its old form `records.jsonl`, count as
    well.

    Args:
        folder: `DIR/NAME`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.trials = folder / "trials"
        self._archive: CompactArchive | OldArchive | None = None
        self._archived: dict[str, Record] | None = None

    # --- the study's own files ------------------------------------------------------------------------------------

    def create(self, study: str, plan: dict[str, list[str]]) -> None:
        """Create the folder with `study.yaml` and `plan.json`, unless they exist with the same content.

        Args:
            study: The study as the text of a file.
            plan: The keys of each variant's trials, by seed.

        Raises:
            InputError: The folder is not writable.
        """
        with self.sentences():
            make_folder(self.trials)
            for name, text in (("study.yaml", study), ("plan.json", json.dumps(plan))):
                path = self.folder / name
                if not path.is_file() or path.read_text(encoding="utf-8") != text:
                    write_atomically(path, text)

    def plan(self) -> dict[str, list[str]]:
        """The keys of each variant's trials by seed, from the last run or else the archive; empty if there is none."""
        try:
            plan = json.loads((self.folder / "plan.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            plan = {}
            for record in archive.records if (archive := self.archive()) else ():
                plan.setdefault(record["variant"], []).append(record["key"])
        return plan

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the folder against other drivers. The kernel releases the lock when its owner dies.

        Raises:
            InputError: Another driver holds the lock, or the folder is not writable.
        """
        with self.sentences():
            make_folder(self.folder)
            file = (self.folder / ".lock").open("a+", encoding="utf-8")
        with file:
            try:
                with self.sentences():
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                holder = file.read().strip() or "another process"
                raise InputError(
                    f"{holder} is running a study in {self.folder}; wait until it is done, or choose another --out."
                ) from None
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}")
            file.flush()
            yield

    def recover(self, alive: Container[str] = ()) -> None:
        """Commit trials that finished but were not renamed, and delete the folders of interrupted ones.

        The caller must hold the lock.

        Args:
            alive: The keys of trials that are still running, whoever started them; they are not touched.
        """
        for scratch in list(self.trials.glob(".*")):
            if scratch.name.startswith(".shared."):  # see `engines.ray`
                scratch.unlink(missing_ok=True)
            if not re.fullmatch(r"\.\w+\.\w+(\.taken)*", scratch.name) or not scratch.is_dir():
                continue
            if scratch.name.split(".")[1] in alive:
                continue
            taken = scratch.with_name(f"{scratch.name}.taken")
            try:
                scratch.rename(taken)  # so that a worker that briefly outlives its driver cannot commit it
                record = _read(taken / "result.json", taken.name.split(".")[1])
            except FileNotFoundError:
                continue
            except Unreadable:
                shutil.rmtree(taken, ignore_errors=True)
            else:
                self._appear(taken, record)
        for file in self.folder.glob(".*.*.*"):  # left by an interrupted write, see `write_atomically`
            if re.fullmatch(
                r"\.(study|plan|records|trials|table|table_tuned|summary|report|effects|main_effects|across|claims|speed"
                r"|parity)\.\w+\.\d+",
                file.name,
            ):
                file.unlink(missing_ok=True)

    # --- trials ---------------------------------------------------------------------------------------------------

    def scratch(self, key: str, token: str) -> Path:
        """The folder that an attempt writes to; it is created if necessary.

        Args:
            key: The trial.
            token: Name of the attempt. If an engine runs an attempt more than once, each run appends `_` and its own
                name, so that they do not share a folder.
        """
        folder = self.opened(key, token)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def opened(self, key: str, token: str) -> Path:
        """The same folder, which no longer exists if a driver presumed the attempt dead."""
        return self.trials / f".{key}.{token}"

    def scratches(self, key: str, token: str, tokens: Iterable[str] | None = None) -> list[Path]:
        """The folders left by runs of an attempt, newest first; `tokens` are all tokens of the trial, if known."""
        names = self.trials.glob(f".{key}.{token}*") if tokens is None else (self.opened(key, one) for one in tokens)
        found: dict[Path, int] = {}
        for path in names:
            if path.name.startswith(f".{key}.{token}") and not path.name.endswith(".taken"):
                with contextlib.suppress(FileNotFoundError):  # it has just been committed or moved
                    found[path] = path.stat().st_mtime_ns
        return sorted(found, key=lambda path: found[path], reverse=True)

    def commit(self, scratch: Path, record: Record) -> Record:
        """Rename a trial's folder, with its record, to its key.

        Returns:
            The record in the store now, which is an earlier one if another driver committed the same trial first.
        """
        write_atomically(scratch / "result.json", json.dumps(record, indent=1, allow_nan=False) + "\n")
        return self._appear(scratch, record)

    def record(self, key: str) -> Record | None:
        """The record of a trial, or None if it has not run.

        Raises:
            Unreadable: The record exists but cannot be read.
        """
        folder = self.trials / key
        if not folder.is_dir():
            return self.archived().get(key)
        return _read(folder / "result.json", key)

    def archive(self) -> CompactArchive | OldArchive | None:
        """The archive in this folder, read once; None if there is none.

        Raises:
            InputError: It is damaged.
        """
        if self._archive is None:
            for name, kind in ((ARCHIVE, CompactArchive), (OLD_ARCHIVE, OldArchive)):
                if self._archive is None and (self.folder / name).is_file():
                    self._archive = kind(self.folder / name)
        return self._archive

    def archived(self) -> dict[str, Record]:
        """The records in the archive by key.

        Raises:
            InputError: It is damaged.
        """
        if self._archived is None:
            records = archive.records if (archive := self.archive()) else ()
            self._archived = {record["key"]: record for record in records if record["status"] != "pending"}
        return self._archived

    def curves(self, keys: Iterable[str]) -> dict[str, Curves]:
        """The learning curves of some trials by key; trials without curves are left out."""
        found: dict[str, Curves] = {}
        for key in keys:
            if (folder := self.trials / key).is_dir():
                curves: Curves = read_curves(folder / "metrics.csv")
            else:
                curves = archive.curves(key) if (archive := self.archive()) else {}
            if curves:
                found[key] = curves
        return found

    def settle(self, key: str, token: str, tokens: Iterable[str] | None = None) -> Record | None:
        """The record of an attempt whose process died after it had finished, else None. See `scratches`."""
        for scratch in self.scratches(key, token, tokens):
            with contextlib.suppress(Unreadable):
                return self._appear(scratch, _read(scratch / "result.json", key))
        return self.finished(key, token)

    def finished(self, key: str, token: str) -> Record | None:
        """The record of an attempt if it is the one stored under its trial's key, else None."""
        try:
            record = _read(self.trials / key / "result.json", key)
        except Unreadable:
            return None
        return record if str(record.get("token")).partition("_")[0] == token else None

    def discard(self, key: str, token: str) -> None:
        """Delete the folders of an unfinished attempt, so that it can no longer commit."""
        scratch = self.trials / f".{key}.{token}"
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(scratch.rename(scratch.with_name(f"{scratch.name}.taken")), ignore_errors=True)

    def attempts_made(self, key: str) -> int:
        """Number of ended attempts of a trial, including crashes but not skipped ones."""
        folder, archived = self.trials / key, self.archived().get(key, {})
        earlier, last = folder / "attempts", folder.is_dir() and not _was_skipped(folder)
        made = last + (len(list(earlier.iterdir())) if earlier.is_dir() else 0)
        return made + archived.get("attempt", 0) * (archived.get("status") != "skipped")

    def refuse_if_full(self, error: BaseException) -> None:
        """Convert an error caused by the folder rather than by the trial.

        Raises:
            InputError: The disk is full or not writable.
        """
        if isinstance(error, OSError) and error.errno in STORAGE_ERRORS:
            with self.sentences():  # the error may concern another folder; test this one
                write_atomically(self.trials / ".probe", "")
                (self.trials / ".probe").unlink()
        if shutil.disk_usage(self.folder).free < SCARCE:
            raise self._sentence(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))) from None

    @contextlib.contextmanager
    def sentences(self) -> Iterator[None]:
        """Convert system errors about the folder into an `InputError` with a remedy."""
        try:
            yield
        except BlockingIOError:
            raise
        except OSError as error:
            raise self._sentence(error) from None

    # --- inside ---------------------------------------------------------------------------------------------------

    def _appear(self, scratch: Path, record: Record) -> Record:
        final = self.trials / record["key"]
        while True:
            try:
                scratch.rename(final)
            except FileNotFoundError:
                if (found := self.record(record["key"])) is None:
                    raise
                return found  # another process has just committed it
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
            else:
                return record
            with contextlib.suppress(Unreadable):
                earlier = self.record(record["key"])
                if earlier is not None and is_final(earlier, retry_failed=True):
                    shutil.rmtree(scratch)
                    return earlier
            with contextlib.suppress(FileNotFoundError):  # another driver has just moved it
                self._keep_attempt(final, scratch)

    @staticmethod
    def _keep_attempt(final: Path, scratch: Path) -> None:
        attempts = scratch / "attempts"
        if (final / "attempts").is_dir() and not attempts.is_dir():
            (final / "attempts").rename(attempts)
        if _was_skipped(final):
            shutil.rmtree(final, ignore_errors=True)
            return
        attempts.mkdir(exist_ok=True)
        final.rename(attempts / str(1 + len(list(attempts.iterdir()))))

    def _sentence(self, error: OSError) -> InputError:
        remedy = "free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "make it writable"
        remedy = "mount it with lock support" if error.errno == errno.ENOLCK else remedy
        return InputError(
            f"cannot write to {self.folder}: {error.strerror}. Finished trials are kept: {remedy} and run the same "
            "command again, or choose another --out."
        )


@dataclass(frozen=True)
class StoredTrial:
    """A trial of a study that was run or archived.

    Attributes:
        variant: Variant of the trial.
        seed: Its seed.
        key: Its key.
        record: Its record; None if it has not run, or if the record cannot be read.
        trouble: Why the record cannot be read; empty if it can.
    """

    variant: Variant
    seed: int
    key: str
    record: Record | None
    trouble: str = ""


def read_stored(study: Study, store: Store) -> list[StoredTrial]:
    """The trials of a study with their records, read once, in the study's order.

    Raises:
        InputError: The folder contains another study, or a damaged archive.
    """
    trials = []
    for variant, seed, key in trials_of(study, store):
        try:
            trials.append(StoredTrial(variant, seed, key, store.record(key)))
        except Unreadable as error:
            trials.append(StoredTrial(variant, seed, key, None, str(error)))
    return trials


def trials_of(study: Study, store: Store) -> list[tuple[Variant, int, str]]:
    """The trials of a study that was run or archived, by variant, each with its seed and key.

    Raises:
        InputError: The folder contains another study.
    """
    plan = store.plan()
    good = isinstance(plan, dict) and list(plan) == [variant.name for variant in study.variants]
    good = good and all(isinstance(keys, list) and len(keys) == study.seeds for keys in plan.values())
    require(
        good and all(isinstance(key, str) for keys in plan.values() for key in keys),
        f"the records in {store.folder} do not match its study.yaml; run the study again.",
    )
    by_variant = zip(study.variants, plan.values(), strict=True)
    return [(variant, seed, key) for variant, keys in by_variant for seed, key in enumerate(keys)]


def _was_skipped(folder: Path) -> bool:
    """Whether the record in a trial's folder has the status skipped."""
    try:
        return bool(_read(folder / "result.json", folder.name)["status"] == "skipped")
    except Unreadable:
        return False
