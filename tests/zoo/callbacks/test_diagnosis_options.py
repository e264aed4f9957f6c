"""The diagnosis callbacks are off by default, change no other number, and can be the metric of a study."""

import csv
import json

import pytest
import torch

import zoo
from benchmarks.cli import main
from benchmarks.running.plan import trial_key
from datamodules import DATAMODULES
from tests.zoo.callbacks.diagnosis_runs import ALL, PACKED, config, rows_of
from zoo import train
from zoo.config import resolve
from zoo.parts.metric_names import DIAGNOSIS, callback_of, diagnosis_names, direction, has_direction

# --- off, they are not there; on, all else is as it was ---------------------------------------------------------------


@PACKED
@pytest.mark.parametrize("name", [*DIAGNOSIS, "all"])
def test_all_other_numbers_are_those_of_a_run_without_it(tmp_path, pack, name):
    model = {"norm": "batch", "dropout": 0.3, "schedule": "warmup_cosine", "lr": 0.02}
    callbacks = {"off": {}, "on": ALL if name == "all" else {name: True}}
    results = {state: train.fit(config(model, c), tmp_path / state, pack=pack) for state, c in callbacks.items()}
    on, off = results["on"].metrics, results["off"].metrics
    assert {n: v for n, v in on.items() if not callback_of(n)} == off
    own = {callback_of(n) for n in on} - {""}
    assert own == (set(DIAGNOSIS) if name == "all" else {name})
    rows = {state: rows_of(tmp_path / state) for state in callbacks}
    assert [{n: v for n, v in row.items() if not callback_of(n)} for row in rows["on"]] == rows["off"]
    assert not any(n.startswith("init/") for n in rows["on"][0])
    weights = [zoo.load(tmp_path / state).state_dict() for state in callbacks]
    assert all(torch.equal(weights[0][n], weights[1][n]) for n in weights[0])


def test_they_are_off_by_default_and_keys_of_trials_stay():
    plain = {"model": "mlp", "data": "iris"}
    assert list(resolve(plain)["callbacks"]) == ["early_stopping", "model_checkpoint", "learning_rate_monitor"]
    off = {**plain, "callbacks": dict.fromkeys(DIAGNOSIS, False)}
    assert resolve(off) == resolve(plain)
    given = resolve(off)
    seed = given.pop("seed_everything")
    identity = DATAMODULES.load("iris").identity(given["data"])
    assert trial_key("fit", given, identity, seed) == "c82efba27017acbf"


@PACKED
def test_a_run_that_diverged_has_none(tmp_path, pack):
    given = config({"optimizer": "sgd", "lr": 1e30, "activation": "identity"}, gradient_clip_val=None)
    result = train.fit(given, tmp_path, pack=pack)
    assert (result.status, result.metrics) == ("diverged", {})


@pytest.mark.parametrize(
    ("callbacks", "sentence"),
    [
        ({"gradient_flow": {"every_n_steps": 0}}, r"gradient_flow\.every_n_steps must be at least 1, got 0"),
        ({"gradient_clipping": {"every_n_steps": -1}}, r"gradient_clipping\.every_n_steps must be at least 1, got -1"),
        ({"dead_units": {"threshold": 0.0}}, r"dead_units\.threshold must be in \(0, 0\.5\], got 0\.0"),
        ({"dead_units": {"share": 1.5}}, r"dead_units\.share must be in \(0, 1\], got 1\.5"),
        ({"gradient_flow": {"every": 3}}, r"unknown option of the callback 'gradient_flow' 'every'"),
        ({"dead_unit": True}, r"unknown callback 'dead_unit'\. Did you mean 'dead_units'\?"),
    ],
    ids=str,
)
def test_bad_options_are_refused_and_nothing_is_written(tmp_path, callbacks, sentence):
    with pytest.raises(zoo.InputError, match=sentence):
        train.fit(config(callbacks=callbacks), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["dead_units", "activation_statistics"])
def test_a_compiled_net_is_not_looked_into(tmp_path, name):
    with pytest.raises(zoo.InputError, match=f"{name} needs the outputs of single layers, which model.compile fuses"):
        train.fit(config({"compile": True}, {name: True}), tmp_path / "out")


def test_options_stand_on_the_command_line(tmp_path, capsys):
    from zoo.cli import main

    words = "fit --model mlp --data wine --trainer.max_epochs 1 --callbacks.gradient_flow.every_n_steps 50"
    assert main([*words.split(), "--callbacks.dead_units", "true", "--out", str(tmp_path / "run")]) == 0
    assert "update_ratio" in (said := capsys.readouterr().out)
    assert "init/" not in said
    config = json.loads((tmp_path / "run/result.json").read_text())["metrics"]
    assert {"gradient_norm/layer_3", "init/dead_units/layer_2"} <= config.keys()


