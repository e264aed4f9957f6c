"""A run among several processes gives the numbers of one: real processes over gloo, forked to spare the imports."""

import json
import multiprocessing
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import zoo
from zoo.cli import main
from zoo.models.base import ZooModule

FILES = {"config.yaml", "best.ckpt", "metrics.csv", "result.json"}
# No dropout and no batch norm, so that nothing but rounding may differ. In most, the last batch is partial.
PLAIN = "--model mlp --model.hidden_dims [16,16] --model.dropout 0 --trainer.max_epochs 6 "
RUNS = {
    "classes, an even last batch": (2, PLAIN + "--data iris --data.batch_size 20 --data.train_size 94"),
    # 14 rows are left, of which a rank has 5, 5 and 4.
    "class weights and smoothing": (
        3,
        PLAIN + "--data wine --data.batch_size 33 --data.train_size 113 --model.class_weights [1,0,30] "
        "--model.label_smoothing 0.1 --model.lr 0.02 --model.weight_decay 0.1",
    ),
    "balanced weights, a schedule by steps": (
        2,
        PLAIN + "--data wine --data.batch_size 16 --data.train_size 97 --model.class_weights balanced "
        "--model.schedule warmup_cosine --model.lr 0.02",
    ),
    # Two rows are left, so that the third rank has none.
    "regression, an empty share": (
        3,
        PLAIN + "--data diabetes --data.batch_size 30 --data.train_size 212 --model.lr 0.02 "
        "--trainer.accumulate_grad_batches 2",
    ),
    "early stopping": (
        2,
        "--model mlp --data wine --data.batch_size 16 --model.dropout 0 --model.lr 0.05 --trainer.max_epochs 60 "
        "--callbacks.early_stopping.patience 3 --callbacks.generalization_gap true",
    ),
    "images": (2, "--model cnn --data digits --data.batch_size 30 --data.train_size 101 --trainer.max_epochs 2"),
}


@pytest.fixture(autouse=True)
def no_hanging(monkeypatch):
    """Ranks that wait for each other for ever fail the test; Lightning leaves its port behind."""

    def give_up(*_):
        for process in multiprocessing.active_children():
            process.kill()
        raise TimeoutError("the ranks wait for each other")

    monkeypatch.setenv("MASTER_PORT", "0")
    monkeypatch.delenv("MASTER_PORT")
    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(120)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def fit(out: Path, arguments: str, processes: int = 1, strategy: str = "ddp_fork") -> int:
    """The status of `zoo fit`, among processes or by Lightning in this one."""
    how = f"--trainer.devices {processes} --trainer.strategy {strategy}" if processes > 1 else "--trainer.strategy auto"
    alone = ["--trainer.log_every_n_steps", "2"] if processes == 1 else []  # in no pack
    options = f"fit --trainer.accelerator cpu {how} {arguments}".split()
    return main([*options, *alone, "--out", str(out)])


def result_of(out: Path) -> dict:
    return json.loads((out / "result.json").read_text())


def assert_equal_runs(one: Path, other: Path, rel: float = 1e-5) -> None:
    """Curves, final metrics and weights agree but for rounding."""
    curves = [pd.read_csv(out / "metrics.csv") for out in (one, other)]
    pd.testing.assert_frame_equal(*curves, rtol=rel, atol=1e-6)
    results = [result_of(out) for out in (one, other)]
    assert results[0]["best_epoch"] == results[1]["best_epoch"]
    assert results[0]["epochs_run"] == results[1]["epochs_run"]
    assert results[1]["metrics"] == pytest.approx(results[0]["metrics"], rel=rel, abs=1e-6)
    weights = [zoo.load(out).state_dict() for out in (one, other)]
    for name, weight in weights[0].items():
        torch.testing.assert_close(weights[1][name], weight, rtol=rel, atol=1e-6)


@pytest.mark.parametrize("case", RUNS)
def test_several_processes_give_the_numbers_of_one(tmp_path, capsys, case):
    processes, arguments = RUNS[case]
    one, several = tmp_path / "one", tmp_path / "several"
    assert fit(one, arguments) == 0
    capsys.readouterr()
    assert fit(several, arguments, processes) == 0
    said = capsys.readouterr()
    assert said.out.count("s; results in") == 1
    assert said.err == ""
    assert {path.name for path in several.iterdir()} == FILES
    assert result_of(one)["environment"]["pack_size"] is None
    assert result_of(several)["environment"]["world_size"] == processes
    assert_equal_runs(one, several)
    if case == "early stopping":
        assert 4 < result_of(one)["epochs_run"] < 60


@pytest.mark.slow
def test_processes_may_be_spawned(tmp_path, capsys):
    _, arguments = RUNS["classes, an even last batch"]
    assert fit(tmp_path / "forked", arguments, 2) == 0
    capsys.readouterr()
    assert fit(tmp_path / "spawned", arguments, 2, "ddp_spawn") == 0
    assert capsys.readouterr().out.count("s; results in") == 1
    assert {path.name for path in (tmp_path / "spawned").iterdir()} == FILES
    assert_equal_runs(tmp_path / "forked", tmp_path / "spawned", rel=1e-6)


