"""What the keys of trials depend on, and that configs composed of parts are those parsed whole."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace

import pytest
from sklearn.datasets import load_iris

import benchmarks.tasks.fit_variants
from benchmarks.running.engines.local import LocalEngine
from benchmarks.running.plan import Plan, select, trial_key
from benchmarks.running.planner import make_plan
from benchmarks.study.blame import Resolved
from benchmarks.study.study import Study
from benchmarks.tasks.fit_check import check_study
from benchmarks.tasks.fit_variants import resolve_variants
from datamodules.errors import InputError
from zoo.config import resolve

STUDY = Study(
    name="s",
    base={
        "model": {"name": "mlp", "hidden_dims": [8], "lr": 1e-2},
        "data": {"name": "iris", "batch_size": 16},
        "trainer": {"max_epochs": 3},
    },
    vary={"model.activation": ["relu", "tanh"], "trainer.gradient_clip_val": [1, None]},
    baseline={"model.activation": "relu", "trainer.gradient_clip_val": 1},
    metric="test/accuracy",
    seeds=2,
)


@pytest.fixture(scope="module")
def engine():
    """One worker, which imports torch once."""
    with LocalEngine(1) as engine:
        yield engine


def by_cell(plan: Plan) -> dict[frozenset, list[str]]:
    """The keys of each variant, whatever the order of axes and values."""
    cells = (frozenset((name, str(value)) for name, value in v.varied.items()) for v in plan.study.variants)
    return dict(zip(cells, plan.keys, strict=True))


def flat(plan: Plan) -> list[str]:
    return [key for keys in plan.keys for key in keys]


def keys_with(engine: LocalEngine, section: str, **changes) -> list[str]:
    """The keys of all trials after a change in the base."""
    base = {**STUDY.base, section: {**STUDY.base.get(section, {}), **changes}}
    return flat(make_plan(replace(STUDY, base=base), engine))


def reversed_keys(value):
    """A list keeps its order, which counts."""
    return {k: reversed_keys(v) for k, v in reversed(value.items())} if isinstance(value, Mapping) else value


# --- keys ---------------------------------------------------------------------------------------------------------


def test_each_trial_has_a_key_of_its_own(engine):
    plan = make_plan(STUDY, engine)
    keys = flat(plan)
    assert len(set(keys)) == len(keys) == len(plan) == 8
    trials = list(plan.trials())
    assert [trial.key for trial in trials] == keys
    assert [trial.seed for trial in trials] == [0, 1] * 4
    assert all(trial.config["seed_everything"] == trial.seed for trial in trials)


def test_keys_do_not_depend_on_orders(engine):
    turned = replace(
        STUDY,
        base=reversed_keys(STUDY.base),
        vary={name: values[::-1] for name, values in reversed(STUDY.vary.items())},
        baseline=reversed_keys(STUDY.baseline),
    )
    assert by_cell(make_plan(turned, engine)) == by_cell(make_plan(STUDY, engine))


def test_keys_do_not_depend_on_what_is_only_shown_or_compared(engine):
    shown = replace(
        STUDY,
        name="other",
        comment="# Why?\n",
        margin=0.1,
        metric="val/loss",
        mode="min",
        baseline={"model.activation": "tanh", "trainer.gradient_clip_val": None},
    )
    assert make_plan(shown, engine).keys == make_plan(STUDY, engine).keys


def test_another_layout_of_the_same_trials_has_the_same_keys(engine):
    keys = by_cell(make_plan(STUDY, engine))
    alone = by_cell(make_plan(replace(STUDY, one_at_a_time=True), engine))
    assert len(alone) == 3
    assert alone.items() <= keys.items()
    labels = {str(n): variant.varied for n, variant in enumerate(STUDY.variants)}
    assert by_cell(make_plan(replace(STUDY, vary={"group": labels}, baseline={"group": "0"}), engine)) == keys
    more = by_cell(make_plan(replace(STUDY, seeds=3), engine))
    assert {cell: keys[:2] for cell, keys in more.items()} == keys


@pytest.mark.parametrize(
    ("section", "same"),
    [
        ("model", {"lr": "1e-2"}),
        ("model", {"dropout": 0}),
        ("model", {"dropout": 0.0, "weight_decay": 0}),
        ("data", {"batch_size": "16"}),
        ("data", {"root": "/elsewhere"}),
        ("trainer", {"accumulate_grad_batches": 1}),
        ("callbacks", {"early_stopping": {"patience": 10}}),
        ("callbacks", {"early_stopping": True}),
        ("callbacks", {"generalization_gap": False}),
        ("callbacks", {"generalization_gap": None}),
    ],
)
def test_values_that_are_typed_alike_give_the_same_keys(engine, section, same):
    assert keys_with(engine, section, **same) == keys_with(engine, "model")


@pytest.mark.parametrize(
    ("section", "other"),
    [
        ("model", {"lr": 1.1e-2}),
        ("model", {"hidden_dims": [8, 8]}),
        ("model", {"norm": "batch"}),
        ("model", {"name": "robust_mlp"}),
        ("data", {"name": "wine"}),
        ("data", {"batch_size": 17}),
        ("data", {"seed": 0}),
        ("data", {"train_size": 0.5}),
        ("trainer", {"max_epochs": 4}),
        ("trainer", {"accumulate_grad_batches": 2}),
        ("callbacks", {"early_stopping": None}),
        ("callbacks", {"early_stopping": {"patience": 9}}),
        ("callbacks", {"generalization_gap": True}),
    ],
)
def test_any_other_value_gives_other_keys(engine, section, other):
    assert not set(keys_with(engine, section, **other)) & set(keys_with(engine, "model"))


def test_whole_numbers_and_their_decimals_are_the_same_trial(engine):
    ints, floats = (
        replace(STUDY, vary={"trainer.gradient_clip_val": [clip]}, baseline={"trainer.gradient_clip_val": clip})
        for clip in (1, 1.0)
    )
    assert make_plan(ints, engine).keys == make_plan(floats, engine).keys


def test_seed_and_task_are_in_the_key():
    config = {"model": {"name": "mlp"}}
    keys = [trial_key(task, config, None, seed) for task in ("fit", "mine:f") for seed in (0, 1)]
    assert len(set(keys)) == 4


def test_a_key_stays_what_it_is_from_release_to_release():
    # Records of years are found by it; a change of what it is made of must raise SCHEMA, knowingly.
    assert trial_key("mine:f", {"b": 1.5, "a": [None, True, "é"]}, None, 3) == "e23bae99d9cc953d"


def test_a_csv_counts_by_its_content_and_not_by_its_path(engine, tmp_path):
    table = load_iris(as_frame=True).frame

    def keys(folder: str, frame, **params) -> list[str]:
        (tmp_path / folder).mkdir()
        frame.to_csv(tmp_path / folder / "table.csv", index=False)
        path = str(tmp_path / folder / "table.csv")
        base = {**STUDY.base, "data": {"name": "csv", "path": path, "target": "target", **params}}
        return flat(make_plan(replace(STUDY, base=base), engine))

    one = keys("one", table)
    assert keys("two", table) == one
    assert not set(keys("edited", table.round(0))) & set(one)
    assert not set(keys("dropped", table, drop=["petal width (cm)"])) & set(one)


# --- composing ----------------------------------------------------------------------------------------------------

RICH = Study(
    name="rich",
    base={
        "model": {"name": "mlp", "lr": "1e-2"},
        "data": "digits",
        "trainer": {"max_epochs": 2},
        "callbacks": {"early_stopping": None},
    },
    vary={
        "data.name": ["digits", "wine"],
        "model.activation": ["relu", "tanh"],
        "trainer.gradient_clip_val": [1, None],
        "callbacks.early_stopping.patience": [5, "7"],
        "callbacks.early_stopping.min_delta": [0, 1e-3],
        "size": {
            "small": {"model.hidden_dims": [8], "data.batch_size": 16},
            "big": {"model.hidden_dims": [80], "data.batch_size": "128"},
        },
        "model.name": ["mlp", "robust_mlp"],
    },
    baseline={
        "data.name": "digits",
        "model.activation": "relu",
        "trainer.gradient_clip_val": 1,
        "callbacks.early_stopping.patience": 5,
        "callbacks.early_stopping.min_delta": 0,
        "size": "big",
        "model.name": "mlp",
    },
    metric="test/accuracy",
)


def alone(study: Study) -> list[Resolved]:
    """Each variant's config resolved by itself, without its seed; a refusal as its words."""
    resolved: list[Resolved] = []
    for variant in study.variants:
        try:
            config = resolve(study.config(variant))
        except InputError as error:
            resolved.append(str(error))
        else:
            del config["seed_everything"]
            resolved.append(config)
    return resolved


