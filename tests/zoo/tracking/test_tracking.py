"""One run in Weights & Biases and by other loggers: what is shown is read back, from files and from a server's side."""

import collections
import csv
import json
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import zoo.tracking.session
from zoo.cli import main
from zoo.config import resolve

PACKED = "fit --model mlp --data digits --model.hidden_dims [16] --trainer.max_epochs 3 --callbacks.gradient_flow true"
LIGHTNING = "fit --model cnn --data digits --data.train_size 200 --trainer.max_epochs 2 --callbacks.gradient_flow true"


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path, monkeypatch, no_wandb):
    monkeypatch.chdir(tmp_path)


def run(command: str) -> int:
    return main(shlex.split(command))


def rows_of(folder: str) -> list[dict[str, float]]:
    with Path(folder, "metrics.csv").open() as file:
        return [{name: float(cell) for name, cell in row.items() if cell} for row in csv.DictReader(file)]


def curves(rows: list[dict]) -> list[dict[str, float]]:
    """The rows of a history as `metrics.csv` has them: without W&B's own columns, pictures and histograms."""
    kept = [{k: v for k, v in row.items() if not k.startswith("_") and "by_layer" not in k} for row in rows]
    return [{"step" if k == "trainer/global_step" else k: v for k, v in row.items()} for row in kept if "lr" in row]


@pytest.mark.parametrize(("command", "packed"), [(PACKED, True), (LIGHTNING, False)])
def test_a_run_is_shown_whole_and_is_the_run_that_it_is_without(command, packed, wandb_runs, capfd):
    options = "--wandb --wandb.project mine --wandb.tags a,b --wandb.log_model true --wandb.group g"
    assert run(f"{command} --out shown {options}") == 0
    err = capfd.readouterr().err
    assert "W&B is offline: there is no API key" in err
    assert "wandb sync" in err
    assert run(f"{command} --out plain") == 0
    assert "W&B" not in capfd.readouterr().err
    for file in ("config.yaml", "metrics.csv"):
        assert Path("shown", file).read_bytes() == Path("plain", file).read_bytes()
    result, other = (json.loads(Path(folder, "result.json").read_text()) for folder in ("shown", "plain"))
    assert result["metrics"] == other["metrics"]
    assert (result["environment"]["pack_size"] == 1) is packed

    ((run_id, shown),) = wandb_runs(".").items()
    config = yaml.safe_load(Path("shown/config.yaml").read_text())
    names = (config["model"]["name"], config["data"]["name"])
    assert (shown.run.project, shown.run.run_group, shown.run.job_type) == ("mine", "g", "fit")
    assert list(shown.run.tags) == [*names, "a", "b"]
    assert shown.run.display_name == "-".join(names)
    assert resolve({section: shown.config[section] for section in config}) == config
    assert shown.config.keys() - config.keys() == {"environment", "sizes", "_wandb"}
    assert shown.config["environment"] == result["environment"]
    assert shown.exit_code == 0
    # Curves as metrics.csv has them, over epochs.
    assert curves(shown.history) == rows_of("shown")
    assert shown.metrics["*"].step_metric == "epoch"
    assert shown.metrics["val/loss"].summary.none
    # The summary is the result's: of the best epoch, not of the last.
    assert {name: shown.summary[name] for name in result["metrics"]} == result["metrics"]
    assert (shown.summary["status"], shown.summary["best_epoch"]) == ("done", result["best_epoch"])
    for row, there in zip(rows_of("shown"), shown.history, strict=False):
        norms = [row[f"gradient_norm/layer_{n}"] for n in range(1, 1 + sum("gradient_norm/layer" in k for k in row))]
        assert there["gradient_norm/by_layer.values"] == norms
        assert there["gradient_norm/by_layer.bins"] == [n + 0.5 for n in range(len(norms) + 1)]
    assert shown.artifacts[f"model-{run_id}"] == ["best.ckpt"]


