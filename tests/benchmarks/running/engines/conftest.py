"""A real Ray cluster of several nodes, each a raylet with its own workers, all on this machine."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.benchmarks.running.engines.ray_studies import PATIENCE, SMALL, until

# --- a cluster --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def home() -> Iterator[Path]:
    """Ray's folder; the paths of sockets below it must stay short."""
    folder = Path(tempfile.mkdtemp(prefix="r"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def cluster(home):
    """Two nodes with one CPU each, shared by all tests of the run."""
    from ray._common.utils import get_default_ray_temp_dir
    from ray.cluster_utils import Cluster

    # Cluster writes its address there whatever temp_dir is, and fails where no Ray has run before.
    Path(get_default_ray_temp_dir()).mkdir(parents=True, exist_ok=True)
    head = {"num_cpus": 1, "object_store_memory": SMALL, "include_dashboard": False, "temp_dir": str(home)}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        cluster.add_node(num_cpus=1, object_store_memory=SMALL)
        yield cluster
    finally:
        cluster.shutdown()


@pytest.fixture
def more_nodes(cluster) -> Iterator[Callable[..., "subprocess.Popen[bytes]"]]:
    """Starts further nodes as commands, and ends them with the test."""
    import ray

    started = []

    def start(options: str, before: str = "true", **environment: str) -> "subprocess.Popen[bytes]":
        ray_start = f"{sys.executable} -m ray.scripts.scripts start --address {cluster.address} --num-cpus 1"
        script = f"{before} && exec {ray_start} --object-store-memory {SMALL} {options} --block"
        command = ["unshare", "-rm", "sh", "-c", script] if before != "true" else ["sh", "-c", script]
        nodes = len(cluster.global_state._live_node_ids())
        node = subprocess.Popen(
            command, env=os.environ | environment, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
        )
        started.append(node)
        until(lambda: node.poll() is not None or len(cluster.global_state._live_node_ids()) > nodes)
        assert node.poll() is None
        return node

    yield start
    assert not ray.is_initialized()
    for node in started:
        node.terminate()
        node.wait(PATIENCE)
    until(lambda: len(cluster.global_state._live_node_ids()) == 2)
