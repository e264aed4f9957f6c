"""What cannot run is refused by the real command, before the first trial, with status 2 and a sentence."""

import uuid

import pytest

from benchmarks.cli import main

NOOP = """\
# Does noise matter?
task: noop
base:
  sleep: 0
  returns: {value: 1}
vary:
  noise:
    - 0.0
    - 0.5
seeds: 2
baseline:
  noise: 0.0
metric: {name: value, mode: max}
"""
FIT = """\
# Does the activation matter?
base:
  model:
    name: mlp
    hidden_dims: [8]
  data:
    name: iris
  trainer:
    max_epochs: 1
vary:
  model.activation:
    - relu
    - tanh
  model.dropout:
    - 0.0
    - 0.1
seeds: 2
baseline: {model.activation: relu, model.dropout: 0.0}
metric: test/accuracy
"""


def problems(err: str) -> list[str]:
    """What is listed as wrong, each with its line."""
    return [line.strip() for line in err.partition("cannot run:\n")[2].splitlines()]


def change(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1, old
    return text.replace(old, new)


def assert_listed(err: str, sentences: list[str]) -> None:
    """Each of these and no other is wrong."""
    listed = problems(err)
    assert len(listed) == len(sentences), err
    for line, sentence in zip(listed, sentences, strict=True):
        assert line.startswith(sentence)


# --- study files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "sentences"),
    [
        ("seeds: 2", "sedes: 2", ["line 10: unknown key of a study 'sedes'. Did you mean 'seeds'?"]),
        ("metric: {name: value, mode: max}\n", "", ["line 1: the study lacks the key 'metric'."]),
        ("task: noop\nbase:", "task: noop\nvarry:", ["line 1: the study lacks the key 'base'.", "line 3: unknown key"]),
        # the baseline
        ("  noise: 0.0", "  noise: 0.1", ["line 12: unknown value of the baseline for 'noise' '0.1'."]),
        (
            "  noise: 0.0",
            "  noise: 0.0\n  nose: 1",
            ["line 13: unknown axis in the baseline 'nose'. Did you mean 'noise'?"],
        ),
        ("seeds: 2", "  sleep: [0, 1]", ["line 11: the baseline must say which value of 'sleep' it has."]),
        ("baseline:\n  noise: 0.0", "baseline: {}", ["line 11: 'baseline' must be a mapping, not empty."]),
        # axes
        ("\n    - 0.0\n    - 0.5", " []", ["line 7: the axis 'noise' must list at least one value"]),
        ("\n    - 0.0\n    - 0.5", " {}", ["line 7: the axis 'noise' must list at least one value"]),
        ("\n    - 0.0\n    - 0.5", " 0.0", ["line 7: the axis 'noise' must list at least one value"]),
        ("- 0.5", "- 0.0", ["line 9: the axis 'noise' holds '0.0' twice; take one out."]),
        ("noise:\n    -", "'no ise':\n    -", ["line 7: an axis must be a dotted key such as model.lr, got 'no ise'."]),
        (
            "noise:\n    -",
            "seed_everything:\n    -",
            ["line 7: 'seed_everything' cannot be varied: 'seeds' says how many"],
        ),
        # groups
        ("- 0.0\n    - 0.5", "a: {sleep: 0}\n    b: 1", ["line 9: 'b' in the group 'noise' must be a mapping"]),
        ("- 0.0\n    - 0.5", "a: {sleep: 0}\n    b: {sleep: 0}", ["line 9: the axis 'noise' holds 'sleep=0' twice"]),
        (
            "- 0.0\n    - 0.5",
            "a: {sleep: 0}\n    b: {seed_everything: 1}",
            ["line 9: 'seed_everything' cannot be varied"],
        ),
        # the rest
        ("seeds: 2", "seeds: 0", ["line 10: seeds must be at least 1, got 0."]),
        ("seeds: 2", "seeds: 2.5", ["line 10: seeds must be at least 1, got 2.5."]),
        ("seeds: 2", "seeds: true", ["line 10: seeds must be at least 1, got True."]),
        (
            "seeds: 2",
            "margin: 0",
            ["line 10: 'margin' is the smallest difference that matters, a number above 0; got 0."],
        ),
        ("seeds: 2", "margin: small", ["line 10: 'margin' is the smallest difference that matters"]),
        ("seeds: 2", "margin: true", ["line 10: 'margin' is the smallest difference that matters"]),
        ("seeds: 2", "one_at_a_time: yes", ["line 10: 'one_at_a_time' must be true or false, got 'yes'."]),
        (
            "seeds: 2",
            "name: a/b",
            ["line 10: 'name', or else the file's, must be letters, digits, '_', '-' and '.'; got 'a/b'."],
        ),
        (
            "task: noop",
            "task: nop",
            ["line 2: unknown task (one of your own is written module:function) 'nop'. Did you mean"],
        ),
        ("task: noop", "task: [noop]", ["line 2: 'task' must name a task, such as fit; got ['noop']."]),
        ("mode: max", "mode: up", ["line 13: a metric's mode is max or min, got 'up'."]),
        (
            "{name: value, mode: max}",
            "value",
            ["line 13: which way is 'value' better? Say metric: {name: value, mode: max}"],
        ),
        (
            "{name: value, mode: max}",
            "[value]",
            ["line 13: 'metric' must name a metric, such as test/accuracy, or be {name"],
        ),
        ("name: value", "name: test/loss", ["line 13: test/loss is better the other way; its mode is min."]),
        ("  sleep: 0", "  seed_everything: 0", ["line 4: 'seed_everything' has no place in 'base'"]),
        ("base:\n  sleep: 0\n  returns: {value: 1}", "base: 3", ["line 3: 'base' must be a mapping, not empty."]),
    ],
)
def test_a_file_that_is_no_study_is_refused_with_the_line(refused, old, new, sentences):
    assert_listed(refused(change(NOOP, old, new)), sentences)


