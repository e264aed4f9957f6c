"""The one reader of YAML, for configs, studies and options."""

import re
from pathlib import Path

import jsonargparse
import pytest
import yaml

from benchmarks.cli import main as bench
from datamodules import InputError
from zoo.cli import main
from zoo.cli.parsing import read_run
from zoo.config import read_config, resolve
from zoo.yaml_lines import MAX_BYTES, MAX_DEPTH, MAX_VALUES, Loader, dump, parse_value, read_yaml

SCALARS = {
    **dict.fromkeys(["on", "off", "yes", "no", "On", "NO", "y", "n", "1:30", "12:30", "1_000", "010", "064", "-010"]),
    **dict.fromkeys(["2020-12-31", "2020-13-45", "00", "01e3", "0b1", "+", ".", "e3", "1e", "=", "0o8", "1.2.3"]),
    "10": 10,
    "-3": -3,
    "+1": 1,
    "0": 0,
    "0x1F": 31,
    "0o17": 15,
    "1e-3": 1e-3,
    "1e3": 1000.0,
    "-.5": -0.5,
    "1.": 1.0,
    "6.02E+23": 6.02e23,
    "true": True,
    "False": False,
    "null": None,
    "~": None,
    "": None,
}


@pytest.mark.parametrize("text", SCALARS)
def test_scalars_mean_what_yaml_1_2_says(text, tmp_path):
    (tmp_path / "x.yaml").write_text(f"a: {text}\n")
    expected = text if SCALARS[text] is None and text not in ("null", "~", "") else SCALARS[text]
    for value in (parse_value(text), read_yaml(tmp_path / "x.yaml")[0]["a"]):
        assert (type(value), value) == (type(expected), expected)


@pytest.mark.parametrize("text", [*SCALARS, "a: b", "- x", "#", "it's", "\u2028", " x ", "<<", "null", "*a", "%a"])
def test_what_is_written_is_read_again_as_the_same_text(text, tmp_path):
    (tmp_path / "x.yaml").write_text(dump({"a": text, "b": [text, 1e-5, None, True]}), encoding="utf-8")
    assert read_yaml(tmp_path / "x.yaml")[0] == {"a": text, "b": [text, 1e-5, None, True]}
    assert yaml.safe_load((tmp_path / "x.yaml").read_text()) == {"a": text, "b": [text, 1e-5, None, True]}


def test_lists_of_names_are_texts(tmp_path):
    (tmp_path / "x.yaml").write_text("data: {drop: [on, 1, null, 1e3, 010, '2']}\nvary: {data.drop: [[1], [a, 2]]}\n")
    content = read_yaml(tmp_path / "x.yaml")[0]
    assert content["data"]["drop"] == ["on", "1", "null", "1e3", "010", "2"]
    assert content["vary"]["data.drop"] == [["1"], ["a", "2"]]
    assert parse_value("[1, no]", "data.drop") == ["1", "no"]
    assert parse_value("[1, no]", "model.hidden_dims") == [1, "no"]


