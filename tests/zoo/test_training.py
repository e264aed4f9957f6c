import json
import math
import shutil
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics as sk
import torch
import torch.nn.functional as F
import yaml
from torch._dynamo.utils import counters

import zoo
from datamodules.base import ArrayDataModule
from zoo import train
from zoo.config import resolve
from zoo.evaluate import evaluate
from zoo.parts.metric_names import metric_names
from zoo.trainer import make_trainer, quiet

FILES = {"config.yaml", "best.ckpt", "metrics.csv", "result.json"}
NETS_OFF = {"early_stopping": False, "model_checkpoint": False, "learning_rate_monitor": False}


def config(model=None, data=None, trainer=None, callbacks=None, seed=0):
    return {
        "seed_everything": seed,
        "model": {"name": "mlp", "hidden_dims": [16], **(model or {})},
        "data": {"name": "wine", "batch_size": 16, **(data or {})},
        "trainer": {"max_epochs": 3, **(trainer or {})},
        "callbacks": callbacks or {},
    }


# Overfits within a few epochs, so that the best one is not the last.
OVERFIT = config({"lr": 0.05}, {"train_size": 30}, {"max_epochs": 60}, {"early_stopping": {"patience": 4}})


def logits_and_targets(folder, split):
    model = zoo.load(folder)
    _, data = train.prepare(resolve(yaml.safe_load((folder / "config.yaml").read_text())))
    x, y = data.arrays(split)
    with torch.no_grad():
        return model, model(x), y


@pytest.mark.parametrize(("data", "num_classes"), [("wine", 3), ("diabetes", 1)])
def test_a_run_leaves_its_files_and_names_its_metrics(tmp_path, data, num_classes):
    result = train.fit(config(data={"name": data}), tmp_path / "new" / "folder")
    out = tmp_path / "new" / "folder"
    assert {file.name for file in out.iterdir()} == FILES
    names = {f"{split}/{name}" for split in ("val", "test") for name in metric_names(num_classes)}
    assert names <= set(result.metrics)
    assert set(result.metrics) - names <= {"train/loss", "train/accuracy", "train/mse", "train/mae", "train/r2"}
    assert all(math.isfinite(value) for value in result.metrics.values())
    assert json.loads((out / "result.json").read_text()) == asdict(result)
    table = pd.read_csv(out / "metrics.csv")
    assert table["epoch"].tolist() == list(range(result.epochs_run)) == [0, 1, 2]
    assert {"step", "lr", "train/loss", "val/loss"} <= set(table)
    assert result.train_seconds > 0
    assert result.n_parameters == sum(p.numel() for p in zoo.load(out).parameters())
    assert torch.__version__.startswith(result.environment["packages"]["torch"])


def test_the_config_left_behind_runs_to_the_same_metrics(tmp_path):
    first = train.fit(config(seed=5), tmp_path / "first")
    left = yaml.safe_load((tmp_path / "first" / "config.yaml").read_text())
    assert left["model"]["lr"] == 1e-3  # complete with this project's defaults
    assert train.fit(left, tmp_path / "again").metrics == first.metrics


def test_early_stopping_stops_after_its_patience(tmp_path):
    callbacks = {"early_stopping": {"patience": 2, "min_delta": 100.0}}  # no epoch is that much better
    assert train.fit(config(trainer={"max_epochs": 50}, callbacks=callbacks), tmp_path).epochs_run == 3


def test_the_best_epoch_is_restored_and_its_metrics_are_those_of_a_new_evaluation(tmp_path):
    result = train.fit(OVERFIT, tmp_path)
    losses = pd.read_csv(tmp_path / "metrics.csv")["val/loss"]
    assert result.best_epoch == losses.idxmin() < result.epochs_run - 1 < 59
    assert result.metrics["val/loss"] == pytest.approx(losses.min(), rel=1e-6)
    for verb, split in (("test", "test"), ("validate", "val")):
        again = evaluate(str(tmp_path), {}, verb)
        assert again == pytest.approx({name: result.metrics[name] for name in again}, rel=1e-6)
        assert {f"{split}/loss", f"{split}/accuracy"} <= set(again)
    _, logits, y = logits_and_targets(tmp_path, "test")
    assert result.metrics["test/accuracy"] == pytest.approx(sk.accuracy_score(y, logits.argmax(1)))


