"""Options, folders and files that `bench` refuses with status 2 and a sentence."""

from pathlib import Path

import pytest

from benchmarks.cli import main
from tests.benchmarks.bad_studies import FIT, NOOP, assert_listed


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            "--set noise=1",
            "--set noise: the study varies 'noise'; use --filter noise=VALUE to select one of its values.",
        ),
        ("--set noise.x=1", "--set noise.x: the study varies 'noise'"),
        (
            "--set seed_everything=1",
            "--set seed_everything: this key cannot be set; use --seeds N to set the number of seeds.",
        ),
        ("--set sleep", "--set must have the form dotted.key=value, such as model.lr=0.01; got 'sleep'."),
        ("--set =1", "--set must have the form dotted.key=value"),
        ("--set .x=1", "--set must have the form dotted.key=value"),
        ("--set sleep.x=1", "--set sleep.x: 'sleep' is a plain value in the base, not a section."),
        ("--set sleep=[1", "'[1' is not a valid YAML value; quote text with special characters."),
        ("--set sleep=2020-12-31", "sleep must be a number of at least 0, got '2020-12-31'"),
        ("--set sleep=2020-13-31", "sleep must be a number of at least 0, got '2020-13-31'"),
        ("--set 'sleep=&x [*x]'", "'&x [*x]' is not a valid value: an alias refers to itself; remove it."),
        ("--set sleep=.inf", "inf is not a finite number"),
        ("--filter nose=1", "unknown key for --filter 'nose'. Did you mean 'noise'? Available: noise, seed."),
        ("--filter noise=0.4", "unknown value of noise for --filter '0.4'. Did you mean '0.5'? Available: 0.0, 0.5."),
        ("--filter seed=2", "unknown value of seed for --filter '2'. Available: 0, 1."),
        ("--filter noise", "--filter must have the form dotted.key=value"),
        ("--workers 0", "--workers must be at least 1, got 0."),
        ("--workers -3", "--workers must be at least 1, got -3."),
        ("--trial-timeout 0", "--trial-timeout must be more than 0 seconds, got 0.0."),
        ("--trial-timeout nan", "--trial-timeout must be more than 0 seconds, got nan."),
        ("--seeds 0", "--seeds must be at least 1, got 0."),
    ],
)
def test_options_that_cannot_be_are_refused(refused, options, sentence):
    assert sentence in refused(NOOP, options)


def test_a_varied_section_is_not_set_either(refused):
    text = NOOP.replace("noise:\n    - 0.0\n    - 0.5", "returns:\n    - {value: 1}\n    - {value: 2}")
    err = refused(text.replace("noise: 0.0", "returns: {value: 1}"), "--set returns.value=3")
    assert "--set returns.value: the study varies 'returns'" in err
    group = NOOP.replace("- 0.0\n    - 0.5", "a: {sleep: 0}\n    b: {sleep: 1}").replace("noise: 0.0", "noise: a")
    assert "--set sleep: the study varies 'sleep'" in refused(group, "--set sleep=3")


@pytest.mark.parametrize(
    ("text", "option", "sentence"),
    [
        (NOOP, "--set sleep=-1", "sleep must be a number of at least 0, got -1."),
        (NOOP, "--set returns=5", "returns must map names to numbers, got 5."),
        (FIT, "--set callbacks.early_stoping.patience=3", "unknown callback 'early_stoping'. Did you mean"),
        (NOOP, "--set slep=1", "unknown key of a noop trial 'slep'. Did you mean 'sleep'?"),
        (FIT, "--set model.lr=-1", "model.lr must be positive and finite, got -1.0."),
        (FIT, "--set data.name=irs", "unknown data set 'irs'. Did you mean 'iris'?"),
        (FIT, "--set trainer=3", "the config's section 'trainer' must be a mapping, got 3."),
    ],
)
def test_what_an_option_has_set_is_refused_by_that_option_and_no_line(refused, text, option, sentence):
    assert_listed(refused(text, option), [f"{option}: {sentence}"])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("--sedes 3", "unknown option '--sedes'. Did you mean '--seeds'?"),
        ("--seed 3", "unknown option '--seed'. Did you mean '--seeds'?"),
        ("--worker 3", "unknown option '--worker'. Did you mean '--workers'?"),
        ("--jobs 3", "unknown option '--jobs'. Did you mean '--workers'?"),
        ("--trial_timeout 3", "unknown option '--trial_timeout'. Did you mean '--trial-timeout'?"),
        ("--epochs 3", "unknown option '--epochs'. Did you mean '--set trainer.max_epochs=3'?"),
        ("--lr=0.1", "unknown option '--lr'. Did you mean '--set model.lr=0.1'?"),
        ("--dropout 0.1", "unknown option '--dropout'. Did you mean '--set model.dropout=0.1'?"),
        ("--model.lr 0.1", "unknown option '--model.lr'. Did you mean '--set model.lr=0.1'?"),
        ("--model.widths 3", "unknown option '--model.widths'. Did you mean '--set model.widths=3'?"),
        ("--model cnn", "unknown option '--model'. Did you mean '--set model.name=cnn'?"),
        ("--zzz", "unknown option '--zzz'."),
        ("--seeds many", "--seeds: invalid int value: 'many'."),
        ("--workers", "--workers: expected one argument."),
        ("--trial-timeout soon", "--trial-timeout: invalid float value: 'soon'."),
        ("--set", "--set: expected one argument."),
        ("--retry", "unknown option '--retry'. Did you mean '--retry-failed'?"),
        ("--pack-size 4", "unknown option '--pack-size'. Did you mean '--pack'?"),
        ("--gpu", "unknown option '--gpu'. Did you mean '--set trainer.accelerator=VALUE'?"),
        ("-o runs", "unrecognized arguments: -o runs."),
        ("more", "unrecognized arguments: more."),
    ],
)
def test_a_wrong_option_is_answered_with_one_suggestion(tmp_path, capsys, options, sentence):
    assert main(["run", "activations", "--out", str(tmp_path / "runs"), *options.split()]) == 2
    assert capsys.readouterr().err == f"bench run: {sentence} All options: bench run --help\n"
    assert not (tmp_path / "runs").exists()


