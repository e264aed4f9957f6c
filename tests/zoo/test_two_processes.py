"""`zoo fit` on two real processes over gloo, launched as a person launches them.

What their numbers are is in `test_several_devices.py`.
"""

import json
import os
import shlex
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

ALONE = {"OMP_NUM_THREADS": "1"}
FILES = {"config.yaml", "best.ckpt", "metrics.csv", "result.json"}
ROBUST = "fit --model robust_mlp --data digits --trainer.accelerator cpu --trainer.max_epochs 4 "


def zoo(*arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "zoo.cli", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=os.environ | ALONE, timeout=300)


def together(commands: list[tuple[list[str], dict[str, str], Path]]) -> list[tuple[int, str, str]]:
    """Run commands side by side, each with more environment and in a folder of its own: (status, out, err) of each."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    started = [
        subprocess.Popen([sys.executable, *command], cwd=cwd, env=os.environ | ALONE | more, **pipes)
        for command, more, cwd in commands
    ]
    try:
        said = [process.communicate(timeout=300) for process in started]
    finally:
        for process in started:
            process.kill()
    return [(process.returncode, *texts) for process, texts in zip(started, said, strict=True)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def metrics_of(out: Path) -> dict[str, float]:
    return json.loads((out / "result.json").read_text())["metrics"]


@pytest.fixture
def nodes(tmp_path: Path) -> list[Path]:
    """The folders of two nodes that share no disk."""
    folders = [tmp_path / "node0", tmp_path / "node1"]
    for folder in folders:
        folder.mkdir()
    return folders


def test_two_ranks_see_every_sample_once_and_leave_one_set_of_files(tmp_path):
    # 30 test rows and 24 validation rows; 91 training rows in batches of 18 leave a last batch of one, which joins.
    clock = time.perf_counter()
    done = zoo(
        *"fit --model robust_mlp --data iris --data.batch_size 18 --data.train_size 91 --trainer.max_epochs 3".split(),
        *"--out run".split(),
        *"--trainer.accelerator cpu --trainer.devices 2 --trainer.strategy ddp".split(),
        *"--callbacks.generalization_gap true --callbacks.dead_units true --callbacks.gradient_clipping true".split(),
        *"--callbacks.activation_statistics true --callbacks.gradient_flow.every_n_steps 1".split(),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout.count("s; results in run") == 1
    assert {path.name for path in (tmp_path / "run").iterdir()} == FILES
    together = metrics_of(tmp_path / "run")
    seconds = json.loads((tmp_path / "run/result.json").read_text())["train_seconds"]
    assert 0 < seconds < 0.4 * (time.perf_counter() - clock), "imports of the second process count as training"

    from zoo.evaluate import evaluate

    # One process alone on the same checkpoint: equal only if no row was missed, padded or counted twice.
    for verb, split in (("test", "test"), ("validate", "val")):
        alone = evaluate(str(tmp_path / "run"), {}, verb)
        for name, value in alone.items():
            assert name.startswith(split)
            assert together[name] == pytest.approx(value, abs=1e-5)

    import torch

    from datamodules import create_datamodule
    from zoo import load

    model = load(str(tmp_path / "run"))
    x, y = create_datamodule(**model.config["data"]).arrays("train")
    with torch.no_grad():
        logits = model(x)
    accuracy, loss = (logits.argmax(1) == y).float().mean().item(), model.plain_loss(logits, y).item()
    assert together["train_eval/accuracy"] == pytest.approx(accuracy, abs=1e-6)
    assert together["train_eval/loss"] == pytest.approx(loss, abs=1e-5)
    assert together["gap/accuracy"] == pytest.approx(accuracy - together["test/accuracy"], abs=1e-6)

    # Over the validation rows of both ranks, in eval mode.
    x, _ = create_datamodule(**model.config["data"]).arrays("val")
    outputs = []
    for layer in (model.net[3], model.net[7]):
        layer.register_forward_hook(lambda module, inputs, out: outputs.append(out))
    with torch.no_grad():
        model(x)
    assert len(outputs) == 2
    for number, out in enumerate(outputs, 1):
        assert together[f"activation_mean/layer_{number}"] == pytest.approx(out.mean().item(), rel=1e-4)
        assert together[f"activation_std/layer_{number}"] == pytest.approx(out.std(correction=0).item(), rel=1e-4)
        assert together[f"dead_units/layer_{number}"] == pytest.approx((out == 0).all(0).float().mean().item())
    ratio = outputs[-1].square().mean().sqrt() / x.square().mean().sqrt()
    assert together["signal_ratio"] == pytest.approx(ratio.item(), rel=1e-4)
    assert together["gradient_norm/layer_1"] > 0
    assert together["gradient_norm/after_clipping"] <= 1.00001


def assert_one_run_of_two_nodes(done: list[tuple[int, str, str]], nodes: list[Path]) -> None:
    """One set of files, on the first node; and the numbers of two processes on one node."""
    for status, _, err in done:
        assert status == 0, err
    assert [out.count("s; results in run") for _, out, _ in done] == [1, 0]
    assert {path.name for path in (nodes[0] / "run").iterdir()} == FILES
    assert list(nodes[1].iterdir()) == []

    from zoo.cli import main
    from zoo.evaluate import evaluate

    result = json.loads((nodes[0] / "run/result.json").read_text())
    assert result["environment"]["world_size"] == 2
    one_node, alone = nodes[0] / "one_node", nodes[0] / "alone"
    assert main(shlex.split(f"{ROBUST} --trainer.devices 2 --trainer.strategy ddp_fork --out {one_node}")) == 0
    assert result["metrics"] == pytest.approx(metrics_of(one_node), rel=1e-5, abs=1e-6)
    # Batch norm takes its statistics from a share, and dropout draws by rank: equal only as two seeds are.
    assert main(shlex.split(f"{ROBUST} --trainer.log_every_n_steps 2 --out {alone}")) == 0
    assert result["metrics"]["test/accuracy"] == pytest.approx(metrics_of(alone)["test/accuracy"], abs=0.03)
    measured = evaluate(str(nodes[0] / "run"), {}, "test")
    assert {name: result["metrics"][name] for name in measured} == pytest.approx(measured, abs=1e-5)


@pytest.mark.slow
def test_two_nodes_started_by_torchrun_are_one_run(nodes):
    rendezvous = f"--nnodes 2 --nproc_per_node 1 --rdzv_backend c10d --rdzv_endpoint 127.0.0.1:{free_port()}"
    command = shlex.split(f"-m torch.distributed.run {rendezvous} --local_addr 127.0.0.1 -m zoo.cli {ROBUST} --out run")
    done = together([(command, {}, node) for node in nodes])
    if (nodes[1] / "run").exists():  # who comes first to the rendezvous is node 0
        nodes.reverse()
        done.reverse()
    assert_one_run_of_two_nodes(done, nodes)


@pytest.mark.slow
def test_two_nodes_started_by_srun_are_one_run(nodes):
    """What `srun` leaves in the environment of its tasks, set by hand: there is no cluster here."""
    job = {"SLURM_JOB_ID": "1", "SLURM_JOB_NAME": "zoo", "SLURM_NODELIST": "127.0.0.1", "MASTER_ADDR": "127.0.0.1"}
    job |= {"SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "1", "SLURM_NNODES": "2", "MASTER_PORT": str(free_port())}
    job |= {"SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NUM_NODES": "2", "SLURM_LOCALID": "0"}
    command = shlex.split(f"-m zoo.cli {ROBUST} --out run")
    tasks = [{"SLURM_PROCID": str(rank), "SLURM_NODEID": str(rank)} for rank in range(2)]
    assert_one_run_of_two_nodes(together([(command, job | t, n) for t, n in zip(tasks, nodes, strict=True)]), nodes)


@pytest.mark.slow
def test_two_nodes_started_by_hand_are_one_run(nodes):
    command = shlex.split(f"-m zoo.cli {ROBUST} --trainer.num_nodes 2 --trainer.devices 1 --out run")
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    done = together([(command, where | {"NODE_RANK": str(rank)}, node) for rank, node in enumerate(nodes)])
    assert_one_run_of_two_nodes(done, nodes)