def test_splits_smaller_than_the_number_of_ranks_are_measured_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    x = generator.normal(size=(12, 2)).round(3)
    rows = [f"{a},{b},{'yes' if i % 2 else 'no'}" for i, (a, b) in enumerate(x)]
    Path("few.csv").write_text("a,b,y\n" + "\n".join(rows) + "\n")
    few = PLAIN + (
        "--data csv --data.path few.csv --data.target y --data.batch_size 3 "
        "--callbacks.generalization_gap true --callbacks.rare_class true"
    )
    assert fit(Path("one"), few) == 0
    assert fit(Path("several"), few, 3) == 0
    assert_equal_runs(Path("one"), Path("several"))
    sizes = result_of(Path("several"))["sizes"]
    assert sizes["val"] == sizes["test"] == 2
    metrics = result_of(Path("several"))["metrics"]
    assert metrics["test/accuracy"] in (0, 0.5, 1)
    assert metrics["test/auroc"] in (0, 1)


def test_ranks_share_weights_and_order_but_not_dropout(tmp_path, monkeypatch):
    def started(self):
        self._n_ranks = self.trainer.world_size
        drawn = torch.nn.functional.dropout(torch.ones(64), 0.5).tolist() if self.trainer.training else []
        weights = {name: weight.tolist() for name, weight in self.state_dict().items()}
        rows = [y.tolist() for _, y in self.trainer.datamodule.train_dataloader()]
        whole = rows, len(self.trainer.datamodule.indices["train"])
        said = json.dumps({"drawn": drawn, "weights": weights, "rows": whole})
        (tmp_path / f"rank{self.trainer.global_rank}.json").write_text(said)

    def ended(self):
        (tmp_path / f"end{self.trainer.global_rank}.json").write_text(
            json.dumps({name: weight.tolist() for name, weight in self.state_dict().items()})
        )

    monkeypatch.setattr(ZooModule, "on_train_start", started)
    monkeypatch.setattr(ZooModule, "on_train_end", ended, raising=False)
    arguments = "--model mlp --data diabetes --data.batch_size 20 --model.dropout 0.5 --trainer.max_epochs 1"
    assert fit(tmp_path / "run", arguments, 2) == 0
    first, second = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in range(2))
    assert first["weights"] == second["weights"]
    assert 0 < sum(map(bool, first["drawn"])) < 64
    assert first["drawn"] != second["drawn"]
    (rows, n), (others, _) = first["rows"], second["rows"]
    assert len(rows) == len(others)
    assert sum(map(len, rows + others)) == n
    assert rows != others
    assert (tmp_path / "end0.json").read_text() == (tmp_path / "end1.json").read_text()


@pytest.mark.parametrize("where", ["on one rank, in the last step of an epoch", "everywhere"])
def test_a_run_that_diverges_stops_on_all_ranks(tmp_path, monkeypatch, capsys, where):
    arguments = PLAIN + "--data wine --data.batch_size 20 --data.train_size 60 "
    if where == "everywhere":
        arguments += "--model.optimizer sgd --model.lr 1e30 --trainer.gradient_clip_val null"
    else:
        share = ZooModule._share_of_loss

        def overflow(self, logits, y, batch_idx):
            loss, mean = share(self, logits, y, batch_idx)
            hit = self.trainer.global_rank == 1 and self.trainer.global_step == 5
            return loss, mean * torch.inf if hit else mean

        monkeypatch.setattr(ZooModule, "_share_of_loss", overflow)
    assert fit(tmp_path / "run", arguments, 2) == 1
    result = result_of(tmp_path / "run")
    assert result["status"] == "diverged"
    assert capsys.readouterr().err.count("diverged") == 1
    if where != "everywhere":
        assert result["reason"] == "the loss is not finite from step 5 on"
        assert result["epochs_run"] == 2


def test_what_lightning_refuses_only_in_a_worker_is_said_in_a_sentence(tmp_path, monkeypatch, capsys):
    from lightning.pytorch.utilities.exceptions import MisconfigurationException

    def refuse(self):
        raise MisconfigurationException("this cannot be clipped")

    monkeypatch.setattr(ZooModule, "on_train_start", refuse)
    assert fit(tmp_path / "run", PLAIN + "--data wine --data.batch_size 20", 2) == 2
    err = capsys.readouterr().err
    assert err.startswith("zoo fit: Lightning rejected the trainer's flags: ")
    assert "this cannot be clipped" in err
    assert "Traceback" not in err
    assert not (tmp_path / "run").exists()


def test_batch_norm_and_dropout_learn_as_well_among_two_processes(tmp_path):
    arguments = "--model robust_mlp --data digits --trainer.max_epochs 5"
    assert fit(tmp_path / "one", arguments) == 0
    assert fit(tmp_path / "two", arguments, 2) == 0
    one, two = (result_of(tmp_path / out)["metrics"]["test/accuracy"] for out in ("one", "two"))
    assert one > 0.9
    assert two == pytest.approx(one, abs=0.03)
