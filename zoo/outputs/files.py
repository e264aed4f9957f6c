"""Files that are written whole or not at all, and read only if they are regular files."""

import errno
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

DEEPEST = 200  # folders in a path; deeper ones cannot be removed by the usual tools
# Ends of the names of temporary files: the process, its machine, random digits; older versions had less.
WRITER = re.compile(r"\.(\d{1,9})(_([0-9a-f]{6})?[0-9a-f]{16})?")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A new, empty file next to `path`, to be written to; it replaces `path` on exit, or is deleted after an error.

    Its name cannot be guessed and it is created exclusively, so nothing that others put there is written to, and
    several processes can write the same file. What killed processes left of such files is deleted.
    """
    with suppress(OSError):  # the folder does not exist, or cannot be listed; the next line says so if it matters
        for left in path.parent.iterdir():
            writer = WRITER.fullmatch(left.name.removeprefix(f".{path.name}"))
            if writer is not None and writer[2]:  # a number alone may be the end of a name that a user chose
                remove_abandoned(left)
    temporary = path.with_name(f".{path.name}.{os.getpid()}_{_machine()}{secrets.token_hex(8)}")
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
    try:
        yield temporary
        try:
            temporary.replace(path)
        except OSError as error:  # it should name the file that the user knows
            raise OSError(error.errno, error.strerror, str(path)) from None
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def remove_abandoned(temporary: Path) -> None:
    """Delete a temporary file of `replacing` if its process has died; nothing happens if it runs or cannot be known."""
    writer = WRITER.fullmatch(temporary.name[temporary.name.rfind(".") :])
    if writer is None or writer[3] not in (None, _machine()) or temporary.is_symlink() or not temporary.is_file():
        return
    try:
        os.kill(int(writer[1]), 0)
    except ProcessLookupError:
        with suppress(OSError):  # somebody else's, or already deleted
            temporary.unlink()
    except OSError:  # it belongs to somebody else
        return


@cache
def _machine() -> str:
    """Six digits for what process numbers count in: a machine, or a container on it."""
    try:
        numbers = str(Path("/proc/self/ns/pid").readlink())
    except OSError:  # not Linux
        numbers = ""
    return hashlib.sha256(f"{os.uname().nodename} {numbers}".encode()).hexdigest()[:6]


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file atomically: even if the writer dies, readers see either the old or the new contents."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())


def write_new(path: Path, content: str) -> None:
    """Write a file that does not exist yet; after an error there is none.

    Raises:
        FileExistsError: It exists.
    """
    with path.open("xb") as file:
        try:
            file.write(content.encode())
            file.flush()
        except BaseException:
            path.unlink(missing_ok=True)
            raise


def read_regular(path: Path) -> bytes:
    """The content of a regular file. A pipe or device, which may never end, is an error.

    Raises:
        OSError: It cannot be read, or is not a regular file.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        return file.read()


def make_folder(path: Path) -> list[Path]:
    """Create a folder, with its parents; returns the folders that did not exist, from the outside in.

    Raises:
        OSError: If it cannot be created, or the path is nested too deeply.
    """
    if len(path.parts) > DEEPEST:
        raise OSError(errno.ENAMETOOLONG, f"the path has more than {DEEPEST} folders", str(path))
    made: list[Path] = []
    for folder in (*reversed(path.parents), path):
        try:
            folder.mkdir()
            made.append(folder)
        except OSError as error:  # an existing folder raises other errors than FileExistsError on a read-only disk
            if not os.path.isdir(folder):  # noqa: PTH112 - Path.is_dir raises for names that are too long
                for empty in reversed(made):
                    empty.rmdir()
                if isinstance(error, FileExistsError):  # a file, or a link to nothing
                    raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)) from None
                if isinstance(error, FileNotFoundError) and _exists(folder.parent):  # such as /proc
                    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), str(folder)) from None
                raise
    return made


def has_current_folder() -> bool:
    """Whether the current folder still exists."""
    try:
        os.getcwd()  # noqa: PTH109 - pathlib may cache it
    except FileNotFoundError:
        return False
    return True


def _exists(folder: Path) -> bool:
    """Whether a folder exists; a removed current folder can still be opened, but has no name."""
    try:
        return folder.stat().st_nlink > 0
    except OSError:
        return False