def test_another_monitor_chooses_another_best_epoch(tmp_path):
    callbacks = {name: {"monitor": "val/accuracy"} for name in ("early_stopping", "model_checkpoint")}
    result = train.fit({**OVERFIT, "callbacks": callbacks}, tmp_path)
    accuracies = pd.read_csv(tmp_path / "metrics.csv")["val/accuracy"]
    assert result.best_epoch == accuracies.idxmax()
    assert result.metrics["val/accuracy"] == pytest.approx(accuracies.max())


def test_callbacks_can_be_turned_off(tmp_path):
    result = train.fit({**OVERFIT, "callbacks": NETS_OFF}, tmp_path)
    assert result.epochs_run == 60
    assert result.best_epoch == 59
    assert {file.name for file in tmp_path.iterdir()} == FILES - {"best.ckpt"}
    table = pd.read_csv(tmp_path / "metrics.csv")
    assert "lr" not in table
    assert result.metrics["val/loss"] == pytest.approx(table["val/loss"].iloc[-1])


@pytest.mark.parametrize("data", ["wine", "diabetes"])
def test_a_diverged_run_says_at_which_step_and_has_no_metrics(tmp_path, data):
    model = {"optimizer": "sgd", "lr": 1e30, "momentum": 0.0, "activation": "identity"}
    result = train.fit(config(model, {"name": data}, {"gradient_clip_val": None, "max_epochs": 20}), tmp_path)
    assert result.status == "diverged"
    # The loss of step 0 is that of the initial weights; the first update throws them out of range.
    assert result.reason == "the loss is not finite from step 1 on"
    assert (result.metrics, result.best_epoch) == ({}, None)
    assert result.epochs_run == 1
    assert json.loads((tmp_path / "result.json").read_text())["status"] == "diverged"


@pytest.mark.parametrize("model", [{"label_smoothing": 0.3}, {"class_weights": [1.0, 5.0, 20.0]}])
def test_val_and_test_loss_are_plain_under_label_smoothing_and_class_weights(tmp_path, model):
    result = train.fit(config(model), tmp_path)
    for split in ("val", "test"):
        _, logits, y = logits_and_targets(tmp_path, split)
        assert result.metrics[f"{split}/loss"] == pytest.approx(F.cross_entropy(logits, y).item(), rel=1e-5)


def test_the_training_loss_has_label_smoothing_and_class_weights():
    weights = [1.0, 5.0, 20.0]
    model = zoo.create_model("perceptron", input_shape=(4,), num_classes=3, label_smoothing=0.3, class_weights=weights)
    x, y = torch.randn(9, 4, generator=torch.Generator().manual_seed(0)), torch.arange(9) % 3
    expected = F.cross_entropy(model(x), y, torch.tensor(weights), label_smoothing=0.3)
    assert model.training_step((x, y), 0).item() == pytest.approx(expected.item())


def test_losses_do_not_depend_on_how_evaluation_is_cut_into_batches(tmp_path, monkeypatch):
    whole = train.fit(config(data={"name": "breast_cancer"}), tmp_path / "whole").metrics
    monkeypatch.setattr(ArrayDataModule, "eval_batch_size", 50)
    parts = train.fit(config(data={"name": "breast_cancer"}), tmp_path / "parts").metrics
    assert parts == pytest.approx(whole, rel=1e-5)


def test_the_training_loss_of_an_epoch_is_the_mean_over_its_samples(tmp_path):
    # Weights that stand still, so that the loss after training is the loss during it.
    still = config({"optimizer": "sgd", "lr": 1e-30}, {"train_size": 21}, {"max_epochs": 1})
    result = train.fit(still, tmp_path)
    _, logits, y = logits_and_targets(tmp_path, "train")
    assert len(y) == 21
    assert result.metrics["train/loss"] == pytest.approx(F.cross_entropy(logits, y).item(), rel=1e-5)


