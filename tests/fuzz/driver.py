"""Runs bad input through both commands in this process, and says what went wrong beyond a refusal."""

import io
import os
import shutil
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

SEED = int(os.environ.get("FUZZ_SEED", "19"))
CPU_LIMIT = 5.0  # seconds of this process, which do not depend on what else the machine does
WALL_LIMIT = 60.0  # seconds; for input that waits for something that never comes
MINE = "mine.txt"  # a file of the user's in the current folder that no command may touch
CONTENT = b"written by hand\n"

Main = Callable[[list[str]], int]
Prepare = Callable[[Path], None]


def commands() -> dict[str, Main]:
    """The two commands."""
    from benchmarks.cli import main as bench
    from zoo.cli import main as zoo

    return {"zoo": zoo, "bench": bench}


@dataclass(frozen=True)
class Input:
    """A command line, with the files that it reads.

    Attributes:
        name: Its kind and number, with which it can be made again.
        command: `zoo` or `bench`.
        argv: The arguments.
        prepare: Writes the files into the current folder of the command.
        about: What is bad about the files.
    """

    name: str
    command: str
    argv: list[str]
    prepare: Prepare = lambda folder: None
    about: str = ""

    def __str__(self) -> str:
        about = f" ({self.about})" if self.about else ""
        return f"{self.name}: {self.command} {' '.join(map(_shown, self.argv))}{about}"


def _shown(text: str) -> str:
    told = ascii(text)
    return told if len(told) <= 120 else f"{told[:60]}...{told[-30:]} ({len(text)} characters)"


class Hang(BaseException):
    """The input took too long; no handler of exceptions in the commands catches it."""


def draw_for(kind: str, number: int) -> Random:
    """The random numbers of an input, which do not depend on other inputs."""
    return Random(f"{SEED} {kind} {number}")


@dataclass(frozen=True)
class Answer:
    """The answer to an input.

    Attributes:
        to: The input.
        status: The exit status; None if there is none.
        printed: What was printed, to stdout first.
        problems: What is wrong with the answer.
    """

    to: Input
    status: Any
    printed: str
    problems: tuple[str, ...]

    def __str__(self) -> str:
        lines = [line for part in (*self.problems, self.printed[-1500:]) for line in part.splitlines()]
        return "\n    ".join([str(self.to), *lines])


def answers(inputs: Iterable[Input], folder: Path, mains: Mapping[str, Main] | None = None) -> Iterator[Answer]:
    """Run inputs, each in a folder of its own.

    Args:
        inputs: The inputs.
        folder: An empty folder.
        mains: The commands, if other ones than this project's.
    """
    mains = commands() if mains is None else mains
    for one in inputs:
        here = folder / one.name
        here.mkdir()
        yield _answer(one, here, mains[one.command])
        shutil.rmtree(here, ignore_errors=True)


def _answer(one: Input, folder: Path, main: Main) -> Answer:
    mine = folder / MINE
    mine.write_bytes(CONTENT)
    os.utime(mine, (1, 1))
    one.prepare(folder)
    out, err = io.BytesIO(), io.BytesIO()
    streams = [io.TextIOWrapper(buffer, encoding="utf-8", write_through=True) for buffer in (out, err)]
    status: Any = None
    problems = []
    try:
        with _as_it_was(), redirect_stdout(streams[0]), redirect_stderr(streams[1]), _limited():
            os.chdir(folder)
            try:
                status = main(one.argv)
            except SystemExit as end:
                status = 0 if end.code is None else end.code
            if type(status) is not int or status not in (0, 1, 2):
                problems.append(f"the status is {status!r}")
    except KeyboardInterrupt:
        raise
    except Hang as hang:
        problems.append(f"{hang} at {_where(hang)}")
    except BaseException as error:
        problems.append(f"{type(error).__name__} escaped: {_shown(str(error))} at {_where(error)}")
    said, complained = out.getvalue().decode(), err.getvalue().decode()
    if "Traceback" in said + complained:
        problems.append("a traceback was printed")
    if status == 2 and not complained.strip():
        problems.append("the status is 2 without a word on stderr")
    if not mine.is_file() or mine.read_bytes() != CONTENT or mine.stat().st_mtime_ns != 10**9:
        problems.append(f"{MINE} was changed")
    return Answer(one, status, said + complained, tuple(problems))


def _where(error: BaseException) -> str:
    """The innermost lines of this project in a traceback, and the last line at all."""
    frames = [
        f"{Path(frame.filename).parent.name}/{Path(frame.filename).name}:{frame.lineno}"
        for frame in traceback.extract_tb(error.__traceback__)
    ]
    return " > ".join(frames[-6:])


@contextmanager
def _limited() -> Iterator[None]:
    """Raise `Hang` in the main thread when the time is up."""

    def strike(number: int, frame: Any) -> None:
        # Once more later, in case that the first exception gets lost in a destructor.
        raise Hang(f"hang: more than {CPU_LIMIT if number == signal.SIGPROF else WALL_LIMIT:g} s")

    timers = ((signal.SIGPROF, signal.ITIMER_PROF, CPU_LIMIT), (signal.SIGALRM, signal.ITIMER_REAL, WALL_LIMIT))
    before = [signal.signal(number, strike) for number, _, _ in timers]
    try:
        for _, timer, seconds in timers:
            signal.setitimer(timer, seconds, 1.0)
        yield
    finally:
        for _, timer, _ in timers:
            signal.setitimer(timer, 0)
        for (number, _, _), handler in zip(timers, before, strict=True):
            signal.signal(number, handler)


@contextmanager
def _as_it_was() -> Iterator[None]:
    """Restore what a command may change in this process: folder, environment, module path, warnings."""
    folder, environment, path = Path.cwd(), dict(os.environ), list(sys.path)
    with warnings.catch_warnings():
        try:
            yield
        finally:
            os.chdir(folder)
            sys.path[:] = path
            os.environ.clear()
            os.environ.update(environment)


def put(path: Path, what: str) -> None:
    """Replace a file by something that is no regular file, or cannot be read as one."""
    import socket

    with suppress(FileNotFoundError):
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    if what == "folder":
        path.mkdir()
    elif what == "fifo":
        os.mkfifo(path)
    elif what == "socket":
        # The path of a socket has at most 108 characters.
        before = Path.cwd()
        os.chdir(path.parent)
        try:
            with socket.socket(socket.AF_UNIX) as one:
                one.bind(path.name)
        finally:
            os.chdir(before)
    elif what == "empty":
        path.write_bytes(b"")
    elif what != "missing":
        path.symlink_to({"loop": path.name, "dangling": "nowhere", "mine": MINE}.get(what, what))


INSTEAD = ("folder", "fifo", "socket", "empty", "missing", "loop", "dangling", "mine", "/dev/zero", "/dev/urandom")
