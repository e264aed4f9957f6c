import pytest
import yaml

from benchmarks.study import STUDIES, list_studies, load_study
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
    path.write_text("# Does it matter?\n" + yaml.safe_dump(content))
    return str(path)


def test_a_study_is_the_full_grid_of_its_axes(tmp_path):
    study = load_study(write(tmp_path, GOOD))
    names = [variant.name for variant in study.variants]
    assert names == [
        "activation=relu, norm=none",
        "activation=relu, norm=batch",
        "activation=tanh, norm=none",
        "activation=tanh, norm=batch",
    ]
    assert study.baseline_name == names[0]
    assert (study.name, study.question) == ("mine", "Does it matter?")
    config = study.config(study.variants[3], seed=2)
    assert config == {
        "model": {"name": "mlp", "activation": "tanh", "norm": "batch"},
        "data": {"name": "digits"},
        "seed_everything": 2,
    }
    assert study.base == GOOD["base"], "making a config leaves the base alone"


def test_one_axis_names_variants_by_value_alone(tmp_path):
    content = GOOD | {"vary": {"model.norm": [None, "batch"]}, "baseline": {"model.norm": None}}
    assert [variant.name for variant in load_study(write(tmp_path, content)).variants] == ["none", "batch"]


def test_seeds_can_be_overridden(tmp_path):
    assert load_study(write(tmp_path, GOOD)).seeds == 3
    assert load_study(write(tmp_path, GOOD), seeds=7).seeds == 7


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"base_line": {}}, "Did you mean 'baseline'"),
        ({"metric": None}, "'metric' must name a metric"),
        ({"base": {}}, "'base' must be a mapping, not empty"),
        ({"vary": {"model.activation": []}}, "the axis 'model.activation' must list at least one value"),
        ({"vary": {"model.activation": "relu"}}, "the axis 'model.activation' must list at least one value"),
        ({"baseline": {"model.activation": "rleu", "model.norm": None}}, "unknown baseline of study 'mine'"),
        ({"seeds": 0}, "seeds must be at least 1, got 0"),
        ({"seeds": True}, "seeds must be at least 1, got True"),
        ({"task": "fitt"}, "Did you mean 'fit'"),
        ({"vary": {3: [1]}}, "an axis must be a dotted key, got 3"),
        ({"seeds": "three"}, "seeds must be at least 1, got three"),
    ],
)
def test_what_is_not_well_formed_is_refused(tmp_path, change, sentence):
    with pytest.raises(InputError, match=sentence.replace("(", r"\(")):
        load_study(write(tmp_path, GOOD | change))


def test_a_study_that_lacks_a_key_is_refused(tmp_path):
    with pytest.raises(InputError, match="lacks the key 'vary'"):
        load_study(write(tmp_path, {k: v for k, v in GOOD.items() if k != "vary"}))


def test_an_unknown_study_is_refused_with_the_nearest():
    with pytest.raises(InputError, match="Did you mean 'activations'"):
        load_study("activatons")
    with pytest.raises(InputError, match=r"there is no study file none\.yaml"):
        load_study("none.yaml")


def test_every_shipped_study_opens_with_question_command_cost_and_source():
    for name, question in list_studies().items():
        study = load_study(name)
        assert question.endswith((".", "?"))
        assert len(study.variants) >= 8
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
    configs = [study.config(variant, 0) for variant in study.variants]
    assert [config["callbacks"]["early_stopping"]["patience"] for config in configs] == [5, 5, 10, 10]
    assert configs[0]["model"] == {"name": "mlp", "lr": 0.001}
