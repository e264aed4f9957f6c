"""Runs checks: in processes of their own with time limits, or one after the other in this process."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

from .rows import Findings, Row

LONGEST_LOG = 20_000  # characters of a check's output that are printed


@dataclass
class Check:
    """A check.

    Attributes:
        name: Its name.
        function: The function that runs it, as `module:function`.
        seconds: Time limit.
        alone: Whether it measures time, so that nothing else may run at the same time.
        since: When it started, as `time.monotonic`; None before that.
        spent: How long it took.
        ended: A row on how it ended, if not by itself.
    """

    name: str
    function: str
    seconds: float
    alone: bool = False
    since: float | None = None
    spent: float = 0.0
    ended: list[Row] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None


def checks() -> list[Check]:
    """All checks in the order in which they start."""
    return [
        Check("models", "models:check", 180),
        Check("flags", "flags:check", 150),
        Check("compiled", "flags:check_compiled", 200),
        Check("commands", "commands:check", 200),
        Check("packs", "packs:check", 150, alone=True),
        Check("strategies", "study:check", 180, alone=True),
        Check("table", "study:check_table", 120, alone=True),
    ]


def run_check(function: str, small: bool, rows: Path, out: Path | None) -> None:
    """Run a check in this process.

    Args:
        function: The check's function, see `Check`.
        small: Whether to run in miniature.
        rows: File for its rows; other files go to a folder next to it.
        out: The folder of the report.
    """
    module, _, name = function.partition(":")
    run = getattr(import_module(f".{module}", __package__), name)
    import torch

    from .setting import Setting

    folder = rows.with_suffix("")
    folder.mkdir()
    run(Findings(rows), Setting("gpu" if torch.cuda.is_available() else "cpu", small, folder, out))


def in_turn(asked: Sequence[Check], folder: Path, out: Path | None) -> Iterator[None]:
    """Run checks one after the other in this process."""
    for check in asked:
        start = time.monotonic()
        rows = folder / f"{check.name}.jsonl"
        with Findings(rows).attempt(check.name):
            run_check(check.function, True, rows, out)
        check.spent = time.monotonic() - start
        yield


def in_processes(asked: Sequence[Check], folder: Path, out: Path | None, minutes: float) -> Iterator[None]:
    """Run checks in processes of their own, those that measure no time at once; yield when there may be new rows."""
    deadline = time.monotonic() + 60 * minutes
    waiting, running = list(asked), list[Check]()
    try:
        while waiting or running:
            while waiting and not (running and (waiting[0].alone or running[0].alone)):
                check = waiting.pop(0)
                if time.monotonic() > deadline:
                    check.ended.append(Row(check.name, "skipped", note=f"the {minutes:g} minutes were over"))
                    continue
                _start(check, folder, out)
                running.append(check)
            time.sleep(0.5)
            for check in list(running):
                if _has_ended(check, deadline, folder):
                    running.remove(check)
            yield
    finally:
        for check in running:
            _stop(check)


def _start(check: Check, folder: Path, out: Path | None) -> None:
    rows = folder / f"{check.name}.jsonl"
    command = [sys.executable, "-m", __package__, "--run", check.function, "--rows", str(rows)]
    command += ["--out", str(out)] if out else []
    with (folder / f"{check.name}.log").open("wb") as log:
        # In a group of its own, so that it can be stopped with all processes that it starts.
        check.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    check.since = time.monotonic()
    print(f"{check.name}: started", file=sys.stderr, flush=True)


def _has_ended(check: Check, deadline: float, folder: Path) -> bool:
    """Whether a check has ended; one that takes too long is stopped."""
    assert check.process is not None
    assert check.since is not None
    now = time.monotonic()
    check.spent = now - check.since
    late = check.spent > check.seconds or now > deadline
    if (status := check.process.poll()) is None and not late:
        return False
    _stop(check)
    log = (folder / f"{check.name}.log").read_text(encoding="utf-8", errors="replace")
    if status is None:
        check.ended.append(
            Row(check.name, "failed", note=f"stopped after {check.spent:.0f} s; its other rows are missing")
        )
    elif status:
        said = " ".join(log.split())[-500:]
        check.ended.append(Row(check.name, "failed", note=f"its process exited with status {status}: {said}"))
    print(f"{check.name}: {check.spent:.0f} s\n{log[-LONGEST_LOG:]}", file=sys.stderr, flush=True)
    return True


def _stop(check: Check) -> None:
    """Kill a check's process and all that it started."""
    assert check.process is not None
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(check.process.pid, signal.SIGKILL)
    check.process.wait()
