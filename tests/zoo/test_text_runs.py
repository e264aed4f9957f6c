"""Runs on texts: from the command line, from a checkpoint on other files, and in a pack."""

import csv
import json
import shlex
from pathlib import Path

import pytest
import torch

from zoo.cli import main
from zoo.config import resolve
from zoo.train import Shared, fit, make_member

FIT = (
    "fit --model mlp --model.hidden_dims '[16]' --model.lr 0.02 --data text --data.path train.csv --data.text said "
    "--data.target kind --data.sep ';' --trainer.max_epochs 30 --out run"
)


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = [
        f"please bring the {'hammer' if i % 3 else 'apple'} number{i};{'tool' if i % 3 else 'fruit'}" for i in range(90)
    ]
    Path("train.csv").write_text("said;kind\n" + "\n".join(lines) + "\n")
    Path("new.csv").write_text("kind;said\nfruit;the apple\ntool;a hammer of gold\nfruit;Apple\n")
    Path("bare.csv").write_text("said\nan apple\nhammer\n")


def predictions(file):
    with Path(file).open() as opened:
        return list(csv.DictReader(opened))


def test_a_checkpoint_tests_and_predicts_its_own_file_and_others(capsys):
    assert main(shlex.split(FIT)) == 0
    metrics = json.loads(Path("run/result.json").read_text())["metrics"]
    assert metrics["test/accuracy"] == 1
    for verb in ("test", "validate"):
        assert main(shlex.split(f"{verb} --ckpt_path run")) == 0
    assert main(shlex.split("test --ckpt_path run --data.path new.csv")) == 0
    assert "1.0000" in capsys.readouterr().out
    assert main(shlex.split("predict --ckpt_path run --data.path new.csv --out new_out.csv")) == 0
    rows = predictions("new_out.csv")
    assert [row["prediction"] for row in rows] == [row["target"] for row in rows] == ["fruit", "tool", "fruit"]
    assert main(shlex.split("predict --ckpt_path run --data.path bare.csv")) == 0
    rows = predictions("run/predictions.csv")
    assert [row["prediction"] for row in rows] == ["fruit", "tool"]
    assert "target" not in rows[0]
    assert main(shlex.split("validate --ckpt_path run --data.path new.csv")) == 2
    assert "this data has no val split, only a test split" in capsys.readouterr().err


def test_a_checkpoint_of_a_named_corpus_reads_a_file_of_ones_own():
    fit_utterances = (
        "fit --model perceptron --data utterances --data.max_features 50 --trainer.max_epochs 1 --out named"
    )
    assert main(shlex.split(fit_utterances)) == 0
    Path("own.csv").write_text("what\nword1 word2\nnothing known\n")
    options = "--data text --data.path own.csv --data.text what --data.target topic"
    assert main(shlex.split(f"predict --ckpt_path named {options}")) == 0
    rows = predictions("named/predictions.csv")
    assert len(rows) == 2
    assert len([name for name in rows[0] if name.startswith("p_topic_")]) == 18


def test_members_of_a_pack_on_texts_come_out_as_alone(tmp_path):
    from zoo.pack.run import fit_members

    data = {"name": "text", "path": "train.csv", "text": "said", "target": "kind", "sep": ";", "max_features": 20}
    model = {"name": "mlp", "hidden_dims": [8], "norm": "batch"}
    configs = [
        resolve({"model": model, "data": data, "trainer": {"max_epochs": 3}, "seed_everything": n}) for n in (0, 1, 2)
    ]
    members = [make_member(config, Shared()) for config in configs]
    assert len({member.signature() for member in members}) == 1
    assert len({tuple(member.data.card()["vectorizer"]["vocabulary"]) for member in members}) == 3
    folders = [tmp_path / f"pack{n}" for n in range(3)]
    for folder in folders:
        folder.mkdir()
    together = fit_members(members, folders)
    alone = [fit(config, tmp_path / f"alone{n}") for n, config in enumerate(configs)]
    assert [result.metrics for result in together] == [result.metrics for result in alone]
    assert not torch.equal(members[0].data.arrays("train")[0], members[1].data.arrays("train")[0])