LAUGHS = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefghi", "bcdefghij", strict=True)
)
MERGED = "a: &a {x: 1}\n" + "".join(
    f"{new}: &{new} {{<<: [{', '.join([f'*{old}'] * 9)}]}}\n" for old, new in zip("abcdefghi", "bcdefghij", strict=True)
)
BAD = {
    "alias bomb": (LAUGHS, "more than 30,000 values, aliases included"),
    "merge bomb": (MERGED, "more than 30,000 values, aliases included"),
    "many values": ("a: [" + "1," * 300_000 + "]", "more than 30,000 values"),
    "deep lists": ("a: " + "[" * 3000, f"nested more than {MAX_DEPTH} deep; use fewer levels."),
    "deep mappings": ("a: " + "{a: " * 3000, f"nested more than {MAX_DEPTH} deep"),
    "deep keys": ("? " * 3000, f"nested more than {MAX_DEPTH} deep"),
    "deep blocks": ("\n".join(" " * i + "a:" for i in range(900)), f"line {MAX_DEPTH}: values are nested more than"),
    "deep entries": ("- " * 3000, f"nested more than {MAX_DEPTH} deep"),
    "large": ("a: " + "x" * MAX_BYTES, "has 1,000,003 bytes; configs and studies have at most 1,000,000."),
    "own alias": ("a: &a [*a]", "line 1: an alias refers to itself; remove it."),
    "twice": ("a: 1\nb: 2\na: 3", "line 3: the key 'a' is given twice."),
    "twice inside": ("a: {b: 1,\n b: 2}", "line 2: the key 'b' is given twice."),
    "null character": ('a:\n- "a\\0b"', r"line 2: the text 'a\x00b' contains a null character"),
    "surrogate": ('a: "\\ud800"', r"line 1: the text '\ud800' contains half of a surrogate pair"),
    "surrogate in a key": ('"\\ud800": 1', "half of a surrogate pair"),
    "list as a key": ("[1]: 2", "a key must be text"),
    "number as a key": ("1: 2", "the key 1 must be text; put it in quotes."),
    "infinity": ("a: .inf", "inf is not a finite number"),
    "tag": ("a: !!python/object/apply:os.system ['touch x']", "could not determine a constructor for the tag"),
    "wrong tag": ("a: !!bool maybe", "'maybe' does not fit its tag (line 1)"),
    "empty tag": ("a: !!int ''", "'' does not fit its tag"),
    "date": ("a: !!timestamp 2020-13-45", "month must be in 1..12"),
    "set": ("a: !!set {b}", "is not text, a number, true, false or null"),
    "binary": ("a: !!binary eA==", "is not text, a number"),
    "two documents": ("a: 1\n---\nb: 2", "but found another document (line 2)"),
    "digits": ("a: " + "9" * 5000, "is not valid YAML: Exceeds the limit"),
    "control character": ("a: \x07", "unacceptable character"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_has_no_bounds_or_no_meaning_is_refused(case, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text, sentence = BAD[case]
    Path("x.yaml").write_text(text, encoding="utf-8")
    work = []  # each node that is read, and each that becomes a value

    def counted(method):
        return lambda *given, **named: work.append(0) or method(*given, **named)

    for name in ("compose_node", "construct_object"):
        monkeypatch.setattr(Loader, name, counted(getattr(Loader, name)))
    assert main(["fit", "--config", "x.yaml"]) == 2
    err = capsys.readouterr().err
    assert len(work) <= 2 * MAX_VALUES + 1, "reading goes on after the first value that is too many"
    assert sentence in err
    assert err.startswith("zoo fit: x.yaml")
    assert err.count("\n") == 1
    assert [path.name for path in Path().iterdir()] == ["x.yaml"]


@pytest.mark.parametrize("name", ["a\0b", "/dev/zero", "folder", "fifo"])
def test_only_regular_files_are_read(name, tmp_path, monkeypatch):
    import os

    monkeypatch.chdir(tmp_path)
    os.mkfifo("fifo")
    Path("folder").mkdir()
    with pytest.raises(InputError, match=r"the config file .* does not exist|is not a regular file; pass a YAML file"):
        read_config(name)


def test_configs_and_options_mean_the_same():
    def config(text):
        Path("x.yaml").write_text(text)
        return resolve({"model": "mlp", "data": "iris", **read_config("x.yaml")})

    assert config("data: {name: iris, batch_size: 064}")["data"]["batch_size"] == 64
    assert config("model: {name: mlp, norm: off}")["model"]["norm"] == "off"
    for widths in ("[010]", "[10]"):
        assert config(f"model: {{name: mlp, hidden_dims: {widths}}}")["model"]["hidden_dims"] == [10]
        _, given = read_run(["--model", "mlp", "--data", "iris", "--model.hidden_dims", widths], "fit")
        assert resolve(given)["model"]["hidden_dims"] == [10]


NOT_NUMBERS = ["1:30", "0b11", "1_000", "off", "on", "yes", "0:0.5", "1_0.5", "1:30.5"]


@pytest.mark.parametrize("text", NOT_NUMBERS)
@pytest.mark.parametrize("option", ["data.batch_size", "data.val_fraction", "model.lr", "model.hidden_dims"])
def test_texts_are_no_numbers_for_options_either(text, option, capsys):
    section, _, name = option.partition(".")
    value = f"[{text}]" if name == "hidden_dims" else text
    config = {"model": {"name": "mlp"}, "data": {"name": "iris"}}
    config[section][name] = parse_value(value)
    Path("c.yaml").write_text(dump(config))
    base = {key: value for key, value in config.items() if key != section}
    good = [8] if name == "hidden_dims" else 0.5 if name != "batch_size" else 8
    study = {"base": {**base, section: {"name": config[section]["name"]}}, "baseline": {option: good}}
    study |= {"vary": {option: [good, parse_value(value)]}, "metric": "test/accuracy", "seeds": 1}
    Path("s.yaml").write_text("# Is it?\n" + dump(study))
    said = rf"{option} must be of type .*, got \[?'{text}'\]?\."
    commands = (
        (main, ["fit", "--config", "c.yaml"]),
        (main, ["fit", "--model", "mlp", "--data", "iris", f"--{option}", value]),
        (main, ["fit", "--model", "mlp", "--data", "iris", f"--{option}={value}"]),
        (bench, ["run", "s.yaml", "--workers", "1"]),
    )
    for command, words in commands:
        assert command(words) == 2, words
        err = capsys.readouterr().err
        assert re.search(said, err), err
    assert sorted(path.name for path in Path().iterdir()) == ["c.yaml", "s.yaml"]


def test_booleans_are_those_of_yaml_1_2(capsys):
    for word, status in (("true", 0), ("False", 0), ("off", 2), ("yes", 2)):
        words = ["--model", "mlp", "--data", "iris", "--trainer.deterministic", word, "--trainer.max_epochs", "1"]
        assert main(["fit", *words, "--out", word]) == status
    assert "trainer.deterministic must be " in capsys.readouterr().err


def test_other_users_of_jsonargparse_keep_its_reader():
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--n", type=int)
    resolve({"model": "mlp", "data": "iris"})
    assert parser.parse_args(["--n", "0b11"]).n == 3


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("written", ["--data.drop=[on, 1, 1e3, null]", "--data.drop [on, 1, 1e3, null]"])
def test_columns_on_the_command_line_are_texts(written):
    option, _, value = written.partition(" ")
    words = [written] if "=" in written else [option, value]
    data = ["--model", "mlp", "--data", "csv", "--data.path", "x", "--data.target", "y"]
    assert read_run([*data, *words], "fit")[1]["data"]["drop"] == ["on", "1", "1e3", "null"]


@pytest.mark.parametrize(
    "value",
    [
        {"class_path": "planted.X"},
        "planted.X",
        "{class_path: planted.X}",
        [{"class_path": "planted.X"}],
        {
            "class_path": "lightning.pytorch.profilers.SimpleProfiler",
            "init_args": {"filename": {"class_path": "planted.X"}},
        },
    ],
)
@pytest.mark.parametrize(
    "place", ["trainer.strategy", "trainer.profiler", "trainer.accelerator", "callbacks.early_stopping"]
)
def test_a_config_imports_no_module(tmp_path, monkeypatch, place, value):
    (tmp_path / "planted.py").write_text("from pathlib import Path\nPath('ran').touch()\nclass X: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    section, name = place.split(".")
    with pytest.raises(InputError, match=f"{place}|{name}"):
        resolve({"model": "mlp", "data": "iris", section: {name: value}})
    assert not (tmp_path / "ran").exists()


def test_classes_of_lightning_are_allowed():
    profiler = {"class_path": "lightning.pytorch.profilers.SimpleProfiler", "init_args": {"filename": "times.txt"}}
    assert resolve({"model": "mlp", "data": "iris", "trainer": {"profiler": profiler}})["trainer"]["profiler"]
