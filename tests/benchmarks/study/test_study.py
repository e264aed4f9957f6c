from dataclasses import replace

import pytest
import yaml

from benchmarks.cli import main
from benchmarks.study.file import STUDIES, list_studies, load_study
from benchmarks.study.study import Study
from datamodules.errors import InputError

GOOD = {
    "base": {"model": {"name": "mlp"}, "data": "digits"},
    "vary": {"model.activation": ["relu", "tanh"], "model.norm": [None, "batch"]},
    "baseline": {"model.activation": "relu", "model.norm": None},
    "metric": "test/accuracy",
    "seeds": 3,
}


def write(tmp_path, content) -> str:
    path = tmp_path / "mine.yaml"
    path.write_text("# Does it matter?\n" + yaml.safe_dump(content, sort_keys=False))
    return str(path)


def load(tmp_path, **changes) -> Study:
    return load_study(write(tmp_path, GOOD | changes))


def names(study: Study) -> list[str]:
    return [variant.name for variant in study.variants]


def test_a_study_is_the_full_grid_of_its_axes(tmp_path):
    study = load(tmp_path)
    assert names(study) == [
        "activation=relu, norm=none",
        "activation=relu, norm=batch",
        "activation=tanh, norm=none",
        "activation=tanh, norm=batch",
    ]
    assert study.baseline_name == study.variants[0].name
    assert (study.name, study.question) == ("mine", "Does it matter?")
    config = study.config(study.variants[3])
    assert config == {
        "model": {"name": "mlp", "activation": "tanh", "norm": "batch"},
        "data": "digits",
    }
    assert study.base == GOOD["base"], "making a config leaves the base alone"


def test_one_axis_names_variants_by_value_alone(tmp_path):
    study = load(tmp_path, vary={"model.norm": [None, "batch"]}, baseline={"model.norm": None})
    assert names(study) == ["none", "batch"]


def test_a_group_moves_its_keys_together_and_its_labels_name_the_variants(tmp_path):
    size = {"small": {"model.hidden_dims": [8], "model.lr": 0.1}, "plain": {}, "dropped": {"model.dropout": 0.5}}
    study = load(tmp_path, vary={"size": size}, baseline={"size": "plain"})
    assert names(study) == ["small", "plain", "dropped"]
    assert study.baseline_name == "plain"
    assert [variant.varied for variant in study.variants] == list(size.values())
    assert [study.config(variant)["model"] for variant in study.variants] == [
        {"name": "mlp", "hidden_dims": [8], "lr": 0.1},
        {"name": "mlp"},
        {"name": "mlp", "dropout": 0.5},
    ]
    assert study.axes[0].keys == ["model.hidden_dims", "model.lr", "model.dropout"]


def test_a_group_is_crossed_with_other_axes(tmp_path):
    vary = {"size": {"small": {"model.hidden_dims": [8]}, "big": {"model.hidden_dims": [80]}}, "model.norm": [None]}
    study = load(tmp_path, vary=vary, baseline={"size": "big", "model.norm": None})
    assert names(study) == ["size=small, norm=none", "size=big, norm=none"]
    assert study.variants[0].cell == {"size": "small", "model.norm": None}
    assert study.variants[0].varied == {"model.hidden_dims": [8], "model.norm": None}


def test_one_at_a_time_varies_each_axis_alone_from_the_baseline(tmp_path):
    vary = {"model.activation": ["relu", "tanh", "elu"], "model.norm": [None, "batch"]}
    baseline = {"model.norm": None, "model.activation": "tanh"}
    study = load(tmp_path, vary=vary, baseline=baseline, one_at_a_time=True)
    assert names(study) == ["baseline", "activation=relu", "activation=elu", "norm=batch"]
    assert study.baseline_name == "baseline"
    assert [study.config(variant)["model"] for variant in study.variants] == [
        {"name": "mlp", "activation": "tanh", "norm": None},
        {"name": "mlp", "activation": "relu", "norm": None},
        {"name": "mlp", "activation": "elu", "norm": None},
        {"name": "mlp", "activation": "tanh", "norm": "batch"},
    ]
    one_axis = load(
        tmp_path, vary={"model.norm": [None, "batch"]}, baseline={"model.norm": "batch"}, one_at_a_time=True
    )
    assert names(one_axis) == ["batch", "none"]
    assert one_axis.baseline_name == "batch"


