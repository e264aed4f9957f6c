"""`zoo fit` on two real processes over gloo, launched as a person launches them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


def zoo(*arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "zoo.cli", *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environment, timeout=300)


def test_two_ranks_see_every_sample_once_and_leave_one_set_of_files(tmp_path):
    # 30 test rows and 24 validation rows; 96 training rows in batches of 19 leave a last batch of one, which joins.
    done = zoo(
        *"fit --model robust_mlp --data iris --data.batch_size 19 --trainer.max_epochs 3 --out run".split(),
        *"--trainer.accelerator cpu --trainer.devices 2 --trainer.strategy ddp".split(),
        *"--callbacks.generalization_gap true --callbacks.dead_units true --callbacks.gradient_clipping true".split(),
        *"--callbacks.activation_statistics true --callbacks.gradient_flow.every_n_steps 1".split(),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout.count("all of it in run") == 1
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "config.yaml",
        "best.ckpt",
        "metrics.csv",
        "result.json",
    }
    together = json.loads((tmp_path / "run/result.json").read_text())["metrics"]

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