def test_a_confusion_matrix_counts_validation_and_the_worst_mistakes_come_first(wandb_runs):
    import torch
    from PIL import Image

    import zoo
    from datamodules import create_datamodule

    assert run(f"{PACKED} --out shown --wandb") == 0
    (shown,) = wandb_runs(".").values()
    model = zoo.load("shown")
    data = create_datamodule(**model.config["data"])
    data.setup()
    x, y = data.arrays("val")
    with torch.no_grad():
        p = model(x).softmax(1)
    predicted = p.argmax(1)
    last = shown.history[-1]
    media = {k.rpartition(".")[2]: v for k, v in last.items() if k.startswith("val/confusion_matrix_table.")}
    table = json.loads(shown.media(media))
    assert table["columns"] == ["Actual", "Predicted", "nPredictions"]
    counted = collections.Counter(zip(y.tolist(), predicted.tolist(), strict=True))
    assert {(int(a), int(b)): n for a, b, n in table["data"] if n} == counted
    assert len(table["data"]) == 100
    own = p.gather(1, y.unsqueeze(1)).squeeze(1)
    wrong = [i for i in own.argsort(stable=True).tolist() if predicted[i] != y[i]][:25]
    captions = [f"{y[i]}, predicted {predicted[i]} (p = {p[i, predicted[i]]:.2f})" for i in wrong]
    assert last["val/worst_mistakes.captions"] == captions
    first = shown.path.parent / "files" / last["val/worst_mistakes.filenames"][0]
    with Image.open(first) as image:
        assert image.size == (96, 96)
        grey = torch.tensor(list(image.getdata())).reshape(96, 96)[::12, ::12]
    pixels = x[wrong[0], 0]
    expected = (pixels - pixels.min()) / (pixels.max() - pixels.min()) * 255
    assert (grey - expected).abs().max() <= 1.5


def test_a_regression_has_no_matrix_and_a_run_that_diverges_has_failed(wandb_runs):
    assert run("fit --model mlp --data diabetes --trainer.max_epochs 1 --out a --wandb") == 0
    (shown,) = wandb_runs(".").values()
    assert [row for row in shown.history if "lr" not in row] == []
    command = "fit --model mlp --data diabetes --model.optimizer sgd --model.lr 1e6 --trainer.max_epochs 3 --out b"
    assert run(f"{command} --trainer.gradient_clip_val null --wandb.name bad") == 1
    (bad,) = (one for one in wandb_runs(".").values() if one.run.display_name == "bad")
    assert bad.exit_code == 1
    assert bad.summary["status"] == "diverged"
    assert "not finite" in bad.summary["reason"]
    assert not any(name.startswith("test/") for name in bad.summary)


def test_an_interrupted_run_ends_as_failed(wandb_runs, monkeypatch):
    import zoo.train

    def interrupt(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(zoo.train, "fit_members", interrupt)
    assert run(f"{PACKED} --out a --wandb") == 130
    (shown,) = wandb_runs(".").values()
    assert shown.exit_code == 1


def test_several_processes_make_one_run(wandb_runs):
    flags = "--trainer.accelerator cpu --trainer.devices 2 --trainer.strategy ddp_fork"
    assert run(f"fit --model mlp --data digits --trainer.max_epochs 2 {flags} --wandb --out a") == 0
    (shown,) = wandb_runs(".").values()
    assert curves(shown.history) == rows_of("a")
    assert any("val/confusion_matrix_table.path" in row for row in shown.history)
    assert shown.exit_code == 0


@pytest.mark.slow
def test_several_processes_that_lightning_starts_make_one_run(wandb_runs):
    flags = "--trainer.accelerator cpu --trainer.devices 2 --trainer.strategy ddp --trainer.max_epochs 2"
    command = f"{sys.executable} -m zoo.cli fit --model mlp --data digits {flags} --wandb --out a"
    subprocess.run(shlex.split(command), check=True, timeout=300)
    (shown,) = wandb_runs(".").values()
    assert curves(shown.history) == rows_of("a")
    assert shown.exit_code == 0


def test_other_loggers_of_lightning_see_the_same(capfd):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for name, command in (("packed", PACKED), ("lightning", LIGHTNING)):
        logger = f"--trainer.logger TensorBoardLogger --trainer.logger.save_dir logs --trainer.logger.name {name}"
        assert run(f"{command} --out {name} {logger}") == 0
        events = EventAccumulator(f"logs/{name}/version_0").Reload()
        for column in ("val/loss", "train/accuracy", "gradient_norm/layer_1"):
            seen = [(event.step, event.value) for event in events.Scalars(column)]
            assert seen == [(row["step"], pytest.approx(row[column], rel=1e-6)) for row in rows_of(name)]
        test = json.loads(Path(name, "result.json").read_text())["metrics"]["test/accuracy"]
        assert [event.value for event in events.Scalars("test/accuracy")] == [pytest.approx(test, rel=1e-6)]
        hparams = yaml.safe_load(Path(f"logs/{name}/version_0/hparams.yaml").read_text())
        assert hparams == yaml.safe_load(Path(name, "config.yaml").read_text())
        assert "logger" not in hparams["trainer"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            "--wandb.project a/b",
            "the name of a W&B project must have 1 to 128 characters and none of / \\ # ? % :, got 'a/b'",
        ),
        (f"--wandb.project {'x' * 129}", "must have 1 to 128 characters"),
        ("--wandb.projct x", "Did you mean '--wandb.project'?"),
        ("--wandb.mode sometimes", "invalid choice: 'sometimes'"),
        (f"--wandb.tags {'x' * 65}", "1 to 64 characters"),
        ("--wandb.log_model maybe", "invalid choice: 'maybe'"),
        ("--trainer.logger WandbLogger", "is not supported; use --wandb instead"),
        ("--trainer.logger Tensorboard", "Did you mean 'TensorBoardLogger'?"),
        ("--trainer.logger TensorBoardLogger", "--trainer.logger TensorBoardLogger: "),
        ("--trainer.logger CSVLogger --trainer.logger.save_dir x --trainer.logger.foo 1", "'foo' is not accepted"),
        ("--trainer.logger.save_dir x", "the options of a logger need its class; pass --trainer.logger CLASS"),
        ("--trainer.logger", "--trainer.logger needs a value"),
    ],
)
def test_bad_input_is_a_sentence_and_leaves_nothing(options, words, capfd):
    assert run(f"{PACKED} --out a {options}") == 2
    assert words in capfd.readouterr().err
    assert not list(Path().iterdir())


