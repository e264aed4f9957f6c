"""What `zoo` or a task would refuse is refused by `bench run`, before the first trial, with the study's line."""

import uuid

import pytest

from tests.benchmarks.bad_studies import FIT, NOOP, assert_listed, change, problems

# --- fit -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "sentences"),
    [
        ({"- tanh": "- tnah"}, ["line 13: unknown activation 'tnah'. Did you mean 'tanh'?"]),
        ({"[8]": "[8]\n    norm: btch"}, ["line 6: unknown norm 'btch'. Did you mean 'batch'?"]),
        (
            {"[8]": "[8]\n    lr: -1", "- 0.1": "- 2"},
            ["line 6: model.lr must be positive and finite", "line 17: model.dropout must be in"],
        ),
        ({"max_epochs: 1": "max_epochs: one"}, ["line 9: trainer.max_epochs must be of type int | null, got 'one'"]),
        ({"  trainer:": "  trainr:"}, ["line 8: unknown section of a config 'trainr'. Did you mean 'trainer'?"]),
        ({"name: mlp": "name: mpl"}, ["line 4: unknown model 'mpl'. Did you mean 'mlp'?"]),
        ({"name: iris": "name: irs"}, ["line 7: unknown data set 'irs'. Did you mean 'iris'?"]),
        ({"data:\n    name: iris": "data: irs"}, ["line 6: unknown data set 'irs'. Did you mean 'iris'?"]),
        (
            {"  data:\n    name: iris\n": ""},
            ["line 2: the data set is missing; pass --data NAME, or set data.name in the config"],
        ),
        ({"name: mlp": "name: mpl", "iris": "irs"}, ["line 4: unknown model 'mpl'", "line 7: unknown data set 'irs'"]),
        ({"iris": "csv\n    path: /none.csv\n    target: y"}, ["line 8: cannot read /none.csv: No such file"]),
        ({"name: mlp": "name: cnn", "\n    hidden_dims: [8]": ""}, ["line 4: cnn needs images of shape"]),
        ({"vary:": "  callbacks:\n    gradient_flw: null\nvary:"}, ["line 11: unknown callback 'gradient_flw'."]),
        ({"test/accuracy": "test/acuracy"}, ["line 19: unknown metric 'test/acuracy'. Did you mean 'test/accuracy'?"]),
        ({"iris": "diabetes"}, ["line 19: unknown metric 'test/accuracy'."]),
        ({"test/accuracy": "gap/accuracy"}, ["line 19: unknown metric 'gap/accuracy'."]),
        (
            {"test/accuracy": "{name: gap/accuracy, mode: max}"},
            ["line 19: the mode of gap/accuracy must be min, got max"],
        ),
        (
            {"test/accuracy": "gap/acuracy", "vary:": "  callbacks: {generalization_gap: true}\nvary:"},
            ["line 20: unknown metric 'gap/acuracy'. Did you mean 'gap/accuracy'?"],
        ),
    ],
)
def test_a_config_that_zoo_would_refuse_is_refused_with_the_line(refused, changes, sentences):
    text = FIT
    for old, new in changes.items():
        text = change(text, old, new)
    if "name: mlp" in changes and "cnn" in changes["name: mlp"]:
        text = text.replace("model.dropout", "model.weight_decay")  # which each model has
    assert_listed(refused(text), sentences)


def swap(axis: str, *values: str) -> str:
    """The study with another second axis."""
    text = change(FIT, "model.dropout: 0.0}", f"{axis}: {values[0]}}}")
    return change(text, "model.dropout:\n    - 0.0\n    - 0.1", "\n    - ".join([f"{axis}:", *values]))