def exactly(resolved: Iterable[Resolved]) -> list[str]:
    """As JSON, where unlike in Python 1, 1.0 and true differ."""
    return [json.dumps(config, sort_keys=True) for config in resolved]


@pytest.mark.parametrize(("one_at_a_time", "n"), [(False, 128), (True, 8)])
def test_composed_configs_are_those_resolved_alone(one_at_a_time, n):
    study = replace(RICH, one_at_a_time=one_at_a_time)
    composed = exactly(resolve_variants(study))
    assert composed == exactly(alone(study))
    assert len(set(composed)) == n


def test_groups_whose_labels_set_different_keys_compose():
    sizes = {"small": {"model.hidden_dims": [8]}, "slow": {"model.lr": 1e-4}, "plain": {}}
    study = replace(RICH, vary={"size": sizes, "model.dropout": [0.0, 0.1]}, baseline={})
    assert exactly(resolve_variants(study)) == exactly(alone(study))


def test_whole_sections_and_callbacks_compose():
    vary = {
        "model": [{"name": "mlp", "dropout": 0.1}, "perceptron"],
        "model.lr": [0.1, 0.2],
        "callbacks.early_stopping": [None, {"patience": 3}, True],
        "data": ["wine", {"name": "digits", "batch_size": 8}],
        "data.train_size": [None, 0.5],
        "callbacks.generalization_gap": [False, True],
    }
    study = replace(RICH, vary=vary, baseline={})
    assert exactly(resolve_variants(study)) == exactly(alone(study))


