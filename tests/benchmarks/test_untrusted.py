"""Studies of strangers: names for terminals, spreadsheets and Markdown; code of their own; files in the folder."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from benchmarks.cli import main
from benchmarks.report.markup import escaped, sentence

NAMES = ["[x](http://u)", "![i](u)", "&copy;", "[x][u]", "[x]: u", "<b>", "https://u.example", "# h", "`c`", "a|b"]
STUDY = r"""# [click](http://u.example) ![i](u) &copy;
task: noop
base: {returns: {score: 0.5}, noise: 0.1}
vary:
  kind:
    "=cmd|' /C calc'!A0": {noise: 0.2}
    "@SUM(A1)": {noise: 0.3}
    "+1+1": {noise: 0.4}
    "-1": {noise: 0.5}
    "\e]0;owned\a\e[31m": {noise: 0.6}
    "[x](u)": {noise: 0.7}
    failing: {raises: "\e[2J=1+1"}
baseline: {kind: "-1"}
metric: {name: score, mode: max}
seeds: 2
"""
MARKER = "open('{}', 'a').write(__name__ + '\\n')\nraise ImportError('not the real one')\n"


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(command: str) -> int:
    return main(shlex.split(command))


@pytest.fixture
def stranger(capsys):
    Path("s.yaml").write_text(STUDY)
    status, said = run("run s.yaml --workers 1"), capsys.readouterr()
    assert status == 1, said
    return Path("runs/s"), said


def test_names_of_a_stranger_move_no_cursor_and_calculate_nothing(stranger, capsys):
    folder, (out, err) = stranger
    assert run(f"report {folder}") == 0
    printed = out + err + "".join(capsys.readouterr())
    assert "\x1b" not in printed
    assert "\x07" not in printed
    assert r"\x1b]0;owned\x07\x1b[31m" in printed
    for name in ("trials.csv", "table.csv"):
        cells = (folder / name).read_text().replace('"', "")
        assert ",'=cmd|' /C calc'!A0," in cells or "\n'=cmd|' /C calc'!A0," in cells
        assert "'@SUM(A1)" in cells
        assert "'+1+1" in cells
        assert "'-1" not in cells, "a number is no formula"


def test_names_of_a_stranger_are_text_in_markdown(stranger):
    text = (stranger[0] / "table.md").read_text()
    html = MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(text)
    for tag in ("<a ", "<img"):
        assert tag not in html
    assert "[x](u)" in html
    assert "©" not in html


@pytest.mark.parametrize("name", NAMES)
def test_a_cell_shows_what_it_says(name):
    html = MarkdownIt("gfm-like", {"linkify": False}).renderInline(escaped(name))
    shown = html.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    assert shown == name


@pytest.mark.parametrize("question", ["# big", "> quoted", "[x](http://u)", "- item", "+ item", "=== x", "a\n# b"])
def test_a_question_is_a_paragraph(question):
    html = MarkdownIt("gfm-like", {"linkify": False}).render(f"x\n\n{sentence(question)}\n\nz")
    assert html.count("<p>") == 3
    assert "<a" not in html


@pytest.mark.parametrize("label", ["''", "' '"])
def test_an_empty_label_is_refused(label, refused):
    text = "task: noop\nvary:\n  kind: {a: {noise: 0.1}, LABEL: {noise: 0.2}}\nbaseline: {kind: a}\n"
    text += "# Is it named?\nbase: {returns: {score: 1}}\nmetric: {name: score, mode: max}\nseeds: 2\n"
    assert "the group 'kind' has an empty label; give it a name" in refused(text.replace("LABEL", label))


def test_code_of_a_study_is_run_by_verify_only_if_allowed(capsys):
    Path("evil.py").write_text("def f(config, folder):\n    open('/dev/null')\n    return {'score': 1.0}\n")
    text = "# Does it run?\ntask: evil:f\nbase: {y: 1}\nvary: {x: [1, 2]}\nbaseline: {x: 1}\n"
    Path("s.yaml").write_text(text + "metric: {name: score, mode: max}\nseeds: 2\n")
    assert run("run s.yaml --workers 1") == 0, capsys.readouterr()
    Path("evil.py").write_text("open('ran', 'w')\ndef f(config, folder):\n    return {'score': 1.0}\n")
    capsys.readouterr()
    assert run("verify runs/s --workers 1") == 2
    err = capsys.readouterr().err
    assert "the task 'evil:f' of this study is code of its own" in err
    assert "then add --allow-code" in err
    for verb in ("report runs/s", "archive runs/s kept", "compare runs/s runs/s"):
        assert run(verb) == 0
    assert not Path("ran").exists()
    assert run("verify runs/s --workers 1 --allow-code") == 0
    assert Path("ran").exists()


@pytest.mark.parametrize("task", ["noop", "signal_propagation"])
def test_modules_in_the_working_directory_are_not_imported(task, tmp_path):
    for name in ("pickle", "socket", "json", "random", "yaml", "numpy", "torch", "pandas", "zoo", "sitecustomize"):
        Path(f"{name}.py").write_text(MARKER.format(tmp_path / "imported"))
    noop = "base: {returns: {score: 1}}\nvary: {noise: [0.1, 0.2]}\nbaseline: {noise: 0.1}\n"
    noop += "metric: {name: score, mode: max}\nseeds: 2\n"
    signal = "base: {model: {name: mlp, hidden_dims: [8, 8]}, data: iris}\nvary: {model.activation: [relu, tanh]}\n"
    signal += "baseline: {model.activation: relu}\nmetric: {name: activation_ratio, mode: max}\nseeds: 2\n"
    Path("s.yaml").write_text(f"# Safe?\ntask: {task}\n{noop if task == 'noop' else signal}")
    command = [Path(sys.executable).with_name("bench"), "run", "s.yaml", "--workers", "2"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
    assert not Path("imported").exists()
    assert done.returncode in (0, 2), done.stderr
    assert "Traceback" not in done.stderr


def test_a_full_disk_leaves_no_study_that_then_exists(capsys):
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        assert run("new s.yaml") == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "cannot write s.yaml: " in capsys.readouterr().err
    assert not list(Path().iterdir())
    assert run("new s.yaml") == 0


@pytest.mark.parametrize("noise", ["1e308", "1.0e+308"])
def test_metrics_that_overflow_are_reported(noise, capsys):
    text = "# Does it overflow?\ntask: noop\nbase: {returns: {score: 0.5}}\nvary: {noise: [0.1, NOISE]}\n"
    text += "baseline: {noise: 0.1}\nmetric: {name: score, mode: max}\nseeds: 5\n"
    Path("s.yaml").write_text(text.replace("NOISE", noise))
    assert run("run s.yaml --workers 1") in (0, 2)
    assert "Traceback" not in capsys.readouterr().err


LONG = "n" * 300


@pytest.mark.parametrize(
    "command",
    [
        f"run {LONG}.yaml",
        f"report {LONG}",
        f"verify {LONG}",
        f"archive {LONG} x",
        f"compare {LONG} {LONG}",
        f"push {LONG}",
        f"new {LONG}.yaml",
    ],
)
def test_a_name_that_is_too_long_is_refused(command, capsys):
    assert run(command) == 2
    err = capsys.readouterr().err
    assert "File name too long; choose" in err
    assert len(err.splitlines()) == 1


def test_a_study_in_a_folder_with_a_long_name_is_refused(capsys):
    text = "# Too long?\ntask: noop\nbase: {returns: {score: 1}}\nvary: {noise: [0.1, 0.2]}\nbaseline: {noise: 0.1}\n"
    Path("s.yaml").write_text(text + "metric: {name: score, mode: max}\nseeds: 2\n")
    for out in (LONG, "/".join(["a"] * 300)):
        assert run(f"run s.yaml --workers 1 --out {out}") == 2
        err = capsys.readouterr().err
        assert "Traceback" not in err
        assert "another --out" in err or "choose a shorter" in err
    assert {path.name for path in Path().iterdir()} <= {"s.yaml"}