def test_another_verb_does_not_know_wandb(capfd):
    assert run("doctor --model mlp --data digits --wandb") == 2
    assert "unknown option '--wandb'" in capfd.readouterr().err


def test_without_the_package_it_says_how_to_get_it(monkeypatch, capfd):
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert run(f"{PACKED} --out a --wandb") == 2
    assert 'pip install "wandb' in capfd.readouterr().err
    assert not list(Path().iterdir())


# --- with a server ----------------------------------------------------------------------------------------------------


def test_online_the_server_gets_what_a_file_would_hold(wandb_server, capfd):
    assert run(f"{PACKED} --out a --wandb.log_model true") == 0
    ((run_id, held),) = wandb_server.runs.items()
    assert f"{wandb_server.url}/tester/ablation-zoo/runs/{run_id}" in capfd.readouterr().err
    assert curves(wandb_server.history(run_id)) == rows_of("a")
    config = yaml.safe_load(Path("a/config.yaml").read_text())
    assert resolve({section: wandb_server.config(run_id)[section] for section in config}) == config
    assert (held["jobType"], held["tags"], held["exitcode"], held["complete"]) == ("fit", ["mlp", "digits"], 0, True)
    assert [a["artifactTypeName"] for a in wandb_server.artifacts].count("model") == 1
    (number,) = (n for n, a in enumerate(wandb_server.artifacts, 1) if a["artifactTypeName"] == "model")
    assert wandb_server.uploads[f"/artifact/{number}/best.ckpt"] == Path("a/best.ckpt").read_bytes()
    summary = json.loads(wandb_server.uploads[f"/{run_id}/wandb-summary.json"])
    metrics = json.loads(Path("a/result.json").read_text())["metrics"]
    assert {name: summary[name] for name in metrics} == metrics
    assert "val/confusion_matrix_table" in summary, "the chart finds its table through the summary"


@pytest.mark.parametrize(
    ("key", "project", "words"),
    [
        ("w" * 40, "mine", "rejected the W&B API key: "),
        ("short", "mine", "the W&B API key is malformed: WANDB_API_KEY invalid"),
        (
            "k" * 40,
            "forbidden",
            "W&B rejected the run in project 'forbidden' of the API key's owner: permission denied",
        ),
    ],
)
def test_what_the_server_refuses_is_said_before_anything_is_trained(
    key, project, words, wandb_server, monkeypatch, capfd
):
    monkeypatch.setenv("WANDB_API_KEY", key)
    assert run(f"{PACKED} --out a --wandb.project {project}") == 2
    err = capfd.readouterr().err
    assert words in err
    assert key not in err
    assert not Path("a").exists()


@pytest.mark.parametrize("silent", [False, True])
def test_without_a_network_the_run_is_kept_on_disk(silent, monkeypatch, wandb_runs, capfd):
    monkeypatch.setattr(zoo.tracking.session, "WAIT", 4)
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        if silent:
            door.listen()  # it lets in, and never answers
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{door.getsockname()[1]}")
        monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
        monkeypatch.setenv("WANDB_HTTP_TIMEOUT", "2")
        assert run(f"{PACKED} --out a --wandb") == 0
    err = capfd.readouterr().err
    assert "does not respond" in err
    assert "wandb sync" in err
    (shown,) = wandb_runs(".").values()
    assert curves(shown.history) == rows_of("a")
    assert shown.exit_code == 0


def test_a_server_that_falls_silent_leaves_the_run_alone(wandb_server, monkeypatch, capfd):
    monkeypatch.setattr(zoo.tracking.session, "UPLOAD", 2)
    wandb_server.dies_after = 0  # it answers until there is a run
    monkeypatch.setattr(zoo.tracking.session, "WAIT", 4)
    assert run(f"{PACKED} --out a --wandb") == 0
    assert "wandb sync" in capfd.readouterr().err
    assert len(rows_of("a")) == 3
