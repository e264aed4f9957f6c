"""The callback generalization_gap: its numbers against an independent computation; off, it is not there."""

import json
import math
from pathlib import Path

import pytest
import sklearn.metrics as sk
import torch
import torch.nn.functional as F
import yaml

import zoo
from benchmarks.records.store import Store
from benchmarks.running.plan import trial_key
from datamodules import DATAMODULES, create_datamodule
from datamodules.tabular import Digits
from zoo import train
from zoo.config import resolve
from zoo.pack import Pack
from zoo.parts.metric_names import comparable_names, gaps, metric_names

ACTIVATIONS = Path(__file__).parents[3] / "results/activations"
# Each makes train/loss another quantity than the loss of the restored model.
MODEL = {"name": "mlp", "hidden_dims": [32], "dropout": 0.3, "norm": "batch", "lr": 0.01}
SMOOTHED = {**MODEL, "label_smoothing": 0.1, "class_weights": "balanced"}


def config(data="digits", model=MODEL, on=True, seed=0, **trainer):
    return {
        "seed_everything": seed,
        "model": model,
        "data": {"name": data} if isinstance(data, str) else data,
        "trainer": {"max_epochs": 3, "accelerator": "cpu", **trainer},
        "callbacks": {"generalization_gap": on},
    }


def independent(folder, split):
    """A split's metrics by sklearn, of the checkpoint left and the data as a config says."""
    model = zoo.load(folder)
    data = create_datamodule(**model.config["data"])
    x, y = data.arrays(split)
    with torch.no_grad():
        out = model(x)
    if model.num_classes == 1:
        scale = data.card()["target"]
        raw, predicted = (values.double() * scale["std"] + scale["mean"] for values in (y, out[:, 0]))
        by_sklearn = {"mse": sk.mean_squared_error, "mae": sk.mean_absolute_error, "r2": sk.r2_score}
        measured = {name: function(raw, predicted) for name, function in by_sklearn.items()}
        return {"loss": F.mse_loss(out[:, 0], y).item(), **measured}
    predicted, p = out.argmax(1), out.double().softmax(1)
    return {
        "loss": F.cross_entropy(out, y).item(),
        "accuracy": sk.accuracy_score(y, predicted),
        "f1_macro": sk.f1_score(y, predicted, average="macro"),
        "auroc": sk.roc_auc_score(y, p, multi_class="ovr"),
    }


@pytest.mark.parametrize("pack", [True, False])
@pytest.mark.parametrize(
    ("data", "model"),
    [("digits", SMOOTHED), ({"name": "wine", "train_size": 40}, SMOOTHED), ("diabetes", {**MODEL, "lr": 0.1})],
)
def test_numbers_are_those_of_the_checkpoint_on_the_splits(tmp_path, data, model, pack):
    result = train.fit(config(data, model, max_epochs=8), tmp_path, pack=pack)
    assert (result.environment["pack_size"] == 1) is pack
    trained, tested = (independent(tmp_path, split) for split in ("train", "test"))
    assert set(trained) == set(metric_names(zoo.load(tmp_path).num_classes))
    for name, value in trained.items():
        assert result.metrics[f"train_eval/{name}"] == pytest.approx(value, rel=1e-4, abs=1e-5)
        assert result.metrics[f"test/{name}"] == pytest.approx(tested[name], rel=1e-4, abs=1e-5)
        better = value - tested[name] if name in ("accuracy", "f1_macro", "auroc", "r2") else tested[name] - value
        scale = max(1, abs(value))
        assert result.metrics[f"gap/{name}"] == pytest.approx(better, abs=1e-4 * scale)
    assert abs(result.metrics["train/loss"] - trained["loss"]) > 0.02
    assert json.loads((tmp_path / "result.json").read_text())["metrics"] == result.metrics


def test_a_net_that_overfits_has_positive_gaps_in_every_metric(tmp_path):
    wanted = config({"name": "diabetes", "train_size": 30}, {"name": "mlp", "lr": 0.01}, max_epochs=200)
    wanted["callbacks"] |= {"early_stopping": None, "model_checkpoint": None}
    metrics = train.fit(wanted, tmp_path).metrics
    assert min(metrics[f"gap/{name}"] for name in metric_names(1)) > 0.5


@pytest.mark.parametrize(("data", "model"), [("wine", SMOOTHED | {"norm": None}), ("diabetes", MODEL | {"norm": None})])
def test_a_pack_measures_what_lightning_does(tmp_path, data, model):
    packed, alone = (train.fit(config(data, model), tmp_path / str(pack), pack=pack).metrics for pack in (True, False))
    assert {"gap/loss", "train_eval/loss"} <= packed.keys()
    assert packed == pytest.approx(alone, rel=2e-4, abs=2e-5)


