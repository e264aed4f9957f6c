"""Epochs without validation, undefined metrics, batches without weight, steps of fewer batches than asked for."""

import json
import math
import shlex
from pathlib import Path

import pytest
import torch

import zoo
from datamodules.errors import InputError
from zoo import train
from zoo.cli import main
from zoo.models.create import create_model

CONFIG = {
    "model": {"name": "perceptron", "optimizer": "sgd", "momentum": 0.0, "lr": 0.1},
    "data": {"name": "iris", "batch_size": 60, "val_fraction": 0.2},
    "trainer": {"max_epochs": 1, "gradient_clip_val": None, "accelerator": "cpu"},
}


def config(**sections):
    return {key: {**CONFIG.get(key, {}), **sections.get(key, {})} for key in {**CONFIG, **sections}}


def result(folder: Path) -> dict:
    return json.loads((folder / "result.json").read_text())


def test_validation_after_more_epochs_than_there_are_is_refused(tmp_path):
    every = {"max_epochs": 3, "check_val_every_n_epoch": 5}
    with pytest.raises(InputError, match=r"is 5, but trainer\.max_epochs is 3, so no epoch would be validated"):
        train.fit(config(trainer=every), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_that_ends_before_its_first_validation_has_no_best_epoch(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    options = "--trainer.max_epochs -1 --trainer.max_steps 3 --trainer.check_val_every_n_epoch 5 --data.batch_size 60"
    assert main(shlex.split(f"fit --model perceptron --data iris {options} --out run")) == 0
    assert result(Path("run"))["best_epoch"] is None
    assert "no epoch was validated" in " ".join(capsys.readouterr().out.split())
    assert math.isfinite(result(Path("run"))["metrics"]["test/loss"])


@pytest.mark.parametrize("epochs", [2, 4, 8])
def test_plateau_counts_epochs_that_are_validated(epochs, tmp_path):
    model = {"schedule": "plateau", "plateau_patience": 0, "lr": 1e-6, "gamma": 0.5}
    flags = {"max_epochs": epochs + 1, "check_val_every_n_epoch": 2}
    train.fit(config(model=model, trainer=flags, data={"batch_size": 200}), tmp_path)
    header, *rows = (tmp_path / "metrics.csv").read_text().splitlines()
    lr = float(rows[-1].split(",")[header.split(",").index("lr")])
    # The first validation is the best so far; each later one, of an unchanged loss, is a drop.
    assert lr == pytest.approx(1e-6 * 0.5 ** (epochs // 2 - 1))


@pytest.mark.parametrize("pack", [True, False])
@pytest.mark.parametrize("callback", ["model_checkpoint", "early_stopping"])
def test_a_metric_that_is_undefined_on_validation_cannot_be_monitored(callback, pack, tmp_path):
    wanted = config(data={"val_fraction": 0.01}, callbacks={callback: {"monitor": "val/auroc"}})
    with pytest.raises(InputError) as refusal:
        train.fit(wanted, tmp_path / "run", pack=pack)
    assert f"callbacks.{callback}.monitor is val/auroc, which is undefined on the validation split" in str(
        refusal.value
    )
    assert "has no row in it; monitor val/loss, or increase data.val_fraction" in str(refusal.value)
    assert not (tmp_path / "run").exists()
    assert train.fit({**wanted, "callbacks": {}}, tmp_path / "run", pack=pack).status == "done"


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("pack", [True, False])
def test_a_batch_without_weight_contributes_nothing(pack, label_smoothing, tmp_path):
    weighted = {"class_weights": [1, 0, 0], "label_smoothing": label_smoothing}
    small = config(model=weighted, data={"batch_size": 2}, trainer={"max_epochs": 3})
    done = train.fit(small, tmp_path, pack=pack)
    assert done.status == "done", done.reason
    assert done.metrics["train/loss"] is not None


def test_the_gradient_of_a_batch_without_weight_is_zero():
    torch.manual_seed(0)
    model = create_model("perceptron", input_shape=(4,), num_classes=2, class_weights=[1.0, 0.0])
    x = torch.randn(3, 4)
    loss = model._training_loss(model(x), torch.ones(3, dtype=torch.int64))
    loss.backward()
    assert loss.item() == 0
    assert all((p.grad == 0).all() for p in model.parameters())
    mixed = model._training_loss(model(x), torch.tensor([0, 1, 1]))
    assert mixed.item() == pytest.approx(-model(x).log_softmax(1)[0, 0].item())


def test_a_step_is_the_mean_of_the_batches_that_it_has(tmp_path):
    """Two equal batches an epoch are one step, and the same one however many batches were asked for."""
    weights = {}
    for name, every, batch_size in (("two", 2, 48), ("eight", 8, 48), ("whole", 1, 96)):
        flags = {"accumulate_grad_batches": every, "max_epochs": 2}
        done = train.fit(
            config(data={"batch_size": batch_size, "train_size": 96}, trainer=flags), tmp_path / name, pack=False
        )
        assert done.status == "done"
        weights[name] = zoo.load(tmp_path / name).state_dict()
    for name, tensor in weights["two"].items():
        assert torch.equal(weights["eight"][name], tensor)
        torch.testing.assert_close(weights["whole"][name], tensor)
