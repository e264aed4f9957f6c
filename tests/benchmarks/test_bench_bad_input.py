"""What cannot run is refused by the real command, before the first trial, with status 2 and a sentence."""

import pytest

from benchmarks.cli import main
from tests.benchmarks.bad_studies import NOOP, assert_listed, change, problems

# --- study files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "sentences"),
    [
        ("seeds: 2", "sedes: 2", ["line 10: unknown key of a study 'sedes'. Did you mean 'seeds'?"]),
        ("metric: {name: value, mode: max}\n", "", ["line 1: the required key 'metric' is missing."]),
        (
            "task: noop\nbase:",
            "task: noop\nvarry:",
            ["line 1: the required key 'base' is missing.", "line 3: unknown key"],
        ),
        # the baseline
        ("  noise: 0.0", "  noise: 0.1", ["line 12: unknown value of the baseline for 'noise' '0.1'."]),
        (
            "  noise: 0.0",
            "  noise: 0.0\n  nose: 1",
            ["line 13: unknown axis in the baseline 'nose'. Did you mean 'noise'?"],
        ),
        ("seeds: 2", "  sleep: [0, 1]", ["line 11: 'baseline' must give a value for 'sleep'."]),
        ("baseline:\n  noise: 0.0", "baseline: {}", ["line 11: 'baseline' must be a mapping with at least one entry."]),
        # axes
        (
            "\n    - 0.0\n    - 0.5",
            " []",
            ["line 7: the axis 'noise' must be a list of values, or a mapping of labels"],
        ),
        (
            "\n    - 0.0\n    - 0.5",
            " {}",
            ["line 7: the axis 'noise' must be a list of values, or a mapping of labels"],
        ),
        (
            "\n    - 0.0\n    - 0.5",
            " 0.0",
            ["line 7: the axis 'noise' must be a list of values, or a mapping of labels"],
        ),
        ("- 0.5", "- 0.0", ["line 9: the axis 'noise' contains '0.0' twice; remove one."]),
        ("noise:\n    -", "'no ise':\n    -", ["line 7: an axis must be a dotted key such as model.lr, got 'no ise'."]),
        (
            "noise:\n    -",
            "seed_everything:\n    -",
            ["line 7: 'seed_everything' cannot be varied; use 'seeds' to set the number"],
        ),
        # groups
        (
            "- 0.0\n    - 0.5",
            "a: {sleep: 0}\n    b: 1",
            ["line 9: 'b' in the group 'noise' must map dotted keys to values."],
        ),
        ("- 0.0\n    - 0.5", "a: {sleep: 0}\n    b: {sleep: 0}", ["line 9: the axis 'noise' contains 'sleep=0' twice"]),
        (
            "- 0.0\n    - 0.5",
            "a: {sleep: 0}\n    b: {seed_everything: 1}",
            ["line 9: 'seed_everything' cannot be varied"],
        ),
        # the rest
        ("seeds: 2", "seeds: 0", ["line 10: 'seeds' must be an integer of at least 1, got 0."]),
        ("seeds: 2", "seeds: 2.5", ["line 10: 'seeds' must be an integer of at least 1, got 2.5."]),
        ("seeds: 2", "seeds: true", ["line 10: 'seeds' must be an integer of at least 1, got True."]),
        (
            "seeds: 2",
            "margin: 0",
            ["line 10: 'margin', the smallest difference that matters, must be a number above 0, got 0."],
        ),
        (
            "seeds: 2",
            "margin: small",
            ["line 10: 'margin', the smallest difference that matters, must be a number above 0"],
        ),
        (
            "seeds: 2",
            "margin: true",
            ["line 10: 'margin', the smallest difference that matters, must be a number above 0"],
        ),
        ("seeds: 2", "one_at_a_time: yes", ["line 10: 'one_at_a_time' must be true or false, got 'yes'."]),
        (
            "seeds: 2",
            "name: a/b",
            [
                "line 10: 'name' must consist of letters, digits, '_', '-' and '.', and not start with '-' or '.'; "
                "got 'a/b'."
            ],
        ),
        (
            "task: noop",
            "task: nop",
            ["line 2: unknown task (one of your own is written module:function) 'nop'. Did you mean"],
        ),
        ("task: noop", "task: [noop]", ["line 2: 'task' must name a task, such as fit; got ['noop']."]),
        ("mode: max", "mode: up", ["line 13: the mode of a metric must be max or min, got 'up'."]),
        (
            "{name: value, mode: max}",
            "value",
            [
                "line 13: whether 'value' should be high or low is unknown; write metric: {name: value, mode: max}, or "
                "mode: min."
            ],
        ),
        (
            "{name: value, mode: max}",
            "[value]",
            ["line 13: 'metric' must name a metric, such as test/accuracy, or be {name"],
        ),
        ("name: value", "name: test/loss", ["line 13: the mode of test/loss must be min, got max."]),
        ("  sleep: 0", "  seed_everything: 0", ["line 4: 'seed_everything' cannot be set in 'base'; remove it."]),
        (
            "base:\n  sleep: 0\n  returns: {value: 1}",
            "base: 3",
            ["line 3: 'base' must be a mapping with at least one entry."],
        ),
    ],
)
def test_a_file_that_is_no_study_is_refused_with_the_line(refused, old, new, sentences):
    assert_listed(refused(change(NOOP, old, new)), sentences)


