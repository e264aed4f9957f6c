"""`bench`, driven for real with real workers."""

import json
import math
import re
import shlex
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

from benchmarks.cli import main
from benchmarks.cli.verbs import VERBS
from benchmarks.report import DERIVED
from benchmarks.study.file import list_studies

STUDY = """\
# Does the activation matter in two epochs?
base:
  model: {name: mlp, hidden_dims: [16], dropout: 0.1}
  data: {name: digits}
  trainer: {max_epochs: 2}
vary:
  model.activation: [relu, tanh]
seeds: 2
baseline: {model.activation: relu}
metric: test/accuracy
"""
TIMINGS = ["train_seconds"]
PROMISED = "study,key,variant,seed,status,metric,value,best_epoch,epochs_run,train_seconds".split(",")


def run(command: str) -> int:
    return main(shlex.split(command))


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A small study, run once on two workers."""
    folder = tmp_path_factory.mktemp("bench")
    (folder / "small.yaml").write_text(STUDY)
    assert run(f"run {folder}/small.yaml --out {folder}/runs --workers 2") == 0
    return folder


def test_it_writes_what_it_promises(finished):
    study = finished / "runs/small"
    files = {"study.yaml", "plan.json", "trials", ".lock", ".report", *DERIVED, "curves.png", "curves.svg"}
    assert {path.name for path in study.iterdir()} == files
    trials = pd.read_csv(study / "trials.csv")
    assert set(PROMISED) | {"model.activation"} <= set(trials.columns)
    assert list(zip(trials["variant"], trials["seed"], strict=True)) == [
        ("relu", 0),
        ("relu", 1),
        ("tanh", 0),
        ("tanh", 1),
    ]
    assert (trials["status"] == "done").all()
    for key in trials["key"]:
        folder = study / "trials" / key
        assert {path.name for path in folder.iterdir()} == {"config.yaml", "result.json", "metrics.csv"}
        record = json.loads((folder / "result.json").read_text())
        assert record["environment"]["threads"] == 1
        assert record["environment"]["code_version"]
    assert yaml.safe_load((study / "study.yaml").read_text())["vary"] == {"model.activation": ["relu", "tanh"]}
    assert (study / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_the_table_is_what_the_trials_say(finished):
    study = finished / "runs/small"
    trials, table = pd.read_csv(study / "trials.csv"), pd.read_csv(study / "table.csv")
    for row in table.itertuples():
        values = trials.loc[trials["variant"] == row.variant, "value"]
        assert (row.n, row.n_failed) == (2, 0)
        assert row.mean == pytest.approx(values.mean())
        assert row.std == pytest.approx(abs(values.diff().iloc[-1]) / math.sqrt(2))
    assert "relu (baseline) | 2 | " in (study / "table.md").read_text()


def test_one_worker_gives_the_same_numbers_bit_for_bit(finished, tmp_path):
    assert run(f"run {finished}/small.yaml --out {tmp_path} --workers 1") == 0
    one, two = (pd.read_csv(folder / "small/trials.csv") for folder in (tmp_path, finished / "runs"))
    pd.testing.assert_frame_equal(one.drop(columns=TIMINGS), two.drop(columns=TIMINGS), check_exact=True)
    for key in one["key"]:
        curves = [
            (folder / "small/trials" / key / "metrics.csv").read_bytes() for folder in (tmp_path, finished / "runs")
        ]
        assert curves[0] == curves[1]


def test_a_cell_is_run_again_by_zoo_fit(finished, tmp_path):
    from zoo.cli import main as zoo

    key = pd.read_csv(finished / "runs/small/trials.csv")["key"][3]
    trial = finished / "runs/small/trials" / key
    assert zoo(["fit", "--config", str(trial / "config.yaml"), "--out", str(tmp_path / "again")]) == 0
    again = json.loads((tmp_path / "again/result.json").read_text())
    assert again["metrics"] == json.loads((trial / "result.json").read_text())["metrics"]


def test_a_finished_study_runs_nothing_again_and_more_seeds_run_only_those(finished, tmp_path, capsys):
    shutil.copytree(finished / "runs", tmp_path / "runs")
    records = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("result.json")}
    assert run(f"run {finished}/small.yaml --out {tmp_path}/runs") == 0
    assert "0 trials run" in capsys.readouterr().out
    assert run(f"run {finished}/small.yaml --out {tmp_path}/runs --seeds 3") == 0
    assert "2 trials run" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in records} == records
    assert len(list(tmp_path.rglob("result.json"))) == 6


def test_records_of_another_version_of_the_code_are_flagged(finished, tmp_path, capsys):
    shutil.copytree(finished / "runs", tmp_path / "runs")
    record = next(tmp_path.rglob("result.json"))
    other = json.loads(record.read_text())
    other["environment"]["code_version"] = "0123456789ab"
    del other["checksum"]
    record.write_text(json.dumps(other))
    assert run(f"run {finished}/small.yaml --out {tmp_path}/runs") == 0
    assert "1 of them were made by another version of the code" in capsys.readouterr().err


def test_old_records_take_the_names_of_today(finished, tmp_path):
    shutil.copytree(finished / "runs", tmp_path / "runs")
    wider = STUDY.replace("[relu, tanh]", "[relu, tanh]\n  model.lr: [0.001, 0.01]")
    wider = wider.replace("{model.activation: relu}", "{model.activation: relu, model.lr: 0.001}")
    (tmp_path / "small.yaml").write_text(wider)
    assert run(f"run {tmp_path}/small.yaml --out {tmp_path}/runs") == 0
    table = pd.read_csv(tmp_path / "runs/small/table.csv")
    assert table["n"].tolist() == [2, 2, 2, 2]
    assert table["variant"][0] == "activation=relu, lr=0.001"


def wild_study(trainer: str) -> str:
    """Two learning rates, the second so high that the loss overflows."""
    study = STUDY.replace("vary:\n  model.activation: [relu, tanh]", "vary:\n  model.lr: [0.1, 1.0e+30]")
    study = study.replace("model.activation: relu", "model.lr: 0.1").replace("dropout: 0.1", "optimizer: sgd")
    return study.replace("{max_epochs: 2}", f"{{max_epochs: 2, gradient_clip_val: null{trainer}}}")


def test_divergence_is_a_row(tmp_path):
    (tmp_path / "wild.yaml").write_text(wild_study(""))
    assert run(f"run {tmp_path}/wild.yaml --out {tmp_path} --workers 1") == 0, "divergence alone is no error"
    trials = pd.read_csv(tmp_path / "wild/trials.csv")
    wild = trials[trials["model.lr"] > 1]
    assert (wild["status"] == "diverged").all()
    assert wild["value"].isna().all()
    assert wild["reason"].str.contains("not finite from step").all()
    assert pd.read_csv(tmp_path / "wild/table.csv")["n_failed"].tolist() == [0, 2]


def test_a_trial_that_raises_is_a_row_with_its_reason(tmp_path, capsys):
    # Anomaly detection raises where the loss would merely diverge.
    (tmp_path / "wild.yaml").write_text(wild_study(", detect_anomaly: true"))
    assert run(f"run {tmp_path}/wild.yaml --out {tmp_path} --workers 1") == 1
    trials = pd.read_csv(tmp_path / "wild/trials.csv").set_index("model.lr")
    assert trials["status"].tolist() == ["done", "done", "failed", "failed"]
    assert trials.loc[1e30, "reason"].str.contains("RuntimeError: .*nan values").all()
    assert (tmp_path / "wild/trials" / trials.loc[1e30, "key"].iloc[0] / "traceback.txt").is_file()
    assert "1e+30, seed 0: failed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("[relu, tanh]", "[relu, tnah]"), "unknown activation 'tnah'. Did you mean 'tanh'"),
        (("dropout: 0.1", "dropout: 2"), "model.dropout must be in [0, 1)"),
        (("test/accuracy", "test/acuracy"), "unknown metric 'test/acuracy'. Did you mean 'test/accuracy'"),
        (("[relu, tanh]", "[relu, relu]"), "contains 'relu' twice"),
        (("seeds: 2", "seeds: 0"), "'seeds' must be an integer of at least 1"),
        (("vary:", "varry:"), "Did you mean 'vary'"),
        (("{name: digits}", "{name: digts}"), "Did you mean 'digits'"),
    ],
)
def test_a_study_that_cannot_run_is_refused_before_its_first_trial(tmp_path, capsys, change, sentence):
    (tmp_path / "bad.yaml").write_text(STUDY.replace(*change))
    assert run(f"run {tmp_path}/bad.yaml --out {tmp_path}/runs --workers 1") == 2
    err = capsys.readouterr().err
    assert sentence in err
    assert "Traceback" not in err
    assert not (tmp_path / "runs").exists()


def test_bad_arguments_exit_2(tmp_path, capsys):
    assert run("run activatons") == 2
    assert "Did you mean 'activations'" in capsys.readouterr().err
    assert run(f"run activations --workers 0 --out {tmp_path}") == 2
    assert "--workers must be at least 1" in capsys.readouterr().err
    assert run("run activations --sedes 3") == 2
    assert "Did you mean '--seeds'" in capsys.readouterr().err
    assert run("rnu activations") == 2
    assert "bench: unknown verb 'rnu'. Did you mean 'run'?" in capsys.readouterr().err


def test_without_a_verb_it_explains_its_verbs(capsys):
    assert main([]) == 0
    out = capsys.readouterr().out
    for verb in VERBS:
        assert re.search(rf"^ +{verb} +\w", out, re.MULTILINE)
    assert main(["--help"]) == 0
    assert capsys.readouterr().out == out


def test_list_shows_the_shipped_studies(capsys):
    assert run("list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[::2]] == list_studies()
    assert any(re.match("activations +Which activation", line) for line in lines)


NOOP = """\
# Does it matter?
task: noop
base: {noise: 1.0}
vary: {returns.value: [1.0, 2.0], sleep: [0.0, 0.001]}
baseline: {sleep: 0.0, returns.value: 1.0}
metric: {name: value, mode: max}
seeds: 2
"""


def test_a_baseline_may_name_its_axes_in_any_order(tmp_path):
    (tmp_path / "mine.yaml").write_text(NOOP)
    assert run(f"run {tmp_path}/mine.yaml --out {tmp_path} --workers 1") == 0
    table = pd.read_csv(tmp_path / "mine/table.csv")
    assert table["delta"].isna().tolist() == [True, False, False, False]
    assert "value=1.0, sleep=0.0 (baseline)" in (tmp_path / "mine/table.md").read_text()


def test_labels_are_shown_as_they_are(tmp_path, capsys):
    labels = "{'a[/b]': {sleep: 0.0}, '$x^$ | y': {sleep: 0.001}}"
    study = NOOP.replace("{returns.value: [1.0, 2.0], sleep: [0.0, 0.001]}", f"{{kind: {labels}}}")
    (tmp_path / "mine.yaml").write_text(study.replace("{sleep: 0.0, returns.value: 1.0}", "{kind: 'a[/b]'}"))
    assert run(f"run {tmp_path}/mine.yaml --out {tmp_path} --workers 1") == 0
    assert "a[/b] (baseline)" in capsys.readouterr().out
    rows = [line for line in (tmp_path / "mine/table.md").read_text().splitlines() if line.startswith("| ")][-2:]
    assert [row.count(" | ") for row in rows] == [9, 9]
    assert "$x^$ \\| y" in rows[1]


def test_results_that_do_not_match_the_study_beside_them_are_refused(tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text(NOOP)
    assert run(f"run {tmp_path}/mine.yaml --out {tmp_path} --workers 1") == 0
    kept = tmp_path / "mine/study.yaml"
    kept.write_text(kept.read_text().replace("- 0.0\n  - 0.001", "- 0.001\n  - 0.0"))
    assert run(f"report {tmp_path}/mine") == 2
    assert "do not match its study.yaml" in capsys.readouterr().err


def test_another_metric_is_judged_anew(tmp_path):
    (tmp_path / "two.py").write_text("def f(config, folder):\n    return {'a': config['x'], 'b': float('nan')}\n")
    study = NOOP.replace("noop", "two:f").replace("base: {noise: 1.0}", "base: {y: 1}")
    study = study.replace("{returns.value: [1.0, 2.0], sleep: [0.0, 0.001]}", "{x: [1, 2]}")
    study = study.replace("{sleep: 0.0, returns.value: 1.0}", "{x: 1}")
    for metric, status, code in (("a", "done", 0), ("b", "diverged", 0), ("c", "failed", 1), ("a", "done", 0)):
        (tmp_path / "mine.yaml").write_text(study.replace("name: value", f"name: {metric}"))
        assert run(f"run {tmp_path}/mine.yaml --out {tmp_path} --workers 1") == code
        assert (pd.read_csv(tmp_path / "mine/trials.csv")["status"] == status).all()
    assert len(list((tmp_path / "mine/trials").iterdir())) == 4


def test_what_a_task_does_to_its_process_is_its_own_affair(tmp_path, monkeypatch):
    lines = [
        "import os",
        "def f(config, folder):",
        "    os.chdir('/')",
        "    if config['x'] == 2:",
        "        raise PermissionError(13, 'Permission denied', '/data/secret.csv')",
        "    if config['x'] == 3:",
        "        raise RuntimeError('bad \\udc80')",
        "    return {'value': 1.0}",
    ]
    (tmp_path / "wild.py").write_text("\n".join(lines))
    study = NOOP.replace("noop", "wild:f").replace("base: {noise: 1.0}", "base: {y: 1}")
    study = study.replace("{returns.value: [1.0, 2.0], sleep: [0.0, 0.001]}", "{x: [1, 2, 3]}")
    (tmp_path / "mine.yaml").write_text(study.replace("{sleep: 0.0, returns.value: 1.0}", "{x: 1}"))
    monkeypatch.chdir(tmp_path)
    assert run("run mine.yaml --out runs --workers 1") == 1
    trials = pd.read_csv(tmp_path / "runs/mine/trials.csv")
    assert trials["status"].tolist() == ["done", "done", "failed", "failed", "failed", "failed"]
    assert "PermissionError" in trials["reason"][2]
    assert "bad" in trials["reason"][4]