# --- studies ----------------------------------------------------------------------------------------------------------


def test_names_say_which_way_is_better_where_there_is_one():
    assert (direction("dead_units/layer_1"), direction("init/saturated_units/layer_12")) == ("min", "min")
    assert has_direction("init/dead_units/layer_1")
    assert not has_direction("init/gradient_norm/layer_1")
    assert not has_direction("clipped_steps")
    assert has_direction("test/accuracy")
    assert callback_of("gradient_norm/before_clipping") == "gradient_clipping"
    assert callback_of("init/gradient_norm/layer_1") == "gradient_flow"
    assert callback_of("dead_units") == callback_of("test/loss") == ""


STUDY = """
base:
  model: {name: mlp, hidden_dims: [8]}
  data: wine
  trainer: {max_epochs: 2, accelerator: cpu}
  callbacks: CALLBACKS
vary:
  model.activation: [relu, tanh]
seeds: 2
baseline: {model.activation: relu}
metric: METRIC
margin: 0.1
"""


def bench(folder, metric, callbacks="{gradient_flow: true}", options=(), **changes):
    text = STUDY.replace("METRIC", metric).replace("CALLBACKS", callbacks)
    for old, new in changes.values():
        text = text.replace(old, new)
    (folder / "flow.yaml").write_text(text)
    return main(["run", str(folder / "flow.yaml"), "--out", str(folder / "runs"), "--workers", "1", *options])


UNDIRECTED = "{name: gradient_norm/layer_1, mode: max}"


def test_a_study_compares_such_a_metric(tmp_path):
    assert bench(tmp_path, "{name: init/gradient_norm/layer_1, mode: max}") == 0
    with (tmp_path / "runs/flow/trials.csv").open() as file:
        values = {row["key"]: float(row["value"]) for row in csv.DictReader(file)}
    for key, value in values.items():
        record = json.loads((tmp_path / f"runs/flow/trials/{key}/result.json").read_text())
        assert record["metrics"]["init/gradient_norm/layer_1"] == value > 0
        assert record["environment"]["pack_size"] == 4


@pytest.mark.parametrize(
    ("metric", "callbacks", "sentence"),
    [
        (
            "gradient_norm/layer_1",
            "{gradient_flow: true}",
            "whether 'gradient_norm/layer_1' should be high or low is unknown",
        ),
        (UNDIRECTED.replace("_1", "_3"), "{gradient_flow: true}", "All variants must have this layer."),
        (UNDIRECTED, "{dead_units: true}", "Set callbacks.gradient_flow: true in all trials to measure its metrics."),
        ("dead_units/layer_2", "{dead_units: true}", "Did you mean 'dead_units/layer_1'?"),
    ],
)
def test_a_metric_that_is_not_measured_is_refused_with_those_that_are(tmp_path, capsys, metric, callbacks, sentence):
    assert bench(tmp_path, metric, callbacks) == 2
    said = capsys.readouterr().err
    assert sentence in said
    if "high or low" not in sentence:
        on = "gradient_flow" if "flow" in callbacks else "dead_units"
        assert all(name in said for name in diagnosis_names([on], 2, [1]))
    assert not (tmp_path / "runs").exists()


def test_a_layer_that_one_variant_lacks_is_refused(tmp_path, capsys):
    metric = UNDIRECTED.replace("_1", "_3")
    changes = {"vary": ("model.activation: [relu, tanh]", "model.hidden_dims: [[8, 8], [8]]")}
    changes["baseline"] = ("baseline: {model.activation: relu}", "baseline: {model.hidden_dims: [8, 8]}")
    assert bench(tmp_path, metric, **changes) == 2
    assert "All variants must have this layer." in capsys.readouterr().err


def test_explain_keeps_those_apart_that_measure_something_else(tmp_path, capsys):
    changes = {
        "vary": ("model.activation: [relu, tanh]", "callbacks.dead_units: [true, false]"),
        "baseline": ("baseline: {model.activation: relu}", "baseline: {callbacks.dead_units: true}"),
    }
    assert bench(tmp_path, "test/accuracy", "{gradient_clipping: true}", ["--explain"], **changes) == 0
    said = capsys.readouterr().err
    assert said.count("one pack of 2 trials") == 2
    assert "alone, since" not in said
    records = [json.loads(file.read_text()) for file in (tmp_path / "runs/flow/trials").glob("*/result.json")]
    assert [record["environment"]["pack_size"] for record in records] == [2] * 4
    bare = [{n: v for n, v in r["metrics"].items() if callback_of(n) != "dead_units"} for r in records]
    assert len({json.dumps(metrics, sort_keys=True) for metrics in bare}) == 2  # by seed alone