def test_an_axis_through_a_plain_value_is_refused(refused):
    text = change(change(NOOP, "noise:\n", "sleep.x:\n"), "noise: 0.0", "sleep.x: 0.0")
    assert_listed(
        refused(text), ["line 7: 'sleep.x' cannot be varied: 'sleep' is a plain value in the base, not a section."]
    )


def test_a_key_varied_twice_is_refused(refused):
    twice = NOOP.replace("seeds: 2", "  both:\n    a: {noise: 1}").replace("noise: 0.0", "noise: 0.0\n  both: a")
    assert_listed(refused(twice), ["line 10: 'noise' is varied by both 'noise' and 'both'; remove it from one."])


def test_all_that_is_wrong_is_said_at_once(refused):
    text = (
        "bass: {a: 1}\nvary: {noise: [], lr: [1, 1]}\nseeds: x\nmargin: 0\ntask: fitt\nbaseline: 3\nmetric: {name: v}\n"
    )
    assert_listed(
        refused(text),
        [
            "line 1: the required key 'base' is missing.",
            "line 1: unknown key of a study 'bass'. Did you mean 'base'?",
            "line 2: the axis 'lr' contains '1' twice",
            "line 2: the axis 'noise' must be a list of values, or a mapping of labels",
            "line 3: 'seeds' must be an integer of at least 1, got 'x'.",
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
        (
            "- 0.5",
            "- !!timestamp 2020-12-31",
            "line 9: 2020-12-31 is not text, a number, true, false or null; put text in quotes.",
        ),
        ("- 0.5", "- .inf", "line 9: inf is not a finite number; use null for no value."),
        ("- 0.5", "- .nan", "line 9: nan is not a finite number"),
        ("  sleep: 0", "  sleep: 0\n  3: 0", "line 5: the key 3 must be text; put it in quotes."),
        ("- 0.0\n    - 0.5", "1e-3: {sleep: 0}", "line 8: the key 1e-3 must be text; put it in quotes."),
        ("- 0.0\n    - 0.5", "true: {sleep: 0}", "line 8: the key true must be text; put it in quotes."),
        ("sleep: 0", "sleep: &loop [*loop]", "an alias refers to itself; remove it."),
        ("seeds: 2", "seeds: [2", "is not valid YAML"),
        ("seeds: 2", "\tseeds: 2", "is not valid YAML"),
        ("- 0.5", "- !!timestamp 2020-13-31", "is not valid YAML: month must be in 1..12"),
        ("- 0.5", "- !!int five", "is not valid YAML"),
        ("- 0.5", f"- {'9' * 5000}", "is not valid YAML"),
    ],
)
def test_what_yaml_cannot_hold_is_refused(refused, old, new, sentence):
    err = refused(change(NOOP, old, new))
    assert "bad.yaml" in err
    assert sentence in err


@pytest.mark.parametrize("text", ["", "# nothing\n", "- a\n- b\n", "just words\n"])
def test_a_file_without_a_mapping_is_refused(refused, text):
    assert "bad.yaml must contain a mapping with the keys base, vary, baseline, metric." in refused(text)


def test_a_file_that_cannot_be_read_is_refused(tmp_path, capsys):
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "latin.yaml").write_bytes("# Überall?\n".encode("latin-1") + NOOP.encode())
    for file, sentence in (
        ("none.yaml", "there is no study file"),
        ("folder.yaml", "there is no study file"),
        ("latin.yaml", "is not valid YAML"),
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
        ("sleep: 0", "sleep: -1", ["line 4: sleep must be a number of at least 0, got -1."]),
        ("sleep: 0", "dies: SIGKIL", ["line 4: unknown signal 'SIGKIL'. Did you mean 'SIGKILL'?"]),
        ("sleep: 0", "raises: [1]", ["line 4: raises must be text or null, got [1]."]),
        ("{value: 1}", "{value: one}", ["line 5: returns must map names to numbers, got {'value': 'one'}."]),
        ("- 0.5", "- -0.5", ["line 9: noise must be a number of at least 0, got -0.5."]),
        ("{value: 1}", "{valu: 1}", ["line 13: unknown metric 'value'. Did you mean 'valu'?"]),
        ("name: value", "name: valu", ["line 13: unknown metric 'valu'. Did you mean 'value'?"]),
        ("- 0.5", "- 0", ["line 6: the variants '0.0' and '0' have the same trials; remove all but one."]),
    ],
)
def test_a_noop_study_that_would_fail_is_refused_with_the_line(refused, old, new, sentences):
    assert_listed(refused(change(NOOP, old, new)), sentences)


def test_all_that_noop_refuses_is_said_at_once(refused):
    bad = NOOP.replace("sleep: 0", "slep: 0\n  dies: SIGNO").replace("- 0.5", "- -0.5\n    - much")
    listed = [
        "line 4: unknown key of a noop trial 'slep'",
        "line 5: unknown signal 'SIGNO'",
        "line 10: noise must be a number of at least 0, got -0.5.",
        "line 11: noise must be a number of at least 0, got 'much'.",
    ]
    assert_listed(refused(bad), listed)


def test_variants_of_one_name_are_refused(refused):
    # A table could not tell them apart.
    alike = NOOP.replace("noise:\n    - 0.0\n    - 0.5", "raises:\n    - null\n    - none")
    err = refused(alike.replace("noise: 0.0", "raises: null"))
    assert problems(err)[0].startswith("line 9: ")
    assert "'none'" in err
