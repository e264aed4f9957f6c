"""Studies on a real Ray cluster of several nodes, each a raylet with workers of its own, all on this machine."""

import operator
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.records.store import Store
from benchmarks.study.file import load_study
from datamodules.errors import InputError
from tests.benchmarks.running.engines.ray_studies import NOOP, assert_as_if_undisturbed, children, run, until
from zoo.outputs.provenance import git_state

# It tells ray to be quiet before it is imported.
open_ray = pytest.importorskip("benchmarks.running.engines.ray", reason="needs ray").open_ray
pytestmark = [
    pytest.mark.slow,  # a real cluster: each of its workers imports all that a trial needs
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes through /proc"),
]
DEADLY = """\
# What becomes of trials that come to no good end?
task: noop
base: {noise: 1.0}
vary:
  kind:
    good: {raises: null}
    raising: {raises: on purpose}
    dying: {dies: SIGKILL}
    endless: {sleep: 600.0}
baseline: {kind: good}
metric: {name: value, mode: max}
seeds: 1
"""
IRIS = """\
# Are the numbers those of local workers?
base:
  model: {name: mlp, hidden_dims: [8], dropout: 0.1}
  data: {name: iris}
  trainer: {max_epochs: 2}
vary: {model.activation: [relu, tanh]}
baseline: {model.activation: relu}
metric: test/accuracy
seeds: 2
"""
DEAR = ("--pack off", "--set trainer.accelerator=cpu --set trainer.devices=2 --set trainer.strategy=ddp")
OWN = """\
# What does a trial see?
task: looking:look
base: {file: ""}
vary: {name: [a, b]}
baseline: {name: a}
metric: {name: seed, mode: max}
also: [sees]
seeds: 2
"""
LOOKING = """\
from pathlib import Path

from beside import SEEN


def look(config, folder):
    (folder / "deep").mkdir()
    (folder / "deep/left.txt").write_text(config["name"])
    return {"seed": config["seed_everything"], SEEN: Path(config["file"]).exists()}
"""


def test_jobs_are_taken_only_as_the_cluster_has_room_and_workers_stay(cluster, tmp_path):
    taken = []

    def jobs() -> Iterator[tuple[()]]:
        for n in range(30):
            taken.append(n)
            yield ()

    with open_ray(cluster.address, tmp_path, 1.0, 0.0, None, None, False) as engine:
        assert engine.n_workers == 2
        outcomes = engine.run(os.getpid, jobs())
        first = next(outcomes)
        assert len(taken) <= 2 * (2 + 2)
        pids = {outcome.value for outcome in [first, *outcomes]}
        assert len(taken) == 30
        assert 1 <= len(pids) <= 2
        assert os.getpid() not in pids
        with pytest.raises(InputError, match=r"on the node .*: there is no study file none\.yaml"):
            list(engine.run(load_study, [("none.yaml",)]))
        with pytest.raises(RuntimeError, match="ZeroDivisionError"):
            list(engine.run(operator.truediv, [(1, 0)]))
        before = time.monotonic()
        jobs_that_last = engine.run(time.sleep, [(0.0,), (600.0,)])
        next(jobs_that_last)
        engine.stop()
        assert time.monotonic() - before < 300.0, "it does not wait for what it ends"


@pytest.mark.parametrize("options", ["--pack auto", *DEAR])
def test_numbers_are_those_of_local_workers(cluster, tmp_path, capsys, options):
    assert run(tmp_path / "local", IRIS, f"{options} --workers 2") == 0
    capsys.readouterr()
    assert run(tmp_path / "ray", IRIS, f"{options} --engine ray --ray-address {cluster.address}") == 0
    captured = capsys.readouterr()
    assert "4 trials run in" in captured.out
    assert "on Ray, 2 nodes with 2 CPUs; records and report in" in captured.out
    assert captured.err.count(": done") == 4
    stores = [Store(tmp_path / engine / "runs/study") for engine in ("local", "ray")]
    keys = [key for row in stores[0].plan().values() for key in row]
    assert len(keys) == 4
    for key in keys:
        local, ray = (store.record(key) for store in stores)
        for part in ("status", "metrics", "config", "best_epoch"):
            assert local[part] == ray[part]
        assert ray["environment"]["git"] == git_state(), "workers run no checkout, but the driver does"
        for part in ("code_version", "packages", "threads", "pack_size"):
            assert local["environment"][part] == ray["environment"][part]
        assert len({(store.trials / key / "metrics.csv").read_bytes() for store in stores}) == 1


