"""What goes wrong with W&B once a run is trained changes nothing of the run; what is asked of it is what happens."""

import json
import os
import shlex
import tempfile
from pathlib import Path

import pytest
import yaml

from datamodules.errors import InputError
from zoo.cli import main
from zoo.tracking.options import WandbOptions
from zoo.tracking.session import Session

FIT = "fit --model mlp --data digits --model.hidden_dims [8] --data.train_size 200 --trainer.max_epochs 2"


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path, monkeypatch, no_wandb):
    monkeypatch.chdir(tmp_path)


def run(command: str) -> int:
    return main(shlex.split(command))


@pytest.mark.parametrize(
    ("at", "error", "words"),
    [
        ("teardown", SystemExit(1), "the wandb process ended with an error (SystemExit: 1)"),
        ("teardown", KeyboardInterrupt(), "W&B: interrupted. To upload"),
        ("finish", KeyboardInterrupt(), "the upload was interrupted. To upload it later: wandb sync"),
        ("finish", RuntimeError("no such mailbox"), "was not written: no such mailbox"),
    ],
    ids=["its process exits", "Ctrl-C at its end", "Ctrl-C at an upload", "an odd exception"],
)
def test_a_run_that_is_trained_is_kept_whatever_happens_to_wandb(at, error, words, monkeypatch, capfd):
    import wandb

    assert run(f"{FIT} --out a") == 0
    before, ended, teardown = Path("a/best.ckpt").read_bytes(), [], wandb.teardown

    def finish(*args, **options):
        ended.append(True)
        if at == "finish":
            raise error

    def tear_down():
        teardown()
        if at == "teardown" and ended:
            raise error

    monkeypatch.setattr(wandb.Run, "finish", finish)
    monkeypatch.setattr(wandb, "teardown", tear_down)
    assert run(f"{FIT} --out a --overwrite --seed_everything 7 --wandb") == 0
    assert ended
    assert words in capfd.readouterr().err
    assert yaml.safe_load(Path("a/config.yaml").read_text())["seed_everything"] == 7
    assert json.loads(Path("a/result.json").read_text())["status"] == "done"
    assert Path("a/best.ckpt").read_bytes() != before


class Watcher:
    """Notes what it is told, and raises at one point."""

    def __init__(self, name: str, raises_at: str = "") -> None:
        self.name, self.raises_at, self.told = name, raises_at, []

    def _note(self, what: str) -> None:
        self.told.append(what)
        if what == self.raises_at:
            raise ConnectionError("gone")

    def begin(self, config):
        self._note("begin")

    def epoch(self, row):
        self._note("epoch")

    def end(self, result, model, data, folder):
        self._note("end")

    def fail(self):
        self._note("fail")


def test_one_watcher_in_trouble_is_said_once_and_keeps_nothing_from_the_others(capfd):
    from zoo.train import fit

    config = {"model": {"name": "mlp", "hidden_dims": [8]}, "data": {"name": "iris"}, "trainer": {"max_epochs": 2}}
    early, late, well = Watcher("Early", "epoch"), Watcher("Late", "end"), Watcher("Well")
    assert fit(config, "a", watchers=[early, late, well]).status == "done"
    assert early.told == ["begin", "epoch", "end"], "it is closed, and told no more epochs"
    assert late.told == well.told == ["begin", "epoch", "epoch", "end"]
    err = capfd.readouterr().err
    assert err.count("Early stopped logging this run (ConnectionError: gone)") == 1
    assert err.count("Late stopped logging this run") == 1
    unable, well = Watcher("Unable", "begin"), Watcher("Well", "fail")
    with pytest.raises(InputError, match="Unable cannot start: ConnectionError: gone"):
        fit(config, "b", watchers=[well, unable])
    assert well.told == ["begin", "fail"]
    assert not Path("b").exists()


def test_a_run_of_another_precision_has_its_pictures(wandb_runs, capfd):
    assert run(f"{FIT} --trainer.precision 64-true --out a --wandb") == 0
    assert "pictures of mistakes" not in capfd.readouterr().err
    (shown,) = wandb_runs(".").values()
    assert "val/confusion_matrix_table.path" in shown.history[-1]
    metrics = json.loads(Path("a/result.json").read_text())["metrics"]
    assert {name: shown.summary[name] for name in metrics} == metrics


def test_pictures_that_cannot_be_made_cost_nothing_else(wandb_runs, monkeypatch, capfd):
    import zoo.tracking.watchers

    def fail(model, data):
        raise RuntimeError("cannot draw")

    monkeypatch.setattr(zoo.tracking.watchers, "pictures", fail)
    assert run(f"{FIT} --out a --wandb --wandb.log_model true") == 0
    assert "W&B: the pictures of mistakes could not be created (RuntimeError: cannot draw)." in capfd.readouterr().err
    ((run_id, shown),) = wandb_runs(".").items()
    assert shown.summary["status"] == "done"
    assert shown.artifacts[f"model-{run_id}"] == ["best.ckpt"]
    assert shown.exit_code == 0


def test_a_mode_that_is_said_beats_the_one_of_the_environment(wandb_server, monkeypatch, tmp_path):
    said = []
    monkeypatch.setenv("WANDB_MODE", "offline")
    with Session(WandbOptions(), said.append) as session:
        assert not session.online
    with Session(WandbOptions(mode="online"), said.append) as session:
        assert session.online
    monkeypatch.delenv("WANDB_MODE")
    settings = Path(os.environ["WANDB_CONFIG_DIR"]) / "settings"  # as `wandb offline` leaves it
    settings.parent.mkdir()
    settings.write_text("[default]\nmode = offline\n")
    with Session(WandbOptions(), said.append) as session:
        assert not session.online
    with Session(WandbOptions(mode="online"), said.append) as session:
        assert session.online
    assert said == [], "nothing is said of keys that nobody lacks"
    settings.write_text("[default]\nmode = disabled\n")
    with Session(WandbOptions(), said.append) as session:
        assert not session.online
    assert "`wandb enabled`" in said[0]


@pytest.mark.parametrize(("name", "value"), [("WANDB_MODE", "sometimes"), ("WANDB_BASE_URL", "nowhere")])
def test_a_setting_that_wandb_does_not_know_is_a_sentence(name, value, monkeypatch, capfd):
    monkeypatch.setenv(name, value)
    assert run(f"{FIT} --out a --wandb") == 2
    err = capfd.readouterr().err
    assert "W&B cannot be set up" in err
    assert value in err
    assert not Path("a").exists()


def test_a_folder_that_cannot_be_written_is_refused_and_no_other_is_taken(monkeypatch, capfd, tmp_path):
    locked, temporary, access = tmp_path / "locked", tmp_path / "temporary", os.access
    temporary.mkdir()
    monkeypatch.setenv("WANDB_DIR", str(locked))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    # Root may write anywhere, so the system's answer is made up.
    monkeypatch.setattr(os, "access", lambda path, mode, **how: Path(path) != locked and access(path, mode, **how))
    assert run(f"{FIT} --out a --wandb") == 2
    assert f"cannot write to {locked}/wandb: Permission denied" in capfd.readouterr().err
    assert not (temporary / "wandb").exists()
