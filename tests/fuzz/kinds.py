"""The kinds of inputs, and the island on which they run: no network, no data sets, no account, bounded memory."""

import os
import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from .driver import Input
from .models import checkpoint_inputs, table_inputs
from .options import option_inputs
from .studies import record_inputs, yaml_inputs

KINDS: dict[str, Callable[[Path], Iterator[Input]]] = {
    "options": option_inputs,
    "yaml": yaml_inputs,
    "records": record_inputs,
    "checkpoints": checkpoint_inputs,
    "tables": table_inputs,
}
MEMORY = 8 * 2**30  # bytes that input may ask for in addition to what is in use


@contextmanager
def on_an_island(folder: Path) -> Iterator[None]:
    """Run where no input can reach the network, the data sets or the account of whoever runs the tests."""
    connect = socket.socket.connect

    def refuse(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX:
            raise OSError(101, "Network is unreachable")
        connect(self, address)

    (folder / "data").mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB_", "RAY_", "SLURM_"))}
    places = {name: str(folder / name) for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR", "NETRC")}
    environment = {**kept, **places, "ZOO_DATA_DIR": str(folder / "data"), "HOME": str(folder)}
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    with mock.patch.dict(os.environ, environment, clear=True), mock.patch.object(socket.socket, "connect", refuse):
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_AS, before)