def test_a_misspelt_option_instead_of_a_verb_is_answered_with_an_option(capsys):
    assert main(["--verison"]) == 2
    expected = "bench: unknown option '--verison'. Did you mean '--version'? All options: bench --help\n"
    assert capsys.readouterr().err == expected


def test_a_wrong_option_of_another_verb_is_no_key_of_a_config(capsys):
    assert main(["report", "runs/none", "--epochs", "3"]) == 2
    assert capsys.readouterr().err == "bench report: unknown option '--epochs'. All options: bench report --help\n"


# --- new, report, archive --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("there.yaml", "there.yaml already exists; choose another name."),
        ("mine", "a study file must end in .yaml; use {folder}/mine.yaml."),
        (
            "mine.yaml --from activatons",
            "unknown study 'activatons'. Did you mean 'activations'? Available: activations",
        ),
        ("none/mine.yaml", "cannot write {folder}/none/mine.yaml: No such file or directory; choose another folder."),
        ("there.yaml/mine.yaml", "cannot write {folder}/there.yaml/mine.yaml: Not a directory; choose another folder."),
    ],
)
def test_bench_new_writes_over_nothing(tmp_path, capsys, arguments, sentence):
    (tmp_path / "there.yaml").write_text("precious\n")
    assert main(["new", *f"{tmp_path}/{arguments}".split()]) == 2
    assert sentence.format(folder=tmp_path) in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["there.yaml"]
    assert (tmp_path / "there.yaml").read_text() == "precious\n"


@pytest.fixture
def ran(tmp_path, capsys) -> Path:
    """The folder of a study that has run."""
    (tmp_path / "s.yaml").write_text(NOOP)
    assert main(["run", str(tmp_path / "s.yaml"), "--out", str(tmp_path / "runs"), "--workers", "1"]) == 0
    capsys.readouterr()
    return tmp_path / "runs/s"


def test_a_folder_without_a_study_is_refused(tmp_path, capsys):
    for command in (["report", str(tmp_path)], ["archive", str(tmp_path), str(tmp_path / "kept")]):
        assert main(command) == 2
        assert f"{tmp_path} is not a study folder: {tmp_path}/study.yaml does not exist." in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_records_that_are_not_those_of_the_study_are_refused(ran, capsys):
    plan = (ran / "plan.json").read_text()
    for bad in ("[]", "[[]]", '[["a", "b"]]', "{}", "5", "[1, 2]", "[[1, 2], [3, 4]]", '["ab", "cd"]', "null", "[["):
        (ran / "plan.json").write_text(bad)
        assert main(["report", str(ran)]) == 2, bad
        assert f"the records in {ran} do not match its study.yaml; run the study again." in capsys.readouterr().err
    (ran / "plan.json").write_text(plan)
    (ran / "study.yaml").write_text((ran / "study.yaml").read_text().replace("seeds: 2", "seeds: 3"))
    assert main(["report", str(ran)]) == 2
    assert "do not match its study.yaml" in capsys.readouterr().err


def test_an_archive_goes_beside_no_trials(ran, capsys):
    before = sorted(ran.rglob("*"))
    assert main(["archive", str(ran), str(ran.parent)]) == 2
    assert f"{ran} contains the trials of a run; archive into another folder" in capsys.readouterr().err
    assert sorted(ran.rglob("*")) == before
    assert main(["archive", str(ran), str(ran / "study.yaml")]) == 2
    assert f"cannot write to {ran}/study.yaml: Not a directory." in capsys.readouterr().err


def test_out_that_is_a_file_is_refused(tmp_path, capsys):
    (tmp_path / "s.yaml").write_text(NOOP)
    (tmp_path / "file").write_text("precious\n")
    assert main(["run", str(tmp_path / "s.yaml"), "--out", str(tmp_path / "file")]) == 2
    err = capsys.readouterr().err
    assert f"cannot write to {tmp_path}/file: Not a directory." in err
    assert "choose another --out" in err
    assert (tmp_path / "file").read_text() == "precious\n"
