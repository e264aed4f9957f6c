"""What is tuned: variants at every value of a grid, and what is wrong with such a study."""

import shlex

import pandas as pd
import pytest

from benchmarks.cli import main
from benchmarks.stats import choose_tuned
from benchmarks.study.file import load_study

STUDY = """\
# Which rate?
task: noop
base: {noise: 0.1, returns: {test/accuracy: 0.5, val/accuracy: 0.5}, sleep: 0.0}
vary: {kind: {low: {}, high: {returns.test/accuracy: 0.6}}}
tune: {sleep: [0.0, 0.001, 0.002]}
baseline: {kind: low}
metric: test/accuracy
also: [val/accuracy]
margin: 0.01
seeds: 3
"""


@pytest.fixture
def study(tmp_path):
    (tmp_path / "rates.yaml").write_text(STUDY)
    return load_study(str(tmp_path / "rates.yaml"))


def test_every_variant_is_run_at_every_value(study):
    assert [variant.name for variant in study.compared] == ["low", "high"]
    assert [variant.name for variant in study.variants] == [
        *("low", "high"),
        *("low, sleep=0.001", "low, sleep=0.002", "high, sleep=0.001", "high, sleep=0.002"),
    ]
    assert [study.config(variant)["sleep"] for variant in study.variants] == [0.0, 0.0, 0.001, 0.002, 0.001, 0.002]
    assert [variant.name for variant in study.tuned(study.compared[1])] == [
        *("high", "high, sleep=0.001", "high, sleep=0.002")
    ]


def test_the_baseline_and_the_file_stay_as_they_were(study, tmp_path):
    assert study.baseline_name == "low"
    (tmp_path / "again.yaml").write_text(study.to_file())
    again = load_study(str(tmp_path / "again.yaml"))
    assert (again.tune, again.also, again.baseline) == (study.tune, study.also, study.baseline)
    assert [variant.name for variant in again.variants] == [variant.name for variant in study.variants]


def test_a_run_has_both_tables_and_a_filter_takes_what_is_tuned(tmp_path, capsys):
    (tmp_path / "rates.yaml").write_text(STUDY)
    command = f"run {tmp_path}/rates.yaml --out {tmp_path} --workers 1"
    assert main(shlex.split(command + " --filter sleep=0.001 --filter kind=high")) == 0
    trials = pd.read_csv(tmp_path / "rates/trials.csv")
    assert trials[trials["status"] == "done"]["variant"].unique().tolist() == ["high, sleep=0.001"]
    assert main(shlex.split(command)) == 0
    assert "Each variant at its own best setting" in capsys.readouterr().out
    trials = pd.read_csv(tmp_path / "rates/trials.csv")
    assert len(trials) == 2 * 3 * 3
    assert trials["sleep"].tolist() == [0.0] * 6 + [0.001] * 3 + [0.002] * 3 + [0.001] * 3 + [0.002] * 3
    table, tuned = (pd.read_csv(tmp_path / f"rates/{name}.csv") for name in ("table", "table_tuned"))
    chosen = {choice.variant.name: choice.at for choice in choose_tuned(load_study(f"{tmp_path}/rates.yaml"), trials)}
    assert tuned["sleep"].tolist() == [chosen[name].cell["sleep"] for name in ("low", "high")]
    assert table["variant"].tolist() == tuned["variant"].tolist() == ["low", "high"]
    done = trials.groupby("variant")["val/accuracy"].mean()
    assert table["val/accuracy_mean"].tolist() == pytest.approx([done["low"], done["high"]])


def test_a_setting_that_has_hardly_run_is_not_chosen(study):
    rows = []
    for variant in study.variants:
        lucky = variant.cell["sleep"] == 0.002
        for seed in range(3):
            there = seed == 0 or not lucky
            row = (
                variant.name,
                seed,
                "done" if there else "pending",
                0.5,
                0.9 if lucky else 0.5 + variant.cell["sleep"],
            )
            rows.append(row)
    trials = pd.DataFrame(rows, columns=["variant", "seed", "status", "value", "val/accuracy"])
    choices = choose_tuned(study, trials)
    assert [choice.at.cell["sleep"] for choice in choices] == [0.001, 0.001]
    assert [choice.edges for choice in choices] == [[], []]


@pytest.mark.parametrize(
    ("old", "new", "line", "sentence"),
    [
        (
            "sleep: [0.0, 0.001, 0.002]",
            "sleep: [0.1, 0.2]",
            5,
            "the base must set 'sleep' to one of the values listed in 'tune'; it is",
        ),
        ("sleep: 0.0}", "raises: null}", 5, "it is not set"),
        ("tune: {sleep: [0.0, 0.001, 0.002]}", "tune: [sleep]", 5, "'tune' must map dotted keys to lists"),
        ("tune: {sleep: [0.0, 0.001, 0.002]}", "tune: {sleep: {a: {}}}", 5, "'tune' must map dotted keys to lists"),
        ("tune: {sleep: [0.0, 0.001, 0.002]}", "tune: {sleep: []}", 5, "the axis 'sleep' must be a list of values"),
        ("tune: {sleep: [0.0, 0.001, 0.002]}", "tune: {sleep: [0.0, 0.0]}", 5, "contains '0.0' twice"),
        ("tune: {sleep: [0.0, 0.001, 0.002]}", "tune: {seed_everything: [0]}", 5, "cannot be varied"),
        ("high: {returns", "high: {sleep: 0.001, returns", 5, "'sleep' is varied by both 'kind' and 'sleep'"),
        ("metric: test/accuracy", "metric: val/accuracy", 5, "'tune' requires a metric of the test split"),
        ("sleep: [0.0, 0.001, 0.002]", "sleep: [0.0, fast]", 5, "sleep must be a number"),
        ("also: [val/accuracy]", "also: val/accuracy", 8, "'also' must be a list of further metrics"),
        ("also: [val/accuracy]", "also: [val/accuracy, val/loss]", 8, "unknown metric 'val/loss'"),
        ("also: [val/accuracy]", "also: [seed]", 8, "'seed' is already a column of trials.csv"),
        ("also: [val/accuracy]", "also: [kind]", 8, "'kind' is already a column of trials.csv"),
        ("tune: {sleep: [0.0, 0.001, 0.002]}", "tune: {p: [0.0, 1.0]}", 5, "'p' may be a column of the tables"),
        ("low: {}", "low: {}, 'low, sleep=0.001': {noise: 0.2}", 4, "two variants have the name 'low, sleep=0.001'"),
        ("margin: 0.01", "margin: 0", 9, "must be a number above 0, got 0"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(refused, old, new, line, sentence):
    assert old in STUDY
    said = refused(STUDY.replace(old, new))
    assert f"line {line}: " in said
    assert sentence in said


def test_a_metric_shown_must_be_measured(refused):
    text = """\
base: {model: mlp, data: iris}
vary: {model.activation: [relu, tanh]}
baseline: {model.activation: relu}
metric: test/accuracy
also: [test/loss, gap/accuracy]
"""
    said = refused(text)
    assert "line 5: unknown metric 'gap/accuracy'" in said
    assert "callbacks.generalization_gap: true" in said
