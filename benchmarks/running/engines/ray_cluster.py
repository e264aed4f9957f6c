"""Connect to or start a Ray cluster, send it this project's code, and compare its nodes with the driver's machine."""

import logging
import os
import re
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from datamodules.errors import InputError, require

from .local import ONE_THREAD
from .ray_worker import OWN_CODE, this_node

# Read when ray is imported: send no usage statistics; run workers in the environment of their node even if `uv run`
# started the driver; limit retries of trials that run out of memory; suppress a warning about CUDA_VISIBLE_DEVICES.
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_task_oom_retries": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
}
for name, value in QUIET.items():
    os.environ.setdefault(name, value)

import ray  # noqa: E402
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy  # noqa: E402

PACKAGE_ROOT = Path(__file__).parents[3]
SENT = ("zoo", "datamodules", "benchmarks")
PATIENCE = 10.0  # seconds to wait for an answer from an address
TO_ANSWER = 300.0  # seconds to wait for a node's package versions; workers start slowly on a busy node
HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])


class Cluster:
    """A Ray cluster that this process is connected to.

    Args:
        address: `HOST:PORT`, `auto` for the cluster on this machine, or `ray://HOST:PORT` from outside the cluster;
            None starts a cluster on this machine, which ends with this process.
        n_cpus: Number of CPUs of a cluster started here.
        study_file: The study file if its task is the user's own; the modules next to it are sent to the cluster.

    Raises:
        InputError: No cluster answers at the address, or it cannot be used.
    """

    def __init__(self, address: str | None, n_cpus: int, study_file: Path | None) -> None:
        self.address = address
        if address is not None:
            _require_answer(address)
        where: dict[str, Any] = {"address": "local", "num_cpus": n_cpus, "include_dashboard": False}
        with tempfile.TemporaryDirectory(prefix="bench-code-") as folder, _own_handlers():
            _gather_code(Path(folder), study_file)
            try:
                ray.init(
                    **(where if address is None else {"address": address}),
                    runtime_env={"working_dir": folder, "env_vars": _environment()},
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                )
            except Exception as error:  # ray's exceptions have no common type
                raise InputError(_sentence(error, address)) from None

    def nodes(self) -> list[dict[str, float]]:
        """The resources of each live node."""
        return [dict(node["Resources"]) for node in ray.nodes() if node["Alive"]]

    def slots(self, cpus: float, gpus: float) -> int:
        """The number of trials with these CPUs and GPUs each that can run at once."""
        return sum(_slots(node, cpus, gpus) for node in self.nodes())

    def require_room(self, cpus: float, gpus: float) -> None:
        """Check that some node can run a trial.

        Raises:
            InputError: No node has the requested resources.
        """
        nodes, where = self.nodes(), "the cluster started on this machine" if self.address is None else "the cluster"
        for name, option, wanted in (("CPU", "--cpus-per-trial", cpus), ("GPU", "--gpus-per-trial", gpus)):
            most = max((node.get(name, 0.0) for node in nodes), default=0.0)
            there = f"the largest node of {where} has {most:g}" if most else f"no node of {where} has any"
            require(most >= wanted, f"each trial requires {wanted:g} {name}(s), but {there}; lower {option}.")
        fits = any(_slots(node, cpus, gpus) for node in nodes)
        remedy = "lower --cpus-per-trial or --gpus-per-trial"
        require(fits, f"no node of {where} has both {cpus:g} CPU(s) and {gpus:g} GPU(s); {remedy}.")

    def compare_nodes(self) -> list[str]:
        """Compare the package versions of each node with those of the driver.

        Returns:
            Warnings about minor differences.

        Raises:
            InputError: A node has incompatible versions.
        """
        here, probe = this_node(), ray.remote(num_cpus=0, max_retries=0)(this_node)
        probes = {
            node["NodeID"]: probe.options(
                scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            ).remote()
            for node in ray.nodes()
            if node["Alive"] and node["Resources"].get("CPU")  # trials run only on nodes with CPUs
        }
        said: dict[str, None] = {}
        for name, found in probes.items():
            try:
                node = ray.get(found, timeout=TO_ANSWER)
            except ray.exceptions.RayError as error:
                late = isinstance(error, ray.exceptions.GetTimeoutError)
                cause = f"it did not answer within {TO_ANSWER:g} s" if late else last_line(error)
                raise InputError(f"the node {name[:8]} of the cluster cannot run trials: {cause}") from None
            refusal = node.refusal(here)
            require(not refusal, refusal)
            if mild := node.differences(here)[1]:
                said[f"The node {node.host} has {', '.join(mild)}; results may differ slightly."] = None
        return list(said)

    @staticmethod
    def close() -> None:
        """Disconnect from the cluster; a cluster started here is shut down."""
        with _own_handlers():
            ray.shutdown()


