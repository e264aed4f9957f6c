"""A config is resolved once, where it comes in; a run leaves its files once, and makes nothing to throw it away."""

import json
from pathlib import Path

import pytest
import yaml

import zoo.callbacks
import zoo.config
import zoo.train
import zoo.trainer
from datamodules.errors import InputError
from zoo.cli import main
from zoo.config import resolve

CONFIG = {"model": "mlp", "data": "iris", "trainer": {"max_epochs": 2, "accelerator": "cpu"}}


@pytest.fixture
def resolutions(monkeypatch):
    """The configs that were resolved so far."""
    seen = []

    def counting(config):
        seen.append(config)
        return resolve(config)

    for module in (zoo.config, zoo.train):
        monkeypatch.setattr(module, "resolve", counting)
    return seen


def test_the_command_resolves_once(resolutions, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main("fit --model mlp --data iris --trainer.max_epochs 1 --trainer.accelerator cpu --out run".split()) == 0
    assert len(resolutions) == 1


def test_plain_values_from_python_are_resolved_once(resolutions, tmp_path):
    assert zoo.train.fit(CONFIG, tmp_path / "run").status == "done"
    assert resolutions == [CONFIG]


def test_a_resolved_config_is_never_resolved_again_nor_changed(resolutions, tmp_path, monkeypatch):
    config = resolve(CONFIG)
    before = json.dumps(config)
    for pack in (True, False):
        assert zoo.train.run(config, tmp_path / str(pack), pack=pack).status == "done"
    assert (resolutions, json.dumps(config)) == ([], before)


def test_resolving_a_resolved_config_changes_nothing():
    config = resolve(CONFIG)
    assert resolve(config) == config


@pytest.mark.parametrize("pack", [True, False])
def test_a_caller_that_keeps_records_itself_gets_the_result_and_the_other_files(pack, tmp_path):
    whole = zoo.train.fit(CONFIG, tmp_path / "whole", pack=pack)
    bare = zoo.train.run(resolve(CONFIG), tmp_path / "bare", pack=pack, record=False)
    assert bare.metrics == whole.metrics
    files = {path.name: path for path in (tmp_path / "whole").iterdir()}
    assert files.keys() == {"config.yaml", "best.ckpt", "metrics.csv", "result.json"}
    assert {path.name for path in (tmp_path / "bare").iterdir()} == {"best.ckpt", "metrics.csv"}
    assert (tmp_path / "bare/metrics.csv").read_bytes() == files["metrics.csv"].read_bytes()
    assert resolve(yaml.safe_load(files["config.yaml"].read_text())) == resolve(CONFIG)


def test_a_packed_run_makes_no_callback_and_no_trainer(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("made, to be thrown away")

    for name in ("EarlyStopping", "ModelCheckpoint", "LearningRateMonitor"):
        monkeypatch.setattr(zoo.callbacks, name, refuse)
    monkeypatch.setattr(zoo.trainer, "lightning_trainer", refuse)
    assert zoo.train.fit(CONFIG, tmp_path).status == "done"


@pytest.mark.parametrize("pack", [True, False])
@pytest.mark.parametrize(
    ("callbacks", "sentence"),
    [
        ({"early_stopping": {"patience": -1}}, "callbacks.early_stopping.patience must not be negative, got -1"),
        ({"early_stopping": {"min_delta": -1.0}}, "callbacks.early_stopping.min_delta must not be negative"),
        ({"model_checkpoint": {"monitor": "val/mse"}}, "unknown callbacks.model_checkpoint.monitor 'val/mse'"),
        ({"gradient_flow": {"every_n_steps": 0}}, "callbacks.gradient_flow.every_n_steps must be at least 1, got 0"),
        ({"gradient_clipping": {"every_n_steps": 0}}, "callbacks.gradient_clipping.every_n_steps must be at least 1"),
        ({"dead_units": {"threshold": 0.6}}, "callbacks.dead_units.threshold must be in (0, 0.5], got 0.6"),
        ({"dead_units": {"share": 0.0}}, "callbacks.dead_units.share must be in (0, 1], got 0.0"),
        ({"rare_class": True}, "callbacks.rare_class needs"),
        ({"throughput": {"warmup_epochs": -1}}, "callbacks.throughput.warmup_epochs must not be negative, got -1"),
    ],
)
def test_options_are_refused_before_anything_is_written(callbacks, sentence, pack, tmp_path):
    with pytest.raises(InputError) as refusal:
        zoo.train.fit({**CONFIG, "callbacks": callbacks}, tmp_path / "run", pack=pack)
    assert sentence in str(refusal.value)
    assert not Path(tmp_path / "run").exists()
