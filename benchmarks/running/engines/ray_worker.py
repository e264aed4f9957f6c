"""What runs in the workers of a Ray cluster, of the code that the driver has sent there. Imports no ray."""

import faulthandler
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal, NamedTuple

from datamodules.errors import InputError
from zoo.outputs.provenance import PACKAGES

from ..carry import run_pack
from ..job import PackJob
from .local import OF_SRUN

# Numbers may differ where these do; what else a run imports is compared, too, and said.
DECISIVE = ("ray", "torch", "lightning", "numpy")
LONGEST = 365 * 24 * 3600.0  # seconds; the system's timers hold no more for certain
GRACE = 30.0  # seconds that a trial has to notice that its time is up, before its process is ended


@dataclass(frozen=True)
class Node:
    """A node of the cluster, as a worker on it finds it.

    Attributes:
        host: Its name.
        python: Python's version.
        packages: The versions of packages, None for those that are not installed.
    """

    host: str
    python: str
    packages: Mapping[str, str | None]

    def differences(self, driver: "Node") -> tuple[list[str], list[str]]:
        """In what this node is unlike the driver's machine: what cannot be, and what may be, each in a few words."""
        severe: list[str] = []
        mild: list[str] = []
        if self.python != driver.python:
            minor = [node.python.rpartition(".")[0] for node in (self, driver)]
            (severe if len(set(minor)) > 1 else mild).append(f"Python {self.python} (the driver: {driver.python})")
        for name, wanted in driver.packages.items():
            found = self.packages.get(name)
            if found != wanted:
                words = f"{name} {found} (the driver: {wanted})" if found else f"no {name} (the driver: {wanted})"
                (severe if name in DECISIVE or found is None else mild).append(words)
        return severe, mild

    def refusal(self, driver: "Node") -> str:
        """Why trials cannot run on this node, with the remedy; empty if they can."""
        severe, _ = self.differences(driver)
        if not severe:
            return ""
        pins = [f"{name}=={wanted}" for name, wanted in driver.packages.items() if self.packages.get(name) != wanted]
        remedy = f"install the driver's there (pip install {' '.join(pins)})" if pins else "start it with the driver's"
        return f"the node {self.host} has {', '.join(severe)}, so its results could not be compared; {remedy}."


def this_node() -> Node:
    """The one that this process runs on."""
    versions = {name: _version(name) for name in ("ray", *PACKAGES)}
    return Node(socket.gethostname(), ".".join(map(str, sys.version_info[:3])), versions)


@cache
def _version(name: str) -> str | None:
    try:
        return version(name).partition("+")[0]  # torch 2.9+cpu and 2.9+cu130 are one version
    except PackageNotFoundError:
        return None


@dataclass(frozen=True)
class Sender:
    """What a worker must know of the driver.

    Attributes:
        node: Its versions.
        directory: Its working directory.
        token: The name of the file by which a worker sees whether it sees the study's folder; see `carry.run_pack`.
        environment: What records say of where trials run, and workers cannot know.
        preload: Whether jobs need torch and lightning.
    """

    node: Node
    directory: str
    token: str
    environment: Mapping[str, Any]
    preload: bool = False


class Answer(NamedTuple):
    """How a job ended.

    Attributes:
        kind: `returned`, `refused` (bad input), `raised`, `timed out` or `exited`.
        value: What it returned, or words on it.
        seconds: How long it took.
    """

    kind: Literal["returned", "refused", "raised", "timed out", "exited"]
    value: Any
    seconds: float


class _TimeUp(BaseException):
    """A job's time is up; no Exception, so that trials do not take it for one of their own."""


def serve(function: Callable[..., Any], job: tuple[Any, ...], limit: float, sender: Sender) -> Answer:
    """Run a job in this process.

    Args:
        function: What is called.
        job: Its arguments; a pack runs as `carry.run_pack` has it.
        limit: Seconds after which it is ended.
        sender: The driver.
    """
    for name in OF_SRUN:  # of the `srun` that started the node
        os.environ.pop(name, None)
    start = time.monotonic()

    def answer(kind: Literal["returned", "refused", "raised", "timed out", "exited"], value: Any) -> Answer:
        return Answer(kind, value, time.monotonic() - start)

    if refusal := this_node().refusal(sender.node):  # one that has joined since
        return answer("refused", refusal)
    with suppress(OSError):  # for paths relative to it, where it is shared
        os.chdir(sender.directory)
    try:
        if sender.preload:
            import benchmarks.running.engines.preload  # noqa: F401 - ahead of the trial, whose time it is not
        if torch := sys.modules.get("torch"):
            torch.set_num_threads(1)
        start = time.monotonic()
        with _time_limit(limit):
            if function is PackJob.run:
                return answer("returned", run_pack(job[0], sender.token, sender.environment))
            return answer("returned", function(*job))
    except _TimeUp:
        _disarm()  # it may have struck before the context could
        return answer("timed out", None)
    except InputError as error:
        return answer("refused", f"on the node {socket.gethostname()}: {error}")
    except SystemExit as error:
        return answer("exited", f"exited with status {error.code}")
    except Exception:
        return answer("raised", traceback.format_exc())


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise `_TimeUp` in the middle of what lasts longer; end the process if it does not heed that."""
    if seconds > LONGEST:
        yield
        return

    def strike(number: int, frame: Any) -> None:
        raise _TimeUp

    before = signal.signal(signal.SIGALRM, strike)
    # Again and again: Python drops what is raised in a finalizer. A loop inside a library heeds no signal at all.
    faulthandler.dump_traceback_later(seconds + GRACE, exit=True, file=2)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
        yield
    finally:
        _disarm()
        signal.signal(signal.SIGALRM, before)


def _disarm() -> None:
    signal.setitimer(signal.ITIMER_REAL, 0)
    faulthandler.cancel_dump_traceback_later()
