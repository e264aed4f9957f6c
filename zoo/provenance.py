"""What ran where: recorded with every result. Imports torch only when asked about it."""

import hashlib
import os
import platform
import resource
import subprocess
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "lightning", "torchmetrics", "torchvision", "numpy", "scikit-learn")
ROOT = Path(__file__).parents[1]


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
            ["git", "-C", str(ROOT), *args], capture_output=True, text=True, check=True
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


def environment() -> dict[str, Any]:
    """The code, the packages and the hardware of this process, as plain values."""
    import torch

    return {
        "git": git_state(),
        "code_version": code_version(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version(name) for name in PACKAGES},
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    }


def peak_memory_bytes() -> dict[str, int | None]:
    """The most memory that this process has held so far, on the host and on the current GPU."""
    import torch

    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return {"host": host, "gpu": torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None}
