"""A study finds its data next to its file, from any folder."""

from pathlib import Path

from benchmarks.cli import main
from benchmarks.study.file import FILES, load_study
from datamodules import DATAMODULES
from tests.small_files import write_small_files

STUDY = """\
# Does the width matter?
base:
  model: {name: perceptron}
  data: {name: csv, path: base.csv, target: label}
  trainer: {max_epochs: 1}
vary:
  model.lr: [0.01, 0.1]
baseline: {model.lr: 0.01}
metric: test/accuracy
seeds: 1
"""


def test_a_relative_path_counts_from_the_study_and_verification_works_from_anywhere(tmp_path, monkeypatch, capsys):
    (tmp_path / "studies").mkdir()
    (tmp_path / "elsewhere").mkdir()
    write_small_files(tmp_path / "studies")
    file = tmp_path / "studies" / "mine.yaml"
    file.write_text(STUDY)
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert load_study(str(file)).base["data"]["path"] == str(tmp_path / "studies" / "base.csv")
    assert load_study("../studies/mine.yaml").base["data"]["path"] == str(tmp_path / "studies" / "base.csv")
    assert main(["run", str(file), "--out", str(tmp_path / "runs"), "--workers", "1"]) == 0
    monkeypatch.chdir(tmp_path / "runs")
    assert main(["verify", "mine"]) == 0
    assert "agree" in capsys.readouterr().out


def test_groups_and_files_in_the_current_folder_and_below_the_data_root(tmp_path, monkeypatch):
    (tmp_path / "studies").mkdir()
    (tmp_path / "here").mkdir()
    write_small_files(tmp_path / "here")
    text = STUDY.replace("model.lr: [0.01, 0.1]", "file: {a: {data.path: base.csv}, b: {data.path: code.csv}}")
    (tmp_path / "studies" / "two.yaml").write_text(text.replace("{model.lr: 0.01}", "{file: a}"))
    monkeypatch.chdir(tmp_path / "here")
    study = load_study("../studies/two.yaml")
    assert study.vary["file"]["b"] == {"data.path": str(tmp_path / "here" / "code.csv")}
    assert [variant.name for variant in study.variants] == ["a", "b"]
    set_here = load_study("../studies/two.yaml", settings=["data.test_path=flag.csv"])
    assert set_here.base["data"]["test_path"] == str(tmp_path / "here" / "flag.csv")
    monkeypatch.chdir(tmp_path)
    assert load_study("studies/two.yaml").base["data"]["path"] == "base.csv"
    assert Path("studies/two.yaml").exists()


def test_the_files_of_a_study_are_those_of_all_data_sets():
    assert set(FILES) == {name for data in DATAMODULES.names() for name in DATAMODULES.load(data).paths}
