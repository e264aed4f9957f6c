"""The callback `throughput`: samples are counted exactly, the parts of the time add up, and nothing else changes."""

import json
import math
import time

import pytest

from datamodules.errors import InputError
from datamodules.loader import BatchLoader
from zoo.cli import main
from zoo.config import resolve
from zoo.pack import flags_beyond
from zoo.parts.metric_names import THROUGHPUT, direction, is_known
from zoo.train import fit

# 96 training rows in batches of 19 leave a last one of a single row, which joins the one before: 5 batches.
CONFIG = {
    "model": {"name": "mlp", "hidden_dims": [8]},
    "data": {"name": "iris", "batch_size": 19},
    "trainer": {"max_epochs": 4, "accelerator": "cpu"},
    "callbacks": {"early_stopping": None, "model_checkpoint": None},
}
N_TRAIN, N_BATCHES = 96, 5


def timed(**options):
    return {**CONFIG, "callbacks": {**CONFIG["callbacks"], "throughput": options or True}}


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    return fit(timed(), tmp_path_factory.mktemp("run"))


def test_samples_are_counted_exactly_and_the_parts_add_up(result):
    found = result.metrics
    assert set(THROUGHPUT) < set(found)
    epochs = CONFIG["trainer"]["max_epochs"] - 1  # but for the first, which warms up
    training = epochs * N_BATCHES * (found["data_seconds"] + found["step_seconds"])
    assert found["samples_per_second"] * training == pytest.approx(epochs * N_TRAIN, rel=1e-9)
    assert 0 < found["data_seconds"] < found["step_seconds"]
    assert 0 < training + epochs * found["validation_seconds"] < result.train_seconds
    assert found["startup_seconds"] > 0
    assert found["rank_0/peak_memory_bytes"] == found["peak_memory_bytes"]
    assert 0.5 < found["peak_memory_bytes"] / result.peak_memory_bytes["host"] <= 1  # the test comes after
    assert "rank_1/peak_memory_bytes" not in found


def test_a_run_that_is_timed_comes_out_as_one_that_is_not(result, tmp_path):
    plain = fit(CONFIG, tmp_path, pack=False).metrics
    assert {name: result.metrics[name] for name in plain} == plain
    assert {name for name in result.metrics if name not in plain} == {*THROUGHPUT, "rank_0/peak_memory_bytes"}


def test_it_is_off_by_default_and_takes_a_run_out_of_packs(result):
    assert "throughput" not in resolve(CONFIG)["callbacks"]
    assert not flags_beyond(resolve(CONFIG))
    assert resolve(timed())["callbacks"]["throughput"] == {"warmup_epochs": 1}
    assert flags_beyond(resolve(timed())) == "callbacks.throughput measures a single run"
    assert result.environment["pack_size"] is None


def test_time_goes_to_what_takes_it(tmp_path, monkeypatch):
    slow, plain = 0.02, BatchLoader.__iter__

    def slowly(self):
        for batch in plain(self):
            time.sleep(slow if self.shuffle_seed is not None else slow / 2)  # training's batches, and validation's
            yield batch

    monkeypatch.setattr(BatchLoader, "__iter__", slowly)
    found = fit(timed(warmup_epochs=2), tmp_path).metrics
    assert slow < found["data_seconds"] < 2 * slow
    assert found["step_seconds"] < slow
    assert found["samples_per_second"] < N_TRAIN / (N_BATCHES * slow)
    assert found["validation_seconds"] > slow / 2


def test_epochs_that_a_run_does_not_reach_leave_nulls(tmp_path):
    config = timed(warmup_epochs=3)
    config["trainer"] = {**CONFIG["trainer"], "max_epochs": 100, "max_steps": 2 * N_BATCHES + 3}
    found = fit(config, tmp_path).metrics
    assert found["samples_per_second"] is found["step_seconds"] is found["validation_seconds"] is None
    assert found["startup_seconds"] > 0
    config = timed(warmup_epochs=2)
    config["trainer"] = {**CONFIG["trainer"], "max_epochs": 100, "max_steps": 2 * N_BATCHES + 3}
    found = fit(config, tmp_path).metrics  # an epoch cut short counts as far as it went
    training = 3 * (found["data_seconds"] + found["step_seconds"])
    assert found["samples_per_second"] * training == pytest.approx(3 * 19)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"warmup_epochs": -1}, "warmup_epochs must not be negative"),
        ({"warmup_epochs": 4}, r"skips the first 4 epoch\(s\), but trainer\.max_epochs is 4"),
    ],
)
def test_it_refuses_what_it_cannot_count(options, words, tmp_path):
    with pytest.raises(InputError, match=words):
        fit(timed(**options), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_zoo_fit_prints_and_records_it(tmp_path, capsys):
    run = "fit --model mlp --data iris --trainer.max_epochs 2 --callbacks.throughput true --trainer.accelerator cpu"
    assert main([*run.split(), "--out", str(tmp_path / "run")]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in THROUGHPUT)
    metrics = json.loads((tmp_path / "run/result.json").read_text())["metrics"]
    assert math.isfinite(metrics["samples_per_second"])


def test_directions():
    ways = {name: direction(name) for name in THROUGHPUT}
    assert ways.pop("samples_per_second") == "max"
    assert set(ways.values()) == {"min"}
    assert all(map(is_known, THROUGHPUT))
    assert direction("rank_1/peak_memory_bytes") == "min"