def test_balanced_class_weights_come_from_the_training_split(tmp_path):
    wanted = config({"class_weights": "balanced"}, {"name": "fraud", "batch_size": 512}, {"max_epochs": 1})
    model, data = train.prepare(resolve(wanted))
    trainer, _ = make_trainer(resolve({**wanted, "callbacks": NETS_OFF}), tmp_path, progress=False)
    with quiet():
        trainer.fit(model, datamodule=data)
    counts = np.bincount(data.arrays("train")[1])
    np.testing.assert_allclose(model.class_weight, counts.sum() / (2 * counts), rtol=1e-6)
    assert model.class_weight[1] / model.class_weight[0] == pytest.approx(counts[0] / counts[1])


def test_regression_metrics_are_in_the_targets_units(tmp_path):
    result = train.fit(config(data={"name": "diabetes"}, trainer={"max_epochs": 30}), tmp_path)
    model, outputs, y = logits_and_targets(tmp_path, "test")
    _, data = train.prepare(resolve(config(data={"name": "diabetes"})))
    raw = data.load().y[data.indices["test"]]
    predicted = model.in_units(outputs[:, 0])
    assert 20 < np.std(raw) < 200  # so that standardised errors could not pass
    assert result.metrics["test/mae"] == pytest.approx(sk.mean_absolute_error(raw, predicted), rel=1e-4)
    assert result.metrics["test/mse"] == pytest.approx(sk.mean_squared_error(raw, predicted), rel=1e-4)
    assert result.metrics["test/r2"] == pytest.approx(sk.r2_score(raw, predicted), abs=1e-4)
    assert result.metrics["test/loss"] == pytest.approx(F.mse_loss(outputs[:, 0], y).item(), rel=1e-4)


@pytest.mark.parametrize(
    "data",
    [{"train_size": 65, "batch_size": 64}, {"train_size": 33, "batch_size": 16}, {"train_size": 7}, {"train_size": 2}],
    ids=str,
)
def test_batch_norm_takes_a_last_batch_of_one_and_a_train_set_smaller_than_a_batch(tmp_path, data):
    result = train.fit(config({"name": "robust_mlp"}, data), tmp_path)
    assert result.status == "done"
    assert result.sizes["train"] == data["train_size"]
    assert math.isfinite(result.metrics["test/loss"])


@pytest.mark.parametrize("data", [{"train_size": 1}, {"batch_size": 1}], ids=str)
def test_batch_norm_on_single_samples_is_refused_and_other_nets_take_them(tmp_path, data):
    with pytest.raises(zoo.InputError, match="each device needs at least one sample per batch, or two with batch norm"):
        train.fit(config({"name": "robust_mlp"}, data), tmp_path / "refused")
    assert not (tmp_path / "refused").exists()
    assert train.fit(config({"norm": "layer"}, data), tmp_path / "taken").status == "done"


