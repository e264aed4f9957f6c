"""Provenance recorded with every result: code, packages, hardware. Uses torch only if it is already imported."""

import contextlib
import hashlib
import os
import platform
import re
import resource
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .files import write_atomically
from .source import closure, significant

PACKAGES = ("torch", "lightning", "torchmetrics", "torchvision", "numpy", "scikit-learn")
ROOT = Path(__file__).parents[2]
CODE = ("zoo", "datamodules")
TRIALS = ("zoo.train", "zoo.signal_propagation")  # entry modules of trials
# Results do not depend on these modules, although trials import some of them.
APART = ("zoo.cli", "zoo.doctor", "zoo.tracking", "zoo.outputs.provenance", "zoo.outputs.source")


@cache
def code_version() -> str:
    """Return a hash of the code that results can depend on, twelve hexadecimal digits.

    It covers all modules of `zoo` and `datamodules` that a trial imports, directly or indirectly, or may load by a name
    in a registry (see `source.closure`), without comments and docstrings (see `source.significant`). It follows the
    imports instead of a list of files, so a new module counts as soon as training can reach it. Command lines,
    `zoo doctor` and experiment tracking do not count, because they only report results.

    Reading the imports takes tenths of a second, so the result is cached in `__pycache__`, with a hash of all sources.
    """
    sources = {file: file.read_bytes() for package in CODE for file in sorted((ROOT / package).rglob("*.py"))}
    raw = hash_of((file.relative_to(ROOT).as_posix(), source) for file, source in sources.items())
    kept = Path(__file__).parent / "__pycache__" / "code_version.txt"
    with contextlib.suppress(OSError, ValueError):
        of, version = kept.read_text(encoding="ascii").split()
        if of == raw:
            return version
    modules = closure(TRIALS, _find)
    version = hash_of((name, significant(sources[file])) for name, file in sorted(modules.items()))
    with contextlib.suppress(OSError):  # if the package is not writable, the hash is computed each time
        kept.parent.mkdir(exist_ok=True)
        write_atomically(kept, f"{raw} {version}\n")
    return version


def _find(name: str) -> Path | None:
    """Return the file of a module whose code counts, otherwise None."""
    if name.partition(".")[0] not in CODE or any(f"{name}.".startswith(f"{apart}.") for apart in APART):
        return None
    path = ROOT.joinpath(*name.split("."))
    return next((file for file in (path / "__init__.py", path.with_suffix(".py")) if file.is_file()), None)


def hash_of(parts: Iterable[tuple[str, bytes]]) -> str:
    """Return a hash of names and contents, twelve hexadecimal digits."""
    digest = hashlib.sha256()
    for name, content in parts:
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:12]


@cache
def git_state() -> dict[str, Any]:
    """Return the commit of the checkout of this code, and whether it has changes; nulls outside a checkout."""

    def git(*args: str) -> str:
        return subprocess.run(
            ["git", "--no-optional-locks", "-C", str(ROOT), *args],
            capture_output=True,
            text=True,
            check=True,
            # GIT_DIR, GIT_WORK_TREE and others, which hooks set, name another repository.
            env={name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
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
    """Return the code, packages and hardware of this process, as plain values.

    `threads` is the number of threads that torch uses, or would use according to the environment if it is not imported.
    """
    torch = sys.modules.get("torch")
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]  # a list with one number per nesting level
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
    """Reset peak memory if the system supports it; otherwise peaks are those since the start of the process."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # see proc(5)
    if (torch := sys.modules.get("torch")) and torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()


def peak_memory_bytes() -> dict[str, int | None]:
    """Return this process's peak memory on the host and on the current GPU; see `reset_peak_memory`."""
    torch = sys.modules.get("torch")
    try:
        found = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
        host = int(found[1]) * 1024 if found else None
    except OSError:  # not Linux; macOS reports bytes
        host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {"host": host, "gpu": torch.cuda.max_memory_allocated() if torch and torch.cuda.is_available() else None}
