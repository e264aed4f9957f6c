"""A study of texts: packed, keyed by content, and verified wherever its files lie."""

import json
import shlex
from pathlib import Path

from benchmarks.cli import main
from benchmarks.verify import _keyed

STUDY = """# Which activation on texts?
#
#     bench run texts.yaml
base:
  model: {name: mlp, hidden_dims: [8]}
  data: {name: text, path: train.csv, text: said, target: kind, sep: ;}
  trainer: {max_epochs: 2}
vary:
  model.activation: [relu, tanh]
seeds: 2
baseline: {model.activation: relu}
metric: test/accuracy
"""


def test_a_study_of_texts_is_packed_and_verified_wherever_its_files_lie(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    lines = [f"bring the {'hammer' if i % 3 else 'apple'} number{i};{'tool' if i % 3 else 'fruit'}" for i in range(60)]
    Path("train.csv").write_text("said;kind\n" + "\n".join(lines) + "\n")
    Path("texts.yaml").write_text(STUDY)
    assert main(shlex.split("run texts.yaml --out runs --workers 1 --explain")) == 0
    assert "alone, since" not in capsys.readouterr().err
    records = [json.loads(file.read_text()) for file in Path("runs/texts/trials").glob("*/result.json")]
    assert len(records) == 4
    assert all(record["environment"]["pack_size"] >= 2 for record in records)
    assert main(shlex.split("verify runs/texts --trials 1 --workers 1")) == 0
    config = {"data": {"name": "text", "path": "a", "test_path": "b", "root": None, "text": "t"}}
    assert _keyed(config, "fit") == {"data": {"name": "text", "text": "t"}}