def test_an_axis_through_a_plain_value_is_refused(refused):
    text = change(change(NOOP, "noise:\n", "sleep.x:\n"), "noise: 0.0", "sleep.x: 0.0")
    assert_listed(refused(text), ["line 7: 'sleep.x' goes through 'sleep', a plain value in the base."])


def test_a_key_varied_twice_is_refused(refused):
    twice = NOOP.replace("seeds: 2", "  both:\n    a: {noise: 1}").replace("noise: 0.0", "noise: 0.0\n  both: a")
    assert_listed(refused(twice), ["line 10: 'noise' is varied twice, by 'noise' and 'both'."])


def test_all_that_is_wrong_is_said_at_once(refused):
    text = (
        "bass: {a: 1}\nvary: {noise: [], lr: [1, 1]}\nseeds: x\nmargin: 0\ntask: fitt\nbaseline: 3\nmetric: {name: v}\n"
    )
    assert_listed(
        refused(text),
        [
            "line 1: the study lacks the key 'base'.",
            "line 1: unknown key of a study 'bass'. Did you mean 'base'?",
            "line 2: the axis 'lr' holds '1' twice",
            "line 2: the axis 'noise' must list at least one value",
            "line 3: seeds must be at least 1, got x.",
            "line 4: 'margin'",
            "line 5: unknown task",
            "line 6: 'baseline' must be a mapping",
            "line 7: 'metric' must name a metric",
        ],
    )


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("seeds: 2", "seeds: 2\nseeds: 3", "line 11: the key 'seeds' is given twice."),
        ("- 0.5", "- 2020-12-31", "line 9: 2020-12-31 is no text, number, true, false or null; put text in quotes."),
        ("- 0.5", "- .inf", "line 9: inf is not a finite number; null stands for none."),
        ("- 0.5", "- .nan", "line 9: nan is not a finite number"),
        ("  sleep: 0", "  sleep: 0\n  3: 0", "line 5: the key 3 must be text; put it in quotes."),
        ("- 0.0\n    - 0.5", "1e-3: {sleep: 0}", "line 8: the key 1e-3 must be text; put it in quotes."),
        ("- 0.0\n    - 0.5", "true: {sleep: 0}", "line 8: the key true must be text; put it in quotes."),
        ("sleep: 0", "sleep: &loop [*loop]", "holds a value that refers to itself"),
        ("seeds: 2", "seeds: [2", "is not readable as YAML"),
        ("seeds: 2", "\tseeds: 2", "is not readable as YAML"),
        ("- 0.5", "- 2020-13-31", "is not readable as YAML: month must be in 1..12"),
        ("- 0.5", "- !!int five", "is not readable as YAML"),
        ("- 0.5", f"- {'9' * 5000}", "is not readable as YAML"),
    ],
)
def test_what_yaml_cannot_hold_is_refused(refused, old, new, sentence):
    err = refused(change(NOOP, old, new))
    assert "bad.yaml" in err
    assert sentence in err