def test_axes_are_called_by_their_last_part_where_that_is_unique(tmp_path):
    vary = {"model.seed": [1], "data.seed": [2], "model.lr": [0.1], "model.name": ["mlp"]}
    study = load(tmp_path, vary=vary, baseline={name: values[0] for name, values in vary.items()})
    assert names(study) == ["model.seed=1, data.seed=2, lr=0.1, model=mlp"]


def test_data_sets_may_be_named_in_short(tmp_path):
    vary = {"data": ["digits", "wine"], "data.batch_size": [32]}
    study = load(tmp_path, vary=vary, baseline={"data": "digits", "data.batch_size": 32})
    assert names(study) == ["data=digits, batch_size=32", "data=wine, batch_size=32"]
    assert [study.config(variant)["data"] for variant in study.variants] == [
        {"name": "digits", "batch_size": 32},
        {"name": "wine", "batch_size": 32},
    ]


def test_a_value_may_be_a_whole_section_and_what_lies_within_comes_after_it(tmp_path):
    models = [{"name": "mlp", "hidden_dims": [8]}, {"name": "perceptron"}]
    study = load(tmp_path, vary={"model.lr": [0.1], "model": models}, baseline={"model.lr": 0.1, "model": models[1]})
    assert names(study) == ["lr=0.1, model=mlp hidden_dims=[8]", "lr=0.1, model=perceptron"]
    assert study.config(study.variants[0])["model"] == {"name": "mlp", "hidden_dims": [8], "lr": 0.1}
    assert study.config(study.variants[1])["model"] == {"name": "perceptron", "lr": 0.1}
    assert study.baseline_name == names(study)[1]
    assert models == [{"name": "mlp", "hidden_dims": [8]}, {"name": "perceptron"}]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("off", "off"),
        ("yes", "yes"),
        ("true", True),
        ("1e-3", 0.001),
        ("-2E+3", -2000.0),
        (".5e1", 5.0),
        ("1e", "1e"),
        ("'1e-3'", "1e-3"),
        ("null", None),
        ("0.10", 0.1),
    ],
)
def test_values_are_read_as_people_mean_them(tmp_path, written, value):
    (tmp_path / "mine.yaml").write_text(
        f"task: noop\nbase: {{x: {written}}}\nvary: {{y: [{written}]}}\nbaseline: {{y: {written}}}\nmetric: loss\n"
    )
    study = load_study(str(tmp_path / "mine.yaml"), settings=[f"z={written}"])
    assert study.base == {"x": value, "z": value}
    assert study.variants[0].varied == study.baseline == {"y": value}
    assert {type(v) for v in (*study.base.values(), study.baseline["y"])} == {type(value)}


def test_the_direction_of_a_metric_is_known_or_said(tmp_path):
    assert load(tmp_path).mode == "max"
    assert load(tmp_path, metric="val/loss").mode == "min"
    said = load(tmp_path, metric={"name": "seconds", "mode": "min"}, task="noop")
    assert (said.metric, said.mode) == ("seconds", "min")


def test_the_margin_is_none_unless_said(tmp_path):
    assert load(tmp_path).margin is None
    assert load(tmp_path, margin=0.01).margin == 0.01


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"margin": 0.01, "one_at_a_time": True, "name": "other", "task": "mine:f", "seeds": 7},
        {"metric": "seconds", "mode": "min", "task": "noop", "margin": 1},
        {"vary": {"g": {"off": {"model.norm": "no"}, "2": {}}}, "baseline": {"g": "off"}},
        {"vary": {"g": {"1e-3": {"model.lr": 1e-3}, "b": {}}}, "baseline": {"g": "1e-3"}},
        {"vary": {"model.norm": [None, "null", "1e5", "1.5", "on", "ünï: #"]}, "baseline": {"model.norm": "1e5"}},
        {"vary": {"model.lr": [1e-5, 1e16, 1, 1.5, True]}, "baseline": {"model.lr": 1e-5}},
    ],
)
def test_what_a_study_writes_is_that_study(tmp_path, changes):
    comment = "# Does it matter?\n#\n#     bench run mine\n#\n# Cost: none. Source: me.\n\n"
    study = Study(**{"name": "mine", "comment": comment, **GOOD, **changes})
    (tmp_path / "written.yaml").write_text(study.to_file())
    again = load_study(str(tmp_path / "written.yaml"))
    assert again == study
    assert again.to_file() == study.to_file()
    assert (again.comment, again.question, again.cost) == (comment, "Does it matter?", "none.")


