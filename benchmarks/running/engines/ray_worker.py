"""Code that runs in the workers of a Ray cluster, sent there by the driver. Imports no ray."""

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
from pathlib import Path
from typing import Any, Literal, NamedTuple

from datamodules.errors import InputError
from zoo.outputs.provenance import PACKAGES

from ..carry import run_pack
from ..job import PackJob
from .local import OF_SRUN

OWN_CODE = Path(__file__).parents[3] / "own_code"  # where the driver puts the modules next to the study file
# Packages whose versions must match, because results may depend on them; other differences only give a warning.
DECISIVE = ("ray", "torch", "lightning", "numpy")
LONGEST = 365 * 24 * 3600.0  # seconds; longer limits may exceed what system timers support
GRACE = 30.0  # seconds between the end of a trial's time and the end of its process, if it does not react


@dataclass(frozen=True)
class Node:
    """A node of the cluster, as seen by a worker on it.

    Attributes:
        host: Host name.
        python: Python version.
        packages: Versions of packages; None for packages that are not installed.
    """

    host: str
    python: str
    packages: Mapping[str, str | None]

    def differences(self, driver: "Node") -> tuple[list[str], list[str]]:
        """Differences from the driver's machine in a few words each: incompatible ones, and acceptable ones."""
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
        """Why trials cannot run on this node, with a remedy; empty if they can."""
        severe, _ = self.differences(driver)
        if not severe:
            return ""
        pins = [f"{name}=={wanted}" for name, wanted in driver.packages.items() if self.packages.get(name) != wanted]
        remedy = "start the node with the driver's Python version"
        if pins:
            remedy = f"install the driver's versions there (pip install {' '.join(pins)})"
        return f"the node {self.host} has {', '.join(severe)}, so its results would not be comparable; {remedy}."


def this_node() -> Node:
    """The node that this process runs on."""
    versions = {name: _version(name) for name in ("ray", *PACKAGES)}
    return Node(socket.gethostname(), ".".join(map(str, sys.version_info[:3])), versions)


@cache
def _version(name: str) -> str | None:
    try:
        return version(name).partition("+")[0]  # treat torch 2.9+cpu and 2.9+cu130 as equal
    except PackageNotFoundError:
        return None


@dataclass(frozen=True)
class Sender:
    """Information about the driver for a worker.

    Attributes:
        node: Versions of the driver.
        directory: Working directory of the driver.
        token: Name of the file by which a worker detects whether it shares the study's folder; see `carry.run_pack`.
        environment: Parts of the recorded environment that workers cannot determine.
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
        value: The return value, or a message.
        seconds: Duration.
    """

    kind: Literal["returned", "refused", "raised", "timed out", "exited"]
    value: Any
    seconds: float


class _TimeUp(BaseException):
    """A job exceeded its time limit; a BaseException, so that code in trials does not catch it."""


def serve(function: Callable[..., Any], job: tuple[Any, ...], limit: float, sender: Sender) -> Answer:
    """Run a job in this process.

    Args:
        function: The function to call.
        job: Its arguments; a pack is run with `carry.run_pack`.
        limit: Time limit in seconds.
        sender: The driver.
    """
    for name in OF_SRUN:  # set by the `srun` that started the node
        os.environ.pop(name, None)
    start = time.monotonic()

    def answer(kind: Literal["returned", "refused", "raised", "timed out", "exited"], value: Any) -> Answer:
        return Answer(kind, value, time.monotonic() - start)

    if OWN_CODE.is_dir() and str(OWN_CODE) not in sys.path:
        sys.path.append(str(OWN_CODE))
    if refusal := this_node().refusal(sender.node):  # a node that joined later
        return answer("refused", refusal)
    with suppress(OSError):  # so that relative paths work if the directory is shared
        os.chdir(sender.directory)
    try:
        if sender.preload:
            import benchmarks.running.engines.preload  # noqa: F401 - before the clock starts
        if torch := sys.modules.get("torch"):
            torch.set_num_threads(1)
        start = time.monotonic()
        with _time_limit(limit):
            if function is PackJob.run:
                return answer("returned", run_pack(job[0], sender.token, sender.environment))
            return answer("returned", function(*job))
    except _TimeUp:
        _disarm()  # the signal may have come before the context could disarm it
        return answer("timed out", None)
    except InputError as error:
        return answer("refused", f"on the node {socket.gethostname()}: {error}")
    except SystemExit as error:
        return answer("exited", f"exited with status {error.code}")
    except Exception:
        return answer("raised", traceback.format_exc())


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise `_TimeUp` after this many seconds, and end the process if it does not react."""
    if seconds > LONGEST:
        yield
        return

    def strike(number: int, frame: Any) -> None:
        raise _TimeUp

    before = signal.signal(signal.SIGALRM, strike)
    # Repeat the signal, because Python drops exceptions raised in finalizers. Native code may never react to signals.
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