def address_of(option: str | None) -> str | None:
    """The address from `--ray-address`, or else from the environment; None to start a cluster here.

    Raises:
        InputError: The address is not valid.
    """
    address = option if option is not None else os.environ.get("RAY_ADDRESS") or None
    if address in (None, "local"):
        return None
    source = "--ray-address" if option is not None else "RAY_ADDRESS"
    good = address == "auto" or re.fullmatch(r"(ray://)?(\[[\w:.]+\]|[\w.-]+):\d{1,5}", str(address))
    require(bool(good), f"{source} must be HOST:PORT, ray://HOST:PORT or auto, got {address!r}.")
    return address


def _require_answer(address: str) -> None:
    """Check that a Ray cluster answers at an address, because Ray itself would retry for minutes."""
    if address == "auto" or os.environ.get("RAY_USE_TLS", "0") != "0":
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), PATIENCE) as connection:
            connection.sendall(HTTP2_PREFACE)
            answer = connection.recv(9, socket.MSG_WAITALL)
    except (OSError, OverflowError) as error:
        raise InputError(_no_cluster(address, getattr(error, "strerror", None) or str(error))) from None
    # Ray uses gRPC over HTTP/2, where the first frame is of type 4 (RFC 9113, section 3.4).
    require(answer[3:4] == b"\x04", _no_cluster(address, "another service answers there"))


def _no_cluster(address: str, cause: str) -> str:
    cause = "no cluster is running on this machine" if address == "auto" else cause
    return (
        f"no Ray cluster answers at {address} ({cause.rstrip('.')}). Start one with `ray start --head`, or omit "
        "--ray-address and unset RAY_ADDRESS to start one on this machine automatically."
    )


def _sentence(error: Exception, address: str | None) -> str:
    """An error of ray on starting or connecting, as a sentence with a remedy."""
    words = " ".join(" ".join(map(str, _chain(error))).split())
    if re.search("Unauthenticated|AuthToken|uthentication token", words):
        return (
            f"the Ray cluster at {address} requires a token: set RAY_AUTH_MODE=token, and set RAY_AUTH_TOKEN to the "
            "output of `ray get-auth-token` on the head node."
        )
    found = re.findall(r"Ray: (\S+) Python: (\S+)", words)
    if "Version mismatch" in words and len(found) >= 2:
        theirs, ours = [f"Ray {ray} on Python {python}" for ray, python in found[:2]]
        return f"the cluster at {address} runs {theirs}, but the driver runs {ours}; use the same versions for both."
    if address is None:
        return f"cannot start Ray on this machine: {last_line(error)}"
    if any(isinstance(one, ConnectionError) for one in _chain(error)):
        return _no_cluster(address, last_line(error))
    return f"cannot use the Ray cluster at {address}: {last_line(error)}"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def last_line(error: BaseException) -> str:
    """The last line of an error message, which is usually the most informative one of Ray's messages."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _slots(node: dict[str, float], cpus: float, gpus: float) -> int:
    asked = (("CPU", cpus), ("GPU", gpus))
    return min(int(node.get(name, 0.0) / wanted + 1e-9) for name, wanted in asked if wanted)


def _environment() -> dict[str, str]:
    """Environment variables of workers: one thread each, and the data folder."""
    variables = dict.fromkeys(ONE_THREAD, "1")
    if root := os.environ.get("ZOO_DATA_DIR"):
        variables["ZOO_DATA_DIR"] = str(Path(root).expanduser().absolute())
    return variables


def _gather_code(folder: Path, study_file: Path | None) -> None:
    """Copy the code for workers into one folder, the user's own into a folder within it.

    Ray has workers look for modules in that folder first, and the user's must be found last; see `ray_worker.serve`.
    """
    ignore = shutil.ignore_patterns("__pycache__", "*.pyc")
    for package in SENT:
        shutil.copytree(PACKAGE_ROOT / package, folder / package, ignore=ignore)
    if study_file is None:
        return
    own = folder / OWN_CODE.name
    own.mkdir()
    for path in study_file.parent.iterdir():
        if path.suffix == ".py" and path.is_file():
            shutil.copy(path, own)
        elif (path / "__init__.py").is_file() or (path.is_dir() and any(path.glob("*.py"))):
            shutil.copytree(path, own / path.name, ignore=ignore)


@contextmanager
def _own_handlers() -> Iterator[None]:
    """Restore the driver's signal handlers, which ray replaces."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