@pytest.mark.parametrize(
    ("axis", "values", "sentences"),
    [
        ("data.name", ("iris", "irs"), ["line 16: unknown data set 'irs'. Did you mean 'iris'?"]),
        ("data", ("iris", "irs"), ["line 16: unknown data set 'irs'. Did you mean 'iris'?"]),
        ("callbacks.early_stopping.patience", ("3", "-1"), ["line 16: callbacks.early_stopping.patience must not be"]),
        ("callbacks.early_stoping.patience", ("3", "4"), ["line 15: unknown callback 'early_stoping'. Did you mean"]),
        (
            "model.dropot",
            ("0.0", "0.1"),
            ["line 15: unknown parameter of model 'mlp' 'dropot'. Did you mean 'dropout'?"],
        ),
        (
            "trainer.gradient_clip_val",
            ("1", "1.0"),
            ["line 10: the variants 'activation=relu, gradient_clip_val=1' and"],
        ),
    ],
)
def test_an_axis_that_zoo_would_refuse_is_refused_with_the_line(refused, axis, values, sentences):
    assert_listed(refused(swap(axis, *values)), sentences)


def test_what_only_a_combination_breaks_names_the_variant(refused):
    text = change(swap("model.norm", "null", "batch"), "    - relu\n    - tanh", "    - 16\n    - 1")
    err = refused(
        text.replace("model.activation: relu", "data.batch_size: 16").replace("model.activation", "data.batch_size")
    )
    assert_listed(err, ["line 16: in the variant 'batch_size=1, norm=batch': a batch of 1 is too small"])


def test_a_group_that_zoo_would_refuse_is_refused_with_the_line(refused):
    text = change(FIT, "model.dropout: 0.0}", "size: small}")
    group = "size:\n    small: {model.hidden_dims: [4]}\n    big: {model.hidden_dims: [40], model.lr: -1}"
    err = refused(change(text, "model.dropout:\n    - 0.0\n    - 0.1", group))
    assert_listed(err, ["line 16: model.lr must be positive and finite, got -1.0."])


def test_all_that_zoo_refuses_is_said_at_once(refused):
    text = change(FIT, "[8]", "[8]\n    lr: -1\n    norm: btch")
    text = change(
        text, "max_epochs: 1", "max_epochs: one\n  callbacks: {early_stoping: null, early_stopping: {patience: -2}}"
    )
    text = change(text, "- tanh", "- tnah")
    listed = [
        "line 6: model.lr must be positive and finite, got -1.0.",
        "line 7: unknown norm 'btch'.",
        "line 11: trainer.max_epochs must be of type int | null, got 'one'",
        "line 12: callbacks.early_stopping.patience must not be negative, got -2.",
        "line 12: unknown callback 'early_stoping'.",
        "line 16: unknown activation 'tnah'.",
        "line 19: model.dropout must be in [0, 1), got 7.",
    ]
    assert_listed(refused(change(text, "- 0.1", "- 7")), [s.replace("got 7.", "got 7") for s in listed])


def test_bad_values_do_not_hide_others_even_if_no_variant_is_sound(refused):
    text = FIT.replace("relu", "rleu").replace("- tanh", "- tnah").replace("- 0.1", "- 7")
    text = change(text, "max_epochs: 1", "max_epochs: 1\n  callbacks: {early_stopping: {patience: -2}}")
    listed = ["line 10: callbacks.early_stopping.patience", "line 13: unknown activation 'rleu'"]
    listed += ["line 14: unknown activation 'tnah'", "line 17: model.dropout must be in [0, 1)"]
    assert_listed(refused(text), listed)


# --- a task of the user's own ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (None, "No module named"),
        ("def g(config, folder): ...\n", "has no attribute 'f'"),
        ("f = 3\n", "is not callable; name a function after the colon."),
        ("def f(:\n", "invalid syntax"),
        ("import nothing_of_that_name\n", "No module named 'nothing_of_that_name'"),
        ("f = 1 / 0\n", "ZeroDivisionError: division by zero"),
        ("import sys\n\nsys.exit(3)\n", "SystemExit: 3"),
    ],
)
def test_a_task_that_cannot_be_loaded_is_refused(refused, tmp_path, source, sentence):
    module = f"own_{uuid.uuid4().hex}"
    if source is not None:
        (tmp_path / f"{module}.py").write_text(source)
    (listed,) = problems(refused(change(NOOP, "task: noop", f"task: {module}:f")))
    assert listed.startswith("line 2: ")
    assert f"the task '{module}:f'" in listed
    assert sentence in listed
