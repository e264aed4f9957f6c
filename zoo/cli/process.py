"""Process handling of the commands `zoo` and `bench`: Ctrl-C, closed pipes, slow imports, versions."""

import errno
import os
import re
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from io import TextIOWrapper
from typing import Any

from datamodules.errors import InputError

from ..devices import forget_stale_ranks
from ..outputs.files import has_current_folder

INTERRUPTED = 130  # as shells count: 128 + SIGINT
CLOSED_PIPE = 141  # 128 + SIGPIPE
SAME_PRESS = 0.3  # seconds; `timeout -s INT` sends a signal twice
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # all but tab and newline
LONGEST_NAME = 100  # characters of a path that are shown
REMEDIES = {
    errno.ENAMETOOLONG: "choose a shorter name or path",
    errno.ELOOP: "a symbolic link points to itself; choose another path",
    errno.ENOSPC: "make room on the disk, or choose a folder on another one",
    errno.EDQUOT: "make room in your quota, or choose a folder on another disk",
    errno.EROFS: "choose a folder that can be written",
    errno.EACCES: "make it readable and writable, or choose another path",
    errno.EPERM: "make it readable and writable, or choose another path",
    errno.ENOENT: "choose a path that exists",
}


class _Stop:
    """State of stopping the command.

    Attributes:
        command: The running command, such as "zoo fit".
        kept: Message to print after stopping.
        since: Time of the first signal; None before.
        at_once: Whether the first signal ends the process. This is so during imports: there is nothing to finish, and
            an exception raised during an import may get lost.
    """

    command = ""
    kept = ""
    since: float | None = None
    at_once = False


def call(command: str, run: Callable[[], int], kept: str) -> int:
    """Run a verb.

    Args:
        command: Name of the command, such as "zoo fit".
        run: The verb; returns the exit status.
        kept: Message after Ctrl-C: what is kept, and how to continue.

    Returns:
        The exit status: 2 for invalid input, 130 after Ctrl-C, 141 if the reader of the output has exited, otherwise
        that of the verb.
    """
    _print_anything()
    forget_stale_ranks()
    os.environ["MPLBACKEND"] = "agg"  # that of a notebook cannot be imported here, and no window is opened
    try:
        with _stoppable(command, kept):
            try:
                return run()
            except InputError as error:
                print(f"{command}: {printable(str(error))}", file=sys.stderr)
                return 2
            except OSError as error:
                if not has_current_folder():
                    print(f"{command}: the current folder no longer exists; change to another one.", file=sys.stderr)
                    return 2
                if not isinstance(error.filename, str | bytes):  # not about a file that the user named
                    raise
                print(f"{command}: {printable(_refusal(error))}", file=sys.stderr)
                return 2
            except KeyboardInterrupt:
                _say_kept()
                return INTERRUPTED
            finally:  # here rather than at the end of the interpreter, where a closed pipe is a traceback
                sys.stdout.flush()
    except BrokenPipeError:
        if not _reader_has_gone():
            raise
        return CLOSED_PIPE


def printable(text: str) -> str:
    """Replace control characters, which could move a terminal's cursor or retitle its window, by their escapes."""
    return CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def _print_anything() -> None:
    """Let a terminal that is not UTF-8 show a question mark for a character that it does not have."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="replace")


def _refusal(error: OSError) -> str:
    """Describe in a sentence why a file or folder cannot be used."""
    name = os.fsdecode(error.filename)
    shown = name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}..."
    remedy = REMEDIES.get(error.errno or 0, "choose another file or folder")
    return f"cannot use {shown}: {error.strerror}; {remedy}."


@contextmanager
def _stoppable(command: str, kept: str) -> Iterator[None]:
    """On the first Ctrl-C, print a message and raise `KeyboardInterrupt`; on the second, end the process."""
    owner, before = os.getpid(), (_Stop.command, _Stop.kept, _Stop.since, _Stop.at_once)
    # Shells start background jobs with Ctrl-C ignored, which is preserved. Only the main thread can handle signals.
    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    ours = ours and threading.current_thread() is threading.main_thread()

    def stop(number: int, frame: Any) -> None:
        if os.getpid() != owner:  # a process forked from this one
            raise KeyboardInterrupt
        if _Stop.since is None:
            stopping()
            raise KeyboardInterrupt
        if time.monotonic() - _Stop.since > SAME_PRESS:
            os._exit(INTERRUPTED)

    _Stop.command, _Stop.kept, _Stop.since, _Stop.at_once = command, kept, None, False
    if ours:
        signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        _Stop.command, _Stop.kept, _Stop.since, _Stop.at_once = before


def stopping() -> None:
    """Print that the command is stopping; end the process if there is nothing to finish."""
    _Stop.since = time.monotonic()
    start = "\n" if sys.stderr.isatty() else ""  # the terminal has printed ^C
    text = (
        f"{start}{_Stop.command}: stopping ...{'' if _Stop.at_once else ' (press Ctrl-C again to exit immediately)'}\n"
    )
    try:
        print(text, end="", file=sys.stderr, flush=True)
    except RuntimeError:  # the signal came in the middle of another print
        os.write(2, text.encode())
    if _Stop.at_once:
        _say_kept()
        os._exit(INTERRUPTED)


def _say_kept() -> None:
    print(f"{_Stop.command}: interrupted; {_Stop.kept}", file=sys.stderr, flush=True)


@contextmanager
def terminated_is_interrupted() -> Iterator[None]:
    """Handle SIGTERM, which clusters and `timeout` send, like the first Ctrl-C."""

    def interrupt(number: int, frame: Any) -> None:
        if _Stop.since is None:
            stopping()
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Show what the command is doing, such as "Checking the study ...", if stderr is a terminal."""
    shown = sys.stderr.isatty()
    if shown:
        print(f"{what} ...", end="", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        if shown and _Stop.since is None:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


@contextmanager
def loading(*modules: str) -> Iterator[None]:
    """Show on a terminal that these modules are being imported, unless they already are; Ctrl-C ends the process."""
    missing = [module for module in modules if module not in sys.modules]
    if not missing:
        yield
        return
    _Stop.at_once = bool(_Stop.command)
    try:
        with waiting(f"Loading {' and '.join(missing)}"):
            yield
    finally:
        _Stop.at_once = False


def versions(command: str) -> str:
    """Return the output of `--version`, from package metadata, without importing the packages."""
    found = []
    for package in ("torch", "lightning"):
        with suppress(PackageNotFoundError):
            found.append(f"{package} {version(package)}")
    python = ".".join(map(str, sys.version_info[:3]))
    own = "not installed"
    with suppress(PackageNotFoundError):  # a checkout can be used as it is
        own = version("ablation-zoo")
    return f"{command} {own} ({', '.join([*found, f'Python {python}'])})"


def _reader_has_gone() -> bool:
    """Whether the reader of the output has exited; further output is then discarded."""
    gone = False
    for stream in (sys.stdout, sys.stderr):
        poll = select.poll()
        with suppress(OSError):  # a stream without a file, as in tests
            poll.register(stream.fileno(), select.POLLOUT)
        if any(event & select.POLLERR for _, event in poll.poll(0)):
            gone = True
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
    return gone
