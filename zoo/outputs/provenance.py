"""What ran where: recorded with every result. Does not import torch, but asks it where it is loaded."""

import contextlib
import hashlib
import os
import platform
import re
import resource
import subprocess
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "lightning", "torchmetrics", "torchvision", "numpy", "scikit-learn")
ROOT = Path(__file__).parents[2]


@cache
def code_version() -> str:
    """A hash of the sources of `zoo` and `datamodules`, twelve hexadecimal digits."""
    digest = hashlib.sha256()
    for package in ("zoo", "datamodules"):
        for file in sorted((ROOT / package).rglob("*.py")):
            digest.update(f"{file.relative_to(ROOT).as_posix()}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:12]


@cache
def git_state() -> dict[str, Any]:
    """The commit of the checkout that the code runs from and whether it has changes; nulls outside a checkout."""

    def git(*args: str) -> str:
        return subprocess.run(
            ["git", "--no-optional-locks", "-C", str(ROOT), *args], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        inside = Path(git("rev-parse", "--show-toplevel")) == ROOT
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))} if inside else _NO_GIT
    except (OSError, subprocess.CalledProcessError):
        return _NO_GIT


_NO_GIT: dict[str, Any] = {"commit": None, "dirty": None}


@cache
def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


_platform = cache(platform.platform)


@cache
def _packages() -> dict[str, str]:
    return {name: version(name) for name in PACKAGES}


def environment() -> dict[str, Any]:
    """The code, the packages and the hardware of this process, as plain values.

    `threads` counts those that torch computes on, or would by its environment where it is not loaded.
    """
    torch = sys.modules.get("torch")
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]  # a list: one number a level of nesting
    threads = int(asked) if asked.isdigit() else os.cpu_count() or 1
    gpus = range(torch.cuda.device_count()) if torch else ()
    return {
        "git": git_state(),
        "code_version": code_version(),
        "python": platform.python_version(),
        "platform": _platform(),
        "packages": _packages(),
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads() if torch else threads,
        "gpus": [torch.cuda.get_device_name(i) for i in gpus] if torch else [],
    }


def reset_peak_memory() -> None:
    """Count peaks from now on, where the system can; else `peak_memory_bytes` counts from the start of the process."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # see proc(5)
    if (torch := sys.modules.get("torch")) and torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()


def peak_memory_bytes() -> dict[str, int | None]:
    """The most memory that this process has held, on the host and on the current GPU; see `reset_peak_memory`."""
    torch = sys.modules.get("torch")
    try:
        found = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
        host = int(found[1]) * 1024 if found else None
    except OSError:  # no Linux: macOS counts in bytes
        host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {"host": host, "gpu": torch.cuda.max_memory_allocated() if torch and torch.cuda.is_available() else None}
