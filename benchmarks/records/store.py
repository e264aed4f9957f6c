"""Trial records on disk. The store alone decides what is done."""

import contextlib
import errno
import fcntl
import json
import os
import re
import shutil
import socket
import stat
from collections.abc import Container, Iterable, Iterator
from pathlib import Path

from datamodules.errors import InputError
from zoo.outputs.files import WRITER, make_folder, read_regular, write_atomically

from .columns import Curves
from .compact import ARCHIVE, CompactArchive
from .reading import OLD_ARCHIVE, OldArchive, is_alike, is_final, read_curves
from .record_file import Record, Unreadable, checksum, parse, sealed
from .record_file import read_stored_record as _read

# Errors of a disk or network file system, which are never a trial's fault, and of permissions, which may be.
BROKEN = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EREMOTEIO)
DENIED = (errno.EROFS, errno.EACCES, errno.EPERM)
REPORTED = re.compile(r"^(?:process \d+: )?OSError: \[Errno (\d+)\] ")  # by `tasks.own_process`
TORCH_WRITES = re.compile("PytorchStreamWriter|inline_container|unexpected pos|file write failed")
REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "free some space"),
    **dict.fromkeys((errno.EIO, errno.EREMOTEIO), "check the disk"),
    **dict.fromkeys((errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS), "mount it with lock support"),
    errno.ESTALE: "mount it again",
    **dict.fromkeys((errno.ELOOP, errno.EINVAL, errno.EISDIR, errno.ENOTDIR), "move it away"),
}
# Left by writes whose process was killed, see `zoo.outputs.files.replacing`.
WRITTEN = "study|plan|records|trials|figure|figure_tuned|curves|heatmap|layers|report|summary|table|table_tuned"
WRITTEN += "|effects|main_effects|across|claims|speed|parity"
WRITING = re.compile(rf"\.\.?({WRITTEN})(\.\w+)?{WRITER.pattern}")
SCARCE = 2**24  # bytes; with less free space, a checkpoint may not fit


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
        self._digests: dict[str, str] = {}  # of the records that have been read, or why they cannot be

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
                if not path.is_file() or read_regular(path) != text.encode():
                    write_atomically(path, text)

    def plan(self) -> dict[str, list[str]]:
        """The keys of each variant's trials by seed, from the last run or else the archive; empty if there is none."""
        try:
            plan = parse(read_regular(self.folder / "plan.json"))
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
        path = self.folder / ".lock"
        with self.sentences():
            make_folder(self.folder)
            # A link could point to any file, which would be truncated.
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            handle = os.open(path, flags, 0o666)
        try:
            try:
                with self.sentences():
                    if not stat.S_ISREG(os.fstat(handle).st_mode):
                        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(handle, 1000, 0).decode(errors="replace").strip() or "another process"
                raise InputError(
                    f"{holder} is running a study in {self.folder}; wait until it is done, or choose another --out."
                ) from None
            with self.sentences():
                os.ftruncate(handle, 0)
                os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
            yield
        finally:
            os.close(handle)

    def recover(self, alive: Container[str] = ()) -> None:
        """Commit trials that finished but were not renamed, and delete the folders of interrupted ones.

        The caller must hold the lock.

        Args:
            alive: The keys of trials that are still running, whoever started them; they are not touched.
        """
        for scratch in list(self.trials.glob(".*")):
            if scratch.name.startswith((".shared.", ".probe.")) and not scratch.is_dir():  # see `engines.ray`
                scratch.unlink(missing_ok=True)
            if not re.fullmatch(r"\.\w+\.\w+(\.taken)*", scratch.name) or not scratch.is_dir():
                continue
            if scratch.name.split(".")[1] in alive:
                continue
            taken = scratch.with_name(f"{scratch.name}.taken")
            try:
                scratch.rename(taken)  # so that a worker that briefly outlives its driver cannot commit it
                record = _read(taken / "result.json", taken.name.split(".")[1]).record
            except FileNotFoundError:
                continue
            except Unreadable:
                shutil.rmtree(taken, ignore_errors=True)
            else:
                self._appear(taken, record)
        for file in self.half_written():
            file.unlink(missing_ok=True)

    def half_written(self) -> list[Path]:
        """Temporary files of the study's own files; one that no process is writing was left by a killed process."""
        found = self.folder.glob(".*.*.*")
        return [file for file in found if WRITING.fullmatch(file.name) and not file.is_dir()]

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
        write_atomically(scratch / "result.json", sealed(record, _synced(scratch / "metrics.csv")))
        return self._appear(scratch, record)

    def record(self, key: str) -> Record | None:
        """The record of a trial, or None if it has not run.

        Raises:
            Unreadable: The record exists but cannot be read.
        """
        folder = self.trials / key
        if not folder.is_dir():
            self._digests.pop(key, None)
            return self.archived().get(key)
        try:
            record, self._digests[key] = _read(folder / "result.json", key)
        except Unreadable as error:
            self._digests[key] = str(error)
            raise
        return record

    def digest(self, keys: Iterable[str]) -> str:
        """A checksum of the study, and of the records and learning curves of these trials as they were last read."""
        archives = [self.folder / name for name in (ARCHIVE, OLD_ARCHIVE) if (self.folder / name).is_file()]
        files = [checksum(read_regular(file)) for file in (self.folder / "study.yaml", *archives)]
        return checksum(json.dumps([files, [(key, self._digests.get(key)) for key in keys]]).encode())

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
                return self._appear(scratch, _read(scratch / "result.json", key).record)
        return self.finished(key, token)

    def finished(self, key: str, token: str) -> Record | None:
        """The record of an attempt if it is the one stored under its trial's key, else None."""
        try:
            record = _read(self.trials / key / "result.json", key).record
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
        made = last + len(attempts_in(earlier))
        return made + archived.get("attempt", 0) * (archived.get("status") != "skipped")

    def refuse_if_full(self, error: BaseException) -> None:
        """Convert an error caused by storage rather than by the trial.

        Raises:
            InputError: The disk is full, broken or not writable.
        """
        if (cause := _of_storage(error)) is not None:
            raise self._sentence(cause) from None
        if isinstance(error, OSError) and error.errno in DENIED:
            with self.sentences():  # the error may concern another folder; test this one
                write_atomically(self.trials / ".probe", "")
                (self.trials / ".probe").unlink(missing_ok=True)
        # PyTorch's own writers do not tell why they failed.
        if TORCH_WRITES.search(str(error)) and shutil.disk_usage(self.folder).free < SCARCE:
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
                if earlier is not None and is_final(earlier, retry_failed=True) and is_alike(earlier, record):
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
        final.rename(attempts / str(1 + max((int(path.name) for path in attempts_in(attempts)), default=0)))

    def _sentence(self, error: OSError) -> InputError:
        if error.errno == errno.ENOENT and not self.trials.is_dir():
            return InputError(
                f"{self.folder} was deleted or moved while it was in use; put it back, or start again with the same "
                "command."
            )
        remedy = REMEDIES.get(error.errno or 0, "make it writable")
        file = None if error.filename is None else Path(os.fsdecode(error.filename))
        elsewhere = file is not None and not file.absolute().is_relative_to(self.folder.absolute())
        named = remedy == "move it away" or (error.errno in BROKEN and elsewhere)
        where = file if named and file is not None else self.folder
        return InputError(
            f"cannot write to {where}: {error.strerror}. Finished trials are kept: {remedy} and run the same "
            "command again, or choose another --out."
        )


def _of_storage(error: BaseException | None) -> OSError | None:
    """The error of a disk or network file system that caused an error, if one did."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, OSError) and error.errno in BROKEN:
            return error
        if (told := REPORTED.search(str(error))) and int(told[1]) in BROKEN:
            return OSError(int(told[1]), os.strerror(int(told[1])))
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None


def attempts_in(folder: Path) -> list[Path]:
    """The folders of earlier attempts, in order; other files there are ignored."""
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted((path for path in found if re.fullmatch(r"[1-9][0-9]{0,8}", path.name)), key=lambda p: int(p.name))


def _synced(file: Path) -> bytes | None:
    """The content of a file, after it has been written to disk; None if there is none."""
    try:
        handle = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with os.fdopen(handle, "rb") as opened:
        os.fsync(handle)
        return opened.read()


def _was_skipped(folder: Path) -> bool:
    """Whether the record in a trial's folder has the status skipped."""
    try:
        return bool(_read(folder / "result.json", folder.name).record["status"] == "skipped")
    except Unreadable:
        return False