@pytest.mark.parametrize("clip", ["default", 0.5, None])
def test_gradients_are_clipped_by_norm_one_by_default_by_another_norm_or_not_at_all(tmp_path, clip):
    # One step of plain gradient descent at rate 1 moves the weights by the clipped gradient.
    model = {"initializer": "normal", "init_scale": 2.0, "optimizer": "sgd", "lr": 1.0, "momentum": 0.0}
    trainer = {"max_epochs": 1} | ({} if clip == "default" else {"gradient_clip_val": clip})
    wanted = config(model, {"train_size": 16}, trainer)
    before, data = train.prepare(resolve(wanted))
    before.training_step(data.arrays("train"), 0).backward()
    norm = math.sqrt(sum(p.grad.square().sum().item() for p in before.parameters()))
    assert norm > 5
    train.fit(wanted, tmp_path)
    after = zoo.load(tmp_path).state_dict()
    moved = math.sqrt(sum((after[name] - p).square().sum().item() for name, p in before.named_parameters()))
    assert moved == pytest.approx({"default": 1.0, 0.5: 0.5, None: norm}[clip], rel=1e-3)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"callbacks": {"early_stopping": {"monitor": "val/acuracy"}}}, r"Did you mean 'val/accuracy'\?"),
        ({"callbacks": {"early_stopping": {"patience": -1}}}, "patience must not be negative"),
        ({"callbacks": {"early_stoping": {}}}, r"unknown callback 'early_stoping'\. Did you mean 'early_stopping'\?"),
        ({"model": {"name": "mlp", "dropout": 1.5}}, r"model\.dropout must be in \[0, 1\), got 1\.5"),
        ({"model": {"name": "mlp", "lr": "fast"}}, r"model\.lr must be of type float, got 'fast'"),
        ({"model": "cnn"}, r"cnn needs images of shape \(channels, height, width\), but the inputs have shape \(13,\)"),
        ({"data": {"name": "diabetes"}, "model": {"name": "mlp", "class_weights": "balanced"}}, "this is a regression"),
        ({"data": {"name": "wine", "val_fraction": 1.0}}, r"data\.val_fraction must be between 0 and 1"),
        ({"trainer": {"max_epoch": 3}}, r"Did you mean 'max_epochs'\?"),
        ({"seed_everything": -1}, "seed_everything must not be negative"),
        ({"modle": {}}, r"unknown section of a config 'modle'\. Did you mean 'model'\?"),
    ],
    ids=lambda value: None if isinstance(value, str) else str(value)[:60],
)
def test_a_bad_config_gets_a_sentence_and_nothing_is_written(tmp_path, change, sentence):
    with pytest.raises(ValueError, match=sentence):
        train.fit({**config(), **change}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_mixed_precision_trains_and_clips(tmp_path, optimizer):
    result = train.fit(config({"optimizer": optimizer}, trainer={"precision": "bf16-mixed"}), tmp_path)
    assert result.status == "done"
    assert result.environment["precision"] == "bf16-mixed"


def test_a_metric_that_is_undefined_is_no_divergence(tmp_path):
    pd.DataFrame({"a": range(60), "label": ["x", "y"] * 30}).to_csv(tmp_path / "table.csv", index=False)
    callbacks = {"early_stopping": {"patience": 5}, "model_checkpoint": False}
    one_row = {"val_fraction": 0.02}  # which is of one class
    data = {"name": "csv", "path": str(tmp_path / "table.csv"), "target": "label", **one_row}
    result = train.fit(config(data=data, trainer={"max_epochs": 5}, callbacks=callbacks), tmp_path / "run")
    assert (result.status, result.epochs_run) == ("done", 5)
    assert (result.metrics["val/auroc"], result.metrics["val/accuracy"]) in ((None, 0.0), (None, 1.0))


def test_the_trainers_flags_have_one_form():
    flags = [{}, {"gradient_clip_val": 1}, {"accelerator": "auto"}, {"devices": "auto", "max_epochs": 3}]
    assert len({json.dumps(resolve(config(trainer=flag)), sort_keys=True) for flag in flags}) == 1
    assert resolve(config(trainer={"devices": "2"}))["trainer"]["devices"] == 2


def test_weights_of_classes_must_be_numbers(tmp_path):
    with pytest.raises(zoo.InputError, match="class_weights must be finite"):
        train.fit(config({"class_weights": [1, math.nan, 1]}), tmp_path / "run")
    with pytest.raises(zoo.InputError, match="does not take"):
        zoo.create_model("mlp", input_shape=(4,), num_classes=2, dropout="half")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs g++ on the CPU")
@pytest.mark.parametrize("model", [{"name": "cnn", "channels": [4]}, {"name": "mlp", "norm": "batch"}])
def test_a_compiled_model_learns_what_it_learns_without(tmp_path, model):
    config = {"data": "digits", "trainer": {"max_epochs": 2, "accelerator": "cpu"}}
    plain = train.fit({**config, "model": model}, tmp_path / "plain", pack=False)
    counters.clear()
    compiled = train.fit({**config, "model": {**model, "compile": True}}, tmp_path / "compiled")
    assert counters["stats"]["unique_graphs"] > 0, "nothing was compiled"
    assert compiled.environment["pack_size"] is None
    assert compiled.metrics == pytest.approx(plain.metrics, rel=1e-2, abs=1e-3)
    assert zoo.load(tmp_path / "compiled").hparams["compile"] is True


def test_compiling_without_a_compiler_is_refused(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(
        ValueError, match="needs a C\\+\\+ compiler, but neither \\$CXX, g\\+\\+ nor clang\\+\\+ exists"
    ):
        zoo.create_model("mlp", input_shape=(4,), num_classes=3, compile=True)
