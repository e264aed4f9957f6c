"""What a machine lacks is said ahead of training, in a sentence."""

import os

import pytest
import torch

from zoo.devices import as_launched, is_first_process, launched, reason_lacking

TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2", "RANK": "2", "LOCAL_RANK": "0"}
SRUN = {"SLURM_NTASKS": "4", "SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_NUM_NODES": "2", "SLURM_PROCID": "0"}


def lacking(**flags):
    return reason_lacking({"trainer": flags})


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    for name in {*TORCHRUN, *SRUN, "SLURM_JOB_NAME", "MASTER_ADDR", "NODE_RANK"}:
        monkeypatch.delenv(name, raising=False)


def started_by(monkeypatch, environment):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def gpus(monkeypatch):
    """Says how many CUDA GPUs torch finds."""

    def there_are(n):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: n > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: n)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)

    there_are(0)
    return there_are


@pytest.mark.parametrize(
    "flags",
    [
        {},
        {"accelerator": "cpu"},
        {"accelerator": "cpu", "devices": 64, "strategy": "ddp"},
        {"devices": 2, "strategy": "ddp_spawn"},
        {"devices": "auto", "strategy": "auto"},
    ],
)
def test_processes_on_the_cpu_need_nothing(gpus, flags):
    assert lacking(**flags) == ""


@pytest.mark.parametrize(
    ("flags", "culprit", "remedy"),
    [
        ({"accelerator": "gpu"}, "accelerator is gpu", "--trainer.accelerator cpu"),
        ({"accelerator": "cuda", "devices": 2}, "accelerator is cuda", "--trainer.accelerator cpu"),
        ({"strategy": "fsdp"}, "fsdp needs CUDA", "--trainer.strategy ddp"),
        ({"strategy": "fsdp", "accelerator": "cpu", "devices": 2}, "fsdp needs CUDA", "--trainer.strategy ddp"),
        ({"strategy": "deepspeed_stage_2"}, "deepspeed_stage_2 needs CUDA", "--trainer.strategy ddp"),
        ({"sync_batchnorm": True, "devices": 2}, "sync_batchnorm needs CUDA", "--model.norm layer"),
        ({"num_nodes": 2}, "num_nodes is 2", "torchrun"),
    ],
)
def test_a_machine_without_gpus_says_what_it_lacks(gpus, flags, culprit, remedy):
    reason = lacking(**flags)
    assert culprit in reason
    assert remedy in reason


@pytest.mark.parametrize(("devices", "needed"), [(2, 2), ([0, 3], 4), ("0,3", 4)])
def test_gpus_that_are_not_there_are_counted(gpus, devices, needed):
    gpus(1)
    assert f"asks for {needed} GPU(s), but torch finds 1" in lacking(devices=devices)
    assert f"asks for {needed} GPU(s), but torch finds 1" in lacking(devices=devices, accelerator="gpu")
    assert lacking(devices=devices, accelerator="cpu") == ""
    gpus(4)
    assert lacking(devices=devices) == ""
    assert lacking(devices=devices, strategy="fsdp", sync_batchnorm=True) == ""


@pytest.mark.parametrize("environment", [TORCHRUN, SRUN])
def test_what_torchrun_or_srun_started_is_what_a_run_has(gpus, monkeypatch, environment):
    assert launched() is None
    started_by(monkeypatch, environment)
    assert launched() == (2, 2)
    assert as_launched({"max_epochs": 3}) == {"max_epochs": 3, "devices": 2, "num_nodes": 2}
    assert as_launched({"devices": 4}) == {"devices": 4}
    assert lacking(devices=2, num_nodes=2) == ""
    assert "2 node(s) with 2 process(es) each were started" in lacking(devices=4)
    assert "--trainer.num_nodes 2 --trainer.devices 2" in lacking(devices=4)


def test_one_process_that_torchrun_started_is_a_run_like_any_other(monkeypatch):
    started_by(monkeypatch, TORCHRUN | {"WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"})
    assert launched() is None
    assert as_launched({}) == {}


def test_nodes_can_be_started_by_hand(gpus, monkeypatch):
    monkeypatch.setenv("MASTER_ADDR", "10.0.0.1")
    assert lacking(num_nodes=2) != ""
    monkeypatch.setenv("NODE_RANK", "1")
    assert lacking(num_nodes=2) == ""


@pytest.mark.parametrize("name", ["RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"])
def test_the_first_process_is_0_in_every_count(monkeypatch, name):
    assert is_first_process()
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv(name, "0")
    assert is_first_process()
    monkeypatch.setenv(name, "1")
    assert not is_first_process()
    monkeypatch.delenv("WORLD_SIZE")  # as by Lightning after training, when the other processes still are not the first
    assert not is_first_process()


@pytest.mark.parametrize("name", ["RANK", "LOCAL_RANK", "NODE_RANK"])
def test_a_rank_that_another_program_left_behind_means_nothing(monkeypatch, name, tmp_path, capsys):
    from zoo.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(name, "1")
    command = ["fit", "--model", "mlp", "--data", "iris", "--trainer.max_epochs", "1", "--out", "run"]
    assert main(command) == 0
    assert "trained in" in capsys.readouterr().out
    assert name not in os.environ
    monkeypatch.setenv(name, "1")
    assert main(command) == 2, "a run that is there is not replaced"
    assert "already contains a run" in capsys.readouterr().err
    wild = ["--model.lr", "1e30", "--model.optimizer", "sgd", "--trainer.gradient_clip_val", "null", "--overwrite"]
    monkeypatch.setenv(name, "1")
    assert main([*command, *wild, "--trainer.max_epochs", "3"]) == 1


def test_processes_that_are_not_those_asked_for_are_refused(monkeypatch, tmp_path, capsys):
    from zoo.cli import main

    step = {"SLURM_NTASKS": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}
    started_by(monkeypatch, step | {"SLURM_JOB_ID": "1", "SLURM_JOB_NAME": "job"})
    ask = "fit --model mlp --data iris --trainer.accelerator cpu --trainer.devices 2 --trainer.strategy ddp"
    assert main([*ask.split(), "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert "2 device(s) are requested" in said
    assert "the launcher of this process started 1 process(es)" in said
    assert "SLURM_JOB_NAME=bash" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["gradient_flow", "gradient_clipping"])
def test_what_looks_at_whole_gradients_is_refused_where_they_are_shared_out(name, tmp_path):
    from datamodules.errors import InputError
    from zoo.config import resolve
    from zoo.trainer import check_callbacks

    model, flags = {"name": "mlp"}, {"strategy": "fsdp", "gradient_clip_val": None}
    config = resolve({"model": model, "data": "iris", "trainer": flags, "callbacks": {name: True}})
    with pytest.raises(InputError, match=rf"callbacks\.{name} .* fsdp"):
        check_callbacks(config, 3)


def test_a_run_takes_one_device_of_many_unless_told(tmp_path):
    from zoo.config import resolve
    from zoo.trainer import make_trainer

    for given, n in (({}, 1), ({"devices": 2, "strategy": "ddp"}, 2)):
        config = resolve({"model": {"name": "cnn"}, "data": "digits", "trainer": {"accelerator": "cpu", **given}})
        assert make_trainer(config, tmp_path, progress=False)[0].num_devices == n