def test_numbers_do_not_depend_on_the_pack_nor_on_whether_its_partners_measure_a_gap():
    configs = [
        config("wine", {**MODEL, "norm": None, "lr": lr, "optimizer": "sgd"}, on, seed, gradient_clip_val=None)
        for lr in (0.01, 1e30)
        for seed in range(10)
        for on in (True, False)
    ]

    def tested(configs):
        members = [train.make_member(resolve(c), {}) for c in configs]
        Pack(members, torch.device("cpu")).fit()
        return [member.tested for member in members]

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        together = tested(configs)
        assert [tested([c])[0] for c in configs] == together
        assert tested(configs[7:13]) == together[7:13]
    finally:
        torch.set_num_threads(threads)
    with_gap, without = together[:20:2], together[1:20:2]
    assert {frozenset(names) for names in with_gap} == {
        frozenset(n for n in comparable_names(3, True) if not n.startswith("val"))
    }
    assert [{n: v for n, v in m.items() if n.startswith("test/")} for m in with_gap] == without
    assert together[20:] == [{}] * 20


@pytest.mark.parametrize("pack", [True, False])
def test_a_run_that_diverged_has_none(tmp_path, pack):
    model = {"name": "mlp", "optimizer": "sgd", "lr": 1e30, "activation": "identity"}
    result = train.fit(config("wine", model, gradient_clip_val=None), tmp_path, pack=pack)
    assert (result.status, result.metrics) == ("diverged", {})


def test_inputs_are_not_augmented(tmp_path, monkeypatch):
    monkeypatch.setattr(Digits, "train_transform", lambda self: lambda x, generator: torch.zeros_like(x))
    result = train.fit(config(), tmp_path)
    assert result.environment["pack_size"] is None
    trained = independent(tmp_path, "train")
    assert result.metrics["train_eval/loss"] == pytest.approx(trained["loss"], rel=1e-4)
    assert result.metrics["train_eval/loss"] != pytest.approx(result.metrics["train/loss"], rel=1e-2)


@pytest.mark.parametrize("pack", [True, False])
def test_all_other_numbers_are_those_of_a_run_without_it(tmp_path, pack):
    on, off = (train.fit(config(on=on), tmp_path / str(on), pack=pack) for on in (True, False))
    assert off.metrics == {n: v for n, v in on.metrics.items() if not n.startswith(("train_eval/", "gap/"))}
    assert (tmp_path / "True/metrics.csv").read_text() == (tmp_path / "False/metrics.csv").read_text()
    written = [yaml.safe_load((tmp_path / str(on) / "config.yaml").read_text()) for on in (True, False)]
    assert written[0]["callbacks"] == {**written[1]["callbacks"], "generalization_gap": {}}
    assert train.fit(written[0], tmp_path / "again", pack=pack).metrics == on.metrics


def test_a_gap_says_by_its_sign_which_split_came_out_better():
    trained = {"loss": 0.5, "accuracy": 0.75, "auroc": math.nan}
    measured = gaps(trained, {"test/loss": 0.75, "test/accuracy": 1.0, "test/auroc": 1.0})
    assert math.isnan(measured.pop("gap/auroc"))
    assert math.isnan(measured.pop("train_eval/auroc"))
    assert measured == {"train_eval/loss": 0.5, "train_eval/accuracy": 0.75, "gap/loss": 0.25, "gap/accuracy": -0.25}


# --- off, it is not there ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("given", "on"), [({}, True), (True, True), (False, False), (None, False)])
def test_it_stands_in_a_config_only_where_it_is_on(given, on):
    plain = resolve({"model": "mlp", "data": "iris"})["callbacks"]
    assert list(plain) == ["early_stopping", "model_checkpoint", "learning_rate_monitor"]
    callbacks = resolve({"model": "mlp", "data": "iris", "callbacks": {"generalization_gap": given}})["callbacks"]
    assert callbacks == plain | ({"generalization_gap": {}} if on else {})
    assert resolve({"model": "mlp", "data": "iris", "callbacks": callbacks})["callbacks"] == callbacks


def test_keys_of_trials_are_what_they_were_before_it():
    def key(config):
        given = dict(config)
        seed = given.pop("seed_everything")
        return trial_key("fit", given, DATAMODULES.load(given["data"]["name"]).identity(given["data"]), seed)

    plain = {"model": "mlp", "data": "iris"}
    assert key(resolve(plain)) == "c82efba27017acbf"
    assert key(resolve({**plain, "callbacks": {"generalization_gap": True}})) != "c82efba27017acbf"
    records = Store(ACTIVATIONS).archive().records
    assert all(key(resolve(record["config"])) == record["key"] for record in records[::40])
