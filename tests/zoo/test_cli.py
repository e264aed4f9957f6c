"""The command line, driven for real: `main(argv)` is what the console script calls."""

import csv
import json
import math
import os
import re
import signal
import threading
import time
from pathlib import Path

import pytest
import yaml

import datamodules
import zoo
from zoo.cli import main
from zoo.shipped import shipped_configs

FILES = {"config.yaml", "best.ckpt", "metrics.csv", "result.json"}
TABLES = ("mammography", "polish_bankruptcy", "california_housing")
NEED_FILES = ("csv", *TABLES, "text", "nlu_home", "mnist", "fashion_mnist", "cifar10")


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(command: str) -> int:
    import shlex

    return main(shlex.split(command))


def result(folder: str) -> dict:
    return json.loads(Path(folder, "result.json").read_text())


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A run of three epochs on digits, made once."""
    out = tmp_path_factory.mktemp("trained") / "run"
    assert run(f"fit --model mlp --data digits --model.hidden_dims '[16]' --trainer.max_epochs 3 --out {out}") == 0
    return out


def test_fit_leaves_what_it_promises(trained):
    assert {path.name for path in trained.iterdir()} == FILES
    metrics = result(str(trained))["metrics"]
    assert {"test/accuracy", "test/f1_macro", "test/auroc", "test/loss", "val/loss", "val/accuracy"} <= set(metrics)
    assert all(math.isfinite(value) for value in metrics.values())
    config = yaml.safe_load((trained / "config.yaml").read_text())
    assert config["model"]["hidden_dims"] == [16]
    assert config["trainer"] == {"max_epochs": 3, "gradient_clip_val": 1.0}
    with (trained / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    assert all(float(row["lr"]) == 1e-3 and float(row["val/loss"]) > 0 for row in rows)


def test_fit_writes_nothing_to_the_pipe_but_the_table(trained, capfd):
    run("fit --model perceptron --data iris --trainer.max_epochs 1 --out run")
    out, err = capfd.readouterr()
    assert "accuracy" in out
    assert err == ""


@pytest.mark.parametrize("model", zoo.list_models())
def test_every_model_trains_on_digits(model):
    assert run(f"fit --model {model} --data digits --trainer.max_epochs 1 --out run") == 0
    assert result("run")["metrics"]["test/loss"] > 0


@pytest.mark.parametrize("data", [name for name in datamodules.list_datamodules() if name not in NEED_FILES])
def test_every_data_set_without_files_trains(data):
    assert run(f"fit --model robust_mlp --data {data} --trainer.max_epochs 1 --out run") == 0
    expected = "test/r2" if data in ("diabetes", "sawtooth") else "test/auroc"
    assert math.isfinite(result("run")["metrics"][expected])


@pytest.mark.parametrize("config", shipped_configs())
def test_every_shipped_config_trains(config):
    assert run(f"fit --config {config} --trainer.max_epochs 2 --out run") == 0
    assert result("run")["status"] == "done"


def test_the_command_line_wins_over_files_and_later_files_over_earlier():
    Path("a.yaml").write_text("model: {name: mlp, hidden_dims: [8], lr: 1e-2}\ndata: iris\n")
    Path("b.yaml").write_text("model: {name: mlp, lr: 0.5}\ntrainer: {max_epochs: 1}\n")
    assert run("fit --config a.yaml --config b.yaml --model.lr 0.25 --out run") == 0
    model = yaml.safe_load(Path("run/config.yaml").read_text())["model"]
    assert (model["hidden_dims"], model["lr"]) == ([8], 0.25)


def test_another_model_on_the_command_line_drops_the_files_hyperparameters():
    Path("a.yaml").write_text("model: {name: mlp, hidden_dims: [8]}\ndata: iris\n")
    assert run("fit --config a.yaml --model perceptron --trainer.max_epochs 1 --out run") == 0
    assert "hidden_dims" not in yaml.safe_load(Path("run/config.yaml").read_text())["model"]


def test_a_runs_config_gives_the_same_metrics_again(trained):
    assert run(f"fit --config {trained}/config.yaml --out again") == 0
    assert result("again")["metrics"] == result(str(trained))["metrics"]
    assert Path("again/config.yaml").read_bytes() == (trained / "config.yaml").read_bytes()
    assert Path("again/metrics.csv").read_bytes() == (trained / "metrics.csv").read_bytes()


def test_runs_without_out_number_themselves():
    for _ in range(2):
        assert run("fit --model perceptron --data iris --trainer.max_epochs 1") == 0
    assert sorted(path.name for path in Path("runs").iterdir()) == ["perceptron-iris-1", "perceptron-iris-2"]


def test_a_second_run_is_refused_and_overwrite_replaces(capsys):
    assert run("fit --model perceptron --data iris --trainer.max_epochs 1 --out run") == 0
    before = {path.name: path.read_bytes() for path in Path("run").iterdir()}
    assert run("fit --model mlp --data iris --trainer.max_epochs 1 --out run") == 2
    assert "--overwrite" in capsys.readouterr().err
    # Refused while overwriting: the old run stays.
    assert run("fit --model mlp --data iris --model.dropout 2 --out run --overwrite") == 2
    assert {path.name: path.read_bytes() for path in Path("run").iterdir()} == before
    Path("run/notes.txt").write_text("mine")
    assert run("fit --model mlp --data iris --trainer.max_epochs 1 --out run --overwrite") == 0
    assert {path.name for path in Path("run").iterdir()} == FILES | {"notes.txt"}
    assert yaml.safe_load(Path("run/config.yaml").read_text())["model"]["name"] == "mlp"
    assert [path.name for path in Path().iterdir()] == ["run"]


def test_safety_nets_can_be_changed_and_turned_off():
    command = "fit --model mlp --data digits --trainer.max_epochs 4"
    assert (
        run(f"{command} --callbacks.early_stopping.patience 3 --callbacks.early_stopping.monitor val/auroc --out a")
        == 0
    )
    options = yaml.safe_load(Path("a/config.yaml").read_text())["callbacks"]["early_stopping"]
    assert options == {"monitor": "val/auroc", "patience": 3, "min_delta": 0.0}
    off = " ".join(
        f"--callbacks.{name} {value}"
        for name, value in (
            ("early_stopping", "false"),
            ("model_checkpoint", "null"),
            ("learning_rate_monitor", "false"),
        )
    )
    assert run(f"{command} {off} --trainer.gradient_clip_val null --out b") == 0
    config = yaml.safe_load(Path("b/config.yaml").read_text())
    assert set(config["callbacks"].values()) == {None}
    assert config["trainer"]["gradient_clip_val"] is None
    assert {path.name for path in Path("b").iterdir()} == FILES - {"best.ckpt"}
    assert "lr" not in Path("b/metrics.csv").read_text().partition("\n")[0].split(",")


def test_test_and_validate_repeat_what_fit_measured(trained):
    from zoo.evaluate import evaluate

    fitted = result(str(trained))["metrics"]
    for verb, split in (("test", "test"), ("validate", "val")):
        measured = evaluate(str(trained / "best.ckpt"), {}, verb)
        # Lightning measures what a pack of one has trained, so the last bits may differ.
        own = {name: value for name, value in fitted.items() if name.startswith(split)}
        assert measured == pytest.approx(own, rel=1e-6)
        assert run(f"{verb} --ckpt_path {trained} --data digits") == 0


def test_predict_writes_a_csv_that_agrees_with_the_accuracy(trained, capsys):
    assert run(f"predict --ckpt_path {trained} --out predictions.csv") == 0
    with Path("predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    hits = sum(row["prediction"] == row["target"] for row in rows)
    assert hits / len(rows) == pytest.approx(result(str(trained))["metrics"]["test/accuracy"])
    assert sum(float(rows[0][f"p_{digit}"]) for digit in range(10)) == pytest.approx(1, abs=1e-5)
    assert f"{len(rows)} predictions" in capsys.readouterr().out


def test_predict_goes_beside_the_checkpoint_and_takes_rows_without_labels():
    lines = [f"{i % 7},{i % 5},{'hot' if i % 7 > 3 else 'cold'}" for i in range(100)]
    Path("train.csv").write_text("a,b,label\n" + "\n".join(dict.fromkeys(lines)) + "\n")
    Path("new.csv").write_text("b,a\n1,6\n2,0\n")
    csv_fit = (
        "fit --model mlp --data csv --data.path train.csv --data.target label --trainer.max_epochs 100 --model.lr 0.05"
    )
    assert run(f"{csv_fit} --out run") == 0
    assert run("predict --ckpt_path run --data csv --data.path new.csv") == 0
    with Path("run/predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["prediction"] for row in rows] == ["hot", "cold"]
    assert "target" not in rows[0]


def test_predictions_of_a_regression_are_in_the_targets_units():
    assert run("fit --model mlp --data diabetes --trainer.max_epochs 20 --out run") == 0
    assert run("predict --ckpt_path run") == 0
    with Path("run/predictions.csv").open() as file:
        rows = [(float(row["prediction"]), float(row["target"])) for row in csv.DictReader(file)]
    mae = sum(abs(prediction - target) for prediction, target in rows) / len(rows)
    assert mae == pytest.approx(result("run")["metrics"]["test/mae"], rel=1e-4)
    assert 25 <= min(target for _, target in rows) <= max(target for _, target in rows) <= 346


def test_a_run_that_diverges_says_so_and_exits_1(capsys):
    command = "fit --model mlp --data digits --model.optimizer sgd --model.lr 1e20 --trainer.gradient_clip_val null"
    assert run(f"{command} --out run") == 1
    assert "diverged" in capsys.readouterr().err
    assert result("run")["status"] == "diverged"
    assert result("run")["metrics"] == {}


@pytest.mark.parametrize("out", ["", " --out run"])
def test_ctrl_c_says_what_is_left_and_how_to_train_again(out, capsys):
    command = f"fit --model mlp --data digits --trainer.max_epochs 100000 --callbacks.early_stopping false{out}"
    folder = "run" if out else "runs/mlp-digits-1"

    def press() -> None:
        while not Path(folder, "config.yaml").exists():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a runner of tests may ignore it
    try:
        presser = threading.Thread(target=press, daemon=True)
        presser.start()
        assert run(command) == 130
        presser.join()
    finally:
        signal.signal(signal.SIGINT, before)
    first, second = capsys.readouterr().err.splitlines()
    assert first == "zoo fit: stopping ... (press Ctrl-C again to exit immediately)"
    assert "the run is not complete. Its files config.yaml" in second
    assert f" are in {folder}. To train again" in second
    assert second.endswith(f"To train again from the start: zoo {command}{' --overwrite' if out else ''}")


def test_list_names_models_data_sets_and_configs(capsys):
    assert run("list") == 0
    out = capsys.readouterr().out
    for name in (*zoo.list_models(), *datamodules.list_datamodules(), "fraud_mlp"):
        assert f"  {name} " in out
    assert run("list '*mlp*'") == 0
    assert "lenet5" not in capsys.readouterr().out


def test_help_explains_every_option_of_the_model_and_data_named(capsys):
    for argv in (["--help"], []):
        assert main(argv) == 0
        assert "predict" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        run("fit --model cnn --data csv --help")
    assert stop.value.code == 0
    out = capsys.readouterr().out
    for option in ("--model.channels", "--model.weight_decay", "--data.target", "--trainer.max_epochs", "--overwrite"):
        assert option in out
    assert "Output channels of each convolutional block." in " ".join(out.split())
    assert "Evaluates the restored model on the training split (train_eval/...)" in " ".join(out.split())


def test_help_starts_with_the_model_and_ends_with_lightnings_flags_on_a_line_each(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "90")
    for command, first in (("fit --model mlp --data digits", "--model NAME"), ("test --data digits", "--data NAME")):
        with pytest.raises(SystemExit):
            run(f"{command} --help")
        lines = capsys.readouterr().out.splitlines()
        options = [line.split(",")[0].strip() for line in lines if line.startswith("  -")]
        assert options[0] == first
        flags = next(i for i, line in enumerate(lines) if line.startswith("trainer: Lightning's flags"))
        assert len(lines) - flags > 10
        assert all(re.match(r"  --trainer\.\w+ \S+ +\S", line) and len(line) <= 90 for line in lines[flags + 1 :])
        options = [option for option in options if not option.startswith("--trainer.logger")]
        sections = [option.lstrip("-").partition(".")[0].split()[0] for option in options]
        order = [name for name in dict.fromkeys(sections) if name in ("model", "data", "callbacks", "trainer")]
        assert order == [name for name in ("model", "data", "callbacks", "trainer") if name in order]


def test_an_option_of_a_callback_leaves_the_files_others_alone():
    Path("c.yaml").write_text("model: perceptron\ndata: iris\ncallbacks: {early_stopping: {patience: 3}}\n")
    command = "fit --config c.yaml --callbacks.early_stopping.monitor val/accuracy --trainer.max_epochs 1 --out run"
    assert run(command) == 0
    options = yaml.safe_load(Path("run/config.yaml").read_text())["callbacks"]["early_stopping"]
    assert options == {"monitor": "val/accuracy", "patience": 3, "min_delta": 0.0}


def test_a_run_that_diverges_replaces_none(capsys):
    command = "fit --model mlp --data iris --model.optimizer sgd --trainer.max_epochs 2 --out run --overwrite"
    assert run(command) == 0
    before = {path.name: path.read_bytes() for path in Path("run").iterdir()}
    assert run(f"{command} --model.lr 1e30 --trainer.gradient_clip_val null") == 1
    assert {path.name: path.read_bytes() for path in Path("run").iterdir()} == before


def test_the_generalization_gap_is_asked_for_by_option_or_file_and_shown(capsys):
    Path("c.yaml").write_text("model: perceptron\ndata: iris\ncallbacks: {generalization_gap: true}\n")
    command = "--trainer.max_epochs 1 --out"
    assert run(f"fit --config c.yaml {command} file") == 0
    assert {"train_eval", "gap"} <= set(capsys.readouterr().out.split())
    assert run(f"fit --model perceptron --data iris --callbacks.generalization_gap true {command} option") == 0
    assert run(f"fit --config option/config.yaml {command} again") == 0
    metrics = [json.loads(Path(out, "result.json").read_text())["metrics"] for out in ("file", "option", "again")]
    assert metrics[0] == metrics[1] == metrics[2]
    assert {"gap/accuracy", "train_eval/loss"} <= metrics[0].keys()
    capsys.readouterr()
    assert run(f"fit --config option/config.yaml --callbacks.generalization_gap false {command} off") == 0
    assert not {"train_eval", "gap"} & set(capsys.readouterr().out.split())
    assert "generalization_gap" not in Path("off/config.yaml").read_text()
