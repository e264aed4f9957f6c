"""What a packed run leaves: checkpoint, curve, progress bar."""

import pytest
import torch

import zoo
from datamodules import create_datamodule
from tests.zoo.pack.pack_runs import config, rows_of
from zoo import train
from zoo.outputs.checkpoint import read_checkpoint
from zoo.pack import run


def test_a_checkpoint_of_a_packed_run_is_like_any_other(tmp_path):
    result = train.fit(config(2, {"norm": "batch"}), tmp_path)
    model = zoo.load(tmp_path)
    assert model.config["seed_everything"] == 2
    data = create_datamodule(**model.config["data"])
    x, y = data.arrays("test")
    with torch.no_grad():
        accuracy = (model(x).argmax(1) == y).float().mean()
    assert result.metrics["test/accuracy"] == pytest.approx(float(accuracy))
    assert type(model).load_from_checkpoint(tmp_path / "best.ckpt").hparams == model.hparams


def test_a_diverged_run_leaves_the_weights_of_its_best_epoch(tmp_path):
    over = {"trainer": {"max_epochs": 60, "gradient_clip_val": None}, "data": {"name": "diabetes"}}
    given = config(0, {"hidden_dims": [16], "optimizer": "sgd", "lr": 0.3, "schedule": "constant"}, **over)
    results = [train.fit(given, tmp_path / str(pack), pack=pack) for pack in (True, False)]
    assert {result.status for result in results} == {"diverged"}
    packed, alone = (read_checkpoint(tmp_path / str(pack)) for pack in (True, False))
    assert packed["epoch"] == alone["epoch"]
    assert packed["state_dict"].keys() == alone["state_dict"].keys()
    for name, weights in packed["state_dict"].items():
        assert weights.isfinite().all()
        assert torch.allclose(weights, alone["state_dict"][name], rtol=1e-3, atol=1e-4), name


def test_a_run_that_is_ended_leaves_its_best_epoch_so_far(tmp_path, monkeypatch):
    def end(bar, member):
        if len(member.course.rows) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(run, "SAVE_EVERY", -1)
    monkeypatch.setattr(run._Bar, "show", end)
    given = config(0, {"norm": "batch"})
    with pytest.raises(KeyboardInterrupt):
        train.fit(given, tmp_path)
    assert [row["epoch"] for row in rows_of(tmp_path)] == [0, 1]
    saved = read_checkpoint(tmp_path)
    assert saved["epoch"] in (0, 1)
    assert int(saved["state_dict"]["net.2.num_batches_tracked"]) == saved["global_step"] > 0
    assert not torch.equal(saved["state_dict"]["net.1.weight"], train.prepare(given)[0].state_dict()["net.1.weight"])


def test_no_bar_where_none_is_wanted(tmp_path, capsys):
    train.fit(config(trainer={"enable_progress_bar": False}), tmp_path / "off", progress=True)
    assert "epochs" not in capsys.readouterr().err
    train.fit(config(), tmp_path / "on", progress=True)
    assert "epochs" in capsys.readouterr().err