def test_the_same_variants_are_refused_as_alone():
    vary = {
        "model.activation": ["relu", "tanh"],
        "model.lr": ["fast", 0.1],
        "callbacks.early_stopping.patience": [3, "x"],
    }
    study = replace(RICH, vary=vary, baseline={})
    refused = [isinstance(config, str) for config in resolve_variants(study)]
    assert refused == [isinstance(config, str) for config in alone(study)]
    assert refused == [True, True, False, True] * 2


def test_a_value_is_parsed_once_and_not_once_a_trial(monkeypatch):
    calls = []

    def counting(config):
        calls.append(config)
        return resolve(config)

    monkeypatch.setattr(benchmarks.tasks.fit_variants, "resolve", counting)
    vary = {
        "model.activation": ["relu", "tanh", "elu", "gelu"],
        "model.lr": [0.1, 0.01, 0.001],
        "data.batch_size": [8, 16, 32],
        "trainer.gradient_clip_val": [None, 1.0],
    }
    baseline = {name: values[0] for name, values in vary.items()}
    study = replace(STUDY, vary=vary, baseline=baseline, seeds=1000)
    checked = check_study(study)
    assert not checked.problems
    assert len(checked.configs) == math.prod(map(len, vary.values())) == 72
    assert len(calls) <= 1 + sum(map(len, vary.values()))


# --- filters and the driver ---------------------------------------------------------------------------------------


def test_filters_narrow_by_key_and_widen_by_value(engine):
    plan = make_plan(STUDY, engine)

    def chosen(*filters: str) -> list[tuple[str, int]]:
        selected = select(STUDY, filters)
        return [(trial.variant.name, trial.seed) for trial in plan.trials() if selected(trial)]

    assert len(chosen()) == 8
    assert chosen("model.activation=tanh", "seed=1") == [
        ("activation=tanh, gradient_clip_val=1", 1),
        ("activation=tanh, gradient_clip_val=none", 1),
    ]
    assert len(chosen("model.activation=tanh", "model.activation=relu", "seed=0")) == 4
    assert chosen("trainer.gradient_clip_val=null", "model.activation=relu") == [
        ("activation=relu, gradient_clip_val=none", seed) for seed in (0, 1)
    ]


DRIVER = """
import sys
from benchmarks.cli import main
assert main(sys.argv[1:]) == 0
print(*({"torch", "lightning", "jsonargparse"} & set(sys.modules)))
"""


def test_a_noop_study_needs_no_torch(tmp_path):
    for name in ("torch", "lightning"):
        (tmp_path / f"{name}.py").write_text(f"raise ImportError('{name} is not there')\n")
    (tmp_path / "s.yaml").write_text(
        "task: noop\nbase: {returns: {value: 1}}\nvary: {noise: [0.0, 1.0]}\nseeds: 2\nbaseline: {noise: 0.0}\n"
        "metric: {name: value, mode: max}\n"
    )
    command = [sys.executable, "-c", DRIVER, "run", f"{tmp_path}/s.yaml", "--out", str(tmp_path), "--workers", "1"]
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "", "the driver has imported torch or lightning"
    assert (tmp_path / "s/table.csv").is_file()
