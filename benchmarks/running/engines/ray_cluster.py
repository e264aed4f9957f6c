"""A Ray cluster: found or started, with this project's code sent to it, and compared with the driver's machine."""

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
from .ray_worker import this_node

# Read when ray is imported: no statistics sent anywhere; workers run in the environment of their node, be it that
# `uv run` started the driver; a trial that its node has too little memory for is not tried for ever; no words on what
# a later version does to CUDA_VISIBLE_DEVICES.
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
PATIENCE = 10.0  # seconds for an address to answer
TO_ANSWER = 300.0  # seconds for a node to say what is installed there; on a busy one workers start slowly
HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])


class Cluster:
    """A Ray cluster that this process is connected to.

    Args:
        address: `HOST:PORT`, `auto` for the one that runs on this machine, `ray://HOST:PORT` from outside; None starts
            one here, which ends with this process.
        n_cpus: The CPUs of one that is started.
        beside: The study file if its task is the user's own, for the modules that lie beside it.

    Raises:
        InputError: No cluster answers there, or it cannot be worked with.
    """

    def __init__(self, address: str | None, n_cpus: int, beside: Path | None) -> None:
        self.address = address
        if address is not None:
            _require_answer(address)
        where: dict[str, Any] = {"address": "local", "num_cpus": n_cpus, "include_dashboard": False}
        with tempfile.TemporaryDirectory(prefix="bench-code-") as folder, _own_handlers():
            _gather_code(Path(folder), beside)
            try:
                ray.init(
                    **(where if address is None else {"address": address}),
                    runtime_env={"working_dir": folder, "env_vars": _environment()},
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                )
            except Exception as error:  # it raises whatever it meets, of no common type
                raise InputError(_sentence(error, address)) from None

    def nodes(self) -> list[dict[str, float]]:
        """The resources of each node that is alive."""
        return [dict(node["Resources"]) for node in ray.nodes() if node["Alive"]]

    def slots(self, cpus: float, gpus: float) -> int:
        """How many trials it holds at once that take so many CPUs and GPUs each."""
        return sum(_slots(node, cpus, gpus) for node in self.nodes())

    def require_room(self, cpus: float, gpus: float) -> None:
        """Refuse trials that no node can hold.

        Raises:
            InputError: With what there is.
        """
        nodes, where = self.nodes(), "the cluster that was started here" if self.address is None else "the cluster"
        for name, option, wanted in (("CPU", "--cpus-per-trial", cpus), ("GPU", "--gpus-per-trial", gpus)):
            most = max((node.get(name, 0.0) for node in nodes), default=0.0)
            there = f"the most on any node of {where} is {most:g}" if most else f"no node of {where} has one"
            require(most >= wanted, f"a trial shall have {wanted:g} {name}(s), and {there}; give {option} less.")
        fits = any(_slots(node, cpus, gpus) for node in nodes)
        require(fits, f"no node of {where} has both {cpus:g} CPU(s) and {gpus:g} GPU(s); give each trial less.")

    def compare_nodes(self) -> list[str]:
        """Compare what is installed on each node with what is installed here.

        Returns:
            Differences that may be, in sentences.

        Raises:
            InputError: Differences that cannot be.
        """
        here, probe = this_node(), ray.remote(num_cpus=0, max_retries=0)(this_node)
        probes = {
            node["NodeID"]: probe.options(
                scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            ).remote()
            for node in ray.nodes()
            if node["Alive"] and node["Resources"].get("CPU")  # on others no trial runs
        }
        said: dict[str, None] = {}
        for name, found in probes.items():
            try:
                node = ray.get(found, timeout=TO_ANSWER)
            except ray.exceptions.RayError as error:
                late = isinstance(error, ray.exceptions.GetTimeoutError)
                cause = f"it has not answered within {TO_ANSWER:g} s" if late else last_line(error)
                raise InputError(f"the node {name[:8]} of the cluster cannot run trials: {cause}") from None
            refusal = node.refusal(here)
            require(not refusal, refusal)
            if mild := node.differences(here)[1]:
                said[f"The node {node.host} has {', '.join(mild)}; numbers may differ by that."] = None
        return list(said)

    @staticmethod
    def close() -> None:
        """Leave the cluster, or end it if it was started here."""
        with _own_handlers():
            ray.shutdown()