def test_trials_that_raise_die_or_take_too_long_are_rows(cluster, tmp_path):
    assert run(tmp_path, DEADLY, f"--engine ray --ray-address {cluster.address} --trial-timeout 2") == 1
    trials = pd.read_csv(tmp_path / "runs/study/trials.csv").set_index("variant")
    assert trials["status"].to_dict() == {"good": "done", "raising": "failed", "dying": "crashed", "endless": "failed"}
    assert trials["reason"]["raising"] == "RuntimeError: on purpose"
    assert trials["reason"]["dying"] == "its Ray worker died 2 times in a row"
    assert trials["reason"]["endless"] == "timeout: the trial took more than 2 s"
    store = Store(tmp_path / "runs/study")
    assert all((store.trials / key / "config.yaml").is_file() for key in trials["key"])
    assert all(store.record(key)["environment"]["cpu"] for key in trials["key"])
    assert store.record(trials["key"]["dying"])["attempt"] == 2, "the driver tried it again, too"
    assert store.record(trials["key"]["raising"])["attempt"] == 1


def in_namespace(script: str) -> int:
    return subprocess.run(["unshare", "-rm", "sh", "-c", script], capture_output=True, timeout=60).returncode


can_mount = pytest.mark.skipif(
    shutil.which("unshare") is None or in_namespace("mount -t tmpfs tmpfs /mnt") != 0,
    reason="needs unshare and the right to mount a small disk",
)


@can_mount
def test_results_come_back_from_a_node_that_does_not_see_the_folder(cluster, more_nodes, tmp_path):
    (tmp_path / "looking.py").write_text(LOOKING)
    (tmp_path / "beside.py").write_text("SEEN = 'sees'\n")
    # Nothing below it is there for this node. It alone has a GPU, so that trials which want half of one run there.
    more_nodes("--num-gpus 1", before=f"mount -t tmpfs tmpfs {tmp_path}")
    text = OWN.replace('file: ""', f"file: {tmp_path}/study.yaml")
    gpus = "--cpus-per-trial 0.5 --gpus-per-trial 0.5"
    assert run(tmp_path, text, f"--engine ray --ray-address {cluster.address} {gpus}") == 0
    trials = pd.read_csv(tmp_path / "runs/study/trials.csv")
    assert trials["status"].tolist() == ["done"] * 4
    assert trials["sees"].tolist() == [0.0] * 4
    store = Store(tmp_path / "runs/study")
    for row in trials.to_dict("records"):
        assert (store.trials / row["key"] / "deep/left.txt").read_text() == row["name"]
        assert (store.trials / row["key"] / "config.yaml").is_file()
        assert store.record(row["key"])["metrics"]["seed"] == row["seed"]
    assert sorted(path.name for path in store.trials.iterdir()) == sorted(trials["key"])


def test_a_node_with_another_torch_is_refused(cluster, more_nodes, tmp_path, refused):
    (tmp_path / "torch-1.0.0.dist-info").mkdir()
    (tmp_path / "torch-1.0.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 1.0.0\n")
    more_nodes("", PYTHONPATH=str(tmp_path))
    said = refused(NOOP, f"--engine ray --ray-address {cluster.address}")
    assert "has torch 1.0.0 (the driver: 2." in said
    assert "so its results would not be comparable; install the driver's versions there (pip install torch==2." in said


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            "--gpus-per-trial 1",
            "each trial requires 1 GPU(s), but no node of the cluster has any; lower --gpus-per-trial",
        ),
        (
            "--cpus-per-trial 3",
            "each trial requires 3 CPU(s), but the largest node of the cluster has 1; lower --cpus-per-trial",
        ),
    ],
)
def test_trials_for_which_no_node_has_room_are_refused(cluster, refused, options, sentence):
    assert sentence in refused(NOOP, f"--engine ray --ray-address {cluster.address} {options}")


def test_a_cluster_of_its_own_ends_with_the_driver(home, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("RAY_TMPDIR", str(home))
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # else Ray leaves a token in the user's home
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    others = set(children(os.getpid()))
    assert run(tmp_path, NOOP, "--engine ray --workers 4 --cpus-per-trial 0.25") == 0
    assert "20 trials run" in (out := capsys.readouterr().out)
    assert "on Ray, 1 node with " in out
    until(lambda: set(children(os.getpid())) <= others)
    assert_as_if_undisturbed(tmp_path, {}, NOOP)
