"""A study of texts: packed, keyed by content, and not by where its files lie."""

from pathlib import Path

import pytest

from benchmarks.running.plan import trial_key
from benchmarks.study.file import load_study
from benchmarks.tasks import find_task
from benchmarks.tasks.fit_check import check_study

STUDY = """# Which activation on texts?
#
#     bench run texts.yaml
base:
  model: {name: mlp, hidden_dims: [8]}
  data: {name: text, path: PATH, test_path: TEST, text: said, target: kind, sep: ;}
  trainer: {max_epochs: 2}
vary:
  model.activation: [relu, tanh]
seeds: 2
baseline: {model.activation: relu}
metric: test/accuracy
"""


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = [f"bring the {'hammer' if i % 3 else 'apple'} number{i};{'tool' if i % 3 else 'fruit'}" for i in range(60)]
    for name, rows in (("a", lines[:50]), ("moved", lines[:50]), ("test", lines[50:]), ("other", lines[51:])):
        Path(f"{name}.csv").write_text("said;kind\n" + "\n".join(rows) + "\n")


def check(path, test_path):
    Path("texts.yaml").write_text(STUDY.replace("PATH", path).replace("TEST", test_path))
    return check_study(load_study("texts.yaml"))


def keys(checked):
    return [trial_key("fit", c, i, 0) for c, i in zip(checked.configs, checked.identities, strict=True)]


def test_variants_on_texts_share_a_pack():
    one, other = check("a.csv", "test.csv").packings
    assert one.alone == ""
    assert one.largest > 10
    assert one == other


def test_keys_follow_the_content_of_both_files_and_not_their_place():
    first = keys(check("a.csv", "test.csv"))
    assert len(set(first)) == 2
    assert keys(check("moved.csv", "test.csv")) == first
    assert not set(keys(check("a.csv", "other.csv"))) & set(first)
    assert not set(keys(check("test.csv", "a.csv"))) & set(first)
    config = {"data": {"name": "text", "path": "a", "test_path": "b", "root": None, "text": "t"}}
    assert find_task("fit").without_locations(config) == {"data": {"name": "text", "text": "t"}}
