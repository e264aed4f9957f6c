"""Killed workers, nodes and drivers of a real Ray cluster cost nothing that is done."""

import os
import shlex
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.benchmarks.running.engines.ray_studies import (
    NOOP,
    SMALL,
    assert_as_if_undisturbed,
    at_work,
    children,
    raylet,
    run,
    seen,
    until,
)

pytest.importorskip("ray")
pytestmark = [
    pytest.mark.slow,  # a real cluster
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes through /proc"),
]


def test_killed_workers_and_a_killed_node_cost_nothing_that_is_done(cluster, tmp_path):
    doomed = cluster.add_node(num_cpus=1, object_store_memory=SMALL)
    trials = tmp_path / "runs/study/trials"
    text = NOOP.replace("sleep: 0.2", "sleep: 0.8")  # so that it lasts until all four are killed
    before, killed = {}, []

    def kill() -> None:
        for target in [*(raylet(node) for node in cluster.list_all_nodes()), 0]:
            until(lambda target=target: len(seen(trials)) >= 2 and (not target or at_work(target)))
            before.update(seen(trials))
            for pid in at_work(target)[:1] if target else [raylet(doomed)]:
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    status = run(tmp_path, text, f"--engine ray --ray-address {cluster.address}")
    killer.join()
    cluster.remove_node(doomed)
    assert status == 0
    assert len(killed) == 4
    assert 2 <= len(before) < 20
    assert_as_if_undisturbed(tmp_path, before, text)


@pytest.mark.alone  # Ray waits 7 minutes for an answer of its workers
def test_a_node_that_was_given_up_and_comes_back_changes_nothing(cluster, tmp_path):
    frozen, trials = [], tmp_path / "runs/study/trials"
    text = NOOP.replace("seeds: 10", "seeds: 3")
    lost = cluster.add_node(num_cpus=1, object_store_memory=SMALL)

    def freeze() -> None:
        until(lambda: at_work(raylet(lost)))
        frozen.extend([raylet(lost), *children(raylet(lost))])
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)

    freezer = threading.Thread(target=freeze, daemon=True)
    freezer.start()
    try:
        assert run(tmp_path, text, f"--engine ray --ray-address {cluster.address}") == 0
        freezer.join()
        before = seen(trials)
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
    assert len(before) == 6
    cluster.remove_node(lost)
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in frozen))
    assert_as_if_undisturbed(tmp_path, before, text)


def test_a_killed_driver_costs_nothing_that_is_done(cluster, tmp_path):
    (tmp_path / "study.yaml").write_text(NOOP)
    options = f"--engine ray --ray-address {cluster.address}"
    command = f"-m benchmarks.cli run study.yaml --out runs {options}"
    trials = tmp_path / "runs/study/trials"
    with (tmp_path / "said").open("w") as said:
        driver = subprocess.Popen([sys.executable, *shlex.split(command)], cwd=tmp_path, stderr=said, stdout=said)
    try:
        until(lambda: len(seen(trials)) >= 3 or driver.poll() is not None)
    finally:
        driver.kill()
    assert driver.wait() == -signal.SIGKILL, (tmp_path / "said").read_text()
    before = seen(trials)
    assert len(before) < 20
    assert run(tmp_path, NOOP, options) == 0
    until(lambda: not any(at_work(raylet(node)) for node in cluster.list_all_nodes()))
    assert_as_if_undisturbed(tmp_path, before, NOOP)