def test_settings_change_the_base_alone(tmp_path):
    study = load_study(write(tmp_path, GOOD), settings=["model.lr=1e-2", "data.batch_size=16", "trainer.max_epochs=3"])
    assert study.base == {
        "model": {"name": "mlp", "lr": 0.01},
        "data": {"name": "digits", "batch_size": 16},
        "trainer": {"max_epochs": 3},
    }
    assert replace(study, base=GOOD["base"]) == load(tmp_path)


def test_bench_new_gives_a_copy_to_start_from(tmp_path, capsys):
    mine = str(tmp_path / "mine.yaml")
    assert main(["new", mine]) == 0
    assert f"bench run {mine}" in capsys.readouterr().out
    study, shipped = load_study(mine), load_study("activations")
    assert f"bench run {mine}" in study.comment
    assert study.name == "mine"
    assert replace(study, name=shipped.name, comment=shipped.comment) == shipped


def test_seeds_can_be_overridden(tmp_path):
    assert load_study(write(tmp_path, GOOD)).seeds == 3
    assert load_study(write(tmp_path, GOOD), seeds=7).seeds == 7


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"base_line": {}}, "Did you mean 'baseline'"),
        ({"metric": None}, "'metric' must name a metric"),
        ({"base": {}}, "'base' must be a mapping with at least one entry"),
        ({"vary": {"model.activation": []}}, "the axis 'model.activation' must be a list of values"),
        ({"vary": {"model.activation": "relu"}}, "the axis 'model.activation' must be a list of values"),
        (
            {"baseline": {"model.activation": "rleu", "model.norm": None}},
            "unknown value of the baseline for 'model.activation' 'rleu'. Did",
        ),
        ({"seeds": 0}, "'seeds' must be an integer of at least 1, got 0"),
        ({"seeds": True}, "'seeds' must be an integer of at least 1, got True"),
        ({"task": "fitt"}, "Did you mean 'fit'"),
        ({"vary": {3: [1]}}, "line 7: the key 3 must be text; put it in quotes."),
        ({"seeds": "three"}, "'seeds' must be an integer of at least 1, got 'three'"),
    ],
)
def test_what_is_not_well_formed_is_refused(tmp_path, change, sentence):
    with pytest.raises(InputError, match=sentence.replace("(", r"\(")):
        load_study(write(tmp_path, GOOD | change))


def test_a_study_that_lacks_a_key_is_refused(tmp_path):
    with pytest.raises(InputError, match="the required key 'vary' is missing"):
        load_study(write(tmp_path, {k: v for k, v in GOOD.items() if k != "vary"}))


def test_an_unknown_study_is_refused_with_the_nearest():
    with pytest.raises(InputError, match="Did you mean 'activations'"):
        load_study("activatons")
    with pytest.raises(InputError, match=r"there is no study file none\.yaml"):
        load_study("none.yaml")


def test_every_shipped_study_opens_with_question_command_cost_and_source():
    for name in list_studies():
        study = load_study(name)
        assert study.cost
        assert study.question.endswith((".", "?"))
        assert len(study.variants) >= 4
        header = (STUDIES / f"{name}.yaml").read_text(encoding="utf-8").partition("task:")[0]
        assert f"bench run {name}" in header
        assert "Cost:" in header
        assert "Source:" in header


def test_trials_share_no_nested_values_and_short_names_may_be_varied(tmp_path):
    content = GOOD | {
        "base": {"model": "mlp", "data": "digits", "callbacks": {"early_stopping": {"min_delta": 0.001}}},
        "vary": {"callbacks.early_stopping.patience": [5, 10], "model.lr": ["1e-3", 0.01]},
        "baseline": {"callbacks.early_stopping.patience": 5, "model.lr": 0.001},
    }
    study = load_study(write(tmp_path, content))
    configs = [study.config(variant) for variant in study.variants]
    assert [config["callbacks"]["early_stopping"]["patience"] for config in configs] == [5, 5, 10, 10]
    assert configs[0]["model"] == {"name": "mlp", "lr": 0.001}