@pytest.mark.parametrize("text", ["", "# nothing\n", "- a\n- b\n", "just words\n"])
def test_a_file_without_a_mapping_is_refused(refused, text):
    assert "bad.yaml must hold a mapping with base, vary, baseline, metric." in refused(text)


def test_a_file_that_cannot_be_read_is_refused(tmp_path, capsys):
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "latin.yaml").write_bytes("# Überall?\n".encode("latin-1") + NOOP.encode())
    for file, sentence in (
        ("none.yaml", "there is no study file"),
        ("folder.yaml", "there is no study file"),
        ("latin.yaml", "is not readable as YAML"),
        ("", "unknown study"),
    ):
        assert main(["run", str(tmp_path / file), "--out", str(tmp_path / "runs")]) == 2
        err = capsys.readouterr().err
        assert sentence in err
        assert str(tmp_path / file) in err
    assert not (tmp_path / "runs").exists()


# --- noop ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "sentences"),
    [
        ("sleep: 0", "slep: 0", ["line 4: unknown key of a noop trial 'slep'. Did you mean 'sleep'?"]),
        ("sleep: 0", "sleep: -1", ["line 4: sleep must be a number, not negative; got -1."]),
        ("sleep: 0", "dies: SIGKIL", ["line 4: unknown signal 'SIGKIL'. Did you mean 'SIGKILL'?"]),
        ("sleep: 0", "raises: [1]", ["line 4: raises must be text or null, got [1]."]),
        ("{value: 1}", "{value: one}", ["line 5: returns must map names to numbers, got {'value': 'one'}."]),
        ("- 0.5", "- -0.5", ["line 9: noise must be a number, not negative; got -0.5."]),
        ("{value: 1}", "{valu: 1}", ["line 13: unknown metric 'value'. Did you mean 'valu'?"]),
        ("name: value", "name: valu", ["line 13: unknown metric 'valu'. Did you mean 'value'?"]),
        ("- 0.5", "- 0", ["line 6: the variants '0.0' and '0' are the same trials; take all but one out."]),
    ],
)
def test_a_noop_study_that_would_fail_is_refused_with_the_line(refused, old, new, sentences):
    assert_listed(refused(change(NOOP, old, new)), sentences)


def test_all_that_noop_refuses_is_said_at_once(refused):
    bad = NOOP.replace("sleep: 0", "slep: 0\n  dies: SIGNO").replace("- 0.5", "- -0.5\n    - much")
    listed = [
        "line 4: unknown key of a noop trial 'slep'",
        "line 5: unknown signal 'SIGNO'",
        "line 10: noise must be a number, not negative; got -0.5.",
        "line 11: noise must be a number, not negative; got 'much'.",
    ]
    assert_listed(refused(bad), listed)


def test_variants_of_one_name_are_refused(refused):
    # A table could not tell them apart.
    alike = NOOP.replace("noise:\n    - 0.0\n    - 0.5", "raises:\n    - null\n    - none")
    err = refused(alike.replace("noise: 0.0", "raises: null"))
    assert problems(err)[0].startswith("line 9: ")
    assert "'none'" in err