def address_of(option: str | None) -> str | None:
    """The address that `--ray-address` or else the environment gives; None to start a cluster here.

    Raises:
        InputError: It is no address.
    """
    address = option if option is not None else os.environ.get("RAY_ADDRESS") or None
    if address in (None, "local"):
        return None
    source = "--ray-address" if option is not None else "RAY_ADDRESS"
    good = address == "auto" or re.fullmatch(r"(ray://)?(\[[\w:.]+\]|[\w.-]+):\d{1,5}", str(address))
    require(bool(good), f"{source} must be HOST:PORT, ray://HOST:PORT or auto, got {address!r}.")
    return address


def _require_answer(address: str) -> None:
    """Refuse an address at which nothing answers as Ray does; Ray itself would try again for minutes."""
    if address == "auto" or os.environ.get("RAY_USE_TLS", "0") != "0":
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), PATIENCE) as connection:
            connection.sendall(HTTP2_PREFACE)
            answer = connection.recv(9, socket.MSG_WAITALL)
    except (OSError, OverflowError) as error:
        raise InputError(_no_cluster(address, getattr(error, "strerror", None) or str(error))) from None
    # Ray speaks gRPC, which is HTTP/2: what comes first is a frame of type 4 (RFC 9113, section 3.4).
    require(answer[3:4] == b"\x04", _no_cluster(address, "what answers there is something else"))


def _no_cluster(address: str, cause: str) -> str:
    cause = "none runs on this machine" if address == "auto" else cause
    return (
        f"no Ray cluster answers at {address} ({cause.rstrip('.')}). Start one with `ray start --head`, or leave out "
        "--ray-address (or unset RAY_ADDRESS) to have one started on this machine."
    )


def _sentence(error: Exception, address: str | None) -> str:
    """What ray says on failing to start or to connect, in words with a remedy."""
    words = " ".join(" ".join(map(str, _chain(error))).split())
    if re.search("Unauthenticated|AuthToken|uthentication token", words):
        return (
            f"the Ray cluster at {address} wants its token: set RAY_AUTH_MODE=token, and put what `ray get-auth-token` "
            "prints on the cluster's head into RAY_AUTH_TOKEN."
        )
    found = re.findall(r"Ray: (\S+) Python: (\S+)", words)
    if "Version mismatch" in words and len(found) >= 2:
        theirs, ours = [f"Ray {ray} on Python {python}" for ray, python in found[:2]]
        return (
            f"the cluster at {address} was started with {theirs}, and this is {ours}; run both with the same versions."
        )
    if address is None:
        return f"cannot start Ray on this machine: {last_line(error)}"
    if any(isinstance(one, ConnectionError) for one in _chain(error)):
        return _no_cluster(address, last_line(error))
    return f"cannot work with the Ray cluster at {address}: {last_line(error)}"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def last_line(error: BaseException) -> str:
    """The end of what it says, which is the most telling of what Ray says."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _slots(node: dict[str, float], cpus: float, gpus: float) -> int:
    asked = (("CPU", cpus), ("GPU", gpus))
    return min(int(node.get(name, 0.0) / wanted + 1e-9) for name, wanted in asked if wanted)


def _environment() -> dict[str, str]:
    """Environment variables of workers: one thread each, as everywhere; where data lie."""
    variables = dict.fromkeys(ONE_THREAD, "1")
    if root := os.environ.get("ZOO_DATA_DIR"):
        variables["ZOO_DATA_DIR"] = str(Path(root).expanduser().absolute())
    return variables


def _gather_code(folder: Path, beside: Path | None) -> None:
    """Copy what workers run into a folder, all of it under one root: its version is a hash of two of the packages."""
    ignore = shutil.ignore_patterns("__pycache__", "*.pyc")
    for package in SENT:
        shutil.copytree(PACKAGE_ROOT / package, folder / package, ignore=ignore)
    if beside is None:
        return
    for path in beside.parent.iterdir():
        if (folder / path.name).exists():
            continue
        if path.suffix == ".py" and path.is_file():
            shutil.copy(path, folder)
        elif (path / "__init__.py").is_file():
            shutil.copytree(path, folder / path.name, ignore=ignore)


@contextmanager
def _own_handlers() -> Iterator[None]:
    """Keep the driver's signal handlers, in place of which ray puts its own."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