# --- fit -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "sentences"),
    [
        ({"- tanh": "- tnah"}, ["line 13: unknown activation 'tnah'. Did you mean 'tanh'?"]),
        ({"[8]": "[8]\n    norm: btch"}, ["line 6: unknown norm 'btch'. Did you mean 'batch'?"]),
        (
            {"[8]": "[8]\n    lr: -1", "- 0.1": "- 2"},
            ["line 6: model.lr must be positive", "line 17: model.dropout must lie"],
        ),
        ({"max_epochs: 1": "max_epochs: one"}, ["line 9: trainer.max_epochs cannot be 'one'"]),
        ({"  trainer:": "  trainr:"}, ["line 8: unknown section of a config 'trainr'. Did you mean 'trainer'?"]),
        ({"name: mlp": "name: mpl"}, ["line 4: unknown model 'mpl'. Did you mean 'mlp'?"]),
        ({"name: iris": "name: irs"}, ["line 7: unknown data set 'irs'. Did you mean 'iris'?"]),
        ({"data:\n    name: iris": "data: irs"}, ["line 6: unknown data set 'irs'. Did you mean 'iris'?"]),
        ({"  data:\n    name: iris\n": ""}, ["line 2: which data set? Say --data NAME"]),
        ({"name: mlp": "name: mpl", "iris": "irs"}, ["line 4: unknown model 'mpl'", "line 7: unknown data set 'irs'"]),
        ({"iris": "csv\n    path: /none.csv\n    target: y"}, ["line 8: cannot read /none.csv: No such file"]),
        ({"name: mlp": "name: cnn", "\n    hidden_dims: [8]": ""}, ["line 4: cnn needs images of shape"]),
        ({"vary:": "  callbacks:\n    gradient_flw: null\nvary:"}, ["line 11: unknown callback 'gradient_flw'."]),
        ({"test/accuracy": "test/acuracy"}, ["line 19: unknown metric 'test/acuracy'. Did you mean 'test/accuracy'?"]),
        ({"iris": "diabetes"}, ["line 19: unknown metric 'test/accuracy'."]),
        ({"test/accuracy": "gap/accuracy"}, ["line 19: unknown metric 'gap/accuracy'."]),
        ({"test/accuracy": "{name: gap/accuracy, mode: max}"}, ["line 19: gap/accuracy is better the other way"]),
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
    assert_listed(err, ["line 16: model.lr must be positive, got -1.0."])


def test_all_that_zoo_refuses_is_said_at_once(refused):
    text = change(FIT, "[8]", "[8]\n    lr: -1\n    norm: btch")
    text = change(
        text, "max_epochs: 1", "max_epochs: one\n  callbacks: {early_stoping: null, early_stopping: {patience: -2}}"
    )
    text = change(text, "- tanh", "- tnah")
    listed = [
        "line 6: model.lr must be positive, got -1.0.",
        "line 7: unknown norm 'btch'.",
        "line 11: trainer.max_epochs cannot be 'one'",
        "line 12: callbacks.early_stopping.patience must not be negative, got -2.",
        "line 12: unknown callback 'early_stoping'.",
        "line 16: unknown activation 'tnah'.",
        "line 19: model.dropout must lie in [0, 1), got 7.",
    ]
    assert_listed(refused(change(text, "- 0.1", "- 7")), [s.replace("got 7.", "got 7") for s in listed])


def test_bad_values_do_not_hide_others_even_if_no_variant_is_sound(refused):
    text = FIT.replace("relu", "rleu").replace("- tanh", "- tnah").replace("- 0.1", "- 7")
    text = change(text, "max_epochs: 1", "max_epochs: 1\n  callbacks: {early_stopping: {patience: -2}}")
    listed = ["line 10: callbacks.early_stopping.patience", "line 13: unknown activation 'rleu'"]
    listed += ["line 14: unknown activation 'tnah'", "line 17: model.dropout must lie in [0, 1)"]
    assert_listed(refused(text), listed)


# --- a task of the user's own ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (None, "No module named"),
        ("def g(config, folder): ...\n", "has no attribute 'f'"),
        ("f = 3\n", "is no function"),
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
